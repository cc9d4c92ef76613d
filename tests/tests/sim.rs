//! The simulator itself: seeds pass, runs repeat, mistakes are noticed, and idling costs nothing.

use farthing_core::execution::IDLE_COMMITS_MAX;
use farthing_tests::sim::plan::{Planted, SECOND_US};
use farthing_tests::sim::world::World;
use farthing_tests::sim::{Failure, Options, Plan, Violation, simulate};

#[test]
fn seeds_pass() {
    std::thread::scope(|scope| {
        for first in [1_000, 1_015] {
            scope.spawn(move || {
                for seed in first..first + 15 {
                    let report = simulate(&Plan::draw(seed, &Options::default()));
                    report.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
                }
            });
        }
    });
}

#[test]
fn larger_and_smaller_committees_pass() {
    for validators in [1, 2, 3, 7] {
        let options = Options { validators, seconds: 10 };
        for seed in 0..2 {
            let report = simulate(&Plan::draw(seed, &options));
            report.unwrap_or_else(|failure| panic!("seed {seed} of {validators} validators: {failure}"));
        }
    }
}

#[test]
fn a_seed_gives_the_same_events_each_time() {
    let options = Options { seconds: 10, ..Options::default() };
    let run = |seed| simulate(&Plan::draw(seed, &options)).expect("the seed passes");
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!(first, again);
    assert_ne!(first.hash, other.hash);
}

#[test]
fn a_disk_that_loses_synced_writes_is_noticed() {
    for seed in 0..5 {
        let mut plan = Plan::calm(seed, 4);
        plan.faults_until_us = 20 * SECOND_US;
        plan.transactions_per_second = 20;
        plan.blackout_us = Some(10 * SECOND_US);
        simulate(&plan).expect("nothing is wrong with disks that do what they say");
        plan.planted = Some(Planted::LosesSyncedWrites(1));
        let failure = simulate(&plan).expect_err("a machine forgets what it sent and said");
        let is_noticed = matches!(failure, Failure::Violation(Violation::DoubleSigning(_) | Violation::Lost(_)));
        assert!(is_noticed, "seed {seed}: {failure}");
    }
}

#[test]
fn a_transfer_after_two_idle_hours_is_final_at_once() {
    let mut world = World::new(Plan::calm(1, 4));
    world.heal();
    world.run_until(7_200 * SECOND_US).expect("nothing goes wrong");
    let rounds = world.highest_round();
    // Two a second; a few more around each of the blocks that an idle network makes.
    let most = 2 * 7_200 + 20 + 2 * (2 * 7_200 / IDLE_COMMITS_MAX);
    assert!((3 * 7_200 / 2..=most).contains(&rounds), "{rounds} rounds in two idle hours");

    let order = world.clients.transfer(world.wall_ms());
    world.submit_order(order);
    world.run_until(7_201 * SECOND_US).expect("nothing goes wrong");
    assert!(world.is_executed(order), "the transfer is not final after a second");
    world.settle().expect("the block is certified");
    world.idle().expect("idling goes on");
    world.finish().expect("everything is in order");
}
