//! A discrete-event simulator: real replicas over simulated disks, networks and clocks.
//!
//! Each validator is a [`farthing_node::replica::Replica`], which is what runs in production: engine, mempool, executor and
//! certifier. Everything around it is simulated in one queue of events over virtual time, and everything that is left to chance
//! follows from one seed, so that a run can be repeated exactly: the events of a run have one hash.
//!
//! What a seed decides is drawn in [`plan`]; [`world`] makes it happen, with the machines of [`node`] and [`disk`], the
//! connections of [`network`] and the [`client`]s' transactions; [`checker`] looks at everything that honest nodes store, send
//! and say, at the moment when they do. [`run()`] is one run from the first fault to the last check.
//!
//! # Faults
//! - power failures after any step, in the middle of what it wanted done, of one or of all; what was not synced is lost but for a
//!   prefix; a node that starts late, or stays down for long
//! - delays, jitter, late frames; lost frames, each of which breaks its connection; cuts of the network, and links held up in
//!   one direction
//! - wall clocks that are off, one of them by up to an hour, differently after each start
//! - disks that take their time, prune, and flush the state now and then; a DAG that keeps few rounds
//! - one Byzantine validator: silent, equivocating (two replicas with one key, of which each shows its vertices to a part of
//!   the others and hears all of them), or one that proposes forged transactions
//! - clients that overdraw, repeat, contradict themselves, come late, and make no sense
//!
//! # Checks
//! | after | what |
//! |---|---|
//! | each commit or block that an honest node is about to store | it is what every other one has; nonces are consumed once, by what their owner signed; time does not run backwards |
//! | each own vertex that it sends | no other one left for the slot; the signing state on disk knows of it |
//! | each result that it tells clients | it is in that block; its commit is durable |
//! | each block and each start | all the money is there; what clients were told of is there |
//! | the end of the faults | everything is settled, executed and certified everywhere within [a minute](run()) |
//! | that | rounds go on, slowly; states are equal; what was acknowledged is stored; the ledgers' own audit |
//!
//! A panic of a replica, which would stop a node in production, is a failure, too.

pub mod checker;
pub mod client;
pub mod disk;
pub mod network;
pub mod node;
pub mod plan;
pub mod random;
mod run;
mod submissions;
mod traffic;
pub mod world;

pub use checker::Violation;
pub use plan::{Options, Plan};
pub use run::{Report, run};

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A run that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The checker saw something that must never happen.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A replica panicked.
    #[error("panic: {0}")]
    Panic(String),
    /// The same seed gave two different runs.
    #[error("the same seed gave the events {0} and then {1}")]
    NotDeterministic(String, String),
}

/// Runs a plan; a panic becomes a failure.
///
/// # Errors
/// [`Failure`] says what went wrong.
pub fn simulate(plan: &Plan) -> Result<Report, Failure> {
    match catch_unwind(AssertUnwindSafe(|| run(plan))) {
        Ok(result) => Ok(result?),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            Err(Failure::Panic(text.unwrap_or_else(|| "without a message".into())))
        }
    }
}

/// Runs a plan twice and compares.
///
/// # Errors
/// As [`simulate`], and [`Failure::NotDeterministic`].
pub fn simulate_twice(plan: &Plan) -> Result<Report, Failure> {
    let (first, second) = (simulate(plan)?, simulate(plan)?);
    if first == second {
        return Ok(first);
    }
    Err(Failure::NotDeterministic(format!("{first:?}"), format!("{second:?}")))
}
