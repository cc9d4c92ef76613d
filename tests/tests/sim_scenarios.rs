//! The named scenarios of the fault inventory over whole replicas. What each rule is needed for is shown here or in the engine's tests.
//! Snapshots have a file of their own.

use farthing_consensus::engine::Settings;
use farthing_tests::sim::fault::Fault;
use farthing_tests::sim::plan::{Byzantine, Conduct, MS_US, Partition, Role, SECOND_US, Schedule};
use farthing_tests::sim::random::MILLION;
use farthing_tests::sim::world::World;
use farthing_tests::sim::{Plan, simulate};

/// Outputs are one ordered log: whatever effect is the last one before the power fails, nothing is contradicted later.
#[test]
fn a_crash_after_any_effect() {
    let plan = |point: u64| {
        let mut plan = Plan::calm(3, 4);
        plan.faults_until_us = 3 * SECOND_US;
        plan.transactions_per_second = 20;
        plan.down_us = SECOND_US / 2..=SECOND_US / 2;
        plan.crash_points = vec![(1, point)];
        plan
    };
    std::thread::scope(|scope| {
        for first in [0, 1] {
            scope.spawn(move || {
                for number in 0..20 {
                    // An odd stride, so that each kind of effect has its turn.
                    let point = 1 + (2 * number + first) * 17;
                    simulate(&plan(point)).unwrap_or_else(|failure| panic!("a crash after effect {point}: {failure}"));
                }
            });
        }
    });
}

/// A log that keeps a subset of its unsynced tail instead of a prefix does not exist. If it did, a node would start from it or refuse
/// to; in no case would it contradict what it sent and said.
#[test]
fn a_disk_that_keeps_a_subset_of_what_was_not_synced() {
    let mut refused = 0;
    for number in 0..30 {
        let mut plan = Plan::calm(number, 4);
        plan.faults_until_us = 4 * SECOND_US;
        plan.transactions_per_second = 40;
        plan.sync_us = 5 * MS_US..=30 * MS_US;
        plan.flush_interval_ms = 100;
        plan.torn = Some(1);
        plan.crash_points = vec![(1, 200 + 53 * number)];
        let report = simulate(&plan).unwrap_or_else(|failure| panic!("seed {number}: {failure}"));
        refused += report.refused;
    }
    assert!(refused < 30, "some of these databases can be opened");
}

/// §10: what a validator signed is not on its disk any more, since the disk is new, or since an old copy was put in its place. It asks
/// the others before it signs anything.
#[test]
fn a_lost_disk_and_an_old_copy() {
    for number in 0..10 {
        let mut plan = Plan::calm(number, 4);
        plan.faults_until_us = 8 * SECOND_US;
        plan.transactions_per_second = 20;
        plan.down_us = MS_US..=2 * SECOND_US;
        let (at_us, later_us) = (2 * SECOND_US + number * 90 * MS_US, 4 * SECOND_US + number * 170 * MS_US);
        match number % 2 {
            0 => plan.disk_loss = Some((2, later_us)),
            _ => plan.stale_copy = Some((2, at_us, later_us)),
        }
        simulate(&plan).unwrap_or_else(|failure| panic!("seed {number}: {failure}"));
    }
}

/// §10, amnesia: the links from A fail but for the one to a Byzantine validator; A proposes for some rounds, loses its disk and starts
/// again. It waits for the latest vertices of q others.
#[test]
fn a_lost_disk_when_only_a_byzantine_peer_has_the_newest_vertices() {
    for seed in 0..5 {
        let mut plan = Plan::calm(seed, 7);
        plan.faults_until_us = 12 * SECOND_US;
        plan.transactions_per_second = 5;
        // It knows what the one that loses its disk signed last, and says that it does not.
        let conduct = Conduct { lies_per_million: MILLION, ..Conduct::default() };
        plan.byzantine = vec![Byzantine { author: 3, role: Role::Adversary(conduct) }];
        let (from_us, until_us) = (3 * SECOND_US, 8 * SECOND_US);
        let partition = Partition { from_us, until_us, side: vec![0], is_one_way: true, except: Some(3) };
        plan.partitions = vec![partition];
        plan.disk_loss = Some((0, 5 * SECOND_US));
        simulate(&plan).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}

/// §12: idling ends at once when there is something to propose, also just after an idle proposal.
#[test]
fn a_payload_arrives_just_after_an_idle_proposal() {
    let wait_ms = |engine: Settings| {
        let mut world = World::new(Plan { engine, ..Plan::calm(1, 4) });
        world.heal();
        world.run_until(20 * SECOND_US).expect("nothing goes wrong");
        let (round, mut now_us) = (world.highest_round(), 20 * SECOND_US);
        while world.highest_round() == round {
            now_us += MS_US;
            world.run_until(now_us).expect("nothing goes wrong");
        }
        let order = world.clients.transfer(world.wall_ms());
        world.submit_order(order);
        let proposed_us = now_us;
        while !world.is_executed(order) {
            now_us += MS_US;
            world.run_until(now_us).expect("nothing goes wrong");
        }
        (now_us - proposed_us) / MS_US
    };
    let awake_ms = wait_ms(Settings::default());
    assert!(awake_ms <= 300, "a transfer on an idle network took {awake_ms} ms");
    // Without the rule, every vertex on the way of a transfer would wait for the delay of idling.
    let (idle_ms, settings) = (Settings::default().idle_delay_ms, Settings::default());
    let asleep_ms = wait_ms(Settings { round_delay_min_ms: idle_ms, round_delay_max_ms: idle_ms, ..settings });
    assert!(asleep_ms > 1_000, "a transfer on a sleeping network took {asleep_ms} ms");
}

/// §4, skipped rounds: with links of 10 and 120 ms whose turns change every round, the clock always passes somebody who waits.
#[test]
fn links_whose_latencies_are_scheduled_against_the_clock() {
    for seed in 0..3 {
        let mut plan = Plan::calm(seed, 4);
        plan.schedules = vec![Schedule::Alternating(10 * MS_US, 120 * MS_US)];
        plan.transactions_per_second = 5;
        plan.faults_until_us = 20 * SECOND_US;
        let mut world = World::new(plan);
        world.run_until(20 * SECOND_US).expect("nothing goes wrong");
        assert!(world.commits() >= 100, "seed {seed}: {} commits in 20 s", world.commits());
    }
}

/// §4, absent only near the last commit: of seven, one is slow after a partition, and two Byzantine ones leave out honest leaders
/// and hide their own vertices.
#[test]
fn a_slow_validator_and_two_byzantine_ones_that_leave_out_leaders() {
    for seed in 0..3 {
        let mut plan = Plan::calm(seed, 7);
        plan.faults_until_us = 30 * SECOND_US;
        plan.transactions_per_second = 5;
        let conduct = Conduct { withholds_votes: true, hidden_per_million: MILLION, ..Conduct::default() };
        let role = Role::Adversary(conduct);
        plan.byzantine = [1, 4].map(|author| Byzantine { author, role: role.clone() }).to_vec();
        plan.partitions = vec![Partition {
            from_us: SECOND_US,
            until_us: 3 * SECOND_US,
            side: vec![2],
            is_one_way: false,
            except: None,
        }];
        plan.schedules = vec![Schedule::SlowNode(2, 230 * MS_US)];
        let mut world = World::new(plan);
        let mut before = 0;
        for second in [10, 20, 30] {
            world.run_until(second * SECOND_US).expect("nothing goes wrong");
            let commits = world.commits() - before;
            assert!(commits >= 10, "seed {seed}: {commits} commits in the ten seconds up to {second}");
            before = world.commits();
        }
    }
}

/// §8 and §11: a Byzantine validator builds on vertices that nobody was shown, just as the others collect their rounds, comes a
/// round late, and hides from a validator that is slow and so a few commits behind; then it falls silent. What the others build on
/// it the slow one may never be able to accept; then the votes of f + 1 validators certify the commits that it lacks. (That this is
/// needed shows in the engine's tests, which set the one situation up step by step; here it comes about by chance or not.)
#[test]
fn vertices_with_parents_that_nobody_was_shown() {
    for seed in 0..12 {
        let mut plan = Plan::calm(seed, 4);
        plan.gc_depth = 8;
        plan.faults_until_us = 20 * SECOND_US;
        plan.transactions_per_second = 5;
        let conduct = Conduct {
            orphan_after_rounds: Some(plan.gc_depth + 2 + seed % 3),
            is_late: true,
            hidden_from: Some(1),
            silent_from_us: Some(19 * SECOND_US),
            ..Conduct::default()
        };
        plan.byzantine = vec![Byzantine { author: 3, role: Role::Adversary(conduct) }];
        plan.schedules = vec![Schedule::SlowNode(1, 230 * MS_US)];
        let report = simulate(&plan).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        assert!(report.faults.of(Fault::HiddenVertices) > 0, "seed {seed}: nothing was hidden");
    }
}
