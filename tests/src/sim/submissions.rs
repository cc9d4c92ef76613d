//! What clients send into the world.

use super::checker::Violation;
use super::client::Fate;
use super::fault::Fault;
use super::network::NodeId;
use super::plan::SECOND_US;
use super::world::{Incident, World};
use farthing_core::transaction::VerifiedTransaction;
use farthing_node::replica::Admission;

impl World {
    /// Has a client send an order as soon as possible.
    pub fn submit_order(&mut self, order: usize) {
        self.checker.issued(&self.clients.orders()[order].transaction);
        let copies = self.clients.orders()[order].copies;
        self.schedule(0, Incident::Submit { order, copies });
    }

    pub(super) fn order(&mut self) -> Result<(), Violation> {
        if self.now_us >= self.plan.faults_until_us {
            return Ok(());
        }
        for order in self.clients.next(self.wall_ms(), self.plan.has_bad_clients) {
            if self.clients.orders()[order].fate != Fate::Settles {
                self.counts.add(Fault::BadClients);
            }
            self.submit_order(order);
        }
        let mean_us = SECOND_US / self.plan.transactions_per_second;
        let delay_us = self.random.range(0..=2 * mean_us);
        self.schedule(delay_us, Incident::Order);
        Ok(())
    }

    /// Sends an order to some validators, and again after a while.
    pub(super) fn submit(&mut self, order: usize, copies: usize) -> Result<(), Violation> {
        let (transaction, fate) = {
            let order = &self.clients.orders()[order];
            (order.transaction.clone(), order.fate)
        };
        if self.checker.is_acknowledged(&transaction.id()) {
            return Ok(());
        }
        let (id, mut was_taken) = (transaction.id(), false);
        // A Byzantine validator may keep what it is given to itself; to see progress, clients avoid it in the end.
        let is_asked = |node: &NodeId| self.nodes[*node].is_honest || !self.has_healed;
        let validators: Vec<NodeId> = (0..self.nodes.len()).filter(is_asked).collect();
        for _ in 0..copies {
            let node = self.random.pick(&validators);
            let admission = self.offer(node, transaction.clone())?;
            was_taken |= admission.is_some();
            if let Some(Admission::Dropped(reason)) = admission
                && fate == Fate::Settles
                && self.nodes[node].is_honest
            {
                self.checker.dropped(node, &id, reason)?;
            }
        }
        // What may get lost on its way is sent again only if that must not be.
        if fate == Fate::Settles || !was_taken {
            let delay_us = if was_taken { self.random.range(SECOND_US..=4 * SECOND_US) } else { SECOND_US / 5 };
            self.schedule(delay_us, Incident::Submit { order, copies: 1 });
        }
        Ok(())
    }

    /// Offers a transaction to a node, which answers if it runs and takes any.
    fn offer(&mut self, id: NodeId, transaction: VerifiedTransaction) -> Result<Option<Admission>, Violation> {
        let node = &mut self.nodes[id];
        if let Some(adversary) = &mut node.adversary {
            adversary.offer(transaction.signed().encode().into());
            return Ok(None);
        }
        let now = node.now(self.now_us);
        let Some(replica) = node.replica.as_mut().filter(|replica| replica.takes_transactions()) else {
            return Ok(None);
        };
        let mut effects = Vec::new();
        let (result, admission) = match replica.submit(now, vec![transaction], &mut effects) {
            Ok(admissions) => (Ok(()), admissions.first().copied()),
            Err(stop) => (Err(stop.to_string()), None),
        };
        self.after(id, result, effects)?;
        Ok(admission)
    }
}
