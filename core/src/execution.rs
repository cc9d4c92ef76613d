//! Execution: from a commit and its transactions to the next state, the results and a block.
//!
//! The rules are in the documentation of the crate. This file holds the [`Ledger`] and its way through a commit; `admission` decides
//! which transactions are dropped, each operation has a module of its own, and [`crate::flush`] is about keeping the state on disk.

use crate::account::Account;
use crate::address::Address;
use crate::amount::Amount;
use crate::block::{BlockHash, BlockHeader, DropReason, ResultCode, TransactionResult};
use crate::context::Context;
use crate::delegated_key::{self, DelegatedKey};
use crate::flush::StateFlush;
use crate::genesis::{Genesis, Parameters};
use crate::hash::{ChainHash, Digest};
use crate::hold::{self, Hold};
use crate::keys::PublicKey;
use crate::object::Object;
use crate::receipt::transactions_root;
use crate::state::State;
use crate::state_proof::UncertifiedStateProof;
use crate::state_tree::StateTree;
use crate::transaction::{Operation, TransactionId, VerifiedTransaction};
use crate::{policy, reclaim, transfer};

/// An idle network makes a block, with nothing in it but the state root, after so many commits without one: whoever starts from a
/// snapshot starts at a block with a state root, and nodes keep a bounded number of commits only.
pub const IDLE_COMMITS_MAX: u64 = 128;

/// What execution needs to know of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitContext {
    /// The epoch.
    pub epoch: u64,
    /// The commit's index; the first one is 1.
    pub index: u64,
    /// The commit's digest.
    pub digest: Digest,
    /// The commit's time in milliseconds since the Unix epoch; it never falls.
    pub timestamp_ms: u64,
}

/// A block as execution makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecutedBlock {
    /// The header.
    pub header: BlockHeader,
    /// The header's hash.
    pub hash: BlockHash,
    /// The block's transactions in order, each with its position among the transactions given to [`Ledger::execute`].
    pub results: Vec<(u32, TransactionResult)>,
    /// The slot of the sender's account of each of these, as it was executed.
    pub sender_slots: Vec<u32>,
    /// What was paid that the transactions do not say themselves, in order, each with the position of its transaction among those
    /// given to [`Ledger::execute`].
    pub moves: Vec<(u32, Move)>,
}

/// Money that came into a balance out of a hold or a reserve: a capture, what a hold gives back, the reserve of a reclaimed account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// Who is on the other side: the payer of a capture, the payee of a hold that closes, the account that was reclaimed.
    pub from: Address,
    /// Whose balance grew.
    pub to: Address,
    /// By how much.
    pub amount: Amount,
    /// The hold's reference.
    pub reference: Option<[u8; 32]>,
}

/// What became of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Execution {
    /// The block, if the commit makes one.
    pub block: Option<ExecutedBlock>,
    /// The transactions that were left out, in order.
    pub dropped: Vec<(TransactionId, DropReason)>,
    /// What to write to disk of the state **before** this commit, now and then ([`Ledger::set_flush_interval_ms`]).
    pub flush: Option<StateFlush>,
}

/// The state machine: the state, its tree, and where in the chain it stands.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) chain: ChainHash,
    pub(crate) parameters: Parameters,
    pub(crate) state: State,
    /// Stands at the state of the newest root that was computed ([`Ledger::execute_again`] is given some).
    pub(crate) tree: StateTree,
    pub(crate) newest: BlockHeader,
    pub(crate) newest_hash: BlockHash,
    pub(crate) commit_index: u64,
    pub(crate) timestamp_ms: u64,
    /// The newest block that carries a state root, which is the tree's; `None` until there is one after block 0, and after a
    /// restart until the block is executed again.
    pub(crate) rooted: Option<BlockHeader>,
    /// The commit time of the last flush, and the length of the intervals that have one each.
    pub(crate) flushed_ms: u64,
    pub(crate) flush_interval_ms: u64,
}

impl Ledger {
    /// The ledger at block 0.
    pub fn genesis(genesis: &Genesis) -> Ledger {
        let state = State::genesis(genesis);
        let tree = StateTree::new(&state);
        let newest = BlockHeader {
            chain: genesis.chain_hash(),
            epoch: 0,
            height: 0,
            previous: Digest::ZERO,
            commit_index: 0,
            commit_digest: Digest::ZERO,
            timestamp_ms: genesis.timestamp_ms(),
            transactions_root: transactions_root(&[]),
            state_root: Some(tree.root()),
            transaction_count: 0,
        };
        Ledger {
            chain: newest.chain,
            parameters: genesis.parameters().clone(),
            state,
            tree,
            newest_hash: newest.hash(),
            commit_index: 0,
            timestamp_ms: newest.timestamp_ms,
            rooted: None,
            flushed_ms: newest.timestamp_ms,
            flush_interval_ms: crate::flush::FLUSH_INTERVAL_MS_DEFAULT,
            newest,
        }
    }

    /// Executes one commit's transactions in order. The same transaction may come again, in one commit or later: it is dropped
    /// then, since its nonce is used.
    ///
    /// # Panics
    /// If the commit is not the next one, or its time lies before the last one's: consensus never delivers these. If an
    /// invariant of the ledger is broken.
    pub fn execute(&mut self, commit: &CommitContext, transactions: &[VerifiedTransaction]) -> Execution {
        self.run(commit, transactions, None)
    }

    /// Executes a commit again whose block is known to carry this state root, as [`Ledger::execute`], but without computing the root,
    /// which takes a third of the time with a million accounts. There is no flush and there are no proofs then, until a commit
    /// is executed whose root is computed: that one covers everything since, and shows whether the state is right. A flush that was due
    /// in between is left to the next interval.
    ///
    /// # Panics
    /// As [`Ledger::execute`].
    pub fn execute_again(
        &mut self,
        commit: &CommitContext,
        transactions: &[VerifiedTransaction],
        state_root: Digest,
    ) -> Execution {
        self.run(commit, transactions, Some(state_root))
    }

    fn run(
        &mut self,
        commit: &CommitContext,
        transactions: &[VerifiedTransaction],
        known_root: Option<Digest>,
    ) -> Execution {
        assert_eq!(commit.index, self.commit_index + 1, "commits are executed in the order of their indices");
        assert!(commit.timestamp_ms >= self.timestamp_ms, "the time of commits never falls");
        assert!(commit.epoch >= self.newest.epoch, "the epoch of commits never falls");

        let new_second = second(commit.timestamp_ms) > second(self.newest.timestamp_ms);
        // Only a block that holds transactions changes the state, and with a root it holds those after the root.
        let changed = self.newest.transaction_count > 0;
        let idle_for_long = commit.index - self.newest.commit_index >= IDLE_COMMITS_MAX;
        let mut flush = None;
        match known_root {
            Some(_) if new_second => self.pass_over_flush(commit.timestamp_ms),
            None if new_second => {
                self.tree.settle(&mut self.state);
                flush = self.flush(commit.timestamp_ms);
            }
            _ => {}
        }
        let mut done = Done::default();
        let mut dropped = Vec::new();
        for (position, transaction) in (0..).zip(transactions) {
            if let Err(reason) = self.apply(position, transaction, commit.timestamp_ms, &mut done) {
                dropped.push((transaction.id(), reason));
            }
        }
        let makes_block = !done.results.is_empty() || (new_second && (changed || idle_for_long));
        let root = new_second.then(|| known_root.unwrap_or_else(|| self.tree.root()));
        let block = makes_block.then(|| self.make_block(commit, root, done));
        if known_root.is_some() {
            // The tree does not stand at this root, so it proves nothing against it.
            self.rooted = None;
        }
        self.commit_index = commit.index;
        self.timestamp_ms = commit.timestamp_ms;
        self.state.assert_supply();
        Execution { block, dropped, flush }
    }

    /// The account of an address, after the newest commit.
    pub fn account(&self, address: &Address) -> Option<&Account> {
        self.state.account(address)
    }

    /// The hold that a transaction opened, if it is still there after the newest commit.
    pub fn hold(&self, id: &TransactionId) -> Option<&Hold> {
        self.state.hold(id)
    }

    /// A delegated key of an account, after the newest commit. It may be past its expiry.
    pub fn key(&self, owner: &Address, public_key: &PublicKey) -> Option<&DelegatedKey> {
        self.state.key(owner, public_key)
    }

    /// How many accounts there are.
    pub fn account_count(&self) -> u64 {
        self.state.account_count()
    }

    /// The state, after the newest commit.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The chain hash.
    pub fn chain(&self) -> &ChainHash {
        &self.chain
    }

    /// The constants of the network.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The header of the newest block; block 0's at first.
    pub fn newest(&self) -> &BlockHeader {
        &self.newest
    }

    /// The hash of the newest block.
    pub fn newest_hash(&self) -> BlockHash {
        self.newest_hash
    }

    /// The index of the newest commit executed, whether it made a block or not.
    pub fn commit_index(&self) -> u64 {
        self.commit_index
    }

    /// The time of the newest commit executed, in milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// The root of the present state, as the next block with a root would carry it. Takes time in proportion to what changed
    /// since the last root.
    pub fn state_root(&self) -> Digest {
        self.tree.root_of(&self.state)
    }

    /// A proof of what an account held at the newest published state root, to be completed with the certificate of the block that
    /// carries it ([`UncertifiedStateProof::header`]). `None` if there was no such account then, if it was freed since, or if no block
    /// after block 0 has published a root yet.
    pub fn prove_account(&self, address: &Address) -> Option<UncertifiedStateProof> {
        self.prove(self.state.slot_of(address)?)
    }

    /// A proof of a hold, as [`Ledger::prove_account`] of an account.
    pub fn prove_hold(&self, id: &TransactionId) -> Option<UncertifiedStateProof> {
        self.prove(self.state.hold_slot(id)?)
    }

    /// A proof of a delegated key, as [`Ledger::prove_account`] of an account. That an address has no such key follows from the
    /// proof of its account, which lists them.
    pub fn prove_key(&self, owner: &Address, public_key: &PublicKey) -> Option<UncertifiedStateProof> {
        self.prove(self.state.key_slot(owner, public_key)?)
    }

    /// Recounts all money, builds the state's tree anew, and asserts that both are what is kept from change to change. Takes time
    /// in proportion to the number of accounts: for tests and simulations.
    ///
    /// # Panics
    /// If an invariant of the ledger is broken.
    pub fn audit(&self) {
        self.state.audit();
        assert_eq!(StateTree::new(&self.state).root(), self.state_root(), "the state's tree is wrong");
    }

    /// Executes or rejects one transaction, which consumes its nonce and bandwidth; or says why it is dropped, which changes nothing.
    fn apply(
        &mut self,
        position: u32,
        verified: &VerifiedTransaction,
        now_ms: u64,
        done: &mut Done,
    ) -> Result<(), DropReason> {
        let transaction = verified.transaction();
        let admission = self.admit_to_block(transaction, now_ms)?;
        self.consume(&admission, transaction.nonce, now_ms);
        let mut context = Context {
            state: &mut self.state,
            parameters: &self.parameters,
            chain: &self.chain,
            id: verified.id(),
            sender: admission.sender,
            key: admission.key,
            now_ms,
            moves: Vec::new(),
        };
        let code = perform(&mut context, &transaction.operation).err().unwrap_or(ResultCode::Executed);
        done.moves.extend(context.moves.into_iter().map(|moved| (position, moved)));
        done.results.push((position, TransactionResult { id: verified.id(), code }));
        done.sender_slots.push(admission.sender);
        Ok(())
    }

    /// Proves what an object held at the newest published root, if it stood in its present slot then.
    fn prove(&self, slot: u32) -> Option<UncertifiedStateProof> {
        let header = self.rooted.clone()?;
        let now = self.state.object_in_slot(slot).name();
        let object: &Object = self.state.at_last_root(slot);
        let was_there = object.name() == now;
        was_there.then(|| UncertifiedStateProof {
            value: object.value(),
            slot,
            slot_count: self.tree.slot_count(),
            path: self.tree.path(&self.state, slot),
            header,
        })
    }

    fn make_block(
        &mut self,
        commit: &CommitContext,
        state_root: Option<Digest>,
        Done { results, sender_slots, moves }: Done,
    ) -> ExecutedBlock {
        let leaves: Vec<TransactionResult> = results.iter().map(|(_, result)| *result).collect();
        let header = BlockHeader {
            chain: self.chain,
            epoch: commit.epoch,
            height: self.newest.height + 1,
            previous: self.newest_hash,
            commit_index: commit.index,
            commit_digest: commit.digest,
            timestamp_ms: commit.timestamp_ms,
            transactions_root: transactions_root(&leaves),
            state_root,
            transaction_count: u32::try_from(leaves.len()).expect("positions are numbered in 32 bits"),
        };
        let hash = header.hash();
        if state_root.is_some() {
            self.rooted = Some(header.clone());
        }
        self.newest = header.clone();
        self.newest_hash = hash;
        ExecutedBlock { header, hash, results, sender_slots, moves }
    }
}

/// What the transactions of a commit did that are not dropped, as in [`ExecutedBlock`].
#[derive(Default)]
struct Done {
    results: Vec<(u32, TransactionResult)>,
    sender_slots: Vec<u32>,
    moves: Vec<(u32, Move)>,
}

/// Does what the operation says, or says why not, in which case nothing has changed.
fn perform(context: &mut Context<'_>, operation: &Operation) -> Result<(), ResultCode> {
    if let Some(key) = context.key
        && !context.state.key_in_slot(key).limits.operations.allows(operation)
    {
        return Err(ResultCode::OperationNotAllowed);
    }
    match operation {
        Operation::Transfer { outputs } => transfer::execute(context, outputs),
        Operation::OpenHold(open) => hold::open(context, open),
        Operation::Capture(capture) => hold::capture(context, capture),
        Operation::Release { hold } => hold::release(context, hold),
        Operation::TopUp { hold, amount, expires_at_ms } => hold::top_up(context, hold, *amount, *expires_at_ms),
        Operation::SetKey(set) => delegated_key::set(context, set),
        Operation::RemoveKey { public_key } => delegated_key::remove(context, public_key),
        Operation::SetPolicy(settings) => {
            policy::set(context, settings);
            Ok(())
        }
        Operation::Reclaim { account } => reclaim::execute(context, account),
    }
}

/// The second of commit time that a timestamp lies in.
fn second(timestamp_ms: u64) -> u64 {
    timestamp_ms / 1_000
}
