//! Bandwidth at the gate and in blocks.

use super::*;
use crate::test_support::{address, genesis_with};
use farthing_core::amount::Amount;
use farthing_core::bandwidth::BandwidthParameters;
use farthing_core::genesis::Parameters;
use farthing_core::transaction::{Authority, Operation, Output};

/// A network in which account 1, with one FAR, has 1,500 bytes a day and may overdraw them by 1,000.
fn network() -> Cluster {
    let bandwidth = BandwidthParameters {
        base_bytes: 1_000,
        bytes_per_far: 500,
        key_floor_bytes: 100,
        ..BandwidthParameters::default()
    };
    let far = |far| Amount::from_far(far).expect("small");
    let parameters = Parameters { bandwidth, ..Parameters::default() };
    let mut cluster = Cluster::of(genesis_with(4, parameters, vec![(address(1), far(1)), (address(2), far(1_000))]), 0);
    cluster.connect_all();
    cluster
        .run_until("everybody is ready", |cluster| (0..4).all(|machine| cluster.replica(machine).takes_transactions()));
    cluster
}

/// Payments by account 1 of one mite to account 2, each charged 200 bytes.
fn payments(cluster: &Cluster, nonces: std::ops::RangeInclusive<u64>) -> Vec<VerifiedTransaction> {
    let payment = |nonce| {
        let outputs = vec![Output { to: address(2), amount: Amount::from_mites(1), reference: None, open: false }];
        let transaction = Transaction {
            sender: address(1),
            authority: Authority::Root,
            nonce,
            valid_until_ms: START_MS + 600_000,
            operation: Operation::Transfer { outputs },
        };
        transaction.sign(cluster.committee.chain(), &key(1)).verify(cluster.committee.chain()).expect("well signed")
    };
    nonces.map(payment).collect()
}

#[test]
fn what_exceeds_the_bandwidth_is_told_when_it_would_pass() {
    let mut cluster = network();
    let first = payments(&cluster, 1..=7);
    assert!(cluster.submit(0, first.clone()).iter().all(|admission| *admission == Admission::Pending));
    // The eighth lacks 100 bytes, whether the others wait or are executed.
    let eighth = payments(&cluster, 8..=8);
    let told = cluster.submit(0, eighth.clone());
    let [Admission::Later { reason: DropReason::InsufficientBandwidth, passes_at_ms }] = told[..] else {
        panic!("{told:?}")
    };
    let missing_ms = 86_400_000 * 100 / 1_500;
    assert!((START_MS + missing_ms - 5_000..=START_MS + missing_ms + 5_000).contains(&passes_at_ms), "{passes_at_ms}");
    cluster.run_until("the first are executed", |cluster| first.iter().all(|one| cluster.is_settled(3, one)));
    let told = cluster.submit(3, eighth);
    assert!(matches!(told[..], [Admission::Later { reason: DropReason::InsufficientBandwidth, .. }]), "{told:?}");
}

#[test]
fn what_several_validators_let_through_overdraws_to_minus_f_and_no_further() {
    let mut cluster = network();
    let all: Vec<_> = (0..3).map(|part| payments(&cluster, 7 * part + 1..=7 * part + 7)).collect();
    for (machine, payments) in all.iter().enumerate() {
        let told = cluster.submit(machine, payments.clone());
        assert!(told.iter().all(|admission| *admission == Admission::Pending), "each sees only its own: {told:?}");
    }
    cluster.run(5_000);
    let executed = all.iter().flatten().filter(|payment| cluster.is_settled(3, payment)).count();
    assert_eq!(executed, (1_500 + 1_000) / 200);
    for machine in 0..4 {
        assert!(cluster.status(machine).mempool_transactions == 0, "what was left out is forgotten");
    }
    let dropped: BTreeSet<_> = (0..3).flat_map(|machine| cluster.machines[machine].dropped.clone()).collect();
    assert!(dropped.iter().all(|(_, reason)| *reason == DropReason::InsufficientBandwidth), "{dropped:?}");
    assert_eq!(dropped.len(), 21 - executed);
}
