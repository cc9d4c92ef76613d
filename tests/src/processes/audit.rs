//! Whether all nodes say the same, and what the journal says: agreement, supply, nothing lost, nothing twice.

use super::cluster::{BALANCE, Cluster, DESCRIPTORS_MAX, RESIDENT_BYTES_MAX};
use super::load::{Entry, Outcome};
use super::{PATIENCE, wait_for};
use farthing_client::{AccountView, BlockView, Client, ClientError, NodeStatus, ProblemCode};
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::transaction::TransactionId;
use std::collections::{BTreeMap, HashMap};
use tokio::task::JoinSet;

/// How many requests one node is sent at a time.
const REQUESTS_AT_ONCE: usize = 16;

/// What was found, all in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The height that all nodes are at.
    pub height: u64,
    /// Transfers that were sent.
    pub sent: usize,
    /// Those of them that were acknowledged.
    pub acknowledged: usize,
    /// Those that were refused because their twin came through.
    pub refused: usize,
    /// Transactions in blocks.
    pub in_blocks: usize,
}

/// A transaction's place and result in the chain.
type Place = (u64, u32, ResultCode);

/// Waits until all nodes have come to the same state, and holds what each of them says against the journal of everything that was
/// ever sent to this cluster.
///
/// # Panics
/// If anything is wrong: says what.
pub fn audit(cluster: &Cluster, journal: &[Entry]) -> Audit {
    let agreed = wait_for_agreement(cluster);
    let blocks = same_blocks(cluster, agreed.height);
    assert_chain(&blocks);
    let places = places(&blocks);
    let found = check_journal(cluster, journal, &blocks, &places);
    check_accounts(cluster, journal, &places);
    for node in 0..cluster.count() {
        assert_eq!(cluster.metric(node, "farthing_evidence"), 0, "node {node} saw a validator sign two vertices");
        let most = cluster.most_used(node);
        assert!(most.resident_bytes <= RESIDENT_BYTES_MAX, "node {node} used {} bytes", most.resident_bytes);
        assert!(most.descriptors <= DESCRIPTORS_MAX, "node {node} had {} files and sockets open", most.descriptors);
    }
    eprintln!("{found:?}, most memory {} MiB", most_memory(cluster) >> 20);
    found
}

/// Waits until all nodes rest at the same block with the same state.
pub fn wait_for_agreement(cluster: &Cluster) -> NodeStatus {
    let mut before: Option<NodeStatus> = None;
    wait_for("the same state everywhere", PATIENCE, || {
        let all: Option<Vec<_>> = (0..cluster.count()).map(|node| cluster.status(node)).collect();
        let all = all?;
        let same = |a: &NodeStatus, b: &NodeStatus| {
            a.height == b.height && a.block_hash == b.block_hash && a.state_root.root == b.state_root.root
        };
        refuse_different_roots(&all);
        // The newest block may carry the root of the state before it.
        let rooted = all[0].height <= all[0].state_root.height + 1;
        let now = (rooted && all.iter().all(|status| same(status, &all[0]))).then(|| all[0].clone());
        let rests = now.as_ref().zip(before.as_ref()).is_some_and(|(now, before)| same(now, before));
        std::thread::sleep(std::time::Duration::from_millis(300));
        before.clone_from(&now);
        now.filter(|_| rests)
    })
}

fn refuse_different_roots(statuses: &[NodeStatus]) {
    let mut roots = BTreeMap::new();
    for (node, status) in statuses.iter().enumerate() {
        let root = status.state_root;
        let (other, first) = *roots.entry(root.commit_index).or_insert((node, root.root));
        assert_eq!(first, root.root, "nodes {other} and {node} have different states at commit {}", root.commit_index);
    }
}

/// Reads all blocks of all nodes, which must be the same. A node that began again from a snapshot need not have those before it, if
/// it is not the first.
fn same_blocks(cluster: &Cluster, height: u64) -> Vec<BlockView> {
    let read = |node: usize| {
        let client = cluster.client(node).clone();
        let heights = (1..=height).collect();
        cluster.block_on(read_many(client, heights, block_if_kept))
    };
    let first: Option<Vec<BlockView>> = read(0).into_iter().collect();
    let first = first.expect("node 0 has all blocks");
    for node in 1..cluster.count() {
        for (ours, theirs) in first.iter().zip(&read(node)) {
            let Some(theirs) = theirs else { continue };
            let height = ours.header.height;
            assert_eq!(ours.hash, theirs.hash, "nodes 0 and {node} have different blocks {height}");
            assert_eq!(ours.header, theirs.header, "nodes 0 and {node} have different headers {height}");
            if !ours.pruned && !theirs.pruned {
                assert_eq!(ours.transactions, theirs.transactions, "nodes 0 and {node} differ in block {height}");
            }
        }
    }
    first
}

async fn block_if_kept(client: Client, height: u64) -> Result<Option<BlockView>, ClientError> {
    match client.block(Some(height)).await {
        Ok(block) => Ok(Some(block)),
        Err(error) if error.code() == Some(ProblemCode::NotKept) => Ok(None),
        Err(error) => Err(error),
    }
}

fn assert_chain(blocks: &[BlockView]) {
    for (block, height) in blocks.iter().zip(1..) {
        assert_eq!(block.header.height, height);
        assert_eq!(block.hash, block.header.hash(), "block {height} has another hash than it says");
        assert_eq!(block.transactions.len(), block.header.transaction_count as usize, "block {height} is not whole");
    }
    for pair in blocks.windows(2) {
        let [before, after] = [&pair[0], &pair[1]];
        assert_eq!(after.header.previous, before.hash, "block {} follows another", after.header.height);
        assert!(after.header.timestamp_ms >= before.header.timestamp_ms, "time falls at {}", after.header.height);
    }
}

fn places(blocks: &[BlockView]) -> HashMap<TransactionId, Place> {
    let mut places = HashMap::new();
    for block in blocks {
        for (position, transaction) in block.transactions.iter().enumerate() {
            let place = (block.header.height, position as u32, transaction.code);
            let before = places.insert(transaction.id, place);
            assert_eq!(before, None, "{} is in two places, the second is {place:?}", transaction.id);
        }
    }
    places
}

fn check_journal(
    cluster: &Cluster,
    journal: &[Entry],
    blocks: &[BlockView],
    places: &HashMap<TransactionId, Place>,
) -> Audit {
    let mut found = Audit {
        height: blocks.len() as u64,
        sent: journal.len(),
        acknowledged: 0,
        refused: 0,
        in_blocks: places.len(),
    };
    let mut known = 0;
    let mut nonces: HashMap<(usize, u64), usize> = HashMap::new();
    for entry in journal {
        let place = places.get(&entry.id);
        known += usize::from(place.is_some());
        *nonces.entry((entry.sender, entry.nonce)).or_default() += usize::from(place.is_some());
        match entry.outcome {
            Outcome::Open => {}
            Outcome::Refused => {
                found.refused += 1;
                assert_eq!(place, None, "{entry:?} was refused and is in a block");
            }
            Outcome::Acknowledged { code, block, .. } => {
                found.acknowledged += 1;
                let expected = Some(&(block.height, block.position, code));
                assert_eq!(place, expected, "{entry:?} was acknowledged, and then LOST or changed");
                let hash = blocks[block.height as usize - 1].hash;
                assert_eq!(block.hash, hash, "{entry:?} was acknowledged in another block");
            }
        }
    }
    assert_eq!(known, places.len(), "blocks hold transactions that nobody sent");
    for entry in journal {
        let count = nonces[&(entry.sender, entry.nonce)];
        assert!(count <= 1, "nonce {} of account {} was applied {count} times", entry.nonce, entry.sender);
        if entry.outcome == Outcome::Refused {
            let account = cluster.account_address(entry.sender);
            assert_eq!(count, 1, "nonce {} of {account} was said to be used, and is not", entry.nonce);
        }
    }
    found
}

/// Executes the journal's transfers as the blocks have them, and compares every node's accounts.
fn check_accounts(cluster: &Cluster, journal: &[Entry], places: &HashMap<TransactionId, Place>) {
    let mut expected: Vec<(i128, u64)> = vec![(i128::from(BALANCE.mites()), 0); cluster.accounts()];
    for entry in journal {
        let Some((_, _, code)) = places.get(&entry.id) else { continue };
        let nonce_high = &mut expected[entry.sender].1;
        *nonce_high = entry.nonce.max(*nonce_high);
        if code.is_executed() {
            expected[entry.sender].0 -= i128::from(entry.amount.mites());
            expected[entry.to].0 += i128::from(entry.amount.mites());
        }
    }
    for node in 0..cluster.count() {
        let addresses = (0..cluster.accounts()).map(|account| cluster.account_address(account)).collect();
        let client = cluster.client(node).clone();
        let accounts: Vec<AccountView> =
            cluster.block_on(read_many(client, addresses, |client, address: String| async move {
                client.account(&address).await
            }));
        let mut supply = Amount::ZERO;
        for (account, (balance, nonce_high)) in accounts.iter().zip(&expected) {
            let found = (i128::from(account.balance.mites()), account.nonce_high);
            assert_eq!(
                found,
                (*balance, *nonce_high),
                "node {node} has another balance or nonce of {}",
                account.address
            );
            supply = supply.checked_add(account.balance).expect("no more than there is");
            supply = supply.checked_add(account.reserve).expect("no more than there is");
        }
        assert_eq!(supply, cluster.genesis().supply(), "node {node} made or lost money");
    }
}

/// Asks one node for many things, in order, several at a time.
async fn read_many<I, T, F>(client: Client, items: Vec<I>, ask: impl Fn(Client, I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ClientError>> + Send + 'static,
{
    let mut answers: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let mut asked = JoinSet::new();
    let mut keep = |ended: Result<(usize, Result<T, _>), _>| {
        let (place, answer): (usize, Result<T, ClientError>) = ended.expect("no question panics");
        answers[place] = Some(answer.unwrap_or_else(|error| panic!("{error}")));
    };
    for (place, item) in items.into_iter().enumerate() {
        if asked.len() == REQUESTS_AT_ONCE {
            keep(asked.join_next().await.expect("some are open"));
        }
        let answer = ask(client.clone(), item);
        asked.spawn(async move { (place, answer.await) });
    }
    while let Some(ended) = asked.join_next().await {
        keep(ended);
    }
    answers.into_iter().map(|answer| answer.expect("all were asked for")).collect()
}

fn most_memory(cluster: &Cluster) -> u64 {
    (0..cluster.count()).map(|node| cluster.most_used(node).resident_bytes).max().unwrap_or_default()
}
