//! What the load generator's accounts do at their turns: pay one mite to the next account, or with `--mixed` operations of every kind.
//!
//! Of ten turns in a mix, one opens a hold for the next account (in turn for the payee itself, with a hashlock, with vouchers), one pays
//! five outputs, one sets a delegated key, one a policy that limits nothing. Every other turn goes to what follows from these: a top-up,
//! captures, releases, the removal of the key, each once what it follows from is final; so a network in order rejects nothing.
//! Accounts that were empty for a day are not to be had here, so nothing is reclaimed.

use farthing_core::address::Address;
use farthing_core::amount::{Amount, MITES_PER_FAR};
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::genesis::Parameters;
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::hold::{CLOSE_DELAY_MS, Condition, hashlock};
use farthing_core::keys::{PublicKey, SecretKey};
use farthing_core::policy::PolicySettings;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{Capture, OpenHold, Operation, Output, Proof, SetKey, TransactionId};
use farthing_core::voucher::Voucher;
use std::collections::VecDeque;

/// What a hold sets aside, what a top-up adds and what the first capture takes, in mites.
const HOLD_MITES: u64 = 10;
const TOP_UP_MITES: u64 = 5;
const CAPTURE_MITES: u64 = 4;

/// How long a hold is open at most, in milliseconds.
const HOLD_MS: u64 = 3_600_000;

const DAY_MS: u64 = 86_400_000;

/// The accounts and what they are about to do.
pub struct Workload {
    chain: ChainHash,
    keys: Vec<SecretKey>,
    mixed: bool,
    hold_reserve: u64,
    key_reserve: u64,
    /// Makes the delegated keys of this run different from those that an earlier one may have left.
    run: u64,
    /// Whether the account's delegated key is set, or about to be.
    has_key: Vec<bool>,
    turns: Vec<u64>,
    /// What each account has to do next, because of what became final.
    todo: Vec<VecDeque<Work>>,
    /// What the accounts have in the holds and keys of this run.
    locked_mites: u64,
}

/// What a transaction does beyond paying: it has consequences when it is final.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Nothing more.
    Pay,
    /// It opens a hold.
    Open(Hold),
    /// It adds to a hold.
    TopUp(Hold),
    /// It takes a part of a hold, or all of one with a hashlock.
    Capture(Hold),
    /// It ends a hold.
    Close(Hold),
    /// It sets a delegated key.
    SetKey(usize, PublicKey),
    /// It removes one.
    RemoveKey(usize, PublicKey),
}

/// A hold as this run has made it.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    id: TransactionId,
    payer: usize,
    payee: usize,
    mites: u64,
    captured_mites: u64,
    condition: Condition,
    expires_at_ms: u64,
    /// Which of the payer's turns opened it.
    turn: u64,
}

impl Workload {
    /// The workload of these accounts on a network; `run` is a number that no run had before.
    pub fn new(chain: ChainHash, parameters: &Parameters, keys: Vec<SecretKey>, mixed: bool, run: u64) -> Workload {
        let (hold_reserve, key_reserve) = (parameters.hold_reserve.mites(), parameters.key_reserve.mites());
        let todo = keys.iter().map(|_| VecDeque::new()).collect();
        // Each begins elsewhere, so that a short run is a mix, too.
        let (turns, has_key) = ((0..keys.len() as u64).collect(), vec![false; keys.len()]);
        Workload { chain, keys, mixed, hold_reserve, key_reserve, run, has_key, turns, todo, locked_mites: 0 }
    }

    /// The accounts' keys.
    pub fn keys(&self) -> &[SecretKey] {
        &self.keys
    }

    /// What the accounts have together in the holds and keys of this run, by what is known to be final, in mites.
    pub fn locked(&self) -> Amount {
        Amount::from_mites(self.locked_mites)
    }

    /// What an account does at its turn, at a time in milliseconds since the Unix epoch.
    pub fn next(&mut self, sender: usize, now_ms: u64) -> (Operation, Work) {
        let turn = self.turns[sender];
        self.turns[sender] += 1;
        if !self.mixed {
            return (self.pay(sender, 1), Work::Pay);
        }
        if turn % 2 == 1
            && let Some(work) = self.todo[sender].pop_front()
        {
            return (self.follow_up(&work), work);
        }
        match turn % 10 {
            0 => self.open(sender, turn, now_ms),
            4 => (self.pay(sender, 5), Work::Pay),
            6 if !self.has_key[sender] => self.set_key(sender, now_ms),
            8 => {
                let limit = Some(SpendingLimit { amount: Amount::from_mites(u64::MAX), period_ms: DAY_MS });
                let settings = PolicySettings { limit, raise_delay_ms: 0, blocked: false };
                (Operation::SetPolicy(Box::new(settings)), Work::Pay)
            }
            _ => (self.pay(sender, 1), Work::Pay),
        }
    }

    /// A transaction is final and was executed.
    pub fn executed(&mut self, id: TransactionId, work: Work) {
        match work {
            Work::Pay => {}
            Work::Open(hold) => {
                self.locked_mites += hold.mites + self.hold_reserve;
                let hold = Hold { id, ..hold };
                match hold.turn % 20 {
                    0 => self.todo[hold.payer].push_back(Work::TopUp(hold)),
                    _ => self.todo[hold.payee].push_back(Work::Capture(hold)),
                }
            }
            Work::TopUp(hold) => {
                self.locked_mites += TOP_UP_MITES;
                let hold = Hold { mites: hold.mites + TOP_UP_MITES, ..hold };
                self.todo[hold.payee].push_back(Work::Capture(hold));
            }
            Work::Capture(hold) if matches!(hold.condition, Condition::Hashlock { .. }) => self.closed(&hold),
            Work::Capture(hold) => {
                self.locked_mites -= CAPTURE_MITES;
                self.todo[hold.payee].push_back(Work::Close(Hold { captured_mites: CAPTURE_MITES, ..hold }));
            }
            Work::Close(hold) => self.closed(&hold),
            Work::SetKey(owner, key) => {
                self.locked_mites += self.key_reserve;
                self.todo[owner].push_back(Work::RemoveKey(owner, key));
            }
            Work::RemoveKey(owner, _) => {
                self.locked_mites -= self.key_reserve;
                self.has_key[owner] = false;
            }
        }
    }

    fn closed(&mut self, hold: &Hold) {
        self.locked_mites -= hold.mites - hold.captured_mites + self.hold_reserve;
    }

    fn follow_up(&self, work: &Work) -> Operation {
        match *work {
            Work::TopUp(Hold { id, expires_at_ms, .. }) => {
                Operation::TopUp { hold: id, amount: Amount::from_mites(TOP_UP_MITES), expires_at_ms }
            }
            Work::Capture(hold) => self.capture(&hold, CAPTURE_MITES, false),
            Work::Close(hold) if hold.turn % 40 < 20 => Operation::Release { hold: hold.id },
            Work::Close(hold) => self.capture(&hold, hold.mites, true),
            Work::RemoveKey(_, public_key) => Operation::RemoveKey { public_key },
            Work::Pay | Work::Open(_) | Work::SetKey(..) => unreachable!("these follow from nothing"),
        }
    }

    fn pay(&self, sender: usize, outputs: usize) -> Operation {
        let to = self.address((sender + 1) % self.keys.len());
        let output = Output { to, amount: Amount::from_mites(1), reference: None, open: false };
        Operation::Transfer { outputs: vec![output; outputs] }
    }

    fn open(&self, payer: usize, turn: u64, now_ms: u64) -> (Operation, Work) {
        let payee = (payer + 1) % self.keys.len();
        let condition = match turn / 10 % 3 {
            0 => Condition::Payee,
            1 => Condition::Hashlock { digest: hashlock(&self.preimage(payer)) },
            _ => Condition::Voucher { key: self.keys[payer].public_key(), close_delay_ms: *CLOSE_DELAY_MS.start() },
        };
        let expires_at_ms = now_ms + HOLD_MS;
        let open = OpenHold {
            payee: self.address(payee),
            amount: Amount::from_mites(HOLD_MITES),
            condition,
            expires_at_ms,
            reference: None,
        };
        // Its id is known when it is signed.
        let (id, mites) = (Digest::ZERO, HOLD_MITES);
        let hold = Hold { id, payer, payee, mites, captured_mites: 0, condition, expires_at_ms, turn };
        (Operation::OpenHold(Box::new(open)), Work::Open(hold))
    }

    fn capture(&self, hold: &Hold, mites: u64, is_final: bool) -> Operation {
        let cumulative = Amount::from_mites(mites);
        let proof = match hold.condition {
            Condition::Payee => Proof::None,
            Condition::Hashlock { .. } => Proof::Preimage(self.preimage(hold.payer)),
            Condition::Voucher { .. } => {
                Proof::Voucher(Voucher::sign(&self.chain, hold.id, cumulative, &self.keys[hold.payer]).signature)
            }
        };
        Operation::Capture(Box::new(Capture { hold: hold.id, cumulative, proof, is_final }))
    }

    fn set_key(&mut self, owner: usize, now_ms: u64) -> (Operation, Work) {
        self.has_key[owner] = true;
        let limits = KeyLimits {
            operations: KeyOperations::ALL,
            payees: None,
            transaction_max: Some(Amount::from_mites(MITES_PER_FAR)),
            limit: Some(SpendingLimit { amount: Amount::from_mites(MITES_PER_FAR), period_ms: DAY_MS }),
            expires_at_ms: Some(now_ms + DAY_MS),
        };
        // The same one again and again: an account remembers sixteen removed keys and no more.
        let seed = Digest::of("load-key/v1", &[&self.address(owner).0.0, &self.run.to_le_bytes()]);
        let public_key = SecretKey::from_seed(&seed.0).public_key();
        (Operation::SetKey(Box::new(SetKey { public_key, limits })), Work::SetKey(owner, public_key))
    }

    fn preimage(&self, payer: usize) -> [u8; 32] {
        self.address(payer).0.0
    }

    fn address(&self, account: usize) -> Address {
        Address(self.keys[account].public_key())
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
