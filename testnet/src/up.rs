//! `farthing-testnet up`: starts a network and runs it until it is told to stop.
//!
//! With `--json`, standard output carries one JSON object a line, and nothing else:
//! `{"event":"ready", …}` with the fields of the ready file ([`Ready`]), the state directory and the first transfer's verified receipt;
//! `{"event":"validator_exited","name","status"}` for each validator that ends by itself; `{"event":"stopped"}` at the end.
//! What is being done is told on standard error then.

use crate::accounts;
use crate::process::{Binaries, Fleet, NodeProcess, last_lines};
use crate::ready::{READY_FILE, Ready, ReadyAccount, ReadyValidator};
use crate::state::{self, StateDirectory, write_atomically};
use crate::topology::{self, GENESIS_FILE, Place, Topology, VALIDATORS_MAX};
use crate::wallet::{PROFILE, Wallet};
use anyhow::{Context as _, bail};
use clap::Args;
use farthing_client::Client;
use farthing_core::address::Address;
use farthing_core::genesis::Validator;
use farthing_core::keys::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// How many validators a new testnet has: the fewest that one may fail of.
const VALIDATORS_DEFAULT: usize = 4;

/// How long the validators may take to get ready.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// How often they are asked.
const READY_POLL: Duration = Duration::from_millis(50);

/// How long the ports of a testnet that just stopped may take to get free.
const PORTS_TIMEOUT: Duration = Duration::from_secs(12);

/// How long the validators may take to stop before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How many lines of a failed validator's log are shown.
const LOG_LINES: usize = 20;

/// What the first transfer pays.
const FIRST_AMOUNT: &str = "0.0025 FAR";

/// Options of `up`.
#[derive(Args, Debug)]
pub struct Options {
    /// How many validators a new testnet has (4 if not said); one in three may fail
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=VALIDATORS_MAX as i64))]
    validators: Option<u8>,
    /// Where the testnet is kept from one run to the next [default: ~/.local/state/farthing/testnet]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Forget the testnet that is kept there and make a new one
    #[arg(long)]
    reset: bool,
    /// Print one JSON object a line, and nothing else, on standard output
    #[arg(long)]
    json: bool,
    /// Also write where everything is to this file, once the testnet is ready
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Tells people and programs what is going on.
#[derive(Clone, Copy)]
struct Reporter {
    json: bool,
}

impl Reporter {
    /// A line for people.
    fn say(self, text: &str) {
        // Nobody reads it any more if this fails, which is no reason to stop.
        let _ = match self.json {
            true => writeln!(std::io::stderr(), "{text}"),
            false => writeln!(std::io::stdout(), "{text}"),
        };
    }

    /// A line for programs.
    fn event(self, event: &Value) {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{event}");
        }
    }
}

/// Starts a network and runs it until SIGINT, SIGTERM or SIGHUP.
///
/// # Errors
/// If it cannot be started. That a validator ends later is told, and the others go on.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let reporter = Reporter { json: options.json };
    let (mut interrupt, mut terminate, mut hang_up) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let binaries = Binaries::find()?;
    let path = options.state.clone().map_or_else(state::default_path, Ok)?;
    let state = StateDirectory::open(&path, options.reset)?;
    let mut ready_files = vec![state.join(READY_FILE)];
    ready_files.extend(options.ready_file);
    remove_files(&ready_files)?;

    let mut fleet = Fleet::default();
    let result = tokio::select! {
        result = start_and_watch(&state, options.validators, &binaries, &ready_files, &mut fleet, reporter) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    };
    let removed = remove_files(&ready_files);
    reporter.say("stopping");
    for name in fleet.stop(STOP_GRACE).await {
        reporter.say(&format!("{name} did not stop within {} s and was killed", STOP_GRACE.as_secs()));
    }
    if result.is_ok() {
        reporter.say(&format!("stopped; the same command goes on from {}", state.path().display()));
        reporter.event(&json!({ "event": "stopped" }));
    }
    result.and(removed)
}

/// Everything until the network is to stop; only an error ends it by itself.
async fn start_and_watch(
    state: &StateDirectory,
    validators: Option<u8>,
    binaries: &Binaries,
    ready_files: &[PathBuf],
    fleet: &mut Fleet,
    reporter: Reporter,
) -> anyhow::Result<()> {
    let mut topology = load_or_make(state, validators, binaries, reporter).await?;
    start_all(&mut topology, state, binaries, fleet, reporter, READY_TIMEOUT).await?;

    let apis: Vec<String> = topology.validators.iter().map(Place::api).collect();
    let genesis = state.join(GENESIS_FILE);
    let wallet = Wallet::new(&binaries.wallet);
    wallet.set_up(&apis, &genesis).await?;
    reporter.say("ready; making a first transfer of dev-1 to dev-2");
    let receipt = first_transfer(&wallet, reporter).await?;

    let ready =
        Ready { api: apis, accounts: developer_accounts(), validators: places_and_pids(&topology, fleet), genesis };
    for file in ready_files {
        ready.write(file)?;
    }
    reporter.say(&welcome(&ready, state, binaries));
    let mut event = serde_json::to_value(&ready).context("cannot write the event")?;
    event["event"] = "ready".into();
    event["state"] = state.path().display().to_string().into();
    event["first_transfer"] = receipt;
    reporter.event(&event);
    watch(fleet, state, binaries, reporter).await
}

async fn load_or_make(
    state: &StateDirectory,
    validators: Option<u8>,
    binaries: &Binaries,
    reporter: Reporter,
) -> anyhow::Result<Topology> {
    let Some(mut topology) = Topology::load(state)? else {
        let validators = validators.map_or(VALIDATORS_DEFAULT, usize::from);
        reporter.say(&format!("making a testnet of {validators} validators in {}", state.path().display()));
        return make(state, validators, binaries).await;
    };
    let kept = topology.validators.len();
    if let Some(asked) = validators.filter(|asked| usize::from(*asked) != kept) {
        let path = state.path().display();
        bail!(
            "the testnet in {path} has {kept} validators, not {asked}: leave out --validators, or make a new one with --reset"
        );
    }
    reporter.say(&format!("going on with the testnet of {kept} validators in {}", state.path().display()));
    // Validators of a launcher that was killed just now need a moment to stop.
    let deadline = Instant::now() + PORTS_TIMEOUT;
    while !topology.taken_ports().is_empty() && Instant::now() < deadline {
        tokio::time::sleep(READY_POLL).await;
    }
    leave_taken_ports(&mut topology, reporter)?;
    topology.save(state)?;
    Ok(topology)
}

/// Chooses other ports if another process listens on one, and tells whether it did.
fn leave_taken_ports(topology: &mut Topology, reporter: Reporter) -> anyhow::Result<bool> {
    let taken: Vec<String> = topology.taken_ports().iter().map(u16::to_string).collect();
    if taken.is_empty() {
        return Ok(false);
    }
    reporter.say(&format!("another process listens on port {}: moving to other ports", taken.join(", ")));
    topology.choose_ports()?;
    Ok(true)
}

/// Starts all validators and waits until they take transactions. Between a look at their ports and that moment another process may
/// take one; then they are started once more, on other ports.
async fn start_all(
    topology: &mut Topology,
    state: &StateDirectory,
    binaries: &Binaries,
    fleet: &mut Fleet,
    reporter: Reporter,
    timeout: Duration,
) -> anyhow::Result<()> {
    let start = |topology: &Topology, fleet: &mut Fleet| {
        for place in &topology.validators {
            let process = NodeProcess::start(&binaries.node, &place.name, &Topology::home(state, place))?;
            reporter.say(&format!("started {}  pid {}  {}", place.name, process.pid(), place.api()));
            fleet.push(process);
        }
        anyhow::Ok(())
    };
    start(topology, fleet)?;
    let Err(error) = wait_until_ready(topology, fleet, timeout).await else { return Ok(()) };
    fleet.stop(STOP_GRACE).await;
    if !leave_taken_ports(topology, reporter)? {
        return Err(error);
    }
    topology.save(state)?;
    *fleet = Fleet::default();
    start(topology, fleet)?;
    wait_until_ready(topology, fleet, timeout).await
}

/// Makes the validators' homes, the genesis document and, last, the topology.
async fn make(state: &StateDirectory, validators: usize, binaries: &Binaries) -> anyhow::Result<Topology> {
    // There may be parts of a testnet that was never completed.
    state.clear()?;
    let topology = Topology::choose(validators)?;
    let mut committee = Vec::new();
    for place in &topology.validators {
        committee.push(make_home(&binaries.node, &Topology::home(state, place), &place.name).await?);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let genesis = topology::genesis(committee, u64::try_from(now.as_millis())?, accounts::genesis_accounts())?;
    write_atomically(&state.join(GENESIS_FILE), &(genesis.to_json() + "\n"))?;
    topology.save(state)?;
    Ok(topology)
}

/// Makes a validator's home and keys.
///
/// # Errors
/// If `farthing-node init` fails.
pub async fn make_home(node: &Path, home: &Path, name: &str) -> anyhow::Result<Validator> {
    #[derive(Deserialize)]
    struct Printed {
        public_key: PublicKey,
        network_key: PublicKey,
    }
    let command = || format!("`{} init`", node.display());
    let mut init = Command::new(node);
    init.arg("init").arg("--home").arg(home).args(["--name", name, "--json"]).kill_on_drop(true);
    let output = init.output().await.with_context(command)?;
    if !output.status.success() {
        bail!("{} failed: {}", command(), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let printed: Printed = serde_json::from_slice(&output.stdout).with_context(command)?;
    Ok(Validator { name: name.into(), public_key: printed.public_key, network_key: printed.network_key })
}

/// Waits until all validators take transactions.
///
/// # Errors
/// If one ends or is not ready in time.
pub async fn wait_until_ready(topology: &Topology, fleet: &mut Fleet, timeout: Duration) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    for place in &topology.validators {
        waiting.push((place.name.clone(), Client::new(&place.api())?));
    }
    let deadline = Instant::now() + timeout;
    loop {
        if let Some((process, status)) = fleet.next_exit() {
            bail!("{}", describe_exit(process, &status.to_string()));
        }
        let mut still_waiting = Vec::new();
        for (name, client) in waiting {
            if !client.is_ready().await.unwrap_or(false) {
                still_waiting.push((name, client));
            }
        }
        waiting = still_waiting;
        let Some((name, _)) = waiting.first() else { return Ok(()) };
        if Instant::now() > deadline {
            let process = fleet.processes().iter().find(|process| process.name() == name);
            let log = process.map_or(String::new(), |process| last_lines(process.log(), LOG_LINES));
            bail!("{name} is not ready after {} s; the end of its log:\n{log}", timeout.as_secs());
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Pays for real and tells what the wallet prints. Returns the receipt in the wallet's JSON form, which it verified.
async fn first_transfer(wallet: &Wallet, reporter: Reporter) -> anyhow::Result<Value> {
    let context = "the first transfer failed";
    let payee = Address(accounts::key("dev-2").public_key()).encode(&topology::address_prefix());
    let send = ["send", &payee, FIRST_AMOUNT, "--from", "dev-1", "--profile", PROFILE];
    let sent = wallet.run(&send, "").await.context(context)?;
    reporter.say(&format!("\n$ farthing send {payee} {FIRST_AMOUNT} --from dev-1\n{}", sent.trim_end()));
    let id = find_id(&sent).context("the wallet's answer has no id").context(context)?;
    let mut receipt = vec!["receipt", id, "--profile", PROFILE];
    let shown = wallet.run(&receipt, "").await.context(context)?;
    reporter.say(&format!("\n$ farthing receipt {id}\n{}", shown.trim_end()));
    if !reporter.json {
        return Ok(Value::Null);
    }
    receipt.extend(["--output", "json"]);
    serde_json::from_str(&wallet.run(&receipt, "").await.context(context)?).context(context)
}

/// The transaction's id in what the wallet prints: a word of 64 hexadecimal digits.
fn find_id(text: &str) -> Option<&str> {
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_whitespace().find(is_id)
}

fn developer_accounts() -> Vec<ReadyAccount> {
    let prefix = topology::address_prefix();
    let account = |name: String| {
        let address = Address(accounts::key(&name).public_key()).encode(&prefix);
        ReadyAccount { name, address }
    };
    accounts::developers().map(account).collect()
}

fn places_and_pids(topology: &Topology, fleet: &Fleet) -> Vec<ReadyValidator> {
    let pairs = topology.validators.iter().zip(fleet.processes());
    pairs
        .map(|(place, process)| ReadyValidator { name: place.name.clone(), pid: process.pid(), api: place.api() })
        .collect()
}

/// What a developer wants to know first.
fn welcome(ready: &Ready, state: &StateDirectory, binaries: &Binaries) -> String {
    let wallet = command_line(&binaries.wallet);
    let testnet = command_line(&binaries.testnet);
    let mut text = format!(
        "\nThe testnet is ready: {} validators, state and logs in {}\n\n\
         Accounts: throw-away keys, the same in every testnet, each with {} at the start\n",
        ready.validators.len(),
        state.path().display(),
        accounts::DEVELOPER_BALANCE
    );
    for account in &ready.accounts {
        text += &format!("  {:<7} {}\n", account.name, account.address);
    }
    text += "\nValidators; after `kill -9 PID` the command brings one back\n";
    for validator in &ready.validators {
        let home = state.join(&validator.name);
        let node = command_line(&binaries.node);
        text += &format!("  {}  {}  pid {}\n", validator.name, validator.api, validator.pid);
        text += &format!("    {node} run --home {}\n", quote(&home.display().to_string()));
    }
    let payee = &ready.accounts[1].address;
    // Commands find the testnet by themselves only where it is by default.
    let is_default = state::default_path().is_ok_and(|path| path == state.path());
    let find =
        if is_default { String::new() } else { format!(" --state {}", quote(&state.path().display().to_string())) };
    text += &format!(
        "\nIn a second terminal\n  \
         {wallet} send {payee} 0.0025FAR --from dev-1\n  \
         {wallet} balance\n  \
         {testnet} faucet ADDRESS{find}\n  \
         {testnet} load --rate 1000 --seconds 10{find}\n\n\
         Ctrl-C stops the testnet."
    );
    text
}

/// A program as one types it in this directory, with the variable that moves the wallet's files.
fn command_line(binary: &Path) -> String {
    let here = std::env::current_dir().ok();
    let mut shown = here.and_then(|here| binary.strip_prefix(here).ok()).unwrap_or(binary).display().to_string();
    if !shown.contains('/') {
        shown.insert_str(0, "./"); // else the shell would look for it elsewhere
    }
    let is_wallet = binary.file_name().is_some_and(|name| name == "farthing");
    match std::env::var("FARTHING_HOME") {
        Ok(home) if is_wallet => format!("FARTHING_HOME={} {}", quote(&home), quote(&shown)),
        _ => quote(&shown),
    }
}

/// A word for a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Tells which validators end, for ever.
async fn watch(
    fleet: &mut Fleet,
    state: &StateDirectory,
    binaries: &Binaries,
    reporter: Reporter,
) -> anyhow::Result<()> {
    loop {
        let (process, status) = fleet.wait_for_exit().await;
        let (name, status) = (process.name().to_string(), status.to_string());
        let home = quote(&state.join(&name).display().to_string());
        reporter.say(&describe_exit(process, &status));
        reporter.say(&format!("bring it back with: {} run --home {home}", command_line(&binaries.node)));
        reporter.event(&json!({ "event": "validator_exited", "name": name, "status": status }));
        if fleet.running() == 0 {
            reporter.say("no validator is left; Ctrl-C ends the testnet");
        }
    }
}

fn describe_exit(process: &NodeProcess, status: &str) -> String {
    let log = last_lines(process.log(), LOG_LINES);
    format!("{} ended ({status}); the end of its log {}:\n{log}", process.name(), process.log().display())
}

fn remove_files(files: &[PathBuf]) -> anyhow::Result<()> {
    for file in files {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::script;

    #[tokio::test]
    async fn validators_that_find_a_port_taken_are_started_on_others() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = StateDirectory::open(&directory.path().join("state"), false).expect("opened");
        let mut topology = Topology::choose(2).expect("chosen");
        for place in &topology.validators {
            fs::create_dir(Topology::home(&state, place)).expect("made");
        }
        topology.save(&state).expect("saved");
        // Whether this test is quicker or yet another process, the port is taken now.
        let taken = topology.validators[1].network_port;
        let _listener = std::net::TcpListener::bind(("127.0.0.1", taken));
        let body = format!("grep -q tcp/{taken} \"$3/config.toml\" && exit 1; cat");
        let node = script(directory.path(), &body);
        let binaries = Binaries { wallet: node.clone(), testnet: node.clone(), node };
        let (mut fleet, reporter) = (Fleet::default(), Reporter { json: true });
        let timeout = Duration::from_secs(1);
        let started = start_all(&mut topology, &state, &binaries, &mut fleet, reporter, timeout).await;
        // Such validators are never ready, and they run.
        let error = started.expect_err("it takes no transactions").to_string();
        assert!(error.contains("validator-1 is not ready after 1 s"), "{error}");
        assert_eq!((fleet.processes().len(), fleet.running()), (2, 2));
        assert!(topology.validators.iter().all(|place| place.network_port != taken && place.api_port != taken));
        assert_eq!(Topology::load(&state).expect("readable"), Some(topology));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("/a/b-1.c"), "/a/b-1.c");
        assert_eq!(quote("/a b"), "'/a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn the_id_is_found_in_what_the_wallet_prints() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(find_id(&format!("final in 83 ms  block 127  id {id}\n")), Some(id.as_str()));
        assert_eq!(find_id(&format!("final in 83 ms  id {}\n", &id[1..])), None);
    }

    #[test]
    fn the_welcome_has_a_line_to_copy() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = StateDirectory::open(&directory.path().join("my state"), false).expect("opened");
        let at = |name: &str| PathBuf::from(format!("/opt/{name}"));
        let binaries = Binaries { node: at("farthing-node"), wallet: at("farthing"), testnet: at("farthing-testnet") };
        let validator = ReadyValidator { name: "validator-1".into(), pid: 7, api: "http://127.0.0.1:1".into() };
        let ready = Ready {
            api: vec![validator.api.clone()],
            accounts: developer_accounts(),
            validators: vec![validator],
            genesis: state.join(GENESIS_FILE),
        };
        let text = welcome(&ready, &state, &binaries);
        let home = state.join("validator-1");
        assert!(text.contains(&format!("/opt/farthing-node run --home '{}'\n", home.display())), "{text}");
        assert!(text.contains(&format!("/opt/farthing send {} 0.0025FAR --from dev-1\n", ready.accounts[1].address)));
        let find = format!("load --rate 1000 --seconds 10 --state '{}'\n", state.path().display());
        assert!(text.contains(&find), "{text}");
        assert_eq!(text.matches("farl1").count(), accounts::DEVELOPERS + 1);
    }
}
