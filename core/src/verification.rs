//! Checking the signatures of many transactions, in batches.
//!
//! A transaction is hashed once, on arrival, into an [`UnverifiedTransaction`]; whoever has found its signature good before
//! ([`UnverifiedTransaction::verdict_key`]) says so, and it is not checked again. The rest are checked under the rule of
//! [`crate::signature`], which a batch decides exactly as single checks do.
//!
//! `decode` gives the decoded key of an account: [`DecodedKey::decode`], or a cache of what it gave before. `rng` must be seeded from
//! the operating system's entropy ([`signature::verify_batch`]).

use crate::hash::{ChainHash, Digest};
use crate::keys::{PublicKey, Signature};
use crate::signature::{self, Claim, DecodedKey, SignatureError};
use crate::transaction::{SignedTransaction, TransactionId, VerifiedTransaction};
use rand_core::CryptoRng;

/// A transaction with its id, whose signature is to be checked, unless it was before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnverifiedTransaction {
    id: TransactionId,
    signed: SignedTransaction,
    is_known: bool,
}

impl UnverifiedTransaction {
    /// Computes the id.
    pub fn new(signed: SignedTransaction, chain: &ChainHash) -> UnverifiedTransaction {
        UnverifiedTransaction { id: signed.transaction.id(chain), signed, is_known: false }
    }

    /// The id.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// What a verdict on its signature is remembered under.
    pub fn verdict_key(&self) -> Digest {
        verdict_key(&self.id, &self.signed.signature)
    }

    /// Has its signature taken as good. Only for those whose [`UnverifiedTransaction::verdict_key`] is remembered as that of a good
    /// one.
    pub fn set_known(&mut self) {
        self.is_known = true;
    }

    /// What is left to check; `None` if it is known.
    fn claim(
        &self,
        decode: impl FnOnce(&PublicKey) -> Result<DecodedKey, SignatureError>,
    ) -> Option<Result<Claim, SignatureError>> {
        let claim = |key: DecodedKey| Claim::new(&key, &self.signed.signature, &self.id);
        (!self.is_known).then(|| decode(&self.signed.transaction.signer()).and_then(claim))
    }

    fn into_verified(self) -> VerifiedTransaction {
        VerifiedTransaction::from_checked(self.id, self.signed)
    }
}

/// What a signature verdict is remembered under: never the id alone, since a stranger can publish a body with another signature.
pub fn verdict_key(id: &TransactionId, signature: &Signature) -> Digest {
    let mut bytes = [0; 96];
    bytes[..32].copy_from_slice(id.as_bytes());
    bytes[32..].copy_from_slice(&signature.0);
    Digest::of_bytes(&bytes)
}

/// Checks payloads, each all or nothing: in one batch, and if that fails one by one. The results stand in the same order.
///
/// So a bad payload costs those that are checked with it as much again; the caller sees to it that it is not the same ones
/// again and again.
pub fn verify_payloads<R: CryptoRng>(
    payloads: Vec<Vec<UnverifiedTransaction>>,
    decode: impl Fn(&PublicKey) -> Result<DecodedKey, SignatureError>,
    rng: &mut R,
) -> Vec<Result<Vec<VerifiedTransaction>, SignatureError>> {
    let mut claims = Vec::with_capacity(payloads.iter().map(Vec::len).sum());
    // The places in `claims` of each payload's, or why it has none.
    let mut ranges = Vec::with_capacity(payloads.len());
    for payload in &payloads {
        let start = claims.len();
        let mut of_payload = payload.iter().filter_map(|transaction| transaction.claim(&decode));
        let of_payload = of_payload.try_for_each(|claim| claim.map(|claim| claims.push(claim)));
        if of_payload.is_err() {
            claims.truncate(start);
        }
        ranges.push(of_payload.map(|()| start..claims.len()));
    }
    let all_hold = signature::verify_batch(&claims, rng);
    // Then the batch has said it.
    let is_alone = ranges.iter().flatten().count() == 1;
    let verdicts = ranges.into_iter().map(|range| match range {
        Ok(range) if all_hold || (!is_alone && signature::verify_batch(&claims[range.clone()], rng)) => Ok(()),
        Ok(_) => Err(SignatureError::Mismatch),
        Err(error) => Err(error),
    });
    let verdicts: Vec<_> = verdicts.collect();
    let verified =
        |payload: Vec<UnverifiedTransaction>| payload.into_iter().map(UnverifiedTransaction::into_verified).collect();
    payloads.into_iter().zip(verdicts).map(|(payload, verdict)| verdict.map(|()| verified(payload))).collect()
}

/// Checks transactions, each for itself: in one batch, which is bisected if it fails. The result stands at the place of its
/// transaction.
pub fn verify_all<R: CryptoRng>(
    transactions: Vec<UnverifiedTransaction>,
    decode: impl Fn(&PublicKey) -> Result<DecodedKey, SignatureError>,
    rng: &mut R,
) -> Vec<Result<VerifiedTransaction, SignatureError>> {
    let (mut claims, mut places) = (Vec::with_capacity(transactions.len()), Vec::with_capacity(transactions.len()));
    let mut results: Vec<_> = transactions
        .into_iter()
        .enumerate()
        .map(|(place, transaction)| {
            if let Some(claim) = transaction.claim(&decode) {
                claims.push(claim?);
                places.push(place);
            }
            Ok(transaction.into_verified())
        })
        .collect();
    for bad in signature::find_invalid(&claims, rng) {
        results[places[bad]] = Err(SignatureError::Mismatch);
    }
    results
}
