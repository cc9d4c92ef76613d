//! The simulator itself: seeds pass, runs repeat, mistakes are noticed, and idling costs nothing.

use farthing_core::execution::IDLE_COMMITS_MAX;
use farthing_core::transaction::Authority;
use farthing_tests::sim::disk::Mistake;
use farthing_tests::sim::fault::{Fault, FaultSet};
use farthing_tests::sim::plan::{Byzantine, Partition, Planted, Role, SECOND_US};
use farthing_tests::sim::world::World;
use farthing_tests::sim::{Failure, Options, Plan, Violation, simulate, simulate_twice};
use std::collections::BTreeSet;

/// Runs plans on two threads; each must pass.
fn pass(plans: Vec<Plan>) {
    let (even, odd): (Vec<_>, Vec<_>) = plans.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    std::thread::scope(|scope| {
        for half in [even, odd] {
            scope.spawn(move || {
                for (_, plan) in half {
                    let report = simulate(&plan);
                    report.unwrap_or_else(|failure| {
                        panic!("seed {} of {} validators, {}: {failure}", plan.seed, plan.validators, plan.faults)
                    });
                }
            });
        }
    });
}

#[test]
fn a_swarm_of_seeds_passes() {
    pass((1_000..1_032).map(|seed| Plan::draw(seed, &Options::default())).collect());
}

/// How often a fault is injected by a seed that has no other.
fn injected(fault: Fault, seed: u64) -> u64 {
    let faults = Some(FaultSet::new(&[fault]));
    let plan = Plan::draw(seed, &Options { validators: Some(4), seconds: 8, faults });
    let report = simulate(&plan).unwrap_or_else(|failure| panic!("{fault}, seed {seed}: {failure}"));
    report.faults.of(fault)
}

#[test]
fn each_kind_of_fault_passes_on_its_own_and_is_injected() {
    // Two kinds are circumstances, and not events.
    let events = Fault::ALL.iter().filter(|fault| !matches!(fault, Fault::SlowDisk | Fault::TinyLimits));
    let (even, odd): (Vec<Fault>, Vec<Fault>) = events.copied().partition(|fault| (*fault as usize).is_multiple_of(2));
    std::thread::scope(|scope| {
        for half in [even, odd] {
            scope.spawn(move || {
                for fault in half {
                    // Some draw low rates.
                    let is_injected = (0..10).any(|seed| injected(fault, seed) > 0);
                    assert!(is_injected, "{fault} was never injected");
                }
            });
        }
    });
}

#[test]
fn committees_that_tolerate_nobody_pass() {
    let options = |validators| Options { validators: Some(validators), seconds: 8, ..Options::default() };
    pass((1..=3).flat_map(|validators| (0..2).map(move |seed| Plan::draw(seed, &options(validators)))).collect());
}

#[test]
fn a_seed_gives_the_same_events_each_time() {
    let options = Options { seconds: 8, ..Options::default() };
    let run = |seed| simulate_twice(&Plan::draw(seed, &options)).expect("the seed passes, twice");
    assert_ne!(run(7).hash, run(8).hash);
}

/// A network of four in which one journal says too early that writes are done.
fn with_mistake(mistake: Mistake) -> Failure {
    let mut plan = Plan::calm(1, 4);
    plan.faults_until_us = 10 * SECOND_US;
    plan.transactions_per_second = 20;
    plan.blackout_us = Some(5 * SECOND_US);
    simulate(&plan).expect("nothing is wrong with a journal that says what is so");
    plan.planted = Some(Planted::Journal(1, mistake));
    simulate(&plan).expect_err("a machine says what it may have to forget")
}

/// A test of the tests: whether the workload has everything.
#[test]
fn clients_have_operations_of_every_kind_executed() {
    let mut plan = Plan::calm(3, 4);
    plan.faults_until_us = 60 * SECOND_US;
    plan.transactions_per_second = 40;
    let mut world = World::new(plan);
    world.run_until(60 * SECOND_US).expect("nothing goes wrong");
    world.heal();
    world.settle().expect("all of it is settled");
    world.finish().expect("everything is in order");
    let mut executed = BTreeSet::new();
    for (number, order) in world.clients.orders().iter().enumerate() {
        let transaction = order.transaction.transaction();
        if world.is_executed(number) {
            let text = format!("{:?}", transaction.operation);
            let name: String = text.chars().take_while(|letter| letter.is_alphanumeric()).collect();
            executed.insert((name, transaction.authority == Authority::Root));
        }
    }
    let expected = ["Capture", "OpenHold", "Release", "RemoveKey", "SetKey", "SetPolicy", "TopUp", "Transfer"];
    let by_root: Vec<_> = executed.iter().filter(|(_, is_root)| *is_root).map(|(name, _)| name.as_str()).collect();
    // No account is empty for a day here; in the histories of `core` some are.
    assert_eq!(by_root, expected);
    assert!(executed.contains(&("Transfer".to_string(), false)), "by a delegated key");
}

#[test]
fn a_journal_that_loses_synced_writes_is_noticed() {
    let failure = with_mistake(Mistake::LosesSyncedWrites);
    assert!(matches!(failure, Failure::Violation(Violation::Durability(_))), "{failure}");
}

#[test]
fn a_journal_that_speaks_before_it_has_synced_is_noticed() {
    let failure = with_mistake(Mistake::DoneBeforeSynced);
    assert!(matches!(failure, Failure::Violation(Violation::Durability(_))), "{failure}");
}

/// Two of four validators have two nodes each. One node of each is with one of the honest validators, the others with the other:
/// both sides have a quorum, and go different ways. The checker must not miss it.
#[test]
fn more_than_f_byzantine_validators_make_the_checker_fail() {
    let mut plan = Plan::calm(1, 4);
    plan.faults_until_us = 10 * SECOND_US;
    plan.byzantine = [0, 1].map(|author| Byzantine { author, role: Role::Twins }).to_vec();
    let sides = [[0, 1, 2], [4, 5, 3]];
    let side = sides[0].to_vec();
    plan.partitions =
        vec![Partition { from_us: 0, until_us: plan.faults_until_us, side, is_one_way: false, except: None }];
    let mut world = World::new(plan);
    for [first, second, honest] in sides {
        for observer in [first, second, honest] {
            world.take_for_real(observer, first);
            world.take_for_real(observer, second);
        }
    }
    let violation = world.run_until(10 * SECOND_US).expect_err("the two sides cannot agree");
    assert!(matches!(violation, Violation::Agreement(_)), "{violation}");
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
