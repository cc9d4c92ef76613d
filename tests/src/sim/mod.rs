//! A discrete-event simulator: real replicas over simulated disks, networks and clocks.
//!
//! Each validator is a [`farthing_node::replica::Replica`], which is what runs in production: engine, mempool, executor and
//! certifier. Everything around it is simulated in one queue of events over virtual time, and everything that is left to chance
//! follows from one seed, so that a run can be repeated exactly: the events of a run have one hash.
//!
//! What a seed decides is its [`plan`]; [`world`] makes it happen, with the machines of [`node`] and [`disk`], the
//! connections of [`network`] and the [`client`]s' transactions; [`checker`] looks at everything that honest nodes store, send
//! and say, at the moment when they do. [`run()`] is one run from the first fault to the last check.
//!
//! # Faults
//! [`fault::Fault`] lists them. A seed draws a few kinds of them, or many, and how bad each is: machines that lose power
//! in the middle of what they want done, disks that fail to sync, clocks that jump; networks that cut, lose, repeat, reorder and
//! delay, at random or against the protocol; clients that make no sense, with operations of every kind; and up to f Byzantine validators of n = 3f + 1: silent
//! ones, twins (two replicas with one key), and [`adversary`]s with a program of their own.
//!
//! # Checks
//! | after | what |
//! |---|---|
//! | each commit or block that an honest node is about to store | it is what every other one has; nonces are consumed once, by what their owner signed; time does not run backwards |
//! | each own vertex that it sends | no other one left for the slot; the signing state on disk knows of it |
//! | each result that it tells clients | it is in that block; its commit is durable |
//! | each block and each start | all the money is there, in balances, holds and reserves; what clients were told of is there |
//! | every few steps | what it holds in memory is within [bounds](health::Bounds) |
//! | the end of the faults | commits resume within [ten rounds](health::RESUME_ROUNDS_MAX); everything is settled, executed and certified everywhere within [a minute](run()) |
//! | that | rounds go on, slowly; states are equal; what was acknowledged is stored; there is evidence against all who signed two vertices for a slot; the ledgers' own audit |
//!
//! A panic of a replica, which would stop a node in production, is a failure, too.

pub mod adversary;
pub mod checker;
pub mod client;
pub mod disk;
mod draw;
pub mod fault;
pub mod forgery;
pub mod health;
mod machines;
pub mod network;
pub mod node;
mod operations;
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

impl Failure {
    /// What kind of failure it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Violation(violation) => violation.kind(),
            Failure::Panic(_) => "panic",
            Failure::NotDeterministic(..) => "determinism",
        }
    }
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
