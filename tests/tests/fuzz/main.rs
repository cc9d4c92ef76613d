//! Hostile bytes for every decoder that can be reached from outside of its crate. The others are beside their decoders:
//! frames and HTTP in `node/src/{network,api}/tests/fuzz.rs`, the wallet's files in `cli/src/fuzz_tests.rs`.
//!
//! How it works, and how to run it longer: the documentation of `tests/fuzz/src/lib.rs`.

mod answers;
mod files;
mod fixtures;
mod ledger;
mod payments;
mod proofs;
mod texts;
mod vertices;

use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::codec;
use farthing_fuzz::allocation::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes a canonical encoding of at most `max` bytes: what is accepted is encoded to the same bytes again.
fn canonical<T: BorshSerialize + BorshDeserialize>(input: &[u8], max: usize) -> Result<T, String> {
    let value: T = codec::decode(input, max).map_err(|error| error.to_string())?;
    assert_eq!(codec::encode(&value), input, "the value has another encoding");
    Ok(value)
}

/// Decodes JSON: what is accepted is written and read again as the same value.
fn json<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
    input: &[u8],
) -> Result<T, String> {
    let value: T = serde_json::from_slice(input).map_err(|error| error.to_string())?;
    let written = serde_json::to_vec(&value).expect("it is plain data");
    let read: T = serde_json::from_slice(&written).expect("what is written can be read");
    assert_eq!(read, value, "the value changes when it is written and read");
    Ok(value)
}

#[test]
fn allocations_are_counted() {
    let (_, bytes) = farthing_fuzz::allocation::peak_of(|| drop(vec![1u8; 1 << 20]));
    assert!((1 << 20..1 << 21).contains(&bytes), "{bytes}");
}
