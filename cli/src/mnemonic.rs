//! Recovery words and the key they stand for.
//!
//! 24 words are 256 bits of entropy (BIP-39, English list, no passphrase); PBKDF2 turns them into a 64-byte seed; SLIP-0010
//! for ed25519 derives the key at the hardened path `m/44'/4604242'/0'/0'/0'`. 4604242 is 0x464152, "FAR" in ASCII: a coin type
//! that nobody has registered in SLIP-0044 at the time of writing, and that will stay ours if somebody does.

use crate::error::Error;
use bip39::{Language, Mnemonic};
use farthing_core::keys::SecretKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::Zeroizing;

/// How many words a new key has, and an imported one must have.
pub const WORDS: usize = 24;

/// The coin type in the path.
const COIN: u32 = 0x46_41_52;

/// The path of the one key that a list of words stands for; every step is hardened.
const PATH: [u32; 5] = [44, COIN, 0, 0, 0];

/// Draws new words from the operating system's entropy.
pub fn generate() -> Result<Zeroizing<String>, Error> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *entropy).map_err(|error| Error::local(format!("the system has no randomness: {error}")))?;
    let mnemonic = Zeroizing::new(Mnemonic::from_entropy(&*entropy).expect("32 bytes make 24 words"));
    Ok(Zeroizing::new(mnemonic.words().collect::<Vec<_>>().join(" ")))
}

/// The key of 24 words, in any case and with any white space between them.
pub fn key(words: &str) -> Result<SecretKey, Error> {
    let lower = Zeroizing::new(words.to_lowercase());
    let count = lower.split_whitespace().count();
    if count != WORDS {
        return Err(Error::usage(format!("{count} words given: the recovery words are {WORDS}")));
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
        // The word itself is a secret that must not get into a log.
        bip39::Error::UnknownWord(index) => {
            Error::usage(format!("word {} is not on the BIP-39 English list: check its spelling", index + 1))
        }
        _ => Error::usage("the checksum of the words is wrong: check that all are right and in order"),
    })?;
    let mnemonic = Zeroizing::new(mnemonic);
    let seed = Zeroizing::new(mnemonic.to_seed_normalized(""));
    Ok(SecretKey::from_seed(&derive(&*seed, &PATH)))
}

/// The private key at a path of hardened steps (SLIP-0010, curve "ed25519 seed").
fn derive(seed: &[u8], path: &[u32]) -> Zeroizing<[u8; 32]> {
    let (mut key, mut chain_code) = split(&hmac(b"ed25519 seed", &[seed]));
    for step in path {
        let hardened = 0x8000_0000 | step;
        (key, chain_code) = split(&hmac(&*chain_code, &[&[0], &*key, &hardened.to_be_bytes()]));
    }
    key
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// The left half is the key, the right half the chain code.
fn split(bytes: &[u8; 64]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let (mut left, mut right) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    left.copy_from_slice(&bytes[..32]);
    right.copy_from_slice(&bytes[32..]);
    (left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, private key and public key (without its leading zero byte), of "Test vector 1 for ed25519" in SLIP-0010.
    const VECTOR_1: [(&[u32], &str, &str); 6] = [
        (
            &[],
            "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
            "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
        ),
        (
            &[0],
            "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
            "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
        ),
        (
            &[0, 1],
            "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
            "1932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187",
        ),
        (
            &[0, 1, 2],
            "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9",
            "ae98736566d30ed0e9d2f4486a64bc95740d89c7db33f52121f8ea8f76ff0fc1",
        ),
        (
            &[0, 1, 2, 2],
            "30d1dc7e5fc04c31219ab25a27ae00b50f6fd66622f6e9c913253d6511d1e662",
            "8abae2d66361c879b900d204ad2cc4984fa2aa344dd7ddc46007329ac76c429c",
        ),
        (
            &[0, 1, 2, 2, 1_000_000_000],
            "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
            "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
        ),
    ];

    #[test]
    fn derivation_follows_slip_0010() {
        let seed = hex::decode("000102030405060708090a0b0c0d0e0f").unwrap();
        for (path, private, public) in VECTOR_1 {
            let key = derive(&seed, path);
            assert_eq!(hex::encode(*key), private, "path {path:?}");
            assert_eq!(SecretKey::from_seed(&key).public_key().to_string(), public, "path {path:?}");
        }
    }

    #[test]
    fn words_follow_bip_39() {
        // The all-zero entropy of BIP-39's test vectors; with an empty passphrase the seed is this one.
        let words = format!("{}art", "abandon ".repeat(23));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words).unwrap();
        assert_eq!(
            hex::encode(mnemonic.to_seed_normalized("")),
            "408b285c123836004f4b8842c89324c1f01382450c0d439af345ba7fc49acf705489c6fc77dbd4e3dc1dd8cc6bc9f043db8ada1e243c4a0eafb290d399480840"
        );
    }

    #[test]
    fn a_key_never_moves_to_another_path() {
        let words = format!("{}art", "abandon ".repeat(23));
        let expected = derive(
            &Mnemonic::parse_in_normalized(Language::English, &words).unwrap().to_seed_normalized(""),
            &[44, 4_604_242, 0, 0, 0],
        );
        assert_eq!(*key(&words).unwrap().seed(), *expected);
        assert_eq!(
            *key(&words.to_uppercase().replace(' ', "\n ")).unwrap().seed(),
            *expected,
            "case and white space do not matter"
        );
    }

    #[test]
    fn new_words_are_24_different_ones_and_make_a_key() {
        let (first, second) = (generate().unwrap(), generate().unwrap());
        assert_ne!(first, second);
        assert_eq!(first.split_whitespace().count(), WORDS);
        assert_ne!(key(&first).unwrap().public_key(), key(&second).unwrap().public_key());
    }

    #[test]
    fn wrong_words_are_refused_without_repeating_them() {
        let few = key("abandon abandon").err().unwrap();
        assert!(few.message.contains("2 words given"), "{few}");
        let unknown = key(&format!("{}sekret", "abandon ".repeat(23))).err().unwrap();
        assert!(unknown.message.contains("word 24") && !unknown.message.contains("sekret"), "{unknown}");
        let checksum = key(&"abandon ".repeat(24)).err().unwrap();
        assert!(checksum.message.contains("checksum"), "{checksum}");
    }
}
