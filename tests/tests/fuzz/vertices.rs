//! What validators send one another, as far as it is consensus's: vertices, commits, evidence, messages.

use crate::canonical;
use crate::fixtures::{commits, committee, signed_headers, vertices};
use farthing_consensus::commit::Commit;
use farthing_consensus::message::{FETCH_VERTICES_MAX, MESSAGE_BYTES_MAX, Message};
use farthing_consensus::vertex::{PAYLOAD_BYTES_MAX, SignedHeader, Vertex, VertexRef};
use farthing_core::codec;
use farthing_fuzz::Target;

/// A vertex may claim the largest payload before its bytes are there.
const ALLOCATED: usize = PAYLOAD_BYTES_MAX + (64 << 10);

#[test]
fn every_vertex() {
    let (committee, valid) = (committee(), vertices());
    let seeds = valid.iter().map(|vertex| codec::encode(vertex.vertex())).collect();
    Target::bytes("vertex", seeds, |input| {
        let vertex: Vertex = canonical(input, MESSAGE_BYTES_MAX)?;
        let verified = committee.verify(vertex).map_err(|error| error.to_string())?;
        assert!(valid.contains(&verified), "nobody signed {verified:?}");
        Ok(())
    })
    .allocating(ALLOCATED, 128)
    .check();
}

#[test]
fn every_header() {
    let (committee, valid) = (committee(), signed_headers());
    let seeds = valid.iter().map(codec::encode).collect();
    Target::bytes("signed-header", seeds, |input| {
        let signed: SignedHeader = canonical(input, MESSAGE_BYTES_MAX)?;
        committee.verify_header(&signed).map_err(|error| error.to_string())?;
        assert!(valid.contains(&signed), "nobody signed {signed:?}");
        Ok(())
    })
    .check();
}

#[test]
fn every_commit() {
    let (committee, seeds) = (committee(), commits().iter().map(codec::encode).collect());
    Target::bytes("commit", seeds, |input| {
        let commit: Commit = canonical(input, MESSAGE_BYTES_MAX)?;
        commit.digest(committee.chain());
        Ok(())
    })
    .check();
}

#[test]
fn every_piece_of_evidence() {
    let headers = signed_headers();
    let seeds = vec![codec::encode(&(headers[0].clone(), headers[1].clone()))];
    Target::bytes("evidence", seeds, |input| {
        canonical::<(SignedHeader, SignedHeader)>(input, MESSAGE_BYTES_MAX).map(drop)
    })
    .check();
}

#[test]
fn every_message() {
    let vertices: Vec<Vertex> = vertices().iter().map(|vertex| vertex.vertex().clone()).collect();
    let reference = |round| VertexRef { round, ..commits()[0].leader };
    let messages = [
        Message::Vertex(vertices[1].clone()),
        Message::Subscribe { from_round: 9 },
        Message::FetchVertices { refs: vec![reference(1)], above_round: 0 },
        Message::FetchVertices { refs: (1..=FETCH_VERTICES_MAX as u64).map(reference).collect(), above_round: 5 },
        Message::Vertices { vertices: Vec::new() },
        Message::Vertices { vertices },
        Message::FetchCommits { from_index: 3 },
        Message::Commits { commits: commits(), votes: signed_headers(), oldest_index: 1 },
        Message::FetchLatest,
        Message::Latest { own: None, yours: Some(Box::new(signed_headers()[1].clone())) },
    ];
    // Whoever adds a message adds a seed: this does not compile until then.
    for message in &messages {
        match message {
            Message::Vertex(_) | Message::Vertices { .. } | Message::FetchVertices { .. } => {}
            Message::Subscribe { .. } | Message::FetchCommits { .. } | Message::Commits { .. } => {}
            Message::FetchLatest | Message::Latest { .. } => {}
        }
    }
    Target::bytes("message", messages.iter().map(codec::encode).collect(), |input| {
        canonical::<Message>(input, MESSAGE_BYTES_MAX).map(drop)
    })
    .allocating(ALLOCATED, 128)
    .check();
}
