//! What must hold at every moment, whatever goes wrong: watched over from what honest nodes store, send and say.

use super::network::NodeId;
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{Author, Round, VerifiedVertex};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHash, DropReason, ResultCode};
use farthing_core::execution::Ledger;
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::PublicKey;
use farthing_core::transaction::{Operation, TransactionId, VerifiedTransaction};
use farthing_node::replica::Settled;
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{BlockRecord, Storage};
use std::collections::{BTreeMap, BTreeSet};

/// Something that must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two honest nodes hold different commits, blocks or states.
    #[error("agreement: {0}")]
    Agreement(String),
    /// An honest key signed two vertices for one slot, and both left the machine.
    #[error("double signing: {0}")]
    DoubleSigning(String),
    /// Something left a machine before what it promises was durable.
    #[error("durability: {0}")]
    Durability(String),
    /// There is more or less money than in the beginning.
    #[error("supply: {0}")]
    Supply(String),
    /// What was said to be settled is not so, or not any more.
    #[error("lost: {0}")]
    Lost(String),
    /// A nonce was consumed twice, or by what its owner did not sign.
    #[error("replay: {0}")]
    Replay(String),
    /// Time ran backwards.
    #[error("time: {0}")]
    Time(String),
    /// An honest node broke the protocol in the eyes of another, or fell over.
    #[error("conduct: {0}")]
    Conduct(String),
    /// A node holds more than it may.
    #[error("bounds: {0}")]
    Bounds(String),
    /// A node saw somebody sign two vertices for a slot, and cannot prove it.
    #[error("evidence: {0}")]
    Evidence(String),
    /// Nothing goes on although the faults have ended.
    #[error("progress: {0}")]
    Progress(String),
}

impl Violation {
    /// What kind of violation it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Violation::Agreement(_) => "agreement",
            Violation::DoubleSigning(_) => "double signing",
            Violation::Durability(_) => "durability",
            Violation::Supply(_) => "supply",
            Violation::Lost(_) => "lost",
            Violation::Replay(_) => "replay",
            Violation::Time(_) => "time",
            Violation::Conduct(_) => "conduct",
            Violation::Bounds(_) => "bounds",
            Violation::Evidence(_) => "evidence",
            Violation::Progress(_) => "progress",
        }
    }
}

/// A block as the first honest node made it.
struct KnownBlock {
    hash: BlockHash,
    timestamp_ms: u64,
}

/// What a transaction uses up: a nonce of a signer for an account.
type NonceOf = (Address, PublicKey, u64);

/// The checker: what all honest nodes together have shown so far.
pub struct Checker {
    chain: ChainHash,
    supply: Amount,
    /// Everybody who may hold money.
    addresses: Vec<Address>,
    /// By index less one.
    commits: Vec<Digest>,
    /// Of the newest of them.
    timestamp_ms: u64,
    /// By height less one.
    blocks: Vec<KnownBlock>,
    /// What left an honest machine, by slot.
    signed: BTreeMap<(Author, Round), Digest>,
    /// Nodes whose disk was replaced by an empty one or an old copy.
    replaced: BTreeSet<NodeId>,
    /// What clients signed.
    issued: BTreeMap<TransactionId, NonceOf>,
    /// The holds and delegated keys that there may be.
    holds: Vec<TransactionId>,
    keys: BTreeSet<(Address, PublicKey)>,
    /// What consumed a nonce, and where.
    results: BTreeMap<TransactionId, (u64, u32, ResultCode)>,
    consumed: BTreeMap<NonceOf, TransactionId>,
    /// What clients were told.
    acknowledged: BTreeMap<TransactionId, ResultCode>,
}

impl Checker {
    /// For a network with this much money, held by these addresses in all time to come.
    pub fn new(chain: ChainHash, supply: Amount, addresses: Vec<Address>) -> Checker {
        Checker {
            chain,
            supply,
            addresses,
            commits: Vec::new(),
            timestamp_ms: 0,
            blocks: Vec::new(),
            signed: BTreeMap::new(),
            replaced: BTreeSet::new(),
            issued: BTreeMap::new(),
            holds: Vec::new(),
            keys: BTreeSet::new(),
            results: BTreeMap::new(),
            consumed: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    /// A client signed this.
    pub fn issued(&mut self, transaction: &VerifiedTransaction) {
        let body = transaction.transaction();
        self.issued.insert(transaction.id(), (body.sender, body.signer(), body.nonce));
        match &body.operation {
            Operation::OpenHold(_) => self.holds.push(transaction.id()),
            Operation::SetKey(set) => drop(self.keys.insert((body.sender, set.public_key))),
            _ => {}
        }
    }

    /// An honest node is about to store a commit.
    ///
    /// # Errors
    /// [`Violation::Agreement`] if another one has it otherwise, [`Violation::Time`].
    pub fn committed(&mut self, node: NodeId, commit: &Commit) -> Result<(), Violation> {
        let digest = commit.digest(&self.chain);
        let place = place_of(commit.index, self.commits.len()).ok_or_else(|| {
            Violation::Agreement(format!("node {node} has commit {} before anybody has the one before", commit.index))
        })?;
        let previous = place.checked_sub(1).map_or(self.chain, |before| self.commits[before]);
        if commit.previous != previous {
            return Err(Violation::Agreement(format!("commit {} of node {node} does not chain", commit.index)));
        }
        if place == self.commits.len() {
            if commit.timestamp_ms < self.timestamp_ms {
                return Err(Violation::Time(format!("commit {} is older than the one before", commit.index)));
            }
            self.timestamp_ms = commit.timestamp_ms;
            self.commits.push(digest);
        }
        let known = self.commits[place];
        if known == digest {
            return Ok(());
        }
        Err(Violation::Agreement(format!("commit {} is {digest} at node {node}, {known} elsewhere", commit.index)))
    }

    /// An honest node is about to store a block.
    ///
    /// # Errors
    /// [`Violation::Agreement`] if another one has it otherwise, [`Violation::Time`], [`Violation::Replay`].
    pub fn executed(&mut self, node: NodeId, block: &BlockRecord) -> Result<(), Violation> {
        let (height, hash) = (block.header.height, block.header.hash());
        let place = place_of(height, self.blocks.len()).ok_or_else(|| {
            Violation::Agreement(format!("node {node} has block {height} before anybody has the one before"))
        })?;
        if place < self.blocks.len() {
            let known = self.blocks[place].hash;
            let message = || format!("block {height} is {hash} at node {node}, {known} elsewhere");
            return if known == hash { Ok(()) } else { Err(Violation::Agreement(message())) };
        }
        if self.blocks.last().is_some_and(|last| last.timestamp_ms > block.header.timestamp_ms) {
            return Err(Violation::Time(format!("block {height} is older than the one before")));
        }
        self.blocks.push(KnownBlock { hash, timestamp_ms: block.header.timestamp_ms });
        for (position, entry) in (0..).zip(&block.entries) {
            self.consume(entry.id, (height, position, entry.code))?;
        }
        Ok(())
    }

    fn consume(&mut self, id: TransactionId, result: (u64, u32, ResultCode)) -> Result<(), Violation> {
        let Some(slot) = self.issued.get(&id) else {
            return Err(Violation::Replay(format!("block {} holds {id}, which nobody signed", result.0)));
        };
        if let Some(before) = self.consumed.insert(*slot, id) {
            let message = format!("block {} holds {id}, whose nonce {before} has consumed", result.0);
            return Err(Violation::Replay(message));
        }
        self.results.insert(id, result);
        Ok(())
    }

    /// The disk of a node is replaced by an empty one or an old copy: what it signed before is not on it.
    pub fn replaced_disk(&mut self, node: NodeId) {
        self.replaced.insert(node);
    }

    /// A vertex of its own leaves an honest machine.
    ///
    /// # Errors
    /// [`Violation::DoubleSigning`]; [`Violation::Durability`] if the machine would not know of it after a power failure.
    pub fn sent(&mut self, node: NodeId, vertex: &VerifiedVertex, storage: &MemoryStorage) -> Result<(), Violation> {
        let reference = vertex.reference();
        let signed = *self.signed.entry((reference.author, reference.round)).or_insert(reference.digest);
        if signed != reference.digest {
            let message = format!("node {node} sent {reference:?} after {signed:?}");
            return Err(Violation::DoubleSigning(message));
        }
        let state = storage.durable_signing_state().flatten();
        // A vertex of an earlier life came back from peers, and is shown again after a restart.
        let is_past = self.replaced.contains(&node) && storage.has_durable_vertex(&reference);
        if !is_past && state.is_none_or(|state| state.round < reference.round) {
            let message = format!("node {node} sent {reference:?} with the signing state {state:?}");
            return Err(Violation::Durability(message));
        }
        Ok(())
    }

    /// An honest node tells its clients what became of their transactions.
    ///
    /// # Errors
    /// [`Violation::Lost`] if that is not what its blocks say, [`Violation::Durability`] if the commit is not durable.
    pub fn settled(&mut self, node: NodeId, settled: &Settled, storage: &MemoryStorage) -> Result<(), Violation> {
        let Some(block) = &settled.block else { return Ok(()) };
        let durable = storage.durable_commit();
        if durable < block.header.commit_index {
            let message = format!("node {node} speaks of commit {}, has {durable}", block.header.commit_index);
            return Err(Violation::Durability(message));
        }
        for (id, code) in &block.results {
            let known = self.results.get(id).map(|(height, _, code)| (*height, *code));
            if known != Some((block.header.height, *code)) {
                let message =
                    format!("node {node} says {code:?} of {id} in block {}, known is {known:?}", block.header.height);
                return Err(Violation::Lost(message));
            }
            self.acknowledged.insert(*id, *code);
        }
        Ok(())
    }

    /// An honest node's ledger after a block, or after a start.
    ///
    /// # Errors
    /// [`Violation::Agreement`] if it is at another block than the others were, [`Violation::Supply`].
    pub fn ledger(&self, node: NodeId, ledger: &Ledger) -> Result<(), Violation> {
        let height = ledger.newest().height;
        if let Some(place) = height.checked_sub(1)
            && self.blocks.get(place as usize).is_some_and(|known| known.hash != ledger.newest_hash())
        {
            return Err(Violation::Agreement(format!("node {node} stands at another block {height} than others")));
        }
        let sum = |amounts: &[Amount]| amounts.iter().map(|amount| u128::from(amount.mites())).sum::<u128>();
        let accounts = self.addresses.iter().filter_map(|address| ledger.account(address));
        let holds = self.holds.iter().filter_map(|id| ledger.hold(id));
        let keys = self.keys.iter().filter_map(|(owner, key)| ledger.key(owner, key));
        let held = accounts.map(|account| sum(&[account.balance, account.reserve])).sum::<u128>()
            + holds.map(|hold| sum(&[hold.rest(), hold.reserve])).sum::<u128>()
            + keys.map(|key| sum(&[key.reserve])).sum::<u128>();
        if held != u128::from(self.supply.mites()) {
            return Err(Violation::Supply(format!(
                "node {node} has {held} mites at block {height}, not {}",
                self.supply
            )));
        }
        Ok(())
    }

    /// At the end: an honest node stores all that was acknowledged anywhere.
    ///
    /// # Errors
    /// [`Violation::Lost`] names what is missing.
    pub fn stored(&self, node: NodeId, storage: &MemoryStorage) -> Result<(), Violation> {
        let failed = |error: farthing_node::storage::StorageError| Violation::Lost(error.to_string());
        let base = storage.base().map_err(failed)?.map_or(0, |base| base.height);
        for (id, code) in &self.acknowledged {
            let (height, position, known) = self.results[id];
            let found = storage.transaction(id).map_err(failed)?;
            if found.is_none() && height <= base {
                // It came before the snapshot that this node started from.
                continue;
            }
            let found = found.map(|found| (found.position.height, found.position.position, found.code));
            if found != Some((height, position, *code)) || known != *code {
                let message =
                    format!("{code:?} of {id} in block {height} was acknowledged, node {node} has it at {found:?}");
                return Err(Violation::Lost(message));
            }
            // The bodies of old blocks are pruned.
            if let Some(block) = storage.block(height).map_err(failed)? {
                let entry = block.entries.get(position as usize);
                if entry.is_none_or(|entry| entry.id != *id || entry.code != *code) {
                    return Err(Violation::Lost(format!("block {height} of node {node} holds {entry:?}, not {id}")));
                }
            }
        }
        Ok(())
    }

    /// An honest node's mempool, or its executor, passes over a transaction that is valid for long.
    ///
    /// # Errors
    /// [`Violation::Lost`], unless the reason is that it was executed already.
    pub fn dropped(&self, node: NodeId, id: &TransactionId, reason: DropReason) -> Result<(), Violation> {
        let is_used = self.issued.get(id).is_some_and(|slot| self.consumed.contains_key(slot));
        if reason == DropReason::NonceUsed && is_used {
            return Ok(());
        }
        Err(Violation::Lost(format!("node {node} dropped {id}, which is valid: {reason:?}")))
    }

    /// Whether a client was told the result of this transaction, or of another one that took its nonce.
    pub fn is_acknowledged(&self, id: &TransactionId) -> bool {
        let taken = self.issued.get(id).and_then(|slot| self.consumed.get(slot));
        taken.is_some_and(|taken| self.acknowledged.contains_key(taken))
    }

    /// The result of a transaction, if a client was told it.
    pub fn acknowledged(&self, id: &TransactionId) -> Option<ResultCode> {
        self.acknowledged.get(id).copied()
    }

    /// How many commits there are.
    pub fn commits(&self) -> u64 {
        self.commits.len() as u64
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// How many transactions clients were told of.
    pub fn transactions(&self) -> u64 {
        self.acknowledged.len() as u64
    }
}

/// Where the item with this number (1 or more) stands in a list of `length`, or would be added; `None` if that leaves a gap.
fn place_of(number: u64, length: usize) -> Option<usize> {
    let place = usize::try_from(number.checked_sub(1)?).ok()?;
    (place <= length).then_some(place)
}
