//! `farthing-node`: a validator or a full node of a Farthing network.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use farthing_node::config::{self, Config, ConfigError, LogFormat, LogSection};
use farthing_node::init::{self, InitError, NewHome};
use farthing_node::keys_file::KeyFileError;
use farthing_node::maintenance;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// What a wrong option, configuration, key or genesis document ends with; every other failure ends with 1.
const EXIT_USAGE: u8 = 2;

/// How long a node that lost its parent may take to stop cleanly.
const STOP_GRACE: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(name = "farthing-node", version, about = "A validator or a full node of a Farthing network")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new node's home: keys and a configuration to edit
    Init {
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        home: PathBuf,
        /// The validator's name in the genesis document
        #[arg(long, default_value = "validator", conflicts_with = "full")]
        name: String,
        /// Make a full node, which has no validator key
        #[arg(long)]
        full: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Work with genesis documents
    Genesis {
        #[command(subcommand)]
        command: GenesisCommand,
    },
    /// Run the node of a home until it is told to stop (SIGINT or SIGTERM)
    Run {
        /// The node's home, made by `init`
        #[arg(long, value_name = "DIR")]
        home: PathBuf,
        /// The configuration, if it is not the home's config.toml
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Keep the transactions of the last N blocks, whatever the configuration says
        #[arg(long, value_name = "N")]
        retain: Option<u64>,
        /// Stop when standard input ends: whoever started the node holds the other end of that pipe
        #[arg(long)]
        exit_with_parent: bool,
    },
    /// Give disk space back that the database of a node that is stopped does not need
    ///
    /// A running node does this by and by. It takes as long as to read and write all that is stored, and up to as much free space
    /// meanwhile.
    Compact {
        /// The node's home, made by `init`
        #[arg(long, value_name = "DIR")]
        home: PathBuf,
        /// The configuration, if it is not the home's config.toml
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum GenesisCommand {
    /// Check a genesis document and print what it says
    Check {
        /// The document
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    abort_on_panic();
    let result = match Arguments::parse().command {
        Command::Init { home, name, full, json } => make_home(&home, (!full).then_some(name.as_str()), json),
        Command::Genesis { command: GenesisCommand::Check { file, json } } => check_genesis(&file, json),
        Command::Run { home, config, retain, exit_with_parent } => {
            run(&home, config.as_deref(), retain, exit_with_parent)
        }
        Command::Compact { home, config, json } => compact(&home, config.as_deref(), json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("farthing-node: {}", describe(&error));
            let usage = error.is::<ConfigError>() || error.is::<KeyFileError>() || error.is::<InitError>();
            if usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// A panic in any thread or task is a broken invariant: the whole node stops, before it can say anything that it should not.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn make_home(home: &Path, name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let made = init::init(home, name)?;
    if json {
        println!("{}", serde_json::to_string(&made).context("cannot print the result")?);
        return Ok(());
    }
    let NewHome { name, public_key, network_key, peer_id, home } = made;
    println!("home         {}", home.display());
    if let (Some(name), Some(public_key)) = (name, public_key) {
        println!("name         {name}");
        println!("public key   {public_key}");
    }
    println!("network key  {network_key}");
    println!("peer id      {peer_id}");
    println!();
    println!("Back up the *.key files, put the network's genesis.json into the home, edit config.toml there, then run");
    println!("  farthing-node run --home {}", home.display());
    Ok(())
}

fn check_genesis(file: &Path, json: bool) -> anyhow::Result<()> {
    let genesis = config::load_genesis(file)?;
    // The document may name keys that are no keys: nobody could ever connect to such a validator.
    for validator in genesis.validators() {
        if init::peer_id(&validator.network_key).is_none() {
            let problem = format!("the \"network_key\" of \"{}\" is not an ed25519 public key", validator.name);
            return Err(ConfigError::Value { key: file.display().to_string(), problem }.into());
        }
    }
    if json {
        let validators: Vec<_> = genesis.validators().iter().map(|validator| &validator.name).collect();
        let summary = serde_json::json!({
            "network": genesis.network(),
            "chain": genesis.chain_hash(),
            "address_prefix": genesis.prefix(),
            "timestamp_ms": genesis.timestamp_ms(),
            "validators": validators,
            "accounts": genesis.accounts().len(),
            "supply": genesis.supply(),
        });
        println!("{summary}");
        return Ok(());
    }
    println!("network     {}", genesis.network());
    println!("chain       {}", genesis.chain_hash());
    println!("addresses   {}1…", genesis.prefix());
    println!("accounts    {}", genesis.accounts().len());
    println!("supply      {}", genesis.supply());
    println!("validators  {}", genesis.validators().len());
    for validator in genesis.validators() {
        println!("  {}  {}", validator.public_key, validator.name);
    }
    Ok(())
}

fn run(home: &Path, file: Option<&Path>, retain: Option<u64>, exit_with_parent: bool) -> anyhow::Result<()> {
    let mut config = Config::load(home, file)?;
    if let Some(blocks) = retain {
        config = config.with_retain_blocks(blocks)?;
    }
    start_logging(&config.log)?;
    if exit_with_parent {
        std::thread::Builder::new()
            .name("parent-watch".into())
            .spawn(stop_when_stdin_ends)
            .context("cannot start a thread")?;
    }
    farthing_node::node::run(config)
}

fn compact(home: &Path, file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let compacted = maintenance::compact(&Config::load(home, file)?)?;
    if json {
        println!("{}", serde_json::to_string(&compacted).context("cannot print the result")?);
        return Ok(());
    }
    println!("bytes before    {}", compacted.before_bytes);
    println!("bytes after     {}", compacted.after_bytes);
    for (name, bytes) in compacted.table_bytes {
        println!("  {name:<14}{bytes}");
    }
    Ok(())
}

fn start_logging(log: &LogSection) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&log.filter).context("log.filter")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Waits for the end of standard input, then stops this process as an operator would, and by force if that takes too long.
fn stop_when_stdin_ends() {
    let mut buffer = [0; 256];
    // Whatever is written there means nothing; an error means that there is nobody left either.
    while io::stdin().lock().read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    tracing::info!("the parent is gone: stopping");
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM) {
        tracing::error!("cannot signal this process: {error}");
        std::process::exit(1);
    }
    std::thread::sleep(STOP_GRACE);
    tracing::error!("not stopped after {} s: exiting at once", STOP_GRACE.as_secs());
    std::process::exit(1);
}

/// The error with its causes, without those that the message before already tells.
fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
