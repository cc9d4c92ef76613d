//! Delegated keys: an app, agent or device that may spend a budget and no more.
//!
//! The owner's own key, Root, sets a key with its [`KeyLimits`], changes them by setting it again, and removes it; no delegated key can do any
//! of these. A key signs transactions of the account with an authority of its own and has its own nonce window. It may use the
//! operations that its limits list, pay the payees that they list, at most so much at a time and in each period; what counts is
//! everything that leaves the spendable balance: outputs, reserves, holds, top-ups. The policy of the account ([`crate::policy`]) binds it, too.
//!
//! | operation | the key does not exist | it exists | it was removed less than the validity window ago |
//! |---|---|---|---|
//! | `SetKey` | made, with a new nonce window; locks the key reserve | new limits; nonces stay, and what was spent in the window at hand | made again; the nonces come from the tombstone; locks the key reserve |
//! | `RemoveKey` | `NoSuchKey` | gone; the reserve returns, and a tombstone stays | `NoSuchKey` |
//!
//! A key that was removed leaves a tombstone in the account: its nonce window, kept until every transaction that it ever sent is past
//! its validity, so that setting the key again replays nothing. Keys and tombstones together are at most [`KEYS_MAX`]; tombstones past their
//! time make room when a key is set or removed. A transaction of a key that does not exist, was removed or is past its expiry is dropped
//! (`UnknownKey`), at no cost to the account.

use crate::account::Account;
use crate::address::Address;
use crate::amount::Amount;
use crate::block::ResultCode;
use crate::codec;
use crate::context::Context;
use crate::keys::PublicKey;
use crate::object::Object;
use crate::replay::NonceWindow;
use crate::spending_limit::{SpendingLimit, Spent};
use crate::transaction::{Operation, SetKey};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The most keys and tombstones that an account may have.
pub const KEYS_MAX: usize = 16;

/// The most payees that a key's limits may list.
pub const PAYEES_MAX: usize = 8;

/// The bytes that the encoding of a tombstone takes.
pub const TOMBSTONE_BYTES: usize = 32 + 24 + 8;

/// The most bytes that the encoding of a delegated key takes, without its names.
pub const DELEGATED_KEY_BYTES_MAX: usize = LIMITS_BYTES_MAX + 24 + 16 + 8;

/// The most bytes that the encoding of limits takes.
pub(crate) const LIMITS_BYTES_MAX: usize = 1 + (1 + 4 + PAYEES_MAX * 32) + 9 + 17 + 9;

/// A delegated key as the state has it.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegatedKey {
    /// What it may do.
    pub limits: KeyLimits,
    /// The nonces that it has used.
    pub nonces: NonceWindow,
    /// What it spent under its period's limit.
    pub spent: Spent,
    /// What is locked for its existence, of the account's balance.
    pub reserve: Amount,
}

/// What a delegated key may do.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Which operations.
    pub operations: KeyOperations,
    /// Whom it may pay: 1 to [`PAYEES_MAX`] addresses, or `None` for anybody. In JSON the hexadecimal digits of the keys.
    #[borsh(deserialize_with = "read_payees")]
    #[serde(with = "payees_as_keys")]
    pub payees: Option<Vec<Address>>,
    /// The most that one transaction may spend; `None` for any.
    pub transaction_max: Option<Amount>,
    /// The most that it may spend in each period; `None` for any.
    pub limit: Option<SpendingLimit>,
    /// From when on the key is no longer known, in milliseconds since the Unix epoch; `None` for never.
    pub expires_at_ms: Option<u64>,
}

/// A set of operations. Keys and policy are for Root alone, so these cannot be in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, Serialize)]
pub struct KeyOperations(u8);

impl KeyOperations {
    /// `Transfer`.
    pub const TRANSFER: KeyOperations = KeyOperations(1);
    /// `OpenHold`.
    pub const OPEN_HOLD: KeyOperations = KeyOperations(2);
    /// `Capture`.
    pub const CAPTURE: KeyOperations = KeyOperations(4);
    /// `Release`.
    pub const RELEASE: KeyOperations = KeyOperations(8);
    /// `TopUp`.
    pub const TOP_UP: KeyOperations = KeyOperations(16);
    /// `Reclaim`.
    pub const RECLAIM: KeyOperations = KeyOperations(32);
    /// All of these.
    pub const ALL: KeyOperations = KeyOperations(63);
    /// None of these: a key that waits to be given some.
    pub const NONE: KeyOperations = KeyOperations(0);

    /// The operations that are in either set.
    #[must_use]
    pub const fn and(self, other: KeyOperations) -> KeyOperations {
        KeyOperations(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: KeyOperations) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set with these bits: 1 `Transfer`, 2 `OpenHold`, 4 `Capture`, 8 `Release`, 16 `TopUp`, 32 `Reclaim`. `None` for any other bit.
    pub const fn from_bits(bits: u8) -> Option<KeyOperations> {
        if bits & !KeyOperations::ALL.0 == 0 { Some(KeyOperations(bits)) } else { None }
    }

    /// The bits of [`KeyOperations::from_bits`].
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the set holds this operation.
    pub fn allows(self, operation: &Operation) -> bool {
        match operation {
            Operation::Transfer { .. } => self.contains(KeyOperations::TRANSFER),
            Operation::OpenHold(_) => self.contains(KeyOperations::OPEN_HOLD),
            Operation::Capture(_) => self.contains(KeyOperations::CAPTURE),
            Operation::Release { .. } => self.contains(KeyOperations::RELEASE),
            Operation::TopUp { .. } => self.contains(KeyOperations::TOP_UP),
            Operation::Reclaim { .. } => self.contains(KeyOperations::RECLAIM),
            Operation::SetKey(_) | Operation::RemoveKey { .. } | Operation::SetPolicy(_) => false,
        }
    }
}

impl BorshDeserialize for KeyOperations {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<KeyOperations> {
        let bits = u8::deserialize_reader(reader)?;
        KeyOperations::from_bits(bits).ok_or_else(|| codec::malformed(format!("operations {bits:#x}: unknown bits")))
    }
}

impl<'de> Deserialize<'de> for KeyOperations {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<KeyOperations, D::Error> {
        let bits = <u8 as Deserialize>::deserialize(deserializer)?;
        KeyOperations::from_bits(bits).ok_or_else(|| serde::de::Error::custom("unknown operations"))
    }
}

/// What is left of a key that was removed.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// The key.
    pub public_key: PublicKey,
    /// The nonces that it had used.
    pub nonces: NonceWindow,
    /// How long this is kept: the last time at which a transaction that the key sent could be valid, in milliseconds since the Unix epoch.
    pub until_ms: u64,
}

impl DelegatedKey {
    /// Whether the key is past its expiry at this time, in milliseconds since the Unix epoch.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.limits.expires_at_ms.is_some_and(|expires_at_ms| now_ms >= expires_at_ms)
    }

    /// Whether the key may spend so much, in mites, on these payees at this time.
    ///
    /// # Errors
    /// [`ResultCode::PayeeNotAllowed`], [`ResultCode::OverTransactionLimit`] or [`ResultCode::OverKeyLimit`], in this order.
    pub(crate) fn check<'a>(
        &self,
        now_ms: u64,
        mites: u128,
        mut payees: impl Iterator<Item = &'a Address>,
    ) -> Result<(), ResultCode> {
        let KeyLimits { payees: allowed, transaction_max, limit, .. } = &self.limits;
        if allowed.as_ref().is_some_and(|allowed| !payees.all(|payee| allowed.contains(payee))) {
            return Err(ResultCode::PayeeNotAllowed);
        }
        if transaction_max.is_some_and(|max| mites > u128::from(max.mites())) {
            return Err(ResultCode::OverTransactionLimit);
        }
        if limit.as_ref().is_some_and(|limit| !limit.allows(&self.spent, now_ms, mites)) {
            return Err(ResultCode::OverKeyLimit);
        }
        Ok(())
    }

    /// Counts what [`DelegatedKey::check`] allowed.
    pub(crate) fn record(&mut self, now_ms: u64, mites: u128) {
        if let Some(limit) = self.limits.limit {
            self.spent.add(&limit, now_ms, mites);
        }
    }

    /// All the money in it.
    pub(crate) fn held_mites(&self) -> u128 {
        self.reserve.mites().into()
    }
}

/// Executes or rejects a `SetKey`.
pub(crate) fn set(context: &mut Context<'_>, operation: &SetKey) -> Result<(), ResultCode> {
    let SetKey { public_key, limits } = operation;
    let (now_ms, sender) = (context.now_ms, context.sender);
    let owner = context.state.address_in_slot(sender);
    if let Some(slot) = context.state.key_slot(&owner, public_key) {
        context.state.update_key(slot, |key| {
            key.spent = key.spent.carried(key.limits.limit.as_ref(), limits.limit.as_ref(), now_ms);
            key.limits = limits.clone();
        });
        return Ok(());
    }
    if !has_room(context.state.in_slot(sender), public_key, now_ms) {
        return Err(ResultCode::TooManyKeys);
    }
    let reserve = context.parameters.key_reserve;
    context.spend_reserve(reserve)?;
    let nonces = context.state.update_account(sender, |account| {
        account.update_extras(|extras| {
            extras.tombstones.retain(|tombstone| tombstone.until_ms >= now_ms);
            extras.keys.push(*public_key);
            let place = extras.tombstones.iter().position(|tombstone| tombstone.public_key == *public_key);
            place.map_or(NonceWindow::default(), |place| extras.tombstones.remove(place).nonces)
        })
    });
    let key = DelegatedKey { limits: limits.clone(), nonces, spent: Spent::default(), reserve };
    context.state.insert(Object::key(owner, *public_key, key));
    Ok(())
}

/// Executes or rejects a `RemoveKey`.
pub(crate) fn remove(context: &mut Context<'_>, public_key: &PublicKey) -> Result<(), ResultCode> {
    let owner = context.state.address_in_slot(context.sender);
    let slot = context.state.key_slot(&owner, public_key).ok_or(ResultCode::NoSuchKey)?;
    let key = context.state.remove_key(slot);
    let until_ms = context.now_ms.saturating_add(context.parameters.validity_max_ms);
    let now_ms = context.now_ms;
    context.state.update_account(context.sender, |account| {
        account.update_extras(|extras| {
            extras.keys.retain(|other| other != public_key);
            extras.tombstones.retain(|tombstone| tombstone.until_ms >= now_ms);
            extras.tombstones.push(Tombstone { public_key: *public_key, nonces: key.nonces, until_ms });
            assert!(extras.keys.len() + extras.tombstones.len() <= KEYS_MAX, "a key became more than one tombstone");
        });
    });
    context.credit(context.sender, key.reserve);
    Ok(())
}

/// Whether the account can have this new key.
fn has_room(account: &Account, public_key: &PublicKey, now_ms: u64) -> bool {
    let Some(extras) = &account.extras else { return true };
    let kept = |tombstone: &&Tombstone| tombstone.until_ms >= now_ms && tombstone.public_key != *public_key;
    extras.keys.len() + extras.tombstones.iter().filter(kept).count() < KEYS_MAX
}

fn read_payees<R: std::io::Read>(reader: &mut R) -> std::io::Result<Option<Vec<Address>>> {
    bool::deserialize_reader(reader)?.then(|| codec::bounded_vec(reader, 1, PAYEES_MAX)).transpose()
}

/// A list of addresses as the hexadecimal digits of their keys.
mod payees_as_keys {
    use super::{Address, PublicKey};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(payees: &Option<Vec<Address>>, serializer: S) -> Result<S::Ok, S::Error> {
        let keys: Option<Vec<PublicKey>> = payees.as_ref().map(|payees| payees.iter().map(|payee| payee.0).collect());
        keys.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Address>>, D::Error> {
        let keys = Option::<Vec<PublicKey>>::deserialize(deserializer)?;
        Ok(keys.map(|keys| keys.into_iter().map(Address).collect()))
    }
}
