//! State proofs: proof, for anybody with the genesis document, of what an account, a hold or a delegated key held.
//!
//! A proof is against the newest published state root, so it is up to about a second old while the network is busy. It proves
//! the state **before** the block that carries the root, which is the state after every commit before that block's. Slots cannot
//! prove absence: that an address has no account, or that a hold is gone, is the word of a node, not a proof. That an account has no other
//! delegated keys than those it lists is proven with the account.

use crate::account::Account;
use crate::address::Address;
use crate::block::BlockHeader;
use crate::certificate::{CERTIFIED_HEADER_BYTES_MAX, Certificate, CertificateError};
use crate::codec::{self, CodecError};
use crate::genesis::Genesis;
use crate::hash::Digest;
use crate::merkle;
use crate::state::{SLOT_BYTES_MAX, SlotValue};
use crate::state_tree::state_root;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The most bytes that an encoded state proof takes.
pub const STATE_PROOF_BYTES_MAX: usize =
    SLOT_BYTES_MAX + 4 + 8 + 4 + 32 * merkle::PATH_MAX + CERTIFIED_HEADER_BYTES_MAX;

/// Proof of what a slot held just before a block.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateProof {
    /// What the slot held: an account, a hold or a delegated key, with its name.
    pub value: SlotValue,
    /// The slot.
    pub slot: u32,
    /// How many slots the state had.
    pub slot_count: u64,
    /// From its sibling up to below the top of the state's tree; at most [`merkle::PATH_MAX`].
    #[borsh(deserialize_with = "merkle::read_path")]
    pub path: Vec<Digest>,
    /// The block that carries the state root.
    pub header: BlockHeader,
    /// A quorum's word for that block.
    pub certificate: Certificate,
}

/// A state proof before the block that carries its state root is certified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UncertifiedStateProof {
    pub(crate) value: SlotValue,
    pub(crate) slot: u32,
    pub(crate) slot_count: u64,
    pub(crate) path: Vec<Digest>,
    pub(crate) header: BlockHeader,
}

/// Why a state proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// The block carries no state root.
    #[error("the proof's block carries no state root")]
    NoStateRoot,
    /// The slot does not lead to the block's state root.
    #[error("what the proof says does not stand in the state that its block names")]
    NotInState,
    /// The block is not certified.
    #[error("the proof's block is not certified: {0}")]
    Certificate(#[from] CertificateError),
}

impl UncertifiedStateProof {
    /// The block whose certificate completes this proof.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The proof, with the certificate of [`UncertifiedStateProof::header`].
    pub fn certify(self, certificate: Certificate) -> StateProof {
        let UncertifiedStateProof { value, slot, slot_count, path, header } = self;
        StateProof { value, slot, slot_count, path, header, certificate }
    }
}

impl StateProof {
    /// Decodes a proof.
    ///
    /// # Errors
    /// [`CodecError`] for anything but a canonical encoding within the bounds of every count.
    pub fn decode(bytes: &[u8]) -> Result<StateProof, CodecError> {
        codec::decode(bytes, STATE_PROOF_BYTES_MAX)
    }

    /// The account that this proves, with its address; `None` if it is a proof of something else.
    pub fn account(&self) -> Option<(&Address, &Account)> {
        match &self.value {
            SlotValue::Account { address, account } => Some((address, account)),
            _ => None,
        }
    }

    /// Checks that a quorum of the genesis document's validators vouches for a state in which the slot held what this proof says.
    /// The state is the one just before `header.timestamp_ms`.
    ///
    /// # Errors
    /// [`StateProofError`] says what does not hold.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), StateProofError> {
        let root = self.header.state_root.ok_or(StateProofError::NoStateRoot)?;
        let leaf = merkle::leaf(&codec::encode(&self.value));
        let top = merkle::top_of_path(leaf, u64::from(self.slot), self.slot_count, &self.path);
        if top.map(|top| state_root(self.slot_count, &top)) != Some(root) {
            return Err(StateProofError::NotInState);
        }
        Ok(self.certificate.verify(&self.header, genesis)?)
    }
}
