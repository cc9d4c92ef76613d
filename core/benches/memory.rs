//! How much memory the state takes: `cargo bench -p farthing-core --bench memory -- [ACCOUNTS …]`, on Linux.
//!
//! In bytes an account of resident memory, index and Merkle tree included: right after the state was made; after every account took
//! part in a transfer and a root was computed; and after an eighth more accounts were opened, each by a sponsor of its own. The most that it
//! ever was is the last figure. Each number of accounts is measured in a process of its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads what Linux says of it")]

use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::{Amount, MITES_PER_FAR};
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, SecretKey, Signature};
use farthing_core::transaction::{Authority, Operation, Output, SignedTransaction, Transaction, VerifiedTransaction};

const START_MS: u64 = 1_700_000_000_000;

/// Transfers of one commit.
const COMMIT: usize = 10_000;

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if let [accounts] = counts[..] {
        return measure(accounts);
    }
    let counts = if counts.is_empty() { vec![1_000_000, 10_000_000] } else { counts };
    println!("  accounts  bytes an account  after a transfer each  after openings  at most");
    for accounts in counts {
        let this = std::env::current_exe().expect("a program has a file");
        let status = std::process::Command::new(this).arg(accounts.to_string()).status().expect("it runs");
        assert!(status.success(), "{status}");
    }
}

fn measure(accounts: usize) {
    let genesis = genesis(accounts);
    let before = memory_bytes("VmRSS:");
    let mut ledger = Ledger::genesis(&genesis);
    // As a node does, which writes the slots one by one; later flushes hold what has changed.
    let (_, slots) = ledger.flush_whole();
    let stored_bytes: usize = slots.map(|record| record.bytes.len()).sum();
    assert!(stored_bytes > 50 * accounts, "{stored_bytes} bytes are stored");
    let of_each = |field: &str, count: u64| (memory_bytes(field) - before) as f64 / count as f64;
    let made = of_each("VmRSS:", ledger.account_count());
    pay_from_all(&mut ledger, accounts, false);
    let used = of_each("VmRSS:", ledger.account_count());
    pay_from_all(&mut ledger, accounts / 8, true);
    assert_eq!(ledger.account_count(), (accounts + accounts / 8) as u64);
    let (grown, most) = (of_each("VmRSS:", ledger.account_count()), of_each("VmHWM:", ledger.account_count()));
    println!("{accounts:10}  {made:16.0}  {used:21.0}  {grown:14.0}  {most:7.0}");
}

fn address(number: usize) -> Address {
    Address(PublicKey(*Digest::of("bench/v1", &[&number.to_le_bytes()]).as_bytes()))
}

fn genesis(accounts: usize) -> Genesis {
    let prefix: AddressPrefix = "far".parse().expect("a prefix");
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public_key();
    let validator = Validator { name: "a".into(), public_key: key(1), network_key: key(2) };
    let accounts = (0..accounts).map(|number| (address(number), Amount::from_mites(2 * MITES_PER_FAR))).collect();
    Genesis::new("bench", &prefix, START_MS, Parameters::default(), vec![validator], accounts).expect("valid")
}

/// Each of the first so many accounts pays the one before it, or opens a new one, in commits a second apart, each of which computes a
/// root; what the last one changed is rooted, too.
fn pay_from_all(ledger: &mut Ledger, payers: usize, opens: bool) {
    let chain = *ledger.chain();
    for start in (0..payers).step_by(COMMIT) {
        let payers = start..payers.min(start + COMMIT);
        let transactions: Vec<_> = payers.map(|payer| transfer(payer, opens, ledger.timestamp_ms(), &chain)).collect();
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

fn transfer(payer: usize, opens: bool, now_ms: u64, chain: &Digest) -> VerifiedTransaction {
    // Any address that nobody has.
    let to = address(if opens { usize::MAX - payer } else { payer.saturating_sub(1) });
    let transaction = Transaction {
        sender: address(payer),
        authority: Authority::Root,
        nonce: 1 + u64::from(opens),
        valid_until_ms: now_ms + 60_000,
        operation: Operation::Transfer {
            outputs: vec![Output { to, amount: Amount::from_mites(1), reference: None, open: opens }],
        },
    };
    VerifiedTransaction::from_own_storage(SignedTransaction { transaction, signature: Signature([7; 64]) }, chain)
}

fn memory_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells");
    1_024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
}
