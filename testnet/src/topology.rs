//! The shape of a testnet: its validators, their ports, its genesis document and their configurations.

use crate::state::{StateDirectory, write_atomically};
use anyhow::{Context as _, bail};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::genesis::{Genesis, Parameters, Validator};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

/// The genesis document in the state directory.
pub const GENESIS_FILE: &str = "genesis.json";

/// The most validators that one machine is asked to run.
pub const VALIDATORS_MAX: usize = 32;

const NETWORK: &str = "farthing-local";
const PREFIX: &str = "farl";
const TOPOLOGY_FILE: &str = "testnet.json";
const VERSION: u32 = 1;

/// Ports are taken from here: below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many places in the range are looked at for a free block of ports.
const PORT_ATTEMPTS_MAX: usize = 100;

/// What is kept of a testnet's shape.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    version: u32,
    /// The validators, in the order of the genesis document.
    pub validators: Vec<Place>,
}

/// A validator's name and its ports on 127.0.0.1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The name, which is also its home's in the state directory.
    pub name: String,
    /// For the other validators.
    pub network_port: u16,
    /// For the HTTP API.
    pub api_port: u16,
}

impl Place {
    /// The address of the HTTP API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }
}

impl Topology {
    /// `validators` validators on free ports.
    ///
    /// # Errors
    /// If no free ports are found.
    pub fn choose(validators: usize) -> anyhow::Result<Topology> {
        assert!((1..=VALIDATORS_MAX).contains(&validators));
        let validators =
            (1..=validators).map(|number| Place { name: format!("validator-{number}"), network_port: 0, api_port: 0 });
        let mut topology = Topology { version: VERSION, validators: validators.collect() };
        topology.choose_ports()?;
        Ok(topology)
    }

    /// The topology in a state directory; `None` if the testnet there was never completely made.
    ///
    /// # Errors
    /// If the file cannot be read or was made by another version.
    pub fn load(state: &StateDirectory) -> anyhow::Result<Option<Topology>> {
        let path = state.join(TOPOLOGY_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let advice = || format!("{} is not of this version: start again with --reset", path.display());
        let topology: Topology = serde_json::from_str(&text).with_context(advice)?;
        if topology.version != VERSION || !(1..=VALIDATORS_MAX).contains(&topology.validators.len()) {
            bail!(advice());
        }
        Ok(Some(topology))
    }

    /// Keeps the topology and writes every validator's configuration.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, state: &StateDirectory) -> anyhow::Result<()> {
        for (index, place) in self.validators.iter().enumerate() {
            write_atomically(&state.join(&place.name).join("config.toml"), &self.config(index)?)?;
        }
        let text = serde_json::to_string_pretty(self).expect("a topology is plain data");
        write_atomically(&state.join(TOPOLOGY_FILE), &(text + "\n"))
    }

    /// The ports that some other process listens on.
    pub fn taken_ports(&self) -> Vec<u16> {
        let ports = self.validators.iter().flat_map(|place| [place.network_port, place.api_port]);
        ports.filter(|port| !is_free(*port)).collect()
    }

    /// Chooses free ports for all.
    ///
    /// # Errors
    /// If none are found.
    pub fn choose_ports(&mut self) -> anyhow::Result<()> {
        let first = free_block(2 * self.validators.len() as u16)?;
        for (place, api_port) in self.validators.iter_mut().zip(first..) {
            place.api_port = api_port;
        }
        let first = first + self.validators.len() as u16;
        for (place, network_port) in self.validators.iter_mut().zip(first..) {
            place.network_port = network_port;
        }
        Ok(())
    }

    /// The home of a validator.
    pub fn home(state: &StateDirectory, place: &Place) -> PathBuf {
        state.join(&place.name)
    }

    /// The configuration of a validator, which knows all the others.
    fn config(&self, index: usize) -> anyhow::Result<String> {
        let own = &self.validators[index];
        let address = |place: &Place| format!("/ip4/127.0.0.1/tcp/{}", place.network_port);
        let peers = self.validators.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, place)| {
            toml::Table::from_iter([
                ("validator".to_string(), toml::Value::from(place.name.clone())),
                ("address".to_string(), address(place).into()),
            ])
        });
        let mut network = toml::Table::new();
        network.insert("listen".into(), vec![address(own)].into());
        network.insert("peers".into(), peers.collect::<Vec<_>>().into());
        let mut api = toml::Table::new();
        api.insert("listen".into(), format!("127.0.0.1:{}", own.api_port).into());
        let mut config = toml::Table::new();
        config.insert("genesis".into(), format!("../{GENESIS_FILE}").into());
        config.insert("network".into(), network.into());
        config.insert("api".into(), api.into());
        let text = toml::to_string(&config).context("cannot write a configuration")?;
        Ok(format!("# Written by farthing-testnet at every start with other ports; see `farthing-node init`.\n{text}"))
    }
}

/// What a testnet's addresses start with.
pub fn address_prefix() -> AddressPrefix {
    PREFIX.parse().expect("a valid prefix")
}

/// The genesis document of a testnet with these validators and accounts.
///
/// # Errors
/// If the validators' keys or names contradict each other, or an account stands twice.
pub fn genesis(
    validators: Vec<Validator>,
    timestamp_ms: u64,
    accounts: Vec<(Address, Amount)>,
) -> anyhow::Result<Genesis> {
    Genesis::new(NETWORK, &address_prefix(), timestamp_ms, Parameters::generous(), validators, accounts)
        .context("cannot make the genesis document")
}

/// The first of `count` free ports in a row.
fn free_block(count: u16) -> anyhow::Result<u16> {
    let places = u32::from(PORTS.end - PORTS.start - count);
    for _ in 0..PORT_ATTEMPTS_MAX {
        // A random place, so that testnets started at the same time do not meet.
        let random = getrandom::u32().context("no randomness from the operating system")?;
        let first = PORTS.start + (random % places) as u16;
        if (first..first + count).all(is_free) {
            return Ok(first);
        }
    }
    bail!("found no {count} free ports in a row between {} and {} on 127.0.0.1", PORTS.start, PORTS.end)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts;
    use farthing_core::keys::SecretKey;

    fn state() -> (tempfile::TempDir, StateDirectory) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = StateDirectory::open(&directory.path().join("state"), false).expect("opened");
        (directory, state)
    }

    #[test]
    fn ports_are_distinct_and_free() {
        let topology = Topology::choose(7).expect("chosen");
        let mut ports: Vec<u16> =
            topology.validators.iter().flat_map(|place| [place.network_port, place.api_port]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 14);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }

    #[test]
    fn a_taken_port_is_noticed_and_left() {
        let mut topology = Topology::choose(2).expect("chosen");
        let taken = topology.validators[1].api_port;
        let Ok(_listener) = TcpListener::bind(("127.0.0.1", taken)) else {
            return; // another process was quicker: that it is taken is what this test wanted anyway
        };
        assert!(topology.taken_ports().contains(&taken));
        topology.choose_ports().expect("chosen");
        assert!(topology.validators.iter().all(|place| place.api_port != taken && place.network_port != taken));
    }

    #[test]
    fn a_topology_and_its_configurations_are_kept() {
        let (_directory, state) = state();
        assert_eq!(Topology::load(&state).expect("absent is fine"), None);
        let topology = Topology::choose(3).expect("chosen");
        for place in &topology.validators {
            fs::create_dir(Topology::home(&state, place)).expect("made");
        }
        topology.save(&state).expect("saved");
        assert_eq!(Topology::load(&state).expect("readable"), Some(topology.clone()));

        let text = fs::read_to_string(state.join("validator-2").join("config.toml")).expect("readable");
        let config: toml::Table = toml::from_str(&text).expect("TOML");
        assert_eq!(config["genesis"].as_str(), Some("../genesis.json"));
        let own = &topology.validators[1];
        assert_eq!(config["api"]["listen"].as_str(), Some(format!("127.0.0.1:{}", own.api_port).as_str()));
        let listen = config["network"]["listen"][0].as_str().map(str::to_string);
        assert_eq!(listen, Some(format!("/ip4/127.0.0.1/tcp/{}", own.network_port)));
        let peers = config["network"]["peers"].as_array().expect("a list");
        let names: Vec<_> = peers.iter().map(|peer| peer["validator"].as_str().expect("a name")).collect();
        assert_eq!(names, ["validator-1", "validator-3"]);
        let address = format!("/ip4/127.0.0.1/tcp/{}", topology.validators[2].network_port);
        assert_eq!(peers[1]["address"].as_str(), Some(address.as_str()));
    }

    #[test]
    fn a_foreign_topology_asks_for_a_reset() {
        let (_directory, state) = state();
        for text in ["{}", "{\"version\":2,\"validators\":[]}", "{\"version\":1,\"validators\":[]}"] {
            fs::write(state.join(TOPOLOGY_FILE), text).expect("written");
            let message = format!("{:#}", Topology::load(&state).expect_err(text));
            assert!(message.contains("start again with --reset"), "{message}");
        }
    }

    #[test]
    fn the_genesis_document_is_valid_and_generous() {
        let validator = |number: u8| Validator {
            name: format!("validator-{number}"),
            public_key: SecretKey::from_seed(&[number; 32]).public_key(),
            network_key: SecretKey::from_seed(&[number + 100; 32]).public_key(),
        };
        let genesis =
            genesis(vec![validator(1), validator(2)], 1_700_000_000_000, accounts::genesis_accounts()).expect("valid");
        let read = Genesis::from_json(&genesis.to_json()).expect("valid");
        assert_eq!(read.chain_hash(), genesis.chain_hash());
        let developer = farthing_core::address::Address(accounts::key("dev-10").public_key());
        assert!(read.accounts().contains(&(developer, accounts::DEVELOPER_BALANCE)));
        assert_eq!(read.prefix().as_str(), "farl");
    }
}
