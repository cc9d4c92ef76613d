//! Consensus of Farthing (skeleton; the specification comes with the engine).
#![forbid(unsafe_code)]

pub mod archive;
pub mod commit;
pub mod committee;
pub mod engine;
pub mod interface;
pub mod message;
pub mod vertex;
