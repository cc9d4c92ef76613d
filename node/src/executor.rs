//! Runs commits through the ledger, in order, as soon as the verdicts on all their payloads are in.

use crate::payload;
use crate::storage::{BlockEntry, BlockRecord, Direction, HistoryRecord, OperationKind, PayloadRecord};
use farthing_consensus::commit::{Commit, CommittedVertices};
use farthing_consensus::vertex::VertexRef;
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHeader, DropReason, ResultCode, TransactionResult};
use farthing_core::execution::{CommitContext, ExecutedBlock, Ledger, Move};
use farthing_core::flush::StateFlush;
use farthing_core::hash::Digest;
use farthing_core::transaction::{Operation, Output, Transaction, TransactionId, VerifiedTransaction};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What verification says of a payload.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Every transaction is well-formed and carries a good signature.
    Valid(Vec<VerifiedTransaction>),
    /// Something in it is not: nothing of it is executed.
    Void,
}

/// The state machine with the commits that wait for it.
#[derive(Debug)]
pub struct Executor {
    ledger: Ledger,
    keeps_history: bool,
    queue: VecDeque<CommittedVertices>,
    /// Verdicts asked for (`None`) and given, of vertices with a payload. Ordered by round, so that old ones can be cut off.
    verdicts: BTreeMap<VertexRef, Option<Verdict>>,
}

/// What executing one commit did.
#[derive(Debug)]
pub struct Executed {
    /// The commit's index.
    pub commit_index: u64,
    /// The block, unless the commit made none.
    pub block: Option<StoredBlock>,
    /// Transactions left out, with their reasons.
    pub dropped: Vec<(TransactionId, DropReason)>,
    /// State to be written, if this is a flush point.
    pub flush: Option<StateFlush>,
    /// Authors of payloads that were void.
    pub void_authors: Vec<u16>,
}

/// A block as it goes to storage.
#[derive(Debug)]
pub struct StoredBlock {
    /// The block's hash.
    pub hash: Digest,
    /// The block.
    pub record: BlockRecord,
    /// Who sent its transactions, in their order, each with the slot of its account.
    pub senders: Vec<(Address, u32)>,
    /// The lines that it adds to the histories of accounts, if they are kept.
    pub history: Vec<HistoryRecord>,
}

impl Executor {
    /// Goes on from this state; makes lines for the histories of accounts if they are kept.
    pub fn new(ledger: Ledger, keeps_history: bool) -> Executor {
        Executor { ledger, keeps_history, queue: VecDeque::new(), verdicts: BTreeMap::new() }
    }

    /// The ledger, for questions.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, for roots and proofs, which fill its caches.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Commits that wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Notes that a verdict on this vertex is wanted. True if it was not asked for before.
    pub fn want_verdict(&mut self, reference: VertexRef) -> bool {
        match self.verdicts.entry(reference) {
            std::collections::btree_map::Entry::Occupied(_) => false,
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(None);
                true
            }
        }
    }

    /// Takes a verdict. One that nobody waits for any more is ignored.
    pub fn verdict(&mut self, reference: &VertexRef, verdict: Verdict) {
        if let Some(slot) = self.verdicts.get_mut(reference) {
            slot.get_or_insert(verdict);
        }
    }

    /// The verdict on a vertex, if it is known and not forgotten.
    pub fn verdict_on(&self, reference: &VertexRef) -> Option<&Verdict> {
        self.verdicts.get(reference)?.as_ref()
    }

    /// Queues a commit, which must be the next one.
    pub fn enqueue(&mut self, commit: CommittedVertices) {
        let expected = self.queue.back().map_or(self.ledger.commit_index(), |last| last.commit.index) + 1;
        assert_eq!(commit.commit.index, expected, "commits are executed in order, each once");
        self.queue.push_back(commit);
    }

    /// Executes the next commit if there is one and all its verdicts are in.
    pub fn execute_next(&mut self) -> Option<Executed> {
        let commit = self.queue.front()?;
        let ready = commit
            .vertices
            .iter()
            .filter(|vertex| !vertex.payload().is_empty())
            .all(|vertex| matches!(self.verdicts.get(&vertex.reference()), Some(Some(_))));
        if !ready {
            return None;
        }
        let commit = self.queue.pop_front()?;
        let verdicts = commit
            .vertices
            .iter()
            .filter(|vertex| !vertex.payload().is_empty())
            .map(|vertex| {
                let reference = vertex.reference();
                let verdict = self.verdicts.remove(&reference).flatten().expect("checked above");
                (reference, verdict)
            })
            .collect();
        Some(run(&mut self.ledger, &commit.commit, commit.digest, verdicts, None, self.keeps_history))
    }

    /// Forgets verdicts on vertices at or below a round that can no longer be committed, unless a queued commit has them.
    pub fn forget_up_to(&mut self, gc_round: u64) {
        let oldest_queued =
            self.queue.iter().flat_map(|commit| commit.vertices.iter().map(|vertex| vertex.round())).min();
        let cut = oldest_queued.map_or(gc_round, |round| gc_round.min(round.saturating_sub(1)));
        self.verdicts = self.verdicts.split_off(&VertexRef { round: cut + 1, author: 0, digest: Digest::ZERO });
    }
}

/// Executes one commit, given the verdict on each of its payloads that is not empty, in order; with the lines for the histories of
/// accounts if they are wanted. If the commit was executed before, the state root in its block may be given: then it is not computed
/// ([`Ledger::execute_again`]).
pub fn run(
    ledger: &mut Ledger,
    commit: &Commit,
    digest: Digest,
    verdicts: Vec<(VertexRef, Verdict)>,
    known_root: Option<Digest>,
    with_history: bool,
) -> Executed {
    let mut payloads = Vec::with_capacity(verdicts.len());
    let (mut transactions, mut places) = (Vec::new(), Vec::new());
    let mut void_authors = Vec::new();
    for (vertex, verdict) in verdicts {
        let payload = u16::try_from(payloads.len()).expect("a commit has fewer vertices");
        payloads.push(PayloadRecord { vertex, void: matches!(verdict, Verdict::Void) });
        match verdict {
            Verdict::Valid(verified) => {
                places.extend((0..verified.len() as u32).map(|place| (payload, place)));
                transactions.extend(verified);
            }
            Verdict::Void => void_authors.push(vertex.author),
        }
    }
    let payees = with_history.then(|| payees_of_holds(ledger, &transactions));
    let context = CommitContext { epoch: commit.epoch, index: commit.index, digest, timestamp_ms: commit.timestamp_ms };
    let execution = match known_root {
        Some(state_root) => ledger.execute_again(&context, &transactions, state_root),
        None => ledger.execute(&context, &transactions),
    };
    let block = execution.block.map(|block| store(block, payloads, &places, &transactions, payees.as_ref()));
    Executed { commit_index: commit.index, block, dropped: execution.dropped, flush: execution.flush, void_authors }
}

/// Decodes a payload that this node verified before it wrote it down.
pub fn verdict_from_own_storage(payload: &[u8], void: bool, chain: &Digest) -> Option<Verdict> {
    if void {
        return Some(Verdict::Void);
    }
    let transactions = payload::decode(payload).ok()?;
    let trusted = |signed| VerifiedTransaction::from_own_storage(signed, chain);
    Some(Verdict::Valid(transactions.into_iter().map(trusted).collect()))
}

fn store(
    block: ExecutedBlock,
    payloads: Vec<PayloadRecord>,
    places: &[(u16, u32)],
    transactions: &[VerifiedTransaction],
    payees: Option<&HashMap<TransactionId, Address>>,
) -> StoredBlock {
    let history = payees.map_or(Vec::new(), |payees| history_of(&block, transactions, payees));
    let entry = |(index, result): &(u32, TransactionResult)| {
        let (payload, place) = places[*index as usize];
        BlockEntry { payload, place, id: result.id, code: result.code }
    };
    let entries = block.results.iter().map(entry).collect();
    let sender = |((index, _), slot): (&(u32, _), &u32)| (transactions[*index as usize].transaction().sender, *slot);
    let senders = block.results.iter().zip(&block.sender_slots).map(sender).collect();
    StoredBlock { hash: block.hash, record: BlockRecord { header: block.header, payloads, entries }, senders, history }
}

/// The lines that a block adds to histories; `transactions` are those that it was executed from, `payees` whom the holds pay that they
/// open or top up.
pub(crate) fn history_of(
    block: &ExecutedBlock,
    transactions: &[VerifiedTransaction],
    payees: &HashMap<TransactionId, Address>,
) -> Vec<HistoryRecord> {
    let mut history = Vec::with_capacity(2 * block.results.len());
    let mut moves = block.moves.iter().peekable();
    for (position, (index, result)) in (0..).zip(&block.results) {
        let transaction = &transactions[*index as usize];
        let sent = sent_line(&block.header, position, transaction, result.code, payees);
        add_received(&mut history, &sent, transaction.transaction().outputs());
        let mut number = 0;
        while let Some((_, moved)) = moves.next_if(|(other, _)| other == index) {
            history.push(moved_line(number, &sent, moved));
            number += 1;
        }
        history.push(sent);
    }
    history
}

/// Whom the holds pay that these transactions open or top up. Before they are executed: a hold may be closed by then.
pub(crate) fn payees_of_holds(
    ledger: &Ledger,
    transactions: &[VerifiedTransaction],
) -> HashMap<TransactionId, Address> {
    let payee = |verified: &VerifiedTransaction| match &verified.transaction().operation {
        Operation::OpenHold(open) => Some((verified.id(), open.payee)),
        Operation::TopUp { hold, .. } => Some((*hold, ledger.hold(hold)?.payee)),
        _ => None,
    };
    transactions.iter().filter_map(payee).collect()
}

/// The line of the sender.
fn sent_line(
    header: &BlockHeader,
    position: u32,
    verified: &VerifiedTransaction,
    code: ResultCode,
    payees: &HashMap<TransactionId, Address>,
) -> HistoryRecord {
    let transaction = verified.transaction();
    let (counterparty, amount, reference, outputs) = spending(transaction, payees);
    HistoryRecord {
        account: transaction.sender,
        height: header.height,
        position,
        line: 0,
        id: verified.id(),
        code,
        operation: OperationKind::of(&transaction.operation),
        direction: Direction::Out,
        counterparty,
        amount,
        reference,
        hold: hold_of(verified),
        output_count: outputs,
        timestamp_ms: header.timestamp_ms,
    }
}

/// Whom a transaction pays, how much in all, with which reference, in how many outputs. What pays nobody is the sender's with itself.
fn spending(
    transaction: &Transaction,
    payees: &HashMap<TransactionId, Address>,
) -> (Address, Amount, Option<[u8; 32]>, u32) {
    match &transaction.operation {
        Operation::Transfer { outputs } => {
            let first = outputs.first().expect("a transfer has an output");
            let total = Amount::checked_sum(outputs.iter().map(|output| output.amount)).unwrap_or(Amount::ZERO);
            (first.to, total, first.reference, outputs.len() as u32)
        }
        Operation::OpenHold(open) => (open.payee, open.amount, open.reference.map(|reference| reference.0), 0),
        Operation::TopUp { hold, amount, .. } => {
            (payees.get(hold).copied().unwrap_or(transaction.sender), *amount, None, 0)
        }
        _ => (transaction.sender, Amount::ZERO, None, 0),
    }
}

/// The hold that a transaction opens or is about.
fn hold_of(verified: &VerifiedTransaction) -> Option<TransactionId> {
    match &verified.transaction().operation {
        Operation::OpenHold(_) => Some(verified.id()),
        Operation::Capture(capture) => Some(capture.hold),
        Operation::Release { hold } | Operation::TopUp { hold, .. } => Some(*hold),
        _ => None,
    }
}

/// One line an output for the payees, if the transfer was executed.
fn add_received(history: &mut Vec<HistoryRecord>, sent: &HistoryRecord, outputs: &[Output]) {
    if sent.code.is_executed() {
        history.extend(outputs.iter().enumerate().map(|(number, output)| HistoryRecord {
            account: output.to,
            line: 1 + number as u32,
            direction: Direction::In,
            counterparty: sent.account,
            amount: output.amount,
            reference: output.reference,
            ..sent.clone()
        }));
    }
}

/// The line of somebody who got money out of a hold or a reserve.
fn moved_line(number: u32, sent: &HistoryRecord, moved: &Move) -> HistoryRecord {
    HistoryRecord {
        account: moved.to,
        line: 1 + number,
        direction: Direction::In,
        counterparty: moved.from,
        amount: moved.amount,
        reference: moved.reference,
        ..sent.clone()
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
