//! Engines against one another, in virtual time.

mod network;
mod progress;
