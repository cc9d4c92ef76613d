use super::{DAMAGE_FILE, DAMAGED_DIRECTORY, RepairError, move_damaged_aside, note_damage};
use crate::config::Config;
use crate::init;
use crate::storage::rocks::{OpenOptions, RocksStorage};
use farthing_core::hash::Digest;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// A full node's home with a database in it.
fn home() -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    init::init(&home, None).unwrap();
    let config = Config::load(&home, None).unwrap();
    drop(open(&config));
    (directory, config)
}

fn open(config: &Config) -> RocksStorage {
    let options = OpenOptions { chain: Digest::of_bytes(b"some chain"), validator: None, history: true };
    RocksStorage::open(&config.database(), &options).unwrap()
}

#[test]
fn a_database_is_moved_aside_only_if_it_is_damaged() {
    let (_directory, config) = home();
    assert_eq!(move_damaged_aside(&config).unwrap(), None);
    assert!(config.database().join("CURRENT").exists());

    note_damage(&config, "block 7 is gone").unwrap();
    assert_eq!(move_damaged_aside(&config).unwrap().as_deref(), Some("block 7 is gone"));
    assert!(!config.database().exists() && !config.home.join(DAMAGE_FILE).exists());
    assert!(config.home.join(DAMAGED_DIRECTORY).join("CURRENT").exists());
    assert_eq!(move_damaged_aside(&config).unwrap(), None, "once");
}

#[test]
fn one_damaged_database_is_kept() {
    let (_directory, config) = home();
    for round in ["first", "second"] {
        drop(open(&config));
        fs::write(config.database().join("mark"), round).unwrap();
        note_damage(&config, round).unwrap();
        assert_eq!(move_damaged_aside(&config).unwrap().as_deref(), Some(round));
    }
    assert_eq!(fs::read_to_string(config.home.join(DAMAGED_DIRECTORY).join("mark")).unwrap(), "second");
}

#[test]
fn a_crash_after_the_move_is_no_harm() {
    let (_directory, config) = home();
    note_damage(&config, "bit rot").unwrap();
    fs::rename(config.database(), config.home.join(DAMAGED_DIRECTORY)).unwrap();
    assert_eq!(move_damaged_aside(&config).unwrap().as_deref(), Some("bit rot"));
    assert!(config.home.join(DAMAGED_DIRECTORY).join("CURRENT").exists(), "the damaged one is still kept");
}

/// Tells [`holds_what_the_environment_names`] what to open.
const HOME_VARIABLE: &str = "FARTHING_REPAIR_TEST_HOME";

#[test]
fn a_database_in_use_stays_where_it_is() {
    let (_directory, config) = home();
    note_damage(&config, "bit rot").unwrap();
    // The lock is one between processes.
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["repair::tests::holds_what_the_environment_names", "--exact", "--ignored", "--nocapture"])
        .env(HOME_VARIABLE, &config.home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("it is open")), "the other process has it");
    assert!(matches!(move_damaged_aside(&config), Err(RepairError::InUse(_))));
    assert!(config.database().join("CURRENT").exists());
    drop(other.stdin.take());
    said.for_each(drop);
    other.wait().unwrap();
    assert!(move_damaged_aside(&config).unwrap().is_some());
}

/// The other process of [`a_database_in_use_stays_where_it_is`]: has the database open until its standard input ends.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn holds_what_the_environment_names() {
    let Some(home) = std::env::var_os(HOME_VARIABLE) else { return };
    let _open = open(&Config::load(Path::new(&home), None).unwrap());
    println!("it is open");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
