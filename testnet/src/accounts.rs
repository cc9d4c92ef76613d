//! The accounts of every testnet: throw-away keys that anyone can derive, the same in each.
//!
//! The seed of the account called `name` is `blake3("testnet-account/v1" ‖ name)`. Their money is worth nothing.

use farthing_core::address::Address;
use farthing_core::amount::{Amount, MITES_PER_FAR};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;

/// The account that pays newcomers.
pub const FAUCET: &str = "faucet";

/// Accounts for people, `dev-1` and up.
pub const DEVELOPERS: usize = 10;

/// Accounts for the load generator, `load-1` and up. Each may have 128 transfers in flight.
pub const LOADERS: usize = 1_000;

/// What a developer's account starts with.
pub const DEVELOPER_BALANCE: Amount = Amount::from_mites(1_000_000 * MITES_PER_FAR);

/// The most accounts of a benchmark, `bench-1` and up.
pub const BENCHERS_MAX: usize = 1_000_000;

/// What a benchmark's account starts with.
const BENCHER_BALANCE: Amount = Amount::from_mites(100 * MITES_PER_FAR);

/// What one of the load generator's accounts starts with.
const LOADER_BALANCE: Amount = Amount::from_mites(100_000 * MITES_PER_FAR);

/// All the money of a testnet; the faucet has what the others have not.
const SUPPLY: Amount = Amount::from_mites(1_000_000_000 * MITES_PER_FAR);

const FAUCET_BALANCE: Amount = Amount::from_mites(
    SUPPLY.mites() - DEVELOPER_BALANCE.mites() * DEVELOPERS as u64 - LOADER_BALANCE.mites() * LOADERS as u64,
);

/// The secret key of the account with this name.
pub fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(Digest::of("testnet-account/v1", &[name.as_bytes()]).as_bytes())
}

/// The names of the developers' accounts.
pub fn developers() -> impl Iterator<Item = String> {
    (1..=DEVELOPERS).map(|number| format!("dev-{number}"))
}

/// The names of the load generator's accounts.
pub fn loaders() -> impl Iterator<Item = String> {
    (1..=LOADERS).map(|number| format!("load-{number}"))
}

/// The genesis accounts with their balances.
pub fn genesis_accounts() -> Vec<(Address, Amount)> {
    let address = |name: &str| Address(key(name).public_key());
    let developers = developers().map(|name| (address(&name), DEVELOPER_BALANCE));
    let loaders = loaders().map(|name| (address(&name), LOADER_BALANCE));
    developers.chain([(address(FAUCET), FAUCET_BALANCE)]).chain(loaders).collect()
}

/// The name of a benchmark's account, from 1 on.
pub fn bencher(number: usize) -> String {
    format!("bench-{number}")
}

/// The genesis accounts of a benchmark with their balances; the faucet has the rest of the supply.
pub fn bench_accounts(benchers: impl ExactSizeIterator<Item = Address>) -> Vec<(Address, Amount)> {
    assert!(benchers.len() <= BENCHERS_MAX);
    let rest = SUPPLY.mites() - BENCHER_BALANCE.mites() * benchers.len() as u64;
    let faucet = (Address(key(FAUCET).public_key()), Amount::from_mites(rest));
    std::iter::once(faucet).chain(benchers.map(|address| (address, BENCHER_BALANCE))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_share_the_whole_supply() {
        let accounts = genesis_accounts();
        assert_eq!(accounts.len(), DEVELOPERS + 1 + LOADERS);
        assert_eq!(Amount::checked_sum(accounts.iter().map(|(_, balance)| *balance)), Some(SUPPLY));
    }

    #[test]
    fn a_benchmark_shares_the_same_supply() {
        for count in [0, 3] {
            let accounts = bench_accounts((0..count).map(|number| Address(key(&bencher(number)).public_key())));
            assert_eq!(accounts.len(), count + 1);
            assert_eq!(Amount::checked_sum(accounts.iter().map(|(_, balance)| *balance)), Some(SUPPLY));
        }
    }

    #[test]
    fn keys_stay_the_same_in_every_version() {
        // Wallets and programs of developers remember these addresses.
        let prefix = crate::topology::address_prefix();
        let address = Address(key("dev-1").public_key()).encode(&prefix);
        assert_eq!(address, "farl1qrt6euyn8stf7kmyten62djatk7kljqxq553ccmatxtmvcrvuskvw7hpasp");
    }
}
