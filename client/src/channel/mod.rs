//! Payment channels for applications to embed: payments off the chain, with vouchers of a hold.
//!
//! The payer opens a hold with the condition `Voucher` and hands out vouchers ([`Payer`]); each says how much in all is the payee's. The payee
//! checks them, keeps the best one ([`Payee`]), and captures with it before the hold ends: when it likes, at the latest some time before
//! the expiry, and at once when the payer starts closing. Neither talks to a node here: the application carries vouchers from the one to
//! the other, shows the payee the hold as a node has it ([`Payee::observe`]), and signs and submits the operations that it is given.
//!
//! Both sides write a small file, and sync it, before they give out or accept a voucher: a payer that is started again never signs for
//! more than its budget nor for less than before, a payee loses nothing that it accepted. The file is replaced as a whole. One process
//! at a time may use it.
//!
//! A [`Watcher`] keeps the best vouchers of many channels for payees that are offline: anybody may send a capture, since the money
//! only goes to the payee. It holds no key that could take anything.

mod file;
mod payee;
mod payer;
mod watcher;

pub use payee::{Payee, Terms};
pub use payer::Payer;
pub use watcher::Watcher;

use farthing_core::amount::Amount;
use farthing_core::signature::SignatureError;
use farthing_core::transaction::TransactionId;

/// Why a voucher was not given out or not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The file cannot be read or written.
    #[error("the channel's file {path:?} {action}: {error}")]
    File {
        /// Where it is.
        path: std::path::PathBuf,
        /// What failed.
        action: &'static str,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path:?} is not the file of this channel: {reason}")]
    NotThisChannel {
        /// Where it is.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A payment of nothing.
    #[error("a payment is at least 1 mite")]
    NothingPaid,
    /// More than the payer may spend on the channel.
    #[error("the channel's budget is {budget}, of which {signed} is spent: top the hold up, or pay less")]
    OverBudget {
        /// What may be signed for in all.
        budget: Amount,
        /// What was signed for.
        signed: Amount,
    },
    /// A budget below what was signed for already.
    #[error("{signed} is spent already: a lower budget would change nothing")]
    BudgetTooLow {
        /// What was signed for.
        signed: Amount,
    },
    /// The hold has another condition.
    #[error("the hold is not a channel: its condition is not a voucher")]
    NotAChannel,
    /// The hold pays somebody else.
    #[error("the hold pays another account: its vouchers are worth nothing here")]
    NotForMe,
    /// The hold has another voucher key than the channel.
    #[error("the hold's voucher key is not that of the channel: it is another hold")]
    OtherKey,
    /// The channel was closed, or its hold is gone.
    #[error("the channel is closed: its vouchers pay nothing any more, ask for another channel")]
    Closed,
    /// The time kept in reserve for captures leaves too little of the close delay.
    #[error(
        "{safety_ms} ms before the end is too early for a close delay of {close_delay_ms} ms: choose at most half of it"
    )]
    SafetyTooLong {
        /// What was asked for, in milliseconds.
        safety_ms: u64,
        /// The hold's, in milliseconds.
        close_delay_ms: u64,
    },
    /// The voucher is of another hold.
    #[error("the voucher is of the hold {0}, not of this channel's")]
    OtherHold(TransactionId),
    /// The voucher says more than the hold holds.
    #[error("the voucher says {cumulative}, the hold holds {amount}: the payer must top it up first")]
    OverHold {
        /// What the voucher says.
        cumulative: Amount,
        /// What the hold holds.
        amount: Amount,
    },
    /// The voucher adds less to the best one than asked for.
    #[error("the voucher adds {added}, at least {wanted} was asked for")]
    TooLittle {
        /// What it adds.
        added: Amount,
        /// What was asked for.
        wanted: Amount,
    },
    /// The hold ends too soon to capture safely.
    #[error("the hold ends too soon: capture what there is and ask for a top-up or another channel")]
    EndsTooSoon,
    /// The voucher's signature is not the payer's.
    #[error("the voucher is not signed by the channel's key: {0}")]
    Signature(#[from] SignatureError),
}
