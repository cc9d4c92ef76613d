//! A node of Farthing: it carries the engine and the ledger, which do no I/O, to sockets, disk and clocks.
//!
//! [`replica`] is the synchronous heart, driven by events; [`driver`] is the only owner of a replica, and the only place where it
//! meets the world: [`network`], [`storage`] through the [`journal`], the [`verifier`]'s threads, and the HTTP [`api`] through a
//! [`handle`]. [`node`] starts and stops all of them.

pub mod api;
pub mod certifier;
pub mod config;
pub mod driver;
pub mod executor;
pub mod file_descriptors;
pub mod genesis_document;
pub mod handle;
mod id_map;
pub mod init;
mod intake;
pub mod journal;
mod key_cache;
pub mod keys_file;
pub mod maintenance;
pub mod mempool;
pub mod metrics;
pub mod network;
pub mod node;
pub mod payload;
pub mod repair;
pub mod replica;
pub mod responder;
pub mod restart;
pub mod snapshot;
pub mod storage;
#[cfg(test)]
mod test_support;
pub mod verifier;
pub mod waiters;
