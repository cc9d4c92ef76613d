//! The engine: dispatches inputs to the state machines it is composed of.

pub use crate::interface::{Input, Now, Output, RECOVERY_COMMITS, Recovered, Settings, Status};

use crate::committee::Committee;
use crate::vertex::{Author, SignedHeader};
use farthing_core::keys::SecretKey;
use std::sync::Arc;

/// The consensus engine of one node.
pub struct Engine {
    status: Status,
}

impl Engine {
    /// Starts an engine.
    pub fn start(
        committee: Arc<Committee>,
        _own: Option<(Author, SecretKey)>,
        _settings: Settings,
        _recovered: Recovered,
        _now: Now,
        _outputs: &mut Vec<Output>,
    ) -> Engine {
        Engine {
            status: Status {
                round: 1,
                last_proposed: 0,
                highest_accepted: vec![0; committee.size()],
                last_commit: 0,
                last_commit_digest: *committee.chain(),
                last_leader_round: 0,
                gc_round: 0,
                executed: 0,
                voted_commit: 0,
                accepted: 0,
                suspended: 0,
                suspended_bytes: 0,
                fetching: 0,
                catching_up: false,
                idle: true,
                payload_bytes_max: 0,
                equivocators: Vec::new(),
            },
        }
    }

    /// Handles one input.
    pub fn step(&mut self, _now: Now, _input: Input, _outputs: &mut Vec<Output>) {}

    /// A picture of the engine.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Signed headers of accepted vertices that are not committed: the votes for [`crate::archive::Archive::recent_votes`].
    pub fn recent_votes(&self) -> Vec<SignedHeader> {
        Vec::new()
    }
}
