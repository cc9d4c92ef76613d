//! Accounts.

use crate::address::Address;
use crate::amount::Amount;
use crate::keys::PublicKey;
use crate::replay::NonceWindow;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the ledger knows about one address.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What the owner can spend.
    pub balance: Amount,
    /// The nonces that the account's own key has used.
    pub nonces: NonceWindow,
    /// Who locked the reserve by opening the account; `None` for an account of the genesis document. In JSON the 64
    /// hexadecimal digits of its key.
    #[serde(serialize_with = "write_sponsor", deserialize_with = "read_sponsor")]
    pub sponsor: Option<Address>,
    /// What is locked for this account's existence; nothing for an account of the genesis document.
    pub reserve: Amount,
}

impl Account {
    /// An account of the genesis document.
    pub fn of_genesis(balance: Amount) -> Account {
        Account { balance, nonces: NonceWindow::default(), sponsor: None, reserve: Amount::ZERO }
    }

    /// An account as it is opened: empty, with the reserve that its sponsor locked.
    pub fn opened(sponsor: Address, reserve: Amount) -> Account {
        Account { balance: Amount::ZERO, nonces: NonceWindow::default(), sponsor: Some(sponsor), reserve }
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
