//! Keeping the state on disk: flushes, and restoring a ledger from them.
//!
//! A flush is taken at a rooted state, that is one whose state root is published or is about to be by the commit at hand. It names
//! the point in the chain it belongs to ([`FlushPoint`]) and holds the slots changed since the flush before, so that
//! storage, writing each flush as one atomic batch, always holds one whole state that its point's root proves. A ledger restored
//! from it continues with commit `commit_index + 1` and makes exactly the blocks that it would have made without a restart.
//!
//! The first flush holds all slots; before it, a ledger starts from its genesis document. Where the slots of the genesis document
//! are written beforehand, piece by piece ([`Ledger::flush_whole`]), the first flush holds only what has changed, like any other.

use crate::block::BlockHeader;
use crate::codec::{self, CodecError};
use crate::execution::Ledger;
use crate::genesis::Genesis;
use crate::hash::Digest;
use crate::object::Object;
use crate::state::{SLOT_BYTES_MAX, SlotRecord, SlotValue, State};
use crate::state_tree::StateTree;
use borsh::{BorshDeserialize, BorshSerialize};

/// The intervals of commit time that have a flush each, unless somebody decides otherwise.
pub const FLUSH_INTERVAL_MS_DEFAULT: u64 = 5_000;

/// How many slots room is made for at once when a state is read.
const SLOTS_LIKELY_MAX: u64 = 1 << 24;

const MISPLACED: RestoreError = RestoreError::Inconsistent("a slot holds what belongs into another one");

/// The point in the chain that a flushed state belongs to, and all that is needed, besides the slots, to go on from it.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct FlushPoint {
    /// The newest block contained in the state.
    pub header: BlockHeader,
    /// The newest commit contained in the state; it may come after that block's.
    pub commit_index: u64,
    /// That commit's time in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The root of the state.
    pub state_root: Digest,
}

/// What to write to disk, in one atomic batch, and after the blocks up to the point are durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateFlush {
    /// The point, which replaces the one of the flush before.
    pub point: FlushPoint,
    /// The slots changed since the flush before, ascending; each replaces what was stored for it. Empty if only the point moved.
    pub slots: Vec<SlotRecord>,
}

/// Why a ledger cannot be restored from what is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The stored state belongs to another network.
    #[error(
        "the stored state belongs to the network {found}, the genesis document to {expected}: use another data directory"
    )]
    OtherChain {
        /// The hash of the genesis document.
        expected: Digest,
        /// The chain hash in the stored point.
        found: Digest,
    },
    /// The slots are not all there, in ascending order and without gaps.
    #[error("the stored state is damaged: slot {found} stands where slot {expected} should")]
    SlotOrder {
        /// The slot that must come next.
        expected: u32,
        /// The slot that came.
        found: u32,
    },
    /// A slot that does not decode.
    #[error("the stored state is damaged: slot {slot}: {error}")]
    Slot {
        /// The slot.
        slot: u32,
        /// What is wrong with its bytes.
        error: CodecError,
    },
    /// Something that contradicts the rest.
    #[error("the stored state is damaged: {0}")]
    Inconsistent(&'static str),
    /// The slots are not those of the point's state root.
    #[error("the stored state is damaged: its root is {found}, expected {expected}")]
    StateRoot {
        /// The root of the stored point.
        expected: Digest,
        /// The root of the stored slots.
        found: Digest,
    },
}

impl FlushPoint {
    /// The height of the newest block contained in the state.
    pub fn height(&self) -> u64 {
        self.header.height
    }
}

impl Ledger {
    /// The present point and the encodings of all slots, ascending, one by one, so that nobody has to hold all of them at once. From here
    /// on they count as flushed.
    ///
    /// # Panics
    /// If the state has changed since its last root. It has not at block 0 and after [`Ledger::restore`].
    pub fn flush_whole(&mut self) -> (FlushPoint, impl Iterator<Item = SlotRecord>) {
        self.state.set_flushed();
        let slots = 0..u32::try_from(self.state.slot_count()).expect("slots are numbered in 32 bits");
        (self.point(), self.state.records(slots))
    }

    /// Cuts commit time into intervals of this length, counted from the Unix epoch: the first rooted state of each is flushed; with
    /// 0 every one is. It is a local choice and changes no block, but nodes that choose alike flush the same states, whenever they
    /// were started, but for those that a start passes over ([`Ledger::execute_again`]), and can hand on the same chunks of them.
    pub fn set_flush_interval_ms(&mut self, interval_ms: u64) {
        self.flush_interval_ms = interval_ms;
    }

    /// The ledger at a flushed point, from all the slots stored, in ascending order. Their content is checked against the supply of
    /// the genesis document and against the state root of the point, which must come from a trusted place: the node's own disk,
    /// or a certified block.
    ///
    /// # Errors
    /// [`RestoreError`] says how the stored state is damaged.
    pub fn restore(
        genesis: &Genesis,
        point: FlushPoint,
        slots: impl IntoIterator<Item = SlotRecord>,
    ) -> Result<Ledger, RestoreError> {
        let chain = genesis.chain_hash();
        if point.header.chain != chain {
            return Err(RestoreError::OtherChain { expected: chain, found: point.header.chain });
        }
        if point.commit_index < point.header.commit_index || point.timestamp_ms < point.header.timestamp_ms {
            return Err(RestoreError::Inconsistent("its point lies before its block"));
        }
        let state = read_state(genesis, slots)?;
        let tree = StateTree::new(&state);
        if tree.root() != point.state_root {
            return Err(RestoreError::StateRoot { expected: point.state_root, found: tree.root() });
        }
        // A block without transactions publishes the root of the state that it leaves behind.
        let unchanged = point.header.transaction_count == 0;
        if unchanged && point.header.state_root != Some(point.state_root) {
            return Err(RestoreError::Inconsistent("its block carries another state root than its point"));
        }
        Ok(Ledger {
            chain,
            parameters: genesis.parameters().clone(),
            state,
            tree,
            newest_hash: point.header.hash(),
            commit_index: point.commit_index,
            timestamp_ms: point.timestamp_ms,
            rooted: (unchanged && point.header.height > 0).then(|| point.header.clone()),
            flushed_ms: point.timestamp_ms,
            flush_interval_ms: FLUSH_INTERVAL_MS_DEFAULT,
            newest: point.header,
        })
    }

    /// The flush of the present state, which must be a rooted one, if one is due at the commit time `now_ms`.
    pub(crate) fn flush(&mut self, now_ms: u64) -> Option<StateFlush> {
        if !self.is_flush_due(now_ms) {
            return None;
        }
        self.flushed_ms = now_ms;
        Some(StateFlush { point: self.point(), slots: self.state.take_unflushed() })
    }

    fn point(&self) -> FlushPoint {
        FlushPoint {
            header: self.newest.clone(),
            commit_index: self.commit_index,
            timestamp_ms: self.timestamp_ms,
            state_root: self.tree.root(),
        }
    }

    /// Lets a flush pass that is due at the commit time `now_ms`: what has changed stays for the next one.
    pub(crate) fn pass_over_flush(&mut self, now_ms: u64) {
        if self.is_flush_due(now_ms) {
            self.flushed_ms = now_ms;
        }
    }

    fn is_flush_due(&self, now_ms: u64) -> bool {
        let interval = |time_ms: u64| time_ms.checked_div(self.flush_interval_ms);
        interval(now_ms).is_none_or(|now| Some(now) != interval(self.flushed_ms))
    }
}

/// Decodes all slots and checks everything but the root.
fn read_state(genesis: &Genesis, slots: impl IntoIterator<Item = SlotRecord>) -> Result<State, RestoreError> {
    let mut slots = slots.into_iter();
    let globals = match slots.next().map(|record| read_slot(0, &record)).transpose()? {
        Some(SlotValue::Globals(globals)) => globals,
        Some(_) => return Err(MISPLACED),
        None => return Err(RestoreError::Inconsistent("there is nothing in it")),
    };
    // Room for what is likely: every slot takes storage, but nobody has counted them yet.
    let mut state = State::empty(globals.supply, globals.load, globals.slot_count.min(SLOTS_LIKELY_MAX) as usize);
    for (expected, record) in (1..=u32::MAX).zip(slots) {
        let object = Object::from_value(read_slot(expected, &record)?).ok_or(MISPLACED)?;
        if !state.put(object) {
            return Err(RestoreError::Inconsistent("two slots hold the same object"));
        }
    }
    if globals.slot_count != state.slot_count() {
        return Err(RestoreError::Inconsistent("there are more or fewer slots than it says"));
    }
    if globals.supply != genesis.supply() || state.held_mites() != u128::from(globals.supply.mites()) {
        return Err(RestoreError::Inconsistent(
            "the balances, holds and reserves are not the supply of the genesis document",
        ));
    }
    state.settle();
    state.set_flushed();
    Ok(state)
}

/// The value in a slot that must be the one expected.
fn read_slot(expected: u32, SlotRecord { slot, bytes }: &SlotRecord) -> Result<SlotValue, RestoreError> {
    if *slot != expected {
        return Err(RestoreError::SlotOrder { expected, found: *slot });
    }
    codec::decode(bytes, SLOT_BYTES_MAX).map_err(|error| RestoreError::Slot { slot: *slot, error })
}
