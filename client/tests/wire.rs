//! The wire types: what they look like as JSON, and what is refused.

use farthing_client::*;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::genesis::Parameters;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Output, SignedTransaction};
use serde_json::json;

const CHAIN: Digest = Digest([3; 32]);

fn prefix() -> AddressPrefix {
    "farl".parse().unwrap()
}

fn payment(nonce: u64, outputs: usize) -> SignedTransaction {
    let key = SecretKey::from_seed(&[7; 32]);
    let output = |index: usize| Output {
        to: Address(SecretKey::from_seed(&[8; 32]).public_key()),
        amount: Amount::from_mites(2_500_000 + index as u64),
        reference: index.is_multiple_of(2).then_some([index as u8; 32]),
        open: index.is_multiple_of(3),
    };
    transfer(&CHAIN, &key, nonce, 99, (0..outputs).map(output).collect()).unwrap()
}

#[test]
fn a_transaction_survives_json_with_its_signature() {
    for outputs in [1, 2, 1024] {
        let signed = payment(u64::MAX, outputs);
        let text = serde_json::to_string(&SignedTransactionJson::new(&signed, &prefix())).unwrap();
        let read: SignedTransactionJson = serde_json::from_str(&text).unwrap();
        let read = read.to_signed(&prefix()).unwrap();
        assert_eq!(read, signed);
        read.verify(&CHAIN).unwrap();
    }
}

#[test]
fn json_has_the_documented_form() {
    let value = serde_json::to_value(SignedTransactionJson::new(&payment(7, 1), &prefix())).unwrap();
    let output = &value["operation"]["transfer"]["outputs"][0];
    assert_eq!(output["amount"], "2500000");
    assert_eq!(output["reference"], "00".repeat(32));
    assert_eq!(output["open"], true);
    assert!(output["to"].as_str().unwrap().starts_with("farl1"));
    assert_eq!((&value["nonce"], &value["valid_until_ms"]), (&json!(7), &json!(99)));
    assert_eq!(value["signature"].as_str().unwrap().len(), 128);
}

#[test]
fn json_out_of_bounds_is_refused() {
    let good = serde_json::to_value(SignedTransactionJson::new(&payment(7, 1), &prefix())).unwrap();
    let change = |pointer: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let outputs = "/operation/transfer/outputs";
    for (changed, parses) in [
        (change(outputs, json!([])), true),
        (change(outputs, json!(vec![good.pointer("/operation/transfer/outputs/0").unwrap(); 1025])), true),
        (change(&format!("{outputs}/0/amount"), json!("0")), true),
        (change(&format!("{outputs}/0/to"), json!("farl1x")), true),
        (
            change(
                "/sender",
                json!(Address(SecretKey::from_seed(&[1; 32]).public_key()).encode(&"main".parse().unwrap())),
            ),
            true,
        ),
        (change(&format!("{outputs}/0/amount"), json!(25)), false),
        (change(&format!("{outputs}/0/amount"), json!("1.5")), false),
        (change("/nonce", json!(-1)), false),
        (change("/signature", json!("00")), false),
        (change("/operation", json!({ "mint": {} })), false),
        (change("", json!({ "sender": "a" })), false),
    ] {
        let read = serde_json::from_value::<SignedTransactionJson>(changed.clone());
        assert_eq!(read.is_ok(), parses, "{changed}");
        if let Ok(read) = read {
            assert!(read.to_signed(&prefix()).is_err(), "{changed}");
        }
    }
    let mut unknown = good.clone();
    unknown["memo"] = json!("x");
    assert!(serde_json::from_value::<SignedTransactionJson>(unknown).is_err(), "an unknown field would not be signed");
}

#[test]
fn submissions_are_one_or_many() {
    let one = serde_json::to_value(SignedTransactionJson::new(&payment(7, 1), &prefix())).unwrap();
    assert_eq!(serde_json::from_value::<Submission>(one.clone()).unwrap().into_vec().len(), 1);
    assert_eq!(serde_json::from_value::<Submission>(json!([one, one])).unwrap().into_vec().len(), 2);
}

#[test]
fn concatenated_encodings_come_apart_again() {
    let payments: Vec<SignedTransaction> = (1..=3).map(|nonce| payment(nonce, nonce as usize)).collect();
    let body: Vec<u8> = payments.iter().flat_map(SignedTransaction::encode).collect();
    assert_eq!(decode_concatenated(&body).unwrap(), payments);

    assert!(decode_concatenated(&[]).is_err(), "no transaction");
    assert!(decode_concatenated(&body[..body.len() - 1]).is_err(), "truncated");
    assert!(decode_concatenated(&[&body[..], &[0]].concat()).is_err(), "trailing bytes");
    let encoded = payment(1, 1).encode();
    assert_eq!(decode_concatenated(&encoded.repeat(TRANSACTIONS_MAX)).unwrap().len(), TRANSACTIONS_MAX);
    assert!(decode_concatenated(&encoded.repeat(TRANSACTIONS_MAX + 1)).is_err(), "too many");
    assert!(decode_concatenated(&vec![0; REQUEST_BYTES_MAX + 1]).is_err(), "too long");
}

#[test]
fn transfers_that_nobody_would_decode_are_not_signed() {
    let key = SecretKey::from_seed(&[7; 32]);
    let output = payment(1, 1).transaction.outputs()[0].clone();
    let make = |outputs| transfer(&CHAIN, &key, 1, 2, outputs);
    assert_eq!(make(vec![]), Err(TransferError::OutputCount(0)));
    assert_eq!(make(vec![output.clone(); 1025]), Err(TransferError::OutputCount(1025)));
    assert_eq!(make(vec![Output { amount: Amount::ZERO, ..output }]), Err(TransferError::NothingPaid));
}

#[test]
fn the_usual_validity_fits_the_network() {
    assert_eq!(validity_ms(&Parameters::default()), VALIDITY_MS_DEFAULT);
    assert_eq!(validity_ms(&Parameters { validity_max_ms: 2_000, ..Parameters::default() }), 1_000);
}

#[test]
fn freshness_follows_the_window() {
    let view = |high: u64, seen: u128| AccountView {
        address: String::new(),
        balance: Amount::ZERO,
        reserve: Amount::ZERO,
        sponsor: None,
        nonce_high: high,
        nonce_seen: NonceBits(seen),
        next_nonce: high + 1,
        as_of: AsOf { height: 0, commit_index: 0, timestamp_ms: 0 },
    };
    let account = view(200, 0b101);
    let fresh: Vec<u64> =
        [0, 72, 73, 198, 199, 200, 201].into_iter().filter(|nonce| account.is_fresh(*nonce)).collect();
    assert_eq!(fresh, [73, 199, 201], "72 is 128 below, 198 and 200 are used");
    assert!(!view(0, 0).is_fresh(0) && view(0, 0).is_fresh(1));
    let text = serde_json::to_value(&account).unwrap();
    assert_eq!(text["nonce_seen"], "00000000000000000000000000000005");
    assert_eq!(serde_json::from_value::<AccountView>(text).unwrap(), account);
}

#[test]
fn every_problem_code_reads_back_and_names_itself() {
    use ProblemCode::*;
    let codes = [
        MalformedBody,
        InvalidParameter,
        MalformedAddress,
        WrongNetwork,
        InvalidCursor,
        TransactionCount,
        NoSuchAccount,
        NoSuchTransaction,
        NoSuchBlock,
        NoSuchResource,
        NotKept,
        MethodNotAllowed,
        RequestTimeout,
        NotCertifiedYet,
        Pruned,
        BodyTooLarge,
        UnsupportedMediaType,
        TooManyRequests,
        Internal,
        Unavailable,
    ];
    for code in codes {
        let problem = Problem::new(code, "why");
        let value = serde_json::to_value(&problem).unwrap();
        assert_eq!(value["code"], code.as_str());
        assert_eq!(value["type"], format!("urn:farthing:problem:{code}"));
        assert_eq!(serde_json::from_value::<Problem>(value).unwrap(), problem);
    }
    let newer = json!({ "type": "t", "title": "t", "status": 418, "code": "teapot", "detail": "d" });
    assert_eq!(serde_json::from_value::<Problem>(newer).unwrap().code, Unknown);
}
