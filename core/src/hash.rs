//! 32-byte BLAKE3 digests with domain separation.

use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;

/// A BLAKE3 digest. Ordered bytewise; written and parsed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
pub struct Digest(pub [u8; 32]);

/// The digest that identifies a ledger: the hash of its genesis document.
pub type ChainHash = Digest;

impl Digest {
    /// All zero bytes: "nothing", for instance what comes before the first block.
    pub const ZERO: Digest = Digest([0; 32]);

    /// `blake3(domain ‖ part ‖ part ‖ …)`.
    ///
    /// A domain must not be the prefix of another one: ours all end in a version (`"vertex/v1"`), except `"genesis"`.
    /// Parts must have a fixed length or be self-delimiting.
    pub fn of(domain: &str, parts: &[&[u8]]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(domain.as_bytes());
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }

    /// As [`Digest::of`], with the canonical encoding of a value as the last part.
    pub fn of_encoding<T: BorshSerialize>(domain: &str, parts: &[&[u8]], value: &T) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(domain.as_bytes());
        for part in parts {
            hasher.update(part);
        }
        value.serialize(&mut hasher).expect("hashing cannot fail");
        hasher.finish()
    }

    /// Plain `blake3(bytes)`, for content that only ever stands in one place.
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Collects what is hashed: nearly always so little that it is hashed in one go, which is quicker than piece by piece.
struct Hasher {
    buffer: [u8; 512],
    length: usize,
    /// What did not fit went in here.
    streaming: Option<Box<blake3::Hasher>>,
}

impl Hasher {
    fn new() -> Hasher {
        Hasher { buffer: [0; 512], length: 0, streaming: None }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        } else {
            let streaming = self.streaming.get_or_insert_default();
            streaming.update(&self.buffer[..self.length]).update(bytes);
            self.length = 0;
        }
    }

    fn finish(mut self) -> Digest {
        let rest = &self.buffer[..self.length];
        let hash = match &mut self.streaming {
            None => blake3::hash(rest),
            Some(streaming) => streaming.update(rest).finalize(),
        };
        Digest(*hash.as_bytes())
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..6])
    }
}

impl std::str::FromStr for Digest {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Digest, HexError> {
        parse_hex(text).map(Digest)
    }
}

/// A text that is not the hexadecimal form of a fixed number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, got {text:?}")]
pub struct HexError {
    expected: usize,
    text: String,
}

/// Writes up to 64 bytes as hexadecimal digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut digits = [0; 128];
    let digits = &mut digits[..2 * bytes.len()];
    hex::encode_to_slice(bytes, digits).expect("two digits a byte");
    f.write_str(std::str::from_utf8(digits).expect("digits are ASCII"))
}

/// Parses exactly `2 * N` hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| HexError { expected: 2 * N, text: text.chars().take(2 * N + 8).collect() })?;
    Ok(bytes)
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

serde_as_text!(Digest);
