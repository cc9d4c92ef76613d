//! What Byzantine validators make up: vertices and frames that are not valid, payloads that are void, chains of commits.

use super::network::Frame;
use super::random::Random;
use bytes::Bytes;
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::message::Message;
use farthing_consensus::vertex::{
    ATTESTATIONS_MAX, Author, SignedHeader, VerifiedVertex, Vertex, VertexHeader, VertexRef,
};
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_node::payload;

/// The order of the curve's group, little-endian: a signature stays an equation if it is added to S.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// How many ways [`mutated`] knows.
pub const MUTATIONS: u64 = 14;

/// A frame that every honest receiver must refuse.
pub fn invalid(vertex: &VerifiedVertex, key: &SecretKey, committee: &Committee, random: &mut Random) -> Frame {
    if random.chance(200_000) {
        let length = random.range(0..=200) as usize;
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.bytes()).take(7).flatten().take(length).collect();
        // A kind that does not exist, so that the rest cannot make sense by chance.
        return Frame::garbage([&[0xff], bytes.as_slice()].concat().into());
    }
    let number = random.range(0..=MUTATIONS - 1);
    Frame::new(Message::Vertex(mutated(vertex, number, key, committee)))
}

/// A vertex that breaks one of the rules V1 to V5, made of one that does not.
pub fn mutated(vertex: &VerifiedVertex, number: u64, key: &SecretKey, committee: &Committee) -> Vertex {
    let mut copy = vertex.vertex().clone();
    let header = &mut copy.signed.header;
    let last = header.parents.len() - 1;
    match number {
        0 => copy.signed.signature.0[3] ^= 1,
        1 => add_group_order(&mut copy.signed.signature.0),
        2 => copy.payload = [copy.payload.as_ref(), &[0]].concat().into(),
        3 => header.epoch += 1,
        4 => header.author = committee.size() as Author,
        5 => header.round = 0,
        6 => header.parents.swap(0, last),
        7 => header.parents[1..].reverse(),
        8 => header.parents.push(header.parents[last]),
        9 => header.parents.truncate(committee.quorum() - 1),
        10 => header.parents[last].round = header.round,
        11 => header.parents[last].author = committee.size() as Author,
        12 => {
            header.parents[0] = VertexRef { round: 0, author: header.author, digest: Digest::of_bytes(b"no genesis") }
        }
        _ => {
            let attestation = Attestation::sign(committee.chain(), 1, Digest::ZERO, key);
            header.attestations = vec![attestation; ATTESTATIONS_MAX + 1];
        }
    }
    if number >= 3 {
        copy.signed.signature = key.sign(&copy.signed.header.signing_digest(committee.chain()));
    }
    copy
}

/// A payload that is void, or executes nothing: garbage, a forged transaction behind good ones, others' transactions under
/// signatures that do not hold, or those of others once more.
pub fn payload(theirs: &[Bytes], pool: &[Bytes], bad: Option<Bytes>, random: &mut Random) -> Bytes {
    let theirs: Vec<&Bytes> = theirs.iter().filter(|payload| !payload.is_empty()).collect();
    let stolen = if theirs.is_empty() { Bytes::new() } else { theirs[random.position(theirs.len())].clone() };
    match random.range(0..=3) {
        0 => {
            let length = random.range(1..=2_000) as usize;
            std::iter::repeat_with(|| random.bytes()).take(63).flatten().take(length).collect()
        }
        1 => pool.iter().take(3).chain(&bad).flat_map(|bytes| bytes.iter().copied()).collect(),
        2 => {
            let Ok(mut transactions) = payload::decode(&stolen) else { return stolen };
            transactions.iter_mut().for_each(|signed| signed.signature.0[random.position(64)] ^= 1);
            transactions.iter().flat_map(|signed| signed.encode()).collect()
        }
        _ => stolen,
    }
}

/// Commits that chain, and the only vote for them that their author can sign, with votes that others signed for something else.
pub fn commits(
    from_index: u64,
    author: Author,
    key: &SecretKey,
    committee: &Committee,
    known: &[VerifiedVertex],
    random: &mut Random,
) -> (Vec<Commit>, Vec<SignedHeader>) {
    let mut previous = Digest(random.bytes());
    let mut commits = Vec::new();
    for index in from_index..from_index.saturating_add(random.range(1..=64)) {
        let leader = VertexRef { round: index.saturating_add(3), author, digest: Digest(random.bytes()) };
        let leader = if known.is_empty() { leader } else { known[random.position(known.len())].reference() };
        let commit = Commit { epoch: 0, index, previous, leader, vertices: vec![leader], timestamp_ms: index };
        previous = commit.digest(committee.chain());
        commits.push(commit);
    }
    let header = VertexHeader {
        epoch: 0,
        round: 1,
        author,
        timestamp_ms: 0,
        parents: vec![committee.genesis_ref(author)],
        payload_digest: Digest::ZERO,
        commit_vote: commits.last().map(|last| (last.index, previous)),
        attestations: Vec::new(),
    };
    let signature = key.sign(&header.signing_digest(committee.chain()));
    // In others' names, with a signature that is not theirs.
    let others = committee.authors().map(|other| VertexHeader { author: other, ..header.clone() });
    let mut votes: Vec<_> = others.map(|header| SignedHeader { header, signature }).collect();
    votes.extend(known.iter().take(committee.size()).map(|vertex| vertex.signed_header().clone()));
    votes.truncate(committee.size());
    (commits, votes)
}

fn add_group_order(signature: &mut [u8; 64]) {
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
    }
}
