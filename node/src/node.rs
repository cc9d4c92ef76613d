//! Wiring: starts the parts of a node in order, keeps them together while it runs, and stops them in order.

use crate::api::{self, ApiConfig, ApiMetrics, RateLimit};
use crate::config::Config;
use crate::driver::{Clock, Driver, Inbox};
use crate::file_descriptors;
use crate::genesis_document::GenesisDocument;
use crate::handle::{NodeHandle, NodeInfo};
use crate::init;
use crate::intake::{Intake, IntakeMeter};
use crate::keys_file::Identity;
use crate::mempool::MempoolLimits;
use crate::metrics::Metrics;
use crate::network::{Member, Network, NetworkConfig};
use crate::repair;
use crate::replica::log::Ticket;
use crate::replica::serve::Sources;
use crate::replica::{Own, RecoveryError, Replica, ReplicaSettings};
use crate::responder::Responder;
use crate::restart::{Failure, Starter};
use crate::snapshot::{Snapshots, SnapshotsSettings};
use crate::storage::rocks::{OpenOptions, RocksStorage};
use crate::storage::watched::WatchedStorage;
use crate::storage::{Retention, Storage, StorageError};
use crate::verifier::Verifier;
use crate::waiters::Waiters;
use anyhow::Context as _;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::Settings;
use farthing_consensus::vertex::Author;
use farthing_core::genesis::Genesis;
use farthing_core::state_chunk::CHUNK_LEVEL;
use prometheus_client::registry::Registry;
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Questions and submissions that may wait for the driver.
const COMMANDS_MAX: usize = 4_096;

/// How far back the index of ids reaches at least: the longest validity of a transaction that the genesis allows is added to it.
const TRANSACTIONS_MARGIN_MS: u64 = 600_000;

/// Runs a node until it gets SIGINT or SIGTERM, or cannot go on.
///
/// # Errors
/// Whatever keeps the node from starting or from going on, with what to do about it.
pub fn run(config: Config) -> anyhow::Result<()> {
    let noted = config.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads to run on")?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        start(config, shutdown).await
    });
    // What is still running are connections of clients; they have had their time.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    if let Some(error) = result.as_ref().err().filter(|error| is_damage(error)) {
        match repair::note_damage(&noted, &format!("{error:#}")) {
            Ok(()) => {
                tracing::error!("the next start moves the database aside and fetches the ledger from the other nodes")
            }
            Err(error) => tracing::error!(%error, "it could not be noted that the database is damaged"),
        }
    }
    result
}

/// Whether the database has to be repaired.
fn is_damage(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(StorageError::is_damage)
        || error.downcast_ref().is_some_and(RecoveryError::is_damage)
        || error.downcast_ref().is_some_and(Failure::is_damage)
}

async fn start(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let whole_genesis = config.load_genesis()?;
    let genesis_document = GenesisDocument::open(&config.genesis)
        .with_context(|| format!("cannot read the genesis document {}", config.genesis.display()))?;
    let genesis = Arc::new(whole_genesis.without_accounts());
    let peers = NetworkConfig::connections_max(config.network.followers_max, genesis.validators().len());
    file_descriptors::allow((config.api.connections_max + peers) as u64)?;
    let identity = Identity::load(&config, &genesis)?;
    let committee = Arc::new(Committee::from_genesis(&genesis));
    if let Some(how) = repair::move_damaged_aside(&config)? {
        tracing::warn!(%how, "the damaged database was moved aside: the ledger is fetched from the other nodes again");
    }
    let (done_in, done) = mpsc::unbounded_channel();
    let storage = open_storage(&config, &genesis, &identity, done_in.clone())?;
    // Taken before anything is signed: a port that is in use stops the node with nothing done.
    let listener = TcpListener::bind(config.api.listen).await.with_context(|| {
        format!("cannot listen on {} (api.listen): choose another port, or stop what uses it", config.api.listen)
    })?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let api_metrics = ApiMetrics::register(registry.sub_registry_with_prefix("farthing"));
    let network_config = network_config(&config, &genesis, &identity, &committee);
    let (network, network_events) = Network::start(network_config, &mut registry)?;

    let (verified_in, verified) = mpsc::unbounded_channel();
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let stop = CancellationToken::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let verifier = Verifier::start(*committee.chain(), threads, verified_in)?;
    let sources = Sources {
        committee: committee.clone(),
        storage: storage.clone(),
        snapshots: Arc::new(Snapshots::new(storage.clone(), snapshots_settings(&config))),
    };
    let responder = Responder::start(sources, network.clone(), done_in.clone())?;
    let own = identity.validator.map(|validator| Own { author: validator.author, key: validator.key });
    let info = Arc::new(NodeInfo {
        genesis_document,
        chain: *committee.chain(),
        own: own.as_ref().map(|own| own.author),
        committee: committee.clone(),
        version: env!("CARGO_PKG_VERSION"),
        genesis: genesis.clone(),
    });
    let intake = Intake::default();
    let (blocks_in, blocks) = watch::channel(storage.newest_block()?);
    let (certified_in, certified) = watch::channel(0);
    let registry = Arc::new(Mutex::new(registry));
    let handle = NodeHandle {
        info,
        storage: storage.clone(),
        commands: commands_in,
        checker: verifier.submissions(),
        intake: intake.clone(),
        blocks,
        certified,
        registry,
    };

    let mut starter = Starter {
        genesis: Arc::new(whole_genesis),
        committee,
        own,
        settings: replica_settings(&config),
        retention: retention(&config, &genesis),
        done: done_in,
    };
    let (clock, mut effects) = (Clock::start(), Vec::new());
    let replica = starter.start(&storage, clock.now(), &mut effects)?;
    // Their state is stored now.
    starter.genesis = genesis.clone();
    metrics.replayed(replica.replayed());
    log_start(&config, &genesis, starter.own.as_ref().map(|own| own.author), &replica);
    let driver = Driver {
        replica,
        clock,
        journal: starter.journal(&storage)?,
        storage,
        verifier,
        network: network.clone(),
        responder,
        metrics,
        intake: IntakeMeter::new(intake),
        waiters: Waiters::default(),
        blocks: blocks_in,
        certified: certified_in,
        timer: Driver::no_timer(),
        inbox: Inbox { done, verified, network: network_events, commands, stop: stop.clone() },
    };
    let mut ended = spawn_driver(starter, driver, effects)?;
    let api = tokio::spawn(api::serve(listener, Arc::new(handle), api_metrics, api_config(&config), stop.clone()));

    let result = tokio::select! {
        () = shutdown => {
            tracing::info!("stopping");
            stop.cancel();
            (&mut ended).await
        }
        ended = &mut ended => ended,
    };
    stop.cancel();
    network.shutdown().await;
    // Requests under way get their answers, or the runtime's shutdown ends them.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), api).await;
    match result {
        Ok(Ok(())) => {
            tracing::info!("stopped");
            Ok(())
        }
        Ok(Err(stop)) => Err(stop).context("the node cannot go on"),
        Err(_) => anyhow::bail!("the driver ended without a word"),
    }
}

/// Runs the driver on a thread of its own.
fn spawn_driver(
    starter: Starter,
    driver: Driver,
    effects: Vec<crate::replica::Effect>,
) -> anyhow::Result<oneshot::Receiver<Result<(), Failure>>> {
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("driver".into()).spawn(move || {
        let result = runtime.block_on(starter.run(driver, effects));
        // Whoever waits for the end may have given up.
        let _ = end.send(result);
    })?;
    Ok(ended)
}

fn open_storage(
    config: &Config,
    genesis: &Genesis,
    identity: &Identity,
    failed: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
) -> anyhow::Result<Arc<dyn Storage>> {
    let validator = identity.validator.as_ref().map(|validator| validator.key.public_key());
    let options = OpenOptions { chain: genesis.chain_hash(), validator, history: config.storage.history };
    let storage = RocksStorage::open(&config.database(), &options)?;
    if let Some(key) = validator
        && init::states_nothing_signed(&config.home, &key)?
    {
        if storage.signing_state()?.is_none() {
            storage.initialize_signing_state()?;
        }
        init::remove_nothing_signed(&config.home)?;
    }
    Ok(Arc::new(WatchedStorage::new(storage, failed)))
}

fn network_config(
    config: &Config,
    genesis: &Genesis,
    identity: &Identity,
    committee: &Arc<Committee>,
) -> NetworkConfig {
    let members = genesis
        .validators()
        .iter()
        .enumerate()
        .map(|(author, validator)| Member {
            author: author as Author,
            network_key: validator.network_key,
            address: config.network.peers.get(&validator.name).cloned(),
        })
        .collect();
    NetworkConfig {
        identity: identity.network_key.clone(),
        committee: committee.clone(),
        members,
        own: identity.validator.as_ref().map(|validator| validator.author),
        listen: config.network.listen.clone(),
        followers_max: config.network.followers_max,
        follower_limits: config.network.follower_limits,
        queue_bytes_max: NetworkConfig::QUEUE_BYTES_MAX,
    }
}

fn retention(config: &Config, genesis: &Genesis) -> Retention {
    Retention {
        commits: config.storage.retain_commits,
        blocks: config.storage.retain_blocks,
        transactions_ms: genesis.parameters().validity_max_ms + TRANSACTIONS_MARGIN_MS,
    }
}

fn replica_settings(config: &Config) -> ReplicaSettings {
    ReplicaSettings {
        engine: Settings {
            round_delay_min_ms: config.consensus.round_delay_min_ms,
            round_delay_max_ms: config.consensus.round_delay_max_ms,
            ..Settings::default()
        },
        mempool: MempoolLimits {
            transactions_max: config.mempool.transactions_max,
            bytes_max: config.mempool.bytes_max,
            per_sender_max: config.mempool.per_sender_max,
        },
        flush_interval_ms: Some(config.storage.flush_interval_ms),
        chunk_level: None,
    }
}

fn snapshots_settings(config: &Config) -> SnapshotsSettings {
    SnapshotsSettings {
        chunk_level: CHUNK_LEVEL,
        retain_commits: config.storage.retain_commits,
        directory: Some(config.snapshots()),
    }
}

fn api_config(config: &Config) -> ApiConfig {
    let requests_per_second = config.api.requests_per_second_per_address;
    let burst = requests_per_second.saturating_mul(2);
    ApiConfig {
        body_bytes_max: config.api.body_bytes_max,
        connections_max: config.api.connections_max,
        connections_per_address_max: config.api.connections_per_address_max,
        rate_limit: (requests_per_second > 0).then_some(RateLimit { requests_per_second, burst }),
        ..ApiConfig::default()
    }
}

fn log_start(config: &Config, genesis: &Genesis, own: Option<Author>, replica: &Replica) {
    let name = own.map_or("full node", |own| genesis.validators()[usize::from(own)].name.as_str());
    tracing::info!(
        network = genesis.network(),
        chain = %genesis.chain_hash(),
        node = name,
        height = replica.newest_height(),
        replayed_blocks = replica.replayed().blocks,
        replayed_transactions = replica.replayed().transactions,
        api = %config.api.listen,
        version = env!("CARGO_PKG_VERSION"),
        "started"
    );
}
