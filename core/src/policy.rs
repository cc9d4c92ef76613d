//! The owner's own limits: a spending limit, a block switch, and a delay before either can be loosened.
//!
//! A policy binds every authority, Root too: whoever steals the key of an account with a policy takes no more than the limit until
//! the raise delay has passed, and the owner, who has the key as well, can tighten at once.
//!
//! `SetPolicy` names the whole policy that is wanted ([`PolicySettings`]). What is tighter than now (a limit that allows nothing that the
//! present one forbids, blocking, a longer raise delay) is in force at once; if anything wanted is looser, all of it is pending until
//! the raise delay that was in force **before** the operation has passed. One policy can be pending: a later `SetPolicy` replaces it,
//! so that whoever wants things as they are ends every pending loosening. Nothing happens by itself: a pending policy counts from its
//! time on, and is moved into place by the next operation that spends or sets the policy.
//!
//! | in force | wanted | at once | pending |
//! |---|---|---|---|
//! | no limit | 2 FAR a day | 2 FAR a day | – |
//! | 2 FAR a day | 1 FAR a day | 1 FAR a day | – |
//! | 2 FAR a day | 2 FAR in two days | 2 FAR in two days | – |
//! | 2 FAR a day | 3 FAR a day, or 1 FAR an hour, or 1 FAR in 25 hours | – | what is wanted |
//! | not blocked | blocked | blocked | – |
//! | blocked | not blocked | – | what is wanted |
//! | delay 1 h | delay 2 h | delay 2 h | – |
//! | delay 2 h | delay 1 h | – | what is wanted |
//! | 2 FAR a day, delay 1 h | 3 FAR a day, blocked, delay 2 h | blocked, delay 2 h | what is wanted, in 1 h |
//!
//! With a raise delay of 0 everything is at once. A limit over another period is tighter only if that is a multiple of the present one, so
//! that each of its windows is made of whole windows of now ([`crate::spending_limit`]): else whoever changes periods moves the borders
//! of windows, and spends the limit again after each.

use crate::block::ResultCode;
use crate::codec;
use crate::context::Context;
use crate::spending_limit::{SpendingLimit, Spent, is_as_tight};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The longest raise delay, in milliseconds: 30 days.
pub const RAISE_DELAY_MS_MAX: u64 = 30 * 86_400_000;

/// The most bytes that the encoding of a policy takes.
pub const POLICY_BYTES_MAX: usize = SETTINGS_BYTES_MAX + 16 + 1 + SETTINGS_BYTES_MAX + 8;

const SETTINGS_BYTES_MAX: usize = 1 + 16 + 8 + 1;

/// What a policy says.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// How much may leave the spendable balance; `None` for any.
    pub limit: Option<SpendingLimit>,
    /// How long a loosening waits, in milliseconds, at most [`RAISE_DELAY_MS_MAX`].
    #[borsh(deserialize_with = "read_raise_delay")]
    pub raise_delay_ms: u64,
    /// Whether nothing may leave.
    pub blocked: bool,
}

/// An account's policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What was in force when it was last touched. See [`Policy::settings_at`].
    pub settings: PolicySettings,
    /// What was spent under its limit.
    pub spent: Spent,
    /// What is to come.
    pub pending: Option<PendingPolicy>,
}

/// A loosening that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingPolicy {
    /// What is wanted.
    pub settings: PolicySettings,
    /// From when on it is in force, in milliseconds since the Unix epoch.
    pub effective_at_ms: u64,
}

impl Policy {
    /// What is in force at a time, in milliseconds since the Unix epoch, if nobody changes it until then.
    pub fn settings_at(&self, now_ms: u64) -> PolicySettings {
        match self.pending {
            Some(pending) if pending.effective_at_ms <= now_ms => pending.settings,
            _ => self.settings,
        }
    }

    /// Moves a pending policy whose time has come into place.
    fn settle(&mut self, now_ms: u64) {
        let settings = self.settings_at(now_ms);
        if self.pending.is_some_and(|pending| pending.effective_at_ms <= now_ms) {
            self.pending = None;
            self.put(settings, now_ms);
        }
    }

    fn put(&mut self, settings: PolicySettings, now_ms: u64) {
        self.spent = self.spent.carried(self.settings.limit.as_ref(), settings.limit.as_ref(), now_ms);
        self.settings = settings;
    }

    fn set(&mut self, wanted: PolicySettings, now_ms: u64) {
        self.settle(now_ms);
        let old = self.settings;
        let at_once = PolicySettings {
            limit: if is_as_tight(wanted.limit.as_ref(), old.limit.as_ref()) { wanted.limit } else { old.limit },
            raise_delay_ms: wanted.raise_delay_ms.max(old.raise_delay_ms),
            blocked: wanted.blocked || old.blocked,
        };
        let effective_at_ms = now_ms.saturating_add(old.raise_delay_ms);
        let waits = wanted != at_once && effective_at_ms > now_ms;
        self.put(if waits { at_once } else { wanted }, now_ms);
        self.pending = waits.then_some(PendingPolicy { settings: wanted, effective_at_ms });
    }

    /// Whether so much, in mites, may leave at this time.
    ///
    /// # Errors
    /// [`ResultCode::AccountBlocked`] or [`ResultCode::OverSpendingLimit`].
    pub(crate) fn check(&self, now_ms: u64, mites: u128) -> Result<(), ResultCode> {
        let mut policy = *self;
        policy.settle(now_ms);
        if policy.settings.blocked {
            return Err(ResultCode::AccountBlocked);
        }
        match policy.settings.limit {
            Some(limit) if !limit.allows(&policy.spent, now_ms, mites) => Err(ResultCode::OverSpendingLimit),
            _ => Ok(()),
        }
    }

    /// Counts what [`Policy::check`] allowed.
    pub(crate) fn record(&mut self, now_ms: u64, mites: u128) {
        self.settle(now_ms);
        if let Some(limit) = self.settings.limit {
            self.spent.add(&limit, now_ms, mites);
        }
    }
}

/// Executes a `SetPolicy`, which cannot fail.
pub(crate) fn set(context: &mut Context<'_>, wanted: &PolicySettings) {
    let now_ms = context.now_ms;
    context.state.update_account(context.sender, |account| {
        account.update_extras(|extras| {
            let none = Policy { settings: PolicySettings::default(), spent: Spent::default(), pending: None };
            let mut policy = extras.policy.unwrap_or(none);
            policy.set(*wanted, now_ms);
            extras.policy = (policy != none).then_some(policy);
        });
    });
}

fn read_raise_delay<R: std::io::Read>(reader: &mut R) -> std::io::Result<u64> {
    let delay_ms = u64::deserialize_reader(reader)?;
    if delay_ms <= RAISE_DELAY_MS_MAX {
        return Ok(delay_ms);
    }
    Err(codec::malformed(format!("a raise delay of {delay_ms} ms: it is at most 30 days")))
}
