//! A simulation: somebody with a share of all money floods the network as best it can, and a newcomer wants to pay.
//!
//! The network of the default parameters has a supply of 10^9 FAR and executes 20,000 plain transfers a second. The attacker
//! - splits its money over as many accounts as it can open, each with nothing but F: that gives it the most bandwidth, and all of its
//!   accounts stand in the newcomer's bucket of the mempool;
//! - or keeps it in a thousand rich accounts, which stand in another bucket;
//! - begins with all accounts full and overdraws them all to −F, as if every validator helped it;
//! - sends at full speed or at the target, always or in pulses, its accounts in turn. What waits in a pulse is withdrawn at its end.
//!
//! The newcomer's account holds next to nothing. It pays every 72 minutes, 20 times a day, for two days; many newcomers with phases of
//! their own are tried. The mempool takes the least recently executed sender of the bucket first, so when the network is saturated the
//! newcomer waits while accounts of the attacker can pay that were executed longer ago than itself; and if the multiplier makes the payment
//! dearer than what it has, it waits for that, too.

use farthing_core::amount::Amount;
use farthing_core::bandwidth::{Bandwidth, BandwidthParameters, Load, Multiplier, capacity_bytes};
use farthing_core::codec;
use std::collections::VecDeque;

const SUPPLY_FAR: u64 = 1_000_000_000;
/// What a plain transfer is charged, in bytes.
const PLAIN: u64 = 200;
/// Plain transfers that the network executes in a second.
const SPEED: u64 = 20_000;
const DAY_S: u64 = 86_400;
const DAYS: u64 = 2;
const INTERVAL_S: u64 = 4_320;
/// Their phases are spread by a multiplier without common factors with anything else here, or pulses would meet all of them or none.
const NEWCOMERS: u64 = 301;

/// Accounts that act as one.
struct Group {
    bandwidth: Bandwidth,
    executed_s: i64,
}

#[derive(Clone, Copy, Debug)]
struct Strategy {
    splits: bool,
    /// Transfers a second while it sends.
    speed: u64,
    on_s: u64,
    off_s: u64,
}

struct Newcomer {
    bandwidth: Bandwidth,
    /// When the next payment is due, or since when it waits.
    due_s: u64,
    executed_s: i64,
    latencies: Vec<f64>,
}

struct Report {
    /// Payments a day, of the newcomer that fared worst.
    a_day: f64,
    /// Seconds to finality.
    p50: f64,
    p99: f64,
    multiplier_mean: f64,
}

/// What the bandwidth becomes: the ledger's own arithmetic, except that only the ledger itself may change one.
fn spend(bandwidth: &mut Bandwidth, parameters: &BandwidthParameters, capacity: u128, now_ms: u64, cost_bytes: u128) {
    let left = bandwidth.available(parameters, capacity, now_ms) - parameters.byte_ms(cost_bytes);
    *bandwidth = codec::decode(&codec::encode(&(left, now_ms)), 24).unwrap();
}

fn simulate(share_ten_thousandths: u64, strategy: Strategy) -> Report {
    let parameters = BandwidthParameters::default();
    let far = SUPPLY_FAR / 10_000 * share_ten_thousandths;
    let (accounts, balance_far) = if strategy.splits { (far, 0) } else { (1_000, far / 1_000) };
    let capacity = capacity_bytes(&parameters, Amount::from_far(balance_far).unwrap());
    // A group is what sends in a second.
    let size = strategy.speed.min(accounts);
    let group = || Group { bandwidth: Bandwidth::new(&parameters, capacity, 0), executed_s: -1_000_000 };
    let mut groups: VecDeque<Group> = (0..accounts / size).map(|_| group()).collect();
    let base = u128::from(parameters.base_bytes);
    let newcomer = |number: u64| Newcomer {
        bandwidth: Bandwidth::new(&parameters, base, 0),
        due_s: 1 + number * 1_993 % INTERVAL_S,
        executed_s: 0,
        latencies: Vec::new(),
    };
    let mut newcomers: Vec<Newcomer> = (0..NEWCOMERS).map(newcomer).collect();
    let mut load = Load::none(0);
    let mut multipliers = 0.0;
    for now_s in 0..DAYS * DAY_S {
        let now_ms = now_s * 1_000;
        load = load.at(&parameters, now_ms);
        let multiplier = load.multiplier;
        multipliers += f64::from(multiplier.sixteen_bits()) / 65_536.0;
        let mut next_executed_s = None;
        if now_s % (strategy.on_s + strategy.off_s) < strategy.on_s {
            let sent = attack(&mut groups, size, strategy.speed / size, &parameters, capacity, now_s, multiplier);
            if let Some((executed_s, charged)) = sent {
                load = Load { charged_bytes: load.charged_bytes + charged, ..load };
                next_executed_s = (strategy.splits && strategy.speed >= SPEED).then_some(executed_s);
            }
        }
        for newcomer in newcomers.iter_mut().filter(|newcomer| newcomer.due_s <= now_s) {
            // Of accounts that executed at the same time, the attacker's came first.
            if next_executed_s.is_none_or(|executed_s| newcomer.executed_s < executed_s) {
                newcomer.pay(&parameters, now_s, multiplier);
            }
        }
    }
    report(newcomers, multipliers / (DAYS * DAY_S) as f64)
}

/// Whether an account can send, overdrawing as far as blocks let it.
fn can(
    bandwidth: &Bandwidth,
    parameters: &BandwidthParameters,
    capacity: u128,
    now_ms: u64,
    multiplier: Multiplier,
) -> bool {
    let left = bandwidth.available(parameters, capacity, now_ms) - parameters.byte_ms(multiplier.times(PLAIN));
    left >= -parameters.byte_ms(parameters.base_bytes.into())
}

/// The least recently executed group that can sends, each of its accounts so many transfers. Returns when it was executed before, and
/// what is charged.
fn attack(
    groups: &mut VecDeque<Group>,
    accounts: u64,
    each: u64,
    parameters: &BandwidthParameters,
    capacity: u128,
    now_s: u64,
    multiplier: Multiplier,
) -> Option<(i64, u64)> {
    let now_ms = now_s * 1_000;
    // Those that executed longest ago have recovered most; prices differ, so some of them are looked at.
    let able = groups.iter().take(64).position(|group| can(&group.bandwidth, parameters, capacity, now_ms, multiplier));
    let mut group = able.and_then(|position| groups.remove(position))?;
    spend(&mut group.bandwidth, parameters, capacity, now_ms, multiplier.times(PLAIN * each));
    let before_s = std::mem::replace(&mut group.executed_s, now_s as i64);
    groups.push_back(group);
    Some((before_s, accounts * each * PLAIN))
}

impl Newcomer {
    /// Its turn: it pays, unless that is too dear now. Then its wallet tries again a second later; the payment is lost when the next
    /// one is due.
    fn pay(&mut self, parameters: &BandwidthParameters, now_s: u64, multiplier: Multiplier) {
        let base = u128::from(parameters.base_bytes);
        let cost = multiplier.times(PLAIN);
        if self.bandwidth.available(parameters, base, now_s * 1_000) < parameters.byte_ms(cost) {
            if now_s - self.due_s >= INTERVAL_S {
                self.due_s += INTERVAL_S;
            }
            return;
        }
        spend(&mut self.bandwidth, parameters, base, now_s * 1_000, cost);
        // What a transfer takes on a network that is not saturated.
        self.latencies.push((now_s - self.due_s) as f64 + 0.3);
        self.executed_s = now_s as i64;
        self.due_s += INTERVAL_S;
    }
}

fn report(newcomers: Vec<Newcomer>, multiplier_mean: f64) -> Report {
    let a_day = newcomers.iter().map(|newcomer| newcomer.latencies.len() as f64 / DAYS as f64).fold(f64::MAX, f64::min);
    let mut latencies: Vec<f64> = newcomers.into_iter().flat_map(|newcomer| newcomer.latencies).collect();
    latencies.sort_by(f64::total_cmp);
    let percentile = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
    Report { a_day, p50: percentile(50), p99: percentile(99), multiplier_mean }
}

/// How the attacker may go about it.
fn strategies() -> Vec<Strategy> {
    let split = |speed, on_s, off_s| Strategy { splits: true, speed, on_s, off_s };
    vec![
        // All it has, as fast as it goes.
        split(SPEED, 1, 0),
        // As much as keeps the multiplier where it is.
        split(5_000, 1, 0),
        // Pulses, with pauses in which the multiplier falls or the accounts recover.
        split(SPEED, 5, 60),
        split(SPEED, 10, 60),
        split(SPEED, 10, 600),
        split(SPEED, 20, 600),
        split(SPEED, 60, 3_600),
        split(SPEED, 200, 14_400),
        Strategy { splits: false, ..split(SPEED, 1, 0) },
        Strategy { splits: false, ..split(SPEED, 60, 3_600) },
    ]
}

/// The worst that an attacker with this share does, over all strategies: payments a day, seconds at the 99th percentile.
fn worst(share_ten_thousandths: u64) -> (f64, f64) {
    let mut worst = (f64::MAX, 0f64);
    for strategy in strategies() {
        let Report { a_day, p50, p99, multiplier_mean } = simulate(share_ten_thousandths, strategy);
        let share = share_ten_thousandths as f64 / 100.0;
        println!("{share} % {strategy:?}: {a_day} a day, p50 {p50} s, p99 {p99} s, multiplier {multiplier_mean:.2}");
        worst = (worst.0.min(a_day), worst.1.max(p99));
    }
    worst
}

#[test]
fn against_a_fiftieth_of_a_percent_nobody_notices() {
    let (a_day, p99) = worst(2);
    assert!(a_day >= 20.0 && p99 <= 5.0, "{a_day} payments a day, p99 {p99} s");
}

#[test]
fn against_a_fifth_of_a_percent_a_newcomer_pays_twenty_times_a_day() {
    let (a_day, p99) = worst(20);
    assert!(a_day >= 20.0 && p99 <= 5.0, "{a_day} payments a day, p99 {p99} s");
}

#[test]
fn against_two_percent_a_newcomer_still_pays() {
    let (a_day, p99) = worst(200);
    assert!(a_day >= 14.0, "{a_day} payments a day, p99 {p99} s");
}
