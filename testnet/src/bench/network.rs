//! The validators of a benchmark: starting and stopping them, and what they use.

use super::machine::field;
use crate::accounts;
use crate::load::check::wait_for_agreement;
use crate::process::{Binaries, Fleet, NodeProcess};
use crate::state::{StateDirectory, write_atomically};
use crate::topology::{self, GENESIS_FILE, Topology};
use crate::up::{make_home, wait_until_ready};
use anyhow::Context as _;
use farthing_client::Client;
use farthing_core::address::Address;
use farthing_core::genesis::Genesis;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long validators with a million accounts may take to get ready.
const READY_TIMEOUT: Duration = Duration::from_secs(300);

/// How long they may take to stop.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// The unit of processor time in `/proc`: Linux shows it in hundredths of a second on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the validators of a benchmark are like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many there are.
    pub validators: usize,
    /// Whether they keep the histories of accounts.
    pub history: bool,
    /// How much time lies between two flushes of their state, in milliseconds; `None` for what a configuration has by default.
    pub flush_interval_ms: Option<u64>,
}

impl Settings {
    /// What is written into each validator's configuration.
    fn storage_section(&self) -> String {
        let interval = self.flush_interval_ms.map_or(String::new(), |ms| format!("flush_interval_ms = {ms}\n"));
        format!("\n[storage]\nhistory = {}\n{interval}", self.history)
    }
}

/// A network that only the benchmark uses.
pub struct Network {
    /// The genesis document.
    pub genesis: Genesis,
    /// A client of each validator.
    pub clients: Vec<Client>,
    state: StateDirectory,
    topology: Topology,
    fleet: Fleet,
    binary: PathBuf,
}

/// What the validators have used since they started, all together but for the memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Bytes of frames sent to each other.
    pub wire_bytes: u64,
    /// Bytes handed to the disk, logs and compactions included.
    pub written_bytes: u64,
    /// The most memory that any of them held, in bytes.
    pub memory_peak_bytes: u64,
    /// The memory that they hold now, on average, in bytes.
    pub memory_bytes: u64,
}

impl Usage {
    /// What was used since an earlier time. Memory is as of now.
    pub fn since(self, before: Usage) -> Usage {
        Usage {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            wire_bytes: self.wire_bytes - before.wire_bytes,
            written_bytes: self.written_bytes - before.written_bytes,
            ..self
        }
    }
}

impl Network {
    /// Starts the validators of a new network with these accounts, and waits until they take transfers. What the first second
    /// changes is written to disk, however rarely that is done afterwards.
    ///
    /// # Errors
    /// If they cannot be started.
    pub async fn start(
        state: StateDirectory,
        settings: &Settings,
        benchers: impl ExactSizeIterator<Item = Address>,
        binaries: &Binaries,
    ) -> anyhow::Result<Network> {
        state.clear()?;
        let topology = Topology::choose(settings.validators)?;
        let mut committee = Vec::new();
        for place in &topology.validators {
            committee.push(make_home(&binaries.node, &Topology::home(&state, place), &place.name).await?);
        }
        let accounts = accounts::bench_accounts(benchers);
        // As if the network had been founded before: the state has a flush in each interval, and this one has had none.
        let founded_ms = now_ms()? - settings.flush_interval_ms.unwrap_or(0);
        let genesis = topology::genesis(committee, founded_ms, accounts)?;
        write_atomically(&state.join(GENESIS_FILE), &genesis.to_json())?;
        topology.save(&state)?;
        for place in &topology.validators {
            let path = Topology::home(&state, place).join("config.toml");
            let config = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            write_atomically(&path, &(config + &settings.storage_section()))?;
        }
        let mut fleet = Fleet::default();
        for place in &topology.validators {
            fleet.push(NodeProcess::start(&binaries.node, &place.name, &Topology::home(&state, place))?);
        }
        wait_until_ready(&topology, &mut fleet, READY_TIMEOUT).await?;
        let clients = topology.validators.iter().map(|place| Client::new(&place.api())).collect::<Result<_, _>>()?;
        Ok(Network { genesis, clients, state, topology, fleet, binary: binaries.node.clone() })
    }

    /// How many transactions each validator has executed since it started, the fewest of all.
    ///
    /// # Errors
    /// If one does not answer.
    pub async fn executed(&self) -> anyhow::Result<u64> {
        executed_by_all(&self.clients).await
    }

    /// The height that all validators have reached.
    ///
    /// # Errors
    /// If one does not answer.
    pub async fn height(&self) -> anyhow::Result<u64> {
        lowest(&self.clients, "farthing_height ").await
    }

    /// How many blocks, with how many transactions, the first validator executed again when it started last.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn replayed_by_first(&self) -> anyhow::Result<(u64, u64)> {
        let metrics = self.clients[0].metrics().await?;
        Ok((metric(&metrics, "farthing_replayed_blocks "), metric(&metrics, "farthing_replayed_transactions ")))
    }

    /// What the validators have used.
    ///
    /// # Errors
    /// If one does not answer or has ended.
    pub async fn usage(&self) -> anyhow::Result<Usage> {
        let mut usage = Usage::default();
        for (process, client) in self.fleet.processes().iter().zip(&self.clients) {
            let read = |file: &str| {
                let path = format!("/proc/{}/{file}", process.pid());
                fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
            };
            let (status, io) = (read("status")?, read("io")?);
            let number = |text: &str, name: &str| field(text, name).parse::<u64>().context(name.to_string());
            usage.cpu_seconds += cpu_seconds(process.pid())?;
            usage.wire_bytes += metric(&client.metrics().await?, "farthing_network_bytes_total{direction=\"out\"");
            usage.written_bytes += number(&io, "write_bytes")?;
            usage.memory_peak_bytes = usage.memory_peak_bytes.max(number(&status, "VmHWM")? * 1024);
            usage.memory_bytes += number(&status, "VmRSS")? * 1024 / self.clients.len() as u64;
        }
        Ok(usage)
    }

    /// Kills the first validator and starts it again. Returns how long it takes to be ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn restart_first(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let home = Topology::home(&self.state, &self.topology.validators[0]);
        self.fleet.restart(0, &self.binary, &home)?;
        wait_until_ready(&self.topology, &mut self.fleet, READY_TIMEOUT).await?;
        Ok(started.elapsed())
    }

    /// The bytes that the files of all validators take on disk.
    ///
    /// # Errors
    /// If they cannot be looked at.
    pub fn disk_bytes(&self) -> anyhow::Result<u64> {
        let homes = self.topology.validators.iter().map(|place| Topology::home(&self.state, place));
        homes.map(|home| disk_bytes(&home, &|_| true).with_context(|| format!("cannot read {}", home.display()))).sum()
    }

    /// How many transactions the validators have executed since they started, the most of all: those of one that runs since the
    /// beginning.
    ///
    /// # Errors
    /// If one does not answer.
    pub async fn executed_most(&self) -> anyhow::Result<u64> {
        let mut most = 0;
        for client in &self.clients {
            most = most.max(executed_by_all(std::slice::from_ref(client)).await?);
        }
        Ok(most)
    }

    /// Waits until all validators rest at the same state root.
    ///
    /// # Errors
    /// If they do not.
    pub async fn agree(&self) -> anyhow::Result<()> {
        let (_, nodes) = wait_for_agreement(&self.clients).await?;
        anyhow::ensure!(nodes == self.clients.len(), "only {nodes} of {} validators answer", self.clients.len());
        Ok(())
    }

    /// Stops the validators. Returns their directory.
    ///
    /// # Errors
    /// If one had to be killed.
    pub async fn stop(mut self) -> anyhow::Result<StateDirectory> {
        self.end().await?;
        Ok(self.state)
    }

    /// Stops the validators and compacts the database of one. Returns their directory, and the bytes that all files of that one take
    /// then but for those in which RocksDB tells of itself.
    ///
    /// # Errors
    /// If one had to be killed, or the database cannot be compacted.
    pub async fn stop_and_compact(mut self) -> anyhow::Result<(StateDirectory, u64)> {
        self.end().await?;
        let home = Topology::home(&self.state, self.topology.validators.last().context("there are no validators")?);
        let output = Command::new(&self.binary).arg("compact").arg("--home").arg(&home).output();
        let output = output.with_context(|| format!("cannot start {}", self.binary.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "the database of {} was not compacted: {said}", home.display());
        let bytes = disk_bytes(&home, &is_kept).with_context(|| format!("cannot read {}", home.display()))?;
        Ok((self.state, bytes))
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let killed = self.fleet.stop(STOP_GRACE).await;
        anyhow::ensure!(killed.is_empty(), "{} did not stop in time", killed.join(", "));
        Ok(())
    }
}

/// How many transactions each of these nodes has executed since it started, the fewest of all.
///
/// # Errors
/// If one does not answer.
pub async fn executed_by_all(clients: &[Client]) -> anyhow::Result<u64> {
    lowest(clients, "farthing_transactions_executed_total ").await
}

/// The milliseconds since the Unix epoch.
///
/// # Errors
/// If the clock stands before it.
pub fn now_ms() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::try_from(now.as_millis())?)
}

/// The processor time that a process has used, in seconds.
///
/// # Errors
/// If there is no such process.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_cpu_seconds(&text).with_context(|| format!("{path} is not of the known form"))
}

/// The lowest of what these nodes say a metric is.
async fn lowest(clients: &[Client], name: &str) -> anyhow::Result<u64> {
    let mut lowest = u64::MAX;
    for client in clients {
        lowest = lowest.min(metric(&client.metrics().await?, name));
    }
    Ok(lowest)
}

/// The sum of all samples whose line starts so, in Prometheus' text form.
fn metric(text: &str, start: &str) -> u64 {
    let samples = text.lines().filter(|line| line.starts_with(start));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// `utime` and `stime` are the 12th and 13th words after the program's name, which stands in brackets and may hold anything.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// Whether a file is more than RocksDB's text about itself.
fn is_kept(file: &Path) -> bool {
    !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LOG"))
}

/// The disk that the files take that are counted, those in directories too.
fn disk_bytes(path: &Path, is_counted: &impl Fn(&Path) -> bool) -> std::io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        // A running validator's files come and go.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        metadata => metadata?,
    };
    if !metadata.is_dir() {
        return Ok(if is_counted(path) { metadata.blocks() * 512 } else { 0 });
    }
    fs::read_dir(path)?.map(|entry| disk_bytes(&entry?.path(), is_counted)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_what_is_not_the_default() {
        let mut settings = Settings { validators: 1, history: false, flush_interval_ms: None };
        assert_eq!(settings.storage_section(), "\n[storage]\nhistory = false\n");
        settings.flush_interval_ms = Some(5_000);
        assert_eq!(settings.storage_section(), "\n[storage]\nhistory = false\nflush_interval_ms = 5000\n");
    }

    #[test]
    fn samples_add_up() {
        let text = "# TYPE farthing_network_bytes counter\n\
                    farthing_network_bytes_total{direction=\"out\",stream=\"a\"} 7\n\
                    farthing_network_bytes_total{direction=\"in\",stream=\"a\"} 90\n\
                    farthing_network_bytes_total{direction=\"out\",stream=\"b\"} 5\n\
                    farthing_transactions_executed_total 11\n";
        assert_eq!(metric(text, "farthing_network_bytes_total{direction=\"out\""), 12);
        assert_eq!(metric(text, "farthing_transactions_executed_total"), 11);
        assert_eq!(metric(text, "farthing_absent"), 0);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) (b 1 2) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 123 4 5";
        assert_eq!(parse_cpu_seconds(stat), Some(3.0));
        assert_eq!(parse_cpu_seconds("7 (a"), None);
        assert!(cpu_seconds(std::process::id()).expect("this process") >= 0.0);
    }

    #[test]
    fn a_directory_takes_what_is_in_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("a")).expect("made");
        fs::write(directory.path().join("a/b"), vec![1; 100_000]).expect("written");
        fs::write(directory.path().join("a/LOG.old.7"), vec![1; 300_000]).expect("written");
        let bytes = |is_counted: fn(&Path) -> bool| disk_bytes(directory.path(), &is_counted).expect("readable");
        assert!((400_000..600_000).contains(&bytes(|_| true)));
        assert!((100_000..300_000).contains(&bytes(is_kept)));
    }
}
