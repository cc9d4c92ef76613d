//! Faults, done to real processes: see `faults.md` of the design for the list, `docs/testing.md` for figures.
//!
//! The programs must have been built (`tests/run` does). One network runs at a time. Tests that are ignored belong to
//! `tests/soak`. Random choices are printed as a seed, which `FARTHING_FAULTS_SEED` gives again.

mod clock;
mod configuration;
mod disk;
mod hostile;
mod identity;
mod kills;
mod partitions;
mod wal;
