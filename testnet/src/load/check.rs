//! Whether the nodes agree, and whether money was neither made nor lost.

use anyhow::bail;
use farthing_client::{AccountView, Client, NodeStatus};
use farthing_core::amount::Amount;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long the nodes may take to come to rest.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long nothing may change for the nodes to be at rest: more than the second within which a changed state gets a root.
const REST: Duration = Duration::from_millis(1_500);

const POLL: Duration = Duration::from_millis(200);

/// How many accounts are asked for at a time.
const ACCOUNTS_AT_ONCE: usize = 32;

/// What was found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Check {
    /// The state root that all nodes which answer are at.
    pub state_root: String,
    /// Its height.
    pub height: u64,
    /// How many nodes answer.
    pub nodes: usize,
    /// How many do not.
    pub nodes_down: usize,
    /// What the load generator's accounts have together in balances, in mites: with what they have in holds and keys, as before.
    pub balances: Amount,
}

/// Waits until all nodes that answer rest at one state root. Returns it and how many nodes answer.
///
/// # Errors
/// If two nodes have different roots of one state, or they do not come to rest in time.
pub async fn wait_for_agreement(clients: &[Client]) -> anyhow::Result<(NodeStatus, usize)> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let mut agreed: Option<(NodeStatus, Instant)> = None;
    loop {
        let statuses = statuses(clients).await;
        refuse_different_roots(&statuses)?;
        agreed = match (common_state(&statuses), agreed) {
            (Some(now), Some((before, since))) if same_state(&now, &before) => {
                if since.elapsed() >= REST {
                    return Ok((now, statuses.len()));
                }
                Some((before, since))
            }
            (now, _) => now.map(|now| (now, Instant::now())),
        };
        if Instant::now() > deadline {
            let shown: Vec<String> = statuses.iter().map(|(url, status)| describe(url, status)).collect();
            bail!("the nodes do not come to rest within {} s: {}", SETTLE_TIMEOUT.as_secs(), shown.join("; "));
        }
        sleep(POLL).await;
    }
}

/// Reads accounts, in order, from one node.
///
/// # Errors
/// If the node does not answer for one of them.
pub async fn read_accounts(client: &Client, addresses: &[String]) -> anyhow::Result<Vec<AccountView>> {
    let mut views: Vec<Option<AccountView>> = vec![None; addresses.len()];
    let mut tasks = JoinSet::new();
    for (index, address) in addresses.iter().enumerate() {
        if tasks.len() == ACCOUNTS_AT_ONCE {
            keep_next(&mut tasks, &mut views).await?;
        }
        let (client, address) = (client.clone(), address.clone());
        tasks.spawn(async move { (index, client.account(&address).await) });
    }
    while !tasks.is_empty() {
        keep_next(&mut tasks, &mut views).await?;
    }
    Ok(views.into_iter().map(|view| view.expect("every account was asked for")).collect())
}

/// What accounts have together.
pub fn total(accounts: &[AccountView]) -> Amount {
    let total = Amount::checked_sum(accounts.iter().map(|account| account.balance));
    total.expect("no more than the supply, which is an amount")
}

type AccountTasks = JoinSet<(usize, Result<AccountView, farthing_client::ClientError>)>;

async fn keep_next(tasks: &mut AccountTasks, views: &mut [Option<AccountView>]) -> anyhow::Result<()> {
    if let Some(ended) = tasks.join_next().await {
        let (index, view) = ended?;
        views[index] = Some(view?);
    }
    Ok(())
}

async fn statuses(clients: &[Client]) -> Vec<(String, NodeStatus)> {
    let mut statuses = Vec::new();
    for client in clients {
        if let Ok(status) = client.status().await {
            statuses.push((client.url().to_string(), status));
        }
    }
    statuses
}

/// The state that all are at, with a root that leaves no executed transaction out: the newest block at most, which carries the
/// root of the state before it, comes after it.
fn common_state(statuses: &[(String, NodeStatus)]) -> Option<NodeStatus> {
    let (_, first) = statuses.first()?;
    let is_rooted = first.height <= first.state_root.height + 1;
    (is_rooted && statuses.iter().all(|(_, status)| same_state(status, first))).then(|| first.clone())
}

/// Whether two nodes, or one at two times, are at the same block with the same state. Empty commits go on meanwhile.
fn same_state(a: &NodeStatus, b: &NodeStatus) -> bool {
    a.height == b.height && a.block_hash == b.block_hash && a.state_root.root == b.state_root.root
}

fn refuse_different_roots(statuses: &[(String, NodeStatus)]) -> anyhow::Result<()> {
    let mut roots = BTreeMap::new();
    for (url, status) in statuses {
        let (other, root) = roots.entry(status.state_root.height).or_insert((url, status.state_root.root));
        if *root != status.state_root.root {
            let height = status.state_root.height;
            bail!(
                "{other} and {url} have different state roots at height {height}: {root} and {}",
                status.state_root.root
            );
        }
    }
    Ok(())
}

fn describe(url: &str, status: &NodeStatus) -> String {
    format!(
        "{url} at height {} with root {} of height {}",
        status.height, status.state_root.root, status.state_root.height
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_network::node_status;

    fn statuses(states: &[(u64, u64, u8)]) -> Vec<(String, NodeStatus)> {
        let name = |index: usize| format!("node-{index}");
        states.iter().enumerate().map(|(index, state)| (name(index), node_status(state.0, state.1, state.2))).collect()
    }

    #[test]
    fn nodes_agree_only_on_a_root_that_covers_everything() {
        // Height, height of the root, root.
        let table = [
            (&[(7, 7, 1), (7, 7, 1)][..], true),
            (&[(7, 6, 1), (7, 6, 1), (7, 6, 1)], true),
            (&[(7, 5, 1), (7, 5, 1)], false),
            (&[(7, 7, 1), (8, 7, 1)], false),
            (&[(7, 7, 1), (7, 6, 2)], false),
            (&[], false),
        ];
        for (states, expected) in table {
            assert_eq!(common_state(&statuses(states)).is_some(), expected, "{states:?}");
        }
    }

    #[test]
    fn two_roots_of_one_state_are_an_error() {
        assert!(refuse_different_roots(&statuses(&[(7, 6, 1), (9, 8, 2), (8, 6, 1)])).is_ok());
        let message =
            refuse_different_roots(&statuses(&[(7, 6, 1), (9, 8, 2), (7, 6, 3)])).expect_err("differ").to_string();
        assert!(message.contains("node-0 and node-2 have different state roots at height 6"), "{message}");
    }
}
