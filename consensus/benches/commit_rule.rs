//! What a vertex costs an engine, signature checks and payloads apart: taking it in, deciding, putting commits in order.
//! `cargo bench -p farthing-consensus --bench commit_rule`

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Engine, Input, Now, Output, Recovered, Settings};
use farthing_consensus::vertex::{Author, VerifiedVertex, VertexHeader, VertexRef};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use std::sync::Arc;

/// Rounds of one run.
const ROUNDS: u64 = 40;

const START_MS: u64 = 1_000_000;

fn main() {
    divan::main();
}

fn key(author: Author) -> SecretKey {
    SecretKey::from_seed(Digest::of("bench/v1", &[&author.to_le_bytes()]).as_bytes())
}

fn committee(size: u16) -> Arc<Committee> {
    let keys = (0..size).map(|author| key(author).public_key()).collect();
    Arc::new(Committee::new(Digest::ZERO, 0, keys, Digest::ZERO, START_MS))
}

/// All vertices of rounds in which everybody sees everything.
fn vertices(committee: &Committee) -> Vec<VerifiedVertex> {
    let mut all = Vec::new();
    let mut parents: Vec<VertexRef> = committee.authors().map(|author| committee.genesis_ref(author)).collect();
    for round in 1..=ROUNDS {
        let payload = Bytes::new();
        let vertex = |author: Author| {
            // The own parent comes first.
            let own = parents.iter().filter(|parent| parent.author == author);
            let others = parents.iter().filter(|parent| parent.author != author);
            let header = VertexHeader {
                epoch: 0,
                round,
                author,
                timestamp_ms: START_MS + round,
                parents: own.chain(others).copied().collect(),
                payload_digest: Digest::of_bytes(&payload),
                commit_vote: None,
                attestations: Vec::new(),
            };
            VerifiedVertex::sign(header, payload.clone(), committee.chain(), &key(author))
        };
        let of_round: Vec<VerifiedVertex> = committee.authors().map(vertex).collect();
        parents = of_round.iter().map(VerifiedVertex::reference).collect();
        all.extend(of_round);
    }
    all
}

/// An observer takes in 40 rounds of a committee of so many, vertex by vertex, and commits all but the last.
#[divan::bench(args = [4, 7, 10, 25, 50, 100], sample_count = 20)]
fn vertex(bencher: Bencher, size: u16) {
    let committee = committee(size);
    let vertices = vertices(&committee);
    let now = Now { monotonic_ms: 0, wall_ms: START_MS };
    bencher
        .counter(ItemsCount::new(vertices.len()))
        .with_inputs(|| {
            let (recovered, mut outputs) = (Recovered::fresh(), Vec::new());
            let mut engine = Engine::start(committee.clone(), None, Settings::default(), recovered, now, &mut outputs);
            committee.authors().for_each(|author| engine.step(now, Input::Connected(author), &mut outputs));
            (engine, Vec::new())
        })
        .bench_local_values(|(mut engine, mut outputs)| {
            for vertex in &vertices {
                let input = Input::Pushed { from: vertex.author(), vertex: vertex.clone() };
                engine.step(now, input, &mut outputs);
            }
            let commits = outputs.iter().filter(|output| matches!(output, Output::Commit(_))).count() as u64;
            assert!(commits > ROUNDS - 4, "{commits} commits");
            (engine, outputs)
        });
}
