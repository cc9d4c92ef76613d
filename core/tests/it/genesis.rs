//! Genesis documents: what is refused, and what the chain hash covers.

use crate::helpers::{GENESIS_MS, address, mites, network, parameters, validators};
use farthing_core::amount::Amount;
use farthing_core::genesis::{Genesis, GenesisError, Parameters, Validator};
use serde_json::{Value, json};

fn genesis(
    name: &str,
    parameters: Parameters,
    validators: Vec<Validator>,
    balances: &[(u8, u64)],
) -> Result<Genesis, GenesisError> {
    let accounts = balances.iter().map(|(n, balance)| (address(*n), mites(*balance))).collect();
    Genesis::new(name, &"tst".parse().unwrap(), GENESIS_MS, parameters, validators, accounts)
}

fn refused(result: Result<Genesis, GenesisError>, text: &str) {
    let error = result.expect_err(text).to_string();
    assert!(error.contains(text), "{error:?} should say {text:?}");
}

#[test]
fn networks_that_contradict_themselves_are_refused() {
    let ok = || validators(4);
    let renamed = |name: &str| {
        let mut list = ok();
        list[1].name = name.into();
        list
    };
    let with = |change: fn(&mut Vec<Validator>)| {
        let mut list = ok();
        change(&mut list);
        list
    };
    let twice = "a key stands twice";
    assert!(genesis("test", parameters(), ok(), &[(1, 1)]).is_ok());
    assert!(genesis("test", parameters(), ok(), &[]).is_ok(), "a network without money is useless, but sound");
    refused(genesis("", parameters(), ok(), &[]), "\"network\"");
    refused(genesis(&"x".repeat(65), parameters(), ok(), &[]), "\"network\"");
    refused(genesis("caf\u{e9}", parameters(), ok(), &[]), "\"network\"");
    refused(genesis("test", parameters(), vec![], &[]), "at least one validator");
    refused(genesis("test", parameters(), vec![ok()[0].clone(); 129], &[]), "at most 128 validators");
    refused(genesis("test", parameters(), renamed(""), &[]), "\"name\"");
    refused(genesis("test", parameters(), renamed("a\nb"), &[]), "\"name\"");
    refused(genesis("test", parameters(), renamed("validator 0"), &[]), "the same name");
    refused(genesis("test", parameters(), with(|list| list[1].public_key = list[0].public_key), &[]), twice);
    refused(genesis("test", parameters(), with(|list| list[1].network_key = list[0].network_key), &[]), twice);
    refused(genesis("test", parameters(), with(|list| list[1].network_key = list[0].public_key), &[]), twice);
    refused(genesis("test", parameters(), with(|list| list[1].network_key = list[1].public_key), &[]), twice);
}

#[test]
fn money_that_cannot_be_is_refused() {
    let check = |balances: &[(u8, u64)]| genesis("test", parameters(), validators(1), balances);
    refused(check(&[(1, 5), (2, 5), (1, 5)]), "stands twice");
    refused(check(&[(1, 5), (2, 0)]), "has nothing");
    refused(check(&[(1, u64::MAX), (2, 1)]), "more than 2^64 - 1");
    let reserve = |mites: u64, supply: u64| {
        let reserve = Amount::from_mites(mites);
        let parameters =
            Parameters { account_reserve: reserve, hold_reserve: reserve, key_reserve: reserve, ..parameters() };
        genesis("test", parameters, validators(1), &[(1, supply)])
    };
    let bound = "raise \"account_reserve\"";
    assert!(reserve(100, 100 * (u64::from(u32::MAX) - 2)).is_ok(), "and one account that locks nothing");
    refused(reserve(100, 100 * (u64::from(u32::MAX) - 1)), bound);
    refused(reserve(0, 1), bound);
    assert!(reserve(5_000_000_000, u64::MAX).is_ok());
    let validity = |validity_max_ms| {
        let parameters = Parameters { validity_max_ms, reclaim_after_ms: 86_400_000, ..parameters() };
        genesis("test", parameters, validators(1), &[])
    };
    refused(validity(999), "validity_max_ms");
    refused(validity(86_400_001), "validity_max_ms");
    assert!(validity(1_000).is_ok() && validity(86_400_000).is_ok());
}

/// The document of a small network as JSON, changed.
fn parsed(change: impl Fn(&mut Value)) -> Result<Genesis, GenesisError> {
    let mut document: Value = serde_json::from_str(&network(&[(1, 1_000), (2, 5)]).to_json()).unwrap();
    change(&mut document);
    Genesis::from_json(&document.to_string())
}

#[test]
fn json_round_trips() {
    let original = network(&[(1, 1_000), (2, 5)]);
    let again = Genesis::from_json(&original.to_json()).unwrap();
    assert_eq!(again, original);
    assert_eq!(again.chain_hash(), original.chain_hash());
    assert_eq!(again.supply(), mites(1_005));
}

#[test]
fn json_that_is_not_a_genesis_document_is_refused() {
    assert!(parsed(|_| ()).is_ok());
    refused(parsed(|document| document["surprise"] = json!(1)), "surprise");
    refused(parsed(|document| document["accounts"][0]["surprise"] = json!(1)), "surprise");
    refused(parsed(|document| document["parameters"]["surprise"] = json!(1)), "surprise");
    refused(parsed(|document| document["validators"][0]["public_key"] = json!("12")), "64 hexadecimal digits");
    refused(parsed(|document| document["accounts"][0]["balance"] = json!(5)), "expected");
    refused(parsed(|document| document["accounts"][0]["balance"] = json!("5.0")), "not an amount");
    refused(parsed(|document| document["accounts"][0]["address"] = json!("tst1qqqq")), "bad address");
    refused(parsed(|document| document["address_prefix"] = json!("other")), "network");
    refused(parsed(|document| document["address_prefix"] = json!("UPPER")), "prefix");
    refused(parsed(|document| drop(document.as_object_mut().unwrap().remove("validators"))), "validators");
    refused(Genesis::from_json("{"), "does not parse");
}

#[test]
fn the_chain_hash_covers_everything_but_the_form() {
    let hash = parsed(|_| ()).unwrap().chain_hash();
    let changed = |change: fn(&mut Value)| parsed(change).unwrap().chain_hash();
    assert_ne!(changed(|document| document["network"] = json!("tesu")), hash);
    assert_ne!(changed(|document| document["timestamp_ms"] = json!(1)), hash);
    assert_ne!(changed(|document| document["parameters"]["account_reserve"] = json!("101")), hash);
    assert_ne!(changed(|document| document["parameters"]["validity_max_ms"] = json!(59_999)), hash);
    assert_ne!(changed(|document| document["validators"][0]["name"] = json!("other")), hash);
    assert_ne!(changed(|document| document["validators"].as_array_mut().unwrap().swap(0, 1)), hash);
    assert_ne!(changed(|document| drop(document["accounts"].as_array_mut().unwrap().pop())), hash);
    assert_ne!(changed(|document| document["accounts"].as_array_mut().unwrap().swap(0, 1)), hash);
    assert_ne!(changed(|document| document["accounts"][0]["balance"] = json!("1001")), hash);
    let compact: Value = serde_json::from_str(&network(&[(1, 1_000), (2, 5)]).to_json()).unwrap();
    assert_eq!(Genesis::from_json(&compact.to_string()).unwrap().chain_hash(), hash, "white space and order of fields");
    let defaults = Parameters::default();
    let explicit = parsed(|document| document["parameters"] = serde_json::to_value(&defaults).unwrap()).unwrap();
    let implicit = parsed(|document| drop(document.as_object_mut().unwrap().remove("parameters"))).unwrap();
    assert_eq!(explicit.chain_hash(), implicit.chain_hash(), "defaults are part of what it says");
}

#[test]
fn a_document_without_its_accounts_keeps_what_it_says_besides() {
    let whole = network(&[(1, 1_000), (2, 5)]);
    let rest = whole.without_accounts();
    assert_eq!(rest.accounts(), []);
    assert_eq!((rest.chain_hash(), rest.supply()), (whole.chain_hash(), whole.supply()));
    assert_eq!(
        (rest.network(), rest.prefix(), rest.parameters()),
        (whole.network(), whole.prefix(), whole.parameters())
    );
    assert_eq!((rest.validators(), rest.timestamp_ms()), (whole.validators(), whole.timestamp_ms()));
    assert_eq!(whole.supply().mites(), 1_005);
    assert!(std::panic::catch_unwind(|| rest.to_json()).is_err());
    assert!(std::panic::catch_unwind(|| farthing_core::state::State::genesis(&rest)).is_err());
}
