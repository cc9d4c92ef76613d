//! What the tests share: keys, a small network, transactions without ceremony, certificates.

use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::bandwidth::BandwidthParameters;
use farthing_core::block::{BlockHeader, DropReason, ResultCode};
use farthing_core::certificate::{Attestation, Certificate, CertificateAttestation};
use farthing_core::execution::{CommitContext, Execution, Ledger};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::{SecretKey, Signature};
use farthing_core::transaction::{Authority, Operation, Output, SignedTransaction, Transaction, VerifiedTransaction};

/// The time of the test network's genesis: not a whole second, so that seconds and distances differ.
pub const GENESIS_MS: u64 = 1_700_000_000_400;
/// What opening an account locks on the test network, in mites.
pub const RESERVE: u64 = 100;
/// What opening a hold locks on the test network, in mites.
pub const HOLD_RESERVE: u64 = 130;
/// What a delegated key locks on the test network, in mites.
pub const KEY_RESERVE: u64 = 110;
/// How far ahead `valid_until_ms` may lie on the test network.
pub const VALIDITY_MS: u64 = 60_000;
/// How long an account must be empty on the test network before it can be reclaimed.
pub const RECLAIM_MS: u64 = 90_000;

pub fn mites(mites: u64) -> Amount {
    Amount::from_mites(mites)
}

/// The key of person number `n`.
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// The address of person number `n`.
pub fn address(n: u8) -> Address {
    Address(key(n).public_key())
}

/// The key of validator number `n`.
pub fn validator_key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[200 + n; 32])
}

pub fn validators(count: u8) -> Vec<Validator> {
    let validator = |n: u8| Validator {
        name: format!("validator {n}"),
        public_key: validator_key(n).public_key(),
        network_key: key(100 + n).public_key(),
    };
    (0..count).map(validator).collect()
}

pub fn parameters() -> Parameters {
    Parameters {
        account_reserve: mites(RESERVE),
        hold_reserve: mites(HOLD_RESERVE),
        key_reserve: mites(KEY_RESERVE),
        validity_max_ms: VALIDITY_MS,
        reclaim_after_ms: RECLAIM_MS,
        // More than any test sends, except for those of bandwidth itself.
        bandwidth: BandwidthParameters {
            base_bytes: 1_000_000_000,
            bytes_per_far: 10_000_000_000_000_000,
            target_bytes_per_second: 1_000_000_000,
            ..BandwidthParameters::default()
        },
    }
}

/// A network of four validators where these people have these balances, in mites.
pub fn network(balances: &[(u8, u64)]) -> Genesis {
    network_with(parameters(), balances)
}

/// The same with other constants.
pub fn network_with(parameters: Parameters, balances: &[(u8, u64)]) -> Genesis {
    let accounts = balances.iter().map(|(n, balance)| (address(*n), mites(*balance))).collect();
    let prefix = "tst".parse().unwrap();
    Genesis::new("test", &prefix, GENESIS_MS, parameters, validators(4), accounts).unwrap()
}

/// An output without a reference.
pub fn output(to: u8, amount: u64, open: bool) -> Output {
    Output { to: address(to), amount: mites(amount), reference: None, open }
}

/// A transfer that is valid for a minute from the genesis on.
pub fn transfer(sender: u8, nonce: u64, outputs: Vec<Output>) -> Transaction {
    let valid_until_ms = GENESIS_MS + VALIDITY_MS;
    let operation = Operation::Transfer { outputs };
    Transaction { sender: address(sender), authority: Authority::Root, nonce, valid_until_ms, operation }
}

/// Executes one operation of an account at this time after the genesis, with the authority's next nonce.
pub fn act(
    ledger: &mut Ledger,
    after_genesis_ms: u64,
    sender: u8,
    authority: Authority,
    operation: Operation,
) -> Result<ResultCode, DropReason> {
    let transaction = next(ledger, after_genesis_ms, sender, authority, operation);
    outcome(&commit(ledger, after_genesis_ms, &[transaction]))
}

/// A transaction with the authority's next nonce, valid for as long as can be from this time after the genesis on.
pub fn next(
    ledger: &Ledger,
    after_genesis_ms: u64,
    sender: u8,
    authority: Authority,
    operation: Operation,
) -> Transaction {
    let sender = address(sender);
    let nonces = match &authority {
        Authority::Root => ledger.account(&sender).map(|account| account.nonces),
        Authority::Key(key) => ledger.key(&sender, key).map(|key| key.nonces),
    };
    let nonce = nonces.unwrap_or_default().next();
    Transaction { sender, authority, nonce, valid_until_ms: GENESIS_MS + after_genesis_ms + VALIDITY_MS, operation }
}

/// A person's balance, in mites; `None` without an account.
pub fn balance(ledger: &Ledger, person: u8) -> Option<u64> {
    ledger.account(&address(person)).map(|account| account.balance.mites())
}

/// A transaction as the verifier hands it over, but with a signature that nobody made: execution never looks at it.
pub fn verified(transaction: Transaction, chain: &ChainHash) -> VerifiedTransaction {
    let signature = Signature([0; 64]);
    VerifiedTransaction::from_own_storage(SignedTransaction { transaction, signature }, chain)
}

/// Executes these transactions as the ledger's next commit, at this time after the genesis.
pub fn commit(ledger: &mut Ledger, after_genesis_ms: u64, transactions: &[Transaction]) -> Execution {
    commit_with_root(ledger, after_genesis_ms, transactions, None)
}

/// The same as a commit whose block is known to carry this state root, if one is given.
pub fn commit_with_root(
    ledger: &mut Ledger,
    after_genesis_ms: u64,
    transactions: &[Transaction],
    known_root: Option<Digest>,
) -> Execution {
    let index = ledger.commit_index() + 1;
    let timestamp_ms = GENESIS_MS + after_genesis_ms;
    let digest = Digest::of("test commit", &[&index.to_le_bytes()]);
    let chain = *ledger.chain();
    let transactions: Vec<_> = transactions.iter().map(|transaction| verified(transaction.clone(), &chain)).collect();
    let context = CommitContext { epoch: 0, index, digest, timestamp_ms };
    match known_root {
        Some(root) => ledger.execute_again(&context, &transactions, root),
        None => ledger.execute(&context, &transactions),
    }
}

/// The one result or drop of a commit of one transaction.
pub fn outcome(execution: &Execution) -> Result<ResultCode, DropReason> {
    match (&execution.block, &execution.dropped[..]) {
        (Some(block), []) if block.results.len() == 1 => Ok(block.results[0].1.code),
        (_, [(_, reason)]) => Err(*reason),
        _ => panic!("not the execution of one transaction: {execution:?}"),
    }
}

/// A certificate of the first header: each validator attests the header at the position given for it.
pub fn certificate(headers: &[BlockHeader], attested: &[(u16, usize)]) -> Certificate {
    let attestation = |(validator, position): &(u16, usize)| {
        let header = &headers[*position];
        let key = validator_key(u8::try_from(*validator).unwrap());
        let Attestation { height, signature, .. } =
            Attestation::sign(&header.chain, header.height, header.hash(), &key);
        CertificateAttestation { validator: *validator, height, signature }
    };
    Certificate { links: headers[1..].to_vec(), attestations: attested.iter().map(attestation).collect() }
}
