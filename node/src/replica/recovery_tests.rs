//! What a start makes of a database that is damaged, or of another program's making.

use super::{RecoveryError, Replayed, ReplicaSettings, stored_ledger};
use crate::replica::{Own, Replica};
use crate::storage::memory::MemoryStorage;
use crate::storage::{Batch, BlockEntry, BlockRecord, PayloadRecord, Storage};
use crate::test_support::{START_MS, genesis, transfer};
use bytes::Bytes;
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::Now;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, Vertex, VertexHeader, VertexRef};
use farthing_core::block::ResultCode;
use farthing_core::execution::{CommitContext, ExecutedBlock, Ledger};
use farthing_core::flush::StateFlush;
use farthing_core::hash::Digest;
use farthing_core::keys::Signature;
use farthing_core::transaction::VerifiedTransaction;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A chain of two commits with a block each, in three parts to be written.
struct Chain {
    vertices: Vec<VerifiedVertex>,
    commits: Vec<Commit>,
    blocks: Vec<BlockRecord>,
    /// Of the state before the second commit.
    flush: StateFlush,
    /// Whether that is on the disk.
    has_flush: bool,
}

fn chain() -> Chain {
    let committee = Committee::from_genesis(&genesis());
    let mut ledger = Ledger::genesis(&genesis());
    ledger.set_flush_interval_ms(0);
    let mut previous = committee.previous_commit();
    let (mut vertices, mut commits, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut slots, mut point) = (BTreeMap::new(), None);
    for index in 1..=2 {
        let transaction = transfer(2, index);
        let vertex = vertex(index, &transaction);
        let timestamp_ms = START_MS + 1_000 * index;
        let (leader, epoch) = (vertex.reference(), 0);
        let commit = Commit { epoch, index, previous, leader, vertices: vec![leader], timestamp_ms };
        let digest = commit.digest(committee.chain());
        let execution = ledger.execute(&CommitContext { epoch, index, digest, timestamp_ms }, &[transaction]);
        blocks.push(record(leader, execution.block.expect("a transfer makes a block")));
        let flush = execution.flush.expect("each second has a flush");
        slots.extend(flush.slots.into_iter().map(|record| (record.slot, record)));
        point = Some(flush.point);
        vertices.push(vertex);
        commits.push(commit);
        previous = digest;
    }
    let flush = StateFlush { point: point.expect("there were flushes"), slots: slots.into_values().collect() };
    Chain { vertices, commits, blocks, flush, has_flush: true }
}

fn vertex(round: u64, transaction: &VerifiedTransaction) -> VerifiedVertex {
    let payload = Bytes::from(transaction.signed().encode());
    let header = VertexHeader {
        epoch: 0,
        round,
        author: 0,
        timestamp_ms: START_MS,
        parents: Vec::new(),
        payload_digest: Digest::of_bytes(&payload),
        commit_vote: None,
        attestations: Vec::new(),
    };
    let signed = SignedHeader { header, signature: Signature([1; 64]) };
    VerifiedVertex::from_own_storage(Vertex { signed, payload })
}

fn record(vertex: VertexRef, block: ExecutedBlock) -> BlockRecord {
    let entry = |id| BlockEntry { payload: 0, place: 0, id, code: ResultCode::Executed };
    BlockRecord {
        header: block.header,
        payloads: vec![PayloadRecord { vertex, void: false }],
        entries: block.results.iter().map(|(_, result)| entry(result.id)).collect(),
    }
}

/// Starts a full node on a disk that holds this chain.
fn start(chain: &Chain) -> Result<Replica, RecoveryError> {
    let disk = MemoryStorage::default();
    let vertices = Batch { vertices: chain.vertices.clone(), commits: chain.commits.clone(), ..Batch::default() };
    disk.apply(&vertices, true).unwrap();
    for block in &chain.blocks {
        disk.apply(&Batch { block: Some((block.clone(), Vec::new())), ..Batch::default() }, true).unwrap();
    }
    if chain.has_flush {
        disk.apply(&Batch { flush: Some(chain.flush.clone()), ..Batch::default() }, true).unwrap();
    }
    let committee = Arc::new(Committee::from_genesis(&genesis()));
    let now = Now { monotonic_ms: 1, wall_ms: START_MS + 5_000 };
    let own: Option<Own> = None;
    Replica::start(&genesis(), committee, own, ReplicaSettings::default(), Arc::new(disk), now, &mut Vec::new())
}

/// Why the chain, changed in some way, does not start.
fn refusal(change: fn(&mut Chain)) -> RecoveryError {
    let mut chain = chain();
    change(&mut chain);
    match start(&chain) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

/// A new network's state is stored before anything else happens, and is what the next start begins with: the accounts of the genesis
/// document are needed no more.
#[test]
fn the_state_of_the_genesis_document_is_stored_by_the_first_start() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let first = stored_ledger(&genesis(), &*storage).unwrap();
    let (point, slots) = storage.state().unwrap().unwrap();
    assert_eq!((point.height(), point.commit_index, point.state_root), (0, 0, first.state_root()));
    assert_eq!(slots.len() as u64, first.state().slot_count());
    let again = stored_ledger(&genesis().without_accounts(), &*storage).unwrap();
    again.audit();
    assert_eq!((again.newest(), again.state_root()), (first.newest(), first.state_root()));
    assert_eq!(storage.state().unwrap(), Some((point, slots)), "nothing is stored twice");
}

#[test]
fn an_unharmed_chain_starts() {
    let mut replica = start(&chain()).unwrap();
    assert_eq!((replica.newest_height(), replica.ledger().commit_index()), (2, 2));
    // The state on disk is that before the second commit.
    assert_eq!(replica.replayed(), Replayed { blocks: 1, transactions: 1 });
}

#[test]
fn all_of_a_chain_is_executed_again_and_its_last_root_computed() {
    let unflushed = || {
        let mut chain = chain();
        chain.has_flush = false;
        chain
    };
    let replica = start(&unflushed()).unwrap();
    assert_eq!(replica.replayed(), Replayed { blocks: 2, transactions: 2 });
    let mut other_root = unflushed();
    assert!(other_root.blocks[0].header.state_root.is_some(), "each second has a root");
    other_root.blocks[0].header.state_root = Some(Digest::ZERO);
    let error = start(&other_root).map(drop).expect_err("the next block names the block by its hash");
    assert!(matches!(error, RecoveryError::Diverged { commit_index: 2, .. }), "{error}");
    let mut other_root = unflushed();
    other_root.blocks[1].header.state_root = Some(Digest::ZERO);
    let error = start(&other_root).map(drop).expect_err("the last root is computed");
    assert!(matches!(error, RecoveryError::Diverged { commit_index: 2, .. }), "{error}");
}

#[test]
fn a_block_that_comes_out_differently_stops_the_node_and_is_no_reason_to_throw_the_database_away() {
    let other_block = refusal(|chain| chain.blocks[1].header.transactions_root = Digest::ZERO);
    assert!(matches!(other_block, RecoveryError::Diverged { commit_index: 2, .. }), "{other_block}");
    assert!(!other_block.is_damage());
    let void = refusal(|chain| chain.blocks[1].payloads[0].void = true);
    assert!(matches!(void, RecoveryError::Diverged { commit_index: 2, .. }), "{void}");
}

#[test]
fn damage_is_noticed_and_calls_for_repair() {
    let damage = [
        refusal(|chain| drop(chain.vertices.pop())),
        refusal(|chain| drop(chain.commits.remove(0))),
        refusal(|chain| chain.flush.point.state_root.0[0] ^= 1),
        refusal(|chain| chain.flush.slots[1].bytes[40] ^= 1),
        refusal(|chain| drop(chain.flush.slots.pop())),
    ];
    for (number, error) in damage.iter().enumerate() {
        assert!(error.is_damage(), "{number}: {error}");
    }
    let other_chain = refusal(|chain| chain.flush.point.header.chain = Digest::ZERO);
    assert!(!other_chain.is_damage(), "{other_chain}");
}
