//! What people and other programs write: genesis documents, addresses, amounts, digests.

use crate::fixtures::{address, genesis, key, prefix};
use crate::proofs::JSON;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::genesis::Genesis;
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, Signature};
use farthing_fuzz::Target;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// The text of an input, which every decoder of texts is given.
fn text(input: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(input).map_err(|error| error.to_string())
}

#[test]
fn genesis_documents() {
    let seeds = vec![genesis().to_json(), genesis().to_json().replace([' ', '\n'], "")];
    Target::text("genesis", seeds, JSON, |input| {
        let document = Genesis::from_json(text(input)?).map_err(|error| error.to_string())?;
        let read = Genesis::from_json(&document.to_json()).expect("what is written can be read");
        assert_eq!(read, document);
        assert_eq!(read.chain_hash(), document.chain_hash());
        assert_eq!(&document == genesis(), document.chain_hash() == genesis().chain_hash());
        Ok(())
    })
    .check();
}

#[test]
fn addresses() {
    let other: AddressPrefix = "other".parse().expect("a prefix");
    let mut seeds: Vec<String> = (1..=4).map(|n| address(n).encode(&prefix())).collect();
    seeds.push(seeds[0].to_uppercase());
    let valid: Vec<Address> = (1..=4).map(address).collect();
    Target::text("address", seeds, &["1", "test1", "other1", "q", "l", " ", "TEST1"], |input| {
        let text = text(input)?;
        let read = Address::decode(text, &prefix()).map_err(|error| error.to_string())?;
        assert_eq!(Address::decode(&read.encode(&prefix()), &prefix()).as_ref(), Ok(&read));
        assert_eq!(read.encode(&prefix()), text.trim().to_lowercase());
        assert!(Address::decode(text, &other).is_err(), "an address is good on two networks");
        assert!(valid.contains(&read), "a checksum is met by chance, one time in 2^30: {text}");
        Ok(())
    })
    .check();
}

/// A text that says one value, and the value that says one text: at most in upper case.
fn check<T: FromStr<Err: Display> + Display + PartialEq + Debug>(name: &'static str, seeds: &[T]) {
    let seeds = seeds.iter().map(T::to_string).collect();
    Target::text(name, seeds, &["0", "f", "ff", "g", " ", "1", "-", "0x"], |input| {
        let text = text(input)?;
        let value: T = text.parse().map_err(|error: T::Err| error.to_string())?;
        assert_eq!(value.to_string(), text.to_lowercase());
        Ok(())
    })
    .check();
}

#[test]
fn hexadecimal_digits() {
    check::<Digest>("digest", &[Digest([0xab; 32]), Digest::ZERO]);
    check::<PublicKey>("public-key", &[key(1).public_key()]);
    check::<Signature>("signature", &[key(1).sign(&Digest::ZERO)]);
}

#[test]
fn address_prefixes() {
    check::<AddressPrefix>("prefix", &[prefix(), "far".parse().expect("a prefix"), "a1b2".parse().expect("a prefix")]);
}

#[test]
fn amounts() {
    let seeds = ["0.0025 FAR", "25 mite", "1mites", "18446744073.709551615 far", "0 FAR"].map(String::from).to_vec();
    Target::text("amount", seeds, &["0", "9", ".", " ", "FAR", "mite", "s", "e9", "-", "٣", "000000000"], |input| {
        let amount: Amount =
            text(input)?.parse().map_err(|error: farthing_core::amount::AmountError| error.to_string())?;
        assert_eq!(amount.to_string().parse().as_ref(), Ok(&amount));
        Ok(())
    })
    .check();
    let seeds = vec!["\"0\"".into(), "\"2500000\"".into(), "\"18446744073709551615\"".into()];
    Target::text("amount-json", seeds, &["0", "9", "\"", "-", "+", ".", "e1"], |input| {
        let amount = crate::json::<Amount>(input)?;
        assert!(serde_json::to_string(&amount).is_ok_and(|text| text.contains(&amount.mites().to_string())));
        Ok(())
    })
    .check();
}
