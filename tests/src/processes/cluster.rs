//! A network of real nodes on loopback.

use super::launch::Launch;
use super::load::{Load, LoadOptions};
use super::node::{NodeProcess, Usage};
use super::proxy::Proxies;
use super::{PATIENCE, exclusively, program, unix_ms, wait_for};
use farthing_client::{Client, NodeStatus, ValidatorView};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::{ChainHash, Digest};
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Output, SignedTransaction};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What every account has at first.
pub const BALANCE: Amount = Amount::from_mites(1_000_000_000_000);

/// How long signed transfers are valid, in milliseconds.
const VALIDITY_MS: u64 = 1_800_000;

/// Below the ports that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How often the nodes' use of memory and descriptors is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// The most memory that a node may use under these tests' loads, in bytes: several times what was measured, and far below what
/// anything without a bound would reach.
pub const RESIDENT_BYTES_MAX: u64 = 1 << 30;

/// The most file descriptors: those of RocksDB (512), of all connections that the API and the gate let in, and some.
pub const DESCRIPTORS_MAX: usize = 512 + 1_024 + 512 + 128;

/// How to make a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many validators.
    pub validators: usize,
    /// How many accounts with [`BALANCE`].
    pub accounts: usize,
    /// Sections of every node's configuration beside `[network]` and `[api]`.
    pub configuration: String,
}

impl Default for Options {
    fn default() -> Options {
        Options { validators: 4, accounts: 32, configuration: String::new() }
    }
}

/// What senders of transfers know.
pub(super) struct Shared {
    pub(super) chain: ChainHash,
    pub(super) keys: Vec<SecretKey>,
    pub(super) next_nonces: Vec<AtomicU64>,
    pub(super) clients: Vec<Client>,
}

/// A network of real nodes; dropping it kills them.
pub struct Cluster {
    nodes: Vec<Node>,
    links: Proxies,
    genesis: Genesis,
    shared: Arc<Shared>,
    watched: Arc<Mutex<Vec<Watched>>>,
    stop_watching: CancellationToken,
    runtime: Runtime,
    directory: TempDir,
    _alone: MutexGuard<'static, ()>,
}

struct Node {
    home: PathBuf,
    network: SocketAddr,
    api: SocketAddr,
    process: Option<NodeProcess>,
}

/// The process of a node, and the most that its processes used.
#[derive(Clone, Copy, Default)]
struct Watched {
    pid: Option<u32>,
    most: Usage,
}

impl Shared {
    pub(super) fn address(&self, account: usize) -> Address {
        Address(self.keys[account].public_key())
    }

    pub(super) fn sign(&self, account: usize, nonce: u64, outputs: Vec<Output>) -> SignedTransaction {
        let valid_until_ms = unix_ms() + VALIDITY_MS;
        farthing_client::transfer(&self.chain, &self.keys[account], nonce, valid_until_ms, outputs)
            .expect("tests make transfers that can be encoded")
    }
}

impl Cluster {
    /// Makes the nodes' homes and starts none.
    pub fn new(options: &Options) -> Cluster {
        let alone = exclusively();
        let directory = tempfile::tempdir().expect("room for a test");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads to run on");
        let ports = free_ports(2 * options.validators);
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let nodes: Vec<Node> = (0..options.validators)
            .map(|number| Node {
                home: directory.path().join(name(number)),
                network: address(ports[2 * number]),
                api: address(ports[2 * number + 1]),
                process: None,
            })
            .collect();
        let network: Vec<SocketAddr> = nodes.iter().map(|node| node.network).collect();
        let links = Proxies::start(runtime.handle(), &network).expect("ports for the proxies");
        let validators = nodes.iter().enumerate().map(|(number, node)| make_home(&node.home, &name(number))).collect();
        let keys: Vec<SecretKey> = (0..options.accounts).map(account_key).collect();
        let accounts = keys.iter().map(|key| (Address(key.public_key()), BALANCE)).collect();
        let prefix: AddressPrefix = "farf".parse().expect("a prefix");
        let genesis = Genesis::new("farthing-faults", &prefix, unix_ms(), Parameters::generous(), validators, accounts)
            .expect("a valid genesis document");
        for (number, node) in nodes.iter().enumerate() {
            fs::write(node.home.join("genesis.json"), genesis.to_json()).expect("room for a test");
            let text = configuration(number, &nodes, &links) + &options.configuration;
            fs::write(node.home.join("config.toml"), text).expect("room for a test");
        }
        let url = |node: &Node| Client::new(&format!("http://{}", node.api)).expect("the address of an API");
        let shared = Arc::new(Shared {
            chain: genesis.chain_hash(),
            next_nonces: keys.iter().map(|_| AtomicU64::new(1)).collect(),
            keys,
            clients: nodes.iter().map(url).collect(),
        });
        let watched = Arc::new(Mutex::new(vec![Watched::default(); options.validators]));
        let stop_watching = CancellationToken::new();
        runtime.spawn(watch(watched.clone(), stop_watching.clone()));
        Cluster { nodes, links, genesis, shared, watched, stop_watching, runtime, directory, _alone: alone }
    }

    /// Makes a cluster, starts all nodes and waits until they are ready.
    pub fn start(options: &Options) -> Cluster {
        let mut cluster = Cluster::new(options);
        cluster.run_all();
        cluster
    }

    /// How many validators there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The genesis document.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// A directory for what a test keeps.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The links between the nodes.
    pub fn links(&self) -> &Proxies {
        &self.links
    }

    /// A node's home.
    pub fn home(&self, node: usize) -> &Path {
        &self.nodes[node].home
    }

    /// A node's database.
    pub fn database(&self, node: usize) -> PathBuf {
        self.nodes[node].home.join("database")
    }

    /// Where a node listens for other nodes, without a proxy.
    pub fn network_address(&self, node: usize) -> SocketAddr {
        self.nodes[node].network
    }

    /// Where a node's API is.
    pub fn api_address(&self, node: usize) -> SocketAddr {
        self.nodes[node].api
    }

    /// A client of a node's API.
    pub fn client(&self, node: usize) -> &Client {
        &self.shared.clients[node]
    }

    /// The text form of an account's address.
    pub fn account_address(&self, account: usize) -> String {
        self.shared.address(account).encode(self.genesis.prefix())
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> usize {
        self.shared.keys.len()
    }

    /// A signed transfer of one mite with this nonce, which nobody is to send: it is not in any journal.
    pub fn unsent(&self, from: usize, nonce: u64) -> SignedTransaction {
        let to = self.shared.address((from + 1) % self.accounts());
        let output = Output { to, amount: Amount::from_mites(1), reference: None, open: false };
        self.shared.sign(from, nonce, vec![output])
    }

    /// Runs a future to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What the runtime of the cluster's proxies and loads is reached by.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// Starts a load.
    pub fn load(&self, options: &LoadOptions) -> Load {
        Load::start(self.runtime.handle(), &self.shared, options)
    }

    /// A load of all accounts through all nodes.
    pub fn load_of(&self, per_second: u32) -> Load {
        let nodes = (0..self.count()).collect();
        self.load(&LoadOptions { senders: 0..self.accounts(), per_second, nodes })
    }

    /// Starts a node as `launch` says and does not wait for it.
    pub fn launch(&mut self, node: usize, launch: &Launch) {
        assert!(self.nodes[node].process.is_none(), "node {node} runs already");
        let process = launch.start(&self.nodes[node].home);
        self.watched()[node].pid = Some(process.pid());
        self.nodes[node].process = Some(process);
    }

    /// Starts a node by itself and waits until it is ready.
    pub fn run(&mut self, node: usize) {
        self.launch(node, &Launch::plain());
        self.wait_until_ready(node);
    }

    /// Starts all nodes and waits until they are ready.
    pub fn run_all(&mut self) {
        for node in 0..self.count() {
            self.launch(node, &Launch::plain());
        }
        for node in 0..self.count() {
            self.wait_until_ready(node);
        }
    }

    /// Waits until a node is connected to a quorum and up to date.
    ///
    /// # Panics
    /// If it ends or takes too long.
    pub fn wait_until_ready(&mut self, node: usize) {
        let started = Instant::now();
        loop {
            if self.status(node).is_some_and(|status| status.ready) {
                return;
            }
            let process = self.process(node);
            if let Some(status) = process.exit_status() {
                panic!("node {node} ended with {status}:\n{}", process.said());
            }
            assert!(started.elapsed() < PATIENCE, "node {node} is not ready:\n{}", process.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The running process of a node.
    pub fn process(&mut self, node: usize) -> &mut NodeProcess {
        self.nodes[node].process.as_mut().expect("the node was started")
    }

    /// Whether a node was started and not ended by the test.
    pub fn is_started(&self, node: usize) -> bool {
        self.nodes[node].process.is_some()
    }

    /// Kills a node as a crash would.
    pub fn kill(&mut self, node: usize) {
        drop(self.take(node));
    }

    /// Stops a node as its operator would.
    pub fn stop(&mut self, node: usize) {
        self.take(node).stop();
    }

    /// Waits for a node to end by itself, and returns what it said and whether it ended well.
    ///
    /// # Panics
    /// If it still runs after `patience`.
    pub fn wait_for_end(&mut self, node: usize, patience: Duration) -> (String, std::process::ExitStatus) {
        let mut process = self.take(node);
        let status = process.wait_for_exit(patience);
        let status = status.unwrap_or_else(|| panic!("node {node} goes on:\n{}", process.said()));
        (process.said(), status)
    }

    /// What a node says of itself, if it answers soon.
    pub fn status(&self, node: usize) -> Option<NodeStatus> {
        let client = self.client(node);
        self.block_on(async { tokio::time::timeout(Duration::from_secs(2), client.status()).await.ok()?.ok() })
    }

    /// What a node that runs says of itself, asked until it answers.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub fn status_of(&self, node: usize) -> NodeStatus {
        wait_for(&format!("node {node} to tell its status"), PATIENCE, || self.status(node))
    }

    /// What a node that runs says of all validators, asked until it answers.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub fn validators_of(&self, node: usize) -> Vec<ValidatorView> {
        let what = format!("node {node} to tell of the validators");
        wait_for(&what, PATIENCE, || self.block_on(self.client(node).validators()).ok())
    }

    /// Waits until all running nodes have executed a commit that did not exist when this was called, and returns how long it took
    /// once they had told where they were.
    ///
    /// # Panics
    /// If it takes longer than `patience`.
    pub fn wait_until_commits_resume(&self, patience: Duration) -> Duration {
        let running: Vec<usize> = (0..self.count()).filter(|node| self.is_started(*node)).collect();
        let highest = running.iter().map(|node| self.status_of(*node).commit_index).max().expect("some node runs");
        let started = Instant::now();
        for node in running {
            let what = format!("node {node} to go on after commit {highest}");
            wait_for(&what, patience.saturating_sub(started.elapsed()), || {
                self.status(node).filter(|status| status.commit_index > highest)
            });
        }
        started.elapsed()
    }

    /// A figure of the `/metrics` of a node that runs, summed over its labels; 0 if it has none yet.
    ///
    /// # Panics
    /// If it does not answer within [`PATIENCE`].
    pub fn metric(&self, node: usize, name: &str) -> u64 {
        let what = format!("node {node} to tell its metrics");
        let text = wait_for(&what, PATIENCE, || http_get(self.api_address(node), "/metrics").ok());
        let mut sum = 0.0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']));
            let value = rest.and_then(|rest| rest.rsplit(' ').next());
            sum += value.map_or(0.0, |value| value.parse::<f64>().expect("a number"));
        }
        sum as u64
    }

    /// The most that a node's processes have used so far.
    pub fn most_used(&self, node: usize) -> Usage {
        self.watched()[node].most
    }

    fn take(&mut self, node: usize) -> NodeProcess {
        self.watched()[node].pid = None;
        self.nodes[node].process.take().expect("the node was started")
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_watching.cancel();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if let Some(process) = node.process.take()
                && std::thread::panicking()
            {
                let said = process.said();
                let lines: Vec<&str> = said.lines().collect();
                let last = &lines[lines.len().saturating_sub(30)..];
                eprintln!("the end of what node {number} said:\n{}\n", last.join("\n"));
            }
        }
    }
}

/// The body of `GET path`, by a client that knows no more of HTTP than this needs.
///
/// # Errors
/// If there is no answer.
pub fn http_get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// So many free ports, which the system gives to no outgoing connection before somebody listens on them.
pub fn free_ports(count: usize) -> Vec<u16> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // All are held until the last is found, so that none comes twice.
    let mut held: Vec<TcpListener> = Vec::new();
    // Two tests may ask in the same millisecond.
    let (process, call) = (std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed));
    let mut random = crate::sim::random::Random::new(unix_ms(), &format!("ports {process} {call}"));
    while held.len() < count {
        let port = random.range(u64::from(PORTS.start)..=u64::from(PORTS.end) - 1) as u16;
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    held.iter().map(|listener| listener.local_addr().expect("it listens").port()).collect()
}

fn name(number: usize) -> String {
    format!("validator-{}", number + 1)
}

/// The key of an account of every cluster.
fn account_key(number: usize) -> SecretKey {
    SecretKey::from_seed(Digest::of("fault-tests-account/v1", &[&number.to_le_bytes()]).as_bytes())
}

/// Makes a home with `farthing-node init`.
fn make_home(home: &Path, name: &str) -> Validator {
    let made = Command::new(program("farthing-node"))
        .args(["init", "--json", "--name", name, "--home"])
        .arg(home)
        .output()
        .expect("farthing-node runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("init prints JSON");
    let key = |field: &str| made[field].as_str().expect("a key").parse().expect("a key");
    Validator { name: name.into(), public_key: key("public_key"), network_key: key("network_key") }
}

fn configuration(number: usize, nodes: &[Node], links: &Proxies) -> String {
    let own = &nodes[number];
    let mut text = String::new();
    let tcp = |address: SocketAddr| format!("/ip4/{}/tcp/{}", address.ip(), address.port());
    let mut line = |content: String| writeln!(text, "{content}").expect("a string takes everything");
    line(format!("[api]\nlisten = \"{}\"", own.api));
    line(format!("[network]\nlisten = [\"{}\"]", tcp(own.network)));
    for other in (0..nodes.len()).filter(|other| *other != number) {
        let address = tcp(links.address(number, other));
        line(format!("[[network.peers]]\nvalidator = \"{}\"\naddress = \"{address}\"", name(other)));
    }
    text
}

/// Looks at the nodes' processes now and then.
async fn watch(watched: Arc<Mutex<Vec<Watched>>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        for watched in watched.lock().expect("nothing panics while it holds this lock").iter_mut() {
            if let Some(now) = watched.pid.and_then(Usage::of) {
                watched.most = watched.most.max(now);
            }
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
