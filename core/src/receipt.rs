//! Receipts: proof, for anybody with the genesis document, of what became of a transaction.
//!
//! `transactions root = H("transactions-root/v2" ‖ count ‖ top)` of the Merkle tree ([`crate::merkle`]) whose leaves are
//! `borsh(id ‖ result code)` of the block's transactions in order.

use crate::block::{BlockHash, BlockHeader, ResultCode, TransactionResult};
use crate::certificate::{Certificate, CertificateError};
use crate::codec::{self, CodecError};
use crate::genesis::Genesis;
use crate::hash::Digest;
use crate::merkle::{self, MerkleTree};
use crate::signature::SignatureError;
use crate::transaction::{SIGNED_TRANSACTION_BYTES_MAX, SignedTransaction, TransactionId};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The most bytes that an encoded receipt takes.
pub const RECEIPT_BYTES_MAX: usize =
    SIGNED_TRANSACTION_BYTES_MAX + 1 + 4 + 4 + 32 * merkle::PATH_MAX + crate::certificate::CERTIFIED_HEADER_BYTES_MAX;

/// Proof of what became of a transaction. It needs no trust in whoever hands it over.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The transaction as it was signed; in JSON the hexadecimal digits of its encoding.
    #[serde(with = "codec::hex")]
    pub transaction: SignedTransaction,
    /// What became of it.
    pub code: ResultCode,
    /// Its position in the block.
    pub position: u32,
    /// From its sibling up to below the top of the block's transactions; at most [`merkle::PATH_MAX`].
    #[borsh(deserialize_with = "merkle::read_path")]
    pub path: Vec<Digest>,
    /// The block.
    pub header: BlockHeader,
    /// A quorum's word for the block.
    pub certificate: Certificate,
}

/// What a receipt proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedReceipt {
    /// The transaction.
    pub id: TransactionId,
    /// What became of it: final, for ever.
    pub code: ResultCode,
    /// The block that holds it.
    pub block: BlockHash,
    /// That block's height.
    pub height: u64,
    /// That block's time, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The validators that vouch for it, as indices in the genesis document, ascending.
    pub signers: Vec<u16>,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The transaction's signature is not its authority's on this network.
    #[error("the transaction in the receipt is not signed by its sender for this network: {0}")]
    Signature(#[from] SignatureError),
    /// Transaction, result and position do not lead to the block's transactions root.
    #[error("the receipt's transaction with this result does not stand at this position of its block")]
    NotInBlock,
    /// The block is not certified.
    #[error("the receipt's block is not certified: {0}")]
    Certificate(#[from] CertificateError),
}

/// The Merkle root over the results of a block.
pub fn transactions_root(results: &[TransactionResult]) -> Digest {
    let tree = transactions_tree(results);
    merkle::root(TRANSACTIONS_ROOT, tree.count(), &tree.top())
}

/// The path, for a receipt, of the result at `position`.
///
/// # Panics
/// If there is no such result.
pub fn transaction_path(results: &[TransactionResult], position: u32) -> Vec<Digest> {
    transactions_tree(results).path(u64::from(position))
}

impl Receipt {
    /// Decodes a receipt.
    ///
    /// # Errors
    /// [`CodecError`] for anything but a canonical encoding within the bounds of every count.
    pub fn decode(bytes: &[u8]) -> Result<Receipt, CodecError> {
        codec::decode(bytes, RECEIPT_BYTES_MAX)
    }

    /// Checks everything the receipt says, with nothing but the genesis document at hand: the transaction's signature, its place
    /// in the block with this result, and that a quorum of validators certifies the block.
    ///
    /// # Errors
    /// [`ReceiptError`] says what does not hold.
    pub fn verify(&self, genesis: &Genesis) -> Result<VerifiedReceipt, ReceiptError> {
        let id = self.transaction.clone().verify(&genesis.chain_hash())?.id();
        let leaf = result_leaf(&TransactionResult { id, code: self.code });
        let count = u64::from(self.header.transaction_count);
        let top = merkle::top_of_path(leaf, u64::from(self.position), count, &self.path);
        let root = top.map(|top| merkle::root(TRANSACTIONS_ROOT, count, &top));
        if root != Some(self.header.transactions_root) {
            return Err(ReceiptError::NotInBlock);
        }
        self.certificate.verify(&self.header, genesis)?;
        Ok(VerifiedReceipt {
            id,
            code: self.code,
            block: self.header.hash(),
            height: self.header.height,
            timestamp_ms: self.header.timestamp_ms,
            signers: self.certificate.attestations.iter().map(|attestation| attestation.validator).collect(),
        })
    }
}

const TRANSACTIONS_ROOT: &str = "transactions-root/v2";

fn transactions_tree(results: &[TransactionResult]) -> MerkleTree {
    MerkleTree::new(results.iter().map(result_leaf).collect())
}

fn result_leaf(result: &TransactionResult) -> Digest {
    merkle::leaf(&codec::encode(result))
}
