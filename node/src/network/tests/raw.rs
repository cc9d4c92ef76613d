//! A peer that speaks libp2p properly and everything above it as badly as a test wants.

use super::super::frame::{Channel, Frame, Kind, flush, write_all};
use super::super::receive::read_content;
use super::super::streams::{Outcome, StreamEvent, Streams};
use super::super::swarm::keypair;
use super::*;
use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Stream, Swarm, SwarmBuilder, noise, tcp, yamux};

pub(super) struct Raw {
    pub(super) vertices: Stream,
    pub(super) sync: Stream,
    /// Drives the connection; dropping it closes the socket.
    pub(super) driver: Driver,
}

/// The task that moves a connection's bytes.
pub(super) struct Driver(tokio::task::JoinHandle<()>);

impl Raw {
    /// Connects and opens the streams; none if the node closes the connection before.
    pub(super) async fn connect(identity: &SecretKey, world: &World, node: &Node, author: Author) -> Option<Raw> {
        let mut swarm = swarm(identity);
        let target = peer_id(&world.identities[usize::from(author)]);
        swarm
            .dial(DialOpts::peer_id(target).addresses(vec![node.address.clone()]).allocate_new_port().build())
            .unwrap();
        let (mut vertices, mut sync) = (None, None);
        loop {
            match tokio::time::timeout(PATIENCE, swarm.select_next_some()).await.expect("an answer") {
                SwarmEvent::Behaviour(StreamEvent { outcome: Outcome::Open(channel, stream), .. }) => match channel {
                    Channel::Vertices => vertices = Some(stream),
                    Channel::Sync => sync = Some(stream),
                },
                SwarmEvent::ConnectionClosed { .. } => return None,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("the node cannot be reached: {error}"),
                _ => {}
            }
            if vertices.is_some() && sync.is_some() {
                break;
            }
        }
        let driver = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Some(Raw { vertices: vertices?, sync: sync?, driver: Driver(driver) })
    }

    /// Connects and says hello on both streams.
    pub(super) async fn greeted(identity: &SecretKey, world: &World, node: &Node, author: Author) -> Raw {
        let mut raw = Raw::connect(identity, world, node, author).await.expect("it is let in");
        for channel in Channel::ALL {
            raw.write(channel, &Frame::hello(world.committee.chain()).head).await;
            let (_, hello) = raw.read(channel).await;
            assert_eq!(hello[1..], *world.committee.chain().as_bytes());
        }
        raw
    }

    /// Writes bytes as they are. What the node does with the connection meanwhile is not this side's business.
    pub(super) async fn write(&mut self, channel: Channel, bytes: &[u8]) {
        let stream = self.stream(channel);
        if write_all(stream, bytes).await.is_ok() {
            let _ = flush(stream).await;
        }
    }

    pub(super) async fn send(&mut self, message: Outbound) {
        let frame = Frame::encode(message);
        let channel = frame.kind.channel().unwrap();
        self.write(channel, &[&frame.head[..], &frame.payload].concat()).await;
    }

    /// The next frame that is not a heartbeat.
    pub(super) async fn read(&mut self, channel: Channel) -> (Kind, Bytes) {
        let content = read_content(self.stream(channel), |_| Ok(()));
        tokio::time::timeout(PATIENCE, content).await.expect("a frame").expect("the connection stands")
    }

    pub(super) fn stream(&mut self, channel: Channel) -> &mut Stream {
        match channel {
            Channel::Vertices => &mut self.vertices,
            Channel::Sync => &mut self.sync,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn swarm(identity: &SecretKey) -> Swarm<Streams> {
    SwarmBuilder::with_existing_identity(keypair(identity))
        .with_tokio()
        .with_tcp(tcp::Config::new(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Streams::default())
        .unwrap()
        .build()
}
