//! The genesis document: what a network starts from, and what everybody on it must agree on.
//!
//! It is JSON for people. Its canonical form is the borsh encoding of what it says, whose hash is the network's [`ChainHash`]:
//! white space and the order of JSON fields do not matter, everything else does.

use crate::address::{Address, AddressError, AddressPrefix};
use crate::amount::{Amount, MITES_PER_FAR};
use crate::bandwidth::BandwidthParameters;
use crate::hash::{ChainHash, Digest};
use crate::keys::PublicKey;
use borsh::BorshSerialize;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};

/// The most validators a committee may have.
pub const VALIDATORS_MAX: usize = 128;

/// The most accounts that a genesis document may open.
pub const GENESIS_ACCOUNTS_MAX: usize = 10_000_000;

/// How many bytes of the canonical form are hashed at once.
const HASHED_AT_ONCE: usize = 1 << 16;

/// The most accounts, holds and keys that a network's supply and reserves may allow: slots are numbered in 32 bits, and one is the
/// globals'.
pub const OBJECTS_MAX: u64 = u32::MAX as u64 - 1;

/// A validated genesis document.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize)]
pub struct Genesis {
    network: String,
    prefix: String,
    timestamp_ms: u64,
    parameters: Parameters,
    validators: Vec<Validator>,
    accounts: Vec<(Address, Amount)>,
    #[borsh(skip)]
    parsed_prefix: AddressPrefix,
    #[borsh(skip)]
    chain: ChainHash,
    #[borsh(skip)]
    supply: Amount,
}

/// Constants of a network that all its validators share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, BorshSerialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Locked of the opener's balance while an account exists. The reserves and the supply bound the number of accounts, holds and keys,
    /// for which a genesis document must leave no more than [`OBJECTS_MAX`].
    pub account_reserve: Amount,
    /// Locked of the payer's balance while a hold exists.
    pub hold_reserve: Amount,
    /// Locked of the owner's balance while a delegated key exists.
    pub key_reserve: Amount,
    /// How far ahead of a commit's timestamp a transaction's `valid_until_ms` may lie, in milliseconds.
    pub validity_max_ms: u64,
    /// How long an account must have been empty and untouched before it can be reclaimed, in milliseconds: at least `validity_max_ms`,
    /// so that an account that is opened again replays nothing, and at most 400 days.
    pub reclaim_after_ms: u64,
    /// Fee-free admission.
    pub bandwidth: BandwidthParameters,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            account_reserve: Amount::from_mites(MITES_PER_FAR),
            hold_reserve: Amount::from_mites(MITES_PER_FAR / 4),
            key_reserve: Amount::from_mites(MITES_PER_FAR / 4),
            validity_max_ms: 3_600_000,
            reclaim_after_ms: 86_400_000,
            bandwidth: BandwidthParameters::default(),
        }
    }
}

impl Parameters {
    /// The defaults, but with so much bandwidth that developers and tests never meet its end.
    pub fn generous() -> Parameters {
        Parameters { bandwidth: BandwidthParameters::generous(), ..Parameters::default() }
    }

    /// The least that any object locks.
    fn reserve_min(&self) -> Amount {
        self.account_reserve.min(self.hold_reserve).min(self.key_reserve)
    }
}

/// One member of the committee. Its index in the document is its author number in consensus.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, BorshSerialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// What people call it: 1 to 64 printable characters.
    pub name: String,
    /// The key that signs vertices and attestations.
    pub public_key: PublicKey,
    /// The key of its libp2p identity, from which the peer id follows.
    pub network_key: PublicKey,
}

/// What is wrong with a genesis document.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// Not JSON of the right form.
    #[error("the genesis document does not parse: {0}")]
    Json(#[from] serde_json::Error),
    /// An address or the prefix is wrong.
    #[error("the genesis document has a bad address: {0}")]
    Address(#[from] AddressError),
    /// It contradicts itself or breaks a bound.
    #[error("the genesis document is not valid: {0}")]
    Invalid(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    network: String,
    address_prefix: AddressPrefix,
    timestamp_ms: u64,
    #[serde(default)]
    parameters: Parameters,
    validators: Vec<Validator>,
    #[serde(borrow)]
    accounts: Vec<DocumentAccount<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentAccount<'a> {
    /// Not copied out of the text: there may be millions.
    #[serde(borrow)]
    address: Cow<'a, str>,
    balance: Amount,
}

impl Genesis {
    /// A genesis document from its parts.
    ///
    /// # Errors
    /// [`GenesisError::Invalid`] says which rule it breaks.
    pub fn new(
        network: &str,
        prefix: &AddressPrefix,
        timestamp_ms: u64,
        parameters: Parameters,
        validators: Vec<Validator>,
        accounts: Vec<(Address, Amount)>,
    ) -> Result<Genesis, GenesisError> {
        let mut genesis = Genesis {
            network: network.into(),
            prefix: prefix.to_string(),
            timestamp_ms,
            parameters,
            validators,
            accounts,
            parsed_prefix: prefix.clone(),
            chain: ChainHash::ZERO,
            supply: Amount::ZERO,
        };
        genesis.supply = genesis.validate().map_err(GenesisError::Invalid)?;
        genesis.chain = genesis.hash();
        Ok(genesis)
    }

    /// Parses and validates the JSON form.
    ///
    /// # Errors
    /// [`GenesisError`] says what to mend.
    pub fn from_json(json: &str) -> Result<Genesis, GenesisError> {
        let document: Document = serde_json::from_str(json)?;
        let accounts = document
            .accounts
            .into_iter()
            .map(|account| Ok((Address::decode(&account.address, &document.address_prefix)?, account.balance)))
            .collect::<Result<Vec<_>, AddressError>>()?;
        Genesis::new(
            &document.network,
            &document.address_prefix,
            document.timestamp_ms,
            document.parameters,
            document.validators,
            accounts,
        )
    }

    /// The document without its accounts, for those who have the accounts elsewhere: 40 bytes of each. Everything else stays, also
    /// the supply and the hash.
    pub fn without_accounts(&self) -> Genesis {
        Genesis {
            network: self.network.clone(),
            prefix: self.prefix.clone(),
            timestamp_ms: self.timestamp_ms,
            parameters: self.parameters.clone(),
            validators: self.validators.clone(),
            accounts: Vec::new(),
            parsed_prefix: self.parsed_prefix.clone(),
            chain: self.chain,
            supply: self.supply,
        }
    }

    /// The JSON form, for people and files.
    ///
    /// # Panics
    /// If the accounts were left out ([`Genesis::without_accounts`]): it would be another document.
    pub fn to_json(&self) -> String {
        assert!(self.has_accounts(), "a document without its accounts is another one");
        let document = Document {
            network: self.network.clone(),
            address_prefix: self.prefix().clone(),
            timestamp_ms: self.timestamp_ms,
            parameters: self.parameters.clone(),
            validators: self.validators.clone(),
            accounts: self
                .accounts
                .iter()
                .map(|(address, balance)| DocumentAccount {
                    address: address.encode(self.prefix()).into(),
                    balance: *balance,
                })
                .collect(),
        };
        serde_json::to_string_pretty(&document).expect("a genesis document is plain data")
    }

    /// The hash that identifies the network.
    pub fn chain_hash(&self) -> ChainHash {
        self.chain
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// What the network's addresses start with.
    pub fn prefix(&self) -> &AddressPrefix {
        &self.parsed_prefix
    }

    /// When the network starts, in milliseconds since the Unix epoch: the timestamp of block 0.
    pub fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// The constants.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The committee of epoch 0, in author order.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The first accounts with their balances, in slot order; none if they were left out ([`Genesis::without_accounts`]).
    pub fn accounts(&self) -> &[(Address, Amount)] {
        &self.accounts
    }

    /// All the money there is and will be: the genesis balances. Genesis accounts lock no reserve.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// Whether the accounts are there, if there are any.
    pub(crate) fn has_accounts(&self) -> bool {
        self.supply.is_zero() || !self.accounts.is_empty()
    }

    /// `blake3("chain/v2" ‖ encoding)`, of an encoding that is never there as a whole.
    fn hash(&self) -> ChainHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"chain/v2");
        let mut writer = BufWriter::with_capacity(HASHED_AT_ONCE, &mut hasher);
        let written = self.serialize(&mut writer).and_then(|()| writer.flush());
        written.expect("hashing cannot fail");
        drop(writer);
        Digest(*hasher.finalize().as_bytes())
    }

    /// Checks all rules. Returns the supply.
    fn validate(&self) -> Result<Amount, String> {
        let check = |holds: bool, message: &str| if holds { Ok(()) } else { Err(message.to_string()) };
        let printable =
            |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        check(printable(&self.network), "\"network\" must be 1 to 64 printable ASCII characters")?;
        check(!self.validators.is_empty(), "there must be at least one validator")?;
        check(self.validators.len() <= VALIDATORS_MAX, "there may be at most 128 validators")?;
        check(self.accounts.len() <= GENESIS_ACCOUNTS_MAX, "there may be at most 10,000,000 accounts")?;
        check(
            (1_000..=86_400_000).contains(&self.parameters.validity_max_ms),
            "\"validity_max_ms\" must be 1000 to 86400000",
        )?;
        check(
            (self.parameters.validity_max_ms..=400 * 86_400_000).contains(&self.parameters.reclaim_after_ms),
            "\"reclaim_after_ms\" must be at least \"validity_max_ms\" and at most 400 days",
        )?;
        let (mut keys, mut names) = (BTreeSet::new(), BTreeSet::new());
        for validator in &self.validators {
            check(printable(&validator.name), "a validator's \"name\" must be 1 to 64 printable ASCII characters")?;
            check(names.insert(&validator.name), "two validators have the same name")?;
            check(keys.insert(validator.public_key), "a key stands twice among the validators")?;
            check(keys.insert(validator.network_key), "a key stands twice among the validators")?;
        }
        for (address, balance) in &self.accounts {
            if balance.is_zero() {
                return Err(format!("the account {} has nothing", address.encode(self.prefix())));
            }
        }
        let mut addresses: Vec<&Address> = self.accounts.iter().map(|(address, _)| address).collect();
        addresses.sort_unstable();
        if let Some([twice, _]) = addresses.array_windows().find(|[one, next]| one == next) {
            return Err(format!("the account {} stands twice", twice.encode(self.prefix())));
        }
        let supply = Amount::checked_sum(self.accounts.iter().map(|(_, balance)| *balance));
        let supply = supply.ok_or("the balances add up to more than 2^64 - 1 mites")?;
        let opened_max = supply.mites().checked_div(self.parameters.reserve_min().mites());
        let objects_max = opened_max.and_then(|opened| opened.checked_add(self.accounts.len() as u64));
        check(
            objects_max.is_some_and(|objects| objects <= OBJECTS_MAX),
            "the supply allows more than 4,294,967,294 accounts, holds and keys: raise \"account_reserve\", \"hold_reserve\" \
             or \"key_reserve\", whichever is the least",
        )?;
        self.parameters.bandwidth.validate(self.parameters.account_reserve)?;
        Ok(supply)
    }
}
