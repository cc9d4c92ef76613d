//! The ledger against the model, over random histories of all operations.

use crate::helpers::{GENESIS_MS, HOLD_RESERVE, KEY_RESERVE, address, certificate, commit};
use crate::model::{Model, ModelHold, Objects};
use crate::scenario::{CommitPlan, PEOPLE, delegated, genesis, history, tight_genesis};
use farthing_core::block::{DropReason, ResultCode, TransactionResult};
use farthing_core::execution::{Execution, Ledger};
use farthing_core::genesis::Genesis;
use farthing_core::receipt::transactions_root;
use farthing_core::replay::NonceWindow;
use farthing_core::spending_limit::{SpendingLimit, Spent};
use farthing_core::state::SlotValue;
use farthing_core::transaction::{Transaction, TransactionId};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Compares one commit's drops and outcomes.
fn compare_execution(
    execution: &Execution,
    outcomes: &[Result<ResultCode, DropReason>],
    makes_block: bool,
) -> Result<(), TestCaseError> {
    let dropped: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.err()).collect();
    prop_assert_eq!(execution.dropped.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), dropped);
    prop_assert_eq!(execution.block.is_some(), makes_block);
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

fn compare_nonces(nonces: &NonceWindow, used: &BTreeSet<u64>) -> Result<(), TestCaseError> {
    prop_assert_eq!(nonces.high(), used.last().copied().unwrap_or(0));
    for nonce in nonces.high().saturating_sub(127).max(1)..=nonces.high() {
        prop_assert_eq!(nonces.check(nonce).is_err(), used.contains(&nonce));
    }
    Ok(())
}

/// Compares what was spent in the window at hand.
fn compare_spent(
    spent: &Spent,
    limit: Option<&SpendingLimit>,
    spendings: &[(u64, i128)],
    now_ms: u64,
) -> Result<(), TestCaseError> {
    let Some(limit) = limit else { return Ok(()) };
    let expect = crate::model::spent(spendings, limit, now_ms);
    prop_assert_eq!(i128::from(spent.in_window(limit, now_ms).mites()), expect);
    Ok(())
}

/// Compares everything that there is at this time.
fn compare_objects(ledger: &Ledger, model: &Model, opened: &[TransactionId], now_ms: u64) -> Result<(), TestCaseError> {
    let Objects { accounts, holds, keys } = &model.objects;
    prop_assert_eq!(ledger.account_count(), accounts.len() as u64);
    for (address, expect) in accounts {
        let account = ledger.account(address).unwrap();
        prop_assert_eq!(i128::from(account.balance.mites()), expect.balance);
        prop_assert_eq!(i128::from(account.reserve.mites()), expect.reserve);
        prop_assert_eq!(account.sponsor, expect.sponsor);
        prop_assert_eq!((account.bandwidth.byte_ms(), account.bandwidth.at_ms()), (expect.byte_ms, expect.touched_ms));
        let parties = holds.values().filter(|hold| hold.payer == *address || hold.payee == *address).count();
        prop_assert_eq!(account.holds() as usize, parties);
        let settings = expect.policy.as_ref().map(|policy| (policy.settings, policy.pending)).unwrap_or_default();
        let policy = account
            .policy()
            .map(|policy| (policy.settings, policy.pending.map(|pending| (pending.settings, pending.effective_at_ms))));
        prop_assert_eq!(policy.unwrap_or_default(), settings);
        compare_nonces(&account.nonces, &expect.used)?;
        if let (Some(policy), Some(expect)) = (account.policy(), &expect.policy) {
            compare_spent(&policy.spent, policy.settings.limit.as_ref(), &expect.spendings, now_ms)?;
        }
        let tombstones = account.extras.as_deref().map_or(&[][..], |extras| &extras.tombstones);
        prop_assert_eq!(tombstones.len(), expect.tombstones.len());
        for tombstone in tombstones {
            let (used, until_ms) = &expect.tombstones[&tombstone.public_key];
            prop_assert_eq!(tombstone.until_ms, *until_ms);
            compare_nonces(&tombstone.nonces, used)?;
        }
    }
    for id in opened {
        let hold = ledger.hold(id).map(|hold| {
            prop_assert_eq!(hold.reserve.mites(), HOLD_RESERVE);
            Ok(ModelHold {
                payer: hold.payer,
                payee: hold.payee,
                amount: hold.amount.mites().into(),
                captured: hold.captured.mites().into(),
                condition: hold.condition,
                expires_at_ms: hold.expires_at_ms,
                closing_at_ms: hold.closing_at_ms,
            })
        });
        let hold = hold.transpose()?;
        prop_assert_eq!(hold.as_ref(), holds.get(id));
    }
    for person in PEOPLE {
        for number in 0..2 {
            let name = (address(person), delegated(number));
            let (key, expect) = (ledger.key(&name.0, &name.1), keys.get(&name));
            prop_assert_eq!(key.map(|key| &key.limits), expect.map(|key| &key.limits));
            if let (Some(key), Some(expect)) = (key, expect) {
                compare_nonces(&key.nonces, &expect.used)?;
                compare_spent(&key.spent, key.limits.limit.as_ref(), &expect.spendings, now_ms)?;
                prop_assert_eq!(key.reserve.mites(), KEY_RESERVE);
            }
        }
    }
    prop_assert_eq!(model.money(), i128::from(ledger.state().supply().mites()));
    Ok(())
}

/// Compares what can be proven of everybody with what there was at the last root.
fn compare_proofs(ledger: &Ledger, genesis: &Genesis, at_root: Option<&Objects>) -> Result<(), TestCaseError> {
    for person in PEOPLE {
        let address = address(person);
        let expect = at_root.and_then(|objects| objects.accounts.get(&address));
        let proof = ledger.prove_account(&address);
        prop_assert!(proof.is_none() || expect.is_some(), "a proof of what was not there");
        let (Some(expect), Some(proof)) = (expect, proof) else { continue };
        let certificate = certificate(std::slice::from_ref(proof.header()), &[(0, 0), (1, 0), (3, 0)]);
        let proof = proof.certify(certificate);
        prop_assert_eq!(proof.verify(genesis), Ok(()));
        let SlotValue::Account { address: proven, account } = &proof.value else { panic!("not an account") };
        prop_assert_eq!((*proven, i128::from(account.balance.mites())), (address, expect.balance));
    }
    Ok(())
}

fn follow(genesis: &Genesis, plans: &[CommitPlan]) -> Result<(), TestCaseError> {
    let (mut ledger, mut model) = (Ledger::genesis(genesis), Model::genesis(genesis));
    let mut now_ms = GENESIS_MS;
    let mut all: Vec<Transaction> = Vec::new();
    let mut settled: BTreeSet<TransactionId> = BTreeSet::new();
    let (mut block_second, mut changed, mut at_root) = (GENESIS_MS / 1_000, false, None);
    for plan in plans {
        now_ms += plan.later_ms;
        let transactions = plan.transactions(&ledger, now_ms, &all);
        let previous = ledger.newest().clone();
        let before = model.objects.clone();
        let outcomes: Vec<_> = transactions.iter().map(|transaction| model.apply(transaction, now_ms)).collect();
        let execution = commit(&mut ledger, now_ms - GENESIS_MS, &transactions);

        let new_second = now_ms / 1_000 > block_second;
        let holds_some = outcomes.iter().any(Result::is_ok);
        let makes_block = holds_some || (new_second && changed);
        compare_execution(&execution, &outcomes, makes_block)?;
        if makes_block && new_second {
            at_root = Some(before);
            changed = false;
        }
        changed |= holds_some;
        all.extend(transactions);
        let opened: Vec<TransactionId> = all
            .iter()
            .filter(|transaction| matches!(transaction.operation, farthing_core::transaction::Operation::OpenHold(_)))
            .map(|transaction| transaction.id(ledger.chain()))
            .collect();
        compare_objects(&ledger, &model, &opened, now_ms)?;
        ledger.audit();
        if let Some(block) = execution.block {
            block_second = now_ms / 1_000;
            prop_assert_eq!(block.header.state_root.is_some(), new_second);
            prop_assert_eq!(ledger.newest(), &block.header);
            prop_assert_eq!(block.header.previous, previous.hash());
            prop_assert_eq!(block.header.height, previous.height + 1);
            for (_, result) in &block.results {
                prop_assert!(settled.insert(result.id), "a transaction has one result, for ever");
            }
        }
    }
    compare_proofs(&ledger, genesis, at_root.as_ref())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_ledger_follows_the_model(plans in history(40)) {
        follow(&genesis(), &plans)?;
    }

    #[test]
    fn the_ledger_follows_the_model_when_bandwidth_is_short(plans in history(40)) {
        follow(&tight_genesis(), &plans)?;
    }
}

/// Whether random histories reach everything: a test of the tests.
#[test]
fn histories_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut codes, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    let mut freed_and_opened_again = 0;
    for round in 0..450 {
        let plans = history(40).new_tree(&mut runner).unwrap().current();
        let genesis = if round % 3 == 0 { tight_genesis() } else { genesis() };
        let mut ledger = Ledger::genesis(&genesis);
        let (mut now_ms, mut all, mut freed) = (GENESIS_MS, Vec::new(), BTreeSet::new());
        for plan in &plans {
            now_ms += plan.later_ms;
            let transactions = plan.transactions(&ledger, now_ms, &all);
            let there: Vec<_> = PEOPLE.filter(|person| ledger.account(&address(*person)).is_some()).collect();
            let execution = commit(&mut ledger, now_ms - GENESIS_MS, &transactions);
            freed.extend(there.iter().copied().filter(|person| ledger.account(&address(*person)).is_none()));
            freed_and_opened_again +=
                freed.iter().filter(|person| ledger.account(&address(**person)).is_some()).count();
            freed.retain(|person| ledger.account(&address(*person)).is_none());
            codes.extend(execution.block.iter().flat_map(|block| &block.results).map(|(_, result)| result.code));
            reasons.extend(execution.dropped.iter().map(|(_, reason)| *reason));
            all.extend(transactions);
        }
    }
    // Sixteen keys do not come together in histories of two.
    let missing: Vec<_> = ResultCode::ALL.into_iter().filter(|code| !codes.contains(code)).collect();
    assert_eq!(missing, [ResultCode::TooManyKeys]);
    assert_eq!(reasons.len(), 7, "{reasons:?}");
    assert!(freed_and_opened_again > 0);
}
