//! Payment requests and payment links as texts, and events as they stand in a stream.

use farthing_client::{Event, PaymentLink, PaymentLinkError, PaymentRequest, PaymentRequestError, parse_event};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;

fn prefix() -> AddressPrefix {
    "farl".parse().unwrap()
}

fn address() -> Address {
    Address(SecretKey::from_seed(&[8; 32]).public_key())
}

#[test]
fn a_request_survives_its_text() {
    let full = PaymentRequest {
        to: address(),
        amount: Some(Amount::from_mites(2_500_000)),
        reference: Some(Digest([0xab; 32])),
        label: Some("Café & Söhne = 100%".into()),
        message: Some("two coffees\n?#+".into()),
        expires_at_ms: Some(1_800_000_000_000),
    };
    for request in [full.clone(), PaymentRequest::new(address()), PaymentRequest { amount: None, ..full }] {
        let text = request.to_uri(&prefix());
        assert!(text.is_ascii() && !text.contains(' '), "{text}");
        assert_eq!(PaymentRequest::parse(&text, &prefix()), Ok(request), "{text}");
    }
    let text = address().encode(&prefix());
    let request = PaymentRequest::parse(&format!("FARTHING:{text}?amount=25%20mite&later=1&&"), &prefix()).unwrap();
    assert_eq!(request.amount, Some(Amount::from_mites(25)), "what is not known is passed over");
}

#[test]
fn requests_that_mean_nothing_are_refused() {
    let address = address().encode(&prefix());
    for (text, mentions) in [
        (address.clone(), "begins with"),
        (format!("bitcoin:{address}"), "begins with"),
        ("farthing:farl1qqq".into(), "not an address"),
        (format!("farthing:{}", self::address().encode(&"fart".parse().unwrap())), "network"),
        (format!("farthing:{address}?amount=5"), "amount"),
        (format!("farthing:{address}?amount=0FAR"), "1 mite"),
        (format!("farthing:{address}?amount=1FAR&amount=2FAR"), "two of"),
        (format!("farthing:{address}?reference=ab"), "reference"),
        (format!("farthing:{address}?label=%4"), "label"),
        (format!("farthing:{address}?label=%ff"), "UTF-8"),
        (format!("farthing:{address}?label={}", "x".repeat(257)), "256 characters"),
        (format!("farthing:{address}?expires=-1"), "expires"),
        (format!("farthing:{address}?expires="), "expires"),
        (format!("farthing:{address}?req-escrow=1"), "req-escrow"),
        (format!("farthing:{address}?message={}", "x".repeat(2_000)), "at most"),
    ] {
        let error = PaymentRequest::parse(&text, &prefix()).expect_err(&text);
        assert!(error.to_string().contains(mentions), "{error}: {text}");
    }
    assert_eq!(PaymentRequest::parse("", &prefix()), Err(PaymentRequestError::Scheme));
}

#[test]
fn a_link_survives_its_text_and_notices_mistakes() {
    let link = PaymentLink { key: SecretKey::from_seed(&[9; 32]), amount: Amount::from_mites(50_000_000) };
    let text = link.to_text(&prefix());
    let read = PaymentLink::parse(&format!(" {text}\n"), &prefix()).unwrap();
    assert_eq!((read.address(), read.amount), (link.address(), link.amount));
    assert!(!format!("{link:?}").contains(&hex::encode([9; 32])), "the key is shown to nobody");
    let parse = |text: &str| PaymentLink::parse(text, &prefix()).unwrap_err();
    for place in 14..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[place] = if wrong[place] == b'1' { b'2' } else { b'1' };
        parse(std::str::from_utf8(&wrong).unwrap());
        parse(&text[..place]);
    }
    assert_eq!(parse("farl1qqq"), PaymentLinkError::Malformed);
    let other = PaymentLink::parse(&text, &"fart".parse().unwrap()).unwrap_err();
    assert!(matches!(other, PaymentLinkError::WrongNetwork { .. }));
}

#[test]
fn events_are_read_as_they_stand_in_a_stream() {
    let block = "id: 7\nevent: block\ndata: {\"height\":7,\"hash\":\"";
    let block = format!(
        "{block}{}\",\"commit_index\":9,\"timestamp_ms\":1,\"transaction_count\":0,\"state_root\":null}}\n\n",
        "00".repeat(32)
    );
    assert!(matches!(parse_event(&block), Ok(Some(Event::Block(block))) if block.height == 7));
    let position = parse_event("event:position\ndata:{\"height\":3}\n\n").unwrap();
    assert!(matches!(position, Some(Event::Position(position)) if position.height == 3));
    assert_eq!(parse_event("event: later\ndata: 1\n\n"), Ok(None), "kinds of a later version are passed over");
    assert!(parse_event("event: block\ndata: {}\n\n").is_err());
}
