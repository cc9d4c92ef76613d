//! How many vouchers a payee verifies a second, as a ratio to bare signature checks.
//!
//! `cargo bench -p farthing-client` prints items a second on one core, for
//! - `bare`: the signature rule alone, one after the other, and in batches; what everything else is measured against;
//! - `voucher`: all that makes a voucher of it: hashing, the rule, and the comparison with the best one;
//! - `payee`: a payee that accepts vouchers and keeps the best one on disk, synced: one at a time, and many at a time.
//!
//! Vouchers come from one payer, or from as many as there are vouchers.

use divan::Bencher;
use divan::counter::ItemsCount;
use farthing_client::channel::{Payee, Terms};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::{PublicKey, SecretKey, Signature};
use farthing_core::signature::{self, Claim, DecodedKey};
use farthing_core::voucher::Voucher;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const CHAIN: ChainHash = Digest([3; 32]);

/// How many vouchers stand in a batch.
const BATCH: u64 = 1_024;

fn main() {
    divan::main();
}

fn key(number: u64) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(&seed)
}

/// Vouchers of so many payers, ascending, each with the key that signed it.
fn vouchers(payers: u64) -> Vec<(Voucher, PublicKey)> {
    let sign = |number: u64| {
        let key = key(number % payers);
        let hold = Digest::of("bench hold", &[&(number % payers).to_le_bytes()]);
        (Voucher::sign(&CHAIN, hold, Amount::from_mites(1 + number), &key), key.public_key())
    };
    (0..BATCH).map(sign).collect()
}

/// What is signed, without what makes it a voucher.
fn bare(payers: u64) -> Vec<(PublicKey, Signature, Digest)> {
    let digest = |voucher: &Voucher| Voucher::digest(&CHAIN, &voucher.hold, voucher.cumulative);
    vouchers(payers).iter().map(|(voucher, key)| (*key, voucher.signature, digest(voucher))).collect()
}

#[divan::bench(name = "bare signature, one by one", args = [1, BATCH])]
fn bare_single(bencher: Bencher<'_, '_>, payers: u64) {
    let signed = bare(payers);
    bencher.counter(ItemsCount::new(BATCH)).bench(|| {
        signed
            .iter()
            .for_each(|(key, signature, digest)| signature::verify(key, signature, digest).expect("it is good"));
    });
}

#[divan::bench(name = "bare signature, in a batch", args = [1, BATCH])]
fn bare_batch(bencher: Bencher<'_, '_>, payers: u64) {
    let signed = bare(payers);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let claim = |(key, signature, digest): &(PublicKey, Signature, Digest)| {
            Claim::new(&DecodedKey::decode(key)?, signature, digest)
        };
        let claims: Vec<Claim> = signed.iter().map(|signed| claim(signed).expect("it is good")).collect();
        assert!(signature::verify_batch(&claims, &mut rng));
    });
}

#[divan::bench(name = "voucher, one by one", args = [1, BATCH])]
fn voucher_single(bencher: Bencher<'_, '_>, payers: u64) {
    let vouchers = vouchers(payers);
    bencher.counter(ItemsCount::new(BATCH)).bench(|| {
        let mut best = Amount::ZERO;
        for (voucher, key) in &vouchers {
            assert!(voucher.cumulative > best);
            voucher.verify(&CHAIN, key).expect("it is good");
            best = voucher.cumulative;
        }
    });
}

#[divan::bench(name = "voucher, in a batch", args = [1, BATCH])]
fn voucher_batch(bencher: Bencher<'_, '_>, payers: u64) {
    let vouchers = vouchers(payers);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let claims = vouchers.iter().map(|(voucher, key)| voucher.claim(&CHAIN, key).expect("it is good"));
        let claims: Vec<Claim> = claims.collect();
        assert!(signature::verify_batch(&claims, &mut rng));
    });
}

/// A payee that knows no voucher yet.
fn payee(directory: &tempfile::TempDir) -> Payee {
    let (first, key) = vouchers(1)[0];
    let terms = Terms {
        chain: CHAIN,
        hold: first.hold,
        payee: Address(key),
        key,
        close_delay_ms: 3_600_000,
        amount: Amount::from_mites(BATCH),
        captured: Amount::ZERO,
        end_ms: u64::MAX,
        is_closing: false,
    };
    let path = directory.path().join("payee");
    // The one of the run before may be there.
    let _ = std::fs::remove_file(&path);
    Payee::create(path, terms, 0).expect("room")
}

#[divan::bench(name = "payee with a synced file, a batch at a time", sample_count = 20)]
fn payee_batch(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("room");
    let vouchers: Vec<Voucher> = vouchers(1).into_iter().map(|(voucher, _)| voucher).collect();
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| payee(&directory)).bench_local_values(|mut payee| {
        payee.accept_all(&vouchers, 0, ChaCha20Rng::seed_from_u64(1)).expect("they are good")
    });
}

#[divan::bench(name = "payee with a synced file, one by one", sample_count = 5)]
fn payee_single(bencher: Bencher<'_, '_>) {
    const FEW: usize = 32;
    let directory = tempfile::tempdir().expect("room");
    let vouchers: Vec<Voucher> = vouchers(1).into_iter().map(|(voucher, _)| voucher).take(FEW).collect();
    bencher.counter(ItemsCount::new(FEW)).with_inputs(|| payee(&directory)).bench_local_values(|mut payee| {
        for voucher in &vouchers {
            payee.accept(voucher, Amount::from_mites(1), 0).expect("it is good");
        }
    });
}
