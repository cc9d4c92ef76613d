//! Who is let in. Limits on connections, checked as early as libp2p allows: pending ones before the handshake, identities after it.

use super::allowance::Bucket;
use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a peer that broke the protocol is refused.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(10);

/// The most peers that are remembered as refused. Identities are free, so this bounds memory rather than attackers.
const REFUSED_MAX: usize = 1024;

/// The most inbound connections that may be in the handshake at a time, from addresses of members and from others each: a flood of
/// half-open connections keeps no member out.
const PENDING_MAX: usize = 256;

/// The most of them from one address that is no member's.
const PENDING_PER_ADDRESS_MAX: usize = 32;

/// The most connections of one member, those included that are closing. One is in use; the others are replaced ones whose closing waits
/// for a peer that may never answer.
const PER_MEMBER_MAX: usize = 4;

/// How many new connections of strangers together, and of each member, are admitted a second in the long run. What a connection asked
/// for is done even if it is gone by then, and each begins with a full allowance: coming anew must not be a way around that.
const STRANGERS_PER_SECOND: u32 = 8;
const MEMBER_PER_SECOND: u32 = 2;

/// All that can be open at a time.
pub(super) fn connections_max(followers_max: usize, members: usize) -> usize {
    2 * PENDING_MAX + PER_MEMBER_MAX * members + 2 * followers_max
}

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
    #[error("it, or strangers together, connect too often")]
    Rate,
}

impl Refusal {
    pub(super) fn label(self) -> &'static str {
        match self {
            Refusal::Pending => "pending",
            Refusal::Breach => "breach",
            Refusal::Direction => "direction",
            Refusal::Member => "member",
            Refusal::Followers => "followers",
            Refusal::Rate => "rate",
        }
    }
}

/// The behaviour that admits and refuses.
pub(super) struct Gate {
    /// The members, and whether they are to dial us.
    members: BTreeMap<PeerId, bool>,
    /// Where members are known to be.
    member_addresses: BTreeSet<IpAddr>,
    followers_max: usize,
    /// By the address that they come from.
    pending: BTreeMap<ConnectionId, Option<IpAddr>>,
    /// All connections that stand or are closing.
    established: BTreeMap<ConnectionId, Established>,
    refused: BTreeMap<PeerId, Instant>,
    /// New connections that are admitted, of strangers (`None`) and of each member.
    arrivals: BTreeMap<Option<PeerId>, Bucket>,
}

struct Established {
    peer_id: PeerId,
    in_use: bool,
}

impl Gate {
    pub(super) fn new(
        members: BTreeMap<PeerId, bool>,
        member_addresses: BTreeSet<IpAddr>,
        followers_max: usize,
    ) -> Gate {
        Gate {
            members,
            member_addresses,
            followers_max,
            pending: BTreeMap::new(),
            established: BTreeMap::new(),
            refused: BTreeMap::new(),
            arrivals: BTreeMap::new(),
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

    /// Whether a connection from this address may begin its handshake.
    fn admit_pending(&self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let is_member = |address: &Option<IpAddr>| address.is_some_and(|ip| self.member_addresses.contains(&ip));
        let of_member = is_member(&address);
        let alike = self.pending.values().filter(|pending| is_member(pending) == of_member);
        let from_there = self.pending.values().filter(|pending| **pending == address).count();
        let is_full = alike.count() >= PENDING_MAX || (!of_member && from_there >= PENDING_PER_ADDRESS_MAX);
        if is_full { Err(Refusal::Pending) } else { Ok(()) }
    }

    fn admit(&mut self, peer_id: &PeerId) -> Result<(), Refusal> {
        if self.refused.get(peer_id).is_some_and(|until| *until > Instant::now()) {
            return Err(Refusal::Breach);
        }
        match self.members.get(peer_id) {
            Some(false) => return Err(Refusal::Direction),
            Some(true) => self.admit_member(peer_id)?,
            None => {
                let followers = self.established.values().filter(|other| !self.members.contains_key(&other.peer_id));
                let (all, in_use) =
                    followers.fold((0, 0), |(all, in_use), follower| (all + 1, in_use + usize::from(follower.in_use)));
                let full = in_use >= self.followers_max || all >= 2 * self.followers_max;
                if full {
                    return Err(Refusal::Followers);
                }
            }
        }
        let (who, per_second) = match self.members.contains_key(peer_id) {
            true => (Some(*peer_id), MEMBER_PER_SECOND),
            false => (None, STRANGERS_PER_SECOND),
        };
        let now = tokio::time::Instant::now();
        let bucket = self.arrivals.entry(who).or_insert_with(|| Bucket::full(per_second, now));
        if bucket.take_one(now) { Ok(()) } else { Err(Refusal::Rate) }
    }

    fn admit_member(&self, peer_id: &PeerId) -> Result<(), Refusal> {
        let connections = self.established.values().filter(|other| other.peer_id == *peer_id).count();
        if connections < PER_MEMBER_MAX { Ok(()) } else { Err(Refusal::Member) }
    }
}

/// The IP address of an address that begins with one.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let address = ip_of(remote);
        self.admit_pending(address).map_err(ConnectionDenied::new)?;
        self.pending.insert(connection_id, address);
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
