//! Storage: one suite over memory and RocksDB, then what only one of them can do.

mod agreement;
mod begin;
mod blocks;
mod faults;
mod fixtures;
mod footprint;
mod ids;
mod memory;
mod pruning;
mod rocks;
mod snapshots;
mod suite;
