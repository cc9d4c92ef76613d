//! Attestations and certificates: how validators vouch for a block to somebody who was not there.
//!
//! A validator attests a block only after the block's commit and header are durable on its disk. The attestation is signed on
//! its own (not only as a part of the vertex that carries it), so that a certificate is a hundred bytes a validator, whatever
//! the size of the committee, and a wallet needs to know nothing of consensus to check it.

use crate::block::{BlockHash, BlockHeader};
use crate::codec;
use crate::genesis::{Genesis, VALIDATORS_MAX};
use crate::hash::{ChainHash, Digest};
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::signature;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The most headers that may link a block to its attested descendants.
pub const LINKS_MAX: usize = 64;

/// The most bytes that an encoded block header and its certificate take together.
pub const CERTIFIED_HEADER_BYTES_MAX: usize =
    (1 + LINKS_MAX) * crate::block::HEADER_BYTES_MAX + 4 + 4 + VALIDATORS_MAX * (2 + 8 + 64);

/// One validator's word that the block at `height` is `block`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Attestation {
    /// The block's height.
    pub height: u64,
    /// The block's hash.
    pub block: BlockHash,
    /// Over [`attestation_digest`], by the validator's key.
    pub signature: Signature,
}

/// What a validator signs to attest a block.
pub fn attestation_digest(chain: &ChainHash, height: u64, block: &BlockHash) -> Digest {
    Digest::of("attestation/v1", &[chain.as_bytes(), &height.to_le_bytes(), block.as_bytes()])
}

impl Attestation {
    /// Attests a block. Only for blocks whose commit and header are durable.
    pub fn sign(chain: &ChainHash, height: u64, block: BlockHash, key: &SecretKey) -> Attestation {
        Attestation { height, block, signature: key.sign(&attestation_digest(chain, height, &block)) }
    }

    /// Whether the validator with this key signed it.
    pub fn is_signed_by(&self, chain: &ChainHash, key: &PublicKey) -> bool {
        signature::verify(key, &self.signature, &attestation_digest(chain, self.height, &self.block)).is_ok()
    }
}

/// Proof that a quorum of validators attests a block: each of them it, or a descendant linked to it by the headers included.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Certificate {
    /// The headers right after the certified block, ascending without gaps, as far as attestations need them; at most [`LINKS_MAX`].
    #[borsh(deserialize_with = "read_links")]
    pub links: Vec<BlockHeader>,
    /// The attestations of at least a quorum, strictly ascending by validator.
    #[borsh(deserialize_with = "read_attestations")]
    pub attestations: Vec<CertificateAttestation>,
}

/// One attestation of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct CertificateAttestation {
    /// The validator's index in the genesis document.
    pub validator: u16,
    /// The height of the attested block: the certified one or one of the links.
    pub height: u64,
    /// The validator's signature over [`attestation_digest`].
    pub signature: Signature,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The block is of another network than the genesis document.
    #[error("the block belongs to another network: its chain hash is {found}, the genesis document's is {expected}")]
    OtherChain {
        /// The hash of the genesis document.
        expected: ChainHash,
        /// The hash in the block's header.
        found: ChainHash,
    },
    /// The links do not follow one another.
    #[error("the headers in the certificate do not link to the block")]
    BrokenLink,
    /// More links or attestations than allowed, attestations out of order, or links that none of them needs.
    #[error("the certificate is malformed: {0}")]
    Malformed(&'static str),
    /// Fewer good attestations than a quorum.
    #[error("the certificate has {found} good attestations, a quorum is {quorum}")]
    NoQuorum {
        /// Distinct validators with a good attestation.
        found: usize,
        /// Validators needed.
        quorum: usize,
    },
    /// A signature that its validator did not make.
    #[error("the attestation of validator {0} is not its signature")]
    BadSignature(u16),
}

/// The number of validators, out of `n`, that may be faulty: ⌊(n − 1) / 3⌋.
pub const fn faulty_max(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// The number of validators, out of `n`, whose word is enough: n − f.
pub const fn quorum(n: usize) -> usize {
    n - faulty_max(n)
}

impl Certificate {
    /// Checks that a quorum of the genesis document's validators attests `header`. Needs nothing else, no network either.
    ///
    /// Everything in the certificate must bear weight: every attestation is checked, and the last link is attested. So nobody can
    /// put something into a good certificate that nobody vouches for.
    ///
    /// # Errors
    /// [`CertificateError`] says what is missing. One bad signature is enough to refuse: an honest node includes none.
    pub fn verify(&self, header: &BlockHeader, genesis: &Genesis) -> Result<(), CertificateError> {
        let keys: Vec<_> = genesis.validators().iter().map(|validator| validator.public_key).collect();
        self.verify_by(header, &genesis.chain_hash(), &keys)
    }

    /// As [`Certificate::verify`], for the validators with these keys, in their order in the genesis document.
    ///
    /// # Errors
    /// As [`Certificate::verify`].
    pub fn verify_by(
        &self,
        header: &BlockHeader,
        chain: &ChainHash,
        keys: &[PublicKey],
    ) -> Result<(), CertificateError> {
        if header.chain != *chain {
            return Err(CertificateError::OtherChain { expected: *chain, found: header.chain });
        }
        if self.links.len() > LINKS_MAX {
            return Err(CertificateError::Malformed("too many links"));
        }
        if self.attestations.len() > keys.len() {
            return Err(CertificateError::Malformed("more attestations than validators"));
        }
        let hashes = self.linked_hashes(header)?;
        if !self.attestations.is_sorted_by(|a, b| a.validator < b.validator) {
            return Err(CertificateError::Malformed("the attestations do not ascend by validator"));
        }
        let highest = self.attestations.iter().map(|attestation| attestation.height).max().unwrap_or(header.height);
        if highest != header.height.saturating_add(self.links.len() as u64) {
            return Err(CertificateError::Malformed("the last link is not attested"));
        }
        for attestation in &self.attestations {
            let key = keys
                .get(usize::from(attestation.validator))
                .ok_or(CertificateError::Malformed("a validator that does not exist"))?;
            let block = attestation
                .height
                .checked_sub(header.height)
                .and_then(|distance| hashes.get(usize::try_from(distance).ok()?))
                .ok_or(CertificateError::Malformed("an attestation of a block that is not included"))?;
            let digest = attestation_digest(chain, attestation.height, block);
            signature::verify(key, &attestation.signature, &digest)
                .map_err(|_| CertificateError::BadSignature(attestation.validator))?;
        }
        let quorum = quorum(keys.len());
        if self.attestations.len() < quorum {
            return Err(CertificateError::NoQuorum { found: self.attestations.len(), quorum });
        }
        Ok(())
    }

    /// The hashes of the block and of each link, checked to follow one another.
    fn linked_hashes(&self, header: &BlockHeader) -> Result<Vec<BlockHash>, CertificateError> {
        let mut hashes = vec![header.hash()];
        let mut height = header.height;
        for link in &self.links {
            let follows = link.height.checked_sub(1) == Some(height)
                && link.chain == header.chain
                && Some(&link.previous) == hashes.last();
            if !follows {
                return Err(CertificateError::BrokenLink);
            }
            height = link.height;
            hashes.push(link.hash());
        }
        Ok(hashes)
    }
}

fn read_links<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<BlockHeader>> {
    codec::bounded_vec(reader, 0, LINKS_MAX)
}

fn read_attestations<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<CertificateAttestation>> {
    codec::bounded_vec(reader, 0, VALIDATORS_MAX)
}
