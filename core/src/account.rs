//! Accounts.

use crate::address::Address;
use crate::amount::Amount;
use crate::bandwidth::Bandwidth;
use crate::codec;
use crate::delegated_key::{KEYS_MAX, Tombstone};
use crate::keys::PublicKey;
use crate::policy::Policy;
use crate::replay::NonceWindow;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes that the encoding of an account takes.
pub const ACCOUNT_BYTES_MAX: usize = 8 + 24 + 24 + 33 + 8 + 1 + EXTRAS_BYTES_MAX;

/// The most bytes that the encoding of [`Extras`] takes.
const EXTRAS_BYTES_MAX: usize =
    4 + KEYS_MAX * 32 + 4 + KEYS_MAX * crate::delegated_key::TOMBSTONE_BYTES + 4 + 1 + crate::policy::POLICY_BYTES_MAX;

/// What the ledger knows about one address.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What the owner can spend.
    pub balance: Amount,
    /// The nonces that the account's own key has used.
    pub nonces: NonceWindow,
    /// What the account may still send.
    pub bandwidth: Bandwidth,
    /// Who locked the reserve by opening the account; `None` for an account of the genesis document. In JSON the 64
    /// hexadecimal digits of its key.
    #[serde(serialize_with = "write_sponsor", deserialize_with = "read_sponsor")]
    pub sponsor: Option<Address>,
    /// What is locked for this account's existence; nothing for an account of the genesis document.
    pub reserve: Amount,
    /// What few accounts have; `None` if all of it is empty.
    pub extras: Option<Box<Extras>>,
}

/// What few accounts have.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extras {
    /// The delegated keys, in the order in which they were set; at most [`KEYS_MAX`] together with the tombstones. Each has a slot of its own.
    #[borsh(deserialize_with = "read_keys")]
    pub keys: Vec<PublicKey>,
    /// Keys that were removed not long ago.
    #[borsh(deserialize_with = "read_tombstones")]
    pub tombstones: Vec<Tombstone>,
    /// How many holds the account is payer or payee of.
    pub holds: u32,
    /// The owner's own limits.
    pub policy: Option<Policy>,
}

impl Account {
    /// An account of the genesis document.
    pub fn of_genesis(balance: Amount, bandwidth: Bandwidth) -> Account {
        let nonces = NonceWindow::default();
        Account { balance, nonces, bandwidth, sponsor: None, reserve: Amount::ZERO, extras: None }
    }

    /// An account as it is opened: empty, with the reserve that its sponsor locked.
    pub fn opened(sponsor: Address, reserve: Amount, bandwidth: Bandwidth) -> Account {
        let nonces = NonceWindow::default();
        Account { balance: Amount::ZERO, nonces, bandwidth, sponsor: Some(sponsor), reserve, extras: None }
    }

    /// Since when the account is empty and untouched, in milliseconds since the Unix epoch: nothing was paid to it and none of its
    /// nonces was used since. `None` if it has a balance.
    pub fn empty_since_ms(&self) -> Option<u64> {
        self.balance.is_zero().then_some(self.bandwidth.at_ms())
    }

    /// The delegated keys, in the order in which they were set.
    pub fn keys(&self) -> &[PublicKey] {
        self.extras.as_deref().map_or(&[], |extras| &extras.keys)
    }

    /// How many holds the account is payer or payee of.
    pub fn holds(&self) -> u32 {
        self.extras.as_deref().map_or(0, |extras| extras.holds)
    }

    /// The owner's own limits, if any were set.
    pub fn policy(&self) -> Option<&Policy> {
        self.extras.as_deref().and_then(|extras| extras.policy.as_ref())
    }

    /// Changes what few accounts have.
    pub(crate) fn update_extras<T>(&mut self, change: impl FnOnce(&mut Extras) -> T) -> T {
        let mut extras = self.extras.take().unwrap_or_default();
        let result = change(&mut extras);
        self.extras = (*extras != Extras::default()).then_some(extras);
        result
    }

    /// All the money in it, spendable or locked, in mites.
    pub(crate) fn held_mites(&self) -> u128 {
        u128::from(self.balance.mites()) + u128::from(self.reserve.mites())
    }
}

fn write_sponsor<S: Serializer>(sponsor: &Option<Address>, serializer: S) -> Result<S::Ok, S::Error> {
    Serialize::serialize(&sponsor.map(|address| address.0), serializer)
}

fn read_sponsor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let key = <Option<PublicKey> as Deserialize>::deserialize(deserializer)?;
    Ok(key.map(Address))
}

fn read_keys<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<PublicKey>> {
    codec::bounded_vec(reader, 0, KEYS_MAX)
}

fn read_tombstones<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Tombstone>> {
    codec::bounded_vec(reader, 0, KEYS_MAX)
}
