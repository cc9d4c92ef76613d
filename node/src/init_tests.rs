use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn mode(path: &Path) -> u32 {
    path.metadata().expect("exists").permissions().mode() & 0o777
}

#[test]
fn a_validators_home_holds_what_was_printed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let home = directory.path().join("deep/home");
    let made = init(&home, Some("validator-1")).expect("made");
    assert_eq!(mode(&home), 0o700);
    for file in [VALIDATOR_KEY_FILE, NETWORK_KEY_FILE, CONFIG_FILE, NOTHING_SIGNED_FILE] {
        assert_eq!(mode(&home.join(file)), 0o600, "{file}");
    }
    let key = keys_file::load(&home.join(VALIDATOR_KEY_FILE)).expect("a key").public_key();
    assert_eq!(made.public_key, Some(key));
    assert_eq!(made.network_key, keys_file::load(&home.join(NETWORK_KEY_FILE)).expect("a key").public_key());
    assert_ne!(key, made.network_key);
    assert_eq!(made.peer_id.parse::<PeerId>().ok(), peer_id(&made.network_key));

    assert!(states_nothing_signed(&home, &key).expect("readable"));
    assert!(!states_nothing_signed(&home, &made.network_key).expect("readable"), "the statement is of one key alone");
    remove_nothing_signed(&home).expect("removed");
    assert!(!states_nothing_signed(&home, &key).expect("readable"));
    remove_nothing_signed(&home).expect("nothing to remove is fine");
}

#[test]
fn a_full_nodes_home_has_no_validator_key() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let made = init(directory.path(), None).expect("made");
    assert!(made.name.is_none() && made.public_key.is_none());
    assert!(!directory.path().join(VALIDATOR_KEY_FILE).exists());
    assert!(!directory.path().join(NOTHING_SIGNED_FILE).exists());
}

#[test]
fn nothing_is_ever_overwritten() {
    for file in [VALIDATOR_KEY_FILE, NETWORK_KEY_FILE, CONFIG_FILE, NOTHING_SIGNED_FILE] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join(file), "precious").expect("written");
        let error = init(directory.path(), Some("a")).expect_err(file);
        assert!(matches!(&error, InitError::Exists(path) if path.ends_with(file)), "{error}");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1, "nothing else was made");
    }
}

#[test]
fn names_that_no_genesis_document_takes_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["", "línea", "a\nb", &"x".repeat(65)] {
        assert!(matches!(init(directory.path(), Some(name)), Err(InitError::Name)), "{name:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
}

#[test]
fn key_files_are_read_strictly() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("a.key");
    let digits = "ab".repeat(32);
    let table = [
        (digits.clone(), 0o600, None),
        (format!("\n{digits}\r\n"), 0o400, None),
        (digits.clone(), 0o640, Some("run `chmod 600")),
        (digits.clone(), 0o604, Some("run `chmod 600")),
        (digits[..63].into(), 0o600, Some("must hold 64 hexadecimal digits")),
        (format!("{digits}00"), 0o600, Some("must hold 64 hexadecimal digits")),
        (format!("0x{}", &digits[2..]), 0o600, Some("must hold 64 hexadecimal digits")),
        (format!("{digits}{}", " ".repeat(1_000)), 0o600, Some("must hold 64 hexadecimal digits")),
        (String::new(), 0o600, Some("must hold 64 hexadecimal digits")),
    ];
    for (text, mode, expected) in table {
        let _ = fs::remove_file(&path);
        fs::write(&path, &text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        match (keys_file::load(&path), expected) {
            (Ok(key), None) => assert_eq!(key.seed().as_slice(), [0xab; 32]),
            (Err(error), Some(expected)) => {
                let message = error.to_string();
                assert!(message.contains(expected), "{message}");
                assert!(!message.contains("abab"), "a message never shows what may be a secret: {message}");
            }
            (result, _) => panic!("{text:?} mode {mode:o} gives {:?}", result.map(|_| ())),
        }
    }
    let key = SecretKey::from_seed(&[7; 32]);
    assert!(keys_file::create(&path, &key).is_err(), "an existing key is not overwritten");
}
