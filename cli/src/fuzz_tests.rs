//! Hostile bytes in the wallet's files, and words mistyped: see `tests/fuzz/src/lib.rs`.

use crate::files::Home;
use crate::journal::{Journal, Signatory};
use crate::keyfile::KeyFile;
use crate::mnemonic;
use crate::profile::Config;
use farthing_client::transfer;
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Authority, Output};
use farthing_fuzz::Target;
use std::fs;

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "\"",
    ",",
    ":",
    "null",
    "-1",
    "1e99",
    "4294967296",
    "\\u0000",
    "\"kind\":\"plain\"",
    "\"seed\":\"",
    "ff",
    "8",
];

const TOML: &[&str] = &[
    "[",
    "]",
    "[[",
    "=",
    "\"",
    "\n",
    "#",
    "[profiles.x]\n",
    "api = ",
    "chain = ",
    "current = ",
    "'''",
    "1979-05-27",
    "{",
    "}",
];

const CHAIN: Digest = Digest([3; 32]);

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn signatory() -> Signatory {
    Signatory { account: Address(key().public_key()), authority: Authority::Root }
}

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir_in(farthing_fuzz::scratch()).expect("a temporary directory");
    let home = Home::locate(Some(folder.path().join("wallet"))).expect("given");
    (folder, home)
}

#[test]
fn key_files() {
    let encrypted = KeyFile::encrypt(&key(), "password").expect("entropy").to_json();
    // As cheap to try as a key file may be; nothing opens it, since its parameters are authenticated.
    let cheap = encrypted.replace("65536", "8").replace("\"passes\": 3", "\"passes\": 1");
    let cheap = cheap.replace("\"lanes\": 4", "\"lanes\": 1");
    let seeds = vec![KeyFile::plain(&key()).to_json().to_string(), encrypted.to_string(), cheap];
    Target::text("wallet-key-file", seeds, JSON, |input| {
        let file = KeyFile::parse(input, "the file").map_err(|error| error.message)?;
        let again = KeyFile::parse(file.to_json().as_bytes(), "the file written again");
        assert_eq!(again.map(|again| again.to_json()).ok(), Some(file.to_json()));
        let value: serde_json::Value = serde_json::from_slice(input).expect("it was parsed");
        let cost = |name: &str| value["header"]["argon2id"][name].as_u64();
        if !file.is_encrypted() || (cost("memory_kib") <= Some(256) && cost("passes") <= Some(4)) {
            match file.decrypt("password") {
                Ok(key) => assert_eq!(key.public_key(), file.public_key()),
                Err(error) => assert!(!error.message.contains("0707"), "the message tells the secret: {error}"),
            }
        }
        Ok(())
    })
    .check();
}

#[test]
fn entries_of_the_journal() {
    let (_folder, home) = home();
    let journal = Journal::open(&home, &CHAIN, &signatory()).expect("a folder");
    let output = Output { to: Address(key().public_key()), amount: Amount::from_mites(1), reference: None, open: true };
    let outputs = [vec![output.clone()], vec![Output { reference: Some([1; 32]), ..output }; 3]];
    let path = home.journals(&CHAIN).join(key().public_key().to_string()).join("1.json");
    let mut seeds = Vec::new();
    for outputs in outputs {
        let signed = transfer(&CHAIN, &key(), 1, 99, outputs).expect("a good transfer");
        let recorded = journal.lock().and_then(|lock| lock.record(signed, 5)).expect("written");
        seeds.push(fs::read_to_string(&path).expect("read"));
        recorded.settle().expect("removed");
    }
    Target::text("wallet-journal", seeds, JSON, |input| {
        fs::write(&path, input).expect("written");
        let claimed = journal.claim(1).map_err(|error| error.message)?.expect("nobody else has it");
        let signed = &claimed.entry.signed;
        assert_eq!((signed.transaction.nonce, signed.transaction.id(&CHAIN)), (1, claimed.entry.id));
        assert!(String::from_utf8_lossy(input).to_lowercase().contains(&hex::encode(signed.encode())), "other bytes");
        Ok(())
    })
    .check();
}

#[test]
fn the_highest_number_given_out() {
    let (_folder, home) = home();
    let journal = Journal::open(&home, &CHAIN, &signatory()).expect("a folder");
    let path = home.journals(&CHAIN).join(key().public_key().to_string()).join("high_water");
    let seeds = vec!["1".into(), "340\n".into(), "18446744073709551614".into()];
    Target::text("wallet-high-water", seeds, &["0", "9", "-", "+", " ", "\n", "e9", "00000"], |input| {
        fs::write(&path, input).expect("written");
        let next = journal.lock().and_then(|lock| lock.next_nonce(5)).map_err(|error| error.message)?;
        let text = std::str::from_utf8(input).expect("a number is text");
        let given_out: u64 = text.trim().parse().expect("a number");
        assert!(next > given_out && next > 5, "number {next} is given out again after {given_out}");
        Ok(())
    })
    .check();
}

#[test]
fn profiles() {
    let (_folder, home) = home();
    crate::files::create_dir(home.config().parent().expect("a folder")).expect("created");
    let full = format!(
        "current = \"local\"\n[profiles.local]\napi = [\"http://127.0.0.1:8080\", \"https://[::1]/x\"]\nchain = \"{CHAIN}\"\n\
         from = \"dev-1\"\n[profiles.\"other one\"]\napi = []\nchain = \"{CHAIN}\"\n"
    );
    Target::text("wallet-profiles", vec![String::new(), full], TOML, |input| {
        fs::write(home.config(), input).expect("written");
        let config = Config::load(&home).map_err(|error| error.message)?;
        for (name, profile) in &config.profiles {
            // Both look into what stands in the file.
            profile.is_local();
            assert_eq!(config.select(Some(name)).map(|(_, found)| found).ok().as_ref(), Some(profile));
        }
        let written = toml::to_string_pretty(&config).expect("profiles are plain data");
        let read: Config = toml::from_str(&written).expect("what is written can be read");
        assert_eq!((read.current, read.profiles), (config.current, config.profiles));
        Ok(())
    })
    .allocating(256 << 10, 256)
    .check();
}

#[test]
fn recovery_words() {
    let zoo = format!("{}vote", "zoo ".repeat(23));
    let abandon = format!("{}art", "abandon ".repeat(23));
    let mixed = "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel \
                 tennis maple dilemma loan word shrug inflict delay length";
    let seeds = vec![zoo, abandon, mixed.into()];
    Target::text(
        "wallet-words",
        seeds,
        &["zoo ", "abandon ", "art", " ", "\n", "ZOO", "ﬀ", "\u{3000}", "1"],
        |input| {
            let words = std::str::from_utf8(input).map_err(|error| error.to_string())?;
            let key = mnemonic::key(words).map_err(|error| error.message)?;
            let again = mnemonic::key(&words.split_whitespace().collect::<Vec<_>>().join("  ").to_uppercase());
            assert_eq!(again.map(|again| again.public_key()).ok(), Some(key.public_key()));
            Ok(())
        },
    )
    .check();
}
