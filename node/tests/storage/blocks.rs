//! Blocks, whose ids are not stored but follow from their payloads.

use crate::fixtures::*;
use farthing_consensus::vertex::VerifiedVertex;
use farthing_core::block::ResultCode::{self, Executed, InsufficientBalance};
use farthing_core::codec;
use farthing_node::storage::rocks::BlockBody;
use farthing_node::storage::{
    Batch, BlockEntry, BlockRecord, PayloadRecord, RETAIN_COMMITS_MIN, Retention, Storage, StorageError,
    TransactionPosition,
};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

fn vertex_of(author: u16, payload: &[u8]) -> VerifiedVertex {
    simple_vertex(1, author, payload)
}

/// The block at height 1 of these payloads, each with the places, positions of [`transaction`] and results of its transactions that
/// were not dropped; `None` for a void one.
type Results = Option<&'static [(u32, u32, ResultCode)]>;

fn block_of(vertices: &[VerifiedVertex], results: &[Results]) -> BlockRecord {
    let entries: Vec<BlockEntry> = (0..)
        .zip(results)
        .flat_map(|(payload, results)| results.unwrap_or_default().iter().map(move |result| (payload, result)))
        .map(|(payload, (place, number, code))| BlockEntry { payload, place: *place, id: id(1, *number), code: *code })
        .collect();
    let payload = |(vertex, results): (&VerifiedVertex, &Results)| PayloadRecord {
        vertex: vertex.reference(),
        void: results.is_none(),
    };
    BlockRecord {
        header: header(1, 1, entries.len() as u32),
        payloads: vertices.iter().zip(results).map(payload).collect(),
        entries,
    }
}

fn batch(vertices: &[VerifiedVertex], block: &BlockRecord) -> Batch {
    let commits = vec![commit(1, vertices.iter().map(VerifiedVertex::reference).collect())];
    Batch { vertices: vertices.to_vec(), commits, block: Some((block.clone(), Vec::new())), ..Batch::default() }
}

/// Payloads with and without dropped transactions, at either end and between, with all kinds of results, and a void one.
fn mixed() -> (Vec<VerifiedVertex>, BlockRecord) {
    let vertices =
        [payload(1, 0..6), b"no transactions".to_vec(), payload(1, 6..9), payload(1, 9..10), payload(1, 10..13)];
    let vertices: Vec<_> = (0..).zip(&vertices).map(|(author, payload)| vertex_of(author, payload)).collect();
    let block = block_of(
        &vertices,
        &[
            Some(&[(1, 1, Executed), (2, 2, Executed), (4, 4, InsufficientBalance)]),
            None,
            Some(&[]),
            Some(&[(0, 9, InsufficientBalance)]),
            Some(&[(0, 10, Executed), (1, 11, InsufficientBalance), (2, 12, Executed)]),
        ],
    );
    (vertices, block)
}

fn assert_stored(storage: &dyn Storage, block: &BlockRecord) {
    assert_eq!(storage.block(1).unwrap().as_ref(), Some(block));
    assert_eq!(storage.payloads(1).unwrap().as_ref(), Some(&block.payloads));
    for (position, entry) in (0..).zip(&block.entries) {
        let position = TransactionPosition { height: 1, position };
        let place = (block.payloads[usize::from(entry.payload)].vertex, entry.place);
        assert_eq!(storage.place(position).unwrap(), Some(place));
        let indexed = storage.transaction(&entry.id).unwrap().unwrap();
        assert_eq!((indexed.position, indexed.code), (position, entry.code));
    }
    let beyond = block.entries.len() as u32;
    for (height, position) in [(1, beyond), (1, u32::MAX), (2, 0)] {
        assert_eq!(storage.place(TransactionPosition { height, position }).unwrap(), None);
    }
    assert_eq!(storage.payloads(2).unwrap(), None);
}

#[test]
fn ids_come_back_whatever_was_dropped_or_void() {
    let (vertices, block) = mixed();
    over_both(|storage| {
        storage.apply(&batch(&vertices, &block), true).unwrap();
        assert_stored(storage, &block);
        for dropped in [0, 3, 5, 6, 7, 8] {
            assert_eq!(storage.transaction(&id(1, dropped)).unwrap(), None);
        }
    });
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).apply(&batch(&vertices, &block), true).unwrap();
    assert_stored(&open(directory.path()), &block);
}

#[test]
fn a_body_takes_next_to_nothing_a_transaction() {
    let block = block(1, 1, &[reference(1, 0)], 10_000);
    let bytes = codec::encode(&BlockBody::of(&block)).len();
    assert!(bytes < 100, "{bytes} bytes for 10,000 transactions");
}

#[test]
fn entries_out_of_order_or_of_void_payloads_are_never_stored() {
    let (_, good) = mixed();
    let refuses = |change: fn(&mut BlockRecord)| {
        let mut block = good.clone();
        change(&mut block);
        catch_unwind(|| BlockBody::of(&block)).is_err()
    };
    assert!(!refuses(|_| {}));
    assert!(refuses(|block| block.entries.swap(0, 1)));
    assert!(refuses(|block| block.entries[1] = block.entries[0]));
    assert!(refuses(|block| block.entries.reverse()));
    assert!(refuses(|block| block.entries[3].payload = 1));
    assert!(refuses(|block| block.entries[6].payload = 9));
}

#[test]
fn a_block_whose_payloads_are_gone_or_altered_is_damaged() {
    type Change = fn(&rocksdb::DB, &[VerifiedVertex], &BlockRecord);
    let changes: [(&str, Change); 5] = [
        ("a payload is gone", |raw, vertices, _| {
            raw.delete_cf(raw.cf_handle("payloads").unwrap(), key_of(&vertices[0])).unwrap();
        }),
        ("a bit of a payload is flipped", |raw, vertices, _| {
            let payloads = raw.cf_handle("payloads").unwrap();
            let mut bytes = raw.get_cf(payloads, key_of(&vertices[4])).unwrap().unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            raw.put_cf(payloads, key_of(&vertices[4]), bytes).unwrap();
        }),
        ("a payload is no payload", |raw, vertices, block| {
            // As if the void one were not.
            let mut body = block.clone();
            body.payloads[1].void = false;
            let one = BlockEntry { payload: 1, place: 0, id: id(1, 7), code: Executed };
            body.entries.insert(3, one);
            assert_eq!(body.payloads[1].vertex, vertices[1].reference());
            put_body(raw, &body);
        }),
        ("the body has more transactions than the payloads", |raw, _, block| {
            let mut body = block.clone();
            body.entries.push(BlockEntry { payload: 4, place: 3, id: id(1, 13), code: Executed });
            put_body(raw, &body);
        }),
        ("the body has another number of transactions than the header", |raw, _, block| {
            let mut body = block.clone();
            body.entries.pop();
            put_body(raw, &body);
        }),
    ];
    for (what, change) in changes {
        let directory = tempfile::tempdir().unwrap();
        let (vertices, block) = mixed();
        let storage = open(directory.path());
        storage.apply(&batch(&vertices, &block), true).unwrap();
        // Otherwise the damage is noticed when ids are computed at the start.
        storage.compact().unwrap();
        drop(storage);
        let raw = open_raw(directory.path());
        change(&raw, &vertices, &block);
        drop(raw);
        let read = open(directory.path()).block(1);
        assert!(matches!(read, Err(StorageError::Damaged(_))), "{what}: {read:?}");
    }
}

fn put_body(raw: &rocksdb::DB, block: &BlockRecord) {
    let body = codec::encode(&BlockBody::of(block));
    raw.put_cf(raw.cf_handle("blocks").unwrap(), 1_u64.to_be_bytes(), body).unwrap();
}

#[test]
fn blocks_may_be_read_while_they_are_pruned() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let mut network = Network::new(1);
    for _ in 0..3_000 {
        storage.apply(&network.busy(2), false).unwrap();
    }
    storage.apply(&network.flush(), false).unwrap();
    let (is_pruned, retention) =
        (AtomicBool::new(false), Retention { commits: RETAIN_COMMITS_MIN, blocks: 10, transactions_ms: 0 });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while storage.prune(&retention).unwrap() {}
            is_pruned.store(true, Ordering::Release);
        });
        let (mut whole, mut height) = (0, 0);
        while !is_pruned.load(Ordering::Acquire) || whole == 0 {
            height = height % network.height + 1;
            // Either all of it or nothing, and no damage.
            if let Some(block) = storage.block(height).unwrap() {
                assert_eq!(block.entries.len(), 2);
                whole += 1;
            }
        }
    });
    assert_eq!(storage.block(1).unwrap(), None);
}
