//! Holds, and what was paid with a reference.

use crate::account::{AsOf, HistoryEntry};
use crate::operation::ConditionJson;
use farthing_core::address::{Address, AddressError, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::hold::Hold;
use farthing_core::transaction::TransactionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HoldView {
    /// The hold: the id of the transaction that opened it.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// What can be done with it.
    pub state: HoldState,
    /// The address of the payer.
    pub payer: String,
    /// The address of the payee.
    pub payee: String,
    /// What was set aside in all, in mites. Of a closed hold, what it was opened with.
    #[schema(value_type = String, example = "2500000")]
    pub amount: Amount,
    /// What the payee got of it, in mites. Of a closed hold with more than 1,000 operations nothing is said.
    #[schema(value_type = Option<String>, example = "500000")]
    pub captured: Option<Amount>,
    /// The payee's own mark, 64 hexadecimal digits.
    #[schema(value_type = Option<String>)]
    pub reference: Option<Digest>,
    /// What else there is to say of a hold that is not closed.
    pub terms: Option<HoldTerms>,
    /// Which state this is.
    pub as_of: AsOf,
}

/// What is in force for a hold that is not closed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HoldTerms {
    /// What a capture needs.
    pub condition: ConditionJson,
    /// The end, unless it closes before, in milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// When the closing that the payer started is over, in milliseconds since the Unix epoch.
    pub closing_at_ms: Option<u64>,
    /// From when on nothing can be captured any more, in milliseconds since the Unix epoch.
    pub end_ms: u64,
    /// What is locked for its existence, of the payer's, in mites.
    #[schema(value_type = String, example = "250000000")]
    pub reserve: Amount,
}

/// What can be done with a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// It can be captured, topped up and released.
    Open,
    /// The payer has started closing it: it can be captured until its end.
    Closing,
    /// It has ended: anybody can release it.
    Ended,
    /// It is no more: the rest was given back.
    Closed,
}

impl HoldView {
    /// A hold that the ledger has.
    pub fn new(id: TransactionId, hold: &Hold, prefix: &AddressPrefix, as_of: AsOf) -> HoldView {
        let state = match hold.closing_at_ms {
            _ if as_of.timestamp_ms >= hold.end_ms() => HoldState::Ended,
            Some(_) => HoldState::Closing,
            None => HoldState::Open,
        };
        let terms = HoldTerms {
            condition: hold.condition.into(),
            expires_at_ms: hold.expires_at_ms,
            closing_at_ms: hold.closing_at_ms,
            end_ms: hold.end_ms(),
            reserve: hold.reserve,
        };
        HoldView {
            id,
            state,
            payer: hold.payer.encode(prefix),
            payee: hold.payee.encode(prefix),
            amount: hold.amount,
            captured: Some(hold.captured),
            reference: hold.reference,
            terms: Some(terms),
            as_of,
        }
    }

    /// The hold as the ledger has it; `None` if it is closed. It is the node's word, not a proof.
    ///
    /// # Errors
    /// [`AddressError`] if an address is not one of the network with this prefix.
    pub fn to_hold(&self, prefix: &AddressPrefix) -> Result<Option<Hold>, AddressError> {
        let Some(terms) = &self.terms else { return Ok(None) };
        Ok(Some(Hold {
            payer: Address::decode(&self.payer, prefix)?,
            payee: Address::decode(&self.payee, prefix)?,
            amount: self.amount,
            captured: self.captured.unwrap_or(Amount::ZERO),
            condition: terms.condition.clone().into(),
            expires_at_ms: terms.expires_at_ms,
            closing_at_ms: terms.closing_at_ms,
            reference: self.reference,
            reserve: terms.reserve,
        }))
    }
}

/// A page of the holds of an account, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HoldsPage {
    /// The holds that the account is payer or payee of, closed ones too, newest first.
    pub holds: Vec<HoldView>,
    /// The cursor of the next, older page; none if there is no more.
    pub next: Option<String>,
}

/// A page of what was paid with a reference, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReferencePage {
    /// What accounts received with this reference, and the holds that were opened with it, newest first. Anybody can pay anybody with any
    /// reference: look at `account`.
    pub entries: Vec<HistoryEntry>,
    /// The cursor of the next, older page; none if there is no more.
    pub next: Option<String>,
}
