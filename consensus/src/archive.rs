//! How a node answers its peers from what it has stored: pure functions over a trait.

use crate::commit::Commit;
use crate::committee::Committee;
use crate::message::{ANSWER_BYTES_MAX, FETCH_COMMITS_MAX, FETCH_VERTICES_MAX, Message, VOTES_MAX};
use crate::vertex::{Author, Round, SignedHeader, VerifiedVertex, Vertex, VertexRef};
use farthing_core::codec;
use farthing_core::hash::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Keep, and serve, every accepted vertex above the gc round of the commit this many before the newest one: a validator that
/// lags may need what the others have collected from memory (§8).
pub const RETAINED_COMMITS: u64 = 600;

/// A vote for a commit stands in vertices of the commits soon after it: look for votes this many commits around it.
const VOTE_SEARCH_COMMITS: u64 = 8;

/// What a node has stored of consensus.
pub trait Archive {
    /// A stored vertex.
    fn vertex(&self, reference: &VertexRef) -> Option<VerifiedVertex>;

    /// The signed header of a stored vertex, without the cost of its payload.
    fn header(&self, reference: &VertexRef) -> Option<SignedHeader>;

    /// A stored commit.
    fn commit(&self, index: u64) -> Option<Commit>;

    /// The digest of a stored commit.
    fn commit_digest(&self, index: u64) -> Option<Digest>;

    /// The index of the newest stored commit, 0 if there is none.
    fn newest_commit(&self) -> u64;

    /// The lowest index whose commit is kept, or will be once it is made, with all its vertices. 1 if nothing was ever removed.
    fn oldest_commit(&self) -> u64;

    /// Signed headers of vertices accepted lately but not committed yet, in any order: [`crate::engine::Engine::recent_votes`],
    /// or what the node remembers of them. They vouch for the newest commits.
    fn recent_votes(&self) -> Vec<SignedHeader>;
}

/// Answers [`Message::FetchVertices`] with what is stored, in the order asked for, up to [`ANSWER_BYTES_MAX`].
///
/// Then come the own parents of those, and theirs in turn, as far as they are above `above_round` and there is room: what one author
/// kept back for many rounds is not fetched one round trip a round.
pub fn answer_fetch_vertices(archive: &dyn Archive, refs: &[VertexRef], above_round: Round) -> Message {
    let mut vertices: Vec<Vertex> = Vec::new();
    let mut bytes = 0;
    let asked = &refs[..refs.len().min(FETCH_VERTICES_MAX)];
    let mut add = |reference: &VertexRef| {
        if bytes < ANSWER_BYTES_MAX
            && vertices.len() < FETCH_VERTICES_MAX
            && let Some(vertex) = archive.vertex(reference)
        {
            bytes += vertex.encoded_len();
            vertices.push(vertex.vertex().clone());
            return Some(vertex);
        }
        None
    };
    let found: Vec<VerifiedVertex> = asked.iter().filter_map(&mut add).collect();
    let own_parent = |vertex: &VerifiedVertex| vertex.header().parents.first().copied();
    let mut known: BTreeSet<VertexRef> = asked.iter().copied().collect();
    for vertex in found {
        let mut next = own_parent(&vertex);
        while let Some(parent) = next.filter(|parent| parent.round > above_round && known.insert(*parent)) {
            next = add(&parent).as_ref().and_then(own_parent);
        }
    }
    Message::Vertices { vertices }
}

/// Answers [`Message::FetchCommits`] with consecutive commits from `from_index` on, up to [`FETCH_COMMITS_MAX`] or
/// [`ANSWER_BYTES_MAX`], and with each author's vote for the highest of them that is known.
///
/// A vote is worth most when it is for the last commit shown, since it covers all before it; votes for commits after that are
/// worth nothing to the receiver, who cannot see that they belong to the same chain. Below the oldest commit that is kept with its
/// vertices single ones may be left, without: whoever began with them could never get on.
pub fn answer_fetch_commits(archive: &dyn Archive, committee: &Committee, from_index: u64) -> Message {
    let oldest_index = archive.oldest_commit();
    let mut commits: Vec<Commit> = Vec::new();
    let mut bytes = 0;
    for index in from_index..from_index.saturating_add(FETCH_COMMITS_MAX as u64) {
        if bytes >= ANSWER_BYTES_MAX || index < oldest_index.max(1) {
            break;
        }
        let Some(commit) = archive.commit(index) else { break };
        bytes += codec::encode(&commit).len();
        commits.push(commit);
    }
    let votes = match commits.last() {
        Some(last) => votes_for(archive, from_index, last.index, committee.validity_threshold()),
        None => Vec::new(),
    };
    Message::Commits { commits, votes, oldest_index }
}

/// For each author its signed vote for the highest commit of `from..=last`: from the vertices of the commits soon after `last`,
/// where the best ones are; near the newest commit also from the vertices not committed yet, and from the commits up to `last`.
/// The search ends early once `enough` authors vote for `last` itself: no vote is better, and so many certify all of it.
fn votes_for(archive: &dyn Archive, from: u64, last: u64, enough: usize) -> Vec<SignedHeader> {
    let mut best: BTreeMap<Author, (u64, SignedHeader)> = BTreeMap::new();
    let consider = |best: &mut BTreeMap<Author, (u64, SignedHeader)>, signed: &SignedHeader| {
        let Some((index, digest)) = signed.header.commit_vote else { return };
        let better = best.get(&signed.header.author).is_none_or(|(known, _)| *known < index);
        if (from..=last).contains(&index) && better && archive.commit_digest(index) == Some(digest) {
            best.insert(signed.header.author, (index, signed.clone()));
        }
    };
    let newest = archive.newest_commit();
    let near_the_newest = last.saturating_add(VOTE_SEARCH_COMMITS) > newest;
    let start = if near_the_newest { last.saturating_sub(VOTE_SEARCH_COMMITS).max(from) } else { last + 1 };
    if near_the_newest {
        archive.recent_votes().iter().for_each(|signed| consider(&mut best, signed));
    }
    for index in start..=last.saturating_add(VOTE_SEARCH_COMMITS).min(newest) {
        for reference in archive.commit(index).map(|commit| commit.vertices).unwrap_or_default() {
            if best.values().filter(|(index, _)| *index == last).count() >= enough {
                break;
            }
            if let Some(signed) = archive.header(&reference) {
                consider(&mut best, &signed);
            }
        }
    }
    best.into_values().take(VOTES_MAX).map(|(_, signed)| signed).collect()
}
