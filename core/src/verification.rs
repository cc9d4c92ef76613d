//! Checking the signatures of many transactions, in batches.
//!
//! A transaction is hashed once, on arrival, into an [`UnverifiedTransaction`]; whoever has found its signature good before says so
//! ([`UnverifiedTransaction::set_known`]), and it is not checked again. The rest are checked under the rule of
//! [`crate::signature`], which a batch decides exactly as single checks do.
//!
//! `decode` gives the decoded keys of accounts, all at once: [`DecodedKey::decode_all`], or a cache of what it gave before. `rng` must be
//! seeded from the operating system's entropy ([`signature::verify_batch`]).

use crate::hash::ChainHash;
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

/// A decoded key, or why it is none.
type Decoded = Result<DecodedKey, SignatureError>;

impl UnverifiedTransaction {
    /// Computes the id.
    pub fn new(signed: SignedTransaction, chain: &ChainHash) -> UnverifiedTransaction {
        UnverifiedTransaction { id: signed.transaction.id(chain), signed, is_known: false }
    }

    /// The id.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The signature. Together with the id, and never without it, it is what a verdict is remembered under: a stranger can publish the
    /// same transaction with another signature.
    pub fn signature(&self) -> &Signature {
        &self.signed.signature
    }

    /// Has its signature taken as good. Only for those whose id and signature were found good together.
    pub fn set_known(&mut self) {
        self.is_known = true;
    }

    /// Whether it is taken as good.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    fn signer(&self) -> PublicKey {
        self.signed.transaction.signer()
    }

    fn claim(&self, key: &Decoded) -> Result<Claim, SignatureError> {
        match key {
            Ok(key) => Claim::new(key, &self.signed.signature, &self.id),
            Err(error) => Err(*error),
        }
    }

    fn into_verified(self) -> VerifiedTransaction {
        VerifiedTransaction::from_checked(self.id, self.signed)
    }
}

/// Checks payloads, each all or nothing: in one batch, and if that fails one by one. The results stand in the same order.
///
/// So a bad payload costs those that are checked with it as much again; the caller sees to it that it is not the same ones
/// again and again.
pub fn verify_payloads<R: CryptoRng>(
    payloads: Vec<Vec<UnverifiedTransaction>>,
    decode: impl FnOnce(&[PublicKey]) -> Vec<Decoded>,
    rng: &mut R,
) -> Vec<Result<Vec<VerifiedTransaction>, SignatureError>> {
    let signers: Vec<PublicKey> = unknown(payloads.iter().flatten()).map(UnverifiedTransaction::signer).collect();
    let keys = decode(&signers);
    let (mut claims, mut keys) = (Vec::with_capacity(signers.len()), keys.as_slice());
    // The places in `claims` of each payload's, or why it has none.
    let mut ranges = Vec::with_capacity(payloads.len());
    for payload in &payloads {
        let start = claims.len();
        let (own, others) = keys.split_at(unknown(payload).count());
        keys = others;
        let mut of_payload = unknown(payload).zip(own).map(|(transaction, key)| transaction.claim(key));
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
    decode: impl FnOnce(&[PublicKey]) -> Vec<Decoded>,
    rng: &mut R,
) -> Vec<Result<VerifiedTransaction, SignatureError>> {
    let signers: Vec<PublicKey> = unknown(&transactions).map(UnverifiedTransaction::signer).collect();
    let mut keys = decode(&signers).into_iter();
    let (mut claims, mut places) = (Vec::with_capacity(signers.len()), Vec::with_capacity(signers.len()));
    let mut results: Vec<_> = transactions
        .into_iter()
        .enumerate()
        .map(|(place, transaction)| {
            if !transaction.is_known {
                claims.push(transaction.claim(&keys.next().expect("a key each"))?);
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

/// What is left to check.
fn unknown<'a>(
    transactions: impl IntoIterator<Item = &'a UnverifiedTransaction>,
) -> impl Iterator<Item = &'a UnverifiedTransaction> {
    transactions.into_iter().filter(|transaction| !transaction.is_known)
}
