//! The validators' processes.
//!
//! A process stops with its launcher, however that ends: it runs with `--exit-with-parent` and its standard input is a pipe
//! whose other end the launcher holds. It has a process group of its own, so that Ctrl-C in a terminal reaches the launcher
//! alone, which then stops the validators in order.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A log larger than this is set aside at the next start, in bytes.
const LOG_BYTES_MAX: u64 = 32 << 20;

/// How much of a log's end is read to show its last lines, in bytes.
const LOG_TAIL_BYTES: u64 = 8 << 10;

/// The programs that the launcher runs, which are built beside it.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `farthing-node`.
    pub node: PathBuf,
    /// `farthing`, the wallet.
    pub wallet: PathBuf,
    /// `farthing-testnet` itself.
    pub testnet: PathBuf,
}

impl Binaries {
    /// Finds the programs in the directory of the running one.
    ///
    /// # Errors
    /// If one is missing.
    pub fn find() -> anyhow::Result<Binaries> {
        let testnet = std::env::current_exe().context("cannot tell where this program is")?;
        let find = |name: &str| {
            let path = testnet.with_file_name(name);
            let advice = "run testnet/up, which builds it, or `cargo build --release --workspace --bins`";
            anyhow::ensure!(path.is_file(), "{} is missing: {advice}", path.display());
            Ok(path)
        };
        Ok(Binaries { node: find("farthing-node")?, wallet: find("farthing")?, testnet })
    }
}

/// A validator's process.
pub struct NodeProcess {
    name: String,
    child: Child,
    /// Its end tells the process that its launcher is gone.
    _stdin: ChildStdin,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl NodeProcess {
    /// Starts the node of a home. What it prints goes to the home's `node.log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(binary: &Path, name: &str, home: &Path) -> anyhow::Result<NodeProcess> {
        let log = home.join("node.log");
        let file = open_log(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--home").arg(home).arg("--exit-with-parent");
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let stdin = child.stdin.take().expect("standard input is a pipe");
        Ok(NodeProcess { name: name.into(), child, _stdin: stdin, log, status: None })
    }

    /// The validator's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How the process ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error means that the process is no longer ours to wait for, which cannot be while `child` lives.
            self.status = self.child.try_wait().expect("a child can be waited for");
        }
        self.status
    }

    fn terminate(&mut self) {
        if self.exit_status().is_none() {
            let pid = Pid::from_child(&self.child);
            // It was not waited for, so the id is still its own even if it ends this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn kill(&mut self) {
        if self.exit_status().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes of a testnet.
#[derive(Default)]
pub struct Fleet {
    processes: Vec<NodeProcess>,
    reported: Vec<bool>,
}

impl Fleet {
    /// Adds a process.
    pub fn push(&mut self, process: NodeProcess) {
        self.processes.push(process);
        self.reported.push(false);
    }

    /// The processes, in the order they were added.
    pub fn processes(&self) -> &[NodeProcess] {
        &self.processes
    }

    /// Kills a process and starts its node anew.
    ///
    /// # Errors
    /// If it cannot be started.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn restart(&mut self, index: usize, binary: &Path, home: &Path) -> anyhow::Result<()> {
        let process = &mut self.processes[index];
        process.kill();
        *process = NodeProcess::start(binary, &process.name, home)?;
        Ok(())
    }

    /// The first process that has ended and was not reported before, with how.
    pub fn next_exit(&mut self) -> Option<(&NodeProcess, ExitStatus)> {
        self.poll_exit().map(|(index, status)| (&self.processes[index], status))
    }

    /// How many processes run.
    pub fn running(&mut self) -> usize {
        self.processes.iter_mut().filter_map(|process| process.exit_status().is_none().then_some(())).count()
    }

    /// Waits until a process ends that was not reported before.
    pub async fn wait_for_exit(&mut self) -> (&NodeProcess, ExitStatus) {
        loop {
            if let Some((index, status)) = self.poll_exit() {
                return (&self.processes[index], status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks all processes to stop, waits up to `grace` and kills those that have not. Returns the names of the killed.
    pub async fn stop(&mut self, grace: Duration) -> Vec<String> {
        for process in &mut self.processes {
            process.terminate();
        }
        let deadline = Instant::now() + grace;
        while self.running() > 0 && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        let mut killed = Vec::new();
        for process in &mut self.processes {
            if process.exit_status().is_none() {
                process.kill();
                killed.push(process.name.clone());
            }
        }
        killed
    }

    fn poll_exit(&mut self) -> Option<(usize, ExitStatus)> {
        for (index, (process, reported)) in self.processes.iter_mut().zip(&mut self.reported).enumerate() {
            if let (Some(status), false) = (process.exit_status(), *reported) {
                *reported = true;
                return Some((index, status));
            }
        }
        None
    }
}

/// The last lines of a log, to show why a process failed.
pub fn last_lines(log: &Path, count: usize) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", log.display()),
    }
}

fn open_log(log: &Path) -> std::io::Result<File> {
    if log.metadata().is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(log, log.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(log)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write as _;

    /// A program that stands in for `farthing-node`, as a shell script.
    ///
    /// A shell writes it: if this process had it open for writing, a child that another test forks meanwhile would have it open
    /// too, until it executes a program of its own, and nobody can execute a file that is open for writing.
    pub(crate) fn script(directory: &Path, body: &str) -> PathBuf {
        let path = directory.join("node.sh");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "cat > \"$0\" && chmod 700 \"$0\""]).arg(&path).stdin(Stdio::piped());
        let mut shell = shell.spawn().expect("a shell");
        let mut input = shell.stdin.take().expect("a pipe");
        write!(input, "#!/bin/sh\n{body}\n").expect("it reads");
        drop(input);
        assert!(shell.wait().expect("ended").success());
        path
    }

    fn fleet(directory: &Path, body: &str) -> Fleet {
        let binary = script(directory, body);
        let mut fleet = Fleet::default();
        fleet.push(NodeProcess::start(&binary, "a", directory).expect("started"));
        fleet
    }

    #[tokio::test]
    async fn an_exit_is_reported_once_with_the_log() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut fleet = fleet(directory.path(), "echo \"$@\"; echo two >&2; echo three; exit 3");
        let (process, status) = fleet.wait_for_exit().await;
        assert_eq!((process.name(), status.code()), ("a", Some(3)));
        assert_eq!(last_lines(process.log(), 2), "two\nthree");
        let home = directory.path().display();
        assert_eq!(last_lines(process.log(), 9), format!("run --home {home} --exit-with-parent\ntwo\nthree"));
        assert_eq!(fleet.running(), 0);
        assert!(tokio::time::timeout(3 * POLL, fleet.wait_for_exit()).await.is_err(), "reported once");
    }

    #[tokio::test]
    async fn stopping_is_polite_first() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let body = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done";
        let mut fleet = fleet(directory.path(), body);
        wait_for_line(&fleet, "up").await;
        assert!(fleet.stop(Duration::from_secs(20)).await.is_empty());
        assert_eq!(last_lines(fleet.processes()[0].log(), 1), "bye");
    }

    #[tokio::test]
    async fn who_does_not_stop_is_killed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut fleet = fleet(directory.path(), "trap '' TERM; echo up; while :; do sleep 0.02; done");
        wait_for_line(&fleet, "up").await;
        assert_eq!(fleet.stop(Duration::from_millis(100)).await, ["a"]);
        assert_eq!(fleet.running(), 0);
    }

    #[tokio::test]
    async fn a_process_sees_its_launcher_go() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut fleet = fleet(directory.path(), "cat; echo alone");
        let log = fleet.processes()[0].log().to_path_buf();
        let mut process = fleet.processes.pop().expect("one");
        // What happens to the pipe when the launcher is killed happens here by replacing it.
        let mut other = Command::new("true").stdin(Stdio::piped()).spawn().expect("started");
        process._stdin = other.stdin.take().expect("a pipe");
        other.wait().expect("ended");
        fleet.processes.push(process);
        let (_, status) = fleet.wait_for_exit().await;
        assert!(status.success());
        assert_eq!(last_lines(&log, 1), "alone");
    }

    async fn wait_for_line(fleet: &Fleet, line: &str) {
        while last_lines(fleet.processes()[0].log(), 1) != line {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
