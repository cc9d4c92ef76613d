//! What an operation works with: the state, who acts, and when. All money moves through here, so that bandwidth is refreshed before
//! every change of a balance, and whatever leaves the spendable balance is counted against every limit.

use crate::address::Address;
use crate::amount::Amount;
use crate::bandwidth::capacity_bytes;
use crate::block::ResultCode;
use crate::execution::Move;
use crate::genesis::Parameters;
use crate::hash::ChainHash;
use crate::state::State;
use crate::transaction::TransactionId;

/// The execution of one transaction, whose nonce and bandwidth are consumed already.
pub(crate) struct Context<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) parameters: &'a Parameters,
    pub(crate) chain: &'a ChainHash,
    /// The transaction.
    pub(crate) id: TransactionId,
    /// The slot of the sender's account.
    pub(crate) sender: u32,
    /// The slot of the delegated key that signed; `None` for Root.
    pub(crate) key: Option<u32>,
    /// The commit's time in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    /// What the transaction pays that it does not say itself.
    pub(crate) moves: Vec<Move>,
}

impl Context<'_> {
    /// Whether the limits of the key and of the policy let so much, in mites, leave the spendable balance for these payees. Says
    /// nothing of the balance.
    ///
    /// # Errors
    /// [`ResultCode::PayeeNotAllowed`], [`ResultCode::OverTransactionLimit`], [`ResultCode::OverKeyLimit`],
    /// [`ResultCode::AccountBlocked`] or [`ResultCode::OverSpendingLimit`], in this order.
    pub(crate) fn check_limits<'a>(
        &self,
        mites: u128,
        payees: impl Iterator<Item = &'a Address>,
    ) -> Result<(), ResultCode> {
        if let Some(key) = self.key {
            self.state.key_in_slot(key).check(self.now_ms, mites, payees)?;
        }
        match self.state.in_slot(self.sender).policy() {
            Some(policy) => policy.check(self.now_ms, mites),
            None => Ok(()),
        }
    }

    /// Counts what leaves the spendable balance against the limits that allowed it. To be called once an operation.
    pub(crate) fn record_spent(&mut self, mites: u128) {
        let now_ms = self.now_ms;
        if let Some(key) = self.key {
            self.state.update_key(key, |key| key.record(now_ms, mites));
        }
        if self.state.in_slot(self.sender).policy().is_some() {
            self.state.update_account(self.sender, |account| {
                account.update_extras(|extras| {
                    extras.policy.as_mut().expect("looked at just now").record(now_ms, mites);
                });
            });
        }
    }

    /// Takes a reserve from the sender, within the limits.
    ///
    /// # Errors
    /// Those of [`Context::check_limits`], or [`ResultCode::InsufficientReserve`].
    pub(crate) fn spend_reserve(&mut self, reserve: Amount) -> Result<(), ResultCode> {
        let mites = u128::from(reserve.mites());
        self.check_limits(mites, std::iter::empty())?;
        if self.state.in_slot(self.sender).balance < reserve {
            return Err(ResultCode::InsufficientReserve);
        }
        self.record_spent(mites);
        self.debit(self.sender, reserve);
        Ok(())
    }

    /// Adds to a balance.
    pub(crate) fn credit(&mut self, slot: u32, amount: Amount) {
        self.change_balance(slot, |balance| {
            balance.checked_add(amount).expect("all money together is less than 2^64 mites")
        });
    }

    /// Adds to a balance what an object held, and notes it for histories, with whom it comes from and the payee's mark.
    pub(crate) fn pay(&mut self, slot: u32, amount: Amount, from: Address, reference: Option<[u8; 32]>) {
        self.credit(slot, amount);
        let to = self.state.address_in_slot(slot);
        self.moves.push(Move { from, to, amount, reference });
    }

    /// Takes from a balance that covers it.
    pub(crate) fn debit(&mut self, slot: u32, amount: Amount) {
        self.change_balance(slot, |balance| balance.checked_sub(amount).expect("the balance was checked"));
    }

    fn change_balance(&mut self, slot: u32, change: impl FnOnce(Amount) -> Amount) {
        let (parameters, now_ms) = (&self.parameters.bandwidth, self.now_ms);
        self.state.update_account(slot, |account| {
            account.bandwidth.refresh(parameters, capacity_bytes(parameters, account.balance), now_ms);
            account.balance = change(account.balance);
        });
    }
}
