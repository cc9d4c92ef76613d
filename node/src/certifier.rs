//! Collects attestations until a quorum stands behind a block.
//!
//! A block is certified by attestations of itself or of descendants, so the highest block with a quorum of its own certifies all
//! before it. Attestations arrive in accepted vertices, perhaps before this node executed the block: those wait, within bounds.

use crate::storage::{Storage, StorageError};
use farthing_core::block::BlockHash;
use farthing_core::certificate::{Attestation, Certificate, CertificateAttestation, LINKS_MAX, quorum};
use farthing_core::genesis::Genesis;
use farthing_core::hash::ChainHash;
use farthing_core::keys::{PublicKey, Signature};
use std::collections::BTreeMap;

/// How far above the newest own block attestations are kept.
const AHEAD_MAX: u64 = 1_000;

/// How far below the newest own block blocks may still collect attestations. Beyond that later certificates stand for them.
const BEHIND_MAX: u64 = 1_000;

/// The attestations of blocks that are not certified yet.
#[derive(Debug)]
pub struct Certifier {
    chain: ChainHash,
    keys: Vec<PublicKey>,
    quorum: usize,
    /// Own blocks without a certificate, by height.
    open: BTreeMap<u64, OpenBlock>,
    /// Attestations of blocks that are not executed here yet, by height and author; each author has one a height.
    early: BTreeMap<(u64, u16), Attestation>,
    newest: u64,
    certified: u64,
}

#[derive(Debug)]
struct OpenBlock {
    hash: BlockHash,
    signatures: BTreeMap<u16, Signature>,
    /// What validators attest that is not this block: by hash, who.
    others: BTreeMap<BlockHash, Vec<u16>>,
}

/// A block that has just been certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The block's height.
    pub height: u64,
    /// The attestations of a quorum, ascending by validator.
    pub attestations: Vec<CertificateAttestation>,
}

/// A quorum attests another block than the one this node computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a quorum of validators certified block {certified} at height {height}, this node computed {own}: its state is wrong; \
     stop it, move its database away and let it fetch everything again"
)]
pub struct WrongState {
    /// The height.
    pub height: u64,
    /// This node's block.
    pub own: BlockHash,
    /// The certified block.
    pub certified: BlockHash,
}

impl Certifier {
    /// For the validators of a genesis document; all blocks up to `certified` are certified already.
    pub fn new(genesis: &Genesis, certified: u64) -> Certifier {
        let keys: Vec<_> = genesis.validators().iter().map(|validator| validator.public_key).collect();
        Certifier {
            chain: genesis.chain_hash(),
            quorum: quorum(keys.len()),
            keys,
            open: BTreeMap::new(),
            early: BTreeMap::new(),
            newest: certified,
            certified,
        }
    }

    /// The highest certified block; all blocks up to it are certified.
    pub fn certified_height(&self) -> u64 {
        self.certified
    }

    /// Takes the next own block, in order of height.
    ///
    /// # Errors
    /// [`WrongState`] if attestations that came early certify another block.
    pub fn executed(&mut self, height: u64, hash: BlockHash) -> Result<Option<Certified>, WrongState> {
        assert_eq!(height, self.newest + 1, "blocks come in order");
        self.newest = height;
        self.open.insert(height, OpenBlock { hash, signatures: BTreeMap::new(), others: BTreeMap::new() });
        self.open.retain(|open, _| open + BEHIND_MAX > height);
        let mut certified = None;
        for author in 0..self.keys.len() as u16 {
            if let Some(attestation) = self.early.remove(&(height, author)) {
                certified = self.count(author, &attestation)?.or(certified);
            }
        }
        // What is left below was for blocks that are closed.
        self.early = self.early.split_off(&(height + 1, 0));
        Ok(certified)
    }

    /// Takes an attestation from an accepted vertex of `author`. Wrong ones are ignored.
    ///
    /// # Errors
    /// [`WrongState`] if a quorum attests another block than the own one.
    pub fn attested(&mut self, author: u16, attestation: &Attestation) -> Result<Option<Certified>, WrongState> {
        if attestation.height > self.newest {
            if attestation.height <= self.newest + AHEAD_MAX && usize::from(author) < self.keys.len() {
                self.early.entry((attestation.height, author)).or_insert(*attestation);
            }
            return Ok(None);
        }
        self.count(author, attestation)
    }

    fn count(&mut self, author: u16, attestation: &Attestation) -> Result<Option<Certified>, WrongState> {
        let Some(block) = self.open.get_mut(&attestation.height) else { return Ok(None) };
        let Some(key) = self.keys.get(usize::from(author)) else { return Ok(None) };
        if block.signatures.contains_key(&author) || !attestation.is_signed_by(&self.chain, key) {
            return Ok(None);
        }
        if attestation.block != block.hash {
            let others = block.others.entry(attestation.block).or_default();
            if !others.contains(&author) {
                others.push(author);
            }
            if others.len() >= self.quorum {
                return Err(WrongState { height: attestation.height, own: block.hash, certified: attestation.block });
            }
            return Ok(None);
        }
        block.signatures.insert(author, attestation.signature);
        if block.signatures.len() < self.quorum {
            return Ok(None);
        }
        let attestations = block
            .signatures
            .iter()
            .map(|(validator, signature)| CertificateAttestation {
                validator: *validator,
                height: attestation.height,
                signature: *signature,
            })
            .collect();
        self.open.remove(&attestation.height);
        self.certified = self.certified.max(attestation.height);
        Ok(Some(Certified { height: attestation.height, attestations }))
    }
}

/// A certificate of the block at `height` out of what is stored: its own, or that of the next block that has one, with the headers
/// between.
///
/// # Errors
/// Those of storage.
pub fn stored_certificate(storage: &dyn Storage, height: u64) -> Result<Option<Certificate>, StorageError> {
    let mut links = Vec::new();
    for certified in height..=height + LINKS_MAX as u64 {
        if certified > height {
            match storage.header(certified)? {
                Some(header) => links.push(header),
                None => return Ok(None),
            }
        }
        if let Some(attestations) = storage.certificate(certified)? {
            return Ok(Some(Certificate { links, attestations }));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "certifier_tests.rs"]
mod tests;
