//! Tests of Farthing as a whole: the [`sim`]ulator here, end-to-end tests over real processes in `tests/`.

pub mod sim;
