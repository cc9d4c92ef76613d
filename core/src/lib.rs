//! The ledger of Farthing: a deterministic state machine for accounts and fee-free signed transfers.
//!
//! No I/O, clock, randomness, floats, threads or async; time and entropy come in as arguments.
#![forbid(unsafe_code)]

pub mod address;
pub mod amount;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod genesis;
pub mod hash;
pub mod keys;
pub mod signature;
pub mod transaction;
