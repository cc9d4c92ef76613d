//! How throughput and latency change with the size of the committee, between five regions of the world:
//! `cargo bench -p farthing-consensus --bench committees -- [TRANSFER_US [CORES]]`
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
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let machine = Machine {
        transfer_us: numbers.first().copied().unwrap_or(Machine::TRANSFER_US),
        cores: numbers.get(1).copied().unwrap_or(Machine::CORES).max(1),
    };
    println!("validators in turn in {}", REGIONS.join(", "));
    println!("each with {} cores, {} µs of one a transfer", machine.cores, machine.transfer_us);
    println!();
    println!(
        "| n | load | transfers/s | p50 ms | p99 ms | largest round trip | p50 in it | vertices/s | bytes sent a transfer | processors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for size in SIZES {
        let flooded = World::new(size, FLOOD, machine).run();
        print(size, "all it takes", &flooded, false);
        print(size, "idle", &World::new(size, IDLE, machine).run(), true);
        for share in SHARES {
            let figures = World::new(size, flooded.executed_per_second * share / 100, machine).run();
            print(size, &format!("{share} %"), &figures, true);
        }
    }
}

/// One line of the table. In a flood, latency says how long the queues are and nothing else.
fn print(size: usize, load: &str, figures: &Figures, has_latency: bool) {
    let largest_ms =
        (0..size).flat_map(|a| (0..size).map(move |b| round_trip_ms(a, b))).max().expect("there are validators");
    let (p50, p99, ratio) = match has_latency {
        true => (
            figures.p50_ms.to_string(),
            figures.p99_ms.to_string(),
            format!("{:.2}", figures.p50_ms as f64 / largest_ms as f64),
        ),
        false => ("–".into(), "–".into(), "–".into()),
    };
    println!(
        "| {size} | {load} | {} | {p50} | {p99} | {largest_ms} ms | {ratio} | {:.0} | {:.0} | {:.0} % |",
        figures.executed_per_second,
        figures.vertices_per_second,
        figures.sent_bytes_per_transfer,
        figures.processors_percent,
    );
}
