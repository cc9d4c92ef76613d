//! A network that is not one, for tests: HTTP servers that decode transfers, answer and remember.

use crate::accounts;
use crate::ready::{Find, READY_FILE, Ready, ReadyValidator};
use crate::topology;
use farthing_client::{
    AccountView, AsOf, DroppedReason, NodeStatus, NonceBits, Role, StateRoot, SubmitResponse, TransactionState,
    TransactionStatus, decode_concatenated,
};
use farthing_core::amount::Amount;
use farthing_core::genesis::{Genesis, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, SecretKey};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long a fake node takes to "decide".
pub const DELAY: Duration = Duration::from_millis(30);

/// A status at a height, with a root at another; the commit's index is the root's height.
pub fn node_status(height: u64, root_height: u64, root: u8) -> NodeStatus {
    let state_root = StateRoot { root: Digest([root; 32]), height: root_height, commit_index: root_height };
    NodeStatus {
        network: "test".into(),
        chain: genesis().chain_hash(),
        address_prefix: topology::address_prefix(),
        version: "0".into(),
        role: Role::Validator,
        validator: None,
        round: 1,
        commit_index: height,
        height,
        block_hash: Digest::ZERO,
        timestamp_ms: 1,
        certified_height: height,
        state_root,
        peers_connected: 0,
        validators: 1,
        mempool_transactions: 0,
        mempool_bytes: 0,
        uptime_s: 1,
        catching_up: false,
        ready: true,
    }
}

pub fn genesis() -> Genesis {
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public_key();
    let validator = Validator { name: "a".into(), public_key: key(1), network_key: key(2) };
    topology::genesis(vec![validator], 1, accounts::genesis_accounts()).expect("valid")
}

/// What a fake node does with transfers.
#[derive(Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// Executes them.
    Executes,
    /// Rejects those of one quarter of the senders and drops those of another.
    RefusesHalf,
    /// Executes them, then breaks the connection without an answer.
    BreaksOff,
}

/// The ledger that the fake nodes of a test share.
#[derive(Default)]
pub struct Ledger {
    /// The executed nonces of each sender with the bytes that used them.
    pub executed: BTreeMap<PublicKey, BTreeMap<u64, Vec<u8>>>,
    /// How many transfers each node was given.
    received: BTreeMap<usize, usize>,
    /// How many transfers were rejected.
    pub rejected: u64,
    /// How many transfers were dropped.
    pub dropped: u64,
    /// Balances that differ from now on, for the check to find.
    pub stolen: bool,
}

pub struct FakeNetwork {
    /// Holds the ready file and the genesis document.
    pub directory: tempfile::TempDir,
    /// What the nodes share.
    pub ledger: Arc<Mutex<Ledger>>,
}

impl FakeNetwork {
    /// Nodes that behave like this, and one more address that nobody listens on if `one_down`.
    pub async fn start(behaviours: &[Behaviour], one_down: bool) -> FakeNetwork {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let mut api = Vec::new();
        for (index, behaviour) in behaviours.iter().copied().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            api.push(format!("http://{}", listener.local_addr().expect("bound")));
            let ledger = ledger.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, index, behaviour, ledger.clone()));
                }
            });
        }
        if one_down {
            let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            api.push(format!("http://{}", closed.local_addr().expect("bound")));
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let genesis_file = directory.path().join("genesis.json");
        std::fs::write(&genesis_file, genesis().to_json()).expect("written");
        let validator = |(index, api): (usize, &String)| ReadyValidator {
            name: format!("validator-{}", index + 1),
            pid: 1,
            api: api.clone(),
        };
        let validators = api.iter().enumerate().map(validator).collect();
        let ready = Ready { api, accounts: vec![], validators, genesis: genesis_file };
        ready.write(&directory.path().join(READY_FILE)).expect("written");
        FakeNetwork { directory, ledger }
    }

    /// How a command finds it.
    pub fn find(&self) -> Find {
        Find { ready_file: None, state: Some(self.directory.path().into()) }
    }

    /// How many transfers were executed.
    pub fn executed(&self) -> u64 {
        self.ledger.lock().expect("not poisoned").executed.values().map(|nonces| nonces.len() as u64).sum()
    }

    /// How many transfers a node was given.
    pub fn received(&self, node: usize) -> usize {
        self.ledger.lock().expect("not poisoned").received.get(&node).copied().unwrap_or(0)
    }
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, node: usize, behaviour: Behaviour, ledger: Arc<Mutex<Ledger>>) {
    let mut stream = BufReader::new(stream);
    while let Some((line, body)) = read_request(&mut stream).await {
        let path = line.split(' ').nth(1).expect("a request line").to_string();
        let answer = if line.starts_with("POST /v1/transactions?") {
            assert!(line.contains("wait=final"), "{line}");
            let statuses = execute(&body, node, behaviour, &ledger);
            if behaviour == Behaviour::BreaksOff {
                return;
            }
            tokio::time::sleep(DELAY).await;
            serde_json::to_string(&SubmitResponse { transactions: statuses })
        } else if path == "/v1/status" {
            serde_json::to_string(&node_status(5, 5, 1))
        } else if let Some(address) = path.strip_prefix("/v1/accounts/") {
            serde_json::to_string(&account(address, ledger.lock().expect("not poisoned").stolen))
        } else {
            panic!("nobody should ask for {line}");
        };
        let body = answer.expect("plain data");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut request_line = String::new();
    stream.read_line(&mut request_line).await.ok().filter(|bytes| *bytes > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok().filter(|bytes| *bytes > 0)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((request_line, body))
}

fn execute(body: &[u8], node: usize, behaviour: Behaviour, ledger: &Mutex<Ledger>) -> Vec<TransactionStatus> {
    let chain = genesis().chain_hash();
    let mut ledger = ledger.lock().expect("not poisoned");
    let transfers = decode_concatenated(body).expect("well-formed");
    *ledger.received.entry(node).or_default() += transfers.len();
    let mut statuses = Vec::new();
    for signed in transfers {
        let (sender, nonce) = (signed.transaction.sender.0, signed.transaction.nonce);
        let bytes = signed.encode();
        let id = signed.transaction.id(&chain);
        signed.verify(&chain).expect("well signed");
        let mut status = TransactionStatus::new(id, TransactionState::Executed);
        if behaviour == Behaviour::RefusesHalf && sender.0[0] < 64 {
            status.status = TransactionState::Rejected;
            ledger.rejected += 1;
        } else if behaviour == Behaviour::RefusesHalf && sender.0[0] < 128 {
            status.status = TransactionState::Dropped;
            status.reason = Some(DroppedReason::InsufficientBandwidth);
            ledger.dropped += 1;
        } else {
            let earlier = ledger.executed.entry(sender).or_default().insert(nonce, bytes.clone());
            assert!(earlier.is_none_or(|earlier| earlier == bytes), "a nonce is used for one transfer only");
        }
        statuses.push(status);
    }
    statuses
}

fn account(address: &str, stolen: bool) -> AccountView {
    AccountView {
        address: address.into(),
        balance: Amount::from_mites(if stolen { 99 } else { 100 }),
        reserve: Amount::ZERO,
        sponsor: None,
        nonce_high: 4,
        nonce_seen: NonceBits(0b1111),
        next_nonce: 5,
        as_of: AsOf { height: 5, commit_index: 5, timestamp_ms: 1 },
    }
}
