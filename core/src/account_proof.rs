//! Account proofs: proof, for anybody with the genesis document, of what an account held.
//!
//! A proof is against the newest published state root, so it is up to about a second old while the network is busy. It proves
//! the state **before** the block that carries the root, which is the state after every commit before that block's. Slots cannot
//! prove absence: that an address has no account is the word of a node, not a proof.

use crate::account::Account;
use crate::address::Address;
use crate::block::BlockHeader;
use crate::certificate::{CERTIFIED_HEADER_BYTES_MAX, Certificate, CertificateError};
use crate::codec::{self, CodecError};
use crate::genesis::Genesis;
use crate::hash::Digest;
use crate::merkle;
use crate::state::{SLOT_BYTES_MAX, SlotValue};
use crate::state_tree::state_root;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The most bytes that an encoded account proof takes.
pub const ACCOUNT_PROOF_BYTES_MAX: usize =
    SLOT_BYTES_MAX + 4 + 8 + 4 + 32 * merkle::PATH_MAX + CERTIFIED_HEADER_BYTES_MAX;

/// Proof of what an account held just before a block.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountProof {
    /// Whose account; in JSON the 64 hexadecimal digits of the key.
    #[serde(with = "codec::hex")]
    pub address: Address,
    /// What it held.
    pub account: Account,
    /// The account's slot in the state.
    pub slot: u32,
    /// How many slots the state had.
    pub slot_count: u64,
    /// From its sibling up to below the top of the state's tree; at most [`merkle::PATH_MAX`].
    #[borsh(deserialize_with = "merkle::read_path")]
    pub path: Vec<Digest>,
    /// The block that carries the state root.
    pub header: BlockHeader,
    /// A quorum's word for that block.
    pub certificate: Certificate,
}

/// An account proof before the block that carries its state root is certified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UncertifiedAccountProof {
    pub(crate) address: Address,
    pub(crate) account: Account,
    pub(crate) slot: u32,
    pub(crate) slot_count: u64,
    pub(crate) path: Vec<Digest>,
    pub(crate) header: BlockHeader,
}

/// Why an account proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountProofError {
    /// The block carries no state root.
    #[error("the proof's block carries no state root")]
    NoStateRoot,
    /// The account does not lead to the block's state root.
    #[error("the account with this content does not stand in the state that the proof's block names")]
    NotInState,
    /// The block is not certified.
    #[error("the proof's block is not certified: {0}")]
    Certificate(#[from] CertificateError),
}

impl UncertifiedAccountProof {
    /// The block whose certificate completes this proof.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The proof, with the certificate of [`UncertifiedAccountProof::header`].
    pub fn certify(self, certificate: Certificate) -> AccountProof {
        let UncertifiedAccountProof { address, account, slot, slot_count, path, header } = self;
        AccountProof { address, account, slot, slot_count, path, header, certificate }
    }
}

impl AccountProof {
    /// Decodes a proof.
    ///
    /// # Errors
    /// [`CodecError`] for anything but a canonical encoding within the bounds of every count.
    pub fn decode(bytes: &[u8]) -> Result<AccountProof, CodecError> {
        codec::decode(bytes, ACCOUNT_PROOF_BYTES_MAX)
    }

    /// Checks that a quorum of the genesis document's validators vouches for a state in which the account was as this proof says.
    /// The state is the one just before `header.timestamp_ms`.
    ///
    /// # Errors
    /// [`AccountProofError`] says what does not hold.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), AccountProofError> {
        let root = self.header.state_root.ok_or(AccountProofError::NoStateRoot)?;
        let value = SlotValue::Account { address: self.address, account: self.account.clone() };
        let leaf = merkle::leaf(&codec::encode(&value));
        let top = merkle::top_of_path(leaf, u64::from(self.slot), self.slot_count, &self.path);
        if top.map(|top| state_root(self.slot_count, &top)) != Some(root) {
            return Err(AccountProofError::NotInState);
        }
        Ok(self.certificate.verify(&self.header, genesis)?)
    }
}
