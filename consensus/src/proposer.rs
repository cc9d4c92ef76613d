//! Making own vertices (§4): parents, the newest commit's vote, attestations, the signature.

use crate::committee::Committee;
use crate::dag::Dag;
use crate::vertex::{Author, Round, VerifiedVertex, VertexHeader, VertexRef};
use bytes::Bytes;
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use std::sync::Arc;

/// Signs for one validator.
pub struct Proposer {
    committee: Arc<Committee>,
    author: Author,
    key: SecretKey,
    /// The last own vertex, or genesis.
    last: VertexRef,
    /// By author, the highest round of it that an own vertex references.
    referenced: Vec<Round>,
}

/// What a vertex says besides its parents.
pub struct Content {
    /// The payload.
    pub payload: Bytes,
    /// Our newest commit.
    pub commit_vote: Option<(u64, Digest)>,
    /// Our attestations, at most [`crate::vertex::ATTESTATIONS_MAX`].
    pub attestations: Vec<Attestation>,
    /// The wall clock.
    pub timestamp_ms: u64,
}

impl Proposer {
    /// A proposer that goes on after the last signed vertex. `dag` shows what the own vertices in it reference.
    ///
    /// # Panics
    /// If the key is not that of the author.
    pub fn new(
        committee: Arc<Committee>,
        author: Author,
        key: SecretKey,
        last_signed: Option<VertexRef>,
        dag: &Dag,
    ) -> Proposer {
        assert!(committee.key(author) == Some(&key.public_key()), "the signing key is not that of validator {author}");
        let mut referenced = vec![0; committee.size()];
        for vertex in dag.vertices_from(1).filter(|vertex| vertex.author() == author) {
            note_references(&mut referenced, vertex);
        }
        let last = last_signed.unwrap_or_else(|| committee.genesis_ref(author));
        Proposer { committee, author, key, last, referenced }
    }

    /// Who it signs for.
    pub fn author(&self) -> Author {
        self.author
    }

    /// An own vertex of an earlier life was accepted: the highest own vertex is the next one's parent.
    pub fn adopt(&mut self, vertex: &VerifiedVertex) {
        assert!(vertex.author() == self.author, "another's vertex was adopted");
        note_references(&mut self.referenced, vertex);
        if vertex.round() > self.last.round {
            self.last = vertex.reference();
        }
    }

    /// Whether a vertex of this round would be valid and accepted: the last own vertex is accepted here or collected, and a quorum of
    /// authors has vertices in the round before. Of the own ones only the last counts (two engines may share a key in fault tests).
    pub fn can_build(&self, dag: &Dag, round: Round) -> bool {
        let has_own = dag.at_slot(round - 1, self.author).next().is_some();
        let uncounted = usize::from(has_own && self.last.round + 1 != round);
        let is_last_linkable = self.last.round <= dag.gc_round() || dag.contains(&self.last);
        is_last_linkable && dag.authors_at(round - 1) - uncounted >= self.committee.quorum()
    }

    /// Signs the vertex of a round, for which a quorum of authors must have accepted vertices in the round before.
    ///
    /// # Panics
    /// If a vertex was signed for this round or a higher one, or the parents do not suffice.
    pub fn sign(&mut self, dag: &Dag, round: Round, content: Content) -> VerifiedVertex {
        assert!(round > self.last.round, "round {round} was already signed: the last is {}", self.last.round);
        let header = VertexHeader {
            epoch: self.committee.epoch(),
            round,
            author: self.author,
            timestamp_ms: content.timestamp_ms,
            parents: self.choose_parents(dag, round),
            payload_digest: Digest::of_bytes(&content.payload),
            commit_vote: content.commit_vote,
            attestations: content.attestations,
        };
        self.committee.check_parents(&header).expect("the engine makes valid vertices");
        let vertex = VerifiedVertex::sign(header, content.payload, self.committee.chain(), &self.key);
        note_references(&mut self.referenced, &vertex);
        self.last = vertex.reference();
        vertex
    }

    /// The own last vertex, then by author the highest accepted vertex below `round` that is above what was referenced before.
    /// Equivocators only as far as a quorum of the round before takes them.
    fn choose_parents(&self, dag: &Dag, round: Round) -> Vec<VertexRef> {
        let others = self.committee.authors().filter(|author| *author != self.author);
        let mut parents = vec![self.last];
        let mut spare = Vec::new();
        for author in others {
            let Some(parent) = self.choose_parent(dag, round, author) else { continue };
            if dag.is_equivocator(author) { spare.push(parent) } else { parents.push(parent) }
        }
        let is_before = |parent: &&VertexRef| parent.round + 1 == round;
        let lacking = self.committee.quorum().saturating_sub(parents.iter().filter(is_before).count());
        parents.extend(spare.iter().filter(is_before).take(lacking));
        parents[1..].sort_by_key(|parent| parent.author);
        parents
    }

    fn choose_parent(&self, dag: &Dag, round: Round, author: Author) -> Option<VertexRef> {
        if round == 1 {
            return Some(self.committee.genesis_ref(author));
        }
        let lowest = self.referenced[usize::from(author)].max(dag.gc_round()) + 1;
        let highest = dag.highest_of(author).min(round - 1);
        (lowest..=highest).rev().find_map(|round| dag.first_at_slot(round, author))
    }
}

fn note_references(referenced: &mut [Round], vertex: &VerifiedVertex) {
    for parent in &vertex.header().parents {
        let highest = &mut referenced[usize::from(parent.author)];
        *highest = parent.round.max(*highest);
    }
}
