//! Vouchers: what is signed, and that each part of it counts.

use crate::helpers::{key, mites};
use farthing_core::hash::Digest;
use farthing_core::signature::{SignatureError, verify_batch};
use farthing_core::voucher::Voucher;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

#[test]
fn each_part_of_a_voucher_counts() {
    let (chain, hold) = (Digest([1; 32]), Digest([2; 32]));
    let voucher = Voucher::sign(&chain, hold, mites(5), &key(1));
    let signer = key(1).public_key();
    assert_eq!(voucher.verify(&chain, &signer), Ok(()));
    assert_eq!(voucher.verify(&Digest([3; 32]), &signer), Err(SignatureError::Mismatch));
    assert_eq!(voucher.verify(&chain, &key(2).public_key()), Err(SignatureError::Mismatch));
    let more = Voucher { cumulative: mites(6), ..voucher };
    assert_eq!(more.verify(&chain, &signer), Err(SignatureError::Mismatch));
    let other = Voucher { hold: Digest([3; 32]), ..voucher };
    assert_eq!(other.verify(&chain, &signer), Err(SignatureError::Mismatch));
    let digest = Digest::of("voucher/v1", &[&[1; 32], &[2; 32], &5u64.to_le_bytes()]);
    assert_eq!(Voucher::digest(&chain, &hold, mites(5)), digest);
}

#[test]
fn vouchers_are_checked_in_batches_too() {
    let (chain, signer) = (Digest([1; 32]), key(1).public_key());
    let mut vouchers: Vec<Voucher> =
        (1..=20).map(|amount| Voucher::sign(&chain, Digest([2; 32]), mites(amount), &key(1))).collect();
    let holds = |vouchers: &[Voucher]| {
        let claims: Vec<_> = vouchers.iter().map(|voucher| voucher.claim(&chain, &signer).unwrap()).collect();
        verify_batch(&claims, &mut ChaCha20Rng::seed_from_u64(1))
    };
    assert!(holds(&vouchers));
    vouchers[7].cumulative = mites(9);
    assert!(!holds(&vouchers));
}
