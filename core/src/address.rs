//! Account addresses and their text form.

use crate::keys::PublicKey;
use bech32::{Bech32m, Hrp};
use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;
use std::str::FromStr;

/// The address of an account: the ed25519 public key that owns it.
///
/// People see it as bech32m (BIP-350) over a type byte (0 today) and the 32 bytes, under the network's [`AddressPrefix`]; any four
/// wrong characters, or another network's address, are noticed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Address(pub PublicKey);

/// The only type of address there is: a plain ed25519 public key.
const TYPE_PUBLIC_KEY: u8 = 0;

/// The human-readable prefix of a network's addresses: 2 to 12 lower-case letters or digits, not ending in "1".
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct AddressPrefix(Hrp);

/// A text that is not an address of this network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not bech32m, or a checksum that fails.
    #[error("{text:?} is not an address: {reason}; check it for typing mistakes")]
    Malformed {
        /// What was given, cut to 100 characters.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A good address, but of another network.
    #[error("the address is of the network \"{found}\", this network's addresses start with \"{expected}1\"")]
    WrongNetwork {
        /// The prefix of this network.
        expected: String,
        /// The prefix of the address.
        found: String,
    },
    /// A prefix that no network may have.
    #[error("{0:?} is not an address prefix: use 2 to 12 lower-case letters or digits, the last one not \"1\"")]
    Prefix(String),
}

impl Address {
    /// The text form on the network with this prefix.
    pub fn encode(&self, prefix: &AddressPrefix) -> String {
        let mut payload = [TYPE_PUBLIC_KEY; 33];
        payload[1..].copy_from_slice(&self.0.0);
        bech32::encode::<Bech32m>(prefix.0, &payload).expect("33 bytes and a short prefix fit bech32m")
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`AddressError::WrongNetwork`] for a good address under another prefix, else [`AddressError::Malformed`].
    pub fn decode(text: &str, prefix: &AddressPrefix) -> Result<Address, AddressError> {
        let malformed = |reason: String| AddressError::Malformed { text: text.chars().take(100).collect(), reason };
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text.trim())
            .map_err(|error| malformed(error.to_string()))?;
        if checked.hrp() != prefix.0 {
            return Err(AddressError::WrongNetwork {
                expected: prefix.to_string(),
                found: checked.hrp().to_lowercase(),
            });
        }
        // The bits that fill up the last character: other ones would make a second text for the same address.
        checked.validate_segwit_padding().map_err(|error| malformed(error.to_string()))?;
        let payload: Vec<u8> = checked.byte_iter().take(34).collect();
        match payload.split_first() {
            Some((&TYPE_PUBLIC_KEY, key)) if key.len() == 32 => {
                Ok(Address(PublicKey(key.try_into().expect("32 bytes"))))
            }
            Some((&TYPE_PUBLIC_KEY, _)) => Err(malformed("it has the wrong length".into())),
            Some((kind, _)) => Err(malformed(format!("addresses of type {kind} are not known to this version"))),
            None => Err(malformed("it is empty".into())),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AddressPrefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AddressPrefix {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<AddressPrefix, AddressError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !plain || !(2..=12).contains(&text.len()) || text.ends_with('1') {
            return Err(AddressError::Prefix(text.chars().take(40).collect()));
        }
        Hrp::parse(text).map(AddressPrefix).map_err(|_| AddressError::Prefix(text.into()))
    }
}

crate::hash::serde_as_text!(AddressPrefix);
