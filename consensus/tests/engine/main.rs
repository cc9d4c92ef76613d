//! Engines against one another, in virtual time.

mod amnesia;
mod bounds;
mod catch_up;
mod faults;
mod network;
mod progress;
mod restart;
mod storm;
