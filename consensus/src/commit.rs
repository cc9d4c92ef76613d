//! Commits: decided leaders with what they bring in, chained by digest.

use crate::vertex::{VerifiedVertex, VertexRef};
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::codec;
use farthing_core::hash::{ChainHash, Digest};

/// The most vertices of a commit that anybody will decode, and that a leader may bring in. Far above what validators bring in that do not
/// collude (60 rounds of 128 authors are 7,680); see the limits in the crate's documentation.
pub const COMMIT_VERTICES_MAX: usize = 32_768;

/// A decided leader vertex and the causal history it brings in, in execution order.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Commit {
    /// The epoch.
    pub epoch: u64,
    /// The first commit has index 1; index 0 is the genesis document. Runs across epochs.
    pub index: u64,
    /// The digest of the commit before; for index 1, the chain hash.
    pub previous: Digest,
    /// The leader.
    pub leader: VertexRef,
    /// All vertices that this commit brings in, the leader last, in the order of execution.
    #[borsh(deserialize_with = "read_vertices")]
    pub vertices: Vec<VertexRef>,
    /// Milliseconds since the Unix epoch; never falls from one commit to the next.
    pub timestamp_ms: u64,
}

impl Commit {
    /// `blake3("commit/v1" ‖ chain ‖ borsh(commit))`.
    pub fn digest(&self, chain: &ChainHash) -> Digest {
        Digest::of("commit/v1", &[chain.as_bytes(), &codec::encode(self)])
    }
}

/// A commit with its vertices at hand: what execution gets.
#[derive(Clone, Debug)]
pub struct CommittedVertices {
    /// The commit.
    pub commit: Commit,
    /// Its digest.
    pub digest: Digest,
    /// The vertices, in the order of `commit.vertices`.
    pub vertices: Vec<VerifiedVertex>,
}

fn read_vertices<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<VertexRef>> {
    codec::bounded_vec(reader, 1, COMMIT_VERTICES_MAX)
}
