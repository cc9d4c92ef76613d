//! Consensus of Farthing (skeleton; the specification comes with the engine).
#![forbid(unsafe_code)]

pub mod commit;
pub mod message;
pub mod vertex;
