//! Which commits make blocks, and which blocks carry a state root.

use crate::helpers::{GENESIS_MS, address, commit, key, network, output, transfer, verified};
use farthing_core::execution::{CommitContext, IDLE_COMMITS_MAX, Ledger};
use farthing_core::hash::Digest;
use farthing_core::receipt::transactions_root;
use farthing_core::state_tree::StateTree;

/// A script: for each commit its time after the genesis and how many transfers it holds, and whether a block is expected and carries
/// a root.
fn check(script: &[(u64, u64, Option<bool>)]) {
    let mut ledger = Ledger::genesis(&network(&[(1, 1_000)]));
    let mut nonce = 0;
    for (step, (after_ms, count, expect)) in script.iter().enumerate() {
        let transfers: Vec<_> = (0..*count)
            .map(|_| {
                nonce += 1;
                transfer(1, nonce, vec![output(1, 1, false)])
            })
            .collect();
        let root_before = ledger.state_root();
        let block = commit(&mut ledger, *after_ms, &transfers).block;
        assert_eq!(block.as_ref().map(|block| block.header.state_root.is_some()), *expect, "step {step}");
        if let Some(root) = block.and_then(|block| block.header.state_root) {
            assert_eq!(root, root_before, "step {step}: the root is that of the state before the block");
        }
    }
}

const NO_BLOCK: Option<bool> = None;
const BLOCK: Option<bool> = Some(false);
const ROOT: Option<bool> = Some(true);

#[test]
fn the_first_block_of_a_second_carries_a_root() {
    // The genesis lies at 400 ms of its second, and block 0 carries that second's root.
    check(&[(0, 1, BLOCK), (599, 1, BLOCK), (600, 1, ROOT), (600, 1, BLOCK), (1_599, 1, BLOCK), (9_600, 1, ROOT)]);
}

#[test]
fn an_empty_commit_makes_a_block_only_to_publish_a_changed_root() {
    check(&[(0, 0, NO_BLOCK), (600, 0, NO_BLOCK), (5_000, 0, NO_BLOCK), (5_700, 1, ROOT)]);
    check(&[(0, 1, BLOCK), (500, 0, NO_BLOCK), (600, 0, ROOT), (700, 0, NO_BLOCK), (1_600, 0, NO_BLOCK)]);
    check(&[
        (600, 1, ROOT),
        (700, 0, NO_BLOCK),
        (1_600, 0, ROOT),
        (1_700, 1, BLOCK),
        (2_600, 1, ROOT),
        (3_600, 0, ROOT),
    ]);
}

#[test]
fn an_idle_network_makes_a_block_now_and_then() {
    let mut ledger = Ledger::genesis(&network(&[(1, 1_000)]));
    let mut blocks = Vec::new();
    let mut idle = |ledger: &mut Ledger, commits: u64, step_ms: u64| {
        for _ in 0..commits {
            let after_ms = ledger.timestamp_ms() - GENESIS_MS + step_ms;
            blocks.extend(commit(ledger, after_ms, &[]).block.map(|block| block.header));
        }
        blocks.clone()
    };
    assert_eq!(idle(&mut ledger, IDLE_COMMITS_MAX - 1, 500), []);
    let made = idle(&mut ledger, 2 * IDLE_COMMITS_MAX, 500);
    assert_eq!(
        made.iter().map(|header| header.commit_index).collect::<Vec<_>>(),
        [IDLE_COMMITS_MAX, 2 * IDLE_COMMITS_MAX]
    );
    assert!(made.iter().all(|header| header.transaction_count == 0 && header.state_root == Some(ledger.state_root())));
    // However many commits there are in a second, only one of these blocks lies in it.
    assert_eq!(idle(&mut ledger, 3 * IDLE_COMMITS_MAX, 0).len(), 3);
    assert_eq!(idle(&mut ledger, 1, 1_000).len(), 4);
}

#[test]
fn a_commit_of_dropped_transactions_counts_as_empty() {
    let mut ledger = Ledger::genesis(&network(&[(1, 1_000)]));
    let dropped = || transfer(1, 0, vec![output(1, 1, false)]);
    assert_eq!(commit(&mut ledger, 700, &[dropped()]).block, None);
    assert!(commit(&mut ledger, 800, &[transfer(1, 1, vec![output(1, 1, false)])]).block.is_some());
    assert_eq!(commit(&mut ledger, 900, &[dropped()]).block, None);
    let execution = commit(&mut ledger, 1_700, &[dropped()]);
    let header = execution.block.unwrap().header;
    assert_eq!((header.transaction_count, header.state_root), (0, Some(ledger.state_root())));
    assert_eq!(execution.dropped.len(), 1);
    assert_eq!((ledger.commit_index(), ledger.newest().commit_index), (4, 4));
}

#[test]
fn block_0_stands_for_the_genesis_document() {
    let genesis = network(&[(1, 1_000), (2, 1)]);
    let ledger = Ledger::genesis(&genesis);
    let header = ledger.newest();
    assert_eq!((header.chain, header.height, header.previous), (genesis.chain_hash(), 0, Digest::ZERO));
    assert_eq!((header.commit_index, header.timestamp_ms), (0, GENESIS_MS));
    assert_eq!(header.transactions_root, transactions_root(&[]));
    assert_eq!(header.state_root, Some(StateTree::new(ledger.state()).root()));
    assert_eq!(ledger.newest_hash(), header.hash());
    assert_eq!(ledger.prove_account(&address(1)), None, "nobody certifies block 0");
}

#[test]
fn a_transaction_that_comes_twice_counts_once() {
    let mut ledger = Ledger::genesis(&network(&[(1, 1_000), (2, 1)]));
    let payment = transfer(1, 1, vec![output(2, 10, false)]);
    let execution = commit(&mut ledger, 0, &[payment.clone(), payment.clone()]);
    assert_eq!((execution.block.unwrap().results.len(), execution.dropped.len()), (1, 1));
    assert_eq!(commit(&mut ledger, 10, &[payment]).block, None);
    assert_eq!(ledger.account(&address(2)).unwrap().balance.mites(), 11);
}

#[test]
fn two_signatures_of_one_transaction_are_one_transaction() {
    let genesis = network(&[(1, 1_000)]);
    let chain = genesis.chain_hash();
    let body = transfer(1, 1, vec![output(1, 10, false)]);
    let signed = body.clone().sign(&chain, &key(1)).verify(&chain).unwrap();
    let other = verified(body, &chain);
    assert_ne!(signed, other);
    let commit = CommitContext { epoch: 0, index: 1, digest: Digest::ZERO, timestamp_ms: GENESIS_MS };
    let execution = Ledger::genesis(&genesis).execute(&commit, &[signed.clone(), other]);
    assert_eq!(execution.block.unwrap().results[0].1.id, signed.id());
    assert_eq!(execution.dropped.len(), 1);
}
