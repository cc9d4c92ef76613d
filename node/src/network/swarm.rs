//! The actor that owns the libp2p swarm: dials, pairs streams, starts connections and buries them.

use super::connection::{Connection, End, Ended, Established};
use super::frame::Channel;
use super::gate::{Gate, REFUSED_FOR, Refusal, ip_of};
use super::streams::{HANDSHAKE_MAX, Outcome, StreamEvent, Streams};
use super::{Author, Member, NetworkConfig, NetworkError, NetworkEvent, Peer, Shared};
use farthing_core::keys::{PublicKey, SecretKey};
use futures::StreamExt as _;
use libp2p::identity::{self, Keypair};
use libp2p::metrics::{Metrics as Libp2pMetrics, Recorder as _};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, Swarm, SwarmBuilder, noise, tcp, yamux};
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The first and the longest wait before dialing again; each failure doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The most Yamux streams of a connection: two are used, the others absorb a peer's mistake until it is noticed.
const YAMUX_STREAMS_MAX: usize = 8;

/// The actor.
pub(super) struct Actor {
    shared: Arc<Shared>,
    swarm: Swarm<Behaviour>,
    libp2p_metrics: Libp2pMetrics,
    members: BTreeMap<PeerId, Author>,
    dials: BTreeMap<PeerId, Dial>,
    /// Encrypted connections whose streams are not open yet.
    opening: BTreeMap<ConnectionId, Opening>,
    /// The newest connection of each peer, from its streams being open to its end.
    active: BTreeMap<PeerId, (ConnectionId, Arc<Connection>)>,
    tasks: JoinSet<Ended>,
    followers: u64,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    gate: Gate,
    streams: Streams,
}

/// A member that we dial.
struct Dial {
    author: Author,
    address: Multiaddr,
    /// When to dial next; none while it is being dialed or connected.
    next: Option<Instant>,
    backoff: Duration,
}

struct Opening {
    peer_id: PeerId,
    address: Multiaddr,
    deadline: Instant,
    vertices: Option<Stream>,
    sync: Option<Stream>,
}

impl Actor {
    /// Sets up the swarm and listens.
    pub(super) fn new(
        config: NetworkConfig,
        shared: Arc<Shared>,
        registry: &mut Registry,
    ) -> Result<Actor, NetworkError> {
        let identity = keypair(&config.identity);
        let own_id = identity.public().to_peer_id();
        let members = peer_ids(&config.members)?;
        check_role(&config, &members, own_id)?;
        let dials = dials(&config, &members, own_id)?;
        let admitted = members.keys().map(|peer_id| (*peer_id, config.own.is_some() && *peer_id < own_id)).collect();
        let addresses = config.members.iter().filter_map(|member| ip_of(member.address.as_ref()?)).collect();
        let gate = Gate::new(admitted, addresses, config.followers_max);
        let libp2p_metrics = Libp2pMetrics::new(registry);
        let mut swarm = swarm(identity, Behaviour { gate, streams: Streams::default() }, registry)?;
        for address in &config.listen {
            check_address(address)?;
            swarm
                .listen_on(address.clone())
                .map_err(|error| NetworkError::Listen { address: address.clone(), reason: error.to_string() })?;
        }
        Ok(Actor {
            shared,
            swarm,
            libp2p_metrics,
            members,
            dials,
            opening: BTreeMap::new(),
            active: BTreeMap::new(),
            tasks: JoinSet::new(),
            followers: 0,
        })
    }

    /// Runs until the network is asked to stop.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                () = shared.stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_swarm_event(event).await,
                Some(ended) = self.tasks.join_next() => {
                    self.on_ended(ended.expect("a connection's task neither panics nor is cancelled"));
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.on_deadline(Instant::now());
                }
            }
        }
        // They see the request to stop too.
        while self.tasks.join_next().await.is_some() {}
        drop(self);
        shared.stopped.cancel();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let dials = self.dials.values().filter_map(|dial| dial.next);
        dials.chain(self.opening.values().map(|opening| opening.deadline)).min()
    }

    fn on_deadline(&mut self, now: Instant) {
        let late: Vec<_> =
            self.opening.iter().filter(|(_, opening)| opening.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.abandon(id, "its streams were not opened in time");
        }
        for (peer_id, dial) in &mut self.dials {
            if dial.next.is_some_and(|next| next <= now) {
                dial.next = None;
                let options = DialOpts::peer_id(*peer_id)
                    // An older connection may still be closing.
                    .condition(PeerCondition::NotDialing)
                    .addresses(vec![dial.address.clone()])
                    .allocate_new_port()
                    .build();
                if let Err(error) = self.swarm.dial(options) {
                    dial.retry(&error.to_string());
                }
            }
        }
    }

    async fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.libp2p_metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(event)) => self.on_stream(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gate(never)) => match never {},
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let opening = Opening {
                    peer_id,
                    address: endpoint.get_remote_address().clone(),
                    deadline: Instant::now() + HANDSHAKE_MAX,
                    vertices: None,
                    sync: None,
                };
                self.opening.insert(connection_id, opening);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.abandon(connection_id, "it was closed"),
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer_id), error, .. } => {
                self.retry(&peer_id, &dial_error(&error));
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                self.on_refused(&error, &send_back_addr);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.shared.emit(NetworkEvent::Listening(address)).await;
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(
                    ?addresses,
                    ?reason,
                    "a listener closed: nobody can connect to these addresses any more"
                );
            }
            _ => {}
        }
    }

    fn on_stream(&mut self, event: StreamEvent) {
        let StreamEvent { peer_id, connection_id, outcome } = event;
        let (channel, stream) = match outcome {
            Outcome::Open(channel, stream) => (channel, stream),
            Outcome::Failed(reason) => return self.on_stream_failed(peer_id, connection_id, reason),
        };
        let Some(opening) = self.opening.get_mut(&connection_id) else {
            return;
        };
        match channel {
            Channel::Vertices => opening.vertices = Some(stream),
            Channel::Sync => opening.sync = Some(stream),
        }
        if opening.vertices.is_some() && opening.sync.is_some() {
            let opening = self.opening.remove(&connection_id).expect("it was there a moment ago");
            self.start(connection_id, opening);
        }
    }

    /// Both streams are open.
    fn start(&mut self, id: ConnectionId, opening: Opening) {
        let Opening { peer_id, address, vertices: Some(vertices), sync: Some(sync), .. } = opening else {
            panic!("a connection starts when both its streams are open");
        };
        let peer = match self.members.get(&peer_id) {
            Some(author) => Peer::Validator(*author),
            None => {
                self.followers += 1;
                Peer::Follower(self.followers)
            }
        };
        let connection = Connection::new(peer, self.shared.clone());
        let predecessor = self.active.insert(peer_id, (id, connection.clone())).map(|(_, predecessor)| predecessor);
        if let Some(predecessor) = &predecessor {
            predecessor.close(End::Replaced);
        }
        self.tasks.spawn(Established { id, peer_id, address, vertices, sync, connection, predecessor }.run());
    }

    fn on_stream_failed(&mut self, peer_id: PeerId, id: ConnectionId, reason: String) {
        match self.active.get(&peer_id) {
            Some((active, connection)) if *active == id => connection.close(End::breach("streams", reason)),
            _ => self.abandon(id, &reason),
        }
    }

    /// Gives up a connection whose streams are not open.
    fn abandon(&mut self, id: ConnectionId, reason: &str) {
        if let Some(opening) = self.opening.remove(&id) {
            tracing::debug!(peer_id = %opening.peer_id, address = %opening.address, reason, "connection abandoned");
            self.bury(id);
            self.retry(&opening.peer_id, reason);
        }
    }

    fn on_ended(&mut self, ended: Ended) {
        let Ended { id, peer_id, connection, address, end, greeted } = ended;
        let peer = connection.peer;
        match &end {
            End::Breach { reason, .. } => {
                tracing::warn!(?peer, %address, "peer dropped: {end}");
                self.refuse(&peer_id, reason);
            }
            End::OtherChain { .. } => {
                tracing::warn!(?peer, %address, "peer refused: {end}");
                self.refuse(&peer_id, "other_chain");
            }
            End::Overflow => {
                tracing::warn!(?peer, %address, "peer dropped: {end}");
                self.shared.metrics.queue_overflows.inc();
            }
            End::TooLong { .. } => tracing::error!(?peer, %address, "peer dropped: {end}"),
            _ => tracing::info!(?peer, %address, "disconnected: {end}"),
        }
        self.bury(id);
        if self.active.get(&peer_id).is_none_or(|(active, _)| *active != id) {
            // Replaced: the newer connection is what counts.
            return;
        }
        self.active.remove(&peer_id);
        if let Some(dial) = self.dials.get_mut(&peer_id) {
            if greeted {
                dial.backoff = BACKOFF_MIN;
            }
            dial.retry(&end.to_string());
            if matches!(end, End::Breach { .. } | End::OtherChain { .. }) {
                dial.next = Some(Instant::now() + REFUSED_FOR);
            }
        }
    }

    fn refuse(&mut self, peer_id: &PeerId, reason: &'static str) {
        self.shared.metrics.breach(reason);
        self.swarm.behaviour_mut().gate.refuse(*peer_id);
    }

    fn bury(&mut self, id: ConnectionId) {
        self.swarm.behaviour_mut().gate.closing(id);
        self.swarm.close_connection(id);
    }

    fn retry(&mut self, peer_id: &PeerId, reason: &str) {
        if let Some(dial) = self.dials.get_mut(peer_id) {
            dial.retry(reason);
        }
    }

    fn on_refused(&self, error: &ListenError, address: &Multiaddr) {
        match error {
            ListenError::Denied { cause } => {
                let refusal = cause.downcast_ref::<Refusal>().expect("only the gate denies");
                tracing::debug!(%address, "connection refused: {refusal}");
                self.shared.metrics.refused(refusal.label());
            }
            error => tracing::debug!(%address, "an inbound connection failed: {error}"),
        }
    }
}

impl Dial {
    /// Dials again after the back-off, which doubles, give or take a quarter.
    fn retry(&mut self, reason: &str) {
        let jitter = getrandom::u32().expect("the operating system has randomness") % 51;
        self.next = Some(Instant::now() + self.backoff * (75 + jitter) / 100);
        if self.backoff < BACKOFF_MAX {
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            if self.backoff == BACKOFF_MAX {
                tracing::warn!(author = self.author, address = %self.address, "a validator cannot be reached, \
                    dialing goes on every {} s: {reason}", BACKOFF_MAX.as_secs());
            }
        }
    }
}

fn swarm(identity: Keypair, behaviour: Behaviour, registry: &mut Registry) -> Result<Swarm<Behaviour>, NetworkError> {
    let yamux = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(YAMUX_STREAMS_MAX);
        config
    };
    let swarm = SwarmBuilder::with_existing_identity(identity)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux)
        .map_err(|error| NetworkError::Transport(error.to_string()))?
        .with_bandwidth_metrics(registry)
        .with_behaviour(|_| behaviour)
        .expect("nothing in it can fail")
        .with_swarm_config(|config| {
            // Open streams keep a connection; one whose streams are gone has no use.
            config.with_idle_connection_timeout(HANDSHAKE_MAX).with_max_negotiating_inbound_streams(YAMUX_STREAMS_MAX)
        })
        .with_connection_timeout(HANDSHAKE_MAX)
        .build();
    Ok(swarm)
}

pub(super) fn keypair(key: &SecretKey) -> Keypair {
    Keypair::ed25519_from_bytes(*key.seed()).expect("every seed of 32 bytes is a key")
}

fn peer_ids(members: &[Member]) -> Result<BTreeMap<PeerId, Author>, NetworkError> {
    let mut peer_ids = BTreeMap::new();
    for Member { author, network_key, .. } in members {
        let key = identity::ed25519::PublicKey::try_from_bytes(&network_key.0)
            .map_err(|_| NetworkError::NetworkKey { author: *author, key: *network_key })?;
        if let Some(first) = peer_ids.insert(PeerId::from(identity::PublicKey::from(key)), *author) {
            return Err(NetworkError::DuplicateNetworkKey { first, second: *author });
        }
    }
    Ok(peer_ids)
}

/// The own network key must be that of the own author number, or of nobody.
fn check_role(config: &NetworkConfig, members: &BTreeMap<PeerId, Author>, own_id: PeerId) -> Result<(), NetworkError> {
    let key: PublicKey = config.identity.public_key();
    let problem = match (config.own, members.get(&own_id)) {
        (own, found) if own == found.copied() => return Ok(()),
        (Some(own), _) => format!("is not the one that the genesis document names for validator {own}"),
        (None, found) => {
            format!("is that of validator {}, but this node is none", found.expect("it differs from none"))
        }
    };
    Err(NetworkError::Identity { key, problem })
}

/// The members that this node dials: as a member those with higher peer ids, as a follower all; in both cases where an address is known.
fn dials(
    config: &NetworkConfig,
    members: &BTreeMap<PeerId, Author>,
    own_id: PeerId,
) -> Result<BTreeMap<PeerId, Dial>, NetworkError> {
    let mut dials = BTreeMap::new();
    for (peer_id, author) in members {
        if *peer_id == own_id || (config.own.is_some() && *peer_id < own_id) {
            continue;
        }
        let member = config.members.iter().find(|member| member.author == *author).expect("it is made of this list");
        let Some(address) = member.address.clone() else {
            tracing::warn!(author, "no address is known for a validator that this node should dial");
            continue;
        };
        check_address(&address)?;
        dials.insert(*peer_id, Dial { author: *author, address, next: Some(Instant::now()), backoff: BACKOFF_MIN });
    }
    Ok(dials)
}

fn check_address(address: &Multiaddr) -> Result<(), NetworkError> {
    let mut parts = address.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Ip4(_) | Protocol::Ip6(_)), Some(Protocol::Tcp(_)), None) => Ok(()),
        _ => Err(NetworkError::Address { address: address.clone() }),
    }
}

fn dial_error(error: &DialError) -> String {
    match error {
        // Only one address is dialed, and the error of one is shorter to read.
        DialError::Transport(errors) => {
            errors.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join(", ")
        }
        error => error.to_string(),
    }
}
