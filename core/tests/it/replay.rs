//! The nonce window against a set of all nonces ever used.

use farthing_core::block::DropReason;
use farthing_core::replay::{NONCE_AHEAD_MAX, NonceWindow};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The rule, read word by word.
fn expect(used: &BTreeSet<u64>, nonce: u64) -> Result<(), DropReason> {
    let high = u128::from(used.last().copied().unwrap_or(0));
    let wide = u128::from(nonce);
    if wide == 0 || wide > high + u128::from(NONCE_AHEAD_MAX) {
        Err(DropReason::NonceTooHigh)
    } else if used.contains(&nonce) || wide + 128 <= high {
        Err(DropReason::NonceUsed)
    } else {
        Ok(())
    }
}

/// Distances from the highest nonce used at which something happens.
fn distance() -> impl Strategy<Value = i64> {
    let ahead = NONCE_AHEAD_MAX as i64;
    prop_oneof![
        4 => -3..=3i64,
        3 => -140..=140i64,
        1 => -130..=-126i64,
        1 => 126..=130i64,
        1 => ahead - 1..=ahead + 1,
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
    ]
}

proptest! {
    #[test]
    fn the_window_is_the_set(start in prop_oneof![Just(0u64), Just(u64::MAX - 300)], distances in prop::collection::vec(distance(), 1..300)) {
        let mut used = BTreeSet::new();
        let mut window = NonceWindow::default();
        if start > 0 {
            // A window near the end of the numbers, as it is read from disk.
            let bytes = [start.to_le_bytes().as_slice(), 1u128.to_le_bytes().as_slice()].concat();
            window = farthing_core::codec::decode(&bytes, 24).unwrap();
            used.insert(start);
        }
        for distance in distances {
            let nonce = window.high().saturating_add_signed(distance);
            prop_assert_eq!(window.check(nonce), expect(&used, nonce), "{} in {:?}", nonce, window);
            if window.check(nonce).is_ok() {
                window.consume(nonce);
                used.insert(nonce);
            }
            prop_assert_eq!(window.high(), used.last().copied().unwrap_or(0));
            prop_assert!(window.next() == u64::MAX || window.check(window.next()).is_ok());
        }
        for nonce in window.high().saturating_sub(200)..=window.high().saturating_add(3) {
            prop_assert_eq!(window.check(nonce), expect(&used, nonce));
        }
    }
}

#[test]
fn the_next_nonce_of_a_new_window_is_one() {
    assert_eq!(NonceWindow::default().next(), 1);
}

#[test]
fn json_keeps_every_bit() {
    let mut window = NonceWindow::default();
    for nonce in [1, 2, 100, 128] {
        window.consume(nonce);
    }
    let json = serde_json::to_string(&window).unwrap();
    assert_eq!(json, r#"{"high":128,"seen":"c0000000000000000000000010000001"}"#);
    assert_eq!(serde_json::from_str::<NonceWindow>(&json).unwrap(), window);
}
