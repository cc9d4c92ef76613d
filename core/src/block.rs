//! Blocks: what the ledger makes of commits.
//!
//! Block 0 stands for the genesis document. Every later block comes from one commit with transactions (or, once a second of
//! commit time at most, from an empty one that publishes a changed state root, or the same one again after a long idle time), and
//! names its predecessor by hash.

use crate::codec;
use crate::hash::{ChainHash, Digest};
use crate::transaction::TransactionId;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What identifies a block, and what validators attest.
pub type BlockHash = Digest;

/// The most bytes that an encoded header takes.
pub const HEADER_BYTES_MAX: usize = 32 + 8 + 8 + 32 + 8 + 32 + 8 + 32 + 33 + 4;

/// The header of a block.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct BlockHeader {
    /// The network.
    pub chain: ChainHash,
    /// The epoch of the commit.
    pub epoch: u64,
    /// Blocks before this one; the genesis block has height 0.
    pub height: u64,
    /// The hash of the block before; zero for the genesis block.
    pub previous: BlockHash,
    /// The index of the commit that made this block; 0 for the genesis block.
    pub commit_index: u64,
    /// The digest of that commit; zero for the genesis block.
    pub commit_digest: Digest,
    /// The commit's timestamp in milliseconds since the Unix epoch. It never falls.
    pub timestamp_ms: u64,
    /// The Merkle root over `hash(id ‖ result)` of the block's transactions, in order.
    pub transactions_root: Digest,
    /// The state root **before** this block's transactions, in the first block of each second.
    pub state_root: Option<Digest>,
    /// How many transactions the block holds, executed and rejected ones.
    pub transaction_count: u32,
}

impl BlockHeader {
    /// The block's hash.
    pub fn hash(&self) -> BlockHash {
        Digest::of("block/v1", &[&codec::encode(self)])
    }
}

/// What became of a transaction in a block.
///
/// Where several apply, the one with the lowest number other than 0 is given. The documentation of the crate says which operations
/// can meet which. Codes are never used again for anything else.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum ResultCode {
    /// Everything was done.
    Executed = 0,
    /// The delegated key may not use this operation.
    OperationNotAllowed = 1,
    /// A hold for oneself.
    PayeeIsSender = 2,
    /// An output without `open`, a hold or a reclaim names an address that has no account.
    NoSuchAccount = 3,
    /// There is no such hold, or no more.
    NoSuchHold = 4,
    /// There is no such delegated key.
    NoSuchKey = 5,
    /// The account has as many delegated keys and tombstones as it may have.
    TooManyKeys = 6,
    /// The sender may not do this to the hold, or not before its end.
    NotEntitled = 7,
    /// The hold has ended: it can only be released.
    HoldEnded = 8,
    /// The payer has started closing the hold.
    HoldClosing = 9,
    /// The expiry is not after the commit, too far ahead, or earlier than it was.
    ExpiryOutOfRange = 10,
    /// More than the hold's amount, or not all of it where all of it is asked for.
    WrongCumulative = 11,
    /// The voucher or preimage is missing, of another kind than the hold's condition, or wrong.
    BadProof = 12,
    /// The account to be reclaimed is in use or was not long enough out of it.
    NotReclaimable = 13,
    /// The outputs add up to more than 2^64 − 1 mites.
    AmountOverflow = 14,
    /// The delegated key may not pay one of the payees.
    PayeeNotAllowed = 15,
    /// More than the delegated key may spend in one transaction.
    OverTransactionLimit = 16,
    /// More than the delegated key may spend in the period at hand.
    OverKeyLimit = 17,
    /// The account's policy blocks all spending.
    AccountBlocked = 18,
    /// More than the account's policy lets be spent in the period at hand.
    OverSpendingLimit = 19,
    /// The sender's balance is less than what is paid or set aside.
    InsufficientBalance = 20,
    /// The sender cannot lock the reserve of an account, hold or key that the transaction makes.
    InsufficientReserve = 21,
}

impl ResultCode {
    /// All of them, ascending.
    pub const ALL: [ResultCode; 22] = {
        use ResultCode::*;
        [
            Executed,
            OperationNotAllowed,
            PayeeIsSender,
            NoSuchAccount,
            NoSuchHold,
            NoSuchKey,
            TooManyKeys,
            NotEntitled,
            HoldEnded,
            HoldClosing,
            ExpiryOutOfRange,
            WrongCumulative,
            BadProof,
            NotReclaimable,
            AmountOverflow,
            PayeeNotAllowed,
            OverTransactionLimit,
            OverKeyLimit,
            AccountBlocked,
            OverSpendingLimit,
            InsufficientBalance,
            InsufficientReserve,
        ]
    };

    /// Whether the transaction did what it says; otherwise it consumed its nonce and bandwidth and did nothing else.
    pub fn is_executed(self) -> bool {
        self == ResultCode::Executed
    }
}

/// Why a transaction was left out of its block. It consumed nothing, and may come again.
///
/// Where several apply, the first in this order is given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The sender has no account.
    UnknownSender,
    /// The sender has no such delegated key, or it was removed or is past its expiry.
    UnknownKey,
    /// The commit's timestamp is past `valid_until_ms`.
    Expired,
    /// `valid_until_ms` lies too far ahead of the commit's timestamp.
    ValidTooLong,
    /// The nonce was used before, or is too far below the highest one used to tell.
    NonceUsed,
    /// The nonce is zero or too far above the highest one used.
    NonceTooHigh,
    /// The account does not have the bandwidth ([`crate::bandwidth`]).
    InsufficientBandwidth,
}

/// Why a transaction cannot be admitted now, and when it could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why it would be dropped.
    pub reason: DropReason,
    /// From when on the reason will be gone, if nothing else happens, in milliseconds since the Unix epoch; `None` if time alone does not
    /// help. It may lie after the transaction's `valid_until_ms`: then it must be signed anew.
    pub passes_at_ms: Option<u64>,
}

/// A transaction's place in a block and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct TransactionResult {
    /// The transaction.
    pub id: TransactionId,
    /// What became of it.
    pub code: ResultCode,
}
