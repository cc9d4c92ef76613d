//! The committee of an epoch: who may propose, the thresholds, the leaders, genesis, and validity (§2).

use crate::vertex::{
    ATTESTATIONS_MAX, Author, PAYLOAD_BYTES_MAX, Round, SignedHeader, VerifiedVertex, Vertex, VertexHeader, VertexRef,
};
use farthing_core::genesis::{Genesis, VALIDATORS_MAX};
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::PublicKey;
use farthing_core::signature::{self, SignatureError};

/// Rounds of a wave: a leader at round r is voted for at r + 1 and certified at r + 2, and the earliest anchor that may decide
/// it indirectly is a leader at r + `WAVE_LENGTH`.
pub const WAVE_LENGTH: u64 = 3;

/// How many rounds below the last committed leader the DAG keeps.
pub const GC_DEPTH: u64 = 60;

/// The validators of one epoch and everything that follows from them alone. The same at every node.
#[derive(Clone, Debug)]
pub struct Committee {
    chain: ChainHash,
    epoch: u64,
    keys: Vec<PublicKey>,
    /// The digest and timestamp of the commit before the epoch's first one.
    previous: Digest,
    genesis_timestamp_ms: u64,
    genesis: Vec<VertexRef>,
    leader_order: Vec<Author>,
    gc_depth: u64,
}

/// Why a vertex or a header is not valid. The sender broke the protocol: drop it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VertexError {
    /// V1: the vertex belongs to another epoch.
    #[error("the vertex is of epoch {found}, this is epoch {expected}")]
    WrongEpoch {
        /// The epoch in the header.
        found: u64,
        /// The committee's.
        expected: u64,
    },
    /// V1: no validator has this number.
    #[error("there is no validator {0}")]
    UnknownAuthor(Author),
    /// V1: rounds of vertices start at 1.
    #[error("the vertex is of round 0, which only genesis has")]
    RoundZero,
    /// V1: the signature does not hold.
    #[error("bad signature of the vertex: {0}")]
    BadSignature(#[from] SignatureError),
    /// V1: the payload is not the one that was signed.
    #[error("the payload does not match its digest in the header")]
    PayloadMismatch,
    /// V2 to V4: the parents break a rule.
    #[error("bad parents: {0}")]
    BadParents(&'static str),
    /// V5: too large.
    #[error("{what}: {actual}, at most {max} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        actual: usize,
        /// How much there may be.
        max: usize,
    },
}

impl Committee {
    /// The committee of epoch 0.
    pub fn from_genesis(genesis: &Genesis) -> Committee {
        let keys = genesis.validators().iter().map(|validator| validator.public_key).collect();
        let chain = genesis.chain_hash();
        Committee::new(chain, 0, keys, chain, genesis.timestamp_ms())
    }

    /// The committee of any epoch.
    ///
    /// `previous` and `timestamp_ms` are the digest and timestamp of the previous epoch's final commit; for epoch 0, the chain
    /// hash (the genesis document stands for commit 0) and the genesis document's timestamp.
    ///
    /// # Panics
    /// If there are no keys or more than [`VALIDATORS_MAX`]: genesis and epoch documents are validated before.
    pub fn new(chain: ChainHash, epoch: u64, keys: Vec<PublicKey>, previous: Digest, timestamp_ms: u64) -> Committee {
        assert!((1..=VALIDATORS_MAX).contains(&keys.len()), "a committee has 1 to {VALIDATORS_MAX} members");
        let authors = 0..keys.len() as Author;
        let scope = [chain.as_bytes().as_slice(), &epoch.to_le_bytes()];
        let genesis = authors
            .clone()
            .map(|author| {
                let parts = [scope[0], scope[1], previous.as_bytes(), &author.to_le_bytes()];
                VertexRef { round: 0, author, digest: Digest::of("genesis", &parts) }
            })
            .collect();
        let mut leader_order: Vec<Author> = authors.collect();
        leader_order
            .sort_by_key(|author| (Digest::of("leader/v1", &[scope[0], scope[1], &author.to_le_bytes()]), *author));
        Committee {
            chain,
            epoch,
            keys,
            previous,
            genesis_timestamp_ms: timestamp_ms,
            genesis,
            leader_order,
            gc_depth: GC_DEPTH,
        }
    }

    /// The same committee with another depth of garbage collection, which is consensus-critical: for tests.
    ///
    /// # Panics
    /// If `depth` is 0: a leader's parents, one round below it, must still be there when it is sequenced.
    pub fn with_gc_depth(mut self, depth: u64) -> Committee {
        assert!(depth >= 1, "the depth of garbage collection is at least one round");
        self.gc_depth = depth;
        self
    }

    /// How many validators there are: n.
    pub fn size(&self) -> usize {
        self.keys.len()
    }

    /// All authors, ascending.
    pub fn authors(&self) -> impl Iterator<Item = Author> + use<> {
        0..self.keys.len() as Author
    }

    /// How many of them may be Byzantine: f = ⌊(n − 1) / 3⌋.
    pub fn faulty_max(&self) -> usize {
        (self.size() - 1) / 3
    }

    /// How many distinct authors make a quorum: q = n − f. Any two quorums share an honest author.
    pub fn quorum(&self) -> usize {
        self.size() - self.faulty_max()
    }

    /// How many distinct authors include an honest one: f + 1.
    pub fn validity_threshold(&self) -> usize {
        self.faulty_max() + 1
    }

    /// The leader of a round (§5): round-robin in a shuffled order, no reputation.
    pub fn leader(&self, round: Round) -> Author {
        self.leader_order[(round % self.size() as u64) as usize]
    }

    /// The network.
    pub fn chain(&self) -> &ChainHash {
        &self.chain
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A validator's key; `None` if there is no such validator.
    pub fn key(&self, author: Author) -> Option<&PublicKey> {
        self.keys.get(usize::from(author))
    }

    /// The digest that the epoch's first commit names as its previous one.
    pub fn previous_commit(&self) -> Digest {
        self.previous
    }

    /// The timestamp of all genesis vertices, in milliseconds since the Unix epoch.
    pub fn genesis_timestamp_ms(&self) -> u64 {
        self.genesis_timestamp_ms
    }

    /// An author's genesis vertex.
    ///
    /// # Panics
    /// If there is no such author.
    pub fn genesis_ref(&self, author: Author) -> VertexRef {
        self.genesis[usize::from(author)]
    }

    /// How many rounds below the last committed leader the DAG keeps.
    pub fn gc_depth(&self) -> u64 {
        self.gc_depth
    }

    /// The highest collected round once a leader of `leader_round` is committed (§8).
    pub fn gc_round(&self, leader_round: Round) -> Round {
        leader_round.saturating_sub(self.gc_depth)
    }

    /// Validity, V1 to V5. Pure and the same at every node; any thread may call it.
    ///
    /// # Errors
    /// [`VertexError`] names the rule. The cheap rules are checked first, the signature last.
    pub fn verify(&self, vertex: Vertex) -> Result<VerifiedVertex, VertexError> {
        let payload_bytes = vertex.payload.len();
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(VertexError::TooMany { what: "payload bytes", actual: payload_bytes, max: PAYLOAD_BYTES_MAX });
        }
        let header = &vertex.signed.header;
        self.check_parents(header)?;
        if header.payload_digest != Digest::of_bytes(&vertex.payload) {
            return Err(VertexError::PayloadMismatch);
        }
        self.verify_header(&vertex.signed)?;
        Ok(VerifiedVertex::from_checked(vertex))
    }

    /// V1 without the payload, which is all that a vote needs: right epoch, known author, round, signature.
    ///
    /// # Errors
    /// [`VertexError`] names the rule.
    pub fn verify_header(&self, signed: &SignedHeader) -> Result<(), VertexError> {
        let key = self.check_author(&signed.header)?;
        signature::verify(key, &signed.signature, &signed.header.signing_digest(&self.chain))?;
        Ok(())
    }

    /// V2 to V5: all of validity that the header alone shows, but the signature.
    ///
    /// # Errors
    /// [`VertexError`] names the rule.
    pub fn check_parents(&self, header: &VertexHeader) -> Result<(), VertexError> {
        self.check_author(header)?;
        let attestations = header.attestations.len();
        if attestations > ATTESTATIONS_MAX {
            return Err(VertexError::TooMany { what: "attestations", actual: attestations, max: ATTESTATIONS_MAX });
        }
        let bad = |rule| Err(VertexError::BadParents(rule));
        let Some((own, others)) = header.parents.split_first() else {
            return bad("there are none");
        };
        if own.author != header.author {
            return bad("the first is not of the vertex's author");
        }
        if others.iter().any(|parent| parent.author == header.author) {
            return bad("two are of the vertex's author");
        }
        if !others.is_sorted_by(|a, b| a.author < b.author) {
            return bad("they do not ascend strictly by author");
        }
        for parent in &header.parents {
            if usize::from(parent.author) >= self.size() {
                return bad("one is of an unknown author");
            }
            if parent.round >= header.round {
                return bad("one is not of an earlier round");
            }
            if parent.round == 0 && *parent != self.genesis_ref(parent.author) {
                return bad("one is of round 0 but not genesis");
            }
        }
        // By V2 and V3 each parent has an author of its own.
        if header.parents.iter().filter(|parent| parent.round + 1 == header.round).count() < self.quorum() {
            return bad("fewer than a quorum are of the round before");
        }
        Ok(())
    }

    fn check_author(&self, header: &VertexHeader) -> Result<&PublicKey, VertexError> {
        if header.epoch != self.epoch {
            return Err(VertexError::WrongEpoch { found: header.epoch, expected: self.epoch });
        }
        if header.round == 0 {
            return Err(VertexError::RoundZero);
        }
        self.key(header.author).ok_or(VertexError::UnknownAuthor(header.author))
    }
}
