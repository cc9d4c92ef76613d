//! A replica that is behind what its peers keep fetches a snapshot, and is started anew from it.

use super::{Effect, Held, Replica, Stop};
use crate::network::{Outbound, Peer};
use crate::snapshot::SnapshotMessage;
use crate::snapshot::fetch::{Action, Fetch};
use crate::storage::{Batch, StorageError};
use farthing_consensus::engine::{Input, Now};
use farthing_consensus::vertex::Author;
use std::collections::BTreeSet;

/// What a replica that ends hands on to the one that takes its place in the same process.
#[derive(Debug, Default)]
pub struct Links {
    connected: BTreeSet<Author>,
    followers: BTreeSet<Peer>,
    subscribers: BTreeSet<Peer>,
}

impl Replica {
    /// Ends this replica, whose connections stay.
    pub fn into_links(self) -> Links {
        Links { connected: self.connected, followers: self.followers, subscribers: self.subscribers }
    }

    /// Takes over the connections of the replica before.
    ///
    /// # Errors
    /// As [`Replica::step`].
    pub fn take_over(&mut self, now: Now, links: Links, effects: &mut Vec<Effect>) -> Result<(), Stop> {
        self.inputs.extend(links.connected.iter().map(|author| Input::Connected(*author)));
        self.connected = links.connected;
        self.followers = links.followers;
        self.subscribers = links.subscribers;
        self.run(now, effects)
    }

    /// Begins to fetch a snapshot, if that is not under way.
    pub(super) fn begin_fetch(&mut self) -> Result<(), StorageError> {
        if self.fetch.is_none() {
            let staged = self.storage.staged()?;
            let connected = self.connected.iter().copied();
            let newest_commit = self.engine.status().last_commit;
            self.fetch = Some(Fetch::new(self.committee.clone(), self.chunk_level, newest_commit, staged, connected));
        }
        Ok(())
    }

    /// A validator answered to something that was asked for a snapshot.
    pub(super) fn snapshot_answer(
        &mut self,
        now: Now,
        from: Author,
        message: SnapshotMessage,
        effects: &mut Vec<Effect>,
    ) {
        let mut actions = Vec::new();
        if let Some(fetch) = &mut self.fetch {
            fetch.on_message(from, message, now.monotonic_ms, &mut actions);
        }
        self.fetch_actions(actions, effects);
    }

    /// Does what is due of the fetch under way.
    pub(super) fn poll_fetch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut actions = Vec::new();
        // If commits come after all there is no need for it: once they have led to what others keep, or beyond the snapshot. Not
        // before, or a peer that hands out one commit now and then would keep this node from ever starting from a snapshot.
        // What is staged stays.
        let engine = &self.engine;
        self.fetch.take_if(|fetch| {
            let status = engine.status();
            !status.behind_retention || fetch.is_behind(status.last_commit)
        });
        if let Some(fetch) = &mut self.fetch {
            fetch.poll(now.monotonic_ms, &mut actions);
        }
        self.fetch_actions(actions, effects);
    }

    fn fetch_actions(&mut self, actions: Vec<Action>, effects: &mut Vec<Effect>) {
        for action in actions {
            match action {
                Action::Send(to, message) => {
                    effects.push(Effect::Send { to: Peer::Validator(to), message: Outbound::Snapshot(message) });
                }
                Action::Drop(peer, reason) => {
                    effects.push(Effect::Disconnect { peer: Peer::Validator(peer), reason });
                }
                Action::Stage(stage) => {
                    self.persist(Batch { stage: Some(stage), ..Batch::default() }, false, effects);
                }
                Action::Complete => self.log.push(Held::Install),
            }
        }
    }

    /// Asks for the earliest time at which the engine, the fetch or forwarding wants to be woken, if it was not asked for already.
    pub(super) fn set_timer(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let fetch_ms = self.fetch.as_ref().and_then(Fetch::next_poll_ms);
        let fetch_ms = fetch_ms.map(|at_ms| at_ms.max(now.monotonic_ms + 1));
        let at_ms = self.engine_timer_ms.into_iter().chain(fetch_ms).chain(self.forwarding_due_ms()).min();
        if at_ms != self.timer_ms
            && let Some(at_ms) = at_ms
        {
            self.timer_ms = Some(at_ms);
            effects.push(Effect::SetTimer { at_ms });
        }
    }
}
