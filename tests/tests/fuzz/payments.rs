//! The encodings of holds, vouchers, delegated keys and policies, and what payers and payees show one another.

use crate::canonical;
use crate::fixtures::{address, genesis, key, prefix};
use crate::json;
use crate::proofs::JSON;
use farthing_client::channel::{Payee, Payer, Terms};
use farthing_client::{
    AsOf, BandwidthView, BlockEvent, Event, HoldView, HoldsPage, KeyLimitsJson, KeyView, KeysView, NonceBits,
    OperationJson, PaymentLink, PaymentRequest, PendingPolicyView, PolicyJson, PolicyView, PositionEvent, parse_event,
};
use farthing_core::amount::Amount;
use farthing_core::codec;
use farthing_core::delegated_key::{DelegatedKey, KeyLimits, KeyOperations, PAYEES_MAX, Tombstone};
use farthing_core::hash::Digest;
use farthing_core::hold::{Condition, Hold, hashlock};
use farthing_core::policy::{PendingPolicy, Policy, PolicySettings};
use farthing_core::replay::NonceWindow;
use farthing_core::spending_limit::{SpendingLimit, Spent};
use farthing_core::state::{SLOT_BYTES_MAX, SlotValue};
use farthing_core::transaction::{
    Authority, Capture, OpenHold, Operation, Proof, SIGNED_TRANSACTION_BYTES_MAX, SetKey, SignedTransaction,
    Transaction,
};
use farthing_core::voucher::Voucher;
use farthing_fuzz::Target;
use std::fmt::Debug;

const DAY_MS: u64 = 86_400_000;

fn mites(mites: u64) -> Amount {
    Amount::from_mites(mites)
}

fn hold_id() -> Digest {
    Digest([5; 32])
}

fn voucher() -> Voucher {
    Voucher::sign(&genesis().chain_hash(), hold_id(), mites(70), &key(50))
}

fn conditions() -> [Condition; 3] {
    [
        Condition::Payee,
        Condition::Voucher { key: key(50).public_key(), close_delay_ms: DAY_MS },
        Condition::Hashlock { digest: hashlock(&[1; 32]) },
    ]
}

fn limits() -> [KeyLimits; 2] {
    let wide = KeyLimits {
        operations: KeyOperations::ALL,
        payees: None,
        transaction_max: None,
        limit: None,
        expires_at_ms: None,
    };
    let narrow = KeyLimits {
        operations: KeyOperations::TRANSFER.and(KeyOperations::TOP_UP),
        payees: Some((1..=PAYEES_MAX as u8).map(address).collect()),
        transaction_max: Some(mites(9)),
        limit: Some(SpendingLimit { amount: mites(100), period_ms: DAY_MS }),
        expires_at_ms: Some(77),
    };
    [wide, narrow]
}

fn settings() -> [PolicySettings; 2] {
    let limit = Some(SpendingLimit { amount: mites(100), period_ms: DAY_MS });
    [PolicySettings::default(), PolicySettings { limit, raise_delay_ms: DAY_MS, blocked: true }]
}

/// One of every shape but transfers, which are in `ledger.rs`.
fn operations() -> Vec<Operation> {
    let open = |condition| {
        let reference = (condition == Condition::Payee).then_some(Digest([8; 32]));
        let open = OpenHold { payee: address(2), amount: mites(100), condition, expires_at_ms: DAY_MS, reference };
        Operation::OpenHold(Box::new(open))
    };
    let proofs = [Proof::None, Proof::Voucher(voucher().signature), Proof::Preimage([1; 32])];
    let capture = |proof| {
        let is_final = proof == Proof::None;
        Operation::Capture(Box::new(Capture { hold: hold_id(), cumulative: mites(70), proof, is_final }))
    };
    let mut operations: Vec<Operation> = conditions().map(open).into_iter().chain(proofs.map(capture)).collect();
    operations.extend([
        Operation::Release { hold: hold_id() },
        Operation::TopUp { hold: hold_id(), amount: mites(5), expires_at_ms: 2 * DAY_MS },
        Operation::RemoveKey { public_key: key(60).public_key() },
        Operation::Reclaim { account: address(3) },
    ]);
    let set = |limits| Operation::SetKey(Box::new(SetKey { public_key: key(60).public_key(), limits }));
    operations.extend(limits().map(set));
    operations.extend(settings().map(|settings| Operation::SetPolicy(Box::new(settings))));
    operations
}

fn signed() -> Vec<SignedTransaction> {
    let sign = |(nonce, operation): (u64, Operation)| {
        // Every other one is by a delegated key.
        let (authority, key) = match nonce % 2 {
            0 => (Authority::Root, key(1)),
            _ => (Authority::Key(key(60).public_key()), key(60)),
        };
        let transaction = Transaction { sender: address(1), authority, nonce, valid_until_ms: 9, operation };
        transaction.sign(&genesis().chain_hash(), &key)
    };
    (1..).zip(operations()).map(sign).collect()
}

#[test]
fn transactions_of_every_operation() {
    let (chain, all) = (genesis().chain_hash(), signed());
    let seeds = all.iter().map(SignedTransaction::encode).collect();
    Target::bytes("operation", seeds, |input| {
        let transaction: SignedTransaction = canonical(input, SIGNED_TRANSACTION_BYTES_MAX)?;
        let shown = OperationJson::new(&transaction.transaction.operation, &prefix());
        assert_eq!(shown.to_operation(&prefix()).as_ref(), Ok(&transaction.transaction.operation));
        let verified = transaction.clone().verify(&chain).map_err(|error| error.to_string())?;
        assert!(all.contains(&transaction), "nobody signed {verified:?}");
        Ok(())
    })
    .check();
}

#[test]
fn operations_as_json() {
    let seeds = operations().iter().map(|operation| OperationJson::new(operation, &prefix())).collect::<Vec<_>>();
    let seeds = seeds.iter().map(|seed| serde_json::to_string(seed).expect("plain data")).collect();
    Target::text("operation-json", seeds, JSON, |input| {
        let shown: OperationJson = json(input)?;
        let operation = shown.to_operation(&prefix()).map_err(|error| error.to_string())?;
        let bytes = codec::encode(&operation);
        assert_eq!(codec::decode(&bytes, SIGNED_TRANSACTION_BYTES_MAX).as_ref(), Ok(&operation), "it has no encoding");
        Ok(())
    })
    .check();
}

#[test]
fn stored_holds_keys_and_policies() {
    let hold = |condition| Hold {
        payer: address(1),
        payee: address(2),
        amount: mites(100),
        captured: mites(20),
        condition,
        expires_at_ms: DAY_MS,
        closing_at_ms: (condition == Condition::Payee).then_some(DAY_MS),
        reference: Some(Digest([8; 32])),
        reserve: mites(1),
    };
    let key_of = |limits| DelegatedKey {
        limits,
        nonces: NonceWindow::default(),
        spent: Spent { window_ms: DAY_MS, amount: mites(3) },
        reserve: mites(1),
    };
    let slots = conditions().map(|condition| SlotValue::Hold { id: hold_id(), hold: hold(condition) });
    let keys = limits().map(|limits| SlotValue::Key {
        owner: address(1),
        public_key: key(60).public_key(),
        key: key_of(limits),
    });
    let seeds = slots.iter().chain(&keys).map(codec::encode).collect();
    Target::bytes("slot-of-object", seeds, |input| canonical::<SlotValue>(input, SLOT_BYTES_MAX).map(drop)).check();

    let policies = settings().map(|settings| Policy {
        settings,
        spent: Spent::default(),
        pending: Some(PendingPolicy { settings: PolicySettings::default(), effective_at_ms: 9 }),
    });
    let seeds = policies.iter().map(codec::encode).collect();
    Target::bytes("policy", seeds, |input| canonical::<Policy>(input, SLOT_BYTES_MAX).map(drop)).check();
    let tombstone = Tombstone { public_key: key(60).public_key(), nonces: NonceWindow::default(), until_ms: 9 };
    let seeds = vec![codec::encode(&tombstone)];
    Target::bytes("tombstone", seeds, |input| canonical::<Tombstone>(input, SLOT_BYTES_MAX).map(drop)).check();
}

#[test]
fn vouchers() {
    let (chain, signer, seeds) = (genesis().chain_hash(), key(50).public_key(), vec![codec::encode(&voucher())]);
    Target::bytes("voucher", seeds, |input| {
        let read: Voucher = canonical(input, 104)?;
        read.verify(&chain, &signer).map_err(|error| error.to_string())?;
        assert_eq!(read, voucher(), "nobody signed this");
        Ok(())
    })
    .check();
    let seeds = vec![serde_json::to_string(&voucher()).expect("plain data")];
    Target::text("voucher-json", seeds, JSON, |input| json::<Voucher>(input).map(drop)).check();
}

#[test]
fn the_files_of_a_channel() {
    let folder = tempfile::tempdir_in(farthing_fuzz::scratch()).expect("a temporary directory");
    let [payer, payee, hostile] = ["payer", "payee", "hostile"].map(|name| folder.path().join(name));
    let chain = genesis().chain_hash();
    let mut paying = Payer::create(&payer, chain, hold_id(), mites(100), key(50)).expect("room");
    paying.pay(mites(70)).expect("within the budget");
    let terms = Terms {
        chain,
        hold: hold_id(),
        payee: address(2),
        key: key(50).public_key(),
        close_delay_ms: 3_600_000,
        amount: mites(100),
        captured: mites(0),
        end_ms: DAY_MS,
        is_closing: false,
    };
    Payee::create(&payee, terms, 60_000).expect("room").accept(&voucher(), mites(70), 1).expect("a good voucher");
    let seeds = vec![std::fs::read(&payer).expect("a file")];
    Target::bytes("channel-payer", seeds, |input| {
        std::fs::write(&hostile, input).expect("room");
        Payer::open(&hostile, key(50)).map(drop).map_err(|error| error.to_string())
    })
    .check();
    let seeds = vec![std::fs::read(&payee).expect("a file")];
    Target::bytes("channel-payee", seeds, |input| {
        std::fs::write(&hostile, input).expect("room");
        let read = Payee::open(&hostile).map_err(|error| error.to_string())?;
        let _ = (read.due(1), read.capture(), read.next_check_ms(1));
        Ok(())
    })
    .check();
}

/// A text that a decoder takes, and what it makes of it.
fn text(input: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(input).map_err(|error| error.to_string())
}

#[test]
fn payment_requests() {
    let full = PaymentRequest {
        to: address(1),
        amount: Some(mites(2_500_000)),
        reference: Some(Digest([8; 32])),
        label: Some("Café".into()),
        message: Some("two & more".into()),
        expires_at_ms: Some(1_800_000_000_000),
    };
    let seeds = [PaymentRequest::new(address(2)), full].map(|request| request.to_uri(&prefix())).to_vec();
    const TOKENS: &[&str] =
        &["?", "&", "=", "%", "%20", "%ff", "amount=", "label=", "req-x", "FAR", "mite", "expires=", "farthing:"];
    Target::text("payment-request", seeds, TOKENS, |input| {
        let request = PaymentRequest::parse(text(input)?, &prefix()).map_err(|error| error.to_string())?;
        assert_eq!(PaymentRequest::parse(&request.to_uri(&prefix()), &prefix()), Ok(request));
        Ok(())
    })
    .check();
}

#[test]
fn payment_links() {
    let link = PaymentLink { key: key(70), amount: mites(50_000_000) };
    let seeds = vec![link.to_text(&prefix())];
    Target::text("payment-link", seeds, &[":", "farthing-link:", "test", "0", "ff"], |input| {
        let text = text(input)?;
        let read = PaymentLink::parse(text, &prefix()).map_err(|error| error.to_string())?;
        assert_eq!(read.to_text(&prefix()), text.trim(), "a link has one text");
        Ok(())
    })
    .check();
}

fn check<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(name: &'static str, seeds: &[T]) {
    let seeds = seeds.iter().map(|seed| serde_json::to_string(seed).expect("plain data")).collect();
    Target::text(name, seeds, JSON, |input| json::<T>(input).map(drop)).check();
}

#[test]
fn answers_about_limits_and_holds() {
    let as_of = AsOf { height: 1, commit_index: 2, timestamp_ms: 3 };
    let own = address(1).encode(&prefix());
    let bandwidth = BandwidthView {
        address: own.clone(),
        available_bytes: -5,
        capacity_bytes: u128::MAX,
        refill_ms: DAY_MS,
        full_at_ms: 9,
        multiplier: 1.5,
        transfer_bytes: 200,
        transfers_left: 0,
        next_transfer_at_ms: Some(4),
        as_of,
    };
    check("answer-bandwidth", &[bandwidth]);
    let keys = limits().map(|limits| KeyView {
        public_key: key(60).public_key(),
        limits: KeyLimitsJson::new(&limits, &prefix()),
        spent: mites(3),
        next_period_at_ms: Some(DAY_MS),
        is_expired: false,
        reserve: mites(1),
        nonce_high: 7,
        nonce_seen: NonceBits(5),
        next_nonce: 8,
    });
    check("answer-keys", &[KeysView { address: own.clone(), keys: keys.to_vec(), as_of }]);
    let [wide, narrow] = settings().map(PolicyJson::from);
    let pending = Some(PendingPolicyView { settings: wide, effective_at_ms: 4 });
    check(
        "answer-policy",
        &[PolicyView { address: own, settings: narrow, spent: mites(3), next_period_at_ms: None, pending, as_of }],
    );
    let hold = Hold {
        payer: address(1),
        payee: address(2),
        amount: mites(100),
        captured: mites(20),
        condition: conditions()[1],
        expires_at_ms: DAY_MS,
        closing_at_ms: Some(4),
        reference: None,
        reserve: mites(1),
    };
    let view = HoldView::new(hold_id(), &hold, &prefix(), as_of);
    assert_eq!(view.to_hold(&prefix()), Ok(Some(hold)));
    let closed = HoldView { terms: None, ..view.clone() };
    check("answer-holds", &[HoldsPage { holds: vec![view, closed], next: Some("1.2.3".into()) }]);
}

#[test]
fn events() {
    let block = BlockEvent {
        height: 7,
        hash: Digest([1; 32]),
        commit_index: 9,
        timestamp_ms: 11,
        transaction_count: 2,
        state_root: Some(Digest([2; 32])),
    };
    let seeds = vec![
        format!("id: 7\nevent: block\ndata: {}\n\n", serde_json::to_string(&block).expect("plain data")),
        "id: 7\nevent: position\ndata: {\"height\":7}\n\n".into(),
        ": comment\nevent: later\ndata: x\n\n".into(),
    ];
    const TOKENS: &[&str] = &["\n", "\r", ":", "id", "event: ", "data: ", "entry", "position", "block", "{", "}", "-1"];
    Target::text("event", seeds, TOKENS, |input| match parse_event(text(input)?)? {
        Some(Event::Position(PositionEvent { .. }) | Event::Block(_) | Event::Entry(_)) | None => Ok(()),
    })
    .check();
}
