//! The accepted vertices above the gc round, with what the decision rule asks of each (§6) and the flags of sequencing (§7).
//!
//! After a start from a snapshot the vertices of earlier commits are not here. Those flagged below the leader of the newest commit
//! count as accepted all the same: nobody looks at them again, since slots up to that leader's are decided, and of lower rounds the
//! next leader's timestamp takes nothing. That leader itself is fetched like any parent: its timestamp may be needed.

use crate::committee::Committee;
use crate::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::hash::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The DAG. Closed under parents above [`Dag::gc_round`]: a vertex enters only once all of those are in.
pub struct Dag {
    committee: Arc<Committee>,
    vertices: BTreeMap<VertexRef, Node>,
    /// Flagged committed; above the gc round. May name vertices that are not in `vertices`: while a restart loads them, and after a
    /// start from a snapshot.
    committed: BTreeSet<VertexRef>,
    /// What is flagged below this round counts as accepted: the round of the newest commit's leader at the start.
    flags_suffice_below: Round,
    /// Those of `vertices` that carry payload and are not committed.
    uncommitted_payloads: BTreeSet<VertexRef>,
    /// The certified leader of each slot: by §6 there is at most one.
    certified: BTreeMap<Round, VertexRef>,
    /// By author, the highest accepted round, collected ones included.
    highest: Vec<Round>,
    /// By author, the vertex of that round, once it is collected.
    collected_latest: Vec<Option<SignedHeader>>,
    equivocators: BTreeSet<Author>,
    gc_round: Round,
}

/// An accepted vertex and what follows from its parents. Computed once, at acceptance: none of it changes afterwards.
struct Node {
    vertex: VerifiedVertex,
    /// The leader vertex of the round before among its parents. At most one, by V3.
    vote: Option<VertexRef>,
    /// The leader vertex two rounds before for which a quorum of its parents vote. At most one: a quorum is a majority.
    certificate: Option<VertexRef>,
    /// The first accepted at its slot.
    first: bool,
}

impl Dag {
    /// An empty DAG above the gc round that the last committed leader's round leads to; 0 if there is none.
    pub fn new(committee: Arc<Committee>, last_leader_round: Round) -> Dag {
        let gc_round = committee.gc_round(last_leader_round);
        let highest = vec![0; committee.size()];
        let collected_latest = vec![None; committee.size()];
        Dag {
            committee,
            vertices: BTreeMap::new(),
            committed: BTreeSet::new(),
            flags_suffice_below: last_leader_round,
            uncommitted_payloads: BTreeSet::new(),
            certified: BTreeMap::new(),
            highest,
            collected_latest,
            equivocators: BTreeSet::new(),
            gc_round,
        }
    }

    /// Accepts a vertex, none of whose parents is missing.
    ///
    /// # Panics
    /// If that is not so, if the vertex is here already or at or below the gc round, or if it certifies a second leader at one slot,
    /// which takes more than f Byzantine validators.
    pub fn insert(&mut self, vertex: VerifiedVertex) {
        let reference = vertex.reference();
        assert!(reference.round > self.gc_round, "a collected vertex was accepted: {reference:?}");
        assert!(
            !vertex.header().parents.iter().any(|parent| self.is_missing(parent)),
            "{reference:?} was accepted before its parents"
        );
        let vote = self.find_vote(&vertex);
        let certificate = self.find_certificate(&vertex);
        if let Some(leader) = certificate {
            let certified = *self.certified.entry(leader.round).or_insert(leader);
            assert!(
                certified == leader,
                "HALT: two certified leaders in round {}: {certified:?} and {leader:?}. More than f = {} validators are \
                 Byzantine; agreement cannot be kept. Do not restart: compare the ledgers of the validators first.",
                leader.round,
                self.committee.faulty_max()
            );
        }
        let first = self.at_slot(reference.round, reference.author).next().is_none();
        if !first {
            self.equivocators.insert(reference.author);
        }
        if !vertex.payload().is_empty() && !self.committed.contains(&reference) {
            self.uncommitted_payloads.insert(reference);
        }
        let highest = &mut self.highest[usize::from(reference.author)];
        *highest = reference.round.max(*highest);
        let known = self.vertices.insert(reference, Node { vertex, vote, certificate, first });
        assert!(known.is_none(), "{reference:?} was accepted twice");
    }

    /// Flags a vertex as committed. It may enter later.
    pub fn flag_committed(&mut self, reference: VertexRef) {
        if reference.round > self.gc_round {
            self.committed.insert(reference);
            self.uncommitted_payloads.remove(&reference);
        }
    }

    /// Raises the gc round and returns the vertices collected by it that were never committed.
    pub fn collect(&mut self, gc_round: Round) -> Vec<VerifiedVertex> {
        assert!(gc_round >= self.gc_round, "the gc round fell from {} to {gc_round}", self.gc_round);
        self.gc_round = gc_round;
        let boundary = first_of(gc_round + 1);
        let kept = self.vertices.split_off(&boundary);
        let collected = std::mem::replace(&mut self.vertices, kept);
        let committed_kept = self.committed.split_off(&boundary);
        let committed = std::mem::replace(&mut self.committed, committed_kept);
        self.uncommitted_payloads = self.uncommitted_payloads.split_off(&boundary);
        self.certified = self.certified.split_off(&(gc_round + 1));
        for (reference, node) in &collected {
            let author = usize::from(reference.author);
            if reference.round == self.highest[author] {
                self.collected_latest[author] = Some(node.vertex.signed_header().clone());
            }
        }
        collected
            .into_iter()
            .filter(|(reference, _)| !committed.contains(reference))
            .map(|(_, node)| node.vertex)
            .collect()
    }

    /// Remembers that an author signed two vertices for one slot. Returns whether that is news.
    pub fn mark_equivocator(&mut self, author: Author) -> bool {
        self.equivocators.insert(author)
    }

    /// Whether an author is known to have equivocated.
    pub fn is_equivocator(&self, author: Author) -> bool {
        self.equivocators.contains(&author)
    }

    /// The authors known to have equivocated.
    pub fn equivocators(&self) -> impl Iterator<Item = Author> + '_ {
        self.equivocators.iter().copied()
    }

    /// The highest collected round.
    pub fn gc_round(&self) -> Round {
        self.gc_round
    }

    /// The number of vertices.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether a vertex is accepted and not collected.
    pub fn contains(&self, reference: &VertexRef) -> bool {
        self.vertices.contains_key(reference)
    }

    /// An accepted vertex.
    pub fn get(&self, reference: &VertexRef) -> Option<&VerifiedVertex> {
        self.vertices.get(reference).map(|node| &node.vertex)
    }

    /// The parents of `vertex` that neither are nor count as accepted, and are not collected.
    pub fn missing_parents(&self, vertex: &VerifiedVertex) -> Vec<VertexRef> {
        vertex.header().parents.iter().filter(|parent| self.is_missing(parent)).copied().collect()
    }

    /// Above which round own ancestors of a missing vertex are likely to be missing, too: of most authors above the highest round
    /// accepted; of one that keeps another chain than the one known, all of it.
    pub fn ancestry_floor(&self, missing: &VertexRef) -> Round {
        let highest = self.highest_of(missing.author);
        if highest < missing.round && !self.is_equivocator(missing.author) { highest } else { self.gc_round }
    }

    /// Whether a vertex is flagged committed.
    pub fn is_committed(&self, reference: &VertexRef) -> bool {
        self.committed.contains(reference)
    }

    /// Whether any accepted vertex above the gc round carries payload and is not committed.
    pub fn has_uncommitted_payload(&self) -> bool {
        !self.uncommitted_payloads.is_empty()
    }

    /// The accepted vertices at a slot, by digest.
    pub fn at_slot(&self, round: Round, author: Author) -> impl Iterator<Item = VertexRef> + '_ {
        let from = VertexRef { round, author, digest: Digest::ZERO };
        let to = VertexRef { round, author, digest: Digest([0xff; 32]) };
        self.vertices.range(from..=to).map(|(reference, _)| *reference)
    }

    /// The vertex accepted first at a slot.
    pub fn first_at_slot(&self, round: Round, author: Author) -> Option<VertexRef> {
        self.at_slot(round, author).find(|reference| self.vertices[reference].first)
    }

    /// The accepted vertices of a round, ascending by author.
    pub fn at_round(&self, round: Round) -> impl Iterator<Item = VertexRef> + '_ {
        self.vertices.range(first_of(round)..first_of(round + 1)).map(|(reference, _)| *reference)
    }

    /// All accepted vertices from a round on, ascending.
    pub fn vertices_from(&self, round: Round) -> impl Iterator<Item = &VerifiedVertex> + '_ {
        self.vertices.range(first_of(round)..).map(|(_, node)| &node.vertex)
    }

    /// How many authors have an accepted vertex at a round. In round 0 all have.
    pub fn authors_at(&self, round: Round) -> usize {
        if round == 0 { self.committee.size() } else { self.count_authors(self.at_round(round)) }
    }

    /// How many distinct authors there are among vertices of one round that come ascending by author.
    pub fn count_authors(&self, references: impl Iterator<Item = VertexRef>) -> usize {
        let mut last = None;
        references.filter(|reference| last.replace(reference.author) != Some(reference.author)).count()
    }

    /// The highest round at which a vertex of the author was accepted, 0 if none was.
    pub fn highest_of(&self, author: Author) -> Round {
        self.highest[usize::from(author)]
    }

    /// The author's vertex of that round, if one was accepted.
    pub fn latest_of(&self, author: Author) -> Option<&SignedHeader> {
        let held = self.first_at_slot(self.highest_of(author), author).and_then(|reference| self.get(&reference));
        held.map(VerifiedVertex::signed_header).or(self.collected_latest[usize::from(author)].as_ref())
    }

    /// The highest round at which any vertex was accepted.
    pub fn highest_round(&self) -> Round {
        self.highest.iter().copied().max().unwrap_or(0)
    }

    /// The leader vertex of the round before that an accepted vertex votes for.
    pub fn vote_of(&self, reference: &VertexRef) -> Option<VertexRef> {
        self.vertices[reference].vote
    }

    /// The leader vertex two rounds before that an accepted vertex is a certificate for.
    pub fn certificate_of(&self, reference: &VertexRef) -> Option<VertexRef> {
        self.vertices[reference].certificate
    }

    fn is_missing(&self, reference: &VertexRef) -> bool {
        let suffices = reference.round < self.flags_suffice_below && self.is_committed(reference);
        reference.round > self.gc_round && !self.contains(reference) && !suffices
    }

    fn find_vote(&self, vertex: &VerifiedVertex) -> Option<VertexRef> {
        let slot_round = vertex.round() - 1;
        let leader = self.committee.leader(slot_round);
        let is_vote = |parent: &&VertexRef| slot_round > 0 && parent.round == slot_round && parent.author == leader;
        vertex.header().parents.iter().find(is_vote).copied()
    }

    /// Counts parents, which by V3 is counting authors. Parents that are collected vote for collected slots, which are decided.
    fn find_certificate(&self, vertex: &VerifiedVertex) -> Option<VertexRef> {
        let mut votes: BTreeMap<VertexRef, usize> = BTreeMap::new();
        for parent in &vertex.header().parents {
            if parent.round + 1 == vertex.round()
                && let Some(leader) = self.vertices.get(parent).and_then(|node| node.vote)
            {
                *votes.entry(leader).or_default() += 1;
            }
        }
        votes.into_iter().find(|(_, count)| *count >= self.committee.quorum()).map(|(leader, _)| leader)
    }
}

/// The lowest reference that a round can have.
fn first_of(round: Round) -> VertexRef {
    VertexRef { round, author: 0, digest: Digest::ZERO }
}
