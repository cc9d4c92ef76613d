//! One node's process.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to stop when asked to.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running node. Dropping it kills it; so does, through its standard input, the end of this process.
pub struct NodeProcess {
    child: Child,
    _stdin: ChildStdin,
    log: PathBuf,
    /// Where this process's part of the log begins.
    log_start: u64,
}

impl NodeProcess {
    /// Starts `command`, which runs `farthing-node` with the arguments that are added here. What it prints is added to the home's
    /// `node.log`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut command: Command, home: &Path) -> NodeProcess {
        let log = home.join("node.log");
        let file = File::options().append(true).create(true).open(&log).expect("a log can be written");
        let log_start = file.metadata().expect("an open file").len();
        command.arg("run").arg("--home").arg(home).arg("--exit-with-parent");
        command.stdin(Stdio::piped()).stdout(file.try_clone().expect("a descriptor")).stderr(file);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take().expect("standard input is a pipe");
        NodeProcess { child, _stdin: stdin, log, log_start }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end, up to `patience`.
    pub fn wait_for_exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.exit_status() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Kills it as a crash would, if it still runs.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Panics
    /// If it does not stop in time, or not cleanly.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_for_exit(STOP_MAX).expect("it stops in time");
        assert!(status.success(), "it ended with {status}:\n{}", self.said());
    }

    /// Stops its threads, as a machine does that sleeps; [`NodeProcess::wake`] lets them go on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`NodeProcess::freeze`].
    pub fn wake(&self) {
        self.signal(Signal::CONT);
    }

    /// What this process has printed so far.
    pub fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).expect("a log fits into memory").min(log.len());
        String::from_utf8_lossy(&log[start..]).into_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It was not waited for, so the id is its own even if it has ended.
        let _ = kill_process(pid, signal);
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// What the process uses now; `None` if it has ended.
    pub fn of(pid: u32) -> Option<Usage> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Usage { resident_bytes: kibibytes * 1024, descriptors })
    }

    /// The higher of each.
    pub fn max(self, other: Usage) -> Usage {
        Usage {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}
