//! Proof that a validator equivocated.

use farthing_core::genesis::Genesis;
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, Signature};
use farthing_core::signature::{self, SignatureError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Two different vertices that one validator signed for one slot: an author has one vertex a round, so this convicts it.
///
/// Anybody with the genesis document can check it ([`Evidence::verify`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// The validator's index in the genesis document.
    pub author: u16,
    /// Its name.
    pub validator: String,
    /// The key that signs its vertices.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// The round of both vertices.
    pub round: u64,
    /// The one.
    pub first: SignedVertexHeader,
    /// The other.
    pub second: SignedVertexHeader,
}

/// The header of a vertex as it was signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedVertexHeader {
    /// Its canonical encoding (borsh), in hexadecimal digits: epoch (8 bytes), round (8), author (2), all little-endian, and the rest.
    pub header: String,
    /// Over `blake3("vertex/v1" ‖ chain hash ‖ header)`, 128 hexadecimal digits.
    #[schema(value_type = String)]
    pub signature: Signature,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// No such validator, or another key or name than the genesis document's.
    #[error("validator {0} of the genesis document is another one")]
    Validator(u16),
    /// The header is not what it should be.
    #[error("the {0} header is not one of this validator and round")]
    Header(&'static str),
    /// The signature does not hold.
    #[error("the signature of the {0} header does not hold: {1}")]
    Signature(&'static str, SignatureError),
    /// One header twice.
    #[error("both headers are the same")]
    Same,
}

impl Evidence {
    /// Checks that the validator of the genesis document signed two different headers for one slot.
    ///
    /// # Errors
    /// [`EvidenceError`] if that is not so.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), EvidenceError> {
        let validator = genesis.validators().get(usize::from(self.author));
        if !validator.is_some_and(|known| known.public_key == self.public_key && known.name == self.validator) {
            return Err(EvidenceError::Validator(self.author));
        }
        let first = self.signed_bytes("first", &self.first, genesis)?;
        let second = self.signed_bytes("second", &self.second, genesis)?;
        // The same epoch too: the slot is epoch, round and author.
        if first[..8] != second[..8] {
            return Err(EvidenceError::Header("second"));
        }
        if first == second { Err(EvidenceError::Same) } else { Ok(()) }
    }

    /// The encoding of a header of this author and round, whose signature holds.
    fn signed_bytes(
        &self,
        which: &'static str,
        signed: &SignedVertexHeader,
        genesis: &Genesis,
    ) -> Result<Vec<u8>, EvidenceError> {
        let bytes = hex::decode(&signed.header).map_err(|_| EvidenceError::Header(which))?;
        let slot = [&self.round.to_le_bytes()[..], &self.author.to_le_bytes()].concat();
        if bytes.get(8..18) != Some(&slot[..]) {
            return Err(EvidenceError::Header(which));
        }
        let digest = Digest::of("vertex/v1", &[genesis.chain_hash().as_bytes(), &bytes]);
        signature::verify(&self.public_key, &signed.signature, &digest)
            .map_err(|error| EvidenceError::Signature(which, error))?;
        Ok(bytes)
    }
}
