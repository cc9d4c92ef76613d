//! Submitting transactions and asking what became of them.

use crate::operation::{OperationJson, TransactionJsonError};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::block::{BlockHash, DropReason, ResultCode};
use farthing_core::codec::CodecError;
use farthing_core::keys::{PublicKey, Signature};
use farthing_core::receipt::Receipt;
use farthing_core::transaction::{Authority, SignedTransaction, Transaction, TransactionId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The most transactions of one request.
pub const TRANSACTIONS_MAX: usize = 1_024;

/// The most bytes of the body of one request.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// How long a node waits for `final` or `certified` when the request does not say, in milliseconds.
pub const WAIT_TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// The longest that a node waits, in milliseconds.
pub const WAIT_TIMEOUT_MS_MAX: u64 = 60_000;

/// How long to wait before a submission is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Until the mempool has taken or refused them.
    #[default]
    Accepted,
    /// Until their commits are decided and synced at this node.
    Final,
    /// Until their blocks are certified; then the answer carries receipts.
    Certified,
}

/// The query of a submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SubmitQuery {
    /// What to wait for.
    #[serde(default)]
    #[param(inline)]
    pub wait: Wait,
    /// How long to wait at most, in milliseconds: up to 60,000, 10,000 without it. After that, what is known is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The body of a JSON submission: one transaction or a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Submission {
    /// One.
    One(Box<SignedTransactionJson>),
    /// Up to [`TRANSACTIONS_MAX`].
    Many(Vec<SignedTransactionJson>),
}

impl Submission {
    /// The transactions, in order.
    pub fn into_vec(self) -> Vec<SignedTransactionJson> {
        match self {
            Submission::One(one) => vec![*one],
            Submission::Many(many) => many,
        }
    }
}

/// The answer to a submission.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SubmitResponse {
    /// One status for each transaction, in the order of the request.
    pub transactions: Vec<TransactionStatus>,
}

/// What a node knows of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionStatus {
    /// The transaction.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// What became of it.
    pub status: TransactionState,
    /// Its result code, once it is in a block.
    #[schema(value_type = Option<String>, example = "executed")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ResultCode>,
    /// Why it is in no block, if it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DroppedReason>,
    /// What that means and what to do, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the reason will be gone, if it is one that time mends, in milliseconds since the Unix epoch. Submit it again then, or sign a new
    /// one if it is no longer valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes_at_ms: Option<u64>,
    /// Its place, once it is in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockPosition>,
    /// Whether this node holds a certificate of that block.
    pub certified: bool,
    /// The transaction itself, if the node still has it. Submissions are answered without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<SignedTransactionJson>,
    /// The proof, in the answer to a submission with `wait=certified`.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

impl TransactionStatus {
    /// A status about which no more is known than its state.
    pub fn new(id: TransactionId, status: TransactionState) -> TransactionStatus {
        TransactionStatus {
            id,
            status,
            code: None,
            reason: None,
            detail: None,
            passes_at_ms: None,
            block: None,
            certified: false,
            transaction: None,
            receipt: None,
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// The node has taken it and it is in no block yet.
    Pending,
    /// In a block, final: everything was done. `code` is `executed`.
    Executed,
    /// In a block, final: nothing was done, the nonce is used up. `code` says why.
    Rejected,
    /// In no block: the node left it out or refused to take it, and `reason` says why. It consumed nothing and may come again.
    Dropped,
    /// In no block, and its validity has passed: it can never execute any more.
    Expired,
    /// The node does not know it, which is no proof that it cannot be in a block.
    Unknown,
}

impl TransactionState {
    /// Whether this can never change any more.
    pub fn is_settled(self) -> bool {
        matches!(self, TransactionState::Executed | TransactionState::Rejected | TransactionState::Expired)
    }
}

/// Why a transaction is in no block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DroppedReason {
    /// The sender has no account.
    UnknownSender,
    /// The sender has no such delegated key, or it was removed or has expired.
    UnknownKey,
    /// Its validity has passed.
    Expired,
    /// Its validity ends too far in the future.
    ValidTooLong,
    /// The nonce was used before, or is too far below the highest one used to tell.
    NonceUsed,
    /// The nonce is zero or too far above the highest one used.
    NonceTooHigh,
    /// The account has sent more than its bandwidth allows: it grows back.
    InsufficientBandwidth,
    /// The signature does not match.
    BadSignature,
    /// The node's mempool is full: try again later or another node.
    MempoolFull,
    /// The sender has too many transactions waiting at this node already: wait for them.
    SenderLimit,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl From<DropReason> for DroppedReason {
    fn from(reason: DropReason) -> DroppedReason {
        match reason {
            DropReason::UnknownSender => DroppedReason::UnknownSender,
            DropReason::UnknownKey => DroppedReason::UnknownKey,
            DropReason::Expired => DroppedReason::Expired,
            DropReason::ValidTooLong => DroppedReason::ValidTooLong,
            DropReason::NonceUsed => DroppedReason::NonceUsed,
            DropReason::NonceTooHigh => DroppedReason::NonceTooHigh,
            DropReason::InsufficientBandwidth => DroppedReason::InsufficientBandwidth,
        }
    }
}

/// A transaction's place in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlockPosition {
    /// The block's height.
    pub height: u64,
    /// The block's hash.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// The transaction's position in the block.
    pub position: u32,
    /// The block's timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The commit that made the block.
    pub commit_index: u64,
}

/// A signed transaction as JSON. What is signed is its canonical encoding, never this text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedTransactionJson {
    /// The address of the account that pays.
    #[schema(example = "farl1qp...")]
    pub sender: String,
    /// The delegated key that signed, 64 hexadecimal digits; without it the account's own key did.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// A number that the sender and key use once; the first is 1.
    pub nonce: u64,
    /// The last time at which it may execute, in milliseconds since the Unix epoch.
    pub valid_until_ms: u64,
    /// What to do.
    pub operation: OperationJson,
    /// The signature over the transaction's id, 128 hexadecimal digits.
    #[schema(value_type = String)]
    pub signature: Signature,
}

impl SignedTransactionJson {
    /// The JSON form of a transaction on the network with this prefix.
    pub fn new(signed: &SignedTransaction, prefix: &AddressPrefix) -> SignedTransactionJson {
        let Transaction { sender, authority, nonce, valid_until_ms, operation } = &signed.transaction;
        SignedTransactionJson {
            sender: sender.encode(prefix),
            key: match authority {
                Authority::Root => None,
                Authority::Key(key) => Some(*key),
            },
            nonce: *nonce,
            valid_until_ms: *valid_until_ms,
            operation: OperationJson::new(operation, prefix),
            signature: signed.signature,
        }
    }

    /// The transaction, within the bounds that its encoding has. The signature is not checked.
    ///
    /// # Errors
    /// [`TransactionJsonError`] says what is wrong.
    pub fn to_signed(&self, prefix: &AddressPrefix) -> Result<SignedTransaction, TransactionJsonError> {
        let operation = self.operation.to_operation(prefix)?;
        let transaction = Transaction {
            sender: Address::decode(&self.sender, prefix)?,
            authority: self.key.map_or(Authority::Root, Authority::Key),
            nonce: self.nonce,
            valid_until_ms: self.valid_until_ms,
            operation,
        };
        Ok(SignedTransaction { transaction, signature: self.signature })
    }
}

/// Decodes the body of an `application/octet-stream` submission: signed encodings, one after the other.
///
/// # Errors
/// [`CodecError`] if the body is longer than [`REQUEST_BYTES_MAX`], holds no or more than [`TRANSACTIONS_MAX`] transactions,
/// or anything but their canonical encodings.
pub fn decode_concatenated(body: &[u8]) -> Result<Vec<SignedTransaction>, CodecError> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(CodecError::TooLong { actual: body.len(), max: REQUEST_BYTES_MAX });
    }
    let mut rest = body;
    let mut transactions = Vec::new();
    while !rest.is_empty() {
        if transactions.len() == TRANSACTIONS_MAX {
            return Err(CodecError::Malformed(format!("more than {TRANSACTIONS_MAX} transactions in one request")));
        }
        let signed = borsh::BorshDeserialize::deserialize(&mut rest).map_err(|error: std::io::Error| {
            CodecError::Malformed(format!("transaction {}: {error}", transactions.len()))
        })?;
        transactions.push(signed);
    }
    if transactions.is_empty() {
        return Err(CodecError::Malformed("no transaction".into()));
    }
    Ok(transactions)
}
