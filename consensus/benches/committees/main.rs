//! How throughput and latency change with the size of the committee, between five regions of the world:
//! `cargo bench -p farthing-consensus --bench committees -- [CHECK_US EXECUTE_US CORES]`
//!
//! Real engines exchange real, signed vertices in virtual time, all in one thread ([`world`]); what they stand on is modelled
//! ([`machine`]). Each committee is first given more than it takes; then, in an open loop, next to nothing, half of what it took and
//! nine tenths of it. A transfer arrives at one validator, all of which get equally many at an even pace, and counts from then until
//! that validator has executed it: the way from the client and back is not in it.

#![expect(clippy::disallowed_types, reason = "floats are for people to read here")]

mod machine;
mod world;

use machine::{Machine, REGIONS, round_trip_ms};
use world::{Figures, World};

const SIZES: [usize; 4] = [4, 7, 10, 25];

/// Transfers a second offered: more than any committee takes, next to nothing, and in percent of what it took.
const FLOOD: u64 = 1_000_000;
const IDLE: u64 = 20;
const SHARES: [u64; 2] = [50, 90];

fn main() {
    // Cargo adds arguments of its own.
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [check_us, execute_us, cores] = numbers.try_into().unwrap_or([14, 2, 4]);
    let machine = Machine { check_us, execute_us, cores: cores.max(1) };
    println!("validators in turn in {}", REGIONS.join(", "));
    println!(
        "each with {cores} cores; a transfer takes {check_us} µs of any of them and {execute_us} µs of one thread"
    );
    println!();
    println!(
        "| n | load | offered/s | executed/s | p50 ms | p99 ms | largest round trip | p50 in it | vertices/s | bytes sent a transfer | processors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for size in SIZES {
        let flooded = World::new(size, FLOOD, machine).run();
        print(size, "flooded", FLOOD, &flooded);
        print(size, "idle", IDLE, &World::new(size, IDLE, machine).run());
        for share in SHARES {
            let offered = flooded.executed_per_second * share / 100;
            print(size, &format!("{share} %"), offered, &World::new(size, offered, machine).run());
        }
    }
}

/// One line of the table. In a flood, latency tells how long the queues are that the intake allows.
fn print(size: usize, load: &str, offered: u64, figures: &Figures) {
    let largest_ms =
        (0..size).flat_map(|a| (0..size).map(move |b| round_trip_ms(a, b))).max().expect("there are validators");
    println!(
        "| {size} | {load} | {offered} | {} | {} | {} | {largest_ms} ms | {:.2} | {:.0} | {:.0} | {:.0} % |",
        figures.executed_per_second,
        figures.p50_ms,
        figures.p99_ms,
        figures.p50_ms as f64 / largest_ms as f64,
        figures.vertices_per_second,
        figures.sent_bytes_per_transfer,
        figures.processors_percent,
    );
}
