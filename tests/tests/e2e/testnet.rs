//! A testnet of real processes for one test: started by `farthing-testnet up`, stopped when dropped.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a condition of a running testnet may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program `name`, built beside this test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let directory = test.ancestors().nth(2).expect("tests stand in DIRECTORY/deps");
    let path = directory.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --release --workspace --bins`", path.display());
    path
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// This, if it ended well.
    pub fn ok(self) -> Ended {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Where a testnet and a wallet are kept.
pub struct Home {
    pub directory: TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home { directory: tempfile::tempdir().expect("room for a test") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the testnet that is kept here and waits until it is ready.
    pub fn up(&self, validators: usize) -> Testnet<'_> {
        let said = std::fs::File::options().append(true).create(true).open(self.path("up.log")).expect("a log");
        let mut child = self
            .command("farthing-testnet")
            .args(["up", "--json", "--validators", &validators.to_string()])
            .arg("--state")
            .arg(self.path("state"))
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .expect("the launcher starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("the launcher says something");
        let log = || std::fs::read_to_string(self.path("up.log")).unwrap_or_default();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}\n{}", log()));
        assert_eq!(ready["event"], "ready", "{line}");
        Testnet { home: self, child, ready, _output: output }
    }

    /// A program with this home's wallet, found nothing else.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.env("FARTHING_HOME", self.path("wallet")).stdin(Stdio::null());
        command
    }

    /// Runs the wallet.
    pub fn wallet(&self, arguments: &[&str]) -> Ended {
        self.command("farthing").args(arguments).output().expect("the wallet runs").into()
    }
}

/// A running testnet.
pub struct Testnet<'a> {
    pub home: &'a Home,
    pub ready: Value,
    child: Child,
    /// Held open: the launcher would end on a broken pipe.
    _output: BufReader<std::process::ChildStdout>,
}

impl Testnet<'_> {
    /// The address of a developer's account.
    pub fn address(&self, number: usize) -> &str {
        self.ready["accounts"][number]["address"].as_str().expect("an address")
    }

    /// The addresses of the APIs.
    pub fn apis(&self) -> Vec<String> {
        let urls = self.ready["api"].as_array().expect("a list");
        urls.iter().map(|url| url.as_str().expect("a URL").to_owned()).collect()
    }

    pub fn genesis(&self) -> &Path {
        Path::new(self.ready["genesis"].as_str().expect("a path"))
    }

    /// Where validator `number` lives.
    pub fn node_home(&self, number: usize) -> PathBuf {
        let name = self.ready["validators"][number]["name"].as_str().expect("a name");
        let home = self.home.path("state").join(name);
        assert!(home.join("config.toml").exists(), "no node in {}", home.display());
        home
    }

    /// Kills validator `number` as a power failure would. Returns once it is gone, and has let go of its database and ports.
    pub fn kill(&self, number: usize) {
        self.signal(number, "KILL");
        let pid = self.ready["validators"][number]["pid"].as_u64().expect("a pid");
        let stat = PathBuf::from(format!("/proc/{pid}/stat"));
        // The launcher may leave it as a zombie, which has let go of everything.
        let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        wait_for("a killed validator to be gone", || is_gone().then_some(()));
    }

    /// Sends a signal to validator `number`.
    pub fn signal(&self, number: usize, name: &str) {
        let pid = self.ready["validators"][number]["pid"].as_u64().expect("a pid");
        signal(pid as u32, name);
    }

    /// Starts validator `number` by hand.
    pub fn restart(&self, number: usize) -> Node {
        Node::run(self.home, &self.node_home(number))
    }

    /// Runs `farthing-testnet load`, and checks at its end that supply and state are the same everywhere.
    pub fn load(&self, rate: u32, seconds: u32, check: bool) -> Value {
        self.load_with(rate, seconds, if check { &["--check"] } else { &[] })
    }

    /// The same with these options.
    pub fn load_with(&self, rate: u32, seconds: u32, options: &[&str]) -> Value {
        let mut command = self.home.command("farthing-testnet");
        command.args(["load", "--json", "--rate", &rate.to_string(), "--seconds", &seconds.to_string()]);
        command.arg("--state").arg(self.home.path("state"));
        command.args(options);
        Ended::from(command.output().expect("the load generator runs")).ok().json()
    }
}

impl Drop for Testnet<'_> {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let status = self.child.wait();
        if !std::thread::panicking() {
            assert!(status.as_ref().is_ok_and(|status| status.success()), "the launcher ended with {status:?}");
        }
    }
}

/// A node started by hand.
pub struct Node(Child);

impl Node {
    pub fn run(home: &Home, node: &Path) -> Node {
        let log = std::fs::File::options().append(true).create(true).open(node.join("node.log")).expect("a log");
        let mut command = home.command("farthing-node");
        Node(command.arg("run").arg("--home").arg(node).stderr(log).spawn().expect("the node starts"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        signal(self.0.id(), "TERM");
        let status = self.0.wait();
        if !std::thread::panicking() {
            assert!(status.as_ref().is_ok_and(|status| status.success()), "the node ended with {status:?}");
        }
    }
}

/// Waits until `check` gives something.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.is_ok_and(|status| status.success()), "no process {pid} to send {name} to");
}
