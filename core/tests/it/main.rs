//! Tests of the ledger through its public interface.

mod amounts_and_addresses;
mod blocks;
mod certificates;
mod codecs;
mod drops;
mod genesis;
mod golden;
mod helpers;
mod merkle;
mod model;
mod proofs;
mod replay;
mod restore;
mod scenario;
mod signatures;
mod state_chunks;
mod transactions;
mod transfers;
