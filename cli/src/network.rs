//! The nodes of a profile, asked one after the other until one answers.
//!
//! A node is asked for its status before anything else: one on another network than the pinned genesis document is an error, whatever
//! else it would answer. One that is catching up, or has not executed a block in which this wallet's own payment stood, is asked
//! only if no other answers: whoever has just paid wants to see it in the balance.

use crate::error::{Error, ErrorCode};
use crate::files::{self, Home};
use crate::profile::{self, Config, Profile};
use farthing_client::{Client, ClientError, ProblemCode};
use farthing_core::address::AddressPrefix;
use farthing_core::genesis::Genesis;
use farthing_core::hash::ChainHash;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// A node that lacks more blocks than this, and says that it answers for the newest state, is believed: some other node must have named
/// a height that there is not. A payment of a moment ago lies within a few blocks.
const OWN_HEIGHT_AHEAD_MAX: u64 = 10_000;

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
    /// The newest block that is known to hold a payment of this wallet, and the file that remembers its height.
    own_height: Cell<u64>,
    own_height_file: PathBuf,
}

/// One node of a network.
#[derive(Debug)]
pub struct Node {
    /// Its API. Ask [`Network::check`] before anything of consequence.
    pub client: Client,
    standing: Cell<Option<Standing>>,
}

/// What a node's status says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It answers for the newest state, with all that this wallet knows to be in a block.
    Current,
    /// It is catching up.
    Behind,
}

impl Network {
    /// The network of a profile: the one named, else the current one. Nothing is sent yet.
    pub fn open(home: &Home, profile_name: Option<&str>) -> Result<Network, Error> {
        let (profile_name, profile) = Config::load(home)?.select(profile_name)?;
        let genesis = profile::pinned_genesis(home, &profile)?;
        let nodes = profile
            .api
            .iter()
            .map(|url| Ok(Node { client: Client::new(url)?, standing: Cell::new(None) }))
            .collect::<Result<Vec<_>, Error>>()?;
        if nodes.is_empty() {
            return Err(Error::usage(format!("profile {profile_name:?} has no API address: add it again with --api")));
        }
        let chain = genesis.chain_hash();
        let own_height_file = home.height(&chain);
        let own_height = Cell::new(read_height(&own_height_file));
        Ok(Network { profile_name, profile, chain, genesis, nodes, own_height, own_height_file })
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
        if node.standing.get().is_some() {
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
        let missing = self.own_height.get().saturating_sub(status.height);
        let is_current = status.ready && (missing == 0 || missing > OWN_HEIGHT_AHEAD_MAX);
        node.standing.set(Some(if is_current { Standing::Current } else { Standing::Behind }));
        Ok(())
    }

    /// Notes that a block holds a payment of this wallet, so that later commands ask nodes that have executed it.
    pub fn saw_own_payment(&self, height: u64) {
        if height <= self.own_height.replace(self.own_height.get().max(height)) {
            return;
        }
        for node in &self.nodes {
            node.standing.set(None);
        }
        // Only a hint: without it, or with an older one, a node that is behind may be asked.
        let folder = self.own_height_file.parent().expect("it stands in a folder");
        if files::create_dir(folder).is_ok() {
            let _ = std::fs::write(&self.own_height_file, height.to_string());
        }
    }

    /// Asks one node after the other until one gives an answer that another would give as well.
    pub async fn ask<T>(&self, question: impl AsyncFn(&Client) -> Result<T, ClientError>) -> Result<T, Error> {
        Ok(self.first_answer(question).await??)
    }

    /// [`Network::ask`], where the inner result is what a node said: an answer, or an error that other nodes would give as well.
    ///
    /// # Errors
    /// If no node answers, or if one is on another network.
    pub async fn first_answer<T>(
        &self,
        question: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<Result<T, ClientError>, Error> {
        let mut failures = Vec::new();
        let mut behind = Vec::new();
        for node in &self.nodes {
            match self.check(node).await {
                Ok(()) => {}
                Err(NodeError::Client(error)) => {
                    failures.push((node, error));
                    continue;
                }
                Err(NodeError::OtherNetwork(error)) => return Err(error),
            }
            if node.standing.get() == Some(Standing::Behind) {
                behind.push(node);
                continue;
            }
            match question(&node.client).await {
                Err(error) if another_may_say_more(&error) => failures.push((node, error)),
                answer => return Ok(answer),
            }
        }
        for node in behind {
            match question(&node.client).await {
                Err(error) if another_may_say_more(&error) => failures.push((node, error)),
                answer => return Ok(answer),
            }
        }
        // That none knows is an answer, too; what was pruned is known at least.
        let said = |code| failures.iter().position(|(_, error)| error.code() == Some(code));
        let known = UNKNOWN_HERE.into_iter().find_map(said);
        if let Some(known) = known {
            return Ok(Err(failures.swap_remove(known).1));
        }
        let failures: Vec<_> = failures.iter().map(|(node, error)| failure_of(node, error)).collect();
        Err(unreachable_error(&failures))
    }
}

fn another_may_say_more(error: &ClientError) -> bool {
    error.another_may_answer() || another_may_know(error)
}

/// What a node answers that has no such thing, where others may have it, such as pending transactions and old blocks. What says most
/// comes first.
const UNKNOWN_HERE: [ProblemCode; 3] = [ProblemCode::Pruned, ProblemCode::NotKept, ProblemCode::NoSuchTransaction];

fn another_may_know(error: &ClientError) -> bool {
    error.code().is_some_and(|code| UNKNOWN_HERE.contains(&code))
}

/// The height in a file; 0 if there is none.
fn read_height(path: &Path) -> u64 {
    std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
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
