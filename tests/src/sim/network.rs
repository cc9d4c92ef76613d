//! The simulated network: connections of two ordered streams each, as the real one has them, over which frames take their time.
//!
//! What is lost is sent again, later each time, as under TCP, and holds up what is behind it; after a few losses in a row the
//! connection breaks. Both ends learn of that, each at its own time, and connect again. What was under way on a broken connection
//! never arrives. Every message is encoded, and decoded and verified within the bounds of the real network on the other side.
//!
//! TCP neither repeats frames nor lets them overtake one another within a stream. Here both can be switched on all the same: the
//! engine must not depend on it.

use super::fault::{Counts, Fault};
use super::plan::{MS_US, Plan, SECOND_US, Schedule};
use super::random::Random;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::message::{MESSAGE_BYTES_MAX, Message};
use farthing_consensus::vertex::{Author, Round, VerifiedVertex, Vertex};
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

/// A transmission that is lost so many times in a row breaks its connection.
const TRANSMISSIONS_MAX: u32 = 5;

/// How much later a replayed frame comes at most.
const REPLAY_US_MAX: u64 = 2 * SECOND_US;

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
    replays_per_million: u32,
    reorders: bool,
    schedules: Vec<Schedule>,
    random: Random,
    committee: Arc<Committee>,
    /// By digest of the encoding. Looked up only.
    known: HashMap<Digest, VerifiedVertex>,
}

/// What becomes of a frame.
pub enum Transit {
    /// It arrives at this time, and perhaps once more at another.
    Arrives(u64, Option<u64>),
    /// It is lost for good, and the connection with it.
    Lost,
}

/// A message as it travels, or what a Byzantine validator passes off as one.
pub struct Frame {
    /// The bytes.
    pub bytes: Bytes,
    stream: usize,
    /// Which kind of request it is, if it is one: it will be answered.
    request: Option<usize>,
    /// The slot of the vertex that it pushes.
    slot: Option<(Round, Author)>,
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
            replays_per_million: plan.replays_per_million,
            reorders: plan.reorders,
            schedules: plan.schedules.clone(),
            random,
            committee,
            known: HashMap::new(),
        }
    }

    /// From now on nothing is lost or late beyond the usual.
    pub fn heal(&mut self) {
        self.losses_per_million = 0;
        self.spikes_per_million = 0;
        self.replays_per_million = 0;
        self.reorders = false;
        self.schedules.clear();
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
    pub fn send(&mut self, id: LinkId, side: usize, frame: &Frame, now_us: u64, counts: &mut Counts) -> Transit {
        let Some(lost_us) = self.retransmissions_us(counts) else { return Transit::Lost };
        let jitter_us = self.random.range(0..=self.jitter_us);
        let spike_us = if self.random.chance(self.spikes_per_million) {
            counts.add(Fault::Delay);
            self.random.range(0..=SECOND_US / 2)
        } else {
            0
        };
        let latency_us = self.latency_us(id, side, frame, counts);
        let from = &mut self.links[id].sides[side];
        if let Some(request) = frame.request {
            from.unanswered[request] += 1;
        }
        // Ten megabytes a second.
        let transfer_us = frame.bytes.len() as u64 / 10;
        let arrival_us =
            (now_us + latency_us + jitter_us + spike_us + lost_us + transfer_us).max(from.stalled_until_us);
        let last_us = &mut from.last_arrival_us[frame.stream];
        let overtakes = self.reorders && arrival_us < *last_us;
        if overtakes {
            counts.add(Fault::Reordering);
        }
        *last_us = arrival_us.max(*last_us);
        let arrival_us = if overtakes { arrival_us } else { *last_us };
        let is_replayed = frame.request.is_none() && self.random.chance(self.replays_per_million);
        let replay_us = is_replayed.then(|| arrival_us + self.random.range(0..=REPLAY_US_MAX));
        Transit::Arrives(arrival_us, replay_us)
    }

    /// How long it takes until a transmission gets through; `None` if it does not.
    fn retransmissions_us(&mut self, counts: &mut Counts) -> Option<u64> {
        let mut lost_us = 0;
        for number in 0..TRANSMISSIONS_MAX {
            if !self.random.chance(self.losses_per_million) {
                return Some(lost_us);
            }
            counts.add(Fault::Loss);
            lost_us += self.random.range(50 * MS_US..=200 * MS_US) << number;
        }
        None
    }

    /// The latency of a link, with the delays that are chosen against the protocol.
    fn latency_us(&self, id: LinkId, side: usize, frame: &Frame, counts: &mut Counts) -> u64 {
        let link = &self.links[id];
        let mut latency_us = link.sides[side].latency_us;
        for schedule in &self.schedules {
            match (schedule, frame.slot) {
                (Schedule::SlowNode(node, extra_us), _) if link.ends.contains(node) => {
                    counts.add(Fault::SlowValidator);
                    latency_us += extra_us;
                }
                (Schedule::SlowLeader(extra_us), Some((round, author))) if self.committee.leader(round) == author => {
                    counts.add(Fault::SlowLeader);
                    latency_us += extra_us;
                }
                (Schedule::Alternating(short_us, long_us), Some((round, author))) => {
                    counts.add(Fault::Alternating);
                    let is_long = (round + u64::from(author) + link.ends[1 - side] as u64).is_multiple_of(2);
                    latency_us = if is_long { *long_us } else { *short_us };
                }
                _ => {}
            }
        }
        latency_us
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
    pub fn receive(&mut self, id: LinkId, side: usize, frame: &[u8], is_replayed: bool) -> Result<Inbound, String> {
        let message: Travelling = codec::decode(frame, MESSAGE_BYTES_MAX + 1).map_err(|error| error.to_string())?;
        let peer = self.links[id].sides[side].peer;
        let unanswered = &mut self.links[id].sides[side].unanswered;
        // What comes once more was not asked for once more, which is the network's fault.
        let mut owed = |kind: usize| if is_replayed { Ok(()) } else { owed(&mut unanswered[kind]) };
        let message = match message {
            Travelling::Consensus(message) => message,
            Travelling::Snapshot(message) => {
                match &message {
                    SnapshotMessage::Manifest(_) => owed(3)?,
                    SnapshotMessage::Chunk(..) => owed(4)?,
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
                owed(0)?;
                let verified = vertices.into_iter().map(|vertex| self.verify(vertex)).collect::<Result<_, _>>()?;
                Ok(Inbound::Vertices(verified))
            }
            Message::Commits { commits, votes, oldest_index } => {
                owed(1)?;
                Ok(Inbound::Commits { commits, votes, oldest_index })
            }
            Message::Latest { own, yours } => {
                owed(2)?;
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

impl Frame {
    /// A message of consensus.
    pub fn new(message: Message) -> Frame {
        Frame::of(&Travelling::Consensus(message))
    }

    /// What a replica sends.
    pub fn of_outbound(outbound: Outbound) -> Frame {
        match outbound {
            Outbound::Vertex(vertex) => Frame::new(Message::Vertex(vertex.vertex().clone())),
            Outbound::Message(message) => Frame::new(message),
            Outbound::Snapshot(message) => Frame::of(&Travelling::Snapshot(message)),
            Outbound::Forward(_) | Outbound::Forwarded(_) => unreachable!("only full nodes forward, and here are none"),
        }
    }

    /// Bytes that are no message.
    pub fn garbage(bytes: Bytes) -> Frame {
        Frame { bytes, stream: 0, request: None, slot: None }
    }

    fn of(message: &Travelling) -> Frame {
        // Bulk has a stream of its own, so that it never delays a vertex.
        let (stream, request, slot) = match message {
            Travelling::Consensus(Message::Vertex(vertex)) => {
                (0, None, Some((vertex.signed.header.round, vertex.signed.header.author)))
            }
            Travelling::Consensus(Message::Subscribe { .. }) => (0, None, None),
            Travelling::Consensus(Message::FetchVertices { .. }) => (1, Some(0), None),
            Travelling::Consensus(Message::FetchCommits { .. }) => (1, Some(1), None),
            Travelling::Consensus(Message::FetchLatest) => (1, Some(2), None),
            Travelling::Snapshot(SnapshotMessage::FetchManifest) => (1, Some(3), None),
            Travelling::Snapshot(SnapshotMessage::FetchChunk(_)) => (1, Some(4), None),
            Travelling::Consensus(_) | Travelling::Snapshot(_) => (1, None, None),
        };
        Frame { bytes: codec::encode(message).into(), stream, request, slot }
    }
}

/// A message as it travels: the kinds of the real frames, less their lengths.
#[derive(BorshSerialize, BorshDeserialize)]
enum Travelling {
    /// Of consensus.
    Consensus(Message),
    /// Of snapshots.
    Snapshot(SnapshotMessage),
}

fn owed(unanswered: &mut u32) -> Result<(), String> {
    *unanswered = unanswered.checked_sub(1).ok_or("it answered what nobody asked")?;
    Ok(())
}
