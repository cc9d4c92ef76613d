//! How much memory the state takes: `cargo bench -p farthing-core --bench memory -- [ACCOUNTS …]`, on Linux.
//!
//! In bytes an account of resident memory, index and Merkle tree included, right after the state was made, and after every account took
//! part in a transfer and a root was computed.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads what Linux says of it")]

use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, SecretKey, Signature};
use farthing_core::transaction::{Authority, Operation, Output, SignedTransaction, Transaction, VerifiedTransaction};

const START_MS: u64 = 1_700_000_000_000;

/// Transfers of one commit.
const COMMIT: usize = 10_000;

fn main() {
    let mut counts: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if counts.is_empty() {
        counts = vec![1_000_000, 10_000_000];
    }
    println!("  accounts  bytes an account  after a transfer each");
    for accounts in counts {
        let genesis = genesis(accounts);
        let before = resident_bytes();
        let mut ledger = Ledger::genesis(&genesis);
        let made = resident_bytes() - before;
        pay_from_all(&mut ledger, accounts);
        let used = resident_bytes() - before;
        println!("{accounts:10}  {:16.0}  {:21.0}", made as f64 / accounts as f64, used as f64 / accounts as f64);
    }
}

fn address(number: usize) -> Address {
    Address(PublicKey(*Digest::of("bench/v1", &[&number.to_le_bytes()]).as_bytes()))
}

fn genesis(accounts: usize) -> Genesis {
    let prefix: AddressPrefix = "far".parse().expect("a prefix");
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public_key();
    let validator = Validator { name: "a".into(), public_key: key(1), network_key: key(2) };
    let accounts = (0..accounts).map(|number| (address(number), Amount::from_mites(1_000_000))).collect();
    Genesis::new("bench", &prefix, START_MS, Parameters::default(), vec![validator], accounts).expect("valid")
}

/// Every account pays the next one, a commit a second, each of which computes a root; what the last one changed is rooted, too.
fn pay_from_all(ledger: &mut Ledger, accounts: usize) {
    let chain = *ledger.chain();
    for start in (0..accounts).step_by(COMMIT) {
        let payers = start..accounts.min(start + COMMIT);
        let transactions: Vec<_> =
            payers.map(|payer| transfer(payer, accounts, ledger.timestamp_ms(), &chain)).collect();
        execute(ledger, &transactions);
    }
    execute(ledger, &[]);
}

fn execute(ledger: &mut Ledger, transactions: &[VerifiedTransaction]) {
    let (index, timestamp_ms) = (ledger.commit_index() + 1, ledger.timestamp_ms() + 1_000);
    let execution =
        ledger.execute(&CommitContext { epoch: 0, index, digest: Digest::ZERO, timestamp_ms }, transactions);
    assert!(execution.dropped.is_empty(), "{:?}", execution.dropped.first());
}

fn transfer(payer: usize, accounts: usize, now_ms: u64, chain: &Digest) -> VerifiedTransaction {
    let to = address((payer + 1) % accounts);
    let transaction = Transaction {
        sender: address(payer),
        authority: Authority::Root,
        nonce: 1,
        valid_until_ms: now_ms + 60_000,
        operation: Operation::Transfer {
            outputs: vec![Output { to, amount: Amount::from_mites(1), reference: None, open: false }],
        },
    };
    VerifiedTransaction::from_own_storage(SignedTransaction { transaction, signature: Signature([7; 64]) }, chain)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    1_024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
}
