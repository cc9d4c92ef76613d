//! Vouchers: payments off the chain, at the speed of a signature check.
//!
//! The payer of a hold with the condition `Voucher(key)` signs, with that key, "of this hold, so much in all is the payee's". Each voucher
//! replaces the ones before it, since the amount is cumulative; the payee keeps the best one and captures with it before the hold ends.
//!
//! `digest = blake3("voucher/v1" ‖ chain hash ‖ hold ‖ cumulative)`, the amount as 8 bytes, little-endian.

use crate::amount::Amount;
use crate::hash::{ChainHash, Digest};
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::signature::{self, Claim, DecodedKey, SignatureError};
use crate::transaction::TransactionId;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// A payer's word that of a hold so much in all is the payee's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voucher {
    /// The hold.
    pub hold: TransactionId,
    /// How much in all, what was captured before included.
    pub cumulative: Amount,
    /// Over [`Voucher::digest`], by the hold's voucher key.
    pub signature: Signature,
}

impl Voucher {
    /// What is signed.
    pub fn digest(chain: &ChainHash, hold: &TransactionId, cumulative: Amount) -> Digest {
        Digest::of("voucher/v1", &[chain.as_bytes(), hold.as_bytes(), &cumulative.mites().to_le_bytes()])
    }

    /// Signs a voucher with the hold's voucher key.
    pub fn sign(chain: &ChainHash, hold: TransactionId, cumulative: Amount, key: &SecretKey) -> Voucher {
        Voucher { hold, cumulative, signature: key.sign(&Voucher::digest(chain, &hold, cumulative)) }
    }

    /// Whether the key signed it, for this network.
    ///
    /// # Errors
    /// [`SignatureError`] says which part of the signature rule failed.
    pub fn verify(&self, chain: &ChainHash, key: &PublicKey) -> Result<(), SignatureError> {
        signature::verify(key, &self.signature, &Voucher::digest(chain, &self.hold, self.cumulative))
    }

    /// The first half of [`Voucher::verify`]: a claim that can be checked in a batch with others ([`signature::verify_batch`]).
    ///
    /// # Errors
    /// [`SignatureError`] if the key or the signature is encoded in a way the rule refuses.
    pub fn claim(&self, chain: &ChainHash, key: &PublicKey) -> Result<Claim, SignatureError> {
        self.claim_of(chain, &DecodedKey::decode(key)?)
    }

    /// The same for a key that is decoded already: what many vouchers of one hold are checked with.
    ///
    /// # Errors
    /// [`SignatureError`] if the signature is encoded in a way the rule refuses.
    pub fn claim_of(&self, chain: &ChainHash, key: &DecodedKey) -> Result<Claim, SignatureError> {
        Claim::new(key, &self.signature, &Voucher::digest(chain, &self.hold, self.cumulative))
    }
}
