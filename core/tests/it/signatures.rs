//! The signature rule on crafted signatures, against a word-by-word reading of it and between its two known neighbours.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, SecretKey, Signature};
use farthing_core::signature::{self, Claim, DecodedKey, SignatureError, find_invalid, verify_batch};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::Digest as _;

/// ℓ, the order of the base point, little-endian.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A signature somebody crafted.
#[derive(Clone)]
struct Vector {
    name: String,
    key: PublicKey,
    signature: Signature,
    digest: Digest,
}

impl Vector {
    fn r(&self) -> [u8; 32] {
        *self.signature.0.first_chunk().unwrap()
    }

    fn s(&self) -> [u8; 32] {
        *self.signature.0.last_chunk().unwrap()
    }
}

/// SHA-512(R ‖ A ‖ message) as a scalar.
fn challenge(r: &[u8; 32], a: &[u8; 32], digest: &Digest) -> Scalar {
    let hash = sha2::Sha512::new().chain_update(r).chain_update(a).chain_update(digest.as_bytes()).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn scalar(rng: &mut ChaCha20Rng) -> Scalar {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// The rule as it is written, over curve points; without the cofactor it is the rule of `verify_strict`.
fn rule(vector: &Vector, cofactored: bool) -> bool {
    let canonical = |bytes: [u8; 32]| {
        let point = CompressedEdwardsY(bytes).decompress()?;
        (point.compress().to_bytes() == bytes && !point.is_small_order()).then_some(point)
    };
    let (Some(a), Some(r)) = (canonical(vector.key.0), canonical(vector.r())) else { return false };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(vector.s())) else { return false };
    let difference = s * B - r - challenge(&vector.r(), &vector.key.0, &vector.digest) * a;
    if cofactored { difference.mul_by_cofactor().is_identity() } else { difference.is_identity() }
}

/// ZIP-215: any encoding, any order, the cofactored equation.
fn zip_215(vector: &Vector) -> bool {
    let key = ed25519_zebra::VerificationKey::try_from(vector.key.0);
    let signature = ed25519_zebra::Signature::from(vector.signature.0);
    key.is_ok_and(|key| key.verify(&signature, vector.digest.as_bytes()).is_ok())
}

#[expect(clippy::disallowed_methods, reason = "the neighbour that the rule is compared with")]
fn strict(vector: &Vector) -> bool {
    let key = ed25519_dalek::VerifyingKey::from_bytes(&vector.key.0);
    let signature = ed25519_dalek::Signature::from_bytes(&vector.signature.0);
    key.is_ok_and(|key| key.verify_strict(vector.digest.as_bytes(), &signature).is_ok())
}

fn verdict(vector: &Vector) -> Result<(), SignatureError> {
    signature::verify(&vector.key, &vector.signature, &vector.digest)
}

/// The claim for a batch, if the encodings allow one.
fn claim(vector: &Vector) -> Option<Claim> {
    Claim::new(&DecodedKey::decode(&vector.key).ok()?, &vector.signature, &vector.digest).ok()
}

fn sign(name: String, a: Scalar, key: [u8; 32], r: Scalar, commitment: [u8; 32], digest: Digest) -> Vector {
    let s = r + challenge(&commitment, &key, &digest) * a;
    let signature = Signature([commitment, s.to_bytes()].concat().try_into().unwrap());
    Vector { name, key: PublicKey(key), signature, digest }
}

fn random_digest(rng: &mut ChaCha20Rng) -> Digest {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    Digest(bytes)
}

/// Signatures whose cofactored equation holds, over all pairs of torsion in A and R, with A or R of small order or not.
fn torsion_vectors(rng: &mut ChaCha20Rng) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (i, torsion_a) in EIGHT_TORSION.iter().enumerate() {
        for (j, torsion_r) in EIGHT_TORSION.iter().enumerate() {
            for (small_a, small_r) in [(false, false), (true, false), (false, true), (true, true)] {
                let a = if small_a { Scalar::ZERO } else { scalar(rng) };
                let r = if small_r { Scalar::ZERO } else { scalar(rng) };
                let key = (a * B + torsion_a).compress().to_bytes();
                let commitment = (r * B + torsion_r).compress().to_bytes();
                let name = format!("torsion {i} in A (small: {small_a}), {j} in R (small: {small_r})");
                vectors.push(sign(name, a, key, r, commitment, random_digest(rng)));
            }
        }
    }
    vectors
}

/// All encodings of 32 bytes with y ≥ p, of both signs of x: 19 values of y.
fn non_canonical_encodings() -> Vec<[u8; 32]> {
    let mut encodings = Vec::new();
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            encodings.push(bytes);
        }
    }
    encodings
}

/// x = 0 with the sign bit set: y = 1 and y = −1.
fn negative_zero_encodings() -> [[u8; 32]; 2] {
    let [identity, minus_one] = [EIGHT_TORSION[0], EIGHT_TORSION[4]];
    [identity, minus_one].map(|point: EdwardsPoint| {
        let mut bytes = point.compress().to_bytes();
        assert_eq!(bytes[31] & 0x80, 0);
        bytes[31] |= 0x80;
        bytes
    })
}

/// Signatures with encodings that ZIP-215 lets pass for A or R, their equation made to hold where the point is of small order.
fn encoding_vectors(rng: &mut ChaCha20Rng) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for odd in non_canonical_encodings().into_iter().chain(negative_zero_encodings()) {
        let (a, r, digest) = (scalar(rng), scalar(rng), random_digest(rng));
        let plain = |scalar: Scalar| (scalar * B).compress().to_bytes();
        let text = hex::encode(odd);
        vectors.push(sign(format!("A = {text}"), Scalar::ZERO, odd, r, plain(r), digest));
        vectors.push(sign(format!("R = {text}"), a, plain(a), Scalar::ZERO, odd, digest));
        vectors.push(sign(format!("both = {text}"), Scalar::ZERO, odd, Scalar::ZERO, odd, digest));
    }
    vectors
}

/// S and S + ℓ, S + 2ℓ … as long as it fits 32 bytes: all the same modulo ℓ.
fn malleated(vector: &Vector) -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut s = vector.s();
    while let Some(next) = plus_group_order(s) {
        s = next;
        let signature = Signature([vector.r(), s].concat().try_into().unwrap());
        vectors.push(Vector {
            name: format!("{}, S + {}ℓ", vector.name, vectors.len() + 1),
            signature,
            ..vector.clone()
        });
    }
    vectors
}

fn plus_group_order(mut s: [u8; 32]) -> Option<[u8; 32]> {
    let mut carry = 0;
    for (byte, add) in s.iter_mut().zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    (carry == 0).then_some(s)
}

/// A good signature as a wallet makes it.
fn honest(rng: &mut ChaCha20Rng) -> Vector {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let (key, digest) = (SecretKey::from_seed(&seed), random_digest(rng));
    Vector { name: "honest".into(), key: key.public_key(), signature: key.sign(&digest), digest }
}

/// An honest signature with a bit flipped in the key, in R, in S or in the message.
fn corrupted(rng: &mut ChaCha20Rng) -> Vector {
    let mut vector = honest(rng);
    let bit = rng.next_u32() as usize % (8 * 128);
    let (byte, mask) = (bit / 8, 1 << (bit % 8));
    match byte {
        0..32 => vector.key.0[byte] ^= mask,
        32..96 => vector.signature.0[byte - 32] ^= mask,
        _ => vector.digest.0[byte - 96] ^= mask,
    }
    Vector { name: format!("bit {bit} flipped"), ..vector }
}

/// Every kind of crafted signature.
fn crafted(rng: &mut ChaCha20Rng) -> Vec<Vector> {
    let mut vectors = torsion_vectors(rng);
    vectors.extend(encoding_vectors(rng));
    let good = honest(rng);
    vectors.extend(malleated(&good));
    vectors.extend(malleated(&vectors[0].clone()));
    vectors.push(good);
    vectors.extend((0..200).map(|_| corrupted(rng)));
    vectors
}

#[test]
fn the_rule_is_what_is_written_and_lies_between_its_neighbours() {
    let (mut accepted, mut not_strict, mut not_ours) = (0, 0, 0);
    for seed in 0..6 {
        for vector in crafted(&mut ChaCha20Rng::seed_from_u64(seed)) {
            let ours = verdict(&vector).is_ok();
            let (strict, zip_215) = (strict(&vector), zip_215(&vector));
            assert_eq!(ours, rule(&vector, true), "{}", vector.name);
            assert_eq!(strict, rule(&vector, false), "{}", vector.name);
            assert!(!strict || ours, "verify_strict accepts what the rule refuses: {}", vector.name);
            assert!(!ours || zip_215, "the rule accepts what ZIP-215 refuses: {}", vector.name);
            accepted += usize::from(ours);
            not_strict += usize::from(ours && !strict);
            not_ours += usize::from(zip_215 && !ours);
        }
    }
    // Each inclusion is a proper one on these vectors, or they would show nothing.
    assert!(accepted > not_strict && not_strict > 0 && not_ours > 0, "{accepted} {not_strict} {not_ours}");
}

#[test]
fn mixed_order_keys_and_commitments_are_accepted_and_small_order_ones_refused() {
    for vector in torsion_vectors(&mut ChaCha20Rng::seed_from_u64(7)) {
        let expect = match (vector.name.contains("A (small: true)"), vector.name.contains("R (small: true)")) {
            (false, false) => Ok(()),
            (true, _) => Err(SignatureError::BadKey),
            (false, true) => Err(SignatureError::BadCommitment),
        };
        assert_eq!(verdict(&vector), expect, "{}", vector.name);
        assert!(zip_215(&vector), "the equation holds: {}", vector.name);
    }
}

#[test]
fn non_canonical_encodings_are_refused_for_any_point() {
    let good = honest(&mut ChaCha20Rng::seed_from_u64(8));
    for odd in non_canonical_encodings().into_iter().chain(negative_zero_encodings()) {
        let key = Vector { key: PublicKey(odd), ..good.clone() };
        assert_eq!(verdict(&key), Err(SignatureError::BadKey), "{}", hex::encode(odd));
        let signature = Signature([odd, good.s()].concat().try_into().unwrap());
        assert_eq!(verdict(&Vector { signature, ..good.clone() }), Err(SignatureError::BadCommitment));
    }
}

#[test]
fn keys_just_below_p_are_taken_exactly_if_they_are_points_of_large_order() {
    let (mut taken, mut refused) = (0, 0);
    for mut bytes in non_canonical_encodings() {
        // From p − 19 to p − 1, which is of small order.
        bytes[0] -= 0x13;
        let point = CompressedEdwardsY(bytes).decompress().filter(|point| !point.is_small_order());
        assert_eq!(DecodedKey::decode(&PublicKey(bytes)).is_ok(), point.is_some(), "{}", hex::encode(bytes));
        taken += usize::from(point.is_some());
        refused += usize::from(point.is_none());
    }
    assert!(taken > 4 && refused > 4, "{taken} taken, {refused} refused");
}

#[test]
fn a_large_s_is_refused() {
    for seed in 0..20 {
        let good = honest(&mut ChaCha20Rng::seed_from_u64(seed));
        let malleated = malleated(&good);
        assert!(malleated.len() >= 14, "S + ℓ to S + 14ℓ fit 32 bytes");
        assert!(malleated.iter().all(|vector| verdict(vector) == Err(SignatureError::Mismatch)));
        assert_eq!(verdict(&good), Ok(()));
    }
}

/// Draws batches of a size from the vectors that may stand in one, so that about `bad_in` in a thousand do not hold.
fn batches(size: usize, bad_in: u32, seed: u64, count: usize) -> Vec<Vec<Vector>> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let vectors: Vec<Vector> = crafted(&mut rng).into_iter().filter(|vector| claim(vector).is_some()).collect();
    let (good, bad): (Vec<_>, Vec<_>) = vectors.into_iter().partition(|vector| verdict(vector).is_ok());
    let mut draw = || {
        let from = if rng.next_u32() % 1_000 < bad_in { &bad } else { &good };
        from[rng.next_u32() as usize % from.len()].clone()
    };
    (0..count).map(|_| (0..size).map(|_| draw()).collect()).collect()
}

#[test]
fn a_batch_holds_exactly_when_each_of_its_claims_does() {
    let (mut held, mut failed) = (0, 0);
    // The library multiplies fewer than 190 points (94 claims of distinct keys) in another way than more.
    for (size, count) in [(1, 200), (2, 200), (8, 100), (64, 30), (150, 3), (1_100, 1)] {
        for seed in 0..4 {
            // In large batches with few bad ones, so that some of those hold, too.
            let bad_in = [0, 10, 100, 500][seed as usize] / if size > 1_000 { 100 } else { 1 };
            for batch in batches(size, bad_in, seed, count) {
                let singles: Vec<bool> = batch.iter().map(|vector| verdict(vector).is_ok()).collect();
                assert!(batch.iter().zip(&singles).all(|(vector, single)| zip_215(vector) == *single), "size {size}");
                let claims: Vec<Claim> = batch.iter().filter_map(claim).collect();
                let mut rng = ChaCha20Rng::seed_from_u64(seed + 1_000);
                let all = singles.iter().all(|holds| *holds);
                assert_eq!(verify_batch(&claims, &mut rng), all, "size {size}");
                let invalid: Vec<usize> = (0..size).filter(|place| !singles[*place]).collect();
                assert_eq!(find_invalid(&claims, &mut rng), invalid, "size {size}");
                held += usize::from(all);
                failed += usize::from(!all);
            }
        }
    }
    assert!(held > 100 && failed > 100, "{held} held, {failed} failed");
}

#[test]
fn one_key_signing_a_whole_batch_makes_no_difference() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (a, torsion) = (scalar(&mut rng), EIGHT_TORSION[1]);
    let key = (a * B + torsion).compress().to_bytes();
    let mut vectors = Vec::new();
    for torsion in EIGHT_TORSION {
        let r = scalar(&mut rng);
        let commitment = (r * B + torsion).compress().to_bytes();
        vectors.push(sign("mixed".into(), a, key, r, commitment, random_digest(&mut rng)));
    }
    let claims = |vectors: &[Vector]| vectors.iter().map(|vector| claim(vector).unwrap()).collect::<Vec<_>>();
    assert!(verify_batch(&claims(&vectors), &mut rng));
    vectors[3].digest.0[0] ^= 1;
    assert_eq!(find_invalid(&claims(&vectors), &mut rng), [3]);
}

#[test]
fn bad_signatures_that_cancel_out_in_a_plain_sum_are_found() {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let (mut one, mut two) = (honest(&mut rng), honest(&mut rng));
    let shift = |vector: &mut Vector, by: Scalar| {
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(vector.s())).unwrap() + by;
        vector.signature.0[32..].copy_from_slice(&s.to_bytes());
    };
    shift(&mut one, Scalar::ONE);
    shift(&mut two, -Scalar::ONE);
    let claims = [claim(&one).unwrap(), claim(&two).unwrap()];
    assert!(!verify_batch(&claims, &mut rng));
    assert_eq!(find_invalid(&claims, &mut rng), [0, 1]);
}

#[test]
fn one_bad_claim_is_found_wherever_it_stands() {
    let mut rng = ChaCha20Rng::seed_from_u64(10);
    let good: Vec<Claim> = (0..37).map(|_| claim(&honest(&mut rng)).unwrap()).collect();
    let bad = loop {
        let vector = corrupted(&mut rng);
        if let Some(claim) = claim(&vector).filter(|claim| claim.check().is_err()) {
            break claim;
        }
    };
    for size in [1, 2, 3, 36, 37] {
        for place in 0..size {
            let mut claims = good[..size].to_vec();
            claims[place] = bad;
            assert_eq!(find_invalid(&claims, &mut rng), [place], "of {size}");
        }
    }
    assert_eq!(find_invalid(&[bad; 9], &mut rng), (0..9).collect::<Vec<_>>());
}

#[test]
fn nothing_is_a_batch_that_holds() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    assert!(verify_batch(&[], &mut rng));
    assert_eq!(find_invalid(&[], &mut rng), [0; 0]);
}
