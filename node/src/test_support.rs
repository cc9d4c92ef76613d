//! What the unit tests of this crate share: keys, a genesis document, transactions.

use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Authority, Operation, Output, Transaction, VerifiedTransaction};

/// When the tests' network starts.
pub const START_MS: u64 = 1_700_000_000_000;

/// The key with this number; accounts count from 1, validators from 101, network keys from 201.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// The address of the account with this number.
pub fn address(number: u8) -> Address {
    Address(key(number).public_key())
}

/// Four validators, and accounts 1 to 4 with 1,000 FAR each.
pub fn genesis() -> Genesis {
    genesis_of(4)
}

/// The same with this many validators. They are part of the chain hash: [`transfer`]s are for [`genesis`].
pub fn genesis_of(validators: u8) -> Genesis {
    let accounts = (1..=4).map(|number| (address(number), Amount::from_far(1_000).expect("small"))).collect();
    genesis_with(validators, Parameters::generous(), accounts)
}

/// A genesis document with this many validators.
pub fn genesis_with(validators: u8, parameters: Parameters, accounts: Vec<(Address, Amount)>) -> Genesis {
    let validators = (1..=validators)
        .map(|number| Validator {
            name: format!("validator-{number}"),
            public_key: key(100 + number).public_key(),
            network_key: key(200 + number).public_key(),
        })
        .collect();
    let prefix = "farl".parse().expect("a good prefix");
    Genesis::new("test", &prefix, START_MS, parameters, validators, accounts).expect("a good document")
}

/// A transfer of one mite to account 1, valid for ten minutes from the start.
pub fn transfer(sender: u8, nonce: u64) -> VerifiedTransaction {
    transfer_until(sender, nonce, START_MS + 600_000)
}

/// The same, valid until a time.
pub fn transfer_until(sender: u8, nonce: u64, valid_until_ms: u64) -> VerifiedTransaction {
    let outputs = vec![Output { to: address(1), amount: Amount::from_mites(1), reference: None, open: false }];
    let transaction = Transaction {
        sender: address(sender),
        authority: Authority::Root,
        nonce,
        valid_until_ms,
        operation: Operation::Transfer { outputs },
    };
    let chain = genesis().chain_hash();
    transaction.sign(&chain, &key(sender)).verify(&chain).expect("signed with the right key")
}
