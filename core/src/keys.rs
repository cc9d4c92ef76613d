//! Ed25519 keys and signatures as bytes, and signing.
//!
//! Checking is in [`crate::signature`], under the ledger's one rule; nothing else may check a signature.

use crate::hash::{Digest, HexError, parse_hex, serde_as_text, write_hex};
use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::Signer as _;
use std::fmt;

/// An ed25519 public key as it travels: 32 bytes that may or may not be a valid point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature as it travels: 64 bytes, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 64]);

/// A private signing key. Its bytes are wiped from memory when it is dropped; it has no `Debug` output and no encoding.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// The key with this 32-byte seed (RFC 8032's private key).
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        SecretKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The 32-byte seed, to be stored encrypted.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a digest. Everything Farthing signs is a domain-separated 32-byte digest.
    pub fn sign(&self, digest: &Digest) -> Signature {
        Signature(self.0.sign(digest.as_bytes()).to_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..6])
    }
}

impl std::str::FromStr for PublicKey {
    type Err = HexError;

    fn from_str(text: &str) -> Result<PublicKey, HexError> {
        parse_hex(text).map(PublicKey)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..6])
    }
}

impl std::str::FromStr for Signature {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Signature, HexError> {
        parse_hex(text).map(Signature)
    }
}

serde_as_text!(PublicKey);
serde_as_text!(Signature);
