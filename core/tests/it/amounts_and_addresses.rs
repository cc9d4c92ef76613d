//! Amounts and addresses as people type and read them.

use crate::helpers::{address, mites};
use farthing_core::address::{Address, AddressError, AddressPrefix};
use farthing_core::amount::{Amount, AmountError};
use farthing_core::keys::PublicKey;
use proptest::prelude::*;

fn prefix(text: &str) -> AddressPrefix {
    text.parse().unwrap()
}

#[test]
fn amounts_parse() {
    let table = [
        ("0.0025 FAR", 2_500_000),
        ("0.0025far", 2_500_000),
        ("1 FAR", 1_000_000_000),
        ("1.000000001 FAR", 1_000_000_001),
        ("007 FAR", 7_000_000_000),
        ("25 mite", 25),
        ("25mites", 25),
        (" 25 MITE ", 25),
        ("0 mite", 0),
        ("18446744073.709551615 FAR", u64::MAX),
        ("18446744073709551615 mite", u64::MAX),
    ];
    for (text, expect) in table {
        assert_eq!(text.parse::<Amount>(), Ok(mites(expect)), "{text:?}");
    }
}

#[test]
fn amounts_that_are_none_are_refused() {
    let unit = ["", "5", "0.5", "5 €", "5 EUR", "5 milliFAR", "mite 5"];
    let number = [
        "FAR",
        " FAR",
        "-1 FAR",
        "+1 FAR",
        "1,5 FAR",
        "1_000 FAR",
        "1. FAR",
        ".5 FAR",
        "1.2.3 FAR",
        "1 2 FAR",
        "٣ FAR",
    ];
    let large = ["18446744073.709551616 FAR", "18446744073709551616 mite", "99999999999999999999999999 FAR"];
    for text in unit {
        assert!(matches!(text.parse::<Amount>(), Err(AmountError::Unit(_))), "{text:?}: {:?}", text.parse::<Amount>());
    }
    for text in number {
        assert!(
            matches!(text.parse::<Amount>(), Err(AmountError::Number(_))),
            "{text:?}: {:?}",
            text.parse::<Amount>()
        );
    }
    for text in large {
        assert!(matches!(text.parse::<Amount>(), Err(AmountError::TooLarge(_))), "{text:?}");
    }
    for text in ["0.0000000001 FAR", "1.0000000000 FAR", "0.5 mite", "1.0 mite"] {
        assert!(matches!(text.parse::<Amount>(), Err(AmountError::TooManyDecimals { .. })), "{text:?}");
    }
}

#[test]
fn amounts_in_json_are_strings_of_whole_mites() {
    assert_eq!(serde_json::to_string(&mites(u64::MAX)).unwrap(), "\"18446744073709551615\"");
    for text in ["5", "5.0", "\"\"", "\"-5\"", "\"+5\"", "\"5 mite\"", "\" 5\"", "\"18446744073709551616\"", "null"] {
        assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
    }
}

#[test]
fn the_arithmetic_of_amounts_stops_at_its_bounds() {
    assert_eq!(mites(u64::MAX).checked_add(mites(1)), None);
    assert_eq!(mites(1).checked_sub(mites(2)), None);
    assert_eq!(Amount::checked_sum([mites(u64::MAX), mites(0)]), Some(mites(u64::MAX)));
    assert_eq!(Amount::checked_sum([mites(u64::MAX), mites(1)]), None);
    assert_eq!(Amount::from_far(18_446_744_074), None);
}

proptest! {
    #[test]
    fn amounts_round_trip(n in prop_oneof![any::<u64>(), 0u64..3_000_000_000, (0u64..18_000_000_000).prop_map(|far| far * 1_000_000_000)]) {
        let amount = mites(n);
        prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
        prop_assert_eq!(format!("{n} mite").parse::<Amount>(), Ok(amount));
        prop_assert_eq!(serde_json::from_str::<Amount>(&serde_json::to_string(&amount).unwrap()).unwrap(), amount);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<Amount>();
        let _ = text.parse::<AddressPrefix>();
        let _ = Address::decode(&text, &prefix("far"));
    }

    #[test]
    fn addresses_round_trip(key in any::<[u8; 32]>()) {
        let address = Address(PublicKey(key));
        let text = address.encode(&prefix("far"));
        prop_assert!(text.starts_with("far1"));
        prop_assert_eq!(Address::decode(&text, &prefix("far")), Ok(address));
        prop_assert_eq!(Address::decode(&text.to_uppercase(), &prefix("far")), Ok(address));
    }

    #[test]
    fn up_to_four_wrong_characters_are_noticed(wrong in prop::collection::btree_map(4usize..61, 1u8..32, 1..5)) {
        const CHARSET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
        let mut text = address(1).encode(&prefix("far")).into_bytes();
        for (place, by) in wrong {
            let value = CHARSET.iter().position(|character| *character == text[place]).unwrap();
            text[place] = CHARSET[value ^ usize::from(by)];
        }
        prop_assert!(Address::decode(std::str::from_utf8(&text).unwrap(), &prefix("far")).is_err());
    }
}

#[test]
fn an_address_of_another_network_says_so() {
    let text = address(1).encode(&prefix("far"));
    let error = Address::decode(&text, &prefix("fartest")).unwrap_err();
    assert_eq!(error, AddressError::WrongNetwork { expected: "fartest".into(), found: "far".into() });
    assert!(error.to_string().contains("\"far\"") && error.to_string().contains("\"fartest1\""));
}

/// 33 bytes are 52 characters of five bits and four bits of another one, whose last bit says nothing: it must be zero.
#[test]
fn an_address_has_one_text_up_to_case() {
    use bech32::primitives::iter::{ByteIterExt as _, Fe32IterExt as _};
    use bech32::{Bech32m, Fe32, Hrp};
    let hrp = Hrp::parse("far").unwrap();
    let characters: Vec<Fe32> = [[0].as_slice(), &address(1).0.0].concat().into_iter().bytes_to_fes().collect();
    let text =
        |characters: &[Fe32]| characters.iter().copied().with_checksum::<Bech32m>(&hrp).chars().collect::<String>();
    assert_eq!(text(&characters), address(1).encode(&prefix("far")));
    let mut padded = characters.clone();
    *padded.last_mut().unwrap() = Fe32::try_from(characters[52].to_u8() | 1).unwrap();
    let longer = [&characters[..], &[Fe32::Q]].concat();
    for other in [padded, longer] {
        let error = Address::decode(&text(&other), &prefix("far")).unwrap_err();
        assert!(matches!(error, AddressError::Malformed { .. }), "{error}");
    }
}

#[test]
fn texts_that_are_no_addresses_are_refused() {
    use bech32::{Bech32, Bech32m, Hrp};
    let hrp = Hrp::parse("far").unwrap();
    let good = address(1).encode(&prefix("far"));
    let payload = |kind: u8, length: usize| [vec![kind], vec![7; length]].concat();
    let texts = [
        String::new(),
        "far1".into(),
        good[..good.len() - 1].into(),
        format!("{good}q"),
        good.replacen("far1", "Far1", 1),
        bech32::encode::<Bech32>(hrp, &payload(0, 32)).unwrap(),
        bech32::encode::<Bech32m>(hrp, &payload(0, 31)).unwrap(),
        bech32::encode::<Bech32m>(hrp, &payload(0, 33)).unwrap(),
        bech32::encode::<Bech32m>(hrp, &payload(1, 32)).unwrap(),
        bech32::encode::<Bech32m>(hrp, &[]).unwrap(),
    ];
    for text in texts {
        assert!(matches!(Address::decode(&text, &prefix("far")), Err(AddressError::Malformed { .. })), "{text:?}");
    }
    for text in ["", "f", "far1", "FAR", "fä", "averylongprefix", "a-b"] {
        assert!(matches!(text.parse::<AddressPrefix>(), Err(AddressError::Prefix(_))), "{text:?}");
    }
}
