//! Validity (§2), rule by rule, at both sides of each boundary.

use super::{committee, secret_key};
use crate::committee::{Committee, VertexError};
use crate::vertex::{
    ATTESTATIONS_MAX, Author, PAYLOAD_BYTES_MAX, Round, SignedHeader, Vertex, VertexHeader, VertexRef,
};
use bytes::Bytes;
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use farthing_core::keys::{SecretKey, Signature};

fn reference(round: Round, author: Author) -> VertexRef {
    VertexRef { round, author, digest: Digest::of_bytes(&[round as u8, author as u8]) }
}

/// A valid header of round 5 by author 1, in a committee of four.
fn header() -> VertexHeader {
    VertexHeader {
        epoch: 0,
        round: 5,
        author: 1,
        timestamp_ms: 0,
        parents: vec![reference(4, 1), reference(4, 0), reference(4, 2), reference(2, 3)],
        payload_digest: Digest::of_bytes(b"payload"),
        commit_vote: None,
        attestations: Vec::new(),
    }
}

fn signed(header: VertexHeader, key: &SecretKey, payload: &[u8]) -> Vertex {
    let signature = key.sign(&header.signing_digest(committee(4).chain()));
    Vertex { signed: SignedHeader { header, signature }, payload: Bytes::copy_from_slice(payload) }
}

/// Verifies the valid vertex after a change to its header, signed after the change.
fn verify(change: impl FnOnce(&mut VertexHeader)) -> Result<(), VertexError> {
    let mut header = header();
    change(&mut header);
    let key = secret_key(header.author);
    committee(4).verify(signed(header, &key, b"payload")).map(|_| ())
}

fn has_bad_parents(change: impl FnOnce(&mut Vec<VertexRef>)) -> bool {
    matches!(verify(|header| change(&mut header.parents)), Err(VertexError::BadParents(_)))
}

#[test]
fn a_valid_vertex_passes() {
    assert_eq!(verify(|_| {}), Ok(()));
}

#[test]
fn v1_epoch_author_and_round() {
    assert_eq!(verify(|header| header.epoch = 1), Err(VertexError::WrongEpoch { found: 1, expected: 0 }));
    assert_eq!(verify(|header| header.author = 4), Err(VertexError::UnknownAuthor(4)));
    assert_eq!(verify(|header| header.round = 0), Err(VertexError::RoundZero));
}

#[test]
fn v1_signature_and_payload() {
    let other_key = signed(header(), &secret_key(2), b"payload");
    assert!(matches!(committee(4).verify(other_key), Err(VertexError::BadSignature(_))));
    let other_payload = signed(header(), &secret_key(1), b"another");
    assert_eq!(committee(4).verify(other_payload), Err(VertexError::PayloadMismatch));
    let mut other_chain = signed(header(), &secret_key(1), b"payload");
    other_chain.signed.signature = secret_key(1).sign(&header().signing_digest(&Digest::ZERO));
    assert!(matches!(committee(4).verify(other_chain), Err(VertexError::BadSignature(_))));
    let mut zero = signed(header(), &secret_key(1), b"payload");
    zero.signed.signature = Signature([0; 64]);
    assert!(matches!(committee(4).verify_header(&zero.signed), Err(VertexError::BadSignature(_))));
}

#[test]
fn v2_own_parent_first_and_others_ascending() {
    assert!(has_bad_parents(Vec::clear));
    assert!(has_bad_parents(|parents| parents.swap(0, 1)));
    assert!(has_bad_parents(|parents| parents.swap(1, 2)));
    assert!(has_bad_parents(|parents| parents[1] = reference(4, 1)));
}

#[test]
fn v3_one_parent_an_author() {
    assert!(has_bad_parents(|parents| parents[2] = parents[1]));
    assert!(has_bad_parents(|parents| parents[2] = VertexRef { digest: Digest::ZERO, ..parents[1] }));
}

#[test]
fn v4_rounds_of_parents() {
    assert!(has_bad_parents(|parents| parents[3] = reference(5, 3)));
    assert!(has_bad_parents(|parents| parents[3] = reference(4, 4)));
    assert!(has_bad_parents(|parents| parents[3] = reference(0, 3)));
    let genesis = committee(4).genesis_ref(3);
    assert_eq!(verify(|header| header.parents[3] = genesis), Ok(()));
    // Three of the round before are a quorum, two are not; the own one counts.
    assert!(has_bad_parents(|parents| parents[0] = reference(3, 1)));
    assert!(has_bad_parents(|parents| parents[2] = reference(3, 2)));
    assert!(!has_bad_parents(|parents| parents.truncate(3)));
}

#[test]
fn v5_payload_and_attestations() {
    let committee = committee(4);
    let with_payload = |bytes: usize| {
        let payload = vec![1; bytes];
        let header = VertexHeader { payload_digest: Digest::of_bytes(&payload), ..header() };
        committee.verify(signed(header, &secret_key(1), &payload)).map(|_| ())
    };
    assert_eq!(with_payload(PAYLOAD_BYTES_MAX), Ok(()));
    assert!(matches!(with_payload(PAYLOAD_BYTES_MAX + 1), Err(VertexError::TooMany { .. })));
    let attestation = Attestation { height: 1, block: Digest::ZERO, signature: Signature([1; 64]) };
    assert_eq!(verify(|header| header.attestations = vec![attestation; ATTESTATIONS_MAX]), Ok(()));
    let too_many = verify(|header| header.attestations = vec![attestation; ATTESTATIONS_MAX + 1]);
    assert!(matches!(too_many, Err(VertexError::TooMany { .. })));
}

#[test]
fn what_votes_and_attestations_say_is_not_validity() {
    assert_eq!(verify(|header| header.commit_vote = Some((u64::MAX, Digest::ZERO))), Ok(()));
}

#[test]
fn thresholds_of_committees_of_all_sizes() {
    let expected =
        [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (5, 1, 4), (6, 1, 5), (7, 2, 5), (10, 3, 7), (128, 42, 86)];
    for (size, faulty, quorum) in expected {
        let committee: Committee = committee(size);
        assert_eq!((committee.faulty_max(), committee.quorum()), (faulty, quorum), "n = {size}");
        assert_eq!(committee.quorum(), farthing_core::certificate::quorum(size), "the ledger counts alike");
        // Two quorums share an honest author, and the honest ones alone make one.
        assert!(2 * quorum > size + faulty && quorum <= size - faulty);
        let leaders: std::collections::BTreeSet<Author> =
            (0..size as u64).map(|round| committee.leader(round)).collect();
        assert_eq!(leaders.len(), size, "everybody leads in turn");
    }
}

#[test]
fn the_gc_round_is_the_highest_collected_one() {
    let committee = committee(4).with_gc_depth(4);
    let rounds = [0, 3, 4, 5, 6].map(|leader_round| committee.gc_round(leader_round));
    assert_eq!(rounds, [0, 0, 0, 1, 2]);
}
