//! Operations as JSON, for people and for programs without borsh. What is signed is the canonical encoding, never this text.

use farthing_core::address::{Address, AddressError, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::codec;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::hash::Digest;
use farthing_core::hold::Condition;
use farthing_core::keys::{PublicKey, Signature};
use farthing_core::policy::PolicySettings;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{
    Capture, OUTPUTS_MAX, OpenHold, Operation, Output, Proof, SIGNED_TRANSACTION_BYTES_MAX, SetKey, TransactionId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a transaction does, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperationJson {
    /// Pays 1 to 1,024 outputs, all or nothing.
    Transfer {
        /// The outputs, credited in order.
        outputs: Vec<OutputJson>,
    },
    /// Sets money aside for a payee, under a condition.
    OpenHold {
        /// The address of the payee, another account than the sender's.
        payee: String,
        /// How much, in mites, at least 1.
        #[schema(value_type = String, example = "2500000")]
        amount: Amount,
        /// What a capture needs.
        condition: ConditionJson,
        /// The end, at most 400 days ahead, in milliseconds since the Unix epoch.
        expires_at_ms: u64,
        /// The payee's own mark for this payment, 64 hexadecimal digits.
        #[schema(value_type = Option<String>)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<Digest>,
    },
    /// Pays the payee of a hold from it.
    Capture {
        /// The hold: the id of the transaction that opened it.
        #[schema(value_type = String)]
        hold: TransactionId,
        /// How much in all is the payee's, what was captured before included, in mites. A hashlock always pays all of it.
        #[schema(value_type = String, example = "2500000")]
        cumulative: Amount,
        /// The signature of a voucher, 128 hexadecimal digits, for a hold with vouchers.
        #[schema(value_type = Option<String>)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        voucher: Option<Signature>,
        /// The preimage, 64 hexadecimal digits, for a hold with a hashlock.
        #[schema(value_type = Option<String>)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preimage: Option<Digest>,
        /// Whether to close the hold and give the rest back: for the payee alone.
        #[serde(default, rename = "final")]
        is_final: bool,
    },
    /// Gives what is left in a hold back to its payer, or starts its closing.
    Release {
        /// The hold.
        #[schema(value_type = String)]
        hold: TransactionId,
    },
    /// Adds to a hold.
    TopUp {
        /// The hold.
        #[schema(value_type = String)]
        hold: TransactionId,
        /// How much, in mites, at least 1.
        #[schema(value_type = String, example = "2500000")]
        amount: Amount,
        /// The new expiry, not before the old one, in milliseconds since the Unix epoch.
        expires_at_ms: u64,
    },
    /// Delegates to a key, or changes its limits. Root alone.
    SetKey {
        /// The key, 64 hexadecimal digits.
        #[schema(value_type = String)]
        public_key: PublicKey,
        /// What it may do from now on.
        limits: KeyLimitsJson,
    },
    /// Ends a delegated key. Root alone.
    RemoveKey {
        /// The key, 64 hexadecimal digits.
        #[schema(value_type = String)]
        public_key: PublicKey,
    },
    /// Sets the owner's own limits. Root alone.
    SetPolicy(PolicyJson),
    /// Frees an account that was empty for long.
    Reclaim {
        /// Its address.
        account: String,
    },
}

/// One payment of a transfer, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputJson {
    /// The address of the payee.
    #[schema(example = "farl1qp...")]
    pub to: String,
    /// How much, in mites, at least 1.
    #[schema(value_type = String, example = "2500000")]
    pub amount: Amount,
    /// The payee's own mark for this payment, 64 hexadecimal digits.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Digest>,
    /// Whether to open the payee's account if there is none, which locks a reserve of the sender's.
    #[serde(default)]
    pub open: bool,
}

/// What a capture of a hold needs, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConditionJson {
    /// The payee's own transaction.
    Payee,
    /// A voucher.
    Voucher {
        /// The key that signs vouchers, 64 hexadecimal digits.
        #[schema(value_type = String)]
        key: PublicKey,
        /// How long the payee can still capture after the payer started closing, in milliseconds: an hour to 30 days.
        close_delay_ms: u64,
    },
    /// A preimage of 32 bytes.
    Hashlock {
        /// Its SHA-256, 64 hexadecimal digits.
        #[schema(value_type = String)]
        digest: Digest,
    },
}

/// What a delegated key may do, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyLimitsJson {
    /// Which operations.
    pub operations: Vec<KeyOperationJson>,
    /// Whom it may pay: 1 to 8 addresses; anybody without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payees: Option<Vec<String>>,
    /// The most that one transaction may spend, in mites.
    #[schema(value_type = Option<String>, example = "2500000")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_max: Option<Amount>,
    /// The most that it may spend in each period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitJson>,
    /// From when on the key is no longer known, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// An operation that a delegated key may use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyOperationJson {
    /// `transfer`.
    Transfer,
    /// `open_hold`.
    OpenHold,
    /// `capture`.
    Capture,
    /// `release`.
    Release,
    /// `top_up`.
    TopUp,
    /// `reclaim`.
    Reclaim,
}

/// A spending limit, as JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitJson {
    /// How much in each period, in mites.
    #[schema(value_type = String, example = "2500000")]
    pub amount: Amount,
    /// How long a period is, in milliseconds: a second to 400 days. Periods are counted from the Unix epoch.
    pub period_ms: u64,
}

/// The owner's own limits, as JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyJson {
    /// How much may leave the account in each period; any amount without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitJson>,
    /// How long a loosening waits, in milliseconds, at most 30 days.
    #[serde(default)]
    pub raise_delay_ms: u64,
    /// Whether nothing may leave.
    #[serde(default)]
    pub blocked: bool,
}

/// A JSON transaction that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionJsonError {
    /// A mistyped address, or one of another network.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No output, or too many.
    #[error("a transfer has 1 to {OUTPUTS_MAX} outputs, this one has {0}")]
    OutputCount(usize),
    /// An output of nothing.
    #[error("an output pays at least 1 mite")]
    NothingPaid,
    /// A capture with two proofs.
    #[error("a capture has a voucher or a preimage, not both")]
    TwoProofs,
    /// Something else that no encoding has.
    #[error("the operation breaks a bound: {0}")]
    Bound(String),
}

const KEY_OPERATIONS: [(KeyOperationJson, KeyOperations); 6] = [
    (KeyOperationJson::Transfer, KeyOperations::TRANSFER),
    (KeyOperationJson::OpenHold, KeyOperations::OPEN_HOLD),
    (KeyOperationJson::Capture, KeyOperations::CAPTURE),
    (KeyOperationJson::Release, KeyOperations::RELEASE),
    (KeyOperationJson::TopUp, KeyOperations::TOP_UP),
    (KeyOperationJson::Reclaim, KeyOperations::RECLAIM),
];

impl OperationJson {
    /// The JSON form of an operation on the network with this prefix.
    pub fn new(operation: &Operation, prefix: &AddressPrefix) -> OperationJson {
        match operation {
            Operation::Transfer { outputs } => OperationJson::Transfer {
                outputs: outputs.iter().map(|output| OutputJson::new(output, prefix)).collect(),
            },
            Operation::OpenHold(open) => OperationJson::OpenHold {
                payee: open.payee.encode(prefix),
                amount: open.amount,
                condition: open.condition.into(),
                expires_at_ms: open.expires_at_ms,
                reference: open.reference,
            },
            Operation::Capture(capture) => {
                let (voucher, preimage) = match capture.proof {
                    Proof::None => (None, None),
                    Proof::Voucher(signature) => (Some(signature), None),
                    Proof::Preimage(preimage) => (None, Some(Digest(preimage))),
                };
                let Capture { hold, cumulative, is_final, .. } = **capture;
                OperationJson::Capture { hold, cumulative, voucher, preimage, is_final }
            }
            Operation::Release { hold } => OperationJson::Release { hold: *hold },
            Operation::TopUp { hold, amount, expires_at_ms } => {
                OperationJson::TopUp { hold: *hold, amount: *amount, expires_at_ms: *expires_at_ms }
            }
            Operation::SetKey(set) => {
                OperationJson::SetKey { public_key: set.public_key, limits: KeyLimitsJson::new(&set.limits, prefix) }
            }
            Operation::RemoveKey { public_key } => OperationJson::RemoveKey { public_key: *public_key },
            Operation::SetPolicy(settings) => OperationJson::SetPolicy((**settings).into()),
            Operation::Reclaim { account } => OperationJson::Reclaim { account: account.encode(prefix) },
        }
    }

    /// The operation, within the bounds that its encoding has.
    ///
    /// # Errors
    /// [`TransactionJsonError`] says what is wrong.
    pub fn to_operation(&self, prefix: &AddressPrefix) -> Result<Operation, TransactionJsonError> {
        let operation = match self {
            OperationJson::Transfer { outputs } => Operation::Transfer { outputs: to_outputs(outputs, prefix)? },
            OperationJson::OpenHold { payee, amount, condition, expires_at_ms, reference } => {
                Operation::OpenHold(Box::new(OpenHold {
                    payee: Address::decode(payee, prefix)?,
                    amount: *amount,
                    condition: condition.clone().into(),
                    expires_at_ms: *expires_at_ms,
                    reference: *reference,
                }))
            }
            OperationJson::Capture { hold, cumulative, voucher, preimage, is_final } => {
                let proof = match (voucher, preimage) {
                    (None, None) => Proof::None,
                    (Some(signature), None) => Proof::Voucher(*signature),
                    (None, Some(preimage)) => Proof::Preimage(preimage.0),
                    (Some(_), Some(_)) => return Err(TransactionJsonError::TwoProofs),
                };
                let (hold, cumulative, is_final) = (*hold, *cumulative, *is_final);
                Operation::Capture(Box::new(Capture { hold, cumulative, proof, is_final }))
            }
            OperationJson::Release { hold } => Operation::Release { hold: *hold },
            OperationJson::TopUp { hold, amount, expires_at_ms } => {
                Operation::TopUp { hold: *hold, amount: *amount, expires_at_ms: *expires_at_ms }
            }
            OperationJson::SetKey { public_key, limits } => {
                Operation::SetKey(Box::new(SetKey { public_key: *public_key, limits: limits.to_limits(prefix)? }))
            }
            OperationJson::RemoveKey { public_key } => Operation::RemoveKey { public_key: *public_key },
            OperationJson::SetPolicy(policy) => Operation::SetPolicy(Box::new((*policy).into())),
            OperationJson::Reclaim { account } => Operation::Reclaim { account: Address::decode(account, prefix)? },
        };
        // The bounds stand where operations are decoded, and nowhere else.
        codec::decode(&codec::encode(&operation), SIGNED_TRANSACTION_BYTES_MAX)
            .map_err(|error| TransactionJsonError::Bound(error.to_string()))
    }
}

fn to_outputs(outputs: &[OutputJson], prefix: &AddressPrefix) -> Result<Vec<Output>, TransactionJsonError> {
    if !(1..=OUTPUTS_MAX).contains(&outputs.len()) {
        return Err(TransactionJsonError::OutputCount(outputs.len()));
    }
    outputs.iter().map(|output| output.to_output(prefix)).collect()
}

impl OutputJson {
    fn new(output: &Output, prefix: &AddressPrefix) -> OutputJson {
        OutputJson {
            to: output.to.encode(prefix),
            amount: output.amount,
            reference: output.reference.map(Digest),
            open: output.open,
        }
    }

    fn to_output(&self, prefix: &AddressPrefix) -> Result<Output, TransactionJsonError> {
        if self.amount.is_zero() {
            return Err(TransactionJsonError::NothingPaid);
        }
        Ok(Output {
            to: Address::decode(&self.to, prefix)?,
            amount: self.amount,
            reference: self.reference.map(|digest| digest.0),
            open: self.open,
        })
    }
}

impl KeyLimitsJson {
    /// The JSON form of limits on the network with this prefix.
    pub fn new(limits: &KeyLimits, prefix: &AddressPrefix) -> KeyLimitsJson {
        let allowed = KEY_OPERATIONS.into_iter().filter(|(_, operation)| limits.operations.contains(*operation));
        KeyLimitsJson {
            operations: allowed.map(|(name, _)| name).collect(),
            payees: limits.payees.as_ref().map(|payees| payees.iter().map(|payee| payee.encode(prefix)).collect()),
            transaction_max: limits.transaction_max,
            limit: limits.limit.map(LimitJson::from),
            expires_at_ms: limits.expires_at_ms,
        }
    }

    fn to_limits(&self, prefix: &AddressPrefix) -> Result<KeyLimits, TransactionJsonError> {
        let named = KEY_OPERATIONS.into_iter().filter(|(name, _)| self.operations.contains(name));
        let payees = self.payees.as_ref().map(|payees| {
            payees.iter().map(|payee| Address::decode(payee, prefix)).collect::<Result<Vec<_>, AddressError>>()
        });
        Ok(KeyLimits {
            operations: named.fold(KeyOperations::NONE, |all, (_, operation)| all.and(operation)),
            payees: payees.transpose()?,
            transaction_max: self.transaction_max,
            limit: self.limit.map(SpendingLimit::from),
            expires_at_ms: self.expires_at_ms,
        })
    }
}

impl From<Condition> for ConditionJson {
    fn from(condition: Condition) -> ConditionJson {
        match condition {
            Condition::Payee => ConditionJson::Payee,
            Condition::Voucher { key, close_delay_ms } => ConditionJson::Voucher { key, close_delay_ms },
            Condition::Hashlock { digest } => ConditionJson::Hashlock { digest },
        }
    }
}

impl From<ConditionJson> for Condition {
    fn from(condition: ConditionJson) -> Condition {
        match condition {
            ConditionJson::Payee => Condition::Payee,
            ConditionJson::Voucher { key, close_delay_ms } => Condition::Voucher { key, close_delay_ms },
            ConditionJson::Hashlock { digest } => Condition::Hashlock { digest },
        }
    }
}

impl From<SpendingLimit> for LimitJson {
    fn from(limit: SpendingLimit) -> LimitJson {
        LimitJson { amount: limit.amount, period_ms: limit.period_ms }
    }
}

impl From<LimitJson> for SpendingLimit {
    fn from(limit: LimitJson) -> SpendingLimit {
        SpendingLimit { amount: limit.amount, period_ms: limit.period_ms }
    }
}

impl From<PolicySettings> for PolicyJson {
    fn from(settings: PolicySettings) -> PolicyJson {
        let PolicySettings { limit, raise_delay_ms, blocked } = settings;
        PolicyJson { limit: limit.map(LimitJson::from), raise_delay_ms, blocked }
    }
}

impl From<PolicyJson> for PolicySettings {
    fn from(policy: PolicyJson) -> PolicySettings {
        let PolicyJson { limit, raise_delay_ms, blocked } = policy;
        PolicySettings { limit: limit.map(SpendingLimit::from), raise_delay_ms, blocked }
    }
}
