//! Whose database it is, and who may open it.

use crate::fixtures::*;
use farthing_core::keys::PublicKey;
use farthing_node::storage::rocks::{FORMAT_VERSION, OpenOptions, RocksStorage};
use farthing_node::storage::{Batch, Storage, StorageError};
use rocksdb::Options;
use std::path::Path;
use std::process::Command;

/// Tells [`opens_what_the_environment_names`] what to open.
const DIRECTORY_VARIABLE: &str = "FARTHING_STORAGE_TEST_DIRECTORY";

/// Why opening fails.
fn refusal(path: &Path, options: &OpenOptions) -> StorageError {
    match RocksStorage::open(path, options) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[track_caller]
fn assert_foreign(refusal: &StorageError, says: &str) {
    assert!(matches!(refusal, StorageError::Foreign(_)), "{refusal:?}");
    assert!(refusal.to_string().contains(says), "{refusal}");
}

#[test]
fn a_database_is_made_where_there_is_none_and_found_again() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("some").join("where");
    let mut network = Network::new(4);
    for _ in 0..3 {
        let storage = open(&path);
        assert_eq!(storage.newest_commit().unwrap(), network.index);
        assert_eq!(storage.newest_block().unwrap(), network.height);
        assert_eq!(storage.vertices(0, u64::MAX, 99).unwrap().len() as u64, 4 * network.index);
        storage.apply(&network.idle(), false).unwrap();
        storage.apply(&network.busy(1), true).unwrap();
    }
}

#[test]
fn only_one_may_have_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let refused = refusal(directory.path(), &options());
    assert!(matches!(refused, StorageError::Locked(_)), "{refused:?}");

    let run_other = || {
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.args(["rocks::opens_what_the_environment_names", "--exact", "--ignored", "--nocapture"]);
        let output = other.env(DIRECTORY_VARIABLE, directory.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run_other();
    assert!(said.contains("is in use by another process: stop it"), "{said}");
    drop(storage);
    let said = run_other();
    assert!(said.contains("it opened"), "{said}");
}

/// The other process of [`only_one_may_have_it_open`].
#[test]
#[ignore = "run by another test, in a process of its own"]
fn opens_what_the_environment_names() {
    let Some(path) = std::env::var_os(DIRECTORY_VARIABLE) else { return };
    match RocksStorage::open(Path::new(&path), &options()) {
        Ok(_) => println!("it opened"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn the_database_of_another_network_or_validator_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let full_node = options();
    let validator = |byte| OpenOptions { validator: Some(PublicKey([byte; 32])), ..full_node };
    drop(RocksStorage::open(directory.path(), &full_node).unwrap());
    let other = OpenOptions { chain: digest("chain", 1), ..full_node };
    assert_foreign(&refusal(directory.path(), &other), "belongs to another network");

    drop(RocksStorage::open(directory.path(), &validator(1)).unwrap());
    drop(RocksStorage::open(directory.path(), &full_node).unwrap());
    assert_foreign(&refusal(directory.path(), &validator(2)), "belongs to the validator with the public key 0101");
    drop(RocksStorage::open(directory.path(), &validator(1)).unwrap());
}

#[test]
fn histories_that_were_not_kept_are_never_missing_in_silence() {
    let directory = tempfile::tempdir().unwrap();
    let (with, without) = (options(), OpenOptions { history: false, ..options() });
    assert!(RocksStorage::open(directory.path(), &with).unwrap().keeps_history());
    assert!(!RocksStorage::open(directory.path(), &without).unwrap().keeps_history());
    assert_foreign(&refusal(directory.path(), &with), "set storage.history = false");
    assert!(!RocksStorage::open(directory.path(), &without).unwrap().keeps_history());
}

#[test]
fn a_database_of_an_unknown_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let raw = open_raw(directory.path());
    raw.put_cf(raw.cf_handle("meta").unwrap(), "format", (FORMAT_VERSION + 1).to_le_bytes()).unwrap();
    drop(raw);
    assert_foreign(
        &refusal(directory.path(), &options()),
        "has format 5, this version of farthing-node reads format 4",
    );
}

#[test]
fn a_database_with_unknown_column_families_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let mut raw = open_raw(directory.path());
    raw.create_cf("holds", &Options::default()).unwrap();
    drop(raw);
    assert_foreign(&refusal(directory.path(), &options()), "holds \"holds\"");
}

#[test]
fn a_directory_that_cannot_be_made_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let refused = refusal(&file.join("data"), &options());
    assert!(matches!(refused, StorageError::Database(_)), "{refused:?}");
    assert!(refused.to_string().contains("cannot make the directory"), "{refused}");
}

#[test]
fn values_that_were_altered_are_damage_and_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let vertices = [simple_vertex(1, 0, b""), simple_vertex(1, 1, b""), simple_vertex(2, 0, b"payload")];
    let storage = open(directory.path());
    let commits = vec![commit(1, vec![reference(1, 0)])];
    storage.apply(&Batch { vertices: vertices.to_vec(), commits, ..Batch::default() }, true).unwrap();
    drop(storage);

    let raw = open_raw(directory.path());
    let (empty, full) = (raw.cf_handle("vertices").unwrap(), raw.cf_handle("payloads").unwrap());
    let key_of = |place: usize| key_of(&vertices[place]);
    // A vertex under the reference of another one, a payload with one bit flipped, and half a commit.
    raw.put_cf(empty, key_of(0), raw.get_cf(empty, key_of(1)).unwrap().unwrap()).unwrap();
    let mut altered = raw.get_cf(full, key_of(2)).unwrap().unwrap();
    *altered.last_mut().unwrap() ^= 1;
    raw.put_cf(full, key_of(2), altered).unwrap();
    let commits = raw.cf_handle("commits").unwrap();
    let commit_bytes = raw.get_cf(commits, 1_u64.to_be_bytes()).unwrap().unwrap();
    raw.put_cf(commits, 1_u64.to_be_bytes(), &commit_bytes[..commit_bytes.len() / 2]).unwrap();
    drop(raw);

    let storage = open(directory.path());
    for place in [0, 2] {
        let read = storage.vertex(&vertices[place].reference());
        assert!(matches!(read, Err(StorageError::Damaged(_))), "{read:?}");
    }
    assert!(storage.vertex(&vertices[1].reference()).unwrap().is_some());
    assert!(matches!(storage.vertices(1, 2, 99), Err(StorageError::Damaged(_))));
    let error = storage.commit(1).unwrap_err();
    assert!(error.to_string().contains("commits 0000000000000001"), "names what is damaged: {error}");
}
