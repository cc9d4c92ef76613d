//! Tests of Farthing as a whole: the [`sim`]ulator and networks of real [`processes`] here, the tests themselves in `tests/`.

pub mod processes;
pub mod sim;
