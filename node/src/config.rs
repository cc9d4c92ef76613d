//! A node's configuration: one TOML file in the node's home, typed and validated before anything starts.
//!
//! `config_default.toml`, which `farthing-node init` writes into a new home, describes every key. A key that does not exist
//! is an error, as is a value outside its bounds; the message names the key and says what to write.

use crate::mempool::PER_SENDER_MAX;
use crate::network::{FollowerLimits, NetworkConfig};
use crate::storage::RETAIN_COMMITS_MIN;
use farthing_core::flush::FLUSH_INTERVAL_MS_DEFAULT;
use farthing_core::genesis::{Genesis, GenesisError};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;

/// The configuration file in a node's home.
pub const CONFIG_FILE: &str = "config.toml";
/// The validator key in a validator's home.
pub const VALIDATOR_KEY_FILE: &str = "validator.key";
/// The network key in a node's home.
pub const NETWORK_KEY_FILE: &str = "network.key";
/// Key generation's statement that nothing was signed yet ([`crate::init`]).
pub const NOTHING_SIGNED_FILE: &str = "nothing-signed";
/// The database in a node's home.
pub const DATABASE_DIRECTORY: &str = "database";
/// Where a node copies its state for peers that lag.
pub const SNAPSHOTS_DIRECTORY: &str = "snapshots";

/// The largest configuration file that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The largest genesis document that is read, in bytes: ten million accounts of some 130 bytes.
const GENESIS_BYTES_MAX: u64 = 2 << 30;
/// The longest time between two flushes of the state. All of it is executed again after a crash, and whoever fetches the state from
/// this node fetches all the commits since: it stays well below what the default of [`StorageSection::retain_commits`] spans. Commits since
/// the last flush are kept in any case.
const FLUSH_INTERVAL_MS_MAX: u64 = 600_000;

/// A node's configuration, validated, with absolute paths as far as the home is absolute.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The node's home.
    pub home: PathBuf,
    /// The genesis document's file.
    pub genesis: PathBuf,
    /// Connections with other nodes.
    pub network: NetworkSection,
    /// The HTTP API.
    pub api: ApiSection,
    /// What is kept on disk.
    pub storage: StorageSection,
    /// Local choices of consensus.
    pub consensus: ConsensusSection,
    /// Bounds of the mempool.
    pub mempool: MempoolSection,
    /// What is logged, and how.
    pub log: LogSection,
}

/// Section `[network]`.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkSection {
    /// Where other nodes reach this one: an IP address and a TCP port each.
    pub listen: Vec<Multiaddr>,
    /// Nodes without a validator key that may follow this one.
    pub followers_max: usize,
    /// What each of them may have.
    pub follower_limits: FollowerLimits,
    /// The addresses of validators, by their name in the genesis document.
    pub peers: BTreeMap<String, Multiaddr>,
}

/// Section `[api]`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSection {
    /// The address of the HTTP API.
    pub listen: SocketAddr,
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Open connections in all.
    pub connections_max: usize,
    /// Open connections of one client address.
    pub connections_per_address_max: usize,
    /// Requests a second of one client address; 0 is without limit.
    pub requests_per_second_per_address: u32,
}

/// Section `[storage]`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// Blocks whose transactions are kept.
    pub retain_blocks: u64,
    /// Commits whose vertices are kept, at least [`RETAIN_COMMITS_MIN`].
    pub retain_commits: u64,
    /// Whether the histories of accounts are kept. A database that was without them stays so.
    pub history: bool,
    /// How much time lies between two flushes of the state, in milliseconds: a multiple of [`FLUSH_INTERVAL_MS_DEFAULT`], so that
    /// a state flushed here is flushed by others, too, where that is left as it is, and a peer can fetch it from several nodes.
    pub flush_interval_ms: u64,
}

/// Section `[consensus]`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusSection {
    /// The least time between two own vertices while execution keeps up, in milliseconds.
    pub round_delay_min_ms: u64,
    /// The same while it does not, in milliseconds.
    pub round_delay_max_ms: u64,
}

/// Section `[mempool]`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MempoolSection {
    /// Transactions in all.
    pub transactions_max: usize,
    /// Encoded bytes in all.
    pub bytes_max: usize,
    /// Transactions of one sender that Root signed, and as many of all its delegated keys.
    pub per_sender_max: usize,
}

/// Section `[log]`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// For people or for machines.
    pub format: LogFormat,
    /// Directives of `tracing_subscriber`'s [`EnvFilter`].
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}{hint}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// Not TOML, a key that does not exist, or a value of the wrong type.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value outside its bounds.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with its section.
        key: String,
        /// What is wrong and what to write.
        problem: String,
    },
    /// The genesis document is bad.
    #[error("{}: {source}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GenesisError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConfigDocument {
    genesis: PathBuf,
    network: NetworkDocument,
    api: ApiSection,
    storage: StorageSection,
    consensus: ConsensusSection,
    mempool: MempoolSection,
    log: LogSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetworkDocument {
    listen: Vec<String>,
    followers_max: usize,
    follower_requests_per_second: u32,
    follower_bytes_per_second: u32,
    peers: Vec<PeerDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerDocument {
    validator: String,
    address: String,
}

impl Config {
    /// Loads `file`, or the home's `config.toml` if there is none.
    ///
    /// # Errors
    /// [`ConfigError`] says which key is wrong and what to write.
    pub fn load(home: &Path, file: Option<&Path>) -> Result<Config, ConfigError> {
        let path = file.map_or_else(|| home.join(CONFIG_FILE), Path::to_path_buf);
        let text = read_bounded(
            &path,
            CONFIG_BYTES_MAX,
            "; `farthing-node init --home DIR` makes a home with a configuration",
        )?;
        let document = toml::from_str(&text).map_err(|source| ConfigError::Toml { path, source: Box::new(source) })?;
        Config::from_document(home, document)
    }

    /// The same configuration, keeping the transactions of this many blocks.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if it is out of bounds.
    pub fn with_retain_blocks(mut self, blocks: u64) -> Result<Config, ConfigError> {
        self.storage.retain_blocks = blocks;
        self.validate()?;
        Ok(self)
    }

    /// Reads the genesis document and checks that every peer stands in it.
    ///
    /// # Errors
    /// [`ConfigError`] if the document is unusable, or a peer is not one of its validators.
    pub fn load_genesis(&self) -> Result<Genesis, ConfigError> {
        let genesis = load_genesis(&self.genesis)?;
        for name in self.network.peers.keys() {
            if !genesis.validators().iter().any(|validator| &validator.name == name) {
                let names: Vec<&str> = genesis.validators().iter().map(|validator| validator.name.as_str()).collect();
                let problem = format!(
                    "\"{name}\" is not a validator of \"{}\": its validators are {}",
                    genesis.network(),
                    names.join(", ")
                );
                return Err(bad("network.peers", problem));
            }
        }
        Ok(genesis)
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.home.join(DATABASE_DIRECTORY)
    }

    /// Where the state is copied for peers that lag.
    pub fn snapshots(&self) -> PathBuf {
        self.home.join(SNAPSHOTS_DIRECTORY)
    }

    fn from_document(home: &Path, document: ConfigDocument) -> Result<Config, ConfigError> {
        let listen = document.network.listen.iter().map(|text| parse_listen(text)).collect::<Result<_, _>>()?;
        let mut peers = BTreeMap::new();
        for peer in document.network.peers {
            let address = parse_peer_address(&peer)?;
            if peers.insert(peer.validator.clone(), address).is_some() {
                let problem = format!("\"{}\" stands twice: give each validator one address", peer.validator);
                return Err(bad("network.peers", problem));
            }
        }
        let config = Config {
            home: home.into(),
            genesis: home.join(document.genesis),
            network: NetworkSection {
                listen,
                followers_max: document.network.followers_max,
                follower_limits: FollowerLimits {
                    requests_per_second: document.network.follower_requests_per_second,
                    bytes_per_second: document.network.follower_bytes_per_second,
                },
                peers,
            },
            api: document.api,
            storage: document.storage,
            consensus: document.consensus,
            mempool: document.mempool,
            log: document.log,
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let (api, storage, mempool) = (&self.api, &self.storage, &self.mempool);
        within("network.listen", self.network.listen.len() as u64, 1, 16)?;
        within("network.peers", self.network.peers.len() as u64, 0, farthing_core::genesis::VALIDATORS_MAX as u64)?;
        within("network.followers_max", self.network.followers_max as u64, 0, 1_000)?;
        let FollowerLimits { requests_per_second, bytes_per_second } = self.network.follower_limits;
        within("network.follower_requests_per_second", requests_per_second.into(), 1, 1_000_000)?;
        within("network.follower_bytes_per_second", bytes_per_second.into(), 65_536, 1 << 30)?;
        // The largest transaction must fit, and a request holds at most 1 MiB of them.
        within("api.body_bytes_max", api.body_bytes_max as u64, 131_072, 16 << 20)?;
        within("api.connections_max", api.connections_max as u64, 1, 100_000)?;
        within("api.connections_per_address_max", api.connections_per_address_max as u64, 1, 100_000)?;
        within("api.requests_per_second_per_address", api.requests_per_second_per_address.into(), 0, 1_000_000)?;
        within("storage.retain_blocks", storage.retain_blocks, 1, u64::MAX)?;
        within("storage.retain_commits", storage.retain_commits, RETAIN_COMMITS_MIN, u64::MAX)?;
        let (key, interval_ms) = ("storage.flush_interval_ms", storage.flush_interval_ms);
        within(key, interval_ms, FLUSH_INTERVAL_MS_DEFAULT, FLUSH_INTERVAL_MS_MAX)?;
        if !interval_ms.is_multiple_of(FLUSH_INTERVAL_MS_DEFAULT) {
            return Err(bad(key, format!("{interval_ms} is not a multiple of {FLUSH_INTERVAL_MS_DEFAULT}: write one")));
        }
        let consensus = &self.consensus;
        within("consensus.round_delay_min_ms", consensus.round_delay_min_ms, 1, 10_000)?;
        within("consensus.round_delay_max_ms", consensus.round_delay_max_ms, consensus.round_delay_min_ms, 10_000)?;
        within("mempool.transactions_max", mempool.transactions_max as u64, 1, 10_000_000)?;
        within("mempool.bytes_max", mempool.bytes_max as u64, 1 << 20, 64 << 30)?;
        within("mempool.per_sender_max", mempool.per_sender_max as u64, 1, PER_SENDER_MAX as u64)?;
        EnvFilter::builder().parse(&self.log.filter).map_err(|error| {
            bad("log.filter", format!("{error}: write, for example, \"info\" or \"warn,farthing_node=debug\""))
        })?;
        Ok(())
    }
}

/// Reads and validates a genesis document.
///
/// # Errors
/// [`ConfigError::Io`] or [`ConfigError::Genesis`].
pub fn load_genesis(path: &Path) -> Result<Genesis, ConfigError> {
    let text = read_bounded(
        path,
        GENESIS_BYTES_MAX,
        "; `genesis` names the network's genesis document, which its founder publishes",
    )?;
    Genesis::from_json(&text).map_err(|source| ConfigError::Genesis { path: path.into(), source })
}

impl Default for ConfigDocument {
    fn default() -> ConfigDocument {
        ConfigDocument {
            genesis: "genesis.json".into(),
            network: NetworkDocument::default(),
            api: ApiSection::default(),
            storage: StorageSection::default(),
            consensus: ConsensusSection::default(),
            mempool: MempoolSection::default(),
            log: LogSection::default(),
        }
    }
}

impl Default for NetworkDocument {
    fn default() -> NetworkDocument {
        let FollowerLimits { requests_per_second, bytes_per_second } = FollowerLimits::default();
        NetworkDocument {
            listen: vec!["/ip4/127.0.0.1/tcp/26600".into()],
            followers_max: NetworkConfig::FOLLOWERS_MAX,
            follower_requests_per_second: requests_per_second,
            follower_bytes_per_second: bytes_per_second,
            peers: Vec::new(),
        }
    }
}

impl Default for ApiSection {
    fn default() -> ApiSection {
        ApiSection {
            listen: SocketAddr::from(([127, 0, 0, 1], 26700)),
            body_bytes_max: 1 << 20,
            connections_max: 1024,
            connections_per_address_max: 512,
            requests_per_second_per_address: 0,
        }
    }
}

impl Default for StorageSection {
    fn default() -> StorageSection {
        StorageSection {
            retain_blocks: 1_000_000,
            retain_commits: 20_000,
            history: true,
            flush_interval_ms: FLUSH_INTERVAL_MS_DEFAULT,
        }
    }
}

impl Default for ConsensusSection {
    fn default() -> ConsensusSection {
        ConsensusSection { round_delay_min_ms: 10, round_delay_max_ms: 50 }
    }
}

impl Default for MempoolSection {
    fn default() -> MempoolSection {
        MempoolSection { transactions_max: 200_000, bytes_max: 128 << 20, per_sender_max: 256 }
    }
}

impl Default for LogSection {
    fn default() -> LogSection {
        LogSection { format: LogFormat::Text, filter: "info".into() }
    }
}

fn bad(key: &str, problem: String) -> ConfigError {
    ConfigError::Value { key: key.into(), problem }
}

fn within(key: &str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    match value {
        _ if (min..=max).contains(&value) => Ok(()),
        _ if max == u64::MAX => Err(bad(key, format!("{value} is too few: write at least {min}"))),
        _ => Err(bad(key, format!("{value} is out of bounds: write {min} to {max}"))),
    }
}

fn parse_listen(text: &str) -> Result<Multiaddr, ConfigError> {
    parse_tcp_address(text).map(|(address, _)| address).ok_or_else(|| {
        bad(
            "network.listen",
            format!("{text:?} is not an IP address with a TCP port: write, for example, \"/ip4/0.0.0.0/tcp/26600\""),
        )
    })
}

fn parse_peer_address(peer: &PeerDocument) -> Result<Multiaddr, ConfigError> {
    match parse_tcp_address(&peer.address) {
        Some((address, true)) => Ok(address),
        _ => Err(bad(
            "network.peers",
            format!(
                "the address {:?} of \"{}\" is not where a node can be reached: write, for example, \"/ip4/203.0.113.7/tcp/26600\"",
                peer.address, peer.validator
            ),
        )),
    }
}

/// An address of exactly an IP address and a TCP port, and whether one can connect to it.
fn parse_tcp_address(text: &str) -> Option<(Multiaddr, bool)> {
    let address: Multiaddr = text.parse().ok()?;
    let mut parts = address.iter();
    let specified = match parts.next()? {
        Protocol::Ip4(ip) => !ip.is_unspecified(),
        Protocol::Ip6(ip) => !ip.is_unspecified(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    let complete = parts.next().is_none();
    complete.then_some((address, specified && port != 0))
}

fn read_bounded(path: &Path, bytes_max: u64, hint: &'static str) -> Result<String, ConfigError> {
    let io_error = |source| ConfigError::Io { path: path.into(), source, hint };
    let bytes = fs::metadata(path).map_err(io_error)?.len();
    if bytes > bytes_max {
        let source =
            io::Error::new(io::ErrorKind::FileTooLarge, format!("{bytes} bytes, at most {bytes_max} are read"));
        return Err(io_error(source));
    }
    fs::read_to_string(path).map_err(io_error)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
