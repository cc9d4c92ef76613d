//! The nodes of a profile, asked one after the other until one answers.
//!
//! A node is asked for its chain hash before anything else: one on another network than the pinned genesis document is an
//! error, whatever else it would answer.

use crate::error::{Error, ErrorCode};
use crate::files::Home;
use crate::profile::{self, Config, Profile};
use farthing_client::{Client, ClientError};
use farthing_core::address::AddressPrefix;
use farthing_core::genesis::Genesis;
use farthing_core::hash::ChainHash;
use std::cell::Cell;

/// A network, and the nodes through which the wallet sees it.
#[derive(Debug)]
pub struct Network {
    /// The name of the profile.
    pub profile_name: String,
    /// The profile.
    pub profile: Profile,
    /// The pinned genesis document.
    pub genesis: Genesis,
    /// The hash of it.
    pub chain: ChainHash,
    nodes: Vec<Node>,
}

/// One node of a network.
#[derive(Debug)]
pub struct Node {
    /// Its API. Ask [`Network::check`] before anything of consequence.
    pub client: Client,
    checked: Cell<bool>,
}

impl Network {
    /// The network of a profile: the one named, else the current one. Nothing is sent yet.
    pub fn open(home: &Home, profile_name: Option<&str>) -> Result<Network, Error> {
        let (profile_name, profile) = Config::load(home)?.select(profile_name)?;
        let genesis = profile::pinned_genesis(home, &profile)?;
        let nodes = profile
            .api
            .iter()
            .map(|url| Ok(Node { client: Client::new(url)?, checked: Cell::new(false) }))
            .collect::<Result<Vec<_>, Error>>()?;
        if nodes.is_empty() {
            return Err(Error::usage(format!("profile {profile_name:?} has no API address: add it again with --api")));
        }
        Ok(Network { profile_name, profile, chain: genesis.chain_hash(), genesis, nodes })
    }

    /// What the network's addresses start with.
    pub fn prefix(&self) -> &AddressPrefix {
        self.genesis.prefix()
    }

    /// The nodes, in the order in which to ask them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Makes sure that a node is on this network.
    pub async fn check(&self, node: &Node) -> Result<(), NodeError> {
        if node.checked.get() {
            return Ok(());
        }
        let status = node.client.status().await.map_err(NodeError::Client)?;
        if status.chain != self.chain {
            return Err(NodeError::OtherNetwork(Error::new(
                ErrorCode::WrongNetwork,
                format!(
                    "{} is on another network ({:?}, chain {}) than profile {:?} (chain {}): nothing was sent to it; correct \
                     the profile",
                    node.client.url(),
                    status.network.chars().take(64).collect::<String>(),
                    status.chain,
                    self.profile_name,
                    self.chain
                ),
            )));
        }
        node.checked.set(true);
        Ok(())
    }

    /// Asks one node after the other until one gives an answer that another would give as well.
    pub async fn ask<T>(&self, question: impl AsyncFn(&Client) -> Result<T, ClientError>) -> Result<T, Error> {
        let mut failures = Vec::new();
        for node in &self.nodes {
            let answer = match self.check(node).await {
                Ok(()) => question(&node.client).await,
                Err(NodeError::Client(error)) => Err(error),
                Err(NodeError::OtherNetwork(error)) => return Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if error.another_may_answer() => failures.push(failure_of(node, &error)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(unreachable_error(&failures))
    }
}

/// Why a node is not asked any further.
#[derive(Debug)]
pub enum NodeError {
    /// It does not answer.
    Client(ClientError),
    /// It is on another network.
    OtherNetwork(Error),
}

/// What to say of a node that was tried in vain.
pub fn failure_of(node: &Node, error: &ClientError) -> String {
    let text = error.to_string();
    if text.contains(node.client.url()) { text } else { format!("{}: {text}", node.client.url()) }
}

/// The error when none of the nodes tried is of use.
pub fn unreachable_error(failures: &[String]) -> Error {
    Error::new(
        ErrorCode::Unreachable,
        format!(
            "no node answers as it should; tried\n  {}\nis the network up, and the profile right?",
            failures.join("\n  ")
        ),
    )
    .with("tried", failures.to_vec())
}
