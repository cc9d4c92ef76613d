//! The checker notices what it is there for: each test shows it one thing that must never happen.

use bytes::Bytes;
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::vertex::{VerifiedVertex, VertexHeader, VertexRef};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHeader, DropReason, ResultCode};
use farthing_core::execution::Ledger;
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::VerifiedTransaction;
use farthing_node::replica::{Settled, SettledBlock};
use farthing_node::storage::memory::MemoryStorage;
use farthing_node::storage::{Batch, BlockEntry, BlockRecord, Storage};
use farthing_tests::sim::Violation;
use farthing_tests::sim::checker::Checker;
use farthing_tests::sim::client::Clients;
use farthing_tests::sim::forgery::{MUTATIONS, mutated};
use farthing_tests::sim::health::{Bounds, Holdings, RESUME_ROUNDS_MAX, check_evidence, check_resumed};
use std::collections::BTreeSet;

const CHAIN: Digest = Digest([7; 32]);

fn checker() -> Checker {
    Checker::new(CHAIN, Amount::from_mites(1_000), Vec::new())
}

fn commit(index: u64, previous: Digest, timestamp_ms: u64) -> Commit {
    let leader = VertexRef { round: index, author: 0, digest: Digest::ZERO };
    Commit { epoch: 0, index, previous, leader, vertices: vec![leader], timestamp_ms }
}

fn block(height: u64, timestamp_ms: u64, entries: &[(Digest, ResultCode)]) -> BlockRecord {
    let header = BlockHeader {
        chain: CHAIN,
        epoch: 0,
        height,
        previous: Digest::ZERO,
        commit_index: height,
        commit_digest: Digest::ZERO,
        timestamp_ms,
        transactions_root: Digest::ZERO,
        state_root: None,
        transaction_count: entries.len() as u32,
    };
    let entries = (0..).zip(entries).map(|(place, (id, code))| BlockEntry { payload: 0, place, id: *id, code: *code });
    BlockRecord { header, payloads: Vec::new(), entries: entries.collect() }
}

fn vertex(round: u64, timestamp_ms: u64) -> VerifiedVertex {
    let header = VertexHeader {
        epoch: 0,
        round,
        author: 0,
        timestamp_ms,
        parents: vec![VertexRef { round: 0, author: 0, digest: Digest::ZERO }],
        payload_digest: Digest::of_bytes(b""),
        commit_vote: None,
        attestations: Vec::new(),
    };
    VerifiedVertex::sign(header, Bytes::new(), &CHAIN, &SecretKey::from_seed(&[1; 32]))
}

/// A transfer that the checker knows of.
fn issued(checker: &mut Checker, clients: &mut Clients) -> VerifiedTransaction {
    clients.join(CHAIN);
    let order = clients.transfer(1_000);
    let transaction = clients.orders()[order].transaction.clone();
    checker.issued(&transaction);
    transaction
}

#[test]
fn different_commits() {
    let mut checker = checker();
    let first = commit(1, CHAIN, 10);
    checker.committed(0, &first).expect("the first of its index");
    checker.committed(1, &first).expect("the same elsewhere");
    assert!(matches!(checker.committed(2, &commit(1, CHAIN, 11)), Err(Violation::Agreement(_))));
    assert!(matches!(checker.committed(2, &commit(2, CHAIN, 11)), Err(Violation::Agreement(_))));
    assert!(matches!(checker.committed(2, &commit(3, Digest::ZERO, 11)), Err(Violation::Agreement(_))));
    checker.committed(2, &commit(2, first.digest(&CHAIN), 11)).expect("the next one");
}

#[test]
fn commit_time_that_runs_backwards() {
    let mut checker = checker();
    let first = commit(1, CHAIN, 10);
    checker.committed(0, &first).expect("the first of its index");
    assert!(matches!(checker.committed(0, &commit(2, first.digest(&CHAIN), 9)), Err(Violation::Time(_))));
    checker.committed(0, &commit(2, first.digest(&CHAIN), 10)).expect("time may stand still");
}

#[test]
fn rounds_that_go_on_without_commits() {
    check_resumed(RESUME_ROUNDS_MAX, 0).expect("there is time yet");
    check_resumed(1_000, 1).expect("there was a commit");
    assert!(matches!(check_resumed(RESUME_ROUNDS_MAX + 1, 0), Err(Violation::Progress(_))));
}

#[test]
fn more_in_memory_than_there_may_be() {
    let bounds = Bounds { validators: 4, gc_depth: 60, mempool_transactions: 10, mempool_bytes: 1_000 };
    let full = Holdings { mempool_transactions: 10, mempool_bytes: 1_000, ..Holdings::default() };
    bounds.check(0, &full).expect("it is full");
    let huge = usize::MAX;
    for held in [
        Holdings { mempool_transactions: 11, ..full },
        Holdings { mempool_bytes: 1_001, ..full },
        Holdings { suspended_bytes: huge, ..full },
        Holdings { fetching: huge, ..full },
        Holdings { accepted: huge, ..full },
        Holdings { outputs: huge, ..full },
        Holdings { commits: huge, ..full },
        Holdings { writes: u64::MAX, ..full },
    ] {
        assert!(matches!(bounds.check(0, &held), Err(Violation::Bounds(_))), "{held:?}");
    }
}

#[test]
fn equivocations_without_evidence() {
    let storage = MemoryStorage::default();
    let vertices = vec![vertex(1, 10), vertex(2, 10)];
    storage.apply(&Batch { vertices, ..Batch::default() }, true).expect("memory takes it");
    check_evidence(0, &storage, BTreeSet::new()).expect("nobody equivocated");
    let is_noticed = |storage: &MemoryStorage, shown: &[u16]| {
        let checked = check_evidence(0, storage, shown.iter().copied().collect());
        matches!(checked, Err(Violation::Evidence(_)))
    };
    assert!(is_noticed(&storage, &[0]), "it was shown a second vertex");
    storage.apply(&Batch { vertices: vec![vertex(2, 11)], ..Batch::default() }, true).expect("memory takes it");
    assert!(is_noticed(&storage, &[]), "it stores two vertices of a slot");
    storage.apply(&Batch { evidence: vec![(2, 0, vec![1])], ..Batch::default() }, true).expect("memory takes it");
    assert!(!is_noticed(&storage, &[0]));
}

#[test]
fn every_mutation_of_a_vertex_is_refused() {
    let keys: Vec<SecretKey> = (0..4).map(|number| SecretKey::from_seed(&[number; 32])).collect();
    let public = keys.iter().map(SecretKey::public_key).collect();
    let committee = Committee::new(CHAIN, 0, public, CHAIN, 0);
    let others = [1, 2, 3].map(|author| committee.genesis_ref(author));
    let header =
        VertexHeader { parents: [&[committee.genesis_ref(0)], &others[..]].concat(), ..vertex(1, 10).header().clone() };
    let valid = VerifiedVertex::sign(header, Bytes::new(), &CHAIN, &keys[0]);
    committee.verify(valid.vertex().clone()).expect("it is valid");
    for number in 0..MUTATIONS {
        let refused = committee.verify(mutated(&valid, number, &keys[0], &committee));
        assert!(refused.is_err(), "mutation {number} is taken");
    }
}

#[test]
fn different_blocks_and_time_that_runs_backwards() {
    let mut checker = checker();
    checker.executed(0, &block(1, 10, &[])).expect("the first of its height");
    checker.executed(1, &block(1, 10, &[])).expect("the same elsewhere");
    assert!(matches!(checker.executed(2, &block(1, 11, &[])), Err(Violation::Agreement(_))));
    assert!(matches!(checker.executed(2, &block(3, 11, &[])), Err(Violation::Agreement(_))));
    assert!(matches!(checker.executed(2, &block(2, 9, &[])), Err(Violation::Time(_))));
}

#[test]
fn a_nonce_consumed_twice_and_a_forgery() {
    let (mut checker, mut clients) = (checker(), Clients::new(1));
    let id = issued(&mut checker, &mut clients).id();
    checker.executed(0, &block(1, 10, &[(id, ResultCode::Executed)])).expect("its first block");
    let again = block(2, 10, &[(id, ResultCode::Executed)]);
    assert!(matches!(checker.executed(0, &again), Err(Violation::Replay(_))));
    let forged = block(3, 10, &[(Digest([9; 32]), ResultCode::Executed)]);
    assert!(matches!(checker.executed(0, &forged), Err(Violation::Replay(_))));
}

#[test]
fn double_signing_and_sending_before_syncing() {
    let mut checker = checker();
    let storage = MemoryStorage::default();
    storage.initialize_signing_state().expect("an empty disk");
    let first = vertex(1, 10);
    assert!(matches!(checker.sent(0, &first, &storage), Err(Violation::Durability(_))));
    let batch = Batch { vertices: vec![first.clone()], last_signed: Some(first.reference()), ..Batch::default() };
    storage.apply(&batch, true).expect("memory takes it");
    checker.sent(0, &first, &storage).expect("it is durable");
    checker.sent(0, &first, &storage).expect("sending it again is harmless");
    assert!(matches!(checker.sent(0, &vertex(1, 11), &storage), Err(Violation::DoubleSigning(_))));
    assert!(matches!(checker.sent(0, &vertex(2, 11), &storage), Err(Violation::Durability(_))));
}

#[test]
fn a_vertex_of_an_earlier_life_may_be_shown_again_once_it_is_durable() {
    let mut checker = checker();
    let storage = MemoryStorage::default();
    let past = vertex(5, 10);
    let batch = Batch { vertices: vec![past.clone()], ..Batch::default() };
    storage.apply(&batch, true).expect("memory takes it");
    assert!(matches!(checker.sent(0, &past, &storage), Err(Violation::Durability(_))));
    checker.replaced_disk(0);
    checker.sent(0, &past, &storage).expect("the disk was replaced");
    assert!(matches!(checker.sent(0, &vertex(6, 10), &storage), Err(Violation::Durability(_))));
}

#[test]
fn results_that_no_block_has_or_that_are_not_durable() {
    let (mut checker, mut clients) = (checker(), Clients::new(1));
    let id = issued(&mut checker, &mut clients).id();
    let record = block(1, 10, &[(id, ResultCode::Executed)]);
    checker.executed(0, &record).expect("a block");
    let settled = |code| {
        let block =
            SettledBlock { hash: record.header.hash(), header: record.header.clone(), results: vec![(id, code)] };
        Settled { block: Some(block), ..Settled::default() }
    };
    let storage = MemoryStorage::default();
    let told = checker.settled(0, &settled(ResultCode::Executed), &storage);
    assert!(matches!(told, Err(Violation::Durability(_))));
    storage.apply(&Batch { commits: vec![commit(1, CHAIN, 10)], ..Batch::default() }, true).expect("memory takes it");
    let told = checker.settled(0, &settled(ResultCode::InsufficientBalance), &storage);
    assert!(matches!(told, Err(Violation::Lost(_))));

    checker.settled(0, &settled(ResultCode::Executed), &storage).expect("the truth");
    assert_eq!(checker.acknowledged(&id), Some(ResultCode::Executed));
    assert!(matches!(checker.stored(0, &storage), Err(Violation::Lost(_))), "the block is not stored");
    storage.apply(&Batch { block: Some((record, Vec::new())), ..Batch::default() }, true).expect("memory takes it");
    checker.stored(0, &storage).expect("now it is");
}

#[test]
fn a_valid_transaction_that_is_dropped() {
    let (mut checker, mut clients) = (checker(), Clients::new(1));
    let id = issued(&mut checker, &mut clients).id();
    assert!(matches!(checker.dropped(0, &id, DropReason::NonceUsed), Err(Violation::Lost(_))));
    checker.executed(0, &block(1, 10, &[(id, ResultCode::Executed)])).expect("a block");
    checker.dropped(0, &id, DropReason::NonceUsed).expect("it was executed");
    assert!(matches!(checker.dropped(0, &id, DropReason::Expired), Err(Violation::Lost(_))));
}

#[test]
fn money_that_is_missing_and_a_state_of_its_own() {
    let (rich, key) = (Address(SecretKey::from_seed(&[2; 32]).public_key()), SecretKey::from_seed(&[3; 32]));
    let validator = Validator {
        name: "one".into(),
        public_key: key.public_key(),
        network_key: SecretKey::from_seed(&[4; 32]).public_key(),
    };
    let prefix = "far".parse().expect("a good prefix");
    let accounts = vec![(rich, Amount::from_mites(1_000))];
    let genesis = Genesis::new("checker", &prefix, 0, Parameters::generous(), vec![validator], accounts);
    let ledger = Ledger::genesis(&genesis.expect("a good document"));
    let with = |mites, addresses| Checker::new(CHAIN, Amount::from_mites(mites), addresses);
    with(1_000, vec![rich]).ledger(0, &ledger).expect("all is there");
    assert!(matches!(with(1_001, vec![rich]).ledger(0, &ledger), Err(Violation::Supply(_))));
    assert!(matches!(with(1_000, Vec::new()).ledger(0, &ledger), Err(Violation::Supply(_))));
}
