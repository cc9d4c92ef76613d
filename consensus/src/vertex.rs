//! Vertices: the one message of consensus.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use farthing_core::certificate::Attestation;
use farthing_core::codec;
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::{SecretKey, Signature};
use std::sync::Arc;

/// A validator's number: its index in the genesis document.
pub type Author = u16;

/// A round of the DAG; genesis vertices are in round 0.
pub type Round = u64;

/// The most payload bytes of a vertex.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The most attestations in a vertex.
pub const ATTESTATIONS_MAX: usize = 16;

/// A reference that fixes a vertex byte for byte. Ordered by round, author, digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, BorshSerialize, BorshDeserialize)]
pub struct VertexRef {
    /// The vertex's round.
    pub round: Round,
    /// The vertex's author.
    pub author: Author,
    /// `blake3(borsh(header) ‖ signature)`.
    pub digest: Digest,
}

/// The signed part of a vertex.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct VertexHeader {
    /// The epoch of the committee.
    pub epoch: u64,
    /// At least 1; round 0 is genesis, which is not sent.
    pub round: Round,
    /// Who proposes it.
    pub author: Author,
    /// The author's wall clock in milliseconds since the Unix epoch. A hint: see the median of sequencing.
    pub timestamp_ms: u64,
    /// The author's own last vertex first, then ascending by author.
    #[borsh(deserialize_with = "read_parents")]
    pub parents: Vec<VertexRef>,
    /// `blake3(payload)`.
    pub payload_digest: Digest,
    /// Index and digest of the author's newest commit.
    pub commit_vote: Option<(u64, Digest)>,
    /// The blocks that the author executed since its last vertex, ascending; the oldest first if there are too many.
    #[borsh(deserialize_with = "read_attestations")]
    pub attestations: Vec<Attestation>,
}

/// A header with its signature: what a vote needs, and what evidence is made of.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct SignedHeader {
    /// The header.
    pub header: VertexHeader,
    /// Over `blake3("vertex/v1" ‖ chain ‖ borsh(header))`.
    pub signature: Signature,
}

/// A vertex as it travels. Nothing in it is checked yet: see [`VerifiedVertex`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vertex {
    /// Header and signature.
    pub signed: SignedHeader,
    /// Opaque bytes; the ledger's transactions. Shared, never copied.
    pub payload: Bytes,
}

/// A vertex that passed validity (V1 to V5). Made by [`crate::committee::Committee::verify`], by [`VerifiedVertex::sign`], or
/// from own storage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VerifiedVertex(Arc<(VertexRef, Vertex)>);

impl SignedHeader {
    /// The reference of the vertex with this header and signature.
    pub fn reference(&self) -> VertexRef {
        let digest = Digest::of("", &[&codec::encode(&self.header), &self.signature.0]);
        VertexRef { round: self.header.round, author: self.header.author, digest }
    }
}

impl VertexHeader {
    /// What the author signs.
    pub fn signing_digest(&self, chain: &ChainHash) -> Digest {
        Digest::of("vertex/v1", &[chain.as_bytes(), &codec::encode(self)])
    }
}

impl VerifiedVertex {
    /// Signs an own vertex.
    pub fn sign(header: VertexHeader, payload: Bytes, chain: &ChainHash, key: &SecretKey) -> VerifiedVertex {
        let signature = key.sign(&header.signing_digest(chain));
        VerifiedVertex::from_checked(Vertex { signed: SignedHeader { header, signature }, payload })
    }

    /// Takes a vertex from this node's own storage, where only verified ones are written.
    pub fn from_own_storage(vertex: Vertex) -> VerifiedVertex {
        VerifiedVertex::from_checked(vertex)
    }

    /// Takes a vertex that passed validity.
    pub(crate) fn from_checked(vertex: Vertex) -> VerifiedVertex {
        VerifiedVertex(Arc::new((vertex.signed.reference(), vertex)))
    }

    /// The vertex's reference.
    pub fn reference(&self) -> VertexRef {
        self.0.0
    }

    /// The header.
    pub fn header(&self) -> &VertexHeader {
        &self.0.1.signed.header
    }

    /// The header with its signature.
    pub fn signed_header(&self) -> &SignedHeader {
        &self.0.1.signed
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.0.1.payload
    }

    /// The vertex as it travels.
    pub fn vertex(&self) -> &Vertex {
        &self.0.1
    }

    /// How many bytes the vertex takes as it travels.
    pub fn encoded_len(&self) -> usize {
        let header = borsh::object_length(self.signed_header()).expect("counting bytes cannot fail");
        header + 4 + self.payload().len()
    }

    /// The round.
    pub fn round(&self) -> Round {
        self.header().round
    }

    /// The author.
    pub fn author(&self) -> Author {
        self.header().author
    }
}

impl PartialEq for VerifiedVertex {
    fn eq(&self, other: &VerifiedVertex) -> bool {
        self.reference() == other.reference()
    }
}

impl Eq for VerifiedVertex {}

impl BorshSerialize for Vertex {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.signed.serialize(writer)?;
        (self.payload.len() as u32).serialize(writer)?;
        writer.write_all(&self.payload)
    }
}

impl BorshDeserialize for Vertex {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vertex> {
        let signed = SignedHeader::deserialize_reader(reader)?;
        let length = u32::deserialize_reader(reader)? as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(codec::malformed(format!("a payload of {length} bytes")));
        }
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload)?;
        Ok(Vertex { signed, payload: payload.into() })
    }
}

fn read_parents<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<VertexRef>> {
    codec::bounded_vec(reader, 1, farthing_core::genesis::VALIDATORS_MAX)
}

fn read_attestations<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Attestation>> {
    codec::bounded_vec(reader, 0, ATTESTATIONS_MAX)
}
