//! Who is let in. Limits on connections, checked as early as libp2p allows: pending ones before the handshake, identities after it.

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a peer that broke the protocol is refused.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(10);

/// The most peers that are remembered as refused. Identities are free, so this bounds memory rather than attackers.
const REFUSED_MAX: usize = 1024;

/// The most inbound connections that may be in the handshake at a time.
const PENDING_MAX: usize = 256;

/// The most connections of one member, those included that are closing. One is in use; the others are replaced ones whose closing waits
/// for a peer that may never answer.
const PER_MEMBER_MAX: usize = 4;

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("too many connections are in the handshake")]
    Pending,
    #[error("the peer broke the protocol a moment ago")]
    Breach,
    #[error("the peer is a member that this node dials itself")]
    Direction,
    #[error("the member has too many connections")]
    Member,
    #[error("there are too many followers")]
    Followers,
}

impl Refusal {
    pub(super) fn label(self) -> &'static str {
        match self {
            Refusal::Pending => "pending",
            Refusal::Breach => "breach",
            Refusal::Direction => "direction",
            Refusal::Member => "member",
            Refusal::Followers => "followers",
        }
    }
}

/// The behaviour that admits and refuses.
pub(super) struct Gate {
    /// The members, and whether they are to dial us.
    members: BTreeMap<PeerId, bool>,
    followers_max: usize,
    pending: BTreeSet<ConnectionId>,
    /// All connections that stand or are closing.
    established: BTreeMap<ConnectionId, Established>,
    refused: BTreeMap<PeerId, Instant>,
}

struct Established {
    peer_id: PeerId,
    in_use: bool,
}

impl Gate {
    pub(super) fn new(members: BTreeMap<PeerId, bool>, followers_max: usize) -> Gate {
        Gate {
            members,
            followers_max,
            pending: BTreeSet::new(),
            established: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Refuses a peer for [`REFUSED_FOR`].
    pub(super) fn refuse(&mut self, peer_id: PeerId) {
        let now = Instant::now();
        self.refused.retain(|_, until| *until > now);
        if self.refused.len() == REFUSED_MAX {
            let soonest = self.refused.iter().min_by_key(|(_, until)| **until).map(|(peer_id, _)| *peer_id);
            self.refused.remove(&soonest.expect("the list is full"));
        }
        self.refused.insert(peer_id, now + REFUSED_FOR);
    }

    /// The connection is being closed: it no longer takes a follower's place. Closing may take long if the peer does not read.
    pub(super) fn closing(&mut self, connection_id: ConnectionId) {
        if let Some(established) = self.established.get_mut(&connection_id) {
            established.in_use = false;
        }
    }

    fn admit(&self, peer_id: &PeerId) -> Result<(), Refusal> {
        if self.refused.get(peer_id).is_some_and(|until| *until > Instant::now()) {
            return Err(Refusal::Breach);
        }
        match self.members.get(peer_id) {
            Some(false) => Err(Refusal::Direction),
            Some(true) => self.admit_member(peer_id),
            None => {
                let followers = self.established.values().filter(|other| !self.members.contains_key(&other.peer_id));
                let (all, in_use) =
                    followers.fold((0, 0), |(all, in_use), follower| (all + 1, in_use + usize::from(follower.in_use)));
                let full = in_use >= self.followers_max || all >= 2 * self.followers_max;
                if full { Err(Refusal::Followers) } else { Ok(()) }
            }
        }
    }

    fn admit_member(&self, peer_id: &PeerId) -> Result<(), Refusal> {
        let connections = self.established.values().filter(|other| other.peer_id == *peer_id).count();
        if connections < PER_MEMBER_MAX { Ok(()) } else { Err(Refusal::Member) }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending.len() >= PENDING_MAX {
            return Err(ConnectionDenied::new(Refusal::Pending));
        }
        self.pending.insert(connection_id);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer_id: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection_id);
        self.admit(&peer_id).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer_id: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let peer_id = peer_id.expect("only members are dialed, by their peer ids");
        self.admit_member(&peer_id).map_err(ConnectionDenied::new)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.established.insert(connection_id, Established { peer_id, in_use: true });
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.established.remove(&connection_id);
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.pending.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
