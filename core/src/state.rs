//! The state: all accounts, in dense slots.
//!
//! Slot 0 holds the globals; every account has a slot of its own from 1 on. A new account takes the lowest empty slot, which
//! is the next one as long as nothing frees slots; the slot count never shrinks. The slots are the leaves of the state's
//! Merkle tree ([`crate::state_tree`]) and what storage keeps ([`SlotRecord`]).
//!
//! All changes go through `State::update` and `State::open`, which keep
//! - the running total of all money, by what accounts held before and after each change, independently of what a transaction
//!   says it does: `State::assert_supply` compares it with the supply after every block;
//! - the slots changed since the last state root with what they held then, for the next root and for proofs against the last;
//! - the slots changed since the last flush.
//!
//! Measured memory, tree and index included: 310 bytes an account at a million accounts (128 in the slot, 64 in the tree).

use crate::account::Account;
use crate::address::Address;
use crate::amount::Amount;
use crate::codec;
use crate::genesis::Genesis;
use crate::index::AddressIndex;
use borsh::{BorshDeserialize, BorshSerialize};

/// The slot of the globals.
pub const GLOBALS_SLOT: u32 = 0;

/// The most bytes that the encoding of a slot takes.
pub const SLOT_BYTES_MAX: usize = 1 + 32 + 8 + 8 + 16 + 33 + 8;

/// What a slot holds. Its borsh encoding is the Merkle leaf and what storage keeps. A tag, once given, is never used for
/// anything else.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum SlotValue {
    /// Slot 0.
    Globals {
        /// How many slots there are, this one included.
        slot_count: u64,
        /// All the money there is.
        supply: Amount,
    },
    /// An account.
    Account {
        /// Its address.
        address: Address,
        /// What it holds.
        account: Account,
    },
}

/// A slot with the canonical encoding of its [`SlotValue`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRecord {
    /// The slot's number.
    pub slot: u32,
    /// `borsh(SlotValue)`, at most [`SLOT_BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// All accounts, in memory.
#[derive(Clone, Debug)]
pub struct State {
    /// The account of slot `i` at `i − 1`.
    slots: Vec<AccountSlot>,
    index: AddressIndex,
    supply: Amount,
    /// Σ balances + Σ reserves, kept change by change.
    held_mites: u128,
    /// The slots changed since the last root, each once, in the order of their first change.
    changes: Vec<Change>,
    /// The account slots changed since the last flush, each once, and whether the globals changed since.
    unflushed: Vec<u32>,
    globals_unflushed: bool,
}

#[derive(Clone, Debug)]
struct AccountSlot {
    address: Address,
    account: Account,
    /// Where in `changes` this slot stands.
    change: Option<u32>,
    unflushed: bool,
}

#[derive(Clone, Debug)]
struct Change {
    slot: u32,
    /// What the slot held at the last root; `None` if it did not exist.
    before: Option<Account>,
}

impl State {
    /// The state that a genesis document describes: its accounts in its order from slot 1 on. All of it is unflushed.
    pub fn genesis(genesis: &Genesis) -> State {
        let accounts = genesis.accounts().iter().map(|(address, balance)| (*address, Account::of_genesis(*balance)));
        let mut state = State::rooted(genesis.supply(), accounts).expect("a genesis document names no account twice");
        state.unflushed = (1..=state.slots.len()).map(to_u32).collect();
        state.slots.iter_mut().for_each(|slot| slot.unflushed = true);
        state.globals_unflushed = true;
        state
    }

    /// A state of these accounts, from slot 1 on, with nothing changed since the last root and flush. `None` if an address
    /// stands twice.
    pub(crate) fn rooted(supply: Amount, accounts: impl Iterator<Item = (Address, Account)>) -> Option<State> {
        let mut state = State {
            slots: Vec::with_capacity(accounts.size_hint().0),
            index: AddressIndex::default(),
            supply,
            held_mites: 0,
            changes: Vec::new(),
            unflushed: Vec::new(),
            globals_unflushed: false,
        };
        for (address, account) in accounts {
            if !state.index.insert(address, to_u32(state.slots.len() + 1)) {
                return None;
            }
            state.held_mites += account.held_mites();
            state.slots.push(AccountSlot { address, account, change: None, unflushed: false });
        }
        Some(state)
    }

    /// The account of an address.
    pub fn account(&self, address: &Address) -> Option<&Account> {
        self.slot_of(address).map(|slot| self.in_slot(slot))
    }

    /// The slot of an address's account.
    pub fn slot_of(&self, address: &Address) -> Option<u32> {
        self.index.get(address)
    }

    /// How many accounts there are.
    pub fn account_count(&self) -> u64 {
        self.slots.len() as u64
    }

    /// How many slots there are: the globals' and one an account.
    pub fn slot_count(&self) -> u64 {
        self.account_count() + 1
    }

    /// All the money there is, in every balance and reserve.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// The encoding of a slot as it is now.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn record(&self, slot: u32) -> SlotRecord {
        let bytes = match slot {
            GLOBALS_SLOT => codec::encode(&SlotValue::Globals { slot_count: self.slot_count(), supply: self.supply }),
            _ => {
                let AccountSlot { address, account, .. } = &self.slots[slot as usize - 1];
                codec::encode(&SlotValue::Account { address: *address, account: account.clone() })
            }
        };
        SlotRecord { slot, bytes }
    }

    /// The account in a slot.
    pub(crate) fn in_slot(&self, slot: u32) -> &Account {
        &self.slots[slot as usize - 1].account
    }

    /// The address of the account in a slot.
    pub(crate) fn address_in_slot(&self, slot: u32) -> Address {
        self.slots[slot as usize - 1].address
    }

    /// What an account held at the last root; `None` if it did not exist.
    pub(crate) fn at_last_root(&self, slot: u32) -> Option<&Account> {
        let entry = &self.slots[slot as usize - 1];
        match entry.change {
            Some(change) => self.changes[change as usize].before.as_ref(),
            None => Some(&entry.account),
        }
    }

    /// Changes an account.
    pub(crate) fn update(&mut self, slot: u32, change: impl FnOnce(&mut Account)) {
        let entry = &mut self.slots[slot as usize - 1];
        if entry.change.is_none() {
            entry.change = Some(to_u32(self.changes.len()));
            self.changes.push(Change { slot, before: Some(entry.account.clone()) });
        }
        if !entry.unflushed {
            entry.unflushed = true;
            self.unflushed.push(slot);
        }
        let before = entry.account.held_mites();
        change(&mut entry.account);
        self.held_mites = self.held_mites + entry.account.held_mites() - before;
    }

    /// Adds an account in the lowest empty slot, which it returns.
    pub(crate) fn open(&mut self, address: Address, account: Account) -> u32 {
        let slot = to_u32(self.slots.len() + 1);
        assert!(self.index.insert(address, slot), "the account {address:?} is opened twice");
        self.held_mites += account.held_mites();
        let change = Some(to_u32(self.changes.len()));
        self.slots.push(AccountSlot { address, account, change, unflushed: true });
        self.changes.push(Change { slot, before: None });
        self.unflushed.push(slot);
        self.globals_unflushed = true;
        slot
    }

    /// The slots changed since the last root, ascending.
    pub(crate) fn changed(&self) -> Vec<u32> {
        let opened = self.changes.iter().any(|change| change.before.is_none());
        let globals = opened.then_some(GLOBALS_SLOT);
        let mut slots: Vec<u32> = self.changes.iter().map(|change| change.slot).chain(globals).collect();
        slots.sort_unstable();
        slots
    }

    /// Declares the present state the one of the last root.
    pub(crate) fn settle(&mut self) {
        for change in self.changes.drain(..) {
            self.slots[change.slot as usize - 1].change = None;
        }
    }

    /// The slots changed since the last flush, ascending and as they are now; from here on they count as flushed.
    pub(crate) fn take_unflushed(&mut self) -> Vec<SlotRecord> {
        let mut slots = std::mem::take(&mut self.unflushed);
        for slot in &slots {
            self.slots[*slot as usize - 1].unflushed = false;
        }
        slots.extend(std::mem::take(&mut self.globals_unflushed).then_some(GLOBALS_SLOT));
        slots.sort_unstable();
        slots.into_iter().map(|slot| self.record(slot)).collect()
    }

    /// Asserts the invariant of money by the running total: Σ balances + Σ reserves = supply.
    pub(crate) fn assert_supply(&self) {
        assert_eq!(self.held_mites, u128::from(self.supply.mites()), "money was made or lost");
    }

    /// Counts everything again and asserts what holds of it. Takes time in proportion to the number of accounts.
    pub(crate) fn audit(&self) {
        let recount: u128 = self.slots.iter().map(|slot| slot.account.held_mites()).sum();
        assert_eq!(recount, self.held_mites, "the running total is wrong");
        self.assert_supply();
        assert_eq!(self.index.len(), self.slots.len(), "the index and the slots differ");
        for (position, slot) in self.slots.iter().enumerate() {
            assert_eq!(self.slot_of(&slot.address), Some(to_u32(position + 1)), "the index is wrong");
        }
    }
}

/// Slots are numbered in 32 bits: genesis documents whose reserve would allow more accounts are refused.
fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("the genesis document's reserve bounds the number of accounts")
}
