//! A seed's plan: which faults there are, how many, and how bad.
//!
//! A new kind of fault becomes a line of [`super::fault`], a field of [`Plan`], a draw here, and an event of the world.

use super::fault::{BYZANTINE, Fault, FaultSet};
use super::plan::{Byzantine, Conduct, MS_US, Options, Partition, Plan, Role, SECOND_US, SKEW_MS_MAX, Schedule};
use super::random::{MILLION, Random};
use farthing_consensus::committee::GC_DEPTH;
use farthing_consensus::vertex::Author;
use farthing_node::mempool::MempoolLimits;

/// A start after which a snapshot is needed, if commits came as fast as they can.
const OUTAGE_US: u64 = 60 * SECOND_US;

/// The latest start. Validators keep the vertices of 600 commits, which take at least 30 s to make.
const LATE_US_MAX: u64 = 25 * SECOND_US;

/// How far clocks may be off of which there are too many for the median, in milliseconds.
const SOME_SKEW_MS: u64 = 300_000;

impl Plan {
    /// What this seed decides.
    pub fn draw(seed: u64, options: &Options) -> Plan {
        let mut random = Random::new(seed, "plan");
        let drawn = FaultSet::draw(&mut random);
        let size = random.pick(&[4, 4, 4, 7, 7, 10]);
        let validators = options.validators.unwrap_or(size);
        let mut plan = Plan::calm(seed, validators);
        plan.faults = options.faults.clone().unwrap_or(drawn);
        plan.faults_until_us = options.seconds * SECOND_US;
        plan.transactions_per_second = random.pick(&[1, 5, 20, 40]);
        plan.has_bad_clients = plan.faults.has(Fault::BadClients);
        plan.flush_interval_ms = random.pick(&[1_000, 5_000]);
        draw_byzantine(&mut plan, &mut random);
        draw_machines(&mut plan, &mut random);
        draw_clocks(&mut plan, &mut random);
        draw_links(&mut plan, &mut random);
        draw_partitions(&mut plan, &mut random);
        draw_limits(&mut plan, &mut random);
        plan
    }
}

fn draw_byzantine(plan: &mut Plan, random: &mut Random) {
    let kinds: Vec<Fault> = BYZANTINE.iter().copied().filter(|fault| plan.faults.has(*fault)).collect();
    if kinds.is_empty() || plan.faulty_max() == 0 {
        return;
    }
    let count = random.range(1..=plan.faulty_max() as u64) as usize;
    let mut authors: Vec<Author> = (0..plan.validators as Author).collect();
    for _ in 0..count {
        let author = authors.swap_remove(random.position(authors.len()));
        let role = match random.pick(&kinds) {
            Fault::Twins => Role::Twins,
            Fault::Silent if random.chance(MILLION / 2) => Role::Silent,
            first => Role::Adversary(draw_conduct(plan, &kinds, first, random)),
        };
        plan.byzantine.push(Byzantine { author, role });
    }
}

/// One kind for certain, and some of the others.
fn draw_conduct(plan: &Plan, kinds: &[Fault], first: Fault, random: &mut Random) -> Conduct {
    let mut has = |fault: Fault| fault == first || (kinds.contains(&fault) && random.chance(MILLION / 2));
    let (withholds_votes, claims_falsely) = (has(Fault::WithheldVotes), has(Fault::FalseClaims));
    let (hides, equivocates, is_invalid) = (has(Fault::HiddenVertices), has(Fault::Equivocation), has(Fault::Invalid));
    let (has_phantoms, is_bad) = (has(Fault::PhantomParents), has(Fault::BadPayloads));
    let (lies, falls_silent) = (has(Fault::Lies), has(Fault::Silent));
    let mut rate = |is_on: bool, rates: &[u32]| if is_on { random.pick(rates) } else { 0 };
    Conduct {
        withholds_votes,
        // Nobody would ask a liar for anything who shows everything.
        hidden_per_million: rate(hides || lies, &[50_000, 300_000, MILLION]),
        equivocations_per_million: rate(equivocates, &[10_000, 100_000, MILLION]),
        invalid_per_million: rate(is_invalid, &[10_000, 100_000]),
        phantoms_per_million: rate(has_phantoms, &[2_000, 20_000]),
        bad_payloads_per_million: rate(is_bad, &[100_000, MILLION]),
        claims_falsely,
        lies_per_million: rate(lies, &[100_000, MILLION]),
        silent_from_us: falls_silent.then(|| random.range(0..=plan.faults_until_us)),
        orphan_after_rounds: (hides && random.chance(MILLION / 3)).then(|| GC_DEPTH + random.range(0..=6)),
        is_late: hides && random.chance(MILLION / 3),
        hidden_from: (hides && random.chance(MILLION / 3)).then(|| random.position(plan.validators) as Author),
    }
}

fn draw_machines(plan: &mut Plan, random: &mut Random) {
    let until_us = plan.faults_until_us;
    let crashes_per_million = random.pick(&[100, 400, 1_500]);
    let down_us = MS_US..=random.pick(&[1, 3, 15]) * SECOND_US;
    let blackout_us = random.range(0..=until_us);
    let late_us = random.range(SECOND_US..=until_us.clamp(SECOND_US, LATE_US_MAX));
    let sync_failures_per_million = random.pick(&[200, 2_000]);
    let slowest_ms = random.pick(&[10, 30, 100]);
    let latecomer = honest(plan, random);
    let lost_us = random.range(0..=until_us);
    plan.down_us = down_us;
    if plan.faults.has(Fault::Crash) {
        plan.crashes_per_million = crashes_per_million;
    }
    if plan.faults.has(Fault::Blackout) {
        plan.blackout_us = Some(blackout_us);
    }
    if plan.faults.has(Fault::LateStart) {
        plan.latecomer = Some((latecomer, late_us));
    }
    if plan.faults.has(Fault::LongOutage) {
        plan.latecomer = Some((latecomer, OUTAGE_US));
        plan.faults_until_us = plan.faults_until_us.max(OUTAGE_US + 5 * SECOND_US);
        // Without load, rounds idle, and there are few commits.
        plan.transactions_per_second = 20;
    }
    // Until it knows what it has signed, it counts as one of the f.
    if plan.faults.has(Fault::DiskLoss) && plan.byzantine.len() < plan.faulty_max() {
        plan.disk_loss = Some((latecomer, lost_us));
    }
    if plan.faults.has(Fault::SyncFailure) {
        plan.sync_failures_per_million = sync_failures_per_million;
    }
    if plan.faults.has(Fault::SlowDisk) {
        plan.sync_us = MS_US..=slowest_ms * MS_US;
    }
}

/// The time of a commit is a median of clocks: it stays true while no more than f are wrong, Byzantine ones among them. More of them
/// may be off too, but by less than clients' transactions are valid, or none could be promised to settle.
fn draw_clocks(plan: &mut Plan, random: &mut Random) {
    let has_room = plan.byzantine.len() < plan.faulty_max();
    let victim = honest(plan, random);
    let far_ms = |author: Author| if has_room && author == victim { SKEW_MS_MAX } else { SOME_SKEW_MS };
    if plan.faults.has(Fault::Skew) {
        plan.skew_ms = random.pick(&[5, 200]);
        plan.skewed = Some((victim, far_ms(victim)));
    }
    if plan.faults.has(Fault::ClockJump) {
        for _ in 0..random.range(1..=5) {
            let author = if random.chance(MILLION / 2) { victim } else { honest(plan, random) };
            plan.jumps.push((author, random.range(0..=plan.faults_until_us), far_ms(author)));
        }
    }
}

fn draw_links(plan: &mut Plan, random: &mut Random) {
    // A long outage is one of many commits: they come fast only on fast links.
    let slowest_us = random.pick(&[2, 20, 60, 120]) * MS_US;
    let slowest_us = if plan.faults.has(Fault::LongOutage) { 5 * MS_US } else { slowest_us };
    plan.latency_us = slowest_us / 4..=slowest_us;
    if plan.faults.has(Fault::Delay) {
        plan.jitter_us = random.pick(&[10, 100, 300]) * MS_US;
        plan.spikes_per_million = random.pick(&[2_000, 20_000]);
    }
    if plan.faults.has(Fault::Loss) {
        plan.losses_per_million = random.pick(&[5_000, 50_000, 150_000, 300_000]);
    }
    if plan.faults.has(Fault::Replay) {
        plan.replays_per_million = random.pick(&[10_000, 100_000, 500_000]);
    }
    if plan.faults.has(Fault::Flapping) {
        plan.flap_every_us = random.pick(&[100, 500, 2_000]) * MS_US;
    }
    if plan.faults.has(Fault::Reordering) {
        plan.reorders = true;
        plan.jitter_us = plan.jitter_us.max(50 * MS_US);
    }
    if plan.faults.has(Fault::SlowValidator) {
        let extra_us = random.pick(&[50, 230, 500]) * MS_US;
        plan.schedules.push(Schedule::SlowNode(honest(plan, random).into(), extra_us));
    }
    if plan.faults.has(Fault::SlowLeader) {
        plan.schedules.push(Schedule::SlowLeader(random.pick(&[60, 200, 400]) * MS_US));
    }
    if plan.faults.has(Fault::Alternating) {
        plan.schedules.push(Schedule::Alternating(10 * MS_US, 120 * MS_US));
    }
}

fn draw_partitions(plan: &mut Plan, random: &mut Random) {
    for fault in [Fault::Partition, Fault::OneWay] {
        if !plan.faults.has(fault) {
            continue;
        }
        for _ in 0..random.range(1..=3) {
            let from_us = random.range(0..=plan.faults_until_us);
            // A connection over which nothing comes for ten seconds breaks; one that is held up less does not.
            let is_one_way = fault == Fault::OneWay;
            let longest_us = if is_one_way { 8 * SECOND_US } else { 12 * SECOND_US };
            let until_us = (from_us + random.range(MS_US..=longest_us)).min(plan.faults_until_us);
            let share = random.pick(&[MILLION / 10, MILLION / 2]);
            let side = (0..plan.validators).filter(|_| random.chance(share)).collect();
            plan.partitions.push(Partition { from_us, until_us, side, is_one_way, except: None });
        }
    }
}

fn draw_limits(plan: &mut Plan, random: &mut Random) {
    if !plan.faults.has(Fault::TinyLimits) {
        return;
    }
    let gc_depth = random.pick(&[plan.gc_depth, 20, 8]);
    for byzantine in &mut plan.byzantine {
        // An orphan is used when its round is collected.
        if let Role::Adversary(Conduct { orphan_after_rounds: Some(rounds), .. }) = &mut byzantine.role {
            *rounds -= plan.gc_depth - gc_depth;
        }
    }
    plan.gc_depth = gc_depth;
    plan.flush_interval_ms = random.pick(&[100, 1_000]);
    plan.retention.blocks = random.pick(&[0, 100]);
    plan.mempool = MempoolLimits {
        transactions_max: random.pick(&[3, 30, 1_000]),
        bytes_max: random.pick(&[4_000, 1 << 20]),
        per_sender_max: random.pick(&[1, 8, 256]),
    };
    // Or settling takes long: each client tries again every few seconds only.
    plan.transactions_per_second = plan.transactions_per_second.min(5);
}

/// A validator that keeps to the protocol.
fn honest(plan: &Plan, random: &mut Random) -> Author {
    let honest: Vec<_> = (0..plan.validators as Author).filter(|author| plan.role_of(*author).is_none()).collect();
    random.pick(&honest)
}
