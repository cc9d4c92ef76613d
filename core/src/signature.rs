//! The signature rule, consensus-critical.
//!
//! A signature (R, S) by key A over a message is accepted if and only if
//! - S < ℓ,
//! - A and R are canonical encodings (y < p) of points that are not of small order, and
//! - `[8](S·B − R − k·A) = 0` with `k = SHA-512(R ‖ A ‖ message)`: the cofactored equation.
//!
//! The libraries' own rules disagree with one another on crafted signatures (Chalkias et al., "Taming the many EdDSAs"), and
//! ed25519-dalek's single and batch checks even disagree with each other, which would fork a chain. The cofactored equation is
//! the one that holds in a batch exactly when it holds for each member. So: the checks of the encodings are made here, in
//! the one constructor of [`Claim`], and the equation is left to ed25519-zebra (ZIP-215), whose single and batch checks agree.
//!
//! The rule lies between the two known ones: `verify_strict` accepts ⊂ this rule accepts ⊂ ZIP-215 accepts. (`verify_strict` would
//! also let pass a non-canonical A of large order; but these encode points with y < 19, whose secret keys nobody knows.)

use crate::hash::Digest;
use crate::keys::{PublicKey, Signature};
use ed25519_zebra::{VerificationKey, VerificationKeyBytes, batch};
use rand_core::CryptoRng;
use std::sync::LazyLock;

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The public key is not a canonical encoding, or is of small order.
    #[error("the public key is not canonical or is of small order")]
    BadKey,
    /// R is not a canonical encoding, or is of small order.
    #[error("the signature's R is not canonical or is of small order")]
    BadCommitment,
    /// The equation does not hold, S ≥ ℓ, or A or R is not a point of the curve.
    #[error("the signature does not match the key and the message")]
    Mismatch,
}

/// A claim that `key` signed `digest`, whose encodings passed the first half of the rule.
#[derive(Clone, Copy)]
pub struct Claim {
    key: VerificationKeyBytes,
    signature: ed25519_zebra::Signature,
    digest: Digest,
}

impl Claim {
    /// Checks the encodings. This is the only way in to the equation.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] or [`SignatureError::BadCommitment`].
    pub fn new(key: &PublicKey, signature: &Signature, digest: &Digest) -> Result<Claim, SignatureError> {
        if !is_canonical_and_large(&key.0) {
            return Err(SignatureError::BadKey);
        }
        let r: &[u8; 32] = signature.0.first_chunk().expect("a signature has 64 bytes");
        if !is_canonical_and_large(r) {
            return Err(SignatureError::BadCommitment);
        }
        Ok(Claim {
            key: VerificationKeyBytes::from(key.0),
            signature: ed25519_zebra::Signature::from(signature.0),
            digest: *digest,
        })
    }

    /// Checks the equation.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn check(&self) -> Result<(), SignatureError> {
        VerificationKey::try_from(self.key)
            .and_then(|key| key.verify(&self.signature, self.digest.as_bytes()))
            .map_err(|_| SignatureError::Mismatch)
    }
}

/// Checks one signature under the rule.
///
/// # Errors
/// [`SignatureError`] says which part of the rule failed.
pub fn verify(key: &PublicKey, signature: &Signature, digest: &Digest) -> Result<(), SignatureError> {
    Claim::new(key, signature, digest)?.check()
}

/// Whether every claim holds, at about half the cost a claim of [`Claim::check`] for a thousand of them.
///
/// The coefficients of the random linear combination come from `rng`, which must be the operating system's entropy, or seeded
/// from it: a signer who can predict them can make bad signatures cancel out.
pub fn verify_batch<R: CryptoRng>(claims: &[Claim], rng: R) -> bool {
    let mut verifier = batch::Verifier::new();
    for claim in claims {
        verifier.queue((claim.key, claim.signature, claim.digest.as_bytes()));
    }
    verifier.verify(rng).is_ok()
}

/// The positions of the claims that do not hold, ascending, found by bisection of a failing batch.
///
/// Costs one batch check when all hold, and O(k·log n) smaller ones for k bad claims.
pub fn find_invalid<R: CryptoRng>(claims: &[Claim], rng: &mut R) -> Vec<usize> {
    let mut invalid = Vec::new();
    let mut open = vec![(0, claims.len())];
    // A range is split at most until it has one member, so this ends after fewer than 2n rounds.
    while let Some((start, end)) = open.pop() {
        match end - start {
            0 => {}
            1 => {
                if claims[start].check().is_err() {
                    invalid.push(start);
                }
            }
            _ if verify_batch(&claims[start..end], &mut *rng) => {}
            len => {
                let middle = start + len / 2;
                open.push((middle, end));
                open.push((start, middle));
            }
        }
    }
    invalid
}

/// The y coordinates of the eight points of small order. Both signs of x are of small order (or, for x = 0, one is not canonical).
static SMALL_ORDER_Y: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| curve25519_dalek::constants::EIGHT_TORSION.map(|point| without_sign(point.compress().to_bytes())));

/// Whether 32 bytes are a canonical encoding (y < p) that is not one of a small-order point. They may still not be on the curve.
fn is_canonical_and_large(bytes: &[u8; 32]) -> bool {
    let y = without_sign(*bytes);
    // p = 2^255 − 19 is 0xed, thirty times 0xff, 0x7f in little-endian order.
    let below_p = y[31] != 0x7f || y[1..31].iter().any(|byte| *byte != 0xff) || y[0] < 0xed;
    below_p && !SMALL_ORDER_Y.contains(&y)
}

fn without_sign(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] &= 0x7f;
    bytes
}
