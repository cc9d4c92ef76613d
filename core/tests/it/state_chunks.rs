//! The state in chunks: their tops make the state root, and a ledger goes on from them at any block with a root.

use crate::helpers::{GENESIS_MS, commit};
use crate::scenario::{genesis, history};
use farthing_core::block::BlockHeader;
use farthing_core::codec;
use farthing_core::execution::Ledger;
use farthing_core::flush::FlushPoint;
use farthing_core::hash::Digest;
use farthing_core::merkle::{self, MerkleTree};
use farthing_core::state::{SlotRecord, State};
use farthing_core::state_chunk::{CHUNK_BYTES_MAX, CHUNK_LEVEL, ChunkLayout, SlotBytes, StateChunk};
use proptest::prelude::*;

/// The state in chunks of a layout.
fn cut(state: &State, layout: &ChunkLayout) -> Vec<StateChunk> {
    let chunk = |number| {
        let (first, count) = layout.slots_of(number).unwrap();
        let slots = (first..).take(count).map(|slot| SlotBytes(state.record(slot).bytes)).collect();
        StateChunk { slots }
    };
    (0..layout.chunk_count() as u32).map(chunk).collect()
}

/// A ledger's state just before a block that carries its root.
struct Rooted {
    before: BlockHeader,
    commit_index: u64,
    timestamp_ms: u64,
    root: Digest,
    state: State,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_ledger_goes_on_from_chunks(plans in history(40), level in 0u32..4) {
        let mut ledger = Ledger::genesis(&genesis());
        let (mut rooted, mut log, mut all, mut after_ms) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for plan in plans {
            after_ms += plan.later_ms;
            let transactions = plan.transactions(&ledger, GENESIS_MS + after_ms, &all);
            all.extend(transactions.clone());
            let (before, state) = (ledger.newest().clone(), ledger.state().clone());
            let (commit_index, timestamp_ms) = (ledger.commit_index(), ledger.timestamp_ms());
            let execution = commit(&mut ledger, after_ms, &transactions);
            if let Some(root) = execution.block.as_ref().and_then(|block| block.header.state_root) {
                rooted.push(Rooted { before, commit_index, timestamp_ms, root, state });
            }
            log.push((after_ms, transactions, execution));
        }
        for Rooted { before, commit_index, timestamp_ms, root, state } in rooted {
            let layout = ChunkLayout::new(state.slot_count(), level).unwrap();
            let chunks = cut(&state, &layout);
            let tops: Vec<_> = (0..).zip(&chunks).map(|(number, chunk)| layout.top_of(number, chunk).unwrap()).collect();
            prop_assert_eq!(layout.state_root(&tops), Some(root));
            let slots: Vec<_> = (0..)
                .zip(chunks.into_iter().flat_map(|chunk| chunk.slots))
                .map(|(slot, bytes)| SlotRecord { slot, bytes: bytes.0 })
                .collect();
            let point = FlushPoint { header: before, commit_index, timestamp_ms, state_root: root };
            let mut restored = Ledger::restore(&genesis(), point, slots).unwrap();
            for (after_ms, transactions, execution) in &log[commit_index as usize..] {
                prop_assert_eq!(&commit(&mut restored, *after_ms, transactions).block, &execution.block);
            }
            prop_assert_eq!(restored.state_root(), ledger.state_root());
        }
    }

    #[test]
    fn tops_of_chunks_fold_to_the_top_of_the_tree(leaves in 1usize..70, level in 0u32..8) {
        let slots: Vec<_> = (0..leaves).map(|n| SlotBytes(n.to_le_bytes().to_vec())).collect();
        let tree = MerkleTree::new(slots.iter().map(|slot| merkle::leaf(&slot.0)).collect());
        let root = farthing_core::state_tree::state_root(leaves as u64, &tree.top());
        let layout = ChunkLayout::new(leaves as u64, level).unwrap();
        let chunks: Vec<_> = slots.chunks(1 << level).map(|slots| StateChunk { slots: slots.to_vec() }).collect();
        prop_assert_eq!(chunks.len() as u64, layout.chunk_count());
        let mut tops: Vec<_> =
            (0..).zip(&chunks).map(|(number, chunk)| layout.top_of(number, chunk).unwrap()).collect();
        prop_assert_eq!(layout.state_root(&tops), Some(root));
        for (number, chunk) in (0..).zip(chunks) {
            let mut longer = chunk.clone();
            longer.slots.push(SlotBytes(Vec::new()));
            prop_assert_eq!(layout.top_of(number, &longer), None);
            let mut other = chunk;
            other.slots[0].0.push(1);
            prop_assert_ne!(layout.top_of(number, &other), Some(tops[number as usize]));
        }
        tops.push(tops[0]);
        prop_assert_eq!(layout.state_root(&tops), None);
    }
}

#[test]
fn layouts_have_bounds() {
    assert_eq!(ChunkLayout::new(0, 3), None);
    assert_eq!(ChunkLayout::new((1 << 32) + 1, 3), None);
    assert_eq!(ChunkLayout::new(10, CHUNK_LEVEL + 1), None);
    let layout = ChunkLayout::new(1 << 32, CHUNK_LEVEL).unwrap();
    assert_eq!(layout.chunk_count(), 1 << 21);
    assert_eq!(layout.slots_of(u32::MAX), None);
    assert_eq!(layout.slots_of((1 << 21) - 1), Some((u32::MAX - 2_047, 2_048)));
    assert_eq!(ChunkLayout::new(9, 2).unwrap().slots_of(2), Some((8, 1)));
    assert_eq!(ChunkLayout::new(8, 2).unwrap().slots_of(2), None);
}

#[test]
fn an_encoded_chunk_is_bounded() {
    let chunk = StateChunk { slots: vec![SlotBytes(vec![7; 3]), SlotBytes(Vec::new())] };
    let bytes = codec::encode(&chunk);
    assert_eq!(codec::decode::<StateChunk>(&bytes, CHUNK_BYTES_MAX).unwrap(), chunk);
    assert!(codec::decode::<StateChunk>(&codec::encode(&StateChunk::default()), CHUNK_BYTES_MAX).is_err(), "no slot");
    let many = StateChunk { slots: vec![SlotBytes(Vec::new()); (1 << CHUNK_LEVEL) + 1] };
    assert!(codec::decode::<StateChunk>(&codec::encode(&many), CHUNK_BYTES_MAX).is_err(), "too many slots");
    let long = StateChunk { slots: vec![SlotBytes(vec![0; farthing_core::state::SLOT_BYTES_MAX + 1])] };
    assert!(codec::decode::<StateChunk>(&codec::encode(&long), CHUNK_BYTES_MAX).is_err(), "too long a slot");
}
