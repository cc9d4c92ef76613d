//! A model of the ledger's rules, read word by word: slow, without slots, indices or running totals.

use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::DropReason;
use farthing_core::block::ResultCode::{self, *};
use farthing_core::delegated_key::KeyLimits;
use farthing_core::genesis::{Genesis, Parameters};
use farthing_core::hash::ChainHash;
use farthing_core::hold::{Condition, hashlock};
use farthing_core::keys::PublicKey;
use farthing_core::policy::PolicySettings;
use farthing_core::replay::NONCE_AHEAD_MAX;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{Authority, Capture, OpenHold, Operation, Output, Proof, Transaction, TransactionId};
use farthing_core::voucher::Voucher;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Default, PartialEq, Debug)]
pub struct ModelAccount {
    pub balance: i128,
    pub reserve: i128,
    pub sponsor: Option<Address>,
    pub used: BTreeSet<u64>,
    pub byte_ms: i128,
    pub touched_ms: u64,
    pub policy: Option<ModelPolicy>,
    /// The removed keys, with what they used and until when that is remembered.
    pub tombstones: BTreeMap<PublicKey, (BTreeSet<u64>, u64)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ModelPolicy {
    pub settings: PolicySettings,
    pub spendings: Vec<(u64, i128)>,
    pub pending: Option<(PolicySettings, u64)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ModelKey {
    pub limits: KeyLimits,
    pub used: BTreeSet<u64>,
    pub spendings: Vec<(u64, i128)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ModelHold {
    pub payer: Address,
    pub payee: Address,
    pub amount: i128,
    pub captured: i128,
    pub condition: Condition,
    pub expires_at_ms: u64,
    pub closing_at_ms: Option<u64>,
}

#[derive(Clone, Default, PartialEq, Debug)]
pub struct Objects {
    pub accounts: BTreeMap<Address, ModelAccount>,
    pub holds: BTreeMap<TransactionId, ModelHold>,
    pub keys: BTreeMap<(Address, PublicKey), ModelKey>,
}

#[derive(Clone)]
pub struct Model {
    parameters: Parameters,
    chain: ChainHash,
    pub objects: Objects,
    /// What was charged in each second that had any transaction, and the first second.
    charged: BTreeMap<u64, u64>,
    first_second: u64,
    now_ms: u64,
}

type Outcome = Result<(), ResultCode>;

impl Model {
    pub fn genesis(genesis: &Genesis) -> Model {
        let mut model = Model {
            parameters: genesis.parameters().clone(),
            chain: genesis.chain_hash(),
            objects: Objects::default(),
            charged: BTreeMap::new(),
            first_second: genesis.timestamp_ms() / 1_000,
            now_ms: genesis.timestamp_ms(),
        };
        for (address, balance) in genesis.accounts() {
            let balance = i128::from(balance.mites());
            let byte_ms = model.capacity(balance) * model.w();
            let account =
                ModelAccount { balance, byte_ms, touched_ms: genesis.timestamp_ms(), ..ModelAccount::default() };
            model.objects.accounts.insert(*address, account);
        }
        model
    }

    /// All the money there is.
    pub fn money(&self) -> i128 {
        let Objects { accounts, holds, keys } = &self.objects;
        let accounts: i128 = accounts.values().map(|account| account.balance + account.reserve).sum();
        let holds: i128 = holds.values().map(|hold| hold.amount - hold.captured + self.hold_reserve()).sum();
        accounts + holds + keys.len() as i128 * self.key_reserve()
    }

    /// What becomes of a transaction of a commit at this time.
    pub fn apply(&mut self, transaction: &Transaction, now_ms: u64) -> Result<ResultCode, DropReason> {
        self.now_ms = now_ms;
        let cost = self.admit(transaction)?;
        *self.charged.entry(now_ms / 1_000).or_default() += self.charge(transaction);
        self.refresh(&transaction.sender);
        let account = self.objects.accounts.get_mut(&transaction.sender).unwrap();
        account.byte_ms -= cost;
        match transaction.authority {
            Authority::Root => drop(account.used.insert(transaction.nonce)),
            Authority::Key(key) => {
                self.objects.keys.get_mut(&(transaction.sender, key)).unwrap().used.insert(transaction.nonce);
            }
        }
        let before = self.objects.clone();
        Ok(match self.perform(transaction) {
            Ok(()) => Executed,
            Err(code) => {
                self.objects = before;
                code
            }
        })
    }

    fn w(&self) -> i128 {
        self.parameters.bandwidth.refill_ms.into()
    }

    fn hold_reserve(&self) -> i128 {
        self.parameters.hold_reserve.mites().into()
    }

    fn key_reserve(&self) -> i128 {
        self.parameters.key_reserve.mites().into()
    }

    fn capacity(&self, balance: i128) -> i128 {
        let bandwidth = &self.parameters.bandwidth;
        i128::from(bandwidth.base_bytes) + i128::from(bandwidth.bytes_per_far) * balance / 1_000_000_000
    }

    fn available(&self, account: &ModelAccount) -> i128 {
        let capacity = self.capacity(account.balance);
        (account.byte_ms + capacity * i128::from(self.now_ms - account.touched_ms)).min(capacity * self.w())
    }

    fn refresh(&mut self, address: &Address) {
        let available = self.available(&self.objects.accounts[address]);
        let account = self.objects.accounts.get_mut(address).unwrap();
        (account.byte_ms, account.touched_ms) = (available, self.now_ms);
    }

    fn charge(&self, transaction: &Transaction) -> u64 {
        let bandwidth = &self.parameters.bandwidth;
        let bytes = 64 + borsh::to_vec(transaction).unwrap().len() as u64;
        bytes
            + match &transaction.operation {
                Operation::Transfer { outputs } => {
                    let opens = outputs.iter().filter(|output| output.open).count() as u64;
                    outputs.len() as u64 * bandwidth.output_bytes + opens * bandwidth.object_bytes
                }
                Operation::OpenHold(_) | Operation::SetKey(_) => bandwidth.object_bytes,
                Operation::Capture(capture) if matches!(capture.proof, Proof::Voucher(_)) => bandwidth.object_bytes,
                _ => 0,
            }
    }

    /// The multiplier × 65,536 of the present second, from all seconds before.
    fn multiplier(&self) -> i128 {
        let target = i128::from(self.parameters.bandwidth.target_bytes_per_second);
        let mut multiplier = 65_536;
        for second in self.first_second..self.now_ms / 1_000 {
            let charged = i128::from(self.charged.get(&second).copied().unwrap_or(0));
            if charged > target {
                multiplier += multiplier * (charged.min(3 * target) - target) / (2 * target);
            } else {
                multiplier -= multiplier * (target - charged) / (8 * target);
            }
            multiplier = multiplier.clamp(65_536, 64 * 65_536);
        }
        multiplier
    }

    /// The cost in byte·milliseconds, unless the transaction is dropped.
    fn admit(&self, transaction: &Transaction) -> Result<i128, DropReason> {
        let sender = &transaction.sender;
        let account = self.objects.accounts.get(sender).ok_or(DropReason::UnknownSender)?;
        let used = match &transaction.authority {
            Authority::Root => &account.used,
            Authority::Key(key) => {
                let key = self.objects.keys.get(&(*sender, *key)).ok_or(DropReason::UnknownKey)?;
                if key.limits.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= self.now_ms) {
                    return Err(DropReason::UnknownKey);
                }
                &key.used
            }
        };
        if transaction.valid_until_ms < self.now_ms {
            return Err(DropReason::Expired);
        }
        if transaction.valid_until_ms > self.now_ms + self.parameters.validity_max_ms {
            return Err(DropReason::ValidTooLong);
        }
        let (nonce, high) = (transaction.nonce, used.last().copied().unwrap_or(0));
        if nonce == 0 || nonce > high + NONCE_AHEAD_MAX {
            return Err(DropReason::NonceTooHigh);
        }
        if used.contains(&nonce) || nonce + 128 <= high {
            return Err(DropReason::NonceUsed);
        }
        let bytes = i128::from(self.charge(transaction)) * self.multiplier();
        let cost = (bytes / 65_536 + i128::from(bytes % 65_536 != 0)) * self.w();
        let floor = match transaction.authority {
            Authority::Root => -i128::from(self.parameters.bandwidth.base_bytes),
            Authority::Key(_) => i128::from(self.parameters.bandwidth.key_floor_bytes),
        };
        let enough = self.available(account) - cost >= floor * self.w();
        if enough { Ok(cost) } else { Err(DropReason::InsufficientBandwidth) }
    }

    fn perform(&mut self, transaction: &Transaction) -> Outcome {
        if let Authority::Key(key) = transaction.authority {
            let bit = match &transaction.operation {
                Operation::Transfer { .. } => 1,
                Operation::OpenHold(_) => 2,
                Operation::Capture(_) => 4,
                Operation::Release { .. } => 8,
                Operation::TopUp { .. } => 16,
                Operation::Reclaim { .. } => 32,
                Operation::SetKey(_) | Operation::RemoveKey { .. } | Operation::SetPolicy(_) => 64,
            };
            if self.objects.keys[&(transaction.sender, key)].limits.operations.bits() & bit == 0 {
                return Err(OperationNotAllowed);
            }
        }
        let sender = transaction.sender;
        match &transaction.operation {
            Operation::Transfer { outputs } => self.transfer(transaction, outputs),
            Operation::OpenHold(open) => self.open_hold(transaction, open),
            Operation::Capture(capture) => self.capture(&sender, capture),
            Operation::Release { hold } => self.release(&sender, hold),
            Operation::TopUp { hold, amount, expires_at_ms } => self.top_up(transaction, hold, *amount, *expires_at_ms),
            Operation::SetKey(set) => self.set_key(transaction, &set.public_key, &set.limits),
            Operation::RemoveKey { public_key } => self.remove_key(&sender, public_key),
            Operation::SetPolicy(settings) => self.set_policy(&sender, settings),
            Operation::Reclaim { account } => self.reclaim(&sender, account),
        }
    }

    /// Changes a balance, or fails with the code.
    fn change(&mut self, address: &Address, by: i128, code: ResultCode) -> Outcome {
        self.refresh(address);
        let account = self.objects.accounts.get_mut(address).unwrap();
        account.balance += by;
        if account.balance < 0 { Err(code) } else { Ok(()) }
    }

    fn credit(&mut self, address: &Address, amount: i128) {
        self.change(address, amount, Executed).unwrap();
    }

    /// Counts a spending against all limits.
    fn spend(&mut self, transaction: &Transaction, amount: i128, payees: &[Address]) -> Outcome {
        let now_ms = self.now_ms;
        if let Authority::Key(key) = transaction.authority {
            let ModelKey { limits, spendings, .. } = self.objects.keys.get_mut(&(transaction.sender, key)).unwrap();
            if limits.payees.as_ref().is_some_and(|allowed| payees.iter().any(|payee| !allowed.contains(payee))) {
                return Err(PayeeNotAllowed);
            }
            if limits.transaction_max.is_some_and(|max| amount > max.mites().into()) {
                return Err(OverTransactionLimit);
            }
            spendings.push((now_ms, amount));
            if limits.limit.is_some_and(|limit| spent(spendings, &limit, now_ms) > limit.amount.mites().into()) {
                return Err(OverKeyLimit);
            }
        }
        let account = self.objects.accounts.get_mut(&transaction.sender).unwrap();
        if let Some(policy) = &mut account.policy {
            policy.settle(now_ms);
            if policy.settings.blocked {
                return Err(AccountBlocked);
            }
            policy.spendings.push((now_ms, amount));
            let limit = policy.settings.limit;
            if limit.is_some_and(|limit| spent(&policy.spendings, &limit, now_ms) > limit.amount.mites().into()) {
                return Err(OverSpendingLimit);
            }
        }
        Ok(())
    }

    fn transfer(&mut self, transaction: &Transaction, outputs: &[Output]) -> Outcome {
        let sender = transaction.sender;
        let mut known: BTreeSet<Address> = self.objects.accounts.keys().copied().collect();
        let before = known.len();
        for output in outputs {
            if output.open {
                known.insert(output.to);
            } else if !known.contains(&output.to) {
                return Err(NoSuchAccount);
            }
        }
        let total: i128 = outputs.iter().map(|output| i128::from(output.amount.mites())).sum();
        if total > u64::MAX.into() {
            return Err(AmountOverflow);
        }
        let reserve = i128::from(self.parameters.account_reserve.mites());
        let payees: Vec<Address> = outputs.iter().map(|output| output.to).collect();
        self.spend(transaction, total + (known.len() - before) as i128 * reserve, &payees)?;
        self.change(&sender, -total, InsufficientBalance)?;
        for output in outputs {
            if !self.objects.accounts.contains_key(&output.to) {
                self.change(&sender, -reserve, InsufficientReserve)?;
                let account = ModelAccount {
                    reserve,
                    sponsor: Some(sender),
                    byte_ms: i128::from(self.parameters.bandwidth.base_bytes) * self.w(),
                    touched_ms: self.now_ms,
                    ..ModelAccount::default()
                };
                self.objects.accounts.insert(output.to, account);
            }
            self.credit(&output.to, output.amount.mites().into());
        }
        Ok(())
    }

    fn check_expiry(&self, expires_at_ms: u64) -> Outcome {
        let ahead = i128::from(expires_at_ms) - i128::from(self.now_ms);
        if ahead <= 0 || ahead > 400 * 86_400_000 { Err(ExpiryOutOfRange) } else { Ok(()) }
    }

    fn open_hold(&mut self, transaction: &Transaction, open: &OpenHold) -> Outcome {
        let payer = transaction.sender;
        if open.payee == payer {
            return Err(PayeeIsSender);
        }
        if !self.objects.accounts.contains_key(&open.payee) {
            return Err(NoSuchAccount);
        }
        self.check_expiry(open.expires_at_ms)?;
        let amount = i128::from(open.amount.mites());
        self.spend(transaction, amount + self.hold_reserve(), &[open.payee])?;
        self.change(&payer, -amount, InsufficientBalance)?;
        self.change(&payer, -self.hold_reserve(), InsufficientReserve)?;
        let hold = ModelHold {
            payer,
            payee: open.payee,
            amount,
            captured: 0,
            condition: open.condition,
            expires_at_ms: open.expires_at_ms,
            closing_at_ms: None,
        };
        self.objects.holds.insert(transaction.id(&self.chain), hold);
        Ok(())
    }

    fn is_ended(&self, hold: &ModelHold) -> bool {
        hold.expires_at_ms <= self.now_ms || hold.closing_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    fn close(&mut self, id: &TransactionId) {
        let hold = self.objects.holds.remove(id).unwrap();
        self.credit(&hold.payer, hold.amount - hold.captured + self.hold_reserve());
    }

    fn capture(&mut self, sender: &Address, capture: &Capture) -> Outcome {
        let mut hold = self.objects.holds.get(&capture.hold).ok_or(NoSuchHold)?.clone();
        let for_payee_alone = capture.is_final || hold.condition == Condition::Payee;
        if for_payee_alone && *sender != hold.payee {
            return Err(NotEntitled);
        }
        if self.is_ended(&hold) {
            return Err(HoldEnded);
        }
        let mut cumulative = i128::from(capture.cumulative.mites());
        let is_hashlock = matches!(hold.condition, Condition::Hashlock { .. });
        if cumulative > hold.amount {
            return Err(WrongCumulative);
        }
        if is_hashlock {
            cumulative = hold.amount;
        }
        let good = match (hold.condition, capture.proof) {
            (Condition::Payee, Proof::None) => true,
            (Condition::Hashlock { digest }, Proof::Preimage(preimage)) => hashlock(&preimage) == digest,
            (Condition::Voucher { key, .. }, Proof::Voucher(signature)) => {
                let voucher = Voucher { hold: capture.hold, cumulative: capture.cumulative, signature };
                voucher.verify(&self.chain, &key).is_ok()
            }
            _ => false,
        };
        if !good {
            return Err(BadProof);
        }
        if cumulative > hold.captured {
            self.credit(&hold.payee, cumulative - hold.captured);
            hold.captured = cumulative;
            self.objects.holds.insert(capture.hold, hold);
        }
        if capture.is_final || is_hashlock {
            self.close(&capture.hold);
        }
        Ok(())
    }

    fn release(&mut self, sender: &Address, id: &TransactionId) -> Outcome {
        let hold = self.objects.holds.get(id).ok_or(NoSuchHold)?.clone();
        if self.is_ended(&hold) || *sender == hold.payee {
            self.close(id);
            return Ok(());
        }
        match hold.condition {
            Condition::Voucher { close_delay_ms, .. } if *sender == hold.payer => {
                let started = self.now_ms + close_delay_ms;
                self.objects.holds.get_mut(id).unwrap().closing_at_ms.get_or_insert(started);
                Ok(())
            }
            _ => Err(NotEntitled),
        }
    }

    fn top_up(&mut self, transaction: &Transaction, id: &TransactionId, amount: Amount, expires_at_ms: u64) -> Outcome {
        let hold = self.objects.holds.get(id).ok_or(NoSuchHold)?.clone();
        if transaction.sender != hold.payer {
            return Err(NotEntitled);
        }
        if self.is_ended(&hold) {
            return Err(HoldEnded);
        }
        if hold.closing_at_ms.is_some() {
            return Err(HoldClosing);
        }
        if expires_at_ms < hold.expires_at_ms {
            return Err(ExpiryOutOfRange);
        }
        self.check_expiry(expires_at_ms)?;
        let amount = i128::from(amount.mites());
        if hold.amount + amount > u64::MAX.into() {
            return Err(AmountOverflow);
        }
        let is_prolonged_by_key = transaction.authority != Authority::Root && expires_at_ms > hold.expires_at_ms;
        let again = if is_prolonged_by_key { hold.amount - hold.captured } else { 0 };
        self.spend(transaction, amount + again, &[hold.payee])?;
        self.change(&transaction.sender, -amount, InsufficientBalance)?;
        let hold = self.objects.holds.get_mut(id).unwrap();
        hold.amount += amount;
        hold.expires_at_ms = expires_at_ms;
        Ok(())
    }

    fn set_key(&mut self, transaction: &Transaction, public_key: &PublicKey, limits: &KeyLimits) -> Outcome {
        let (sender, now_ms) = (transaction.sender, self.now_ms);
        if let Some(key) = self.objects.keys.get_mut(&(sender, *public_key)) {
            key.spendings = carried(&key.spendings, key.limits.limit.as_ref(), now_ms);
            key.limits = limits.clone();
            return Ok(());
        }
        self.forget_tombstones(&sender);
        let reserve = self.key_reserve();
        self.spend(transaction, reserve, &[])?;
        self.change(&sender, -reserve, InsufficientReserve)?;
        let tombstones = &mut self.objects.accounts.get_mut(&sender).unwrap().tombstones;
        let used = tombstones.remove(public_key).map(|(used, _)| used).unwrap_or_default();
        let key = ModelKey { limits: limits.clone(), used, spendings: Vec::new() };
        self.objects.keys.insert((sender, *public_key), key);
        Ok(())
    }

    fn remove_key(&mut self, sender: &Address, public_key: &PublicKey) -> Outcome {
        let key = self.objects.keys.remove(&(*sender, *public_key)).ok_or(NoSuchKey)?;
        self.forget_tombstones(sender);
        let until_ms = self.now_ms + self.parameters.validity_max_ms;
        let account = self.objects.accounts.get_mut(sender).unwrap();
        account.tombstones.insert(*public_key, (key.used, until_ms));
        self.credit(sender, self.key_reserve());
        Ok(())
    }

    fn forget_tombstones(&mut self, address: &Address) {
        let now_ms = self.now_ms;
        let account = self.objects.accounts.get_mut(address).unwrap();
        account.tombstones.retain(|_, (_, until_ms)| now_ms <= *until_ms);
    }

    fn set_policy(&mut self, sender: &Address, wanted: &PolicySettings) -> Outcome {
        let now_ms = self.now_ms;
        let account = self.objects.accounts.get_mut(sender).unwrap();
        let none = ModelPolicy { settings: PolicySettings::default(), spendings: Vec::new(), pending: None };
        let mut policy = account.policy.clone().unwrap_or(none);
        policy.settle(now_ms);
        let old = policy.settings;
        if old.raise_delay_ms == 0 {
            policy.put(*wanted, now_ms);
            policy.pending = None;
        } else {
            let at_once = PolicySettings {
                limit: if is_tighter(wanted.limit, old.limit) { wanted.limit } else { old.limit },
                blocked: old.blocked || wanted.blocked,
                raise_delay_ms: old.raise_delay_ms.max(wanted.raise_delay_ms),
            };
            policy.put(at_once, now_ms);
            policy.pending = (at_once != *wanted).then_some((*wanted, now_ms + old.raise_delay_ms));
        }
        account.policy = Some(policy);
        Ok(())
    }

    fn reclaim(&mut self, sender: &Address, address: &Address) -> Outcome {
        let account = self.objects.accounts.get(address).ok_or(NoSuchAccount)?.clone();
        let has_key = self.objects.keys.keys().any(|(owner, _)| owner == address);
        let is_party = self.objects.holds.values().any(|hold| hold.payer == *address || hold.payee == *address);
        let mut policy = account.policy.clone();
        policy.iter_mut().for_each(|policy| policy.settle(self.now_ms));
        let raise_delay_ms = policy.map_or(0, |policy| policy.settings.raise_delay_ms);
        let idle = self.now_ms > account.touched_ms + self.parameters.reclaim_after_ms
            && self.now_ms > account.touched_ms + raise_delay_ms;
        let is_full = self.available(&account) == i128::from(self.parameters.bandwidth.base_bytes) * self.w();
        if account.balance != 0 || !idle || has_key || is_party || !is_full {
            return Err(NotReclaimable);
        }
        self.objects.accounts.remove(address);
        let sponsor = account.sponsor.filter(|sponsor| self.objects.accounts.contains_key(sponsor));
        if account.reserve > 0 {
            self.credit(&sponsor.unwrap_or(*sender), account.reserve);
        }
        Ok(())
    }
}

impl ModelPolicy {
    fn settle(&mut self, now_ms: u64) {
        if let Some((settings, at_ms)) = self.pending
            && at_ms <= now_ms
        {
            self.pending = None;
            self.put(settings, now_ms);
        }
    }

    fn put(&mut self, settings: PolicySettings, now_ms: u64) {
        self.spendings = carried(&self.spendings, self.settings.limit.as_ref(), now_ms);
        self.settings = settings;
    }
}

fn is_tighter(wanted: Option<SpendingLimit>, old: Option<SpendingLimit>) -> bool {
    match (wanted, old) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(wanted), Some(old)) => wanted.amount <= old.amount && wanted.period_ms % old.period_ms == 0,
    }
}

/// What was spent in the limit's window that holds this time.
pub fn spent(spendings: &[(u64, i128)], limit: &SpendingLimit, now_ms: u64) -> i128 {
    let same = |at_ms: &u64| at_ms / limit.period_ms == now_ms / limit.period_ms;
    spendings.iter().filter(|(at_ms, _)| same(at_ms)).map(|(_, amount)| amount).sum()
}

/// What of the spendings counts under another limit.
fn carried(spendings: &[(u64, i128)], limit: Option<&SpendingLimit>, now_ms: u64) -> Vec<(u64, i128)> {
    limit.map(|limit| (now_ms, spent(spendings, limit, now_ms))).into_iter().collect()
}
