//! The ledger of Farthing: a deterministic state machine for accounts and fee-free signed transfers.
//!
//! No I/O, clock, randomness, floats, threads or async; time and entropy come in as arguments.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod account;
pub mod account_proof;
pub mod address;
pub mod amount;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod execution;
pub mod flush;
pub mod genesis;
pub mod hash;
mod index;
pub mod keys;
pub mod merkle;
pub mod receipt;
pub mod replay;
pub mod signature;
pub mod state;
pub mod state_tree;
pub mod transaction;
mod transfer;
