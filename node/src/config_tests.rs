use super::*;
use crate::init;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::genesis::{Parameters, Validator};
use farthing_core::keys::SecretKey;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let home = tempfile::tempdir().expect("a temporary directory");
    fs::write(home.path().join(CONFIG_FILE), text).expect("written");
    Config::load(home.path(), None)
}

#[test]
fn the_shipped_configuration_is_the_default() {
    let shipped = Config::from_document(Path::new("/home"), toml::from_str(init::DEFAULT_CONFIG).expect("TOML"));
    let default = Config::from_document(Path::new("/home"), ConfigDocument::default());
    assert_eq!(shipped.expect("valid"), default.expect("valid"));
    // Every key is shown: a section's number of keys is what deserialising it knows.
    for key in [
        "genesis",
        "listen",
        "followers_max",
        "body_bytes_max",
        "retain_commits",
        "history",
        "flush_interval_ms",
        "round_delay_min_ms",
        "round_delay_max_ms",
        "per_sender_max",
    ] {
        assert!(init::DEFAULT_CONFIG.contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn a_full_example_is_read() {
    let config = parse(
        r#"
        genesis = "../genesis.json"
        [network]
        listen = ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/2"]
        followers_max = 0
        [[network.peers]]
        validator = "b"
        address = "/ip4/10.0.0.1/tcp/3"
        [api]
        listen = "[::1]:4"
        [storage]
        retain_blocks = 5
        retain_commits = 600
        [log]
        format = "json"
        filter = "warn,farthing_node=debug"
        "#,
    )
    .expect("valid");
    assert_eq!(config.genesis, config.home.join("../genesis.json"));
    assert_eq!(config.network.listen.len(), 2);
    assert_eq!(config.network.peers["b"], "/ip4/10.0.0.1/tcp/3".parse().expect("an address"));
    assert_eq!(config.api.listen, "[::1]:4".parse().expect("an address"));
    assert_eq!(config.api.connections_max, 1024, "what is not said has its default");
    assert_eq!((config.storage.retain_blocks, config.storage.retain_commits), (5, 600));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.with_retain_blocks(7).expect("valid").storage.retain_blocks, 7);
}

#[test]
fn bad_configurations_name_the_key_and_what_to_write() {
    let peer =
        |name: &str, address: &str| format!("[[network.peers]]\nvalidator = \"{name}\"\naddress = \"{address}\"\n");
    let twice = peer("a", "/ip4/1.2.3.4/tcp/1") + &peer("a", "/ip4/1.2.3.5/tcp/1");
    let table = [
        ("genesis = 7", "genesis"),
        ("genesys = \"x\"", "unknown field `genesys`"),
        ("[netwrok]", "unknown field `netwrok`"),
        ("[api]\nlissten = \"127.0.0.1:1\"", "unknown field `lissten`"),
        ("[network]\nlisten = []", "network.listen: 0 is out of bounds: write 1 to 16"),
        ("[network]\nlisten = [\"127.0.0.1:26600\"]", "write, for example, \"/ip4/0.0.0.0/tcp/26600\""),
        ("[network]\nlisten = [\"/ip4/127.0.0.1/udp/1/quic-v1\"]", "network.listen"),
        ("[network]\nlisten = [\"/ip4/127.0.0.1/tcp/1/ws\"]", "network.listen"),
        ("[network]\nfollowers_max = 1001", "network.followers_max: 1001 is out of bounds: write 0 to 1000"),
        ("[network]\nfollowers_max = -1", "followers_max"),
        (&peer("a", "/ip4/0.0.0.0/tcp/1"), "\"a\" is not where a node can be reached"),
        (&peer("a", "/ip4/1.2.3.4/tcp/0"), "\"a\" is not where a node can be reached"),
        (&peer("a", "/dns4/example.org/tcp/1"), "\"a\" is not where a node can be reached"),
        (&twice, "network.peers: \"a\" stands twice"),
        ("[[network.peers]]\nvalidator = \"a\"", "missing field `address`"),
        ("[api]\nlisten = \"localhost\"", "invalid socket address"),
        ("[api]\nbody_bytes_max = 1000", "api.body_bytes_max: 1000 is out of bounds: write 131072 to 16777216"),
        ("[api]\nconnections_max = 0", "api.connections_max"),
        ("[storage]\nretain_blocks = 0", "storage.retain_blocks: 0 is too few: write at least 1"),
        ("[storage]\nretain_commits = 599", "storage.retain_commits: 599 is too few: write at least 600"),
        ("[storage]\nflush_interval_ms = 0", "storage.flush_interval_ms: 0 is out of bounds: write 5000 to 600000"),
        ("[storage]\nflush_interval_ms = 605000", "storage.flush_interval_ms: 605000 is out of bounds"),
        ("[storage]\nflush_interval_ms = 7000", "storage.flush_interval_ms: 7000 is not a multiple of 5000"),
        ("[consensus]\nround_delay_max_ms = 9", "consensus.round_delay_max_ms: 9 is out of bounds: write 10 to 10000"),
        ("[consensus]\nround_delay_min_ms = 0", "consensus.round_delay_min_ms: 0 is out of bounds: write 1 to 10000"),
        ("[mempool]\nper_sender_max = 0", "mempool.per_sender_max"),
        ("[mempool]\nbytes_max = 1", "mempool.bytes_max"),
        ("[log]\nformat = \"xml\"", "expected `text` or `json`"),
        ("[log]\nfilter = \"farthing=loud\"", "log.filter"),
        ("genesis", "config.toml"),
    ];
    for (text, expected) in table {
        let message = parse(text).expect_err(text).to_string();
        assert!(message.contains(expected), "for {text:?}: {message}");
    }
}

#[test]
fn a_missing_file_says_how_to_make_one() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let message = Config::load(home.path(), None).expect_err("no file").to_string();
    assert!(message.contains("config.toml") && message.contains("farthing-node init"), "{message}");
}

/// A home with a validator's keys and a genesis document of one validator with `key` and `network_key`.
fn home_with_genesis(key: &SecretKey, network_key: &SecretKey) -> (tempfile::TempDir, Config, Genesis) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let validator = Validator { name: "a".into(), public_key: key.public_key(), network_key: network_key.public_key() };
    let prefix: AddressPrefix = "farx".parse().expect("a prefix");
    let accounts = vec![(Address(key.public_key()), Amount::from_mites(1))];
    let genesis = Genesis::new("test", &prefix, 1, Parameters::generous(), vec![validator], accounts).expect("valid");
    fs::write(home.path().join("genesis.json"), genesis.to_json()).expect("written");
    let config = Config::from_document(home.path(), ConfigDocument::default()).expect("valid");
    (home, config, genesis)
}

#[test]
fn peers_must_stand_in_the_genesis_document() {
    let (key, network_key) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let (_home, mut config, genesis) = home_with_genesis(&key, &network_key);
    config.network.peers.insert("a".into(), "/ip4/1.2.3.4/tcp/1".parse().expect("an address"));
    assert_eq!(config.load_genesis().expect("valid").chain_hash(), genesis.chain_hash());
    config.network.peers.insert("z".into(), "/ip4/1.2.3.4/tcp/1".parse().expect("an address"));
    let message = config.load_genesis().expect_err("z is nobody").to_string();
    assert!(message.contains("\"z\" is not a validator of \"test\": its validators are a"), "{message}");
}

#[test]
fn a_bad_genesis_document_is_named() {
    let (_home, config, _) = home_with_genesis(&SecretKey::from_seed(&[1; 32]), &SecretKey::from_seed(&[2; 32]));
    fs::write(&config.genesis, "{}").expect("written");
    let message = config.load_genesis().expect_err("empty").to_string();
    assert!(message.contains("genesis.json") && message.contains("missing field"), "{message}");
    fs::remove_file(&config.genesis).expect("removed");
    let message = config.load_genesis().expect_err("absent").to_string();
    assert!(message.contains("genesis.json") && message.contains("founder"), "{message}");
}

#[test]
fn identities_fit_the_genesis_document() {
    use crate::keys_file::{self, Identity};
    let (key, network_key) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let (home, config, genesis) = home_with_genesis(&key, &network_key);
    let network_file = home.path().join(NETWORK_KEY_FILE);
    let message = |result: Result<Identity, keys_file::KeyFileError>| result.err().expect("an error").to_string();

    assert!(message(Identity::load(&config, &genesis)).contains("network.key"));
    keys_file::create(&network_file, &network_key).expect("written");
    assert!(Identity::load(&config, &genesis).expect("a full node").validator.is_none());

    keys_file::create(&home.path().join(VALIDATOR_KEY_FILE), &key).expect("written");
    let validator = Identity::load(&config, &genesis).expect("a validator").validator.expect("a validator");
    assert_eq!((validator.author, validator.name.as_str()), (0, "a"));
    assert_eq!(validator.key.public_key(), key.public_key());

    fs::remove_file(&network_file).expect("removed");
    keys_file::create(&network_file, &key).expect("written");
    assert!(message(Identity::load(&config, &genesis)).contains("the genesis document says"));
    let (_other, _, others) = home_with_genesis(&SecretKey::from_seed(&[3; 32]), &SecretKey::from_seed(&[4; 32]));
    assert!(
        message(Identity::load(&config, &others)).contains("not a validator's in the genesis document of \"test\"")
    );
}
