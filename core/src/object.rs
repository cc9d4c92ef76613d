//! What the slots of the state hold in memory.

use crate::account::Account;
use crate::address::Address;
use crate::delegated_key::DelegatedKey;
use crate::hold::Hold;
use crate::index::Name;
use crate::keys::PublicKey;
use crate::state::{Globals, SlotValue};
use crate::transaction::TransactionId;
use borsh::BorshSerialize;

/// What a slot other than the first holds in memory. Rare objects are boxed, so that they cost accounts nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    Empty,
    Account { address: Address, account: Account },
    Hold(Box<(TransactionId, Hold)>),
    Key(Box<(Address, PublicKey, DelegatedKey)>),
}

const _: () = assert!(std::mem::size_of::<Object>() <= 144, "an account takes little memory");

/// A [`SlotValue`] that stands elsewhere. Its encoding is the same.
#[derive(BorshSerialize)]
pub(crate) enum SlotView<'a> {
    Globals(Globals),
    Account { address: &'a Address, account: &'a Account },
    Hold { id: &'a TransactionId, hold: &'a Hold },
    Key { owner: &'a Address, public_key: &'a PublicKey, key: &'a DelegatedKey },
    Empty,
}

impl Object {
    pub(crate) fn hold(id: TransactionId, hold: Hold) -> Object {
        Object::Hold(Box::new((id, hold)))
    }

    pub(crate) fn key(owner: Address, public_key: PublicKey, key: DelegatedKey) -> Object {
        Object::Key(Box::new((owner, public_key, key)))
    }

    /// The object of a slot's value; `None` for the globals.
    pub(crate) fn from_value(value: SlotValue) -> Option<Object> {
        Some(match value {
            SlotValue::Globals(_) => return None,
            SlotValue::Account { address, account } => Object::Account { address, account },
            SlotValue::Hold { id, hold } => Object::hold(id, hold),
            SlotValue::Key { owner, public_key, key } => Object::key(owner, public_key, key),
            SlotValue::Empty => Object::Empty,
        })
    }

    pub(crate) fn value(&self) -> SlotValue {
        match self.clone() {
            Object::Empty => SlotValue::Empty,
            Object::Account { address, account } => SlotValue::Account { address, account },
            Object::Hold(named) => SlotValue::Hold { id: named.0, hold: named.1 },
            Object::Key(named) => SlotValue::Key { owner: named.0, public_key: named.1, key: named.2 },
        }
    }

    /// For encoding.
    pub(crate) fn view(&self) -> SlotView<'_> {
        match self {
            Object::Empty => SlotView::Empty,
            Object::Account { address, account } => SlotView::Account { address, account },
            Object::Hold(named) => SlotView::Hold { id: &named.0, hold: &named.1 },
            Object::Key(named) => SlotView::Key { owner: &named.0, public_key: &named.1, key: &named.2 },
        }
    }

    pub(crate) fn name(&self) -> Option<Name> {
        match self {
            Object::Empty => None,
            Object::Account { address, .. } => Some(Name::Account(*address)),
            Object::Hold(named) => Some(Name::Hold(named.0)),
            Object::Key(named) => Some(Name::Key(named.0, named.1)),
        }
    }

    pub(crate) fn held_mites(&self) -> u128 {
        match self {
            Object::Empty => 0,
            Object::Account { account, .. } => account.held_mites(),
            Object::Hold(named) => named.1.held_mites(),
            Object::Key(named) => named.2.held_mites(),
        }
    }
}

impl SlotView<'_> {
    /// Puts the encoding of the value in the place of what `buffer` holds.
    pub(crate) fn encode_into(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        self.serialize(buffer).expect("encoding into memory cannot fail");
    }
}
