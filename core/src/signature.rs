//! The signature rule, consensus-critical.
//!
//! A signature (R, S) by key A over a message is accepted if and only if
//! - S < ℓ,
//! - A and R are canonical encodings (y < p) of points that are not of small order, and
//! - `[8](S·B − R − k·A) = 0` with `k = SHA-512(R ‖ A ‖ message)`: the cofactored equation.
//!
//! The libraries' own rules disagree with one another on crafted signatures (Chalkias et al., "Taming the many EdDSAs"), and
//! ed25519-dalek's single and batch checks even disagree with each other, which would fork a chain. The cofactored equation is
//! the one that holds in a batch exactly when it holds for each member. So the rule is written here over curve25519-dalek's points:
//! the checks of the encodings in the one constructor each of [`DecodedKey`] and [`Claim`], and the equation twice, for one claim and
//! for many. The tests hold it against ed25519-zebra, whose checks are this rule without that of the small orders (ZIP-215).
//!
//! The rule lies between the two known ones: `verify_strict` accepts ⊂ this rule accepts ⊂ ZIP-215 accepts. (`verify_strict` would
//! also let pass a non-canonical A of large order; but these encode points with y < 19, whose secret keys nobody knows.)
//!
//! # Cost
//! Nearly all that a transfer costs a validator is this check, so a batch shares what it can: one multiplication of many points
//! by many scalars instead of one for each claim, one term for all claims of one key, and one for the base point. What is
//! left is decoding R, which is new in each signature, and decoding A, which is not: whoever checks many signatures keeps
//! [`DecodedKey`]s.

use crate::hash::Digest;
use crate::keys::{PublicKey, Signature};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use std::sync::LazyLock;

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The public key is not the canonical encoding of a point, or of one of small order.
    #[error("the public key is not the canonical encoding of a point, or of small order")]
    BadKey,
    /// R is not the canonical encoding of a point, or of one of small order.
    #[error("the signature's R is not the canonical encoding of a point, or of small order")]
    BadCommitment,
    /// The equation does not hold, or S ≥ ℓ.
    #[error("the signature does not match the key and the message")]
    Mismatch,
}

/// A public key that passed its part of the rule, and the point it encodes: 192 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedKey {
    key: PublicKey,
    point: EdwardsPoint,
}

impl DecodedKey {
    /// Decodes a key, at about the cost of half a check in a large batch.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`].
    pub fn decode(key: &PublicKey) -> Result<DecodedKey, SignatureError> {
        let point = decode_point(&key.0).ok_or(SignatureError::BadKey)?;
        Ok(DecodedKey { key: *key, point })
    }

    /// Decodes keys; the results stand in the same order.
    pub fn decode_all(keys: &[PublicKey]) -> Vec<Result<DecodedKey, SignatureError>> {
        keys.iter().map(DecodedKey::decode).collect()
    }

    /// The key as it travels.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// A claim that a key signed a digest, whose encodings passed the rule: only the equation is left to check.
#[derive(Clone, Copy)]
pub struct Claim {
    key: DecodedKey,
    commitment: EdwardsPoint,
    s: Scalar,
    challenge: Scalar,
}

impl Claim {
    /// Checks the encodings of the signature. This is the only way in to the equation.
    ///
    /// # Errors
    /// [`SignatureError::BadCommitment`], or [`SignatureError::Mismatch`] if S ≥ ℓ.
    pub fn new(key: &DecodedKey, signature: &Signature, digest: &Digest) -> Result<Claim, SignatureError> {
        let (r, s) = signature.0.split_first_chunk::<32>().expect("a signature has 64 bytes");
        let s: [u8; 32] = s.try_into().expect("a signature has 64 bytes");
        let s = Option::from(Scalar::from_canonical_bytes(s)).ok_or(SignatureError::Mismatch)?;
        let commitment = decode_point(r).ok_or(SignatureError::BadCommitment)?;
        let hash = Sha512::new().chain_update(r).chain_update(key.key.0).chain_update(digest.as_bytes()).finalize();
        Ok(Claim { key: *key, commitment, s, challenge: Scalar::from_bytes_mod_order_wide(&hash.into()) })
    }

    /// Checks the equation.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn check(&self) -> Result<(), SignatureError> {
        let r = EdwardsPoint::vartime_double_scalar_mul_basepoint(&-self.challenge, &self.key.point, &self.s);
        if is_small_order(&(r - self.commitment)) { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

/// Checks one signature under the rule.
///
/// # Errors
/// [`SignatureError`] says which part of the rule failed.
pub fn verify(key: &PublicKey, signature: &Signature, digest: &Digest) -> Result<(), SignatureError> {
    Claim::new(&DecodedKey::decode(key)?, signature, digest)?.check()
}

/// Whether every claim holds, at a fraction of the cost of [`Claim::check`] for each.
///
/// Checks `[8](Σ zᵢRᵢ + Σ zᵢkᵢAᵢ − (Σ zᵢSᵢ)B) = 0` for random zᵢ of 128 bits: always so if all claims hold, and with a probability of
/// 2⁻¹²⁸ if one does not. The coefficients come from `rng`, which must be the operating system's entropy, or seeded from it: a
/// signer who can predict them can make bad signatures cancel out.
pub fn verify_batch<R: CryptoRng>(claims: &[Claim], rng: &mut R) -> bool {
    if let [claim] = claims {
        return claim.check().is_ok();
    }
    let mut by_key: Vec<&Claim> = claims.iter().collect();
    by_key.sort_unstable_by_key(|claim| claim.key.key);

    let terms_max = 2 * claims.len() + 1;
    let (mut scalars, mut points) = (Vec::with_capacity(terms_max), Vec::with_capacity(terms_max));
    let mut base = Scalar::ZERO;
    for claims in by_key.chunk_by(|a, b| a.key.key == b.key.key) {
        let mut of_key = Scalar::ZERO;
        for claim in claims {
            let coefficient = Scalar::from(random_u128(rng));
            base -= coefficient * claim.s;
            of_key += coefficient * claim.challenge;
            scalars.push(coefficient);
            points.push(&claim.commitment);
        }
        scalars.push(of_key);
        points.push(&claims[0].key.point);
    }
    scalars.push(base);
    points.push(&ED25519_BASEPOINT_POINT);
    is_small_order(&EdwardsPoint::vartime_multiscalar_mul(&scalars, points))
}

/// The positions of the claims that do not hold, ascending, found by bisection of a failing batch.
///
/// Costs one batch check when all hold, about two more when one does not, and O(k·log n) smaller ones for k bad claims.
pub fn find_invalid<R: CryptoRng>(claims: &[Claim], rng: &mut R) -> Vec<usize> {
    let mut invalid = Vec::new();
    if !verify_batch(claims, rng) {
        bisect(claims, 0, rng, &mut invalid);
    }
    invalid
}

/// Adds the positions of the bad ones among claims that do not all hold, the first of which is at `offset`. As deep as log2 of the
/// number of claims.
fn bisect<R: CryptoRng>(claims: &[Claim], offset: usize, rng: &mut R, invalid: &mut Vec<usize>) {
    if claims.len() == 1 {
        invalid.push(offset);
        return;
    }
    let (left, right) = claims.split_at(claims.len() / 2);
    let left_holds = verify_batch(left, rng);
    if !left_holds {
        bisect(left, offset, rng, invalid);
    }
    // If the left half holds the right one does not, which need not be checked again.
    if left_holds || !verify_batch(right, rng) {
        bisect(right, offset + left.len(), rng, invalid);
    }
}

/// The point that 32 bytes encode, if they are a canonical encoding (y < p) of one that is not of small order.
///
/// That the sign of x = 0 must be positive follows: only points of small order have x = 0.
fn decode_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    if !is_canonical_and_large(bytes) {
        return None;
    }
    CompressedEdwardsY(*bytes).decompress()
}

/// The y coordinates of the eight points of small order. Both signs of x are of small order (or, for x = 0, one is not canonical).
static SMALL_ORDER_Y: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| EIGHT_TORSION.map(|point| without_sign(point.compress().to_bytes())));

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

/// Whether `[8]point = 0`.
fn is_small_order(point: &EdwardsPoint) -> bool {
    point.mul_by_cofactor().is_identity()
}

fn random_u128<R: CryptoRng>(rng: &mut R) -> u128 {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    u128::from_le_bytes(bytes)
}
