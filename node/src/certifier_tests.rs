use super::*;
use crate::test_support::{genesis, key};
use farthing_core::hash::Digest;

fn hash(number: u8) -> BlockHash {
    Digest([number; 32])
}

/// The attestation of validator `author` for a block.
fn attestation(author: u8, height: u64, block: BlockHash) -> Attestation {
    Attestation::sign(&genesis().chain_hash(), height, block, &key(101 + author))
}

fn attest(certifier: &mut Certifier, author: u8, height: u64, block: BlockHash) -> Option<u64> {
    let certified = certifier.attested(author.into(), &attestation(author, height, block));
    certified.expect("the state is right").map(|certified| certified.height)
}

#[test]
fn three_of_four_certify_and_each_counts_once() {
    let mut certifier = Certifier::new(&genesis(), 0);
    assert_eq!(certifier.executed(1, hash(1)), Ok(None));
    assert_eq!(attest(&mut certifier, 0, 1, hash(1)), None);
    assert_eq!(attest(&mut certifier, 0, 1, hash(1)), None, "the same one again");
    assert_eq!(attest(&mut certifier, 1, 1, hash(1)), None);
    assert_eq!(certifier.certified_height(), 0);
    assert_eq!(attest(&mut certifier, 3, 1, hash(1)), Some(1));
    assert_eq!(certifier.certified_height(), 1);
    assert_eq!(attest(&mut certifier, 2, 1, hash(1)), None, "certified once");
}

#[test]
fn a_certificate_verifies_under_the_genesis_document() {
    let genesis = genesis();
    let ledger = farthing_core::execution::Ledger::genesis(&genesis);
    let header = farthing_core::block::BlockHeader { height: 1, ..ledger.newest().clone() };
    let mut certifier = Certifier::new(&genesis, 0);
    certifier.executed(1, header.hash()).expect("right");
    let mut certified = None;
    for author in [2, 0, 1] {
        certified = certifier.attested(author, &attestation(author as u8, 1, header.hash())).expect("right");
    }
    let attestations = certified.expect("a quorum").attestations;
    let certificate = farthing_core::certificate::Certificate { links: Vec::new(), attestations };
    assert_eq!(certificate.verify(&header, &genesis), Ok(()));
}

#[test]
fn attestations_that_come_before_the_block_wait_for_it() {
    let mut certifier = Certifier::new(&genesis(), 0);
    for author in 0..3 {
        assert_eq!(attest(&mut certifier, author, 2, hash(2)), None);
    }
    assert_eq!(certifier.executed(1, hash(1)), Ok(None));
    let certified = certifier.executed(2, hash(2)).expect("right").expect("a quorum waited");
    assert_eq!(certified.height, 2);
    assert_eq!(certifier.certified_height(), 2, "block 1 is certified by its descendant");
    assert!(certifier.early.is_empty());
}

#[test]
fn what_is_kept_early_is_bounded() {
    let mut certifier = Certifier::new(&genesis(), 0);
    attest(&mut certifier, 0, AHEAD_MAX + 1, hash(9));
    assert!(certifier.early.is_empty());
    attest(&mut certifier, 0, AHEAD_MAX, hash(9));
    assert_eq!(certifier.attested(77, &attestation(0, 5, hash(9))), Ok(None), "no such validator");
    assert_eq!(certifier.early.len(), 1);
}

#[test]
fn forged_attestations_do_not_count() {
    let mut certifier = Certifier::new(&genesis(), 0);
    certifier.executed(1, hash(1)).expect("right");
    attest(&mut certifier, 0, 1, hash(1));
    attest(&mut certifier, 1, 1, hash(1));
    // Validator 2's number under validator 0's signature.
    assert_eq!(certifier.attested(2, &attestation(0, 1, hash(1))), Ok(None));
    assert_eq!(certifier.certified_height(), 0);
}

#[test]
fn a_quorum_for_another_block_stops_the_node() {
    let mut certifier = Certifier::new(&genesis(), 0);
    certifier.executed(1, hash(1)).expect("right");
    attest(&mut certifier, 0, 1, hash(7));
    attest(&mut certifier, 0, 1, hash(7));
    attest(&mut certifier, 1, 1, hash(7));
    let wrong = certifier.attested(2, &attestation(2, 1, hash(7)));
    assert_eq!(wrong, Err(WrongState { height: 1, own: hash(1), certified: hash(7) }));
}
