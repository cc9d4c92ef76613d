//! Lines: what a transaction means to one account, and how they are found.
//!
//! A line is stored once, whole, in the history of its account, so that it outlives the block's body. It is found by three more
//! topics, whose indexes hold no more than a pointer to it:
//!
//! | topic | lines |
//! |---|---|
//! | [`Topic::Account`] | all of an account |
//! | [`Topic::Reference`] | what was paid with this reference, and the holds that were opened with it |
//! | [`Topic::Hold`] | every operation on a hold, and what it paid, to payee and payer |
//! | [`Topic::HoldsOf`] | the openings of all holds that an account is payer or payee of |
//!
//! Only what was executed is found by a topic other than its account: rejected transactions of strangers are of no interest. All indexes
//! are kept as long as histories are: for ever.

use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::transaction::{Operation, TransactionId};

/// Which way money went, seen from the account whose history it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Direction {
    /// Paid by the account.
    Out,
    /// Received by the account.
    In,
}

/// What a transaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum OperationKind {
    /// It paid.
    Transfer,
    /// It set money aside.
    OpenHold,
    /// It paid from a hold.
    Capture,
    /// It gave a hold back, or started its closing.
    Release,
    /// It added to a hold.
    TopUp,
    /// It set a delegated key.
    SetKey,
    /// It removed a delegated key.
    RemoveKey,
    /// It set the account's policy.
    SetPolicy,
    /// It freed an account.
    Reclaim,
}

impl OperationKind {
    /// The kind of an operation.
    pub fn of(operation: &Operation) -> OperationKind {
        match operation {
            Operation::Transfer { .. } => OperationKind::Transfer,
            Operation::OpenHold(_) => OperationKind::OpenHold,
            Operation::Capture(_) => OperationKind::Capture,
            Operation::Release { .. } => OperationKind::Release,
            Operation::TopUp { .. } => OperationKind::TopUp,
            Operation::SetKey(_) => OperationKind::SetKey,
            Operation::RemoveKey { .. } => OperationKind::RemoveKey,
            Operation::SetPolicy(_) => OperationKind::SetPolicy,
            Operation::Reclaim { .. } => OperationKind::Reclaim,
        }
    }
}

/// One line of an account's history. Stored whole, so that it outlives the block's body.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct HistoryRecord {
    /// The account.
    pub account: Address,
    /// The block's height.
    pub height: u64,
    /// The transaction's place in the block.
    pub position: u32,
    /// Orders the lines of one transaction of one account: 0 for `Out`, 1 + the output's (or other payment's) number for `In`.
    pub line: u32,
    /// The transaction.
    pub id: TransactionId,
    /// What became of it.
    pub code: ResultCode,
    /// What it did.
    pub operation: OperationKind,
    /// In or out.
    pub direction: Direction,
    /// The payer, or the payee of the first output or of the hold; for `Out`, the account itself if nobody is paid.
    pub counterparty: Address,
    /// What came in, or for `Out` the total of all outputs (nothing if that overflows), or what a hold sets aside.
    pub amount: Amount,
    /// The output's reference (for `Out` the first one's).
    pub reference: Option<[u8; 32]>,
    /// The hold that the transaction opened or is about.
    pub hold: Option<TransactionId>,
    /// How many outputs the transaction has; 0 if it is no transfer.
    pub output_count: u32,
    /// The block's timestamp in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
}

/// The place of a line within a topic; later lines are greater.
pub type HistoryCursor = (u64, u32, u32);

/// What lines are about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Topic {
    /// An account's own history.
    Account(Address),
    /// A reference.
    Reference([u8; 32]),
    /// A hold.
    Hold(TransactionId),
    /// The holds of an account.
    HoldsOf(Address),
}

/// Which lines of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineRange {
    /// Those strictly before a place, or all, newest first.
    Before(Option<HistoryCursor>),
    /// Those strictly after a place, oldest first.
    After(HistoryCursor),
}

impl HistoryRecord {
    /// Its place within its account's history.
    pub fn cursor(&self) -> HistoryCursor {
        (self.height, self.position, self.line)
    }

    /// The topics other than its account by which it is found: at most three.
    pub(super) fn topics(&self) -> impl Iterator<Item = Topic> {
        let is_opening = self.operation == OperationKind::OpenHold && self.direction == Direction::Out;
        let is_payment = self.direction == Direction::In || is_opening;
        let reference = self.reference.filter(|_| is_payment).map(Topic::Reference);
        let hold = self.hold.map(Topic::Hold);
        let parties = is_opening.then_some([Topic::HoldsOf(self.account), Topic::HoldsOf(self.counterparty)]);
        let topics = reference.into_iter().chain(hold).chain(parties.into_iter().flatten());
        topics.filter(|_| self.code.is_executed())
    }
}
