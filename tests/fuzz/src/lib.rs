//! The harness of the fuzz tests: hostile bytes for every decoder, on stable Rust and within `cargo test`.
//!
//! A [`Target`] is a decoder with some valid inputs, its seeds. Random bytes hardly get past the first length, so what it is fed are
//! its seeds with one to six mutations each ([`mutation`]): bits flipped, numbers that lie about a length, parts left out, repeated, or taken from
//! another seed, and for texts tokens of the language. Whatever comes of it,
//! - nothing panics, and nothing takes longer than [`CASE_MAX`];
//! - what is allocated on the way stays in proportion to the input, whatever lengths it claims ([`allocation`]);
//! - what the target asserts itself holds: mostly that what was accepted has that one encoding.
//!
//! A failing input is made small, written to the target's corpus (`tests/fuzz/corpus/NAME/failed-…`), and so fails in every
//! run from then on until it is mended; then give it a better name and keep it.
//!
//! # Running it
//! `cargo test --release --workspace fuzz` runs all targets, each on its corpus and then for [`SECONDS_DEFAULT`], always with the same
//! random numbers. By environment variables:
//!
//! | variable | meaning |
//! |---|---|
//! | `FARTHING_FUZZ_SECONDS` | the time of each target; if given, the random numbers are other ones each time |
//! | `FARTHING_FUZZ_SEED` | the random numbers; a run prints its own, and repeats with it |
//! | `FARTHING_FUZZ_WRITE_CORPUS` | if set, writes each target's corpus anew, but for its findings: after a change of format |
//!
//! A corpus holds the small seeds and, for each way in which the decoder refused a mutated one, the smallest such input: twenty
//! files at most, of at most a kilobyte.

pub mod allocation;
mod corpus;
pub mod mutation;
mod target;

pub use mutation::Mutants;
pub use target::{CASE_MAX, SECONDS_DEFAULT, Target};

/// Where to put files that are written thousands of times: memory, if the system has a folder there.
pub fn scratch() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { memory.into() } else { std::env::temp_dir() }
}
