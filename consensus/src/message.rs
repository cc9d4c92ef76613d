//! What validators (and full nodes) say to one another, and how a node answers requests from what it has stored.

use crate::commit::Commit;
use crate::vertex::{Round, SignedHeader, Vertex, VertexRef};
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::codec;

/// The most references in one fetch, and vertices in its answer.
pub const FETCH_VERTICES_MAX: usize = 32;

/// The most commits in one answer.
pub const FETCH_COMMITS_MAX: usize = 64;

/// The most vote headers in one answer: one an author.
pub const VOTES_MAX: usize = farthing_core::genesis::VALIDATORS_MAX;

/// The most bytes of an encoded message. An answer holds [`ANSWER_BYTES_MAX`] of vertices or commits, and the one that crosses it.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Answers stop growing once their vertices or commits take this many bytes.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A message on a stream between two nodes. The frame around it bounds its bytes: [`MESSAGE_BYTES_MAX`].
// Most messages are vertices, so boxing the large variant would only cost.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// One of the sender's own vertices, pushed to those that subscribed.
    Vertex(Vertex),
    /// Asks for the receiver's own vertices from this round on, the stored ones and then each new one.
    Subscribe {
        /// The first round wanted.
        from_round: Round,
    },
    /// Asks for vertices by reference. The answer is [`Message::Vertices`] with those that the receiver has.
    FetchVertices {
        /// At most [`FETCH_VERTICES_MAX`].
        #[borsh(deserialize_with = "read_refs")]
        refs: Vec<VertexRef>,
        /// What room the answer has left goes to the own parents of these vertices, and theirs in turn, above this round.
        above_round: Round,
    },
    /// Answers [`Message::FetchVertices`]; what is missing in it the sender does not have, or did not fit the bound of bytes.
    Vertices {
        /// At most [`FETCH_VERTICES_MAX`]: those asked for first, then ancestors of theirs that were not asked for.
        #[borsh(deserialize_with = "read_vertices")]
        vertices: Vec<Vertex>,
    },
    /// Asks for commits from an index on. The answer is [`Message::Commits`].
    FetchCommits {
        /// The first index wanted, at least 1.
        from_index: u64,
    },
    /// Answers [`Message::FetchCommits`]: consecutive commits, and headers whose `commit_vote` vouches for them. Empty if the sender does
    /// not have the first one asked for.
    Commits {
        /// At most [`FETCH_COMMITS_MAX`].
        #[borsh(deserialize_with = "read_commits")]
        commits: Vec<Commit>,
        /// For each author at most one: its signed vote for the highest commit among `commits`.
        #[borsh(deserialize_with = "read_votes")]
        votes: Vec<SignedHeader>,
        /// The lowest index whose commit the sender keeps with all its vertices (it may not have made it yet).
        oldest_index: u64,
    },
    /// Asks what the receiver signed last, and what it holds of the sender's (§10). The answer is [`Message::Latest`].
    FetchLatest,
    /// Answers [`Message::FetchLatest`].
    Latest {
        /// The sender's own latest vertex, as far as it is durable; `None` is genesis.
        own: Option<Box<SignedHeader>>,
        /// The vertex of the highest round that the sender holds of the receiver's; `None` if it holds none.
        yours: Option<Box<SignedHeader>>,
    },
}

fn read_refs<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<VertexRef>> {
    codec::bounded_vec(reader, 1, FETCH_VERTICES_MAX)
}

fn read_vertices<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Vertex>> {
    codec::bounded_vec(reader, 0, FETCH_VERTICES_MAX)
}

fn read_commits<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Commit>> {
    codec::bounded_vec(reader, 0, FETCH_COMMITS_MAX)
}

fn read_votes<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<SignedHeader>> {
    codec::bounded_vec(reader, 0, VOTES_MAX)
}
