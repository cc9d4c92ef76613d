//! A validator whose disk flips bits, and one whose disk is gone: both come back with what the others have.

use super::{block_on, send, status, wait_for_agreement};
use crate::testnet::{Ended, Home, Testnet, wait_for};
use farthing_client::Client;
use std::fs;
use std::path::Path;

/// Flips a bit in every table of the database. Returns how many there are.
fn rot(database: &Path) -> usize {
    let entries = fs::read_dir(database).expect("a database").map(|entry| entry.expect("an entry").path());
    let tables: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    for table in &tables {
        let mut bytes = fs::read(table).expect("readable");
        let place = bytes.len() / 4;
        bytes[place] ^= 0x10;
        fs::write(table, bytes).expect("writable");
    }
    tables.len()
}

/// Whether the first validator sees that another one takes part.
fn signs(testnet: &Testnet<'_>, number: usize) -> Option<()> {
    let url = &testnet.apis()[0];
    let views = block_on(async { Client::new(url).expect("a URL").validators().await.ok() })?;
    (views[number].last_round + 2 >= status(url)?.round).then_some(())
}

#[test]
fn a_damaged_database_is_repaired_from_the_others_and_so_is_a_lost_one() {
    let home = Home::new();
    let testnet = home.up(4);
    testnet.load(300, 3, false);
    let node_home = testnet.node_home(3);
    testnet.kill(3);
    testnet.load(300, 1, false);
    // A start writes what is in the log into tables.
    let started = testnet.restart(3);
    wait_for("its API", || status(&testnet.apis()[3]));
    drop(started);
    assert!(rot(&node_home.join("database")) > 3);
    testnet.load(300, 2, false);

    let run = || {
        let output = testnet.home.command("farthing-node").arg("run").arg("--home").arg(&node_home).output();
        Ended::from(output.expect("it runs"))
    };
    let refused = run();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("the database is damaged"), "{refused:?}");
    assert!(node_home.join("database-damaged").exists());

    let repaired = testnet.restart(3);
    send(&home, testnet.address(1), "3 mite", &[]);
    wait_for_agreement(&testnet.apis());
    assert!(node_home.join("database.damaged").exists() && !node_home.join("database-damaged").exists());

    // It knows again what it signed, and signs: without one of the others there is a quorum only with it.
    wait_for("the validator to sign again", || signs(&testnet, 3));
    testnet.kill(1);
    send(&home, testnet.address(2), "4 mite", &[]);
    let other = testnet.restart(1);
    wait_for_agreement(&testnet.apis());

    drop(repaired);
    fs::remove_dir_all(node_home.join("database")).expect("it is gone");
    let without_disk = testnet.restart(3);
    send(&home, testnet.address(1), "5 mite", &[]);
    wait_for_agreement(&testnet.apis());
    wait_for("the validator to sign again", || signs(&testnet, 3));
    drop(other);
    send(&home, testnet.address(2), "6 mite", &[]);
    drop(without_disk);
}
