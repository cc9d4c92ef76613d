//! The node itself and its committee.

use farthing_core::address::AddressPrefix;
use farthing_core::block::BlockHash;
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a node is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The name of the network.
    pub network: String,
    /// The chain hash: the hash of the genesis document.
    #[schema(value_type = String)]
    pub chain: ChainHash,
    /// What the network's addresses start with.
    #[schema(value_type = String, example = "farl")]
    pub address_prefix: AddressPrefix,
    /// The version of the node.
    pub version: String,
    /// What the node does.
    pub role: Role,
    /// The validator's name, on a validator.
    pub validator: Option<String>,
    /// The consensus round.
    pub round: u64,
    /// The newest executed commit.
    pub commit_index: u64,
    /// The height of the newest executed block.
    pub height: u64,
    /// The hash of that block.
    #[schema(value_type = String)]
    pub block_hash: BlockHash,
    /// The timestamp of the newest executed commit, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The height of the newest block that this node holds a certificate of.
    pub certified_height: u64,
    /// The newest state root that this node computed. Two nodes that name the same `commit_index` name the same root.
    pub state_root: StateRoot,
    /// How many other nodes it is connected to.
    pub peers_connected: u32,
    /// How many validators there are.
    pub validators: u32,
    /// Transactions waiting in its mempool.
    pub mempool_transactions: u64,
    /// Their encoded bytes.
    pub mempool_bytes: u64,
    /// How long it has been running, in seconds.
    pub uptime_s: u64,
    /// Whether it is fetching commits that others have.
    pub catching_up: bool,
    /// Whether it answers for the newest state and takes transactions: what `/readyz` says.
    pub ready: bool,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is a member of the committee.
    Validator,
    /// It follows the committee.
    Full,
}

/// The root of an executed state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateRoot {
    /// The root.
    #[schema(value_type = String)]
    pub root: Digest,
    /// The height of the newest block in that state.
    pub height: u64,
    /// The newest commit in that state.
    pub commit_index: u64,
}

/// A validator, as a node sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ValidatorView {
    /// Its index in the genesis document, which is its author number.
    pub index: u16,
    /// Its name.
    pub name: String,
    /// The key that signs its vertices and attestations.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// Whether this node is connected to it, or is it.
    pub connected: bool,
    /// The round of its newest vertex that this node has accepted; 0 if none.
    pub last_round: u64,
    /// Whether this node has evidence that it equivocated: see `/v1/evidence`.
    #[serde(default)]
    pub equivocated: bool,
}
