//! The clients' workload beyond transfers: holds, vouchers, delegated keys, policies, reclaiming, in every order that chance brings.

use super::client::{Clients, FUNDED, Fate, UNFUNDED, VALIDITY_MS};
use farthing_core::amount::{Amount, MITES_PER_FAR};
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::hash::Digest;
use farthing_core::hold::{CLOSE_DELAY_MS, Condition, hashlock};
use farthing_core::keys::SecretKey;
use farthing_core::policy::PolicySettings;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{Authority, Capture, OpenHold, Operation, Proof, SetKey, TransactionId};
use farthing_core::voucher::Voucher;

/// Which of the newest holds clients still act on.
const HOLDS_RECENT: usize = 12;

/// The first of the funded owners that may set a policy: payments of the others are refused by nothing but their balance.
const FIRST_WITH_POLICY: usize = FUNDED / 2;

/// A hold that a client has asked for.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    id: TransactionId,
    payer: usize,
    payee: usize,
    amount: Amount,
    condition: Condition,
}

impl Clients {
    /// Signs an operation of any kind. Whether it is executed depends on what has become of everything before.
    pub(super) fn any_operation(&mut self, sender: usize, now_ms: u64) {
        let until_ms = now_ms + VALIDITY_MS;
        let recent = self.recent_hold();
        match (self.random.range(0..=13), recent) {
            (0..=2, _) | (_, None) => self.open_hold(sender, now_ms),
            (3..=6, Some(hold)) => self.capture(hold, until_ms),
            (7, Some(hold)) => {
                let sender = self.random.pick(&[hold.payer, hold.payee, sender]);
                self.order(sender, Operation::Release { hold: hold.id }, until_ms);
            }
            (8, Some(hold)) => {
                let (amount, expires_at_ms) = (self.mites(1..=1_000_000), now_ms + self.random.range(0..=3_600_000));
                self.order(hold.payer, Operation::TopUp { hold: hold.id, amount, expires_at_ms }, until_ms);
            }
            (9, _) => self.set_key(sender, now_ms),
            (10, _) => {
                let public_key = self.owners[sender].app.public_key();
                self.order(sender, Operation::RemoveKey { public_key }, until_ms);
            }
            (11, _) if sender >= FIRST_WITH_POLICY => self.set_policy(sender, until_ms),
            (12, _) => {
                let account = self.owners[self.random.position(FUNDED + UNFUNDED)].address;
                self.order(sender, Operation::Reclaim { account }, until_ms);
            }
            _ => self.by_app(sender, until_ms),
        }
    }

    fn open_hold(&mut self, sender: usize, now_ms: u64) {
        let payee = self.random.position(FUNDED);
        let condition = match self.random.range(0..=2) {
            0 => Condition::Payee,
            1 => Condition::Hashlock { digest: hashlock(&self.preimage(sender)) },
            _ => Condition::Voucher {
                key: self.owners[sender].app.public_key(),
                close_delay_ms: *CLOSE_DELAY_MS.start(),
            },
        };
        let open = OpenHold {
            payee: self.owners[payee].address,
            amount: self.mites(1..=MITES_PER_FAR),
            condition,
            // Some end while the simulation runs.
            expires_at_ms: now_ms + self.random.range(2_000..=60_000),
            reference: Some(Digest(self.random.bytes())),
        };
        let order = self.order(sender, Operation::OpenHold(Box::new(open)), now_ms + VALIDITY_MS);
        let id = self.orders()[order].transaction.id();
        self.holds.push(Opened { id, payer: sender, payee, amount: open.amount, condition });
    }

    /// By the payee or somebody else, with a proof that mostly fits.
    fn capture(&mut self, Opened { id, payer, payee, amount, condition }: Opened, until_ms: u64) {
        let somebody = self.random.position(FUNDED);
        let sender = self.random.pick(&[payee, payee, somebody]);
        let is_hashlock = matches!(condition, Condition::Hashlock { .. });
        let cumulative = if is_hashlock { amount } else { self.mites(0..=amount.mites() + 1) };
        let proof = match condition {
            _ if self.random.position(10) == 0 => Proof::None,
            Condition::Payee => Proof::None,
            Condition::Hashlock { .. } => Proof::Preimage(self.preimage(payer)),
            Condition::Voucher { .. } => {
                Proof::Voucher(Voucher::sign(&self.chain, id, cumulative, &self.owners[payer].app).signature)
            }
        };
        let is_final = self.random.position(4) == 0;
        let capture = Capture { hold: id, cumulative, proof, is_final };
        self.order(sender, Operation::Capture(Box::new(capture)), until_ms);
    }

    fn set_key(&mut self, sender: usize, now_ms: u64) {
        let spending = SpendingLimit { amount: self.mites(0..=MITES_PER_FAR), period_ms: 5_000 };
        let limits = KeyLimits {
            operations: KeyOperations::ALL,
            payees: None,
            transaction_max: Some(self.mites(1..=MITES_PER_FAR)),
            limit: Some(spending),
            expires_at_ms: Some(now_ms + self.random.range(1_000..=60_000)),
        };
        let public_key = self.owners[sender].app.public_key();
        self.order(sender, Operation::SetKey(Box::new(SetKey { public_key, limits })), now_ms + VALIDITY_MS);
    }

    fn set_policy(&mut self, sender: usize, until_ms: u64) {
        let settings = PolicySettings {
            limit: Some(SpendingLimit { amount: self.mites(0..=10 * MITES_PER_FAR), period_ms: 1_000 }),
            raise_delay_ms: self.random.range(0..=3_000),
            blocked: self.random.position(4) == 0,
        };
        self.order(sender, Operation::SetPolicy(Box::new(settings)), until_ms);
    }

    /// A transfer by the owner's delegated key, which is dropped while there is no such key.
    fn by_app(&mut self, sender: usize, until_ms: u64) {
        let outputs = vec![self.output(FUNDED, 1..=1_000, false)];
        let owner = &mut self.owners[sender];
        let nonce = owner.next_app_nonce;
        owner.next_app_nonce += 1;
        let authority = Authority::Key(owner.app.public_key());
        let transaction = self.sign(sender, authority, nonce, Operation::Transfer { outputs }, until_ms);
        self.push(transaction, Fate::Either);
    }

    fn recent_hold(&mut self) -> Option<Opened> {
        let count = self.holds.len().min(HOLDS_RECENT);
        (count > 0).then(|| self.holds[self.holds.len() - 1 - self.random.position(count)])
    }

    /// What opens the hashlocks of an owner.
    fn preimage(&self, owner: usize) -> [u8; 32] {
        self.owners[owner].address.0.0
    }

    fn mites(&mut self, range: std::ops::RangeInclusive<u64>) -> Amount {
        Amount::from_mites(self.random.range(range))
    }
}

/// The delegated key of the owner whose own key has this seed.
pub(super) fn app_key(seed: &[u8; 32]) -> SecretKey {
    SecretKey::from_seed(&seed.map(|byte| !byte))
}
