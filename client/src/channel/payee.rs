//! The side that is paid.

use super::{ChannelError, file};
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::hash::ChainHash;
use farthing_core::hold::{Condition, Hold};
use farthing_core::keys::PublicKey;
use farthing_core::signature::{self, DecodedKey};
use farthing_core::transaction::{Capture, Operation, Proof, TransactionId};
use farthing_core::voucher::Voucher;
use rand_core::CryptoRng;
use std::path::{Path, PathBuf};

/// What is known of a channel's hold, from the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Terms {
    /// The network.
    pub chain: ChainHash,
    /// The hold.
    pub hold: TransactionId,
    /// Whom it pays.
    pub payee: Address,
    /// The key that signs vouchers.
    pub key: PublicKey,
    /// How long captures are possible after the payer has started closing, in milliseconds.
    pub close_delay_ms: u64,
    /// What the hold holds in all.
    pub amount: Amount,
    /// What of it was captured.
    pub captured: Amount,
    /// From when on nothing can be captured any more, in milliseconds since the Unix epoch.
    pub end_ms: u64,
    /// Whether the payer has started closing.
    pub is_closing: bool,
}

/// Checks the vouchers of one hold and keeps the best one.
pub struct Payee {
    path: PathBuf,
    state: State,
}

#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
struct State {
    terms: Terms,
    best: Option<Voucher>,
    safety_ms: u64,
    stage: Stage,
}

/// How far a channel is. A tag, once given, is never used for anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
enum Stage {
    /// Vouchers are accepted.
    Open,
    /// The payee has closed it: what there is can be captured, nothing more is accepted.
    Closed,
    /// The ledger has the hold no more.
    Gone,
}

impl Terms {
    /// The terms of a hold, as the ledger has it, that pays `payee`: the account of the merchant.
    ///
    /// # Errors
    /// [`ChannelError::NotAChannel`] if its condition is not a voucher, [`ChannelError::NotForMe`] if it pays somebody else.
    pub fn of(chain: ChainHash, id: TransactionId, hold: &Hold, payee: &Address) -> Result<Terms, ChannelError> {
        let Condition::Voucher { key, close_delay_ms } = hold.condition else { return Err(ChannelError::NotAChannel) };
        if hold.payee != *payee {
            return Err(ChannelError::NotForMe);
        }
        Ok(Terms {
            chain,
            hold: id,
            payee: *payee,
            key,
            close_delay_ms,
            amount: hold.amount,
            captured: hold.captured,
            end_ms: hold.end_ms(),
            is_closing: hold.closing_at_ms.is_some(),
        })
    }

    /// The terms of the same hold, as the ledger has it now.
    pub(super) fn renewed(&self, hold: &Hold) -> Result<Terms, ChannelError> {
        let terms = Terms::of(self.chain, self.hold, hold, &self.payee)?;
        if terms.key == self.key { Ok(terms) } else { Err(ChannelError::OtherKey) }
    }

    /// Checks everything of a voucher but its signature.
    pub(super) fn check(&self, voucher: &Voucher) -> Result<(), ChannelError> {
        if voucher.hold != self.hold {
            return Err(ChannelError::OtherHold(voucher.hold));
        }
        if voucher.cumulative > self.amount {
            return Err(ChannelError::OverHold { cumulative: voucher.cumulative, amount: self.amount });
        }
        Ok(())
    }

    /// The capture with a voucher; `None` if it would pay nothing.
    pub(super) fn capture(&self, voucher: &Voucher, is_final: bool) -> Option<Operation> {
        let Voucher { hold, cumulative, signature } = *voucher;
        let proof = Proof::Voucher(signature);
        let pays = cumulative > self.captured;
        pays.then(|| Operation::Capture(Box::new(Capture { hold, cumulative, proof, is_final })))
    }

    /// Whether to capture now what there is, `safety_ms` before the end.
    pub(super) fn is_due(&self, now_ms: u64, safety_ms: u64) -> bool {
        now_ms < self.end_ms && (self.is_closing || now_ms >= self.end_ms.saturating_sub(safety_ms))
    }
}

impl Payee {
    /// A new channel, of a hold that the ledger has (see it in a certified state proof, or a block, before you trust it). Vouchers are
    /// accepted until `safety_ms` before the end, and captured then at the latest: long enough for a submission to get through, and for
    /// the application to be started again; at most half the close delay, or there would be no time to notice that the payer closes.
    ///
    /// # Errors
    /// [`ChannelError::SafetyTooLong`]; [`ChannelError::File`], also if the file is there already: then the channel must be opened.
    pub fn create(path: impl AsRef<Path>, terms: Terms, safety_ms: u64) -> Result<Payee, ChannelError> {
        let close_delay_ms = terms.close_delay_ms;
        if safety_ms > close_delay_ms / 2 {
            return Err(ChannelError::SafetyTooLong { safety_ms, close_delay_ms });
        }
        let state = State { terms, best: None, safety_ms, stage: Stage::Open };
        file::create(path.as_ref(), &state)?;
        Ok(Payee { path: path.as_ref().into(), state })
    }

    /// A channel that was created before.
    ///
    /// # Errors
    /// [`ChannelError::File`], or [`ChannelError::NotThisChannel`] if the file is another one.
    pub fn open(path: impl AsRef<Path>) -> Result<Payee, ChannelError> {
        let path: PathBuf = path.as_ref().into();
        let state = file::read(&path)?;
        Ok(Payee { path, state })
    }

    /// Accepts a voucher that adds at least `wanted`, and keeps it. It is durable when this returns, which takes one sync of the disk.
    /// Returns what it adds.
    ///
    /// # Errors
    /// [`ChannelError`] says what is wrong with the voucher; nothing has changed then.
    pub fn accept(&mut self, voucher: &Voucher, wanted: Amount, now_ms: u64) -> Result<Amount, ChannelError> {
        let added = self.check(voucher, now_ms)?;
        if added < wanted {
            return Err(ChannelError::TooLittle { added, wanted });
        }
        voucher.verify(&self.state.terms.chain, &self.state.terms.key)?;
        self.write(State { best: Some(*voucher), ..self.state.clone() })?;
        Ok(added)
    }

    /// Accepts many vouchers at about half the cost a signature and with one sync: the last one counts, each must add something to the one
    /// before, and all signatures must be good. Returns what they add.
    ///
    /// `rng` must be seeded from the operating system's entropy ([`signature::verify_batch`]).
    ///
    /// # Errors
    /// [`ChannelError`] says what is wrong with one of them; nothing has changed then.
    pub fn accept_all<R: CryptoRng>(
        &mut self,
        vouchers: &[Voucher],
        now_ms: u64,
        mut rng: R,
    ) -> Result<Amount, ChannelError> {
        let Some(last) = vouchers.last() else { return Ok(Amount::ZERO) };
        let Terms { chain, key, .. } = self.state.terms;
        if let Some(pair) = vouchers.windows(2).find(|pair| pair[1].cumulative <= pair[0].cumulative) {
            let wanted = Amount::from_mites(1);
            let added = pair[1].cumulative.checked_sub(pair[0].cumulative).unwrap_or(Amount::ZERO);
            return Err(ChannelError::TooLittle { added, wanted });
        }
        let key = DecodedKey::decode(&key)?;
        let mut claims = Vec::with_capacity(vouchers.len());
        for voucher in vouchers {
            self.check(voucher, now_ms)?;
            claims.push(voucher.claim_of(&chain, &key)?);
        }
        if !signature::verify_batch(&claims, &mut rng) {
            return Err(ChannelError::Signature(signature::SignatureError::Mismatch));
        }
        let added = self.check(last, now_ms)?;
        self.write(State { best: Some(*last), ..self.state.clone() })?;
        Ok(added)
    }

    /// Takes over what the ledger says of the hold now: top-ups, captures, closing; `None` if it is there no more, after which no voucher
    /// is accepted.
    ///
    /// # Errors
    /// [`ChannelError::NotAChannel`], [`ChannelError::NotForMe`] or [`ChannelError::OtherKey`] if it is another hold;
    /// [`ChannelError::File`].
    pub fn observe(&mut self, hold: Option<&Hold>) -> Result<(), ChannelError> {
        let state = match hold {
            Some(hold) => {
                // Whoever said that it is gone was wrong, so what there is must be captured; nothing more is accepted all the same.
                let stage = if self.state.stage == Stage::Gone { Stage::Closed } else { self.state.stage };
                State { terms: self.state.terms.renewed(hold)?, stage, ..self.state.clone() }
            }
            None => State { stage: Stage::Gone, ..self.state.clone() },
        };
        if state == self.state { Ok(()) } else { self.write(state) }
    }

    /// What to submit now so that nothing is lost: the capture of the best voucher, when the payer has started closing or the end is
    /// near. `None` while there is time, or if there is nothing to capture. Ask again at [`Payee::next_check_ms`], after an
    /// [observation](Payee::observe), and whenever the hold has changed.
    pub fn due(&self, now_ms: u64) -> Option<Operation> {
        let due = self.state.terms.is_due(now_ms, self.state.safety_ms);
        due.then(|| self.capture()).flatten()
    }

    /// When to observe the hold and ask [`Payee::due`] next, in milliseconds since the Unix epoch: when a capture is due if nobody closes
    /// before, but at the latest after half the close delay, since the payer may start closing right after an observation.
    pub fn next_check_ms(&self, now_ms: u64) -> u64 {
        let Terms { end_ms, close_delay_ms, .. } = self.state.terms;
        end_ms.saturating_sub(self.state.safety_ms).min(now_ms.saturating_add(close_delay_ms / 2))
    }

    /// The capture of the best voucher. `None` if it would pay nothing.
    pub fn capture(&self) -> Option<Operation> {
        let is_there = self.state.stage != Stage::Gone;
        self.state.best.as_ref().filter(|_| is_there).and_then(|best| self.state.terms.capture(best, false))
    }

    /// What closes the channel, for the payee to submit: the capture of the best voucher, which also gives the rest back, or a release if
    /// there is nothing to capture. From then on no voucher is accepted, which is durable when this returns.
    ///
    /// # Errors
    /// [`ChannelError::File`].
    pub fn close(&mut self) -> Result<Operation, ChannelError> {
        if self.state.stage == Stage::Open {
            self.write(State { stage: Stage::Closed, ..self.state.clone() })?;
        }
        let State { terms, best, .. } = &self.state;
        let capture = best.as_ref().and_then(|best| terms.capture(best, true));
        Ok(capture.unwrap_or(Operation::Release { hold: terms.hold }))
    }

    /// The best voucher: what a watcher needs.
    pub fn best(&self) -> Option<&Voucher> {
        self.state.best.as_ref()
    }

    /// What is known of the hold.
    pub fn terms(&self) -> &Terms {
        &self.state.terms
    }

    /// What a voucher adds to the best one, if it can be accepted; its signature is not looked at.
    fn check(&self, voucher: &Voucher, now_ms: u64) -> Result<Amount, ChannelError> {
        let State { terms, best, safety_ms, stage } = &self.state;
        if *stage != Stage::Open {
            return Err(ChannelError::Closed);
        }
        terms.check(voucher)?;
        if terms.is_closing || now_ms >= terms.end_ms.saturating_sub(*safety_ms) {
            return Err(ChannelError::EndsTooSoon);
        }
        let before = best.map_or(terms.captured, |best| best.cumulative.max(terms.captured));
        let added = voucher.cumulative.checked_sub(before).filter(|added| !added.is_zero());
        added.ok_or(ChannelError::TooLittle { added: Amount::ZERO, wanted: Amount::from_mites(1) })
    }

    fn write(&mut self, state: State) -> Result<(), ChannelError> {
        file::replace(&self.path, &state)?;
        self.state = state;
        Ok(())
    }
}
