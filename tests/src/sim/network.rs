//! The simulated network: connections of two ordered streams each, as the real one has them, over which frames take their time.
//!
//! A frame that is lost breaks its connection, as it does under TCP in the end; both ends learn of it, each at its own time,
//! and connect again. What was under way on a broken connection never arrives. Every message is encoded, and decoded and
//! verified within the bounds of the real network on the other side.

use super::plan::{MS_US, Plan, SECOND_US};
use super::random::Random;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::message::{MESSAGE_BYTES_MAX, Message};
use farthing_consensus::vertex::{VerifiedVertex, Vertex};
use farthing_core::codec;
use farthing_core::hash::Digest;
use farthing_node::network::{Inbound, Outbound, Peer};
use farthing_node::snapshot::SnapshotMessage;
use std::collections::HashMap;
use std::sync::Arc;

/// A node's number. Validators come first, in the order of their authors; a second replica of one comes after them.
pub type NodeId = usize;

/// A link's number.
pub type LinkId = usize;

/// Verified vertices that are remembered, so that each is checked once instead of once by each receiver.
const KNOWN_MAX: usize = 20_000;

/// Two nodes that connect to one another, over and over.
pub struct Link {
    /// The two.
    pub ends: [NodeId; 2],
    /// Whether frames get through.
    pub is_up: bool,
    /// Counts the connections; frames belong to one of them.
    pub epoch: u64,
    /// What each end knows and has under way.
    pub sides: [Side; 2],
    /// Before this no connection is made, since one end broke the protocol.
    pub refused_until_us: u64,
}

/// One end of a link, and the direction that leads from it to the other.
#[derive(Default)]
pub struct Side {
    /// What this end calls the other, while it believes in the connection.
    pub peer: Option<Peer>,
    /// The connection it believes in.
    pub epoch: u64,
    /// The latency of frames from here.
    latency_us: u64,
    /// When the last frame from here arrives, by stream.
    last_arrival_us: [u64; 2],
    /// Frames from here are held up until then.
    pub stalled_until_us: u64,
    /// Requests of this end that wait for an answer: fetches of vertices, of commits, of what is latest, of manifests, of chunks.
    unanswered: [u32; 5],
}

/// All links.
pub struct Network {
    links: Vec<Link>,
    jitter_us: u64,
    spikes_per_million: u32,
    losses_per_million: u32,
    random: Random,
    committee: Arc<Committee>,
    /// By digest of the encoding. Looked up only.
    known: HashMap<Digest, VerifiedVertex>,
}

/// What becomes of a frame.
pub enum Transit {
    /// It arrives at this time.
    Arrives(u64),
    /// It is lost, and the connection with it.
    Lost,
}

impl Network {
    /// A network of these links, nothing connected.
    pub fn new(plan: &Plan, committee: Arc<Committee>, ends: impl Iterator<Item = [NodeId; 2]>) -> Network {
        let mut random = Random::new(plan.seed, "network");
        let links = ends
            .map(|ends| {
                let mut link = Link { ends, is_up: false, epoch: 0, sides: Default::default(), refused_until_us: 0 };
                for side in &mut link.sides {
                    side.latency_us = random.range(plan.latency_us.clone());
                }
                link
            })
            .collect();
        Network {
            links,
            jitter_us: plan.jitter_us,
            spikes_per_million: plan.spikes_per_million,
            losses_per_million: plan.losses_per_million,
            random,
            committee,
            known: HashMap::new(),
        }
    }

    /// From now on nothing is lost or late beyond the usual.
    pub fn heal(&mut self) {
        self.losses_per_million = 0;
        self.spikes_per_million = 0;
        for side in self.links.iter_mut().flat_map(|link| &mut link.sides) {
            side.stalled_until_us = 0;
        }
    }

    /// All links.
    pub fn ids(&self) -> std::ops::Range<LinkId> {
        0..self.links.len()
    }

    /// A link.
    pub fn link(&self, id: LinkId) -> &Link {
        &self.links[id]
    }

    /// A link, to change it.
    pub fn link_mut(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[id]
    }

    /// The links of a node, and its side of each.
    pub fn links_of(&self, node: NodeId) -> Vec<(LinkId, usize)> {
        self.ids().filter_map(|id| Some((id, self.links[id].side_of(node)?))).collect()
    }

    /// The connection that a node calls by this name.
    pub fn connection(&self, from: NodeId, peer: Peer) -> Option<(LinkId, usize)> {
        self.links_of(from).into_iter().find(|(id, side)| self.links[*id].sides[*side].peer == Some(peer))
    }

    /// Connects, and returns the new connection's number.
    pub fn connect(&mut self, id: LinkId) -> u64 {
        let link = &mut self.links[id];
        link.is_up = true;
        link.epoch += 1;
        for side in &mut link.sides {
            side.unanswered = [0; 5];
            side.last_arrival_us = [0; 2];
        }
        link.epoch
    }

    /// Breaks the connection. Returns whether there was one.
    pub fn disconnect(&mut self, id: LinkId) -> bool {
        std::mem::take(&mut self.links[id].is_up)
    }

    /// Sends a frame from one side of a connection.
    pub fn send(&mut self, id: LinkId, side: usize, message: &Travelling, length: usize, now_us: u64) -> Transit {
        if self.random.chance(self.losses_per_million) {
            return Transit::Lost;
        }
        let is_late = self.random.chance(self.spikes_per_million);
        let spike_us = if is_late { self.random.range(0..=SECOND_US / 2) } else { 0 };
        let jitter_us = self.random.range(0..=self.jitter_us);
        let from = &mut self.links[id].sides[side];
        match message {
            Travelling::Consensus(Message::FetchVertices { .. }) => from.unanswered[0] += 1,
            Travelling::Consensus(Message::FetchCommits { .. }) => from.unanswered[1] += 1,
            Travelling::Consensus(Message::FetchLatest) => from.unanswered[2] += 1,
            Travelling::Snapshot(SnapshotMessage::FetchManifest) => from.unanswered[3] += 1,
            Travelling::Snapshot(SnapshotMessage::FetchChunk(_)) => from.unanswered[4] += 1,
            _ => {}
        }
        // Ten megabytes a second.
        let transfer_us = length as u64 / 10;
        let arrival_us = now_us + from.latency_us + jitter_us + spike_us + transfer_us;
        let last_us = &mut from.last_arrival_us[stream(message)];
        *last_us = arrival_us.max(*last_us).max(from.stalled_until_us);
        Transit::Arrives(*last_us)
    }

    /// How long one end takes to notice that a connection broke.
    pub fn notice_us(&mut self, is_silent: bool) -> u64 {
        if is_silent { self.random.range(SECOND_US..=10 * SECOND_US) } else { self.random.range(0..=100 * MS_US) }
    }

    /// How long it takes to connect again.
    pub fn reconnect_us(&mut self) -> u64 {
        self.random.range(10 * MS_US..=SECOND_US)
    }

    /// Decodes and verifies a frame that arrives at one side of a link, as the real network does.
    ///
    /// # Errors
    /// The breach of protocol, for which the real network would disconnect the sender.
    pub fn receive(&mut self, id: LinkId, side: usize, frame: &[u8]) -> Result<Inbound, String> {
        let message: Travelling = codec::decode(frame, MESSAGE_BYTES_MAX + 1).map_err(|error| error.to_string())?;
        let peer = self.links[id].sides[side].peer;
        let unanswered = &mut self.links[id].sides[side].unanswered;
        let message = match message {
            Travelling::Consensus(message) => message,
            Travelling::Snapshot(message) => {
                match &message {
                    SnapshotMessage::Manifest(_) => owed(&mut unanswered[3])?,
                    SnapshotMessage::Chunk(..) => owed(&mut unanswered[4])?,
                    SnapshotMessage::FetchManifest | SnapshotMessage::FetchChunk(_) => {}
                }
                return Ok(Inbound::Snapshot(message));
            }
        };
        match message {
            Message::Vertex(vertex) => {
                let author = vertex.signed.header.author;
                if peer != Some(Peer::Validator(author)) {
                    return Err(format!("it pushed a vertex of validator {author}"));
                }
                Ok(Inbound::Vertex(self.verify(vertex)?))
            }
            Message::Vertices { vertices } => {
                owed(&mut unanswered[0])?;
                let verified = vertices.into_iter().map(|vertex| self.verify(vertex)).collect::<Result<_, _>>()?;
                Ok(Inbound::Vertices(verified))
            }
            Message::Commits { commits, votes, oldest_index } => {
                owed(&mut unanswered[1])?;
                Ok(Inbound::Commits { commits, votes, oldest_index })
            }
            Message::Latest { own, yours } => {
                owed(&mut unanswered[2])?;
                Ok(Inbound::Latest { own, yours })
            }
            Message::FetchLatest => Ok(Inbound::FetchLatest),
            Message::Subscribe { from_round } => Ok(Inbound::Subscribe { from_round }),
            Message::FetchVertices { refs, above_round } => Ok(Inbound::FetchVertices { refs, above_round }),
            Message::FetchCommits { from_index } => Ok(Inbound::FetchCommits { from_index }),
        }
    }

    /// Validity is the same for every receiver, so what was found valid once is not checked again.
    fn verify(&mut self, vertex: Vertex) -> Result<VerifiedVertex, String> {
        let digest = Digest::of_bytes(&codec::encode(&vertex));
        if let Some(known) = self.known.get(&digest) {
            return Ok(known.clone());
        }
        let verified = self.committee.verify(vertex).map_err(|error| error.to_string())?;
        if self.known.len() == KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(digest, verified.clone());
        Ok(verified)
    }
}

impl Link {
    /// Which side of the link a node is on, if it is on one.
    pub fn side_of(&self, node: NodeId) -> Option<usize> {
        self.ends.iter().position(|end| *end == node)
    }
}

/// A message as it travels.
#[derive(BorshSerialize, BorshDeserialize)]
pub enum Travelling {
    /// Of consensus.
    Consensus(Message),
    /// About snapshots.
    Snapshot(SnapshotMessage),
}

/// A message as it travels.
pub fn message_of(outbound: Outbound) -> Travelling {
    match outbound {
        Outbound::Vertex(vertex) => Travelling::Consensus(Message::Vertex(vertex.vertex().clone())),
        Outbound::Message(message) => Travelling::Consensus(message),
        Outbound::Snapshot(message) => Travelling::Snapshot(message),
        Outbound::Forward(_) | Outbound::Forwarded(_) => unreachable!("only full nodes forward, and here are none"),
    }
}

/// The bytes of a message.
pub fn frame_of(message: &Travelling) -> Bytes {
    codec::encode(message).into()
}

/// Bulk has a stream of its own, so that it never delays a vertex.
fn stream(message: &Travelling) -> usize {
    match message {
        Travelling::Consensus(Message::Vertex(_) | Message::Subscribe { .. }) => 0,
        _ => 1,
    }
}

fn owed(unanswered: &mut u32) -> Result<(), String> {
    *unanswered = unanswered.checked_sub(1).ok_or("it answered what nobody asked")?;
    Ok(())
}
