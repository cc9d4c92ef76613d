//! The bound: how many signatures this machine checks, if it does nothing else.
//!
//! Every validator checks each transfer once, so n validators on one machine cannot reach more than an nth of it.

use super::machine::cores;
use super::network::cpu_seconds;
use anyhow::Context as _;
use farthing_core::hash::Digest;
use farthing_core::keys::{SecretKey, Signature};
use farthing_core::signature::{Claim, DecodedKey, verify_batch};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Signatures of one batch, each of a key of its own.
const BATCH: usize = 1_024;

/// What was measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Bound {
    /// Checks a second on all cores.
    pub checks_per_second: f64,
    /// Processor time of one check, in microseconds: what does not depend on what else the machine does.
    pub cpu_us: f64,
}

/// Checks batches on all cores for this long, with the check that validators use and keys that are decoded already.
///
/// # Errors
/// If the operating system gives no entropy or does not tell the processor time.
pub fn measure(duration: Duration) -> anyhow::Result<Bound> {
    let signatures = signatures();
    let seeds = (0..cores()).map(|_| seed()).collect::<anyhow::Result<Vec<_>>>()?;
    let before = cpu_seconds(std::process::id())?;
    let start = Instant::now();
    let checks: usize = std::thread::scope(|scope| {
        let check = |seed| check_until(&signatures, start + duration, seed);
        let threads: Vec<_> = seeds.into_iter().map(|seed| scope.spawn(move || check(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("checking does not panic")).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(std::process::id())? - before;
    Ok(Bound { checks_per_second: checks as f64 / seconds, cpu_us: cpu * 1e6 / checks as f64 })
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("no randomness from the operating system")?;
    Ok(seed)
}

fn signatures() -> Vec<(DecodedKey, Signature, Digest)> {
    let sign = |number: usize| {
        let digest = Digest::of("bench/v1", &[&number.to_le_bytes()]);
        let key = SecretKey::from_seed(digest.as_bytes());
        let decoded = DecodedKey::decode(&key.public_key()).expect("a key of ours");
        (decoded, key.sign(&digest), digest)
    };
    (0..BATCH).map(sign).collect()
}

fn check_until(signatures: &[(DecodedKey, Signature, Digest)], end: Instant, seed: [u8; 32]) -> usize {
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut checks = 0;
    while Instant::now() < end {
        let claim = |(key, signature, digest): &_| Claim::new(key, signature, digest).expect("signed by us");
        let claims: Vec<Claim> = signatures.iter().map(claim).collect();
        assert!(verify_batch(&claims, &mut rng), "signed by us");
        checks += claims.len();
    }
    checks
}
