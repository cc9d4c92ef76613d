//! Engines against one another, in virtual time.

mod amnesia;
mod bounds;
mod catch_up;
mod faults;
mod fed;
mod network;
mod node;
mod progress;
mod restart;
mod retention;
mod scenarios;
mod storm;
