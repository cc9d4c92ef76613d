//! Connections between the nodes of the world: made, broken, cut, and what travels over them.

use super::adversary::Outgoing;
use super::checker::Violation;
use super::fault::Fault;
use super::network::{Frame, LinkId, NodeId, Transit};
use super::plan::SECOND_US;
use super::world::{Incident, World};
use bytes::Bytes;
use farthing_consensus::vertex::Author;
use farthing_node::network::{Inbound, Peer};
use farthing_node::replica::Event;

/// How long a peer is refused that broke the protocol.
const REFUSED_US: u64 = 10 * SECOND_US;

impl World {
    pub(super) fn send(&mut self, from: NodeId, to: Peer, frame: &Frame) {
        let Some((link, side)) = self.network.connection(from, to) else { return };
        let (epoch, believed) = (self.network.link(link).epoch, self.network.link(link).sides[side].epoch);
        if !self.network.link(link).is_up || epoch != believed {
            return;
        }
        let (at_us, again_us) = match self.network.send(link, side, frame, self.now_us, &mut self.counts) {
            Transit::Arrives(at_us, again_us) => (at_us, again_us),
            Transit::Lost => return self.sever(link, false),
        };
        for (at_us, is_replayed) in [(Some(at_us), false), (again_us, true)] {
            if let Some(at_us) = at_us {
                let bytes = frame.bytes.clone();
                let arrival = Incident::Frame { link, side: 1 - side, epoch, bytes, is_replayed };
                self.schedule(at_us - self.now_us, arrival);
            }
        }
    }

    pub(super) fn send_all(&mut self, from: NodeId, outgoing: Outgoing) {
        for (to, frame) in outgoing {
            self.send(from, to, &frame);
        }
    }

    pub(super) fn frame(
        &mut self,
        id: LinkId,
        side: usize,
        epoch: u64,
        bytes: &Bytes,
        is_replayed: bool,
    ) -> Result<(), Violation> {
        let link = self.network.link(id);
        let Some(peer) = link.sides[side].peer.filter(|_| link.is_up && link.epoch == epoch) else { return Ok(()) };
        let (receiver, sender) = (link.ends[side], link.ends[1 - side]);
        if is_replayed {
            self.counts.add(Fault::Replay);
        }
        match self.network.receive(id, side, bytes, is_replayed) {
            Ok(message) => {
                if let Inbound::Vertex(vertex) = &message {
                    self.expect_evidence(receiver, vertex)?;
                }
                self.step(receiver, Event::Message { from: peer, message })
            }
            Err(breach) if self.nodes[sender].is_honest => {
                Err(Violation::Conduct(format!("node {receiver} finds a breach of node {sender}: {breach}")))
            }
            Err(_) => {
                self.refuse(id);
                Ok(())
            }
        }
    }

    /// A replica wants a peer disconnected that broke the protocol.
    pub(super) fn breach(&mut self, node: NodeId, peer: Peer, reason: &str) -> Result<(), Violation> {
        let Some((id, side)) = self.network.connection(node, peer) else { return Ok(()) };
        let sender = self.network.link(id).ends[1 - side];
        if self.nodes[sender].is_honest {
            return Err(Violation::Conduct(format!("node {node} finds a breach of node {sender}: {reason}")));
        }
        self.refuse(id);
        Ok(())
    }

    fn refuse(&mut self, id: LinkId) {
        self.network.link_mut(id).refused_until_us = self.now_us + REFUSED_US;
        self.sever(id, false);
    }

    /// Breaks a connection. Both ends notice some time, later if one of them just fell silent.
    pub(super) fn sever(&mut self, id: LinkId, is_silent: bool) {
        if !self.network.disconnect(id) {
            return;
        }
        let epoch = self.network.link(id).epoch;
        for side in 0..2 {
            let delay_us = self.network.notice_us(is_silent);
            self.schedule(delay_us, Incident::Lost { link: id, side, epoch });
        }
        let delay_us = self.network.reconnect_us();
        self.schedule(delay_us, Incident::Connect(id));
    }

    pub(super) fn lost(&mut self, id: LinkId, side: usize, epoch: u64) -> Result<(), Violation> {
        let end = &self.network.link(id).sides[side];
        if end.epoch == epoch { self.tell_disconnected(id, side) } else { Ok(()) }
    }

    fn tell_disconnected(&mut self, id: LinkId, side: usize) -> Result<(), Violation> {
        let link = self.network.link_mut(id);
        let node = link.ends[side];
        match link.sides[side].peer.take() {
            Some(peer) => self.step(node, Event::Disconnected(peer)),
            None => Ok(()),
        }
    }

    pub(super) fn connect(&mut self, id: LinkId) -> Result<(), Violation> {
        let link = self.network.link(id);
        let ends = link.ends;
        // A machine that is switched on tries again, and so does the end of a cut.
        let is_possible = !link.is_up && ends.iter().all(|end| self.nodes[*end].is_running()) && !self.is_cut(ends);
        if !is_possible {
            return Ok(());
        }
        let refused_us = link.refused_until_us.saturating_sub(self.now_us);
        if refused_us > 0 {
            self.schedule(refused_us, Incident::Connect(id));
            return Ok(());
        }
        // A new connection takes the place of the one that an end still believes in.
        for side in 0..2 {
            self.tell_disconnected(id, side)?;
        }
        let epoch = self.network.connect(id);
        for side in 0..2 {
            let peer = self.name_of(ends[1 - side], ends[side]);
            // Either may have lost power or dropped the connection at the news.
            if self.network.link(id).is_up && self.nodes[ends[side]].is_running() {
                let end = &mut self.network.link_mut(id).sides[side];
                (end.peer, end.epoch) = (Some(peer), epoch);
                self.step(ends[side], Event::Connected(peer))?;
            }
        }
        if ends.iter().any(|end| !self.nodes[*end].is_running()) {
            self.sever(id, false);
        }
        Ok(())
    }

    pub(super) fn partition_begins(&mut self, number: usize) -> Result<(), Violation> {
        self.partitions[number] = true;
        let partition = self.plan.partitions[number].clone();
        self.counts.add(if partition.is_one_way { Fault::OneWay } else { Fault::Partition });
        for id in self.network.ids() {
            let ends = self.network.link(id).ends;
            if !self.is_across(number, ends) {
                continue;
            }
            if !partition.is_one_way {
                self.sever(id, true);
                continue;
            }
            let inside = usize::from(!partition.side.contains(&ends[0]));
            self.network.link_mut(id).sides[inside].stalled_until_us = partition.until_us;
        }
        Ok(())
    }

    pub(super) fn partition_ends(&mut self, number: usize) -> Result<(), Violation> {
        self.partitions[number] = false;
        for id in self.network.ids() {
            let delay_us = self.network.reconnect_us();
            self.schedule(delay_us, Incident::Connect(id));
        }
        Ok(())
    }

    /// Some connection breaks, and comes back.
    pub(super) fn flap(&mut self) -> Result<(), Violation> {
        if self.has_healed {
            return Ok(());
        }
        self.counts.add(Fault::Flapping);
        let id = self.random.position(self.network.ids().len());
        let is_silent = self.random.chance(250_000);
        self.sever(id, is_silent);
        let delay_us = self.random.range(0..=2 * self.plan.flap_every_us);
        self.schedule(delay_us, Incident::Flap);
        Ok(())
    }

    /// The node that this one takes for the equivocating validator becomes the other one.
    pub(super) fn swap_twins(&mut self, node: NodeId, author: Author) -> Result<(), Violation> {
        self.counts.add(Fault::Twins);
        let twins: Vec<NodeId> = (0..self.nodes.len()).filter(|twin| self.nodes[*twin].author == author).collect();
        let seen = self.twin_of[&(node, author)];
        let other = twins.iter().copied().find(|twin| *twin != seen);
        self.twin_of.insert((node, author), other.expect("twins are two"));
        for id in self.network.ids() {
            let link = self.network.link(id);
            if link.side_of(node).is_some() && link.ends.iter().any(|end| twins.contains(end)) {
                self.sever(id, false);
            }
        }
        Ok(())
    }

    /// What `observer` calls `other`: to it, one of the twins is the validator, and the other one somebody who listens.
    fn name_of(&mut self, other: NodeId, observer: NodeId) -> Peer {
        let author: Author = self.nodes[other].author;
        if self.twin_of.get(&(observer, author)).is_some_and(|twin| *twin != other) {
            self.followers += 1;
            return Peer::Follower(self.followers);
        }
        Peer::Validator(author)
    }

    fn is_cut(&self, ends: [NodeId; 2]) -> bool {
        (0..self.partitions.len()).any(|number| {
            self.partitions[number] && !self.plan.partitions[number].is_one_way && self.is_across(number, ends)
        })
    }

    fn is_across(&self, number: usize, ends: [NodeId; 2]) -> bool {
        let partition = &self.plan.partitions[number];
        let is_inside = |node: NodeId| partition.side.contains(&node);
        let is_spared = ends.iter().any(|end| partition.except == Some(*end));
        !is_spared && is_inside(ends[0]) != is_inside(ends[1])
    }
}
