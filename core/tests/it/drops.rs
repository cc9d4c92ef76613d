//! Tables of dropped transactions: the reason, which one wins where several apply, and that nothing is consumed.

use crate::helpers::{GENESIS_MS, VALIDITY_MS, address, commit, network, outcome, output, transfer};
use farthing_core::block::DropReason::{self, *};
use farthing_core::block::ResultCode::{Executed, InsufficientBalance, NoSuchAccount};
use farthing_core::execution::Ledger;
use farthing_core::replay::NONCE_AHEAD_MAX;
use farthing_core::transaction::Transaction;

const ANN: u8 = 1;
const NOBODY: u8 = 9;
/// Commit times are this long after the genesis.
const NOW: u64 = 10_000;

/// Ann, who has used nonce 200 and no other, sends this.
fn check(name: &str, sender: u8, nonce: u64, valid_until_ms: u64, expect: Result<(), DropReason>) {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 1_000)]));
    commit(&mut ledger, 0, &[transfer(ANN, 200, vec![output(ANN, 1, false)])]);
    let transaction = Transaction { valid_until_ms, ..transfer(sender, nonce, vec![output(ANN, 1, false)]) };
    let checked = ledger.check(&transaction, GENESIS_MS + NOW);
    assert_eq!(checked.map(drop).map_err(|refusal| refusal.reason), expect, "{name}: check");
    let passes_at_ms = (expect == Err(ValidTooLong)).then(|| valid_until_ms - VALIDITY_MS);
    assert_eq!(checked.err().and_then(|refusal| refusal.passes_at_ms), passes_at_ms, "{name}: when it would pass");
    let before = ledger.account(&address(ANN)).cloned();
    let execution = commit(&mut ledger, NOW, std::slice::from_ref(&transaction));
    assert_eq!(outcome(&execution), expect.map(|()| Executed), "{name}: execute");
    if expect.is_err() {
        assert_eq!(ledger.account(&address(ANN)).cloned(), before, "{name}: a dropped transaction consumes nothing");
    }
}

#[test]
fn each_reason_and_its_bounds() {
    let (now, last) = (GENESIS_MS + NOW, GENESIS_MS + NOW + VALIDITY_MS);
    check("good", ANN, 201, last, Ok(()));
    check("unknown sender", NOBODY, 1, last, Err(UnknownSender));
    check("at its last moment", ANN, 201, now, Ok(()));
    check("a moment too late", ANN, 201, now - 1, Err(Expired));
    check("as far ahead as may be", ANN, 201, last, Ok(()));
    check("a moment too far ahead", ANN, 201, last + 1, Err(ValidTooLong));
    check("valid for ever", ANN, 201, u64::MAX, Err(ValidTooLong));
    check("nonce 0", ANN, 0, last, Err(NonceTooHigh));
    check("used", ANN, 200, last, Err(NonceUsed));
    check("the lowest of the window", ANN, 73, last, Ok(()));
    check("below the window", ANN, 72, last, Err(NonceUsed));
    check("the highest", ANN, 200 + NONCE_AHEAD_MAX, last, Ok(()));
    check("too high", ANN, 201 + NONCE_AHEAD_MAX, last, Err(NonceTooHigh));
}

#[test]
fn of_two_reasons_the_first_wins() {
    let (now, last) = (GENESIS_MS + NOW, GENESIS_MS + NOW + VALIDITY_MS);
    check("unknown and expired", NOBODY, 1, now - 1, Err(UnknownSender));
    check("unknown and valid too long", NOBODY, 1, last + 1, Err(UnknownSender));
    check("unknown and nonce 0", NOBODY, 0, last, Err(UnknownSender));
    check("expired and used", ANN, 200, now - 1, Err(Expired));
    check("expired and too high", ANN, 0, now - 1, Err(Expired));
    check("valid too long and used", ANN, 200, last + 1, Err(ValidTooLong));
    check("valid too long and too high", ANN, 0, last + 1, Err(ValidTooLong));
}

#[test]
fn a_drop_wins_over_a_rejection() {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 1_000)]));
    let overdraft = transfer(ANN, 1, vec![output(ANN, 1_001, false)]);
    let execution = commit(&mut ledger, 0, &[overdraft.clone(), overdraft]);
    let block = execution.block.unwrap();
    assert_eq!(block.results.iter().map(|(_, result)| result.code).collect::<Vec<_>>(), [InsufficientBalance]);
    assert_eq!(execution.dropped.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [NonceUsed]);
}

#[test]
fn a_nonce_gives_one_result_whatever_the_transaction() {
    let mut ledger = Ledger::genesis(&network(&[(ANN, 1_000)]));
    let first = transfer(ANN, 1, vec![output(NOBODY, 1, false)]);
    let second = transfer(ANN, 1, vec![output(ANN, 1, false)]);
    assert_eq!(outcome(&commit(&mut ledger, 0, std::slice::from_ref(&first))), Ok(NoSuchAccount));
    assert_eq!(outcome(&commit(&mut ledger, 0, &[second])), Err(NonceUsed));
    assert_eq!(outcome(&commit(&mut ledger, 5_000, &[first])), Err(NonceUsed));
}
