//! Clients: a seeded workload of good, bad and contradictory transfers and other operations, and what must become of each.

use super::operations::{Opened, app_key};
use super::random::{MILLION, Random};
use farthing_core::address::Address;
use farthing_core::amount::{Amount, MITES_PER_FAR};
use farthing_core::hash::ChainHash;
use farthing_core::keys::{SecretKey, Signature};
use farthing_core::replay::WINDOW_LEN;
use farthing_core::transaction::{
    Authority, Operation, Output, SignedTransaction, Transaction, TransactionId, VerifiedTransaction,
};
use std::collections::{BTreeMap, BTreeSet};

/// Accounts of the genesis document.
pub(super) const FUNDED: usize = 8;

/// Addresses without an account at first; all but the last may be opened.
pub(super) const UNFUNDED: usize = 24;

/// What an account has in the beginning.
const BALANCE_FAR: u64 = 1_000;

/// How long a transaction is valid that must be settled, in milliseconds.
pub(super) const VALIDITY_MS: u64 = 1_800_000;

/// What must become of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It, or another one with its nonce, is in a block in the end.
    Settles,
    /// It is in a block, or not: its validity is short.
    Either,
    /// It is never in a block.
    Never,
}

/// A signed transaction of a client.
pub struct Order {
    /// The transaction.
    pub transaction: VerifiedTransaction,
    /// What must become of it.
    pub fate: Fate,
    /// How many validators get it at once.
    pub copies: usize,
}

/// All clients.
pub struct Clients {
    pub(super) chain: ChainHash,
    pub(super) random: Random,
    pub(super) owners: Vec<Owner>,
    orders: Vec<Order>,
    /// All that were asked for, the newest last.
    pub(super) holds: Vec<Opened>,
    by_id: BTreeMap<TransactionId, usize>,
}

pub(super) struct Owner {
    key: SecretKey,
    pub(super) address: Address,
    next_nonce: u64,
    /// The key that the owner delegates to now and then, and that signs its vouchers.
    pub(super) app: SecretKey,
    pub(super) next_app_nonce: u64,
    /// Nonces whose transactions must settle and have not.
    open: BTreeSet<u64>,
}

impl Owner {
    /// Whether the nonces in flight leave room in the window for two more.
    fn has_room(&self) -> bool {
        self.open.first().is_none_or(|lowest| self.next_nonce < lowest + WINDOW_LEN - 2)
    }
}

impl Clients {
    /// The clients of a seed, who know no network yet.
    pub fn new(seed: u64) -> Clients {
        let mut random = Random::new(seed, "clients");
        let owners = (0..FUNDED + UNFUNDED)
            .map(|_| {
                let seed = random.bytes();
                let key = SecretKey::from_seed(&seed);
                let address = Address(key.public_key());
                Owner { key, address, next_nonce: 1, app: app_key(&seed), next_app_nonce: 1, open: BTreeSet::new() }
            })
            .collect();
        let (orders, holds) = (Vec::new(), Vec::new());
        Clients { chain: ChainHash::ZERO, random, owners, orders, holds, by_id: BTreeMap::new() }
    }

    /// What the genesis document gives them.
    pub fn genesis_accounts(&self) -> Vec<(Address, Amount)> {
        let balance = Amount::from_mites(BALANCE_FAR * MITES_PER_FAR);
        self.owners[..FUNDED].iter().map(|owner| (owner.address, balance)).collect()
    }

    /// They learn which network it is.
    pub fn join(&mut self, chain: ChainHash) {
        self.chain = chain;
    }

    /// Everybody who may ever hold money.
    pub fn addresses(&self) -> Vec<Address> {
        self.owners.iter().map(|owner| owner.address).collect()
    }

    /// What was signed so far.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// What must become of a transaction, if a client signed it.
    pub fn fate(&self, id: &TransactionId) -> Option<Fate> {
        self.by_id.get(id).map(|order| self.orders[*order].fate)
    }

    /// A client was told the result.
    pub fn on_settled(&mut self, id: &TransactionId) {
        let Some(order) = self.by_id.get(id) else { return };
        let transaction = self.orders[*order].transaction.transaction();
        if transaction.authority != Authority::Root {
            return;
        }
        let owner = self.owners.iter_mut().find(|owner| owner.address == transaction.sender);
        owner.expect("orders have owners").open.remove(&transaction.nonce);
    }

    /// A plain transfer that must be settled. Returns its number.
    pub fn transfer(&mut self, now_ms: u64) -> usize {
        let outputs = vec![self.output(FUNDED, 1..=1_000, false)];
        self.pay(0, outputs, now_ms + VALIDITY_MS)
    }

    /// Signs one more transaction, if some are bad perhaps two that contradict one another. Returns the numbers of the new orders.
    pub fn next(&mut self, now_ms: u64, has_bad: bool) -> std::ops::Range<usize> {
        let first = self.orders.len();
        let sender = self.random.position(FUNDED);
        // A hold may have the next operation signed by somebody else than the sender.
        if self.owners.iter().any(|owner| !owner.has_room()) {
            return first..first;
        }
        let until_ms = now_ms + VALIDITY_MS;
        match self.random.range(0..=if has_bad { 99 } else { 69 }) {
            0..=29 => self.any_operation(sender, now_ms),
            30..=49 => {
                let outputs = vec![self.output(FUNDED, 1..=1_000, false)];
                self.pay(sender, outputs, until_ms);
            }
            50..=59 => {
                let count = self.random.range(2..=20);
                let outputs = (0..count).map(|_| self.output(FUNDED + UNFUNDED - 1, 1..=5_000_000, true)).collect();
                self.pay(sender, outputs, until_ms);
            }
            60..=69 => {
                let outputs = vec![self.output(FUNDED + UNFUNDED - 1, 1..=1_000_000, true)];
                self.pay(sender, outputs, until_ms);
            }
            70 => {
                let output = Output { amount: Amount::from_mites(u64::MAX), ..self.output(FUNDED, 1..=1, false) };
                self.pay(sender, vec![output.clone(), output], until_ms);
            }
            71..=75 => {
                let all = BALANCE_FAR * MITES_PER_FAR * FUNDED as u64;
                let outputs = vec![self.output(FUNDED, all / 4..=all * 2, false)];
                self.pay(sender, outputs, until_ms);
            }
            76..=78 => {
                let outputs = vec![self.output(FUNDED + UNFUNDED, 1..=1_000, false)];
                self.pay(sender, outputs, until_ms);
            }
            79..=83 => self.short_lived(sender, now_ms),
            84..=89 => self.contradiction(sender, now_ms),
            90..=93 => self.impossible(sender, now_ms),
            _ => {
                let outputs = vec![self.output(FUNDED, 1..=1_000, false)];
                let order = self.pay(sender, outputs, until_ms);
                self.orders[order].copies = self.random.range(2..=4) as usize;
            }
        }
        first..self.orders.len()
    }

    /// A transfer of somebody else's money as a Byzantine validator would present it: with a signature that does not hold, or
    /// one that holds on another chain.
    pub fn forge(&mut self, now_ms: u64) -> SignedTransaction {
        let is_foreign = self.random.chance(MILLION / 2);
        let victim = &self.owners[self.random.position(FUNDED)];
        let output = Output {
            to: self.owners[0].address,
            amount: Amount::from_mites(MITES_PER_FAR),
            reference: Some(self.random.bytes()),
            open: false,
        };
        let transaction = Transaction {
            sender: victim.address,
            authority: Authority::Root,
            nonce: victim.next_nonce,
            valid_until_ms: now_ms + VALIDITY_MS,
            operation: Operation::Transfer { outputs: vec![output] },
        };
        if is_foreign {
            return transaction.sign(&ChainHash::ZERO, &victim.key);
        }
        let signature = Signature([self.random.bytes(), [0; 32]].concat().try_into().expect("64 bytes"));
        SignedTransaction { transaction, signature }
    }

    /// One that expires about now.
    fn short_lived(&mut self, sender: usize, now_ms: u64) {
        let outputs = vec![self.output(FUNDED, 1..=1_000, false)];
        let until_ms = (now_ms + 1_000).saturating_sub(self.random.range(0..=1_500));
        let order = self.pay(sender, outputs, until_ms);
        let owner = &mut self.owners[sender];
        owner.open.remove(&(owner.next_nonce - 1));
        self.orders[order].fate = Fate::Either;
    }

    /// Two with the same nonce: one of them settles.
    fn contradiction(&mut self, sender: usize, now_ms: u64) {
        for _ in 0..2 {
            let outputs = vec![self.output(FUNDED, 1..=1_000_000, false)];
            self.pay(sender, outputs, now_ms + VALIDITY_MS);
            self.owners[sender].next_nonce -= 1;
        }
        self.owners[sender].next_nonce += 1;
    }

    /// One that no block may hold.
    fn impossible(&mut self, sender: usize, now_ms: u64) {
        let outputs = vec![self.output(FUNDED, 1..=1_000, false)];
        let nobody = FUNDED + UNFUNDED - 1;
        let until_ms = now_ms + VALIDITY_MS;
        let (sender, nonce, until_ms) = match self.random.range(0..=3) {
            0 => (sender, 0, until_ms),
            1 => (sender, 1 << 40, until_ms),
            2 => (nobody, 1, until_ms),
            _ => (sender, self.owners[sender].next_nonce, now_ms + 10 * 3_600_000),
        };
        let transaction = self.sign(sender, Authority::Root, nonce, Operation::Transfer { outputs }, until_ms);
        self.push(transaction, Fate::Never);
    }

    fn pay(&mut self, sender: usize, outputs: Vec<Output>, valid_until_ms: u64) -> usize {
        self.order(sender, Operation::Transfer { outputs }, valid_until_ms)
    }

    /// Signs an operation with the owner's own key, whose nonces must all be consumed in the end.
    pub(super) fn order(&mut self, sender: usize, operation: Operation, valid_until_ms: u64) -> usize {
        let nonce = self.owners[sender].next_nonce;
        self.owners[sender].next_nonce += 1;
        self.owners[sender].open.insert(nonce);
        let transaction = self.sign(sender, Authority::Root, nonce, operation, valid_until_ms);
        self.push(transaction, Fate::Settles)
    }

    pub(super) fn push(&mut self, transaction: VerifiedTransaction, fate: Fate) -> usize {
        self.by_id.insert(transaction.id(), self.orders.len());
        self.orders.push(Order { transaction, fate, copies: 1 });
        self.orders.len() - 1
    }

    pub(super) fn sign(
        &self,
        sender: usize,
        authority: Authority,
        nonce: u64,
        operation: Operation,
        valid_until_ms: u64,
    ) -> VerifiedTransaction {
        let Owner { key, app, address, .. } = &self.owners[sender];
        let key = if authority == Authority::Root { key } else { app };
        Transaction { sender: *address, authority, nonce, valid_until_ms, operation }
            .sign(&self.chain, key)
            .verify(&self.chain)
            .expect("the owner's keys sign for the owner")
    }

    /// A payment to one of the first so many owners.
    pub(super) fn output(&mut self, owners: usize, mites: std::ops::RangeInclusive<u64>, open: bool) -> Output {
        let to = self.owners[self.random.position(owners)].address;
        let reference = self.random.chance(MILLION / 2).then(|| self.random.bytes());
        Output { to, amount: Amount::from_mites(self.random.range(mites)), reference, open }
    }
}
