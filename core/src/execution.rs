//! Execution: from a commit and its transactions to the next state, the results and a block.
//!
//! The rules are in the documentation of the crate. This file holds the [`Ledger`] and its way through a commit;
//! the `transfer` module does one transfer, [`crate::flush`] is about keeping the state on disk.

use crate::account::Account;
use crate::account_proof::UncertifiedAccountProof;
use crate::address::Address;
use crate::block::{BlockHash, BlockHeader, DropReason, TransactionResult};
use crate::flush::StateFlush;
use crate::genesis::{Genesis, Parameters};
use crate::hash::{ChainHash, Digest};
use crate::receipt::transactions_root;
use crate::state::State;
use crate::state_tree::StateTree;
use crate::transaction::{Operation, Transaction, TransactionId, VerifiedTransaction};
use crate::transfer;

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
    /// Stands at the state of the newest root.
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
        assert_eq!(commit.index, self.commit_index + 1, "commits are executed in the order of their indices");
        assert!(commit.timestamp_ms >= self.timestamp_ms, "the time of commits never falls");
        assert!(commit.epoch >= self.newest.epoch, "the epoch of commits never falls");

        let new_second = second(commit.timestamp_ms) > second(self.newest.timestamp_ms);
        // Only a block that holds transactions changes the state, and with a root it holds those after the root.
        let changed = self.newest.transaction_count > 0;
        let idle_for_long = commit.index - self.newest.commit_index >= IDLE_COMMITS_MAX;
        let mut flush = None;
        if new_second {
            self.tree.settle(&mut self.state);
            flush = self.flush(commit.timestamp_ms);
        }
        let (mut results, mut dropped) = (Vec::with_capacity(transactions.len()), Vec::new());
        for (position, transaction) in (0..).zip(transactions) {
            match self.apply(transaction, commit.timestamp_ms) {
                Ok(result) => results.push((position, result)),
                Err(reason) => dropped.push((transaction.id(), reason)),
            }
        }
        let makes_block = !results.is_empty() || (new_second && (changed || idle_for_long));
        let block = makes_block.then(|| self.make_block(commit, new_second.then(|| self.tree.root()), results));
        self.commit_index = commit.index;
        self.timestamp_ms = commit.timestamp_ms;
        self.state.assert_supply();
        Execution { block, dropped, flush }
    }

    /// Whether this transaction would be dropped by a commit at `now_ms` (milliseconds since the Unix epoch) in the present state.
    ///
    /// # Errors
    /// The reason for which it would be dropped.
    pub fn check(&self, transaction: &Transaction, now_ms: u64) -> Result<(), DropReason> {
        self.admit(transaction, now_ms).map(|_slot| ())
    }

    /// The account of an address, after the newest commit.
    pub fn account(&self, address: &Address) -> Option<&Account> {
        self.state.account(address)
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
    /// carries it ([`UncertifiedAccountProof::header`]). `None` if there was no such account then, or if no block after block 0
    /// has published a root yet.
    pub fn prove_account(&self, address: &Address) -> Option<UncertifiedAccountProof> {
        let header = self.rooted.clone()?;
        let slot = self.state.slot_of(address)?;
        let account = self.state.at_last_root(slot)?.clone();
        let (slot_count, path) = (self.tree.slot_count(), self.tree.path(slot));
        Some(UncertifiedAccountProof { address: *address, account, slot, slot_count, path, header })
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

    /// The sender's slot, unless the transaction is to be dropped. The order of the checks is that of [`DropReason`].
    fn admit(&self, transaction: &Transaction, now_ms: u64) -> Result<u32, DropReason> {
        let slot = self.state.slot_of(&transaction.sender).ok_or(DropReason::UnknownSender)?;
        if now_ms > transaction.valid_until_ms {
            return Err(DropReason::Expired);
        }
        if transaction.valid_until_ms - now_ms > self.parameters.validity_max_ms {
            return Err(DropReason::ValidTooLong);
        }
        self.state.in_slot(slot).nonces.check(transaction.nonce)?;
        Ok(slot)
    }

    /// Executes or rejects one transaction, which consumes its nonce; or says why it is dropped, which changes nothing.
    fn apply(&mut self, verified: &VerifiedTransaction, now_ms: u64) -> Result<TransactionResult, DropReason> {
        let transaction = verified.transaction();
        let sender = self.admit(transaction, now_ms)?;
        self.state.update(sender, |account| account.nonces.consume(transaction.nonce));
        let code = match &transaction.operation {
            Operation::Transfer { outputs } => {
                transfer::execute(&mut self.state, sender, outputs, self.parameters.account_reserve)
            }
        };
        Ok(TransactionResult { id: verified.id(), code })
    }

    fn make_block(
        &mut self,
        commit: &CommitContext,
        state_root: Option<Digest>,
        results: Vec<(u32, TransactionResult)>,
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
        ExecutedBlock { header, hash, results }
    }
}

/// The second of commit time that a timestamp lies in.
fn second(timestamp_ms: u64) -> u64 {
    timestamp_ms / 1_000
}
