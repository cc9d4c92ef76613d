//! Hostile manifests and chunks: see `tests/fuzz/src/lib.rs`.

use super::*;
use farthing_core::codec;
use farthing_core::state_chunk::{CHUNK_BYTES_MAX, StateChunk};
use farthing_fuzz::Target;

/// Whatever verifies leads to a state that the chain had.
#[test]
fn manifests() {
    let mut seeds = Vec::new();
    let mut roots = BTreeSet::new();
    let mut committee = None;
    for commits in [12, 30] {
        let chain = Chain::new(commits, 1_000);
        let manifest = chain.manifest();
        roots.insert(manifest.state_root());
        seeds.push(codec::encode(&manifest));
        committee = Some(chain.committee.clone());
    }
    let committee = committee.expect("there are chains");
    Target::bytes("manifest", seeds, |input| {
        let manifest: Manifest = codec::decode(input, input.len()).map_err(|error| error.to_string())?;
        assert_eq!(codec::encode(&manifest), input, "the manifest has another encoding");
        manifest.verify(&committee, LEVEL).map_err(|error| error.to_string())?;
        assert!(roots.contains(&manifest.state_root()), "nobody vouches for {manifest:?}");
        Ok(())
    })
    .check();
}

#[test]
fn chunks() {
    let chain = Chain::new(12, 1_000);
    let manifest = chain.manifest();
    let layout = manifest.layout(LEVEL).expect("a state");
    let chunks: Vec<StateChunk> = (0..manifest.tops.len() as u32)
        .map(|number| chain.snapshots.chunk(&manifest.state_root(), number).expect("a chunk"))
        .collect();
    Target::bytes("chunk", chunks.iter().map(codec::encode).collect(), |input| {
        let chunk: StateChunk = codec::decode(input, CHUNK_BYTES_MAX).map_err(|error| error.to_string())?;
        assert_eq!(codec::encode(&chunk), input, "the chunk has another encoding");
        let place = (0..).zip(&manifest.tops).find(|(number, top)| layout.top_of(*number, &chunk) == Some(**top));
        let (number, _) = place.ok_or("it is no chunk of the state")?;
        assert_eq!(chunk, chunks[number as usize], "a forged chunk");
        Ok(())
    })
    .check();
}

/// Anybody can put a certified block, the one before it, and any commits at all into a manifest.
#[test]
fn commits_whose_numbers_make_no_sense_are_refused() {
    let chain = Chain::new(30, 1_000);
    let good = chain.manifest();
    for (first, last) in [(1, 0), (0, 0), (0, 1), (1, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX)] {
        let mut manifest = good.clone();
        manifest.commits[0].index = first;
        manifest.commits.last_mut().expect("commits").index = last;
        assert!(manifest.verify(&chain.committee, LEVEL).is_err(), "from {first} to {last}");
    }
}
