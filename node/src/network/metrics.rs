//! The metrics of this module, all under `farthing_network_`.

use super::Peer;
use super::frame::{Channel, Kind};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges; cheap to share.
pub(super) struct Metrics {
    bytes: Family<BytesLabels, Counter>,
    messages: Family<MessagesLabels, Counter>,
    connections: Family<RoleLabels, Gauge>,
    breaches: Family<ReasonLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    /// Peers disconnected because they did not read what was queued for them.
    pub(super) queue_overflows: Counter,
}

/// Which way.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    In,
    Out,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BytesLabels {
    direction: &'static str,
    stream: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MessagesLabels {
    direction: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            bytes: Family::default(),
            messages: Family::default(),
            connections: Family::default(),
            breaches: Family::default(),
            refused: Family::default(),
            queue_overflows: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("farthing_network");
        registry.register("bytes", "Bytes of frames, by direction and stream", metrics.bytes.clone());
        registry.register("messages", "Messages, by direction and kind", metrics.messages.clone());
        registry.register("connections", "Peers connected, by role", metrics.connections.clone());
        registry.register("breaches", "Peers disconnected for breaking the protocol", metrics.breaches.clone());
        registry.register("refused", "Connections refused after the handshake", metrics.refused.clone());
        registry.register(
            "queue_overflows",
            "Peers disconnected because they read too slowly",
            metrics.queue_overflows.clone(),
        );
        metrics
    }

    /// A whole frame went over a stream: its length, with the four bytes of the length itself.
    pub(super) fn frame(&self, direction: Direction, channel: Channel, bytes: usize) {
        let labels = BytesLabels { direction: direction.label(), stream: channel.label() };
        self.bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    pub(super) fn message(&self, direction: Direction, kind: Kind) {
        self.messages.get_or_create(&MessagesLabels { direction: direction.label(), kind: kind.label() }).inc();
    }

    pub(super) fn connected(&self, peer: Peer) {
        self.connections.get_or_create(&RoleLabels { role: role(peer) }).inc();
    }

    pub(super) fn disconnected(&self, peer: Peer) {
        self.connections.get_or_create(&RoleLabels { role: role(peer) }).dec();
    }

    pub(super) fn breach(&self, reason: &'static str) {
        self.breaches.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }
}

impl Direction {
    fn label(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

fn role(peer: Peer) -> &'static str {
    match peer {
        Peer::Validator(_) => "validator",
        Peer::Follower(_) => "follower",
    }
}
