//! The ready file: where a running testnet is, for people's programs and our own commands.
//!
//! It exists while the testnet is ready to take transfers, is written atomically, and is removed when the testnet stops.

use crate::state::{self, write_atomically};
use anyhow::Context as _;
use clap::Args;
use farthing_client::Client;
use farthing_core::genesis::Genesis;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The ready file in the state directory.
pub const READY_FILE: &str = "ready.json";

/// What a ready file says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The addresses of the HTTP APIs, validator by validator.
    pub api: Vec<String>,
    /// The developers' accounts.
    pub accounts: Vec<ReadyAccount>,
    /// The validators.
    pub validators: Vec<ReadyValidator>,
    /// The genesis document's file.
    pub genesis: PathBuf,
}

/// A developer's account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadyAccount {
    /// Its name in the wallet.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// A validator's process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadyValidator {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// The address of its HTTP API.
    pub api: String,
}

/// How a command finds the running testnet.
#[derive(Args, Debug, Clone)]
pub struct Find {
    /// The running testnet's ready file
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The running testnet's state directory
    #[arg(long, value_name = "DIR", conflicts_with = "ready_file")]
    pub state: Option<PathBuf>,
}

/// A running testnet as a command finds it.
pub struct Network {
    /// What its ready file says.
    pub ready: Ready,
    /// Its genesis document.
    pub genesis: Genesis,
    /// A client of each API, in the ready file's order.
    pub clients: Vec<Client>,
}

impl Ready {
    /// Writes the file atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string(self).context("cannot write a ready file")?;
        write_atomically(path, &(text + "\n"))
    }
}

impl Find {
    /// Finds the running testnet.
    ///
    /// # Errors
    /// If none is running there, or its files are damaged.
    pub fn network(&self) -> anyhow::Result<Network> {
        let path = match (&self.ready_file, &self.state) {
            (Some(file), _) => file.clone(),
            (None, Some(state)) => state.join(READY_FILE),
            (None, None) => state::default_path()?.join(READY_FILE),
        };
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "no testnet is ready ({}): start one with testnet/up, or say --ready-file or --state",
                path.display()
            )
        })?;
        let damaged = || format!("{} is not a ready file", path.display());
        let ready: Ready = serde_json::from_str(&text).with_context(damaged)?;
        let genesis = fs::read_to_string(&ready.genesis)
            .with_context(|| format!("cannot read the genesis document {}", ready.genesis.display()))?;
        let genesis = Genesis::from_json(&genesis)?;
        let clients =
            ready.api.iter().map(|url| Client::new(url)).collect::<Result<Vec<_>, _>>().with_context(damaged)?;
        anyhow::ensure!(!clients.is_empty(), damaged());
        Ok(Network { ready, genesis, clients })
    }
}

impl Network {
    /// A lock file in the testnet's state directory.
    pub fn lock_path(&self, name: &str) -> PathBuf {
        self.ready.genesis.with_file_name(name)
    }

    /// The clients whose nodes answer that they run on this genesis document, the most advanced node first.
    ///
    /// # Errors
    /// If there are none.
    pub async fn live_clients(&self) -> anyhow::Result<Vec<Client>> {
        let chain = self.genesis.chain_hash();
        let mut live = Vec::new();
        let mut problem = String::new();
        for client in &self.clients {
            match client.status().await {
                Ok(status) if status.chain == chain => live.push((status.commit_index, client.clone())),
                Ok(_) => problem = format!("{} runs on another genesis document", client.url()),
                Err(error) => problem = error.to_string(),
            }
        }
        anyhow::ensure!(!live.is_empty(), "no validator of the testnet answers: {problem}");
        live.sort_by_key(|(commit_index, _)| std::cmp::Reverse(*commit_index));
        Ok(live.into_iter().map(|(_, client)| client).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_ready_file_is_what_programs_expect() {
        let ready = Ready {
            api: vec!["http://127.0.0.1:1".into()],
            accounts: vec![ReadyAccount { name: "dev-1".into(), address: "farl1x".into() }],
            validators: vec![ReadyValidator { name: "validator-1".into(), pid: 7, api: "http://127.0.0.1:1".into() }],
            genesis: "/state/genesis.json".into(),
        };
        let text = serde_json::to_string(&ready).expect("plain data");
        let expected = concat!(
            r#"{"api":["http://127.0.0.1:1"],"accounts":[{"name":"dev-1","address":"farl1x"}],"#,
            r#""validators":[{"name":"validator-1","pid":7,"api":"http://127.0.0.1:1"}],"genesis":"/state/genesis.json"}"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn without_a_testnet_a_command_says_how_to_start_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let find = Find { ready_file: None, state: Some(directory.path().into()) };
        let message = format!("{:#}", find.network().err().expect("nothing runs"));
        assert!(message.contains("start one with testnet/up"), "{message}");
        fs::write(directory.path().join(READY_FILE), "{}").expect("written");
        let message = format!("{:#}", find.network().err().expect("damaged"));
        assert!(message.contains("is not a ready file"), "{message}");
    }
}
