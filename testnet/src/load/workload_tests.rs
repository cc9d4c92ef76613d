use super::*;
use crate::{accounts, fake_network};
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::transaction::{Authority, Transaction};
use std::collections::BTreeMap;

/// Drives a few accounts' workload on a real ledger. Returns how many of each operation were executed.
fn drive(mixed: bool, turns: usize) -> BTreeMap<String, usize> {
    let genesis = fake_network::genesis();
    let mut ledger = Ledger::genesis(&genesis);
    let keys: Vec<SecretKey> = accounts::loaders().take(3).map(|name| accounts::key(&name)).collect();
    let mut workload = Workload::new(genesis.chain_hash(), genesis.parameters(), keys, mixed, 1);
    let addresses: Vec<Address> = (0..3).map(|account| workload.address(account)).collect();
    let total = |ledger: &Ledger| {
        Amount::checked_sum(addresses.iter().map(|address| ledger.account(address).expect("an account").balance))
    };
    let before = total(&ledger).expect("small");
    let mut counts = BTreeMap::new();
    for turn in 0..turns {
        let (sender, now_ms) = (turn % 3, genesis.timestamp_ms() + 100 * turn as u64);
        let (operation, work) = workload.next(sender, now_ms);
        let name: String = format!("{operation:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect();
        let nonce = ledger.account(&addresses[sender]).expect("an account").nonces.next();
        let transaction = Transaction {
            sender: addresses[sender],
            authority: Authority::Root,
            nonce,
            valid_until_ms: now_ms + 60_000,
            operation,
        };
        let signed = transaction.sign(ledger.chain(), &workload.keys[sender]).verify(ledger.chain()).expect("signed");
        let index = ledger.commit_index() + 1;
        let context = CommitContext { epoch: 0, index, digest: Digest::ZERO, timestamp_ms: now_ms };
        let block = ledger.execute(&context, std::slice::from_ref(&signed)).block.expect("not dropped");
        assert!(block.results[0].1.code.is_executed(), "turn {turn}, {name}: {:?}", block.results[0].1.code);
        workload.executed(signed.id(), work);
        assert_eq!(total(&ledger).and_then(|total| total.checked_add(workload.locked())), Some(before), "turn {turn}");
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[test]
fn a_mix_has_every_operation_and_all_of_it_is_executed() {
    let counts = drive(true, 1_200);
    let names: Vec<&str> = counts.keys().map(String::as_str).collect();
    let all = ["Capture", "OpenHold", "Release", "RemoveKey", "SetKey", "SetPolicy", "TopUp", "Transfer"];
    assert_eq!(names, all);
    assert!(counts.values().all(|count| *count >= 10), "{counts:?}");
}

#[test]
fn without_a_mix_all_is_payments() {
    assert_eq!(drive(false, 30), BTreeMap::from([("Transfer".to_string(), 30)]));
}
