//! A fake node for the wallet to talk to, and the real wallet run against it.
//!
//! The node executes what it is sent at once, one block a transaction, and certifies blocks with the keys of its four
//! validators, so that its receipts are real. How it answers the next submissions can be set.

// Each test file uses its own part of this.
#![allow(dead_code)]

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use farthing_client::{
    AccountView, AsOf, BlockPosition, Direction, DroppedReason, HistoryEntry, HistoryPage, NodeStatus, NonceBits,
    OperationName, Problem, ProblemCode, Role, SignedTransactionJson, StateRoot, SubmitResponse, TransactionState,
    TransactionStatus, decode_concatenated,
};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHeader, ResultCode, TransactionResult};
use farthing_core::certificate::{Certificate, CertificateAttestation, attestation_digest};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::receipt::{Receipt, transaction_path, transactions_root};
use farthing_core::transaction::{SignedTransaction, TransactionId};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// How the node treats one submission.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Executes it and says so.
    Execute,
    /// Puts it into a block with this code.
    Reject(ResultCode),
    /// Refuses it.
    Drop(DroppedReason),
    /// Takes it, and never puts it into a block.
    Hold,
    /// Executes it, and its answer is lost.
    LoseAnswer,
    /// Neither takes it nor answers properly.
    LoseRequest,
    /// Says that it has expired.
    Expire,
    /// Never answers.
    Hang,
    /// Says that it is not available, and takes nothing.
    Busy,
}

/// What the node knows.
pub struct Ledger {
    pub genesis: Genesis,
    pub balances: BTreeMap<Address, Amount>,
    /// How to treat the next submissions; after them, `then`.
    pub next: VecDeque<Behaviour>,
    pub then: Behaviour,
    /// The bodies of all submissions, in order of arrival.
    pub submissions: Vec<Vec<u8>>,
    /// The nonces that were executed or rejected.
    pub nonces: Vec<u64>,
    pub held: Vec<SignedTransaction>,
    pub receipts: BTreeMap<TransactionId, Receipt>,
    /// The time of the node's state.
    pub timestamp_ms: u64,
    /// What the node says is its chain, if not the truth.
    pub other_chain: Option<Digest>,
    /// Whether the node says that it answers for the newest state.
    pub is_ready: bool,
}

type Shared = Arc<Mutex<Ledger>>;

/// A running fake node. It stops when it is dropped.
pub struct Node {
    pub url: String,
    pub ledger: Shared,
    _runtime: tokio::runtime::Runtime,
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub fn address(seed: u8) -> Address {
    Address(key(seed).public_key())
}

pub fn text(seed: u8) -> String {
    address(seed).encode(&"farl".parse().unwrap())
}

/// A network of four validators on which the accounts 1 and 2 have 5 FAR each; `timestamp_ms` tells networks apart.
pub fn genesis(timestamp_ms: u64) -> Genesis {
    let prefix: AddressPrefix = "farl".parse().unwrap();
    let validators = (0..4)
        .map(|index| Validator {
            name: ["alpha", "beta", "gamma", "delta"][index as usize].into(),
            public_key: key(100 + index).public_key(),
            network_key: key(150 + index).public_key(),
        })
        .collect();
    let accounts = [1, 2].map(|seed| (address(seed), Amount::from_far(5).unwrap())).to_vec();
    Genesis::new("test", &prefix, timestamp_ms, Parameters::generous(), validators, accounts).unwrap()
}

impl Node {
    pub fn start() -> Node {
        Node::of(genesis(1_000))
    }

    pub fn of(genesis: Genesis) -> Node {
        let ledger = Arc::new(Mutex::new(Ledger {
            balances: genesis.accounts().iter().copied().collect(),
            genesis,
            next: VecDeque::new(),
            then: Behaviour::Execute,
            submissions: Vec::new(),
            nonces: Vec::new(),
            held: Vec::new(),
            receipts: BTreeMap::new(),
            timestamp_ms: 1_000,
            other_chain: None,
            is_ready: true,
        }));
        let router = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/genesis", get(genesis_document))
            .route("/v1/accounts/{address}", get(account))
            .route("/v1/accounts/{address}/history", get(history))
            .route("/v1/transactions", post(submit))
            .route("/v1/transactions/{id}", get(transaction))
            .route("/v1/transactions/{id}/receipt", get(receipt))
            .with_state(ledger.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Node { url, ledger, _runtime: runtime }
    }

    pub fn set_next(&self, behaviours: &[Behaviour]) {
        self.ledger.lock().unwrap().next = behaviours.iter().copied().collect();
    }

    pub fn set_then(&self, behaviour: Behaviour) {
        self.ledger.lock().unwrap().then = behaviour;
    }

    pub fn submissions(&self) -> Vec<Vec<u8>> {
        self.ledger.lock().unwrap().submissions.clone()
    }

    /// Executes what was held.
    pub fn execute_held(&self) {
        let mut ledger = self.ledger.lock().unwrap();
        for signed in std::mem::take(&mut ledger.held) {
            ledger.include(signed, ResultCode::Executed);
        }
    }
}

impl Ledger {
    fn take(&mut self, signed: SignedTransaction) -> Option<TransactionStatus> {
        let chain = self.genesis.chain_hash();
        let id = signed.clone().verify(&chain).expect("the wallet signs well").id();
        if self.receipts.contains_key(&id) {
            return Some(self.status_of(&id));
        }
        match self.next.pop_front().unwrap_or(self.then) {
            Behaviour::Execute => Some(self.include(signed, ResultCode::Executed)),
            Behaviour::Reject(code) => Some(self.include(signed, code)),
            Behaviour::Drop(reason) => {
                let status = TransactionStatus::new(id, TransactionState::Dropped);
                Some(TransactionStatus { reason: Some(reason), detail: Some("the node's reason".into()), ..status })
            }
            Behaviour::Hold => {
                if !self.held.contains(&signed) {
                    self.held.push(signed);
                }
                Some(TransactionStatus::new(id, TransactionState::Pending))
            }
            Behaviour::LoseAnswer => {
                self.include(signed, ResultCode::Executed);
                None
            }
            Behaviour::LoseRequest | Behaviour::Hang | Behaviour::Busy => None,
            Behaviour::Expire => Some(TransactionStatus::new(id, TransactionState::Expired)),
        }
    }

    /// Makes a certified block of one transaction.
    fn include(&mut self, signed: SignedTransaction, code: ResultCode) -> TransactionStatus {
        let chain = self.genesis.chain_hash();
        let id = signed.transaction.id(&chain);
        assert!(!self.nonces.contains(&signed.transaction.nonce), "the wallet used a nonce twice");
        self.nonces.push(signed.transaction.nonce);
        if code.is_executed() {
            for output in signed.transaction.outputs() {
                let payer = self.balances.get_mut(&signed.transaction.sender).unwrap();
                *payer = payer.checked_sub(output.amount).unwrap();
                let payee = self.balances.entry(output.to).or_default();
                *payee = payee.checked_add(output.amount).unwrap();
            }
        }
        let results = [TransactionResult { id, code }];
        let height = self.receipts.len() as u64 + 1;
        let header = BlockHeader {
            chain,
            epoch: 0,
            height,
            previous: Digest::ZERO,
            commit_index: height,
            commit_digest: Digest::ZERO,
            timestamp_ms: 2_000,
            transactions_root: transactions_root(&results),
            state_root: None,
            transaction_count: 1,
        };
        let digest = attestation_digest(&chain, height, &header.hash());
        let attestations = [0, 1, 3]
            .map(|validator| CertificateAttestation {
                validator,
                height,
                signature: key(100 + validator as u8).sign(&digest),
            })
            .to_vec();
        let certificate = Certificate { links: Vec::new(), attestations };
        let path = transaction_path(&results, 0);
        self.receipts.insert(id, Receipt { transaction: signed, code, position: 0, path, header, certificate });
        self.status_of(&id)
    }

    fn status_of(&self, id: &TransactionId) -> TransactionStatus {
        let Some(receipt) = self.receipts.get(id) else {
            let chain = self.genesis.chain_hash();
            let held = self.held.iter().any(|signed| signed.transaction.id(&chain) == *id);
            let state = if held { TransactionState::Pending } else { TransactionState::Unknown };
            return TransactionStatus::new(*id, state);
        };
        let state = if receipt.code.is_executed() { TransactionState::Executed } else { TransactionState::Rejected };
        TransactionStatus {
            code: Some(receipt.code),
            block: Some(BlockPosition {
                height: receipt.header.height,
                hash: receipt.header.hash(),
                position: 0,
                timestamp_ms: receipt.header.timestamp_ms,
                commit_index: receipt.header.commit_index,
            }),
            certified: true,
            transaction: Some(SignedTransactionJson::new(&receipt.transaction, self.genesis.prefix())),
            ..TransactionStatus::new(*id, state)
        }
    }
}

fn problem(code: ProblemCode, detail: &str) -> Response {
    let problem = Problem::new(code, detail);
    (StatusCode::from_u16(problem.status).unwrap(), Json(problem)).into_response()
}

async fn status(State(ledger): State<Shared>) -> Json<NodeStatus> {
    let ledger = ledger.lock().unwrap();
    let height = ledger.receipts.len() as u64;
    Json(NodeStatus {
        network: ledger.genesis.network().into(),
        chain: ledger.other_chain.unwrap_or_else(|| ledger.genesis.chain_hash()),
        address_prefix: ledger.genesis.prefix().clone(),
        version: "0".into(),
        role: Role::Validator,
        validator: Some("alpha".into()),
        round: 9,
        commit_index: height,
        height,
        block_hash: Digest::ZERO,
        timestamp_ms: ledger.timestamp_ms,
        certified_height: height,
        state_root: StateRoot { root: Digest::ZERO, height: 0, commit_index: 0 },
        peers_connected: 3,
        validators: 4,
        mempool_transactions: 0,
        mempool_bytes: 0,
        uptime_s: 1,
        catching_up: !ledger.is_ready,
        ready: ledger.is_ready,
    })
}

async fn genesis_document(State(ledger): State<Shared>) -> String {
    ledger.lock().unwrap().genesis.to_json()
}

async fn account(State(ledger): State<Shared>, Path(text): Path<String>) -> Response {
    let ledger = ledger.lock().unwrap();
    let address = Address::decode(&text, ledger.genesis.prefix()).unwrap();
    let Some(balance) = ledger.balances.get(&address) else {
        return problem(ProblemCode::NoSuchAccount, "no account has this address");
    };
    let nonce_high = if address == self::address(1) { ledger.nonces.iter().copied().max().unwrap_or(0) } else { 0 };
    let below = ledger.nonces.iter().map(|nonce| nonce_high.saturating_sub(*nonce)).filter(|distance| *distance < 128);
    let seen = below.fold(0, |bits, distance| bits | 1 << distance);
    Json(AccountView {
        address: text,
        balance: *balance,
        reserve: Amount::ZERO,
        sponsor: None,
        nonce_high,
        nonce_seen: NonceBits(seen),
        next_nonce: nonce_high + 1,
        as_of: AsOf { height: 0, commit_index: 0, timestamp_ms: ledger.timestamp_ms },
    })
    .into_response()
}

async fn history(State(ledger): State<Shared>, Path(text): Path<String>) -> Json<HistoryPage> {
    let ledger = ledger.lock().unwrap();
    let mut receipts: Vec<&Receipt> = ledger.receipts.values().collect();
    receipts.sort_by_key(|receipt| std::cmp::Reverse(receipt.header.height));
    let entries = receipts.iter().map(|receipt| {
        let output = &receipt.transaction.transaction.outputs()[0];
        let payee = output.to.encode(ledger.genesis.prefix());
        let incoming = payee == text;
        HistoryEntry {
            account: text.clone(),
            operation: OperationName::Transfer,
            hold: None,
            id: receipt.transaction.transaction.id(&ledger.genesis.chain_hash()),
            direction: if incoming { Direction::In } else { Direction::Out },
            counterparty: Some(if incoming { self::text(1) } else { payee }),
            amount: output.amount,
            code: receipt.code,
            reference: output.reference.map(|bytes| Digest(bytes).to_string()),
            height: receipt.header.height,
            position: 0,
            timestamp_ms: receipt.header.timestamp_ms,
            outputs: 1,
        }
    });
    Json(HistoryPage { entries: entries.collect(), next: None })
}

async fn submit(State(ledger): State<Shared>, body: Bytes) -> Response {
    let (status, behaviour) = {
        let mut ledger = ledger.lock().unwrap();
        ledger.submissions.push(body.to_vec());
        let [signed] = decode_concatenated(&body).unwrap().try_into().expect("the wallet sends one at a time");
        let behaviour = *ledger.next.front().unwrap_or(&ledger.then);
        (ledger.take(signed), behaviour)
    };
    match (status, behaviour) {
        (Some(status), _) => Json(SubmitResponse { transactions: vec![status] }).into_response(),
        (None, Behaviour::Busy) => problem(ProblemCode::Unavailable, "the mempool is full"),
        (None, Behaviour::Hang) => std::future::pending().await,
        (None, _) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn transaction(State(ledger): State<Shared>, Path(id): Path<String>) -> Json<TransactionStatus> {
    Json(ledger.lock().unwrap().status_of(&id.parse().unwrap()))
}

async fn receipt(State(ledger): State<Shared>, Path(id): Path<String>) -> Response {
    match ledger.lock().unwrap().receipts.get(&id.parse().unwrap()) {
        Some(receipt) => Json(receipt.clone()).into_response(),
        None => problem(ProblemCode::NoSuchTransaction, "this node knows no such transaction"),
    }
}

/// A wallet in a folder of its own, with the real binary.
pub struct Wallet {
    pub folder: TempDir,
}

/// What a run of the wallet came to.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Wallet {
    /// An empty wallet.
    pub fn empty() -> Wallet {
        Wallet { folder: tempfile::tempdir().unwrap() }
    }

    /// A wallet with the key of account 1, named "dev-1", set up as the launcher of the testnet does it.
    pub fn on(apis: &[&str]) -> Wallet {
        let wallet = Wallet::empty();
        wallet
            .run_with_input(
                &["keys", "import", "--name", "dev-1", "--no-password", "--seed-file", "-"],
                &hex::encode([1; 32]),
            )
            .ok();
        std::fs::write(wallet.path("genesis.json"), genesis(1_000).to_json()).unwrap();
        let genesis = wallet.path("genesis.json");
        let mut arguments = vec!["profile", "add", "local", "--genesis", &genesis, "--use"];
        for api in apis {
            arguments.extend(["--api", api]);
        }
        wallet.run(&arguments).ok();
        wallet
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().into()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
        command
            .args(arguments)
            .env("FARTHING_HOME", self.path("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let written = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        // Whoever refuses without reading may be gone by now.
        assert!(written.is_ok() || written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
        Run::of(child.wait_with_output().unwrap())
    }

    /// Runs with `--output json`: standard output must be one JSON value, whatever happens.
    pub fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let run = self.run(&[&["--output", "json"], arguments].concat());
        let value = serde_json::from_str(&run.out);
        (run.code, value.unwrap_or_else(|error| panic!("not one JSON value ({error}): {run:?}")))
    }

    /// The folder of the journal.
    pub fn journal(&self) -> PathBuf {
        let chain = genesis(1_000).chain_hash();
        self.folder.path().join(format!("home/journal/{chain}/{}", key(1).public_key()))
    }

    /// Locks a file of the journal, as another process of the wallet does, for so long.
    pub fn lock_for(&self, name: &str, time: Duration) -> JoinHandle<()> {
        let file = File::options().read(true).open(self.journal().join(name)).unwrap();
        file.lock().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(time);
            drop(file);
        })
    }

    /// The journal files of unsettled payments.
    pub fn open_payments(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.journal()) else { return Vec::new() };
        let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".json"));
        names.sort();
        names
    }
}

impl Run {
    pub fn of(output: Output) -> Run {
        Run {
            code: output.status.code().expect("not killed by a signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The output of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Checks that the run failed with this exit code and a message that contains all of these texts.
    #[track_caller]
    pub fn fails(self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "errors go to standard error");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {self:?}");
        }
    }
}
