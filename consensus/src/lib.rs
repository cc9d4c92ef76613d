//! Consensus of Farthing (skeleton; the specification comes with the engine).
#![forbid(unsafe_code)]

pub mod archive;
mod attestations;
mod catch_up;
pub mod commit;
pub mod committee;
mod committer;
mod dag;
pub mod engine;
mod fetcher;
mod flow;
pub mod interface;
mod linearizer;
pub mod message;
mod pacemaker;
mod proposer;
mod recovery;
mod subscriptions;
mod synchronizer;
#[cfg(test)]
mod tests;
pub mod vertex;
