//! What checking signatures costs. `cargo bench -p farthing-core --bench signatures`

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, SecretKey, Signature};
use farthing_core::signature::{self, Claim, DecodedKey, find_invalid, verify_batch};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

const BATCHES: [usize; 8] = [1, 8, 64, 256, 512, 1_024, 2_048, 4_096];

fn main() {
    divan::main();
}

/// Signatures over digests of their own by `keys` keys in turn.
fn signatures(count: usize, keys: usize) -> Vec<(PublicKey, Signature, Digest)> {
    let number = |n: usize| Digest::of("bench/v1", &[&n.to_le_bytes()]);
    let keys: Vec<SecretKey> = (0..keys).map(|n| SecretKey::from_seed(number(n).as_bytes())).collect();
    let sign = |n: usize| {
        let (key, digest) = (&keys[n % keys.len()], number(n));
        (key.public_key(), key.sign(&digest), digest)
    };
    (0..count).map(sign).collect()
}

fn decoded(signatures: &[(PublicKey, Signature, Digest)]) -> Vec<(DecodedKey, Signature, Digest)> {
    let decode = |key| DecodedKey::decode(key).expect("a good key");
    signatures.iter().map(|(key, signature, digest)| (decode(key), *signature, *digest)).collect()
}

fn claims(signatures: &[(DecodedKey, Signature, Digest)]) -> Vec<Claim> {
    let claim = |(key, signature, digest): &_| Claim::new(key, signature, digest).expect("good encodings");
    signatures.iter().map(claim).collect()
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

#[divan::bench]
fn sign(bencher: Bencher) {
    let key = SecretKey::from_seed(&[7; 32]);
    let digest = Digest::of("bench/v1", &[]);
    bencher.bench_local(|| black_box(&key).sign(black_box(&digest)));
}

#[divan::bench]
fn decode_key(bencher: Bencher) {
    let key = SecretKey::from_seed(&[7; 32]).public_key();
    bencher.bench_local(|| DecodedKey::decode(black_box(&key)));
}

#[divan::bench]
fn single_key_as_bytes(bencher: Bencher) {
    let (key, signature, digest) = signatures(1, 1)[0];
    bencher.bench_local(|| signature::verify(black_box(&key), &signature, &digest));
}

/// From signatures and decoded keys to the verdict, all keys distinct.
#[divan::bench(args = BATCHES)]
fn batch_decoded_keys(bencher: Bencher, count: usize) {
    let signatures = decoded(&signatures(count, count));
    bencher.counter(ItemsCount::new(count)).bench_local(|| verify_batch(&claims(black_box(&signatures)), &mut rng()));
}

/// The same with keys that nobody has decoded yet.
#[divan::bench(args = BATCHES)]
fn batch_keys_as_bytes(bencher: Bencher, count: usize) {
    let signatures = signatures(count, count);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| verify_batch(&claims(&decoded(black_box(&signatures))), &mut rng()));
}

/// 1,024 signatures by so many keys.
#[divan::bench(args = [1, 32, 256, 1_024])]
fn batch_of_1024_by_keys(bencher: Bencher, keys: usize) {
    let signatures = decoded(&signatures(1_024, keys));
    bencher
        .counter(ItemsCount::new(signatures.len()))
        .bench_local(|| verify_batch(&claims(black_box(&signatures)), &mut rng()));
}

/// 1,024 signatures of which one is bad, found by bisection.
#[divan::bench(args = [0, 300, 1_023])]
fn batch_of_1024_with_a_bad_one_at(bencher: Bencher, place: usize) {
    let mut signatures = decoded(&signatures(1_024, 1_024));
    signatures[place].2.0[0] ^= 1;
    bencher
        .counter(ItemsCount::new(signatures.len()))
        .bench_local(|| find_invalid(&claims(black_box(&signatures)), &mut rng()));
}

/// For comparison: the library that checks ZIP-215, which decodes the keys in each batch.
#[divan::bench(args = [64, 256, 1_024])]
fn zebra_batch(bencher: Bencher, count: usize) {
    let signatures = signatures(count, count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut verifier = ed25519_zebra::batch::Verifier::new();
        for (key, signature, digest) in black_box(&signatures) {
            verifier.queue((key.0.into(), signature.0.into(), digest.as_bytes()));
        }
        verifier.verify(rng())
    });
}
