//! Random histories: commits of transfers between six people, of whom three have accounts at first.
//!
//! Balances are a few reserves, so that every kind of success, rejection and drop comes up often.

use crate::helpers::{GENESIS_MS, VALIDITY_MS, address, network, output};
use farthing_core::execution::Ledger;
use farthing_core::genesis::Genesis;
use farthing_core::replay::NONCE_AHEAD_MAX;
use farthing_core::transaction::{Authority, Operation, Transaction};
use proptest::prelude::*;

/// Everybody who takes part.
pub const PEOPLE: std::ops::RangeInclusive<u8> = 1..=6;

/// A commit, some time after the one before.
#[derive(Clone, Debug)]
pub struct CommitPlan {
    pub later_ms: u64,
    pub transfers: Vec<TransferPlan>,
}

/// A transfer whose nonce and validity depend on the state and time that it meets.
#[derive(Clone, Debug)]
pub struct TransferPlan {
    sender: u8,
    nonce_from_high: i64,
    valid_from_now_ms: i64,
    outputs: Vec<(u8, u64, bool)>,
}

impl TransferPlan {
    /// The transfer, for a commit at this time that follows the ledger's newest.
    pub fn transaction(&self, ledger: &Ledger, timestamp_ms: u64) -> Transaction {
        let sender = address(self.sender);
        let high = ledger.account(&sender).map_or(0, |account| account.nonces.high());
        let outputs = self.outputs.iter().map(|(to, amount, open)| output(*to, *amount, *open)).collect();
        Transaction {
            sender,
            authority: Authority::Root,
            nonce: high.saturating_add_signed(self.nonce_from_high),
            valid_until_ms: timestamp_ms.saturating_add_signed(self.valid_from_now_ms),
            operation: Operation::Transfer { outputs },
        }
    }
}

/// The network on which histories take place.
pub fn genesis() -> Genesis {
    network(&[(1, 1_000), (2, 450), (3, 5)])
}

/// Histories of up to so many commits.
pub fn history(commits: usize) -> impl Strategy<Value = Vec<CommitPlan>> {
    prop::collection::vec(commit_plan(), 1..commits)
}

fn commit_plan() -> impl Strategy<Value = CommitPlan> {
    let later_ms = prop_oneof![4 => 0u64..300, 3 => 300u64..1_200, 1 => 1_000u64..8_000];
    let transfers =
        prop_oneof![2 => Just(Vec::new()).boxed(), 5 => prop::collection::vec(transfer_plan(), 0..6).boxed()];
    (later_ms, transfers).prop_map(|(later_ms, transfers)| CommitPlan { later_ms, transfers })
}

fn transfer_plan() -> impl Strategy<Value = TransferPlan> {
    let ahead = NONCE_AHEAD_MAX as i64;
    let nonce =
        prop_oneof![12 => 1i64..5, 3 => -3i64..=0, 1 => -130i64..-120, 1 => 100i64..140, 1 => ahead..=ahead + 1];
    let validity = VALIDITY_MS as i64;
    let valid =
        prop_oneof![12 => 0..=validity, 1 => Just(-1), 1 => Just(validity + 1), 1 => Just(-(GENESIS_MS as i64))];
    let amount = prop_oneof![8 => 1u64..40, 4 => 40u64..400, 1 => 400u64..1_500, 1 => Just(u64::MAX)];
    let outputs = prop::collection::vec((PEOPLE, amount, any::<bool>()), 1..5);
    (PEOPLE, nonce, valid, outputs).prop_map(|(sender, nonce_from_high, valid_from_now_ms, outputs)| TransferPlan {
        sender,
        nonce_from_high,
        valid_from_now_ms,
        outputs,
    })
}
