//! Receipts and state proofs: what wallets take from strangers.

use crate::fixtures::{chain, genesis};
use crate::{canonical, json};
use farthing_core::certificate::{CERTIFIED_HEADER_BYTES_MAX, Certificate};
use farthing_core::codec;
use farthing_core::receipt::{RECEIPT_BYTES_MAX, Receipt};
use farthing_core::state_proof::{STATE_PROOF_BYTES_MAX, StateProof};
use farthing_fuzz::Target;

/// The tokens of JSON, and what numbers and strings get wrong.
pub const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e400",
    "18446744073709551616",
    "4294967296",
    "0.5",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "{}",
    "[]",
    "\"links\":[],",
    "\"path\":[",
    "\"code\":\"executed\"",
    "00",
    "ff",
];

/// What a receipt says; two that say the same may still be certified by different validators.
fn claim(receipt: &Receipt) -> Result<(String, u64), String> {
    let verified = receipt.verify(genesis()).map_err(|error| error.to_string())?;
    Ok((format!("{} {:?} {}", verified.id, verified.code, verified.block), verified.timestamp_ms))
}

fn proof_claim(proof: &StateProof) -> Result<String, String> {
    proof.verify(genesis()).map_err(|error| error.to_string())?;
    Ok(format!("{:?} {}", proof.value, proof.header.hash()))
}

#[test]
fn receipts() {
    let receipts = chain().receipts;
    let claims: Vec<_> = receipts.iter().map(claim).collect();
    let check = |receipt: &Receipt| {
        let claim = claim(receipt);
        assert!(claim.is_err() || claims.contains(&claim), "a forged receipt: {claim:?}");
        claim.map(drop)
    };
    let encoded = receipts.iter().map(codec::encode).collect();
    Target::bytes("receipt", encoded, |input| check(&canonical(input, RECEIPT_BYTES_MAX)?)).check();
    let texts = receipts.iter().map(|receipt| serde_json::to_string(receipt).expect("plain data")).collect();
    Target::text("receipt-json", texts, JSON, |input| check(&json(input)?)).check();
}

#[test]
fn account_proofs() {
    let proofs = chain().proofs;
    let claims: Vec<_> = proofs.iter().map(proof_claim).collect();
    let check = |proof: &StateProof| {
        let claim = proof_claim(proof);
        assert!(claim.is_err() || claims.contains(&claim), "a forged proof: {claim:?}");
        claim.map(drop)
    };
    let encoded = proofs.iter().map(codec::encode).collect();
    Target::bytes("account-proof", encoded, |input| check(&canonical(input, STATE_PROOF_BYTES_MAX)?)).check();
    let texts = proofs.iter().map(|proof| serde_json::to_string(proof).expect("plain data")).collect();
    Target::text("account-proof-json", texts, JSON, |input| check(&json(input)?)).check();
}

#[test]
fn certificates() {
    let chain = chain();
    let seeds = chain.receipts.iter().map(|receipt| codec::encode(&receipt.certificate)).collect();
    Target::bytes("certificate", seeds, |input| {
        let certificate: Certificate = canonical(input, CERTIFIED_HEADER_BYTES_MAX)?;
        let outcomes = chain.headers.iter().map(|header| certificate.verify(header, genesis()));
        let certified = outcomes.filter(Result::is_ok).count();
        assert!(certified <= 1, "one certificate for {certified} blocks");
        if certified == 1 { Ok(()) } else { Err("it certifies no block".into()) }
    })
    .check();
}

/// Nothing in a receipt is beside the point: with any one bit changed it proves nothing.
#[test]
fn a_receipt_with_any_bit_flipped_is_refused() {
    // The first, and one whose certificate has links.
    for receipt in &chain().receipts[..2] {
        let bytes = codec::encode(receipt);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let accepted = Receipt::decode(&flipped).is_ok_and(|receipt| receipt.verify(genesis()).is_ok());
            assert!(!accepted, "accepted with bit {bit} flipped");
        }
    }
}

#[test]
fn an_account_proof_with_any_bit_flipped_is_refused() {
    for proof in &chain().proofs[..1] {
        let bytes = codec::encode(proof);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let accepted = StateProof::decode(&flipped).is_ok_and(|proof| proof.verify(genesis()).is_ok());
            assert!(!accepted, "accepted with bit {bit} flipped");
        }
    }
}
