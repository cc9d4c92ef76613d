//! Manifests: what a snapshot is, and the proof of it.

use crate::storage::Base;
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::RECOVERY_COMMITS;
use farthing_consensus::message::MESSAGE_BYTES_MAX;
use farthing_core::block::BlockHeader;
use farthing_core::certificate::{Certificate, CertificateError};
use farthing_core::codec;
use farthing_core::flush::FlushPoint;
use farthing_core::hash::Digest;
use farthing_core::state_chunk::ChunkLayout;

/// The most chunks of a snapshot: enough for 268 million slots.
pub const CHUNKS_MAX: usize = 131_072;

/// The most bytes of an encoded manifest.
pub const MANIFEST_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 64;

/// What a snapshot is. Anybody can say anything in one until [`Manifest::verify`] has found it good.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Manifest {
    /// The block that follows the state and carries its root.
    pub anchor: BlockHeader,
    /// A quorum's word for the anchor.
    pub certificate: Certificate,
    /// The block before the anchor: the newest one contained in the state.
    pub parent: BlockHeader,
    /// The commits before the anchor's, the newest [`RECOVERY_COMMITS`] or all if there are fewer, and the anchor's own one last.
    #[borsh(deserialize_with = "read_commits")]
    pub commits: Vec<Commit>,
    /// How many slots the state has.
    pub slot_count: u64,
    /// The top of each chunk; at most [`CHUNKS_MAX`].
    #[borsh(deserialize_with = "read_tops")]
    pub tops: Vec<Digest>,
}

/// Why a manifest proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The anchor is not certified.
    #[error("its block is not certified: {0}")]
    Certificate(#[from] CertificateError),
    /// Its parts do not belong together.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl Manifest {
    /// Checks all of it but the chunks themselves. Chunks have 2^`chunk_level` slots.
    ///
    /// # Errors
    /// [`ManifestError`] says what does not hold: its sender is no honest node.
    pub fn verify(&self, committee: &Committee, chunk_level: u32) -> Result<(), ManifestError> {
        let keys: Vec<_> =
            committee.authors().map(|author| *committee.key(author).expect("an author has a key")).collect();
        self.certificate.verify_by(&self.anchor, committee.chain(), &keys)?;
        let bad = |what| Err(ManifestError::Inconsistent(what));
        if self.parent.height == 0 || self.parent.hash() != self.anchor.previous {
            return bad("its second header is not that of the block before, or is that of block 0");
        }
        self.verify_commits(committee)?;
        let Some(layout) = self.layout(chunk_level) else { return bad("it has no slots, or too many") };
        if self.anchor.state_root.is_none() || layout.state_root(&self.tops) != self.anchor.state_root {
            return bad("its chunks are not those of the certified state");
        }
        Ok(())
    }

    fn verify_commits(&self, committee: &Committee) -> Result<(), ManifestError> {
        let bad = |what| Err(ManifestError::Inconsistent(what));
        let [first, .., last] = self.commits.as_slice() else { return bad("it has fewer than two commits") };
        let expected_first = last.index.saturating_sub(RECOVERY_COMMITS as u64).max(1);
        let is_range = last.index.checked_sub(first.index) == Some(self.commits.len() as u64 - 1);
        if first.index != expected_first || !is_range {
            return bad("it has too few commits, or too many");
        }
        if first.index == 1 && first.previous != committee.previous_commit() {
            return bad("its first commit does not follow from the genesis document");
        }
        let is_last = last.index == self.anchor.commit_index
            && last.digest(committee.chain()) == self.anchor.commit_digest
            && last.timestamp_ms == self.anchor.timestamp_ms;
        if !is_last || self.parent.commit_index >= last.index {
            return bad("its last commit did not make its block");
        }
        let is_chain = self.commits.windows(2).all(|pair| {
            pair[1].index == pair[0].index + 1
                && pair[1].previous == pair[0].digest(committee.chain())
                && pair[1].epoch == pair[0].epoch
                && pair[1].leader.round > pair[0].leader.round
        });
        if !is_chain || last.epoch != committee.epoch() {
            return bad("its commits do not follow one another");
        }
        Ok(())
    }

    /// How its state is cut into chunks of 2^`chunk_level` slots; `None` if it has no slots or too many.
    pub fn layout(&self, chunk_level: u32) -> Option<ChunkLayout> {
        ChunkLayout::new(self.slot_count, chunk_level)
    }

    /// Whether a chunk of this snapshot is a chunk of another one too, at the same place.
    pub fn has_same_chunk(&self, other: &Manifest, number: u32) -> bool {
        let top = self.tops.get(number as usize);
        top.is_some() && top == other.tops.get(number as usize)
    }

    /// The state root.
    ///
    /// # Panics
    /// If there is none: only of a manifest that was found good.
    pub fn state_root(&self) -> Digest {
        self.anchor.state_root.expect("a good manifest's anchor carries a root")
    }

    /// The newest commit that the state contains.
    ///
    /// # Panics
    /// As [`Manifest::state_root`].
    pub fn newest_commit(&self) -> &Commit {
        let [.., newest, _] = self.commits.as_slice() else { panic!("a good manifest has two commits") };
        newest
    }

    /// Those commits that the state contains, ascending.
    pub fn contained_commits(&self) -> &[Commit] {
        &self.commits[..self.commits.len() - 1]
    }

    /// Where a ledger with this state stands.
    ///
    /// # Panics
    /// As [`Manifest::state_root`].
    pub fn point(&self) -> FlushPoint {
        let newest = self.newest_commit();
        FlushPoint {
            header: self.parent.clone(),
            commit_index: newest.index,
            timestamp_ms: newest.timestamp_ms,
            state_root: self.state_root(),
        }
    }

    /// Where a database that starts with this snapshot begins.
    ///
    /// # Panics
    /// As [`Manifest::state_root`].
    pub fn base(&self) -> Base {
        let newest = self.newest_commit();
        Base { height: self.parent.height, commit_index: newest.index, timestamp_ms: newest.timestamp_ms }
    }
}

fn read_commits<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Commit>> {
    codec::bounded_vec(reader, 2, RECOVERY_COMMITS + 1)
}

fn read_tops<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Digest>> {
    codec::bounded_vec(reader, 1, CHUNKS_MAX)
}
