//! Tests of the network over loopback: real sockets, real encryption, ephemeral ports.

mod bounds;
mod breaches;
mod followers;
mod frames;
mod fuzz;
mod mesh;
mod raw;

use super::*;
use farthing_consensus::vertex::VertexHeader;
use farthing_core::hash::Digest;
use libp2p::PeerId;
use std::time::Duration;

/// Nothing here takes anywhere near so long, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A committee whose keys we all hold.
struct World {
    committee: Arc<Committee>,
    signing: Vec<SecretKey>,
    /// By author; the peer ids ascend, so an author dials all that are above it.
    identities: Vec<SecretKey>,
}

/// A running network of one node.
struct Node {
    network: Network,
    events: mpsc::Receiver<NetworkEvent>,
    registry: Registry,
    address: Multiaddr,
}

impl World {
    fn new(validators: usize) -> World {
        World::with_chain(validators, Digest::of_bytes(b"the chain of these tests"))
    }

    fn with_chain(validators: usize, chain: Digest) -> World {
        let signing: Vec<_> = (0..validators).map(|author| SecretKey::from_seed(&[1 + author as u8; 32])).collect();
        let keys = signing.iter().map(SecretKey::public_key).collect();
        let mut identities: Vec<_> =
            (0..validators).map(|author| SecretKey::from_seed(&[101 + author as u8; 32])).collect();
        identities.sort_by_key(peer_id);
        World { committee: Arc::new(Committee::new(chain, 0, keys, chain, 0)), signing, identities }
    }

    /// A node's configuration; it knows the addresses given.
    fn config(&self, own: Option<Author>, known: &[(Author, Multiaddr)]) -> NetworkConfig {
        let members = self.identities.iter().enumerate().map(|(author, identity)| Member {
            author: author as Author,
            network_key: identity.public_key(),
            address: known.iter().find(|(known, _)| *known == author as Author).map(|(_, address)| address.clone()),
        });
        NetworkConfig {
            identity: own.map_or_else(|| stranger(1), |own| self.identities[usize::from(own)].clone()),
            committee: self.committee.clone(),
            members: members.collect(),
            own,
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            followers_max: 2,
            follower_limits: FollowerLimits::default(),
            queue_bytes_max: QUEUE_BYTES_MIN,
        }
    }

    /// All validators, connected to one another.
    async fn mesh(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut known = Vec::new();
        for author in self.committee.authors().collect::<Vec<_>>().into_iter().rev() {
            let node = Node::start(self.config(Some(author), &known)).await;
            known.push((author, node.address.clone()));
            nodes.push(node);
        }
        nodes.reverse();
        for node in &mut nodes {
            for _ in 1..self.committee.size() {
                assert!(matches!(node.next().await, NetworkEvent::Connected(Peer::Validator(_))));
            }
        }
        nodes
    }

    /// A valid vertex of round 1.
    fn vertex(&self, author: Author, payload: Vec<u8>) -> VerifiedVertex {
        let others = self.committee.authors().filter(|other| *other != author);
        let parents = std::iter::once(author).chain(others).map(|parent| self.committee.genesis_ref(parent)).collect();
        let header = VertexHeader {
            epoch: 0,
            round: 1,
            author,
            timestamp_ms: 7,
            parents,
            payload_digest: Digest::of_bytes(&payload),
            commit_vote: None,
            attestations: Vec::new(),
        };
        VerifiedVertex::sign(header, payload.into(), self.committee.chain(), &self.signing[usize::from(author)])
    }
}

impl Node {
    async fn start(config: NetworkConfig) -> Node {
        let mut registry = Registry::default();
        let (network, mut events) = Network::start(config, &mut registry).unwrap();
        let NetworkEvent::Listening(address) = next(&mut events).await else { panic!("listening comes first") };
        Node { network, events, registry, address }
    }

    async fn next(&mut self) -> NetworkEvent {
        next(&mut self.events).await
    }

    /// The next event must be a message from this peer.
    async fn message(&mut self, from: Peer) -> Inbound {
        match self.next().await {
            NetworkEvent::Message { from: sender, message } if sender == from => message,
            other => panic!("expected a message from {from:?}, got {other:?}"),
        }
    }

    /// Waits until a line of the metrics starts with this: what is counted last is counted after the event is told.
    async fn wait_for_metric(&self, start: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let text = self.metrics();
            if text.lines().any(|line| line.starts_with(start)) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {start:?} in:\n{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Sends something there and back.
    async fn assert_talks_with(&mut self, own: Author, other: &mut Node, author: Author) {
        let marks = [1 + u64::from(own), 1000 + u64::from(author)];
        self.network.send(Peer::Validator(author), subscribe(marks[0]));
        other.network.send(Peer::Validator(own), subscribe(marks[1]));
        assert_eq!(other.message(Peer::Validator(own)).await, Inbound::Subscribe { from_round: marks[0] });
        assert_eq!(self.message(Peer::Validator(author)).await, Inbound::Subscribe { from_round: marks[1] });
    }
}

async fn next(events: &mut mpsc::Receiver<NetworkEvent>) -> NetworkEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("an event within a reasonable time").expect("it runs")
}

fn subscribe(from_round: u64) -> Outbound {
    Outbound::Message(Message::Subscribe { from_round })
}

/// A network key that is no member's.
fn stranger(number: u8) -> SecretKey {
    SecretKey::from_seed(&[200 + number; 32])
}

fn peer_id(identity: &SecretKey) -> PeerId {
    swarm::keypair(identity).public().to_peer_id()
}
