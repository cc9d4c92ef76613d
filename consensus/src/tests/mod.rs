//! Tests of the pure parts. `model` is a naive reading of the specification that they are held against.

mod catch_up;
mod decision_tables;
mod encodings;
mod exhaustive;
mod flow;
mod language;
mod linearizer;
mod model;
mod pacemaker;
mod random_dags;
mod synchronizer;
mod validity;

use crate::committee::Committee;
use crate::vertex::{Author, Round, SignedHeader, VerifiedVertex, Vertex, VertexHeader, VertexRef};
use bytes::Bytes;
use farthing_core::hash::Digest;
use farthing_core::keys::{SecretKey, Signature};

/// The timestamp of genesis in these tests.
const GENESIS_MS: u64 = 1_000_000;

fn secret_key(author: Author) -> SecretKey {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&author.to_le_bytes());
    SecretKey::from_seed(&seed)
}

fn committee(size: usize) -> Committee {
    let keys = (0..size as Author).map(|author| secret_key(author).public_key()).collect();
    let chain = Digest::of_bytes(b"consensus unit tests");
    Committee::new(chain, 0, keys, chain, GENESIS_MS)
}

/// A vertex that nobody signed, for parts that only see verified ones.
fn unsigned(
    author: Author,
    round: Round,
    parents: Vec<VertexRef>,
    timestamp_ms: u64,
    payload: Bytes,
) -> VerifiedVertex {
    let payload_digest = Digest::of_bytes(&payload);
    let (commit_vote, attestations) = (None, Vec::new());
    let header =
        VertexHeader { epoch: 0, round, author, timestamp_ms, parents, payload_digest, commit_vote, attestations };
    VerifiedVertex::from_checked(Vertex { signed: SignedHeader { header, signature: Signature([0; 64]) }, payload })
}
