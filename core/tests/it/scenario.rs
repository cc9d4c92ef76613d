//! Random histories: commits of every kind of operation between six people, of whom three have accounts at first.
//!
//! Balances are a few reserves, so that every kind of success, rejection and drop comes up often.

use crate::helpers::{GENESIS_MS, VALIDITY_MS, address, key, mites, network, network_with, output, parameters};
use farthing_core::address::Address;
use farthing_core::bandwidth::BandwidthParameters;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::execution::Ledger;
use farthing_core::genesis::{Genesis, Parameters};
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::hold::{Condition, hashlock};
use farthing_core::keys::{PublicKey, SecretKey};
use farthing_core::policy::PolicySettings;
use farthing_core::replay::NONCE_AHEAD_MAX;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{
    Authority, Capture, OpenHold, Operation, Output, Proof, SetKey, Transaction, TransactionId,
};
use farthing_core::voucher::Voucher;
use proptest::prelude::*;

/// Everybody who takes part.
pub const PEOPLE: std::ops::RangeInclusive<u8> = 1..=6;

/// What opens the hashlocks of histories.
pub const PREIMAGE: [u8; 32] = [7; 32];

/// The key that signs the vouchers of histories.
pub fn voucher_key() -> SecretKey {
    key(90)
}

/// Delegated key number `n` of anybody.
pub fn delegated(n: u8) -> PublicKey {
    key(70 + n).public_key()
}

/// A commit, some time after the one before.
#[derive(Clone, Debug)]
pub struct CommitPlan {
    pub later_ms: u64,
    pub actions: Vec<ActionPlan>,
    /// Which of the transactions before come again, counted from the newest.
    pub again: Vec<usize>,
}

/// A transaction whose nonce and times depend on the state and time that it meets.
#[derive(Clone, Debug)]
pub struct ActionPlan {
    sender: u8,
    key: Option<u8>,
    nonce_from_high: i64,
    valid_from_now_ms: i64,
    operation: OperationPlan,
}

#[derive(Clone, Debug)]
enum OperationPlan {
    Transfer(Vec<(u8, u64, bool)>),
    /// All that the sender has.
    Sweep {
        to: u8,
    },
    OpenHold {
        payee: u8,
        amount: u64,
        condition: u8,
        expires_in_ms: i64,
    },
    Capture {
        hold: usize,
        cumulative: u64,
        proof: u8,
        is_final: bool,
    },
    Release {
        hold: usize,
    },
    TopUp {
        hold: usize,
        amount: u64,
        expires_in_ms: i64,
    },
    SetKey {
        key: u8,
        limits: LimitsPlan,
    },
    RemoveKey {
        key: u8,
    },
    SetPolicy {
        limit: Option<(u64, u64)>,
        raise_delay_ms: u64,
        blocked: bool,
    },
    Reclaim {
        account: u8,
    },
}

#[derive(Clone, Debug)]
struct LimitsPlan {
    bits: u8,
    payees: Option<Vec<u8>>,
    transaction_max: Option<u64>,
    limit: Option<(u64, u64)>,
    expires_in_ms: Option<i64>,
}

impl CommitPlan {
    /// The transactions of a commit at this time, which follows the ledger's newest. `before` are all transactions so far.
    pub fn transactions(&self, ledger: &Ledger, timestamp_ms: u64, before: &[Transaction]) -> Vec<Transaction> {
        let holds: Vec<TransactionId> = before
            .iter()
            .filter(|transaction| matches!(transaction.operation, Operation::OpenHold(_)))
            .map(|transaction| transaction.id(ledger.chain()))
            .collect();
        let new = self.actions.iter().map(|action| action.transaction(ledger, timestamp_ms, &holds));
        let again = self.again.iter().filter_map(|back| before.get(before.len().checked_sub(back + 1)?)).cloned();
        // The first one of the commit again, as another vertex might carry it.
        let mut transactions: Vec<Transaction> = new.chain(again).collect();
        transactions.extend(transactions.first().cloned());
        transactions
    }
}

impl ActionPlan {
    fn transaction(&self, ledger: &Ledger, timestamp_ms: u64, holds: &[TransactionId]) -> Transaction {
        let sender = address(self.sender);
        let authority = self.key.map_or(Authority::Root, |key| Authority::Key(delegated(key)));
        let high = match &authority {
            Authority::Root => ledger.account(&sender).map_or(0, |account| account.nonces.high()),
            Authority::Key(key) => ledger.key(&sender, key).map_or(0, |key| key.nonces.high()),
        };
        Transaction {
            sender,
            authority,
            nonce: high.saturating_add_signed(self.nonce_from_high),
            valid_until_ms: timestamp_ms.saturating_add_signed(self.valid_from_now_ms),
            operation: match self.operation {
                OperationPlan::Sweep { to } => {
                    let all = ledger.account(&sender).map_or(1, |account| account.balance.mites().max(1));
                    Operation::Transfer { outputs: vec![output(to, all, false)] }
                }
                _ => self.operation.operation(ledger.chain(), timestamp_ms, holds),
            },
        }
    }
}

impl OperationPlan {
    fn operation(&self, chain: &ChainHash, now_ms: u64, holds: &[TransactionId]) -> Operation {
        let recent = |back: usize| match holds.len().min(5) {
            0 => Digest([9; 32]),
            count => holds[holds.len() - 1 - back % count],
        };
        match self.clone() {
            OperationPlan::Sweep { .. } => unreachable!("made from the state"),
            OperationPlan::Transfer(outputs) => {
                let outputs: Vec<Output> =
                    outputs.into_iter().map(|(to, amount, open)| output(to, amount, open)).collect();
                Operation::Transfer { outputs }
            }
            OperationPlan::OpenHold { payee, amount, condition, expires_in_ms } => {
                let condition = match condition {
                    0 => Condition::Payee,
                    1 => Condition::Hashlock { digest: hashlock(&PREIMAGE) },
                    _ => Condition::Voucher { key: voucher_key().public_key(), close_delay_ms: 3_600_000 },
                };
                let expires_at_ms = now_ms.saturating_add_signed(expires_in_ms);
                let (payee, amount) = (address(payee), mites(amount));
                Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference: None }))
            }
            OperationPlan::Capture { hold, cumulative, proof, is_final } => {
                let (hold, cumulative) = (recent(hold), mites(cumulative));
                let proof = match proof {
                    0 => Proof::None,
                    1 => Proof::Preimage(PREIMAGE),
                    2 => Proof::Preimage([8; 32]),
                    3 => Proof::Voucher(Voucher::sign(chain, hold, mites(1), &voucher_key()).signature),
                    _ => Proof::Voucher(Voucher::sign(chain, hold, cumulative, &voucher_key()).signature),
                };
                Operation::Capture(Box::new(Capture { hold, cumulative, proof, is_final }))
            }
            OperationPlan::Release { hold } => Operation::Release { hold: recent(hold) },
            OperationPlan::TopUp { hold, amount, expires_in_ms } => Operation::TopUp {
                hold: recent(hold),
                amount: mites(amount),
                expires_at_ms: now_ms.saturating_add_signed(expires_in_ms),
            },
            OperationPlan::SetKey { key, limits } => {
                let limits = limits.limits(now_ms);
                Operation::SetKey(Box::new(SetKey { public_key: delegated(key), limits }))
            }
            OperationPlan::RemoveKey { key } => Operation::RemoveKey { public_key: delegated(key) },
            OperationPlan::SetPolicy { limit, raise_delay_ms, blocked } => {
                Operation::SetPolicy(Box::new(PolicySettings {
                    limit: limit.map(spending_limit),
                    raise_delay_ms,
                    blocked,
                }))
            }
            OperationPlan::Reclaim { account } => Operation::Reclaim { account: address(account) },
        }
    }
}

impl LimitsPlan {
    fn limits(self, now_ms: u64) -> KeyLimits {
        let payees: Option<Vec<Address>> = self.payees.map(|payees| payees.into_iter().map(address).collect());
        KeyLimits {
            operations: KeyOperations::from_bits(self.bits).unwrap(),
            payees,
            transaction_max: self.transaction_max.map(mites),
            limit: self.limit.map(spending_limit),
            expires_at_ms: self.expires_in_ms.map(|after_ms| now_ms.saturating_add_signed(after_ms)),
        }
    }
}

fn spending_limit((amount, period_ms): (u64, u64)) -> SpendingLimit {
    SpendingLimit { amount: mites(amount), period_ms }
}

const BALANCES: [(u8, u64); 3] = [(1, 5_000), (2, 1_500), (3, 5)];

/// The network on which histories take place.
pub fn genesis() -> Genesis {
    network(&BALANCES)
}

/// The same with little bandwidth and little room below the load at which it becomes dearer.
pub fn tight_genesis() -> Genesis {
    let bandwidth = BandwidthParameters {
        base_bytes: 1_200,
        bytes_per_far: 6_000_000_000,
        refill_ms: 1_000_000,
        key_floor_bytes: 600,
        target_bytes_per_second: 400,
        ..BandwidthParameters::default()
    };
    network_with(Parameters { bandwidth, ..parameters() }, &BALANCES)
}

/// Histories of up to so many commits.
pub fn history(commits: usize) -> impl Strategy<Value = Vec<CommitPlan>> {
    prop::collection::vec(commit_plan(), 1..commits)
}

fn commit_plan() -> impl Strategy<Value = CommitPlan> {
    let later_ms = prop_oneof![
        8 => 0u64..300, 6 => 300u64..1_200, 2 => 1_000u64..8_000, 2 => 50_000u64..150_000, 1 => 3_500_000u64..3_700_000
    ];
    let actions = prop_oneof![2 => Just(Vec::new()).boxed(), 5 => prop::collection::vec(action_plan(), 0..6).boxed()];
    let again = prop_oneof![3 => Just(Vec::new()).boxed(), 1 => prop::collection::vec(0usize..60, 0..4).boxed()];
    (later_ms, actions, again).prop_map(|(later_ms, actions, again)| CommitPlan { later_ms, actions, again })
}

fn action_plan() -> impl Strategy<Value = ActionPlan> {
    let ahead = NONCE_AHEAD_MAX as i64;
    let nonce =
        prop_oneof![20 => 1i64..5, 3 => -3i64..=0, 1 => -130i64..-120, 1 => 100i64..140, 1 => ahead..=ahead + 1];
    let validity = VALIDITY_MS as i64;
    let valid =
        prop_oneof![20 => 0..=validity, 1 => Just(-1), 1 => Just(validity + 1), 1 => Just(-(GENESIS_MS as i64))];
    // Mostly those who have accounts and money.
    let sender = prop_oneof![2 => 1u8..=2, 1 => PEOPLE];
    let key = prop_oneof![4 => Just(None), 1 => (0u8..2).prop_map(Some)];
    (sender, key, nonce, valid, operation_plan()).prop_map(
        |(sender, key, nonce_from_high, valid_from_now_ms, operation)| ActionPlan {
            sender,
            key,
            nonce_from_high,
            valid_from_now_ms,
            operation,
        },
    )
}

fn operation_plan() -> impl Strategy<Value = OperationPlan> {
    let amount = || prop_oneof![8 => 1u64..40, 4 => 40u64..400, 1 => 400u64..6_000, 1 => Just(u64::MAX)];
    let expires_in_ms = || prop_oneof![3 => 1_000i64..200_000, 3 => 3_000_000i64..8_000_000, 1 => -10i64..1, 1 => Just(400 * 86_400_000 + 1)];
    let limit =
        || prop::option::of((prop_oneof![Just(0u64), 1u64..50, 50u64..600], prop_oneof![Just(1_000u64), Just(60_000)]));
    let outputs = prop::collection::vec((PEOPLE, amount(), any::<bool>()), 1..5);
    let payee = prop_oneof![3 => 1u8..=2, 1 => PEOPLE];
    let limits = (
        prop_oneof![2 => Just(63u8), 1 => 0u8..64],
        prop::option::weighted(0.3, prop::collection::vec(PEOPLE, 1..4)),
        prop::option::of(prop_oneof![1u64..40, 40u64..400]),
        limit(),
        prop::option::weighted(0.3, -10i64..100_000),
    )
        .prop_map(|(bits, payees, transaction_max, limit, expires_in_ms)| LimitsPlan {
            bits,
            payees,
            transaction_max,
            limit,
            expires_in_ms,
        });
    let open = (payee, amount(), 0u8..3, expires_in_ms()).prop_map(|(payee, amount, condition, expires_in_ms)| {
        OperationPlan::OpenHold { payee, amount, condition, expires_in_ms }
    });
    let capture = (0usize..5, prop_oneof![3 => 0u64..40, 1 => amount()], 0u8..6, prop::bool::weighted(0.2))
        .prop_map(|(hold, cumulative, proof, is_final)| OperationPlan::Capture { hold, cumulative, proof, is_final });
    let top_up = (0usize..5, amount(), expires_in_ms())
        .prop_map(|(hold, amount, expires_in_ms)| OperationPlan::TopUp { hold, amount, expires_in_ms });
    let delay = prop_oneof![2 => Just(0u64), 1 => 1u64..100_000];
    let policy = (limit(), delay, prop::bool::weighted(0.2))
        .prop_map(|(limit, raise_delay_ms, blocked)| OperationPlan::SetPolicy { limit, raise_delay_ms, blocked });
    prop_oneof![
        8 => outputs.prop_map(OperationPlan::Transfer),
        3 => (1u8..=2).prop_map(|to| OperationPlan::Sweep { to }),
        4 => open,
        6 => capture,
        3 => (0usize..5).prop_map(|hold| OperationPlan::Release { hold }),
        2 => top_up,
        3 => (0u8..2, limits).prop_map(|(key, limits)| OperationPlan::SetKey { key, limits }),
        2 => (0u8..2).prop_map(|key| OperationPlan::RemoveKey { key }),
        1 => policy,
        3 => PEOPLE.prop_map(|account| OperationPlan::Reclaim { account }),
    ]
}
