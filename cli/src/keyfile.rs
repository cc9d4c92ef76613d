//! Key files: one private key each, encrypted under a password.
//!
//! ```json
//! {
//!   "header": {
//!     "format": "farthing key file v1", "kind": "encrypted", "public_key": "<64 hex>",
//!     "argon2id": { "memory_kib": 65536, "passes": 3, "lanes": 4, "salt": "<32 hex>" },
//!     "xchacha20_nonce": "<48 hex>"
//!   },
//!   "ciphertext": "<96 hex>"
//! }
//! ```
//!
//! The encryption key is Argon2id (version 1.3, RFC 9106) of the password; the 32-byte seed is encrypted with
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), and the compact JSON of the header with its fields in this order is the
//! associated data: whoever changes anything in the file makes it undecryptable. The parameters are bounded before anything is
//! computed with them, since a key file may come from a stranger.
//!
//! A `plain` key file holds the seed unencrypted, for throw-away keys of test networks, and says so in `warning`.

use crate::error::{Error, ErrorCode};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use farthing_core::keys::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The most bytes of a key file.
pub const KEY_FILE_BYTES_MAX: u64 = 4_096;

/// What new key files cost to try one password on.
const COST: Cost = Cost { memory_kib: 64 * 1_024, passes: 3, lanes: 4 };

/// The most that a key file may make this machine work.
const COST_MAX: Cost = Cost { memory_kib: 1_024 * 1_024, passes: 16, lanes: 16 };

const FORMAT: &str = "farthing key file v1";
const PLAIN_WARNING: &str = "NOT ENCRYPTED: whoever reads this file can spend; for test networks only";

/// A key file as it stands on disk. It has no `Debug` output, since it may hold a seed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyFile {
    /// Encrypted under a password.
    Encrypted {
        /// Everything but the secret, authenticated with it.
        header: EncryptedHeader,
        /// The encrypted seed and its 16-byte tag.
        ciphertext: String,
    },
    /// Not encrypted.
    Plain {
        /// What the file is and whose key it holds.
        header: PlainHeader,
        /// For whoever looks into the file.
        warning: String,
        /// The seed.
        seed: Zeroizing<String>,
    },
}

/// The part of an encrypted key file that anybody may read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptedHeader {
    format: String,
    kind: EncryptedKind,
    public_key: PublicKey,
    argon2id: Argon2id,
    xchacha20_nonce: String,
}

/// The part of an unencrypted key file that is not the seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainHeader {
    format: String,
    kind: PlainKind,
    public_key: PublicKey,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EncryptedKind {
    Encrypted,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlainKind {
    Plain,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argon2id {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KeyFile {
    /// Encrypts a key under a password with a fresh salt and nonce. Takes about 0.2 s and 64 MiB.
    pub fn encrypt(key: &SecretKey, password: &str) -> Result<KeyFile, Error> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        for bytes in [&mut salt[..], &mut nonce[..]] {
            getrandom::fill(bytes).map_err(|error| Error::local(format!("the system has no randomness: {error}")))?;
        }
        let header = EncryptedHeader {
            format: FORMAT.into(),
            kind: EncryptedKind::Encrypted,
            public_key: key.public_key(),
            argon2id: Argon2id {
                memory_kib: COST.memory_kib,
                passes: COST.passes,
                lanes: COST.lanes,
                salt: hex::encode(salt),
            },
            xchacha20_nonce: hex::encode(nonce),
        };
        let cipher = cipher(password, &salt, COST)?;
        let payload = Payload { msg: &*key.seed(), aad: &associated_data(&header) };
        let ciphertext = cipher.encrypt(&XNonce::from(nonce), payload).expect("32 bytes can be encrypted");
        Ok(KeyFile::Encrypted { header, ciphertext: hex::encode(ciphertext) })
    }

    /// A key file without encryption.
    pub fn plain(key: &SecretKey) -> KeyFile {
        let header = PlainHeader { format: FORMAT.into(), kind: PlainKind::Plain, public_key: key.public_key() };
        KeyFile::Plain { header, warning: PLAIN_WARNING.into(), seed: Zeroizing::new(hex::encode(*key.seed())) }
    }

    /// Parses a key file; `origin` names it in errors.
    pub fn parse(bytes: &[u8], origin: &str) -> Result<KeyFile, Error> {
        let refused = |reason: String| Error::usage(format!("{origin} is not a key file of this wallet: {reason}"));
        let file: KeyFile = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        let (KeyFile::Encrypted { header: EncryptedHeader { format, .. }, .. }
        | KeyFile::Plain { header: PlainHeader { format, .. }, .. }) = &file;
        if format != FORMAT {
            return Err(refused(format!("its format is {format:?}, this version reads {FORMAT:?}")));
        }
        if let KeyFile::Encrypted { header, .. } = &file {
            header.argon2id.cost().check().map_err(refused)?;
        }
        Ok(file)
    }

    /// The file's text.
    pub fn to_json(&self) -> Zeroizing<String> {
        Zeroizing::new(serde_json::to_string_pretty(self).expect("a key file is plain data"))
    }

    /// Whose key it is, if the file says the truth.
    pub fn public_key(&self) -> PublicKey {
        match self {
            KeyFile::Encrypted { header, .. } => header.public_key,
            KeyFile::Plain { header, .. } => header.public_key,
        }
    }

    /// Whether a password is needed.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, KeyFile::Encrypted { .. })
    }

    /// The key. The password is not looked at where there is none.
    pub fn decrypt(&self, password: &str) -> Result<SecretKey, Error> {
        let seed = match self {
            KeyFile::Encrypted { header, ciphertext } => header.decrypt(ciphertext, password)?,
            KeyFile::Plain { seed, .. } => Zeroizing::new(fixed::<32>(seed, "seed")?),
        };
        let key = SecretKey::from_seed(&seed);
        if key.public_key() != self.public_key() {
            return Err(Error::usage(
                "the key in the key file is not the one that its header names: the file is damaged",
            ));
        }
        Ok(key)
    }
}

impl EncryptedHeader {
    fn decrypt(&self, ciphertext: &str, password: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
        let nonce = fixed::<24>(&self.xchacha20_nonce, "nonce")?;
        let salt = fixed::<16>(&self.argon2id.salt, "salt")?;
        let ciphertext = fixed::<48>(ciphertext, "ciphertext")?;
        let payload = Payload { msg: &ciphertext, aad: &associated_data(self) };
        let opened = cipher(password, &salt, self.argon2id.cost())?.decrypt(&XNonce::from(nonce), payload);
        let opened = Zeroizing::new(opened.map_err(|_| {
            Error::new(
                ErrorCode::WrongPassword,
                "wrong password: the key file does not open with it (or somebody changed the file)",
            )
        })?);
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&opened);
        Ok(seed)
    }
}

impl Argon2id {
    fn cost(&self) -> Cost {
        Cost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes }
    }
}

impl Cost {
    fn check(self) -> Result<(), String> {
        let bounded = (1..=COST_MAX.passes).contains(&self.passes)
            && (1..=COST_MAX.lanes).contains(&self.lanes)
            && (8 * self.lanes..=COST_MAX.memory_kib).contains(&self.memory_kib);
        if bounded {
            return Ok(());
        }
        Err(format!(
            "it asks for {} KiB, {} passes and {} lanes of Argon2id, at most {}, {} and {} are allowed",
            self.memory_kib, self.passes, self.lanes, COST_MAX.memory_kib, COST_MAX.passes, COST_MAX.lanes
        ))
    }
}

fn cipher(password: &str, salt: &[u8; 16], cost: Cost) -> Result<XChaCha20Poly1305, Error> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).expect("within the bounds checked");
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut *key)
        .map_err(|error| Error::local(format!("cannot derive the key of the key file: {error}")))?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

fn associated_data(header: &EncryptedHeader) -> Vec<u8> {
    serde_json::to_vec(header).expect("a header is plain data")
}

fn fixed<const N: usize>(text: &str, what: &str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| Error::usage(format!("the {what} in the key file is not {} hexadecimal digits", 2 * N)))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    #[test]
    fn opens_with_its_password_only_and_unchanged_only() {
        let file = KeyFile::encrypt(&key(), "correct horse").unwrap();
        let text = file.to_json();
        assert!(!text.contains(&hex::encode([7; 32])), "the seed stands in the file");
        let read = KeyFile::parse(text.as_bytes(), "k").unwrap();
        assert_eq!(read.decrypt("correct horse").unwrap().public_key(), key().public_key());
        assert_eq!(read.decrypt("correct hors").err().unwrap().code, ErrorCode::WrongPassword);

        let other = SecretKey::from_seed(&[8; 32]).public_key().to_string();
        let renamed = text.replace(&key().public_key().to_string(), &other);
        let changed = KeyFile::parse(renamed.as_bytes(), "k").unwrap();
        assert_eq!(changed.decrypt("correct horse").err().unwrap().code, ErrorCode::WrongPassword);
    }

    #[test]
    fn two_files_of_one_key_share_neither_salt_nor_nonce() {
        let parts = |file: &KeyFile| match file {
            KeyFile::Encrypted { header, .. } => (header.argon2id.salt.clone(), header.xchacha20_nonce.clone()),
            KeyFile::Plain { .. } => unreachable!("encrypted above"),
        };
        let (first, second) = (KeyFile::encrypt(&key(), "p").unwrap(), KeyFile::encrypt(&key(), "p").unwrap());
        assert_ne!(parts(&first).0, parts(&second).0);
        assert_ne!(parts(&first).1, parts(&second).1);
    }

    #[test]
    fn a_plain_file_says_so_and_needs_no_password() {
        let text = KeyFile::plain(&key()).to_json();
        assert!(text.contains("NOT ENCRYPTED") && text.contains("\"plain\""), "{}", *text);
        let read = KeyFile::parse(text.as_bytes(), "k").unwrap();
        assert!(!read.is_encrypted());
        assert_eq!(read.decrypt("").unwrap().public_key(), key().public_key());
        let swapped = text.replace(&hex::encode([7; 32]), &hex::encode([8; 32]));
        assert!(KeyFile::parse(swapped.as_bytes(), "k").unwrap().decrypt("").is_err(), "a seed of another key");
    }

    #[test]
    fn hostile_parameters_are_refused_before_any_work() {
        let header = |memory: u64, passes: u64, lanes: u64| {
            format!(
                r#"{{"header":{{"format":"{FORMAT}","kind":"encrypted","public_key":"{}","argon2id":{{"memory_kib":{memory},
                "passes":{passes},"lanes":{lanes},"salt":"{}"}},"xchacha20_nonce":"{}"}},"ciphertext":"{}"}}"#,
                key().public_key(),
                "00".repeat(16),
                "00".repeat(24),
                "00".repeat(48)
            )
        };
        assert!(KeyFile::parse(header(65_536, 3, 4).as_bytes(), "k").is_ok());
        for (memory, passes, lanes) in [
            (1_048_577, 3, 4),
            (u64::from(u32::MAX), 3, 4),
            (65_536, 17, 4),
            (65_536, 0, 4),
            (65_536, 3, 17),
            (65_536, 3, 0),
            (31, 3, 4),
            (1 << 40, 3, 4),
        ] {
            let refused = KeyFile::parse(header(memory, passes, lanes).as_bytes(), "k");
            assert!(refused.is_err(), "{memory} KiB, {passes} passes, {lanes} lanes");
        }
    }

    #[test]
    fn other_files_are_refused() {
        for text in ["", "{}", "[]", "null", r#"{"header":{},"ciphertext":""}"#] {
            assert_eq!(KeyFile::parse(text.as_bytes(), "k").err().unwrap().code, ErrorCode::Usage, "{text:?}");
        }
        let next = KeyFile::plain(&key()).to_json().replace("file v1", "file v2");
        assert!(KeyFile::parse(next.as_bytes(), "k").err().unwrap().message.contains("v2"));
    }
}
