//! Canonical, bounded borsh.
//!
//! Every value has exactly one encoding: `encode(decode(x)) == x`. Borsh gives this as long as a type holds no maps, sets or
//! floats, and no trailing bytes are accepted. Bounds come twice: on the bytes before decoding ([`decode`]), and on each count
//! inside ([`bounded_vec`]).

use borsh::{BorshDeserialize, BorshSerialize};
use std::io::{Error, ErrorKind, Read};

/// Bytes that are not the encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the type may take.
    #[error("{actual} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not an encoding: truncated, trailing bytes, an unknown tag or a count out of bounds.
    #[error("malformed encoding: {0}")]
    Malformed(String),
}

/// The canonical encoding of `value`.
pub fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(borsh::object_length(value).expect("counting bytes cannot fail"));
    value.serialize(&mut bytes).expect("encoding into memory cannot fail");
    bytes
}

/// Decodes all of `bytes`, which must not be longer than `max` bytes.
///
/// # Errors
/// [`CodecError`] for anything but the canonical encoding of a `T`.
pub fn decode<T: BorshDeserialize>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong { actual: bytes.len(), max });
    }
    borsh::from_slice(bytes).map_err(|error| CodecError::Malformed(error.to_string()))
}

/// Reads a vector of `min..=max` items, refusing the count before anything is allocated for it.
///
/// For `#[borsh(deserialize_with = "…")]` on fields.
///
/// # Errors
/// An [`std::io::Error`], as borsh wants it, when the count is out of bounds or an item is malformed.
pub fn bounded_vec<T: BorshDeserialize, R: Read>(reader: &mut R, min: usize, max: usize) -> std::io::Result<Vec<T>> {
    let count = u32::deserialize_reader(reader)? as usize;
    if count < min || count > max {
        return Err(malformed(format!("a count of {count}, expected {min} to {max}")));
    }
    // Items are encoded in at least one byte, but may be large in memory: grow as they really arrive.
    let mut items = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        items.push(T::deserialize_reader(reader)?);
    }
    Ok(items)
}

/// The error for a value that breaks a rule while it is decoded.
pub fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, message.into())
}

/// For `#[serde(with = "codec::hex")]`: a value as the hexadecimal digits of its encoding, at most as long as a signed
/// transaction, the longest of the values that are shown so.
pub(crate) mod hex {
    use super::{BorshDeserialize, BorshSerialize};
    use crate::transaction::SIGNED_TRANSACTION_BYTES_MAX;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use std::borrow::Cow;

    pub(crate) fn serialize<T: BorshSerialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&::hex::encode(super::encode(value)))
    }

    pub(crate) fn deserialize<'de, T: BorshDeserialize, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = <Cow<'de, str> as Deserialize>::deserialize(deserializer)?;
        let bytes = ::hex::decode(&*text).map_err(D::Error::custom)?;
        super::decode(&bytes, SIGNED_TRANSACTION_BYTES_MAX).map_err(D::Error::custom)
    }
}
