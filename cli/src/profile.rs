//! Profiles: which network, through which nodes, and with which key.
//!
//! ```toml
//! current = "local"
//!
//! [profiles.local]
//! api = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"]
//! chain = "<hash of the pinned genesis document>"
//! from = "dev-1"
//! ```

use crate::error::{Error, ErrorCode};
use crate::files::{self, Home};
use crate::keystore::check_name;
use farthing_core::genesis::Genesis;
use farthing_core::hash::ChainHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The most addresses of one profile.
pub const API_ADDRESSES_MAX: usize = 32;

/// The most bytes of the file of profiles.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The most bytes of a genesis document.
pub const GENESIS_BYTES_MAX: u64 = 1 << 30;

/// The file of profiles.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The profile used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The profiles by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
}

/// One profile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The addresses of nodes' APIs, in the order in which they are tried.
    pub api: Vec<String>,
    /// The chain hash of the pinned genesis document.
    pub chain: ChainHash,
    /// The key to pay with where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Profile {
    /// Whether all its nodes run on this machine, as those of a developer's network do.
    pub fn is_local(&self) -> bool {
        self.api.iter().all(|url| {
            let host = url.split("://").nth(1).unwrap_or_default();
            let host = host.split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            let (name, _) = host.rsplit_once(':').unwrap_or((host, ""));
            let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    }
}

impl Config {
    /// Reads the file; an empty one if there is none.
    pub fn load(home: &Home) -> Result<Config, Error> {
        let path = home.config();
        let Some(bytes) = files::read(&path, CONFIG_BYTES_MAX)? else { return Ok(Config::default()) };
        let config: Config = toml::from_slice(&bytes)
            .map_err(|error| Error::usage(format!("{} does not parse: {}", path.display(), error.message())))?;
        Ok(config)
    }

    /// Writes the file. The caller holds [`Home::lock`] since before it loaded it.
    pub fn save(&self, home: &Home) -> Result<(), Error> {
        let text = toml::to_string_pretty(self).expect("profiles are plain data");
        files::write(&home.config(), text.as_bytes())
    }

    /// The profile named, else the current one.
    pub fn select(&self, named: Option<&str>) -> Result<(String, Profile), Error> {
        let Some(name) = named.or(self.current.as_deref()) else {
            return Err(Error::usage(
                "no network is set up yet: start a local one with `testnet/up`, which makes a profile, or add one with \
                 `farthing profile add NAME --api URL --genesis FILE --use`",
            ));
        };
        let profile = self.profiles.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            Error::usage(format!(
                "there is no profile {name:?}: there {}",
                if names.is_empty() { "is none at all".into() } else { format!("are {}", names.join(", ")) }
            ))
        })?;
        Ok((name.into(), profile))
    }

    /// Adds or replaces a profile. The first one becomes the current one.
    pub fn add(&mut self, name: &str, profile: Profile, replace: bool) -> Result<(), Error> {
        check_name(name)?;
        if let Some(old) = self.profiles.get(name) {
            // Throw-away networks of one machine come and go under the same name.
            let harmless = old.chain == profile.chain || (old.is_local() && profile.is_local());
            if !replace && !harmless {
                return Err(Error::usage(format!(
                    "there is a profile {name:?} of another network already: choose another name, or give --force to replace it"
                )));
            }
        }
        self.profiles.insert(name.into(), profile);
        self.current.get_or_insert_with(|| name.into());
        Ok(())
    }
}

/// Parses a genesis document; `origin` names it in errors.
pub fn parse_genesis(bytes: &[u8], origin: &str) -> Result<Genesis, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::usage(format!("{origin} is not text")))?;
    Genesis::from_json(text).map_err(|error| Error::usage(format!("{origin}: {error}")))
}

/// Copies a genesis document into the wallet.
pub fn pin_genesis(home: &Home, genesis: &Genesis) -> Result<(), Error> {
    let path = home.genesis(&genesis.chain_hash());
    if let Some(folder) = path.parent() {
        files::create_dir(folder)?;
    }
    files::write(&path, genesis.to_json().as_bytes())
}

/// The pinned genesis document of a profile, checked to be the one that was pinned.
pub fn pinned_genesis(home: &Home, profile: &Profile) -> Result<Genesis, Error> {
    let path = home.genesis(&profile.chain);
    let name = path.display();
    let bytes = files::read(&path, GENESIS_BYTES_MAX)?
        .ok_or_else(|| Error::local(format!("{name} is missing: add the profile again with its genesis document")))?;
    let genesis = parse_genesis(&bytes, &name.to_string())?;
    if genesis.chain_hash() != profile.chain {
        return Err(Error::new(
            ErrorCode::WrongNetwork,
            format!("{name} was changed: its chain hash is {}, not the one pinned", genesis.chain_hash()),
        ));
    }
    Ok(genesis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(api: &str, chain: u8) -> Profile {
        Profile { api: vec![api.into()], chain: farthing_core::hash::Digest([chain; 32]), from: None }
    }

    #[test]
    fn only_loopback_addresses_are_local() {
        for (url, local) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost:80/", true),
            ("http://[::1]:8080", true),
            ("http://10.0.0.1:8080", false),
            ("https://localhost.example", false),
            ("https://localhost@evil.example", false),
            ("https://127.0.0.1.example:1", false),
        ] {
            assert_eq!(profile(url, 1).is_local(), local, "{url}");
        }
    }

    #[test]
    fn another_network_replaces_only_a_local_one_or_by_force() {
        let mut config = Config::default();
        config.add("local", profile("http://127.0.0.1:1", 1), false).unwrap();
        assert_eq!(config.current.as_deref(), Some("local"), "the first profile is the current one");
        config.add("local", profile("http://127.0.0.1:2", 2), false).unwrap();
        config.add("main", profile("https://node.example", 3), false).unwrap();
        config.add("main", profile("https://other.example", 3), false).unwrap();
        assert_eq!(config.current.as_deref(), Some("local"));
        let refused = config.add("main", profile("https://node.example", 4), false).unwrap_err();
        assert!(refused.message.contains("--force"), "{refused}");
        config.add("main", profile("https://node.example", 4), true).unwrap();
        let (_, found) = config.select(Some("main")).unwrap();
        assert_eq!(found, profile("https://node.example", 4));
        assert!(config.select(Some("none")).unwrap_err().message.contains("local, main"));
    }
}
