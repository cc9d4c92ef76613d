//! The state: all accounts, holds and delegated keys, in dense slots.
//!
//! Slot 0 holds the globals; every object has a slot of its own from 1 on. A new object takes the lowest empty slot; the slot count never
//! shrinks. The slots are the leaves of the state's Merkle tree ([`crate::state_tree`]) and what storage keeps ([`SlotRecord`]).
//!
//! All changes go through the `update`, `insert` and `remove` functions, which keep
//! - the running total of all money, by what objects held before and after each change, independently of what a transaction
//!   says it does: `State::assert_supply` compares it with the supply after every block;
//! - the slots changed since the last state root with what they held then, for the next root and for proofs against the last;
//! - the slots changed since the last flush.
//!
//! An account takes 144 bytes here, a quarter of a byte for marks, and eight to twelve in the index, however many there are; what it is
//! taken from grows by an eighth at a time.

use crate::account::{ACCOUNT_BYTES_MAX, Account};
use crate::address::Address;
use crate::amount::Amount;
use crate::bandwidth::{Bandwidth, Load, capacity_bytes};
use crate::bit_set::BitSet;
use crate::codec;
use crate::delegated_key::{DELEGATED_KEY_BYTES_MAX, DelegatedKey};
use crate::genesis::Genesis;
use crate::hold::{HOLD_BYTES_MAX, Hold};
use crate::index::{Name, SlotIndex};
use crate::keys::PublicKey;
use crate::object::{Object, SlotView};
use crate::transaction::TransactionId;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The slot of the globals.
pub const GLOBALS_SLOT: u32 = 0;

/// The most bytes that the encoding of a slot takes: an account with all that one may have.
pub const SLOT_BYTES_MAX: usize = 1 + 32 + ACCOUNT_BYTES_MAX;

const _: () = assert!(32 + HOLD_BYTES_MAX <= 32 + ACCOUNT_BYTES_MAX, "an account is the largest object");
const _: () = assert!(64 + DELEGATED_KEY_BYTES_MAX <= 32 + ACCOUNT_BYTES_MAX, "an account is the largest object");

/// What a slot holds. Its borsh encoding is the Merkle leaf and what storage keeps. A tag, once given, is never used for
/// anything else.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SlotValue {
    /// Slot 0.
    Globals(Globals),
    /// An account.
    Account {
        /// Its address; in JSON the 64 hexadecimal digits of the key.
        #[serde(with = "codec::hex")]
        address: Address,
        /// What it holds.
        account: Account,
    },
    /// A hold.
    Hold {
        /// Its id: the transaction that opened it.
        id: TransactionId,
        /// What it holds.
        hold: Hold,
    },
    /// A delegated key.
    Key {
        /// The account that it may spend of; in JSON the 64 hexadecimal digits of the key.
        #[serde(with = "codec::hex")]
        owner: Address,
        /// The key.
        public_key: PublicKey,
        /// What it may do and what it did.
        key: DelegatedKey,
    },
    /// Nothing any more: the next new object takes the lowest of these.
    Empty,
}

/// What the state knows besides its objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Globals {
    /// How many slots there are, slot 0 and empty ones included.
    pub slot_count: u64,
    /// All the money there is.
    pub supply: Amount,
    /// The load, from which the multiplier of bandwidth follows.
    pub load: Load,
}

/// A slot with the canonical encoding of its [`SlotValue`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRecord {
    /// The slot's number.
    pub slot: u32,
    /// `borsh(SlotValue)`, at most [`SLOT_BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// All objects, in memory.
#[derive(Clone, Debug)]
pub struct State {
    /// The object of slot `i` at `i − 1`.
    objects: Vec<Object>,
    /// The slots that are empty.
    empty: BTreeSet<u32>,
    index: SlotIndex,
    account_count: u64,
    supply: Amount,
    load: Load,
    /// Σ balances + Σ what is left in holds + Σ reserves, kept change by change.
    held_mites: u128,
    changes: Changes,
    globals_at_root: Globals,
    /// The slots changed since the last flush, and the globals as they were flushed, if they were.
    unflushed: BitSet,
    globals_flushed: Option<Globals>,
}

/// The slots changed since the last root.
#[derive(Clone, Debug, Default)]
struct Changes {
    /// Which.
    are_changed: BitSet,
    /// In the order of their first change, with what each held at the last root; empty if it did not exist. Two lists, so that one
    /// can be searched fast: only proofs ask what a slot held.
    slots: Vec<u32>,
    before: Vec<Object>,
}

impl State {
    /// The state that a genesis document describes: its accounts in its order from slot 1 on. All of it is unflushed.
    ///
    /// # Panics
    /// If the accounts were left out of the document.
    pub fn genesis(genesis: &Genesis) -> State {
        assert!(genesis.has_accounts(), "the genesis document has no accounts any more");
        let (parameters, now_ms) = (&genesis.parameters().bandwidth, genesis.timestamp_ms());
        let objects = genesis.accounts().iter().map(|(address, balance)| {
            let bandwidth = Bandwidth::new(parameters, capacity_bytes(parameters, *balance), now_ms);
            Object::Account { address: *address, account: Account::of_genesis(*balance, bandwidth) }
        });
        let mut state = State::empty(genesis.supply(), Load::none(now_ms), genesis.accounts().len());
        for object in objects {
            assert!(state.put(object), "a genesis document names no account twice");
            state.unflushed.insert(to_u32(state.objects.len()));
        }
        state.settle();
        state
    }

    /// A state without any object, to be filled with so many by [`State::put`] and then settled.
    pub(crate) fn empty(supply: Amount, load: Load, objects: usize) -> State {
        State {
            objects: Vec::with_capacity(objects),
            empty: BTreeSet::new(),
            index: SlotIndex::with_capacity(objects),
            account_count: 0,
            supply,
            load,
            held_mites: 0,
            changes: Changes::default(),
            globals_at_root: Globals { slot_count: 1, supply, load },
            unflushed: BitSet::default(),
            globals_flushed: None,
        }
    }

    /// Puts what was there before into the next slot. Whether no other slot has an object of that name.
    #[must_use]
    pub(crate) fn put(&mut self, object: Object) -> bool {
        let slot = to_u32(self.objects.len() + 1);
        let name = object.name();
        if name.is_some_and(|name| self.find(&name).is_some()) {
            return false;
        }
        self.held_mites += object.held_mites();
        self.account_count += u64::from(matches!(object, Object::Account { .. }));
        self.push(object);
        match name {
            Some(name) => self.put_in_index(&name, slot),
            None => drop(self.empty.insert(slot)),
        }
        true
    }

    /// Declares that all slots are stored as they are now: the next flush holds those that change from here on, and the globals if they do.
    ///
    /// # Panics
    /// If anything has changed since the last root.
    pub(crate) fn set_flushed(&mut self) {
        assert!(self.changes.slots.is_empty(), "states are flushed at their roots");
        self.unflushed.clear();
        self.globals_flushed = Some(self.globals());
    }

    /// The account of an address.
    pub fn account(&self, address: &Address) -> Option<&Account> {
        self.slot_of(address).map(|slot| self.in_slot(slot))
    }

    /// The hold that a transaction opened, if it is still there.
    pub fn hold(&self, id: &TransactionId) -> Option<&Hold> {
        self.hold_slot(id).map(|slot| self.hold_in_slot(slot))
    }

    /// A delegated key of an account.
    pub fn key(&self, owner: &Address, public_key: &PublicKey) -> Option<&DelegatedKey> {
        self.key_slot(owner, public_key).map(|slot| self.key_in_slot(slot))
    }

    /// The slot of an address's account.
    pub fn slot_of(&self, address: &Address) -> Option<u32> {
        self.index.get(
            &Name::Account(*address),
            |slot| matches!(self.object_in_slot(slot), Object::Account { address: other, .. } if other == address),
        )
    }

    /// The slot of a hold.
    pub fn hold_slot(&self, id: &TransactionId) -> Option<u32> {
        self.find(&Name::Hold(*id))
    }

    /// The slot of a delegated key.
    pub fn key_slot(&self, owner: &Address, public_key: &PublicKey) -> Option<u32> {
        self.find(&Name::Key(*owner, *public_key))
    }

    /// How many accounts there are.
    pub fn account_count(&self) -> u64 {
        self.account_count
    }

    /// How many slots there are: the globals', one an object, and the empty ones.
    pub fn slot_count(&self) -> u64 {
        self.objects.len() as u64 + 1
    }

    /// All the money there is: in balances, holds and reserves.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// The load as of the newest transaction in a block.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// What slot 0 holds.
    pub fn globals(&self) -> Globals {
        Globals { slot_count: self.slot_count(), supply: self.supply, load: self.load }
    }

    /// The encoding of a slot as it is now.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn record(&self, slot: u32) -> SlotRecord {
        self.records([slot]).next().expect("one was asked for")
    }

    /// The encodings of these slots as they are now, one by one.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn records(&self, slots: impl IntoIterator<Item = u32>) -> impl Iterator<Item = SlotRecord> {
        let mut buffer = Vec::new();
        slots.into_iter().map(move |slot| {
            self.view(slot).encode_into(&mut buffer);
            // As long as they are and no longer: there may be many.
            SlotRecord { slot, bytes: buffer.as_slice().into() }
        })
    }

    /// What is in a slot.
    pub(crate) fn view(&self, slot: u32) -> SlotView<'_> {
        match slot {
            GLOBALS_SLOT => SlotView::Globals(self.globals()),
            _ => self.object_in_slot(slot).view(),
        }
    }

    /// What was in a slot at the last root.
    pub(crate) fn view_at_last_root(&self, slot: u32) -> SlotView<'_> {
        match slot {
            GLOBALS_SLOT => SlotView::Globals(self.globals_at_root),
            _ => self.at_last_root(slot).view(),
        }
    }

    /// What is in a slot other than the first.
    pub(crate) fn object_in_slot(&self, slot: u32) -> &Object {
        &self.objects[slot as usize - 1]
    }

    /// The account in a slot.
    pub(crate) fn in_slot(&self, slot: u32) -> &Account {
        match self.object_in_slot(slot) {
            Object::Account { account, .. } => account,
            other => panic!("slot {slot} holds no account but {other:?}"),
        }
    }

    /// The address of the account in a slot.
    pub(crate) fn address_in_slot(&self, slot: u32) -> Address {
        match self.object_in_slot(slot) {
            Object::Account { address, .. } => *address,
            other => panic!("slot {slot} holds no account but {other:?}"),
        }
    }

    /// The hold in a slot.
    pub(crate) fn hold_in_slot(&self, slot: u32) -> &Hold {
        match self.object_in_slot(slot) {
            Object::Hold(named) => &named.1,
            other => panic!("slot {slot} holds no hold but {other:?}"),
        }
    }

    /// The delegated key in a slot.
    pub(crate) fn key_in_slot(&self, slot: u32) -> &DelegatedKey {
        match self.object_in_slot(slot) {
            Object::Key(named) => &named.2,
            other => panic!("slot {slot} holds no delegated key but {other:?}"),
        }
    }

    /// What a slot held at the last root; empty if it did not exist. Takes time in proportion to what changed since.
    pub(crate) fn at_last_root(&self, slot: u32) -> &Object {
        if !self.changes.are_changed.contains(slot) {
            return self.object_in_slot(slot);
        }
        let place = self.changes.slots.iter().position(|changed| *changed == slot);
        &self.changes.before[place.expect("it is marked")]
    }

    /// Changes an account.
    pub(crate) fn update_account<T>(&mut self, slot: u32, change: impl FnOnce(&mut Account) -> T) -> T {
        match self.note_change(slot) {
            (Object::Account { account, .. }, held_mites) => {
                let before = account.held_mites();
                let result = change(account);
                *held_mites = *held_mites + account.held_mites() - before;
                result
            }
            (other, _) => panic!("slot {slot} holds no account but {other:?}"),
        }
    }

    /// Changes a hold.
    pub(crate) fn update_hold(&mut self, slot: u32, change: impl FnOnce(&mut Hold)) {
        match self.note_change(slot) {
            (Object::Hold(named), held_mites) => {
                let before = named.1.held_mites();
                change(&mut named.1);
                *held_mites = *held_mites + named.1.held_mites() - before;
            }
            (other, _) => panic!("slot {slot} holds no hold but {other:?}"),
        }
    }

    /// Changes a delegated key.
    pub(crate) fn update_key(&mut self, slot: u32, change: impl FnOnce(&mut DelegatedKey)) {
        match self.note_change(slot) {
            (Object::Key(named), held_mites) => {
                let before = named.2.held_mites();
                change(&mut named.2);
                *held_mites = *held_mites + named.2.held_mites() - before;
            }
            (other, _) => panic!("slot {slot} holds no delegated key but {other:?}"),
        }
    }

    /// Changes the load.
    pub(crate) fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    /// Adds an object in the lowest empty slot, which it returns.
    pub(crate) fn insert(&mut self, object: Object) -> u32 {
        let name = object.name().expect("an object has a name");
        assert_eq!(self.find(&name), None, "{name:?} is there already");
        let slot = self.empty.pop_first().unwrap_or_else(|| {
            self.push(Object::Empty);
            to_u32(self.objects.len())
        });
        let held_mites = object.held_mites();
        self.account_count += u64::from(matches!(object, Object::Account { .. }));
        let (place, total) = self.note_change(slot);
        *total += held_mites;
        let before = std::mem::replace(place, object);
        assert_eq!(before, Object::Empty, "the slot of a new object is empty");
        self.put_in_index(&name, slot);
        slot
    }

    /// Takes an account out, whose slot becomes empty.
    pub(crate) fn remove_account(&mut self, slot: u32) -> Account {
        match self.remove(slot) {
            Object::Account { account, .. } => {
                self.account_count -= 1;
                account
            }
            other => panic!("slot {slot} held no account but {other:?}"),
        }
    }

    /// Takes a hold out, whose slot becomes empty.
    pub(crate) fn remove_hold(&mut self, slot: u32) -> Hold {
        match self.remove(slot) {
            Object::Hold(named) => named.1,
            other => panic!("slot {slot} held no hold but {other:?}"),
        }
    }

    /// Takes a delegated key out, whose slot becomes empty.
    pub(crate) fn remove_key(&mut self, slot: u32) -> DelegatedKey {
        match self.remove(slot) {
            Object::Key(named) => named.2,
            other => panic!("slot {slot} held no delegated key but {other:?}"),
        }
    }

    /// The slots changed since the last root, ascending.
    pub(crate) fn changed(&self) -> impl Iterator<Item = u32> {
        let globals = (self.globals() != self.globals_at_root).then_some(GLOBALS_SLOT);
        globals.into_iter().chain(self.changes.are_changed.iter())
    }

    /// How many slots other than the first changed since the last root.
    pub(crate) fn changed_count(&self) -> usize {
        self.changes.slots.len()
    }

    /// Declares the present state the one of the last root.
    pub(crate) fn settle(&mut self) {
        for slot in self.changes.slots.drain(..) {
            self.changes.are_changed.remove(slot);
        }
        self.changes.before.clear();
        self.globals_at_root = self.globals();
    }

    /// The slots changed since the last flush, ascending and as they are now; from here on they count as flushed.
    pub(crate) fn take_unflushed(&mut self) -> Vec<SlotRecord> {
        let globals = (self.globals_flushed != Some(self.globals())).then_some(GLOBALS_SLOT);
        let records = self.records(globals.into_iter().chain(self.unflushed.iter())).collect();
        self.set_flushed();
        records
    }

    /// Asserts the invariant of money by the running total: Σ balances + Σ what is left in holds + Σ reserves = supply.
    pub(crate) fn assert_supply(&self) {
        assert_eq!(self.held_mites, u128::from(self.supply.mites()), "money was made or lost");
    }

    /// All the money in all objects, by the running total, in mites.
    pub(crate) fn held_mites(&self) -> u128 {
        self.held_mites
    }

    /// Counts everything again and asserts what holds of it. Takes time in proportion to the number of slots.
    pub(crate) fn audit(&self) {
        let recount: u128 = self.objects.iter().map(Object::held_mites).sum();
        assert_eq!(recount, self.held_mites, "the running total is wrong");
        self.assert_supply();
        assert_eq!(self.index.len() + self.empty.len(), self.objects.len(), "the index and the slots differ");
        let (mut accounts, mut keys, mut listed_keys, mut parties, mut counted_parties) = (0, 0, 0, 0, 0);
        for (position, object) in self.objects.iter().enumerate() {
            let slot = to_u32(position + 1);
            match object.name() {
                Some(name) => assert_eq!(self.find(&name), Some(slot), "the index is wrong"),
                None => assert!(self.empty.contains(&slot), "an empty slot is not known as one"),
            }
            match object {
                Object::Account { account, .. } => {
                    accounts += 1;
                    listed_keys += account.keys().len();
                    counted_parties += account.holds();
                }
                Object::Key(named) => {
                    keys += 1;
                    let owner = self.account(&named.0).expect("a key has an owner");
                    assert!(owner.keys().contains(&named.1), "a key is not listed by its owner");
                }
                Object::Hold(named) => {
                    parties += 2;
                    assert!(self.account(&named.1.payer).is_some_and(|payer| payer.holds() > 0));
                    assert!(self.account(&named.1.payee).is_some_and(|payee| payee.holds() > 0));
                }
                Object::Empty => {}
            }
        }
        assert_eq!(accounts, self.account_count, "the number of accounts is wrong");
        assert_eq!(keys, listed_keys, "an account lists a key that is not there");
        assert_eq!(parties, counted_parties, "accounts count other holds than there are");
    }

    fn find(&self, name: &Name) -> Option<u32> {
        self.index.get(name, |slot| self.object_in_slot(slot).name() == Some(*name))
    }

    fn put_in_index(&mut self, name: &Name, slot: u32) {
        let objects = &self.objects;
        self.index.insert(name, slot, |slot| objects[slot as usize - 1].name().expect("an indexed object"));
    }

    fn push(&mut self, object: Object) {
        if self.objects.len() == self.objects.capacity() {
            // Doubling could take as much again as there is.
            self.objects.reserve_exact(64.max(self.objects.len() / 8));
        }
        self.objects.push(object);
    }

    /// Takes an object out of its slot.
    fn remove(&mut self, slot: u32) -> Object {
        let name = self.object_in_slot(slot).name().expect("an object is there");
        self.index.remove(&name, slot);
        self.empty.insert(slot);
        let (place, total) = self.note_change(slot);
        let object = std::mem::replace(place, Object::Empty);
        *total -= object.held_mites();
        object
    }

    /// Notes that a slot is about to change. Returns its object, and the running total to be kept.
    fn note_change(&mut self, slot: u32) -> (&mut Object, &mut u128) {
        let object = &mut self.objects[slot as usize - 1];
        if self.changes.are_changed.insert(slot) {
            self.changes.slots.push(slot);
            self.changes.before.push(object.clone());
            self.unflushed.insert(slot);
        }
        (object, &mut self.held_mites)
    }
}

/// Slots are numbered in 32 bits: genesis documents whose reserves would allow more objects are refused.
fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("the genesis document's reserves bound the number of objects")
}
