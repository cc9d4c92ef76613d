//! The ledger against a model of its rules, read word by word, over random histories.

use crate::helpers::{GENESIS_MS, RESERVE, VALIDITY_MS, address, certificate, commit, mites};
use crate::scenario::{PEOPLE, genesis, history};
use farthing_core::address::Address;
use farthing_core::block::{DropReason, ResultCode, TransactionResult};
use farthing_core::execution::{Execution, Ledger};
use farthing_core::receipt::transactions_root;
use farthing_core::replay::NONCE_AHEAD_MAX;
use farthing_core::transaction::{Output, Transaction};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Default, PartialEq, Debug)]
struct ModelAccount {
    balance: u64,
    reserve: u64,
    sponsor: Option<Address>,
    used: BTreeSet<u64>,
}

#[derive(Clone, Default)]
struct Model {
    accounts: BTreeMap<Address, ModelAccount>,
    /// The second of the newest block.
    block_second: u64,
    changed_since_root: bool,
    /// What there was at the newest state root after block 0.
    at_root: Option<BTreeMap<Address, ModelAccount>>,
}

impl Model {
    fn genesis() -> Model {
        let account = |(address, balance): &(Address, farthing_core::amount::Amount)| {
            (*address, ModelAccount { balance: balance.mites(), ..ModelAccount::default() })
        };
        let accounts = genesis().accounts().iter().map(account).collect();
        Model { accounts, block_second: GENESIS_MS / 1_000, ..Model::default() }
    }

    fn drop_reason(&self, transaction: &Transaction, now_ms: u64) -> Option<DropReason> {
        let Some(account) = self.accounts.get(&transaction.sender) else { return Some(DropReason::UnknownSender) };
        let high = account.used.last().copied().unwrap_or(0);
        let nonce = transaction.nonce;
        if transaction.valid_until_ms < now_ms {
            Some(DropReason::Expired)
        } else if transaction.valid_until_ms > now_ms + VALIDITY_MS {
            Some(DropReason::ValidTooLong)
        } else if nonce == 0 || nonce > high + NONCE_AHEAD_MAX {
            Some(DropReason::NonceTooHigh)
        } else if account.used.contains(&nonce) || nonce + 128 <= high {
            Some(DropReason::NonceUsed)
        } else {
            None
        }
    }

    /// The accounts after a transfer, or why there are none.
    fn transfer(&self, sender: Address, outputs: &[Output]) -> Result<BTreeMap<Address, ModelAccount>, ResultCode> {
        let total: u128 = outputs.iter().map(|output| u128::from(output.amount.mites())).sum();
        if total > u128::from(u64::MAX) {
            return Err(ResultCode::AmountOverflow);
        }
        let mut accounts = self.accounts.clone();
        if total > u128::from(accounts[&sender].balance) {
            return Err(ResultCode::InsufficientBalance);
        }
        let mut known: BTreeSet<Address> = accounts.keys().copied().collect();
        for output in outputs {
            if output.open {
                known.insert(output.to);
            } else if !known.contains(&output.to) {
                return Err(ResultCode::NoSuchAccount);
            }
        }
        accounts.get_mut(&sender).unwrap().balance -= total as u64;
        for output in outputs {
            if !accounts.contains_key(&output.to) {
                let balance = &mut accounts.get_mut(&sender).unwrap().balance;
                *balance = balance.checked_sub(RESERVE).ok_or(ResultCode::InsufficientReserve)?;
                let opened = ModelAccount { reserve: RESERVE, sponsor: Some(sender), ..ModelAccount::default() };
                accounts.insert(output.to, opened);
            }
            accounts.get_mut(&output.to).unwrap().balance += output.amount.mites();
        }
        Ok(accounts)
    }

    fn apply(&mut self, transaction: &Transaction, now_ms: u64) -> Result<ResultCode, DropReason> {
        if let Some(reason) = self.drop_reason(transaction, now_ms) {
            return Err(reason);
        }
        self.accounts.get_mut(&transaction.sender).unwrap().used.insert(transaction.nonce);
        match self.transfer(transaction.sender, transaction.outputs()) {
            Ok(accounts) => {
                self.accounts = accounts;
                Ok(ResultCode::Executed)
            }
            Err(code) => Ok(code),
        }
    }

    /// What becomes of each transaction, and whether there is a block and it carries a state root.
    fn commit(
        &mut self,
        transactions: &[Transaction],
        now_ms: u64,
    ) -> (Vec<Result<ResultCode, DropReason>>, Option<bool>) {
        let before = self.accounts.clone();
        let outcomes: Vec<_> = transactions.iter().map(|transaction| self.apply(transaction, now_ms)).collect();
        let new_second = now_ms / 1_000 > self.block_second;
        let holds_some = outcomes.iter().any(Result::is_ok);
        let publishes = new_second && self.changed_since_root;
        if !holds_some && !publishes {
            return (outcomes, None);
        }
        self.block_second = now_ms / 1_000;
        if new_second {
            self.at_root = Some(before);
            self.changed_since_root = false;
        }
        self.changed_since_root |= holds_some;
        (outcomes, Some(new_second))
    }
}

/// Compares one commit's block, drops and outcomes.
fn compare_execution(
    execution: &Execution,
    outcomes: &[Result<ResultCode, DropReason>],
    block: Option<bool>,
) -> Result<(), TestCaseError> {
    let dropped: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.err()).collect();
    prop_assert_eq!(execution.dropped.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), dropped);
    prop_assert_eq!(execution.block.as_ref().map(|block| block.header.state_root.is_some()), block);
    let Some(block) = &execution.block else { return Ok(()) };
    let results: Vec<_> =
        (0u32..).zip(outcomes).filter_map(|(position, outcome)| Some((position, outcome.ok()?))).collect();
    prop_assert_eq!(
        block.results.iter().map(|(position, result)| (*position, result.code)).collect::<Vec<_>>(),
        results
    );
    let leaves: Vec<TransactionResult> = block.results.iter().map(|(_, result)| *result).collect();
    prop_assert_eq!(block.header.transactions_root, transactions_root(&leaves));
    prop_assert_eq!(block.header.transaction_count as usize, leaves.len());
    prop_assert_eq!(block.header.hash(), block.hash);
    Ok(())
}

/// Compares everybody's account.
fn compare_accounts(ledger: &Ledger, accounts: &BTreeMap<Address, ModelAccount>) -> Result<(), TestCaseError> {
    prop_assert_eq!(ledger.account_count(), accounts.len() as u64);
    for (address, expect) in accounts {
        let account = ledger.account(address).unwrap();
        prop_assert_eq!(account.balance, mites(expect.balance));
        prop_assert_eq!(account.reserve, mites(expect.reserve));
        prop_assert_eq!(account.sponsor, expect.sponsor);
        let high = account.nonces.high();
        prop_assert_eq!(high, expect.used.last().copied().unwrap_or(0));
        for nonce in high.saturating_sub(127).max(1)..=high {
            prop_assert_eq!(account.nonces.check(nonce).is_err(), expect.used.contains(&nonce));
        }
    }
    Ok(())
}

/// Compares what can be proven of everybody with what there was at the last root.
fn compare_proofs(ledger: &Ledger, model: &Model) -> Result<(), TestCaseError> {
    for person in PEOPLE {
        let address = address(person);
        let expect = model.at_root.as_ref().and_then(|accounts| accounts.get(&address));
        let proof = ledger.prove_account(&address);
        prop_assert_eq!(proof.is_some(), expect.is_some());
        let (Some(expect), Some(proof)) = (expect, proof) else { continue };
        let certificate = certificate(std::slice::from_ref(proof.header()), &[(0, 0), (1, 0), (3, 0)]);
        let proof = proof.certify(certificate);
        prop_assert_eq!(proof.verify(&genesis()), Ok(()));
        prop_assert_eq!((proof.address, proof.account.balance), (address, mites(expect.balance)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_ledger_follows_the_model(plans in history(30)) {
        let (mut ledger, mut model) = (Ledger::genesis(&genesis()), Model::genesis());
        let mut now_ms = GENESIS_MS;
        for plan in plans {
            now_ms += plan.later_ms;
            let mut transactions: Vec<Transaction> =
                plan.transfers.iter().map(|transfer| transfer.transaction(&ledger, now_ms)).collect();
            // The first one again, as another vertex might carry it.
            transactions.extend(transactions.first().cloned());
            let previous = ledger.newest().clone();
            let (outcomes, block) = model.commit(&transactions, now_ms);
            let execution = commit(&mut ledger, now_ms - GENESIS_MS, &transactions);
            compare_execution(&execution, &outcomes, block)?;
            compare_accounts(&ledger, &model.accounts)?;
            ledger.audit();
            prop_assert_eq!(ledger.timestamp_ms(), now_ms);
            if let Some(block) = execution.block {
                prop_assert_eq!(ledger.newest(), &block.header);
                prop_assert_eq!(block.header.previous, previous.hash());
                prop_assert_eq!(block.header.height, previous.height + 1);
                prop_assert_eq!((block.header.commit_index, block.header.timestamp_ms), (ledger.commit_index(), now_ms));
            }
        }
        compare_proofs(&ledger, &model)?;
    }
}
