//! The encodings that are signed, hashed, stored and sent, pinned by hash: a change here is a change of format, which splits a
//! network. And decoding of hostile bytes.

use super::{committee, secret_key};
use crate::commit::Commit;
use crate::message::{MESSAGE_BYTES_MAX, Message};
use crate::vertex::{SignedHeader, VerifiedVertex, Vertex, VertexHeader, VertexRef};
use bytes::Bytes;
use farthing_core::certificate::Attestation;
use farthing_core::codec;
use farthing_core::hash::Digest;
use proptest::prelude::*;

fn sample_vertex() -> VerifiedVertex {
    let committee = committee(4);
    let payload = Bytes::from_static(b"three transfers");
    let block = Digest::of_bytes(b"a block");
    let header = VertexHeader {
        epoch: 0,
        round: 1,
        author: 2,
        timestamp_ms: 1_700_000_000_123,
        parents: [2, 0, 1, 3].map(|author| committee.genesis_ref(author)).to_vec(),
        payload_digest: Digest::of_bytes(&payload),
        commit_vote: Some((41, Digest::of_bytes(b"a commit"))),
        attestations: vec![Attestation::sign(committee.chain(), 17, block, &secret_key(2))],
    };
    VerifiedVertex::sign(header, payload, committee.chain(), &secret_key(2))
}

fn sample_commit() -> Commit {
    let vertex = sample_vertex().reference();
    Commit {
        epoch: 0,
        index: 7,
        previous: Digest::of_bytes(b"the commit before"),
        leader: vertex,
        vertices: vec![VertexRef { round: 1, author: 0, digest: Digest::of_bytes(b"another") }, vertex],
        timestamp_ms: 1_700_000_000_456,
    }
}

fn sample_messages() -> Vec<Message> {
    let vertex = sample_vertex();
    let commit = sample_commit();
    vec![
        Message::Vertex(vertex.vertex().clone()),
        Message::Subscribe { from_round: 9 },
        Message::FetchVertices { refs: commit.vertices.clone(), above_round: 4 },
        Message::Vertices { vertices: vec![vertex.vertex().clone()] },
        Message::FetchCommits { from_index: 3 },
        Message::Commits { commits: vec![commit], votes: vec![vertex.signed_header().clone()], oldest_index: 2 },
        Message::FetchLatest,
        Message::Latest { own: Some(Box::new(vertex.signed_header().clone())), yours: None },
    ]
}

#[track_caller]
fn check(what: Digest, expected: &str) {
    assert_eq!(what.to_string(), expected, "a format has changed");
}

#[test]
fn the_digests_that_are_signed_and_referenced_are_pinned() {
    let committee = committee(4);
    let vertex = sample_vertex();
    check(committee.genesis_ref(3).digest, "f132a83fada3d30157f725747d4a87ebee84b49aa0041a93767af701b7a0c4b8");
    check(
        vertex.header().signing_digest(committee.chain()),
        "44aa89fb8a51c84edf992940abe7e095e14d2d8ecba0ebf6f063d712b0fff41d",
    );
    check(vertex.reference().digest, "4348f871fd9398cf8a5f230f6fbb2243c89adef21de292c09c4f3b374ee5a17e");
    check(
        sample_commit().digest(committee.chain()),
        "296666e697a33c46f3e6bbd11958b38a3669b5d161a5397dac2e4b450cd6a0e9",
    );
    assert_eq!((0..4).map(|round| committee.leader(round)).collect::<Vec<_>>(), [0, 3, 1, 2]);
}

#[test]
fn the_encodings_on_disk_and_on_the_wire_are_pinned() {
    check(
        Digest::of_bytes(&codec::encode(sample_vertex().vertex())),
        "d4d78b3ef32d29d3215eb10ea071405029307aa0d2da224f12d16e6695d1ad61",
    );
    check(
        Digest::of_bytes(&codec::encode(&sample_commit())),
        "e507988afa7c27b7c699ccb94b938dd1fd17aa4c28e7223e8c943e8c7cbc8667",
    );
    let all: Vec<u8> = sample_messages().iter().flat_map(codec::encode).collect();
    check(Digest::of_bytes(&all), "f63a7d27f1a607770166fa5e61c91902eadd09ac4bd091aef52627d525d74399");
}

#[test]
fn encodings_round_trip_and_count_their_bytes() {
    let vertex = sample_vertex();
    assert_eq!(vertex.encoded_len(), codec::encode(vertex.vertex()).len());
    assert_eq!(codec::decode::<Vertex>(&codec::encode(vertex.vertex()), 10_000).as_ref(), Ok(vertex.vertex()));
    for message in sample_messages() {
        assert_eq!(codec::decode::<Message>(&codec::encode(&message), MESSAGE_BYTES_MAX), Ok(message));
    }
}

#[test]
fn every_truncation_and_every_excess_is_refused() {
    for message in sample_messages() {
        let bytes = codec::encode(&message);
        for end in 0..bytes.len() {
            assert!(codec::decode::<Message>(&bytes[..end], MESSAGE_BYTES_MAX).is_err(), "{end} bytes of {message:?}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(codec::decode::<Message>(&longer, MESSAGE_BYTES_MAX).is_err());
    }
}

#[test]
fn counts_out_of_bounds_are_refused_before_anything_is_allocated() {
    let huge = u32::MAX.to_le_bytes();
    for tag in [2_u8, 3, 5] {
        let bytes = [&[tag], huge.as_slice()].concat();
        assert!(codec::decode::<Message>(&bytes, MESSAGE_BYTES_MAX).is_err(), "tag {tag}");
    }
    let none = Message::FetchVertices { refs: Vec::new(), above_round: 0 };
    assert!(codec::decode::<Message>(&codec::encode(&none), MESSAGE_BYTES_MAX).is_err(), "an empty fetch");
}

/// Bytes decode to a value with that very encoding, or to an error.
fn decodes_canonically<T: borsh::BorshSerialize + borsh::BorshDeserialize>(bytes: &[u8]) -> bool {
    codec::decode::<T>(bytes, MESSAGE_BYTES_MAX).is_ok_and(|value| {
        assert_eq!(codec::encode(&value), bytes);
        true
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn mutated_encodings_decode_canonically_or_not_at_all(
        which in 0..6_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = codec::encode(&sample_messages()[which]);
        for (position, byte) in changes {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        decodes_canonically::<Message>(&bytes);
    }

    #[test]
    fn garbage_decodes_canonically_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decodes_canonically::<Message>(&bytes);
        decodes_canonically::<SignedHeader>(&bytes);
        decodes_canonically::<Commit>(&bytes);
    }
}
