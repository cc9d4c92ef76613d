//! The side that pays.

use super::{ChannelError, file};
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::amount::Amount;
use farthing_core::hash::ChainHash;
use farthing_core::keys::{PublicKey, SecretKey};
use farthing_core::transaction::TransactionId;
use farthing_core::voucher::Voucher;
use std::path::{Path, PathBuf};

/// Gives out vouchers of one hold, each for more than the one before, up to a budget.
pub struct Payer {
    path: PathBuf,
    key: SecretKey,
    state: State,
}

#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
struct State {
    chain: ChainHash,
    hold: TransactionId,
    key: PublicKey,
    budget: Amount,
    /// What the best voucher says.
    signed: Amount,
}

impl Payer {
    /// A new channel: of this hold, signed for with this key (the hold's voucher key), for at most `budget` in all, which is usually the
    /// hold's amount.
    ///
    /// # Errors
    /// [`ChannelError::File`], also if the file is there already: then the channel must be opened.
    pub fn create(
        path: impl AsRef<Path>,
        chain: ChainHash,
        hold: TransactionId,
        budget: Amount,
        key: SecretKey,
    ) -> Result<Payer, ChannelError> {
        let state = State { chain, hold, key: key.public_key(), budget, signed: Amount::ZERO };
        file::create(path.as_ref(), &state)?;
        Ok(Payer { path: path.as_ref().into(), key, state })
    }

    /// A channel that was created before, with the same key.
    ///
    /// # Errors
    /// [`ChannelError::File`], or [`ChannelError::NotThisChannel`] if the file is another one or the key is.
    pub fn open(path: impl AsRef<Path>, key: SecretKey) -> Result<Payer, ChannelError> {
        let path: PathBuf = path.as_ref().into();
        let state: State = file::read(&path)?;
        if state.key != key.public_key() {
            return Err(ChannelError::NotThisChannel { path, reason: "it is signed for with another key".into() });
        }
        Ok(Payer { path, key, state })
    }

    /// Pays so much more. What is signed for is durable before the voucher is returned, which takes one sync of the disk. If the voucher does
    /// not reach the payee, give out [`Payer::best`] again, not another one.
    ///
    /// # Errors
    /// [`ChannelError::NothingPaid`], [`ChannelError::OverBudget`] or [`ChannelError::File`]; after any of them nothing is spent.
    pub fn pay(&mut self, amount: Amount) -> Result<Voucher, ChannelError> {
        if amount.is_zero() {
            return Err(ChannelError::NothingPaid);
        }
        let State { budget, signed, .. } = self.state;
        let cumulative = signed.checked_add(amount).filter(|cumulative| *cumulative <= budget);
        let cumulative = cumulative.ok_or(ChannelError::OverBudget { budget, signed })?;
        self.write(State { signed: cumulative, ..self.state.clone() })?;
        Ok(self.voucher(cumulative))
    }

    /// The best voucher given out, byte for byte; `None` if there is none.
    pub fn best(&self) -> Option<Voucher> {
        (!self.state.signed.is_zero()).then(|| self.voucher(self.state.signed))
    }

    /// Allows more, after a top-up, or less, but not less than was signed for.
    ///
    /// # Errors
    /// [`ChannelError::BudgetTooLow`] or [`ChannelError::File`].
    pub fn set_budget(&mut self, budget: Amount) -> Result<(), ChannelError> {
        if budget < self.state.signed {
            return Err(ChannelError::BudgetTooLow { signed: self.state.signed });
        }
        self.write(State { budget, ..self.state.clone() })
    }

    /// The hold.
    pub fn hold(&self) -> TransactionId {
        self.state.hold
    }

    /// What was signed for in all.
    pub fn spent(&self) -> Amount {
        self.state.signed
    }

    /// What may be signed for in all.
    pub fn budget(&self) -> Amount {
        self.state.budget
    }

    fn voucher(&self, cumulative: Amount) -> Voucher {
        Voucher::sign(&self.state.chain, self.state.hold, cumulative, &self.key)
    }

    fn write(&mut self, state: State) -> Result<(), ChannelError> {
        file::replace(&self.path, &state)?;
        self.state = state;
        Ok(())
    }
}
