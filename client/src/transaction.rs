//! Submitting transactions and asking what became of them.

use farthing_core::address::{Address, AddressError, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHash, DropReason, ResultCode};
use farthing_core::codec::CodecError;
use farthing_core::hash::Digest;
use farthing_core::keys::Signature;
use farthing_core::receipt::Receipt;
use farthing_core::transaction::{
    Authority, OUTPUTS_MAX, Operation, Output, SignedTransaction, Transaction, TransactionId,
};
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
    pub code: Option<ResultCode>,
    /// Why it is in no block, if it was dropped.
    pub reason: Option<DroppedReason>,
    /// What that means and what to do, for people.
    pub detail: Option<String>,
    /// Its place, once it is in a block.
    pub block: Option<BlockPosition>,
    /// Whether this node holds a certificate of that block.
    pub certified: bool,
    /// The transaction itself, if the node still has it. Submissions are answered without it.
    pub transaction: Option<SignedTransactionJson>,
    /// The proof, in the answer to a submission with `wait=certified`.
    #[schema(value_type = Option<Object>)]
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
    /// Its validity has passed.
    Expired,
    /// Its validity ends too far in the future.
    ValidTooLong,
    /// The nonce was used before, or is too far below the highest one used to tell.
    NonceUsed,
    /// The nonce is zero or too far above the highest one used.
    NonceTooHigh,
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
            DropReason::Expired => DroppedReason::Expired,
            DropReason::ValidTooLong => DroppedReason::ValidTooLong,
            DropReason::NonceUsed => DroppedReason::NonceUsed,
            DropReason::NonceTooHigh => DroppedReason::NonceTooHigh,
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
    /// A number that the sender uses once; the first is 1.
    pub nonce: u64,
    /// The last time at which it may execute, in milliseconds since the Unix epoch.
    pub valid_until_ms: u64,
    /// What to do.
    pub operation: OperationJson,
    /// The signature over the transaction's id, 128 hexadecimal digits.
    #[schema(value_type = String)]
    pub signature: Signature,
}

/// What a transaction does, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperationJson {
    /// Pays 1 to 1,024 outputs, all or nothing.
    Transfer {
        /// The outputs, credited in order.
        outputs: Vec<OutputJson>,
    },
}

/// One payment of a transfer, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputJson {
    /// The address of the payee.
    #[schema(example = "farl1qp...")]
    pub to: String,
    /// How much, in mites, at least 1.
    #[schema(value_type = String, example = "2500000")]
    pub amount: Amount,
    /// The payee's own mark for this payment, 64 hexadecimal digits.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Digest>,
    /// Whether to open the payee's account if there is none, which locks a reserve of the sender's.
    #[serde(default)]
    pub open: bool,
}

/// A JSON transaction that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionJsonError {
    /// A mistyped address, or one of another network.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No output, or too many.
    #[error("a transfer has 1 to {OUTPUTS_MAX} outputs, this one has {0}")]
    OutputCount(usize),
    /// An output of nothing.
    #[error("an output pays at least 1 mite")]
    NothingPaid,
}

impl SignedTransactionJson {
    /// The JSON form of a transaction on the network with this prefix.
    pub fn new(signed: &SignedTransaction, prefix: &AddressPrefix) -> SignedTransactionJson {
        let Transaction { sender, authority: Authority::Root, nonce, valid_until_ms, operation } = &signed.transaction;
        let Operation::Transfer { outputs } = operation;
        let outputs = outputs
            .iter()
            .map(|output| OutputJson {
                to: output.to.encode(prefix),
                amount: output.amount,
                reference: output.reference.map(Digest),
                open: output.open,
            })
            .collect();
        SignedTransactionJson {
            sender: sender.encode(prefix),
            nonce: *nonce,
            valid_until_ms: *valid_until_ms,
            operation: OperationJson::Transfer { outputs },
            signature: signed.signature,
        }
    }

    /// The transaction, within the bounds that its encoding has. The signature is not checked.
    ///
    /// # Errors
    /// [`TransactionJsonError`] says what is wrong.
    pub fn to_signed(&self, prefix: &AddressPrefix) -> Result<SignedTransaction, TransactionJsonError> {
        let OperationJson::Transfer { outputs } = &self.operation;
        if !(1..=OUTPUTS_MAX).contains(&outputs.len()) {
            return Err(TransactionJsonError::OutputCount(outputs.len()));
        }
        let outputs = outputs.iter().map(|output| output.to_output(prefix)).collect::<Result<Vec<_>, _>>()?;
        let transaction = Transaction {
            sender: Address::decode(&self.sender, prefix)?,
            authority: Authority::Root,
            nonce: self.nonce,
            valid_until_ms: self.valid_until_ms,
            operation: Operation::Transfer { outputs },
        };
        Ok(SignedTransaction { transaction, signature: self.signature })
    }
}

impl OutputJson {
    fn to_output(&self, prefix: &AddressPrefix) -> Result<Output, TransactionJsonError> {
        if self.amount.is_zero() {
            return Err(TransactionJsonError::NothingPaid);
        }
        Ok(Output {
            to: Address::decode(&self.to, prefix)?,
            amount: self.amount,
            reference: self.reference.map(|digest| digest.0),
            open: self.open,
        })
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
