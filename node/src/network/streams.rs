//! The seam to libp2p's streams: a behaviour that opens the two streams of every connection and hands them out.
//!
//! The dialer's side of a connection opens one stream of each [`Channel`], once; the other side accepts each once. Nothing else
//! is opened or accepted. A small behaviour of our own rather than `libp2p-stream` 0.5, because that drops an inbound stream when two
//! arrive before its single slot is emptied (after a restart all peers' streams arrive together), does not say on which
//! connection a stream is, and keeps an entry for ever for each connection there ever was.

use super::frame::Channel;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a connection may take to be encrypted, and then to have its streams open and greeted.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// One stream of a connection is open, or the connection is of no use.
#[derive(Debug)]
pub(super) struct StreamEvent {
    pub(super) peer_id: PeerId,
    pub(super) connection_id: ConnectionId,
    pub(super) outcome: Outcome,
}

/// What became of a stream.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is open.
    Open(Channel, Stream),
    /// It could not be opened, or the peer opened it twice.
    Failed(String),
}

/// The behaviour.
#[derive(Default)]
pub(super) struct Streams {
    /// At most three for each connection: its handler reports each channel once and one failure.
    events: VecDeque<StreamEvent>,
}

/// The streams of one connection.
pub(super) struct Handler {
    /// What is still to be opened, on the dialer's side.
    to_open: Vec<Channel>,
    /// What may still be opened by the dialer, on the listener's side.
    to_accept: Vec<Channel>,
    outcomes: VecDeque<Outcome>,
    failed: bool,
}

/// Negotiates any of some channels.
pub(super) struct Upgrade(Vec<Channel>);

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(Vec::new(), Channel::ALL.to_vec()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(Channel::ALL.to_vec(), Vec::new()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        peer_id: PeerId,
        connection_id: ConnectionId,
        outcome: THandlerOutEvent<Self>,
    ) {
        self.events.push_back(StreamEvent { peer_id, connection_id, outcome });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // No waker: the swarm polls again after each event it hands to this behaviour.
        self.events.pop_front().map_or(Poll::Pending, |event| Poll::Ready(ToSwarm::GenerateEvent(event)))
    }
}

impl Handler {
    fn new(to_open: Vec<Channel>, to_accept: Vec<Channel>) -> Handler {
        Handler { to_open, to_accept, outcomes: VecDeque::new(), failed: false }
    }

    fn fail(&mut self, reason: String) {
        if !self.failed {
            self.failed = true;
            self.outcomes.push_back(Outcome::Failed(reason));
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Outcome;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        // All channels, also one that is open already: a second one is an error to be told, not to be passed over.
        let channels = if self.to_open.is_empty() { Channel::ALL.to_vec() } else { Vec::new() };
        SubstreamProtocol::new(Upgrade(channels), ()).with_timeout(HANDSHAKE_MAX)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, (), Outcome>> {
        // No waker: the connection polls again after each event it hands to this handler.
        if let Some(channel) = self.to_open.pop() {
            let protocol = SubstreamProtocol::new(Upgrade(vec![channel]), ()).with_timeout(HANDSHAKE_MAX);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.outcomes
            .pop_front()
            .map_or(Poll::Pending, |outcome| Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(outcome)))
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Upgrade, Upgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (channel, stream), .. }) => {
                match self.to_accept.iter().position(|expected| *expected == channel) {
                    Some(position) => {
                        self.to_accept.swap_remove(position);
                        self.outcomes.push_back(Outcome::Open(channel, stream));
                    }
                    None => self.fail(format!("the peer opened a stream {} too many", channel.protocol())),
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (channel, stream), ..
            }) => {
                self.outcomes.push_back(Outcome::Open(channel, stream));
            }
            ConnectionEvent::DialUpgradeError(error) => {
                self.fail(format!("the peer did not open a stream: {}", error.error));
            }
            _ => {}
        }
    }
}

impl AsRef<str> for Channel {
    fn as_ref(&self) -> &str {
        self.protocol()
    }
}

impl UpgradeInfo for Upgrade {
    type Info = Channel;
    type InfoIter = std::vec::IntoIter<Channel>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Channel, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, channel: Channel) -> Self::Future {
        ready(Ok((channel, stream)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Channel, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, channel: Channel) -> Self::Future {
        ready(Ok((channel, stream)))
    }
}
