//! What execution, the state root, encoding and decoding cost. `cargo bench -p farthing-core --bench ledger`

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::execution::{CommitContext, Execution, Ledger};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::{PublicKey, SecretKey, Signature};
use farthing_core::transaction::{Authority, Operation, Output, SignedTransaction, Transaction, VerifiedTransaction};

const START_MS: u64 = 1_700_000_000_000;

/// Transfers of one commit.
const COMMIT: usize = 1_000;

fn main() {
    divan::main();
}

/// An address that nobody has the key of: neither execution nor encoding looks at it as a point.
fn address(number: usize) -> Address {
    Address(PublicKey(*Digest::of("bench/v1", &[&number.to_le_bytes()]).as_bytes()))
}

fn genesis(accounts: usize) -> Genesis {
    let prefix: AddressPrefix = "far".parse().expect("a prefix");
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public_key();
    let validator = Validator { name: "a".into(), public_key: key(1), network_key: key(2) };
    let parameters = Parameters { account_reserve: Amount::from_mites(1_000_000_000), ..Parameters::default() };
    let accounts = (0..accounts).map(|number| (address(number), Amount::from_mites(1_000_000))).collect();
    Genesis::new("bench", &prefix, START_MS, parameters, vec![validator], accounts).expect("valid")
}

/// The `index`-th transfer of a benchmark: the accounts send in turn, to accounts that are scattered over all.
fn transfer(index: usize, accounts: usize) -> SignedTransaction {
    let to = address(index.wrapping_mul(0x9E37_79B9_7F4A_7C15) % accounts);
    let output = Output { to, amount: Amount::from_mites(1), reference: None, open: false };
    let transaction = Transaction {
        sender: address(index % accounts),
        authority: Authority::Root,
        nonce: (index / accounts) as u64 + 1,
        valid_until_ms: START_MS + 1_800_000,
        operation: Operation::Transfer { outputs: vec![output] },
    };
    SignedTransaction { transaction, signature: Signature([7; 64]) }
}

/// A ledger that is given one commit after the other.
struct Chain {
    ledger: Ledger,
    accounts: usize,
    next: usize,
    timestamp_ms: u64,
}

impl Chain {
    fn new(accounts: usize) -> Chain {
        Chain { ledger: Ledger::genesis(&genesis(accounts)), accounts, next: 0, timestamp_ms: START_MS }
    }

    fn transactions(&mut self, count: usize) -> Vec<VerifiedTransaction> {
        let (first, accounts, chain) = (self.next, self.accounts, *self.ledger.chain());
        self.next += count;
        let verified = |index| VerifiedTransaction::from_own_storage(transfer(index, accounts), &chain);
        (first..first + count).map(verified).collect()
    }

    fn execute(&mut self, later_ms: u64, transactions: &[VerifiedTransaction]) -> Execution {
        self.timestamp_ms += later_ms;
        let index = self.ledger.commit_index() + 1;
        let context = CommitContext { epoch: 0, index, digest: Digest::ZERO, timestamp_ms: self.timestamp_ms };
        let execution = self.ledger.execute(&context, transactions);
        assert!(execution.dropped.is_empty());
        execution
    }
}

/// 1,000 transfers in one commit that needs no root.
#[divan::bench(args = [10_000, 1_000_000], sample_count = 50, sample_size = 1)]
fn execute(bencher: Bencher, accounts: usize) {
    let chain = std::cell::RefCell::new(Chain::new(accounts));
    bencher
        .counter(ItemsCount::new(COMMIT))
        .with_inputs(|| chain.borrow_mut().transactions(COMMIT))
        .bench_local_values(|transactions| chain.borrow_mut().execute(0, &transactions));
}

/// The root that the first commit of a second computes, after so many transfers of the second before; in slots touched.
#[divan::bench(args = [1_000, 10_000], sample_count = 20, sample_size = 1)]
fn state_root_of_a_million(bencher: Bencher, transfers: usize) {
    let chain = std::cell::RefCell::new(Chain::new(1_000_000));
    // Flushes are another matter.
    chain.borrow_mut().ledger.set_flush_interval_ms(u64::MAX);
    bencher
        .counter(ItemsCount::new(2 * transfers))
        .with_inputs(|| {
            let mut chain = chain.borrow_mut();
            let transactions = chain.transactions(transfers);
            chain.execute(0, &transactions);
        })
        .bench_local_values(|()| chain.borrow_mut().execute(1_000, &[]));
}

#[divan::bench]
fn encode_transfer(bencher: Bencher) {
    let signed = transfer(1, 10);
    bencher.bench_local(|| black_box(&signed).encode());
}

#[divan::bench]
fn decode_transfer(bencher: Bencher) {
    let bytes = transfer(1, 10).encode();
    bencher.bench_local(|| SignedTransaction::decode(black_box(&bytes)));
}

#[divan::bench]
fn transaction_id(bencher: Bencher) {
    let (signed, chain): (_, ChainHash) = (transfer(1, 10), Digest::ZERO);
    bencher.bench_local(|| black_box(&signed.transaction).id(&chain));
}
