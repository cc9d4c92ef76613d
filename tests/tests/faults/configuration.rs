//! A wrong genesis document, key, port or permission: a clear message, and nothing signed.

use farthing_tests::processes::{Cluster, Launch, Options, PATIENCE};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What is wrong: what it is called, how it comes about in a home that is next to another validator's, and what the node says.
struct Mistake {
    name: &'static str,
    make: fn(&Cluster, home: &Path, other: &Path),
    says: &'static [&'static str],
    code: i32,
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "no genesis document",
        make: |_, home, _| fs::remove_file(home.join("genesis.json")).expect("removed"),
        says: &["genesis.json", "founder publishes"],
        code: 2,
    },
    Mistake {
        name: "half a genesis document",
        make: |_, home, _| edit(&home.join("genesis.json"), |text| text.truncate(text.len() / 2)),
        says: &["genesis.json", "does not parse"],
        code: 2,
    },
    Mistake {
        name: "another network's validators",
        make: |_, home, other| {
            let stranger = fs::read_to_string(other.join("nothing-signed")).expect("readable");
            let own = fs::read_to_string(home.join("nothing-signed")).expect("readable");
            edit(&home.join("genesis.json"), |text| {
                *text = text.replace(stranger.trim(), &"7".repeat(64)).replace(own.trim(), stranger.trim());
            });
        },
        says: &["is not a validator's in the genesis document"],
        code: 2,
    },
    Mistake {
        name: "another validator's key",
        make: |_, home, other| {
            fs::copy(other.join("validator.key"), home.join("validator.key")).expect("copied");
        },
        says: &["network.key", "made together with the validator key"],
        code: 2,
    },
    Mistake {
        name: "a key that others can read",
        make: |_, home, _| {
            let open = fs::Permissions::from_mode(0o644);
            fs::set_permissions(home.join("validator.key"), open).expect("changed");
        },
        says: &["open to other users", "chmod 600"],
        code: 2,
    },
    Mistake {
        name: "a damaged key",
        make: |_, home, _| edit(&home.join("validator.key"), |text| text.truncate(40)),
        says: &["64 hexadecimal digits", "backup"],
        code: 2,
    },
    Mistake {
        name: "no network key",
        make: |_, home, _| fs::remove_file(home.join("network.key")).expect("removed"),
        says: &["network.key"],
        code: 2,
    },
    Mistake {
        name: "a misspelt key in the configuration",
        make: |_, home, _| edit(&home.join("config.toml"), |text| *text = text.replace("[api]", "[apy]")),
        says: &["config.toml", "apy"],
        code: 2,
    },
    Mistake {
        name: "a peer that the genesis document does not have",
        make: |_, home, _| {
            edit(&home.join("config.toml"), |text| *text = text.replace("\"validator-3\"", "\"validator-9\""));
        },
        says: &["network.peers", "validator-9", "is not a validator of"],
        code: 2,
    },
    Mistake {
        name: "the API's port in use",
        make: |_, _, _| {},
        says: &["cannot listen on", "api.listen", "choose another port"],
        code: 1,
    },
    Mistake {
        name: "the network's port in use",
        make: |_, _, _| {},
        says: &["cannot listen on", "/ip4/127.0.0.1/tcp/"],
        code: 1,
    },
    Mistake {
        name: "a file where the database should be",
        make: |_, home, _| fs::write(home.join("database"), "not a directory").expect("written"),
        says: &["database"],
        code: 1,
    },
];

#[test]
fn mistakes_get_a_clear_message_and_nothing_is_signed() {
    for mistake in MISTAKES {
        let mut cluster = Cluster::new(&Options::default());
        let (home, other) = (cluster.home(0).to_path_buf(), cluster.home(1).to_path_buf());
        (mistake.make)(&cluster, &home, &other);
        let _taken = match mistake.name {
            "the API's port in use" => Some(TcpListener::bind(cluster.api_address(0)).expect("free")),
            "the network's port in use" => Some(TcpListener::bind(cluster.network_address(0)).expect("free")),
            _ => None,
        };
        cluster.launch(0, &Launch::plain());
        let (said, status) = cluster.wait_for_end(0, PATIENCE);
        assert_eq!(status.code(), Some(mistake.code), "{}: {status}\n{said}", mistake.name);
        for part in mistake.says {
            assert!(said.contains(part), "{} should say {part:?}:\n{said}", mistake.name);
        }
        assert!(!said.contains("panicked"), "{}: {said}", mistake.name);
        // What its peers would have been sent stands in the database first.
        let log = fs::metadata(home.join("database")).is_ok_and(|database| database.is_dir());
        assert!(!log || !said.contains("started"), "{} goes as far as consensus:\n{said}", mistake.name);
    }
}

#[test]
fn another_networks_or_another_validators_database_is_refused() {
    let mut cluster = Cluster::start(&Options::default());
    for node in 0..cluster.count() {
        cluster.stop(node);
    }
    let (mine, others) = (cluster.database(0), cluster.database(1));
    let aside = cluster.directory().join("aside");
    fs::rename(&mine, &aside).expect("moved");
    fs::rename(&others, &mine).expect("moved");
    refuses(&mut cluster, &["belongs to the validator", "the right key"]);

    fs::rename(&mine, &others).expect("moved");
    fs::rename(&aside, &mine).expect("moved");
    let genesis = fs::read_to_string(cluster.home(0).join("genesis.json")).expect("readable");
    let changed = genesis.replace("farthing-faults", "farthing-others");
    fs::write(cluster.home(0).join("genesis.json"), changed).expect("written");
    refuses(&mut cluster, &["belongs to another network", "the right genesis document"]);

    fs::write(cluster.home(0).join("genesis.json"), genesis).expect("written");
    cluster.run_all();
}

fn refuses(cluster: &mut Cluster, says: &[&str]) {
    cluster.launch(0, &Launch::plain());
    let (said, status) = cluster.wait_for_end(0, PATIENCE);
    assert!(!status.success() && says.iter().all(|part| said.contains(part)), "should say {says:?}:\n{said}");
}

fn edit(path: &Path, change: impl FnOnce(&mut String)) {
    let mut text = fs::read_to_string(path).expect("readable");
    change(&mut text);
    fs::write(path, text).expect("written");
}
