//! How a node is started: by itself, under strace, or with another clock.

use super::node::NodeProcess;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Up to which number [`Launch::strace_on`] knows files.
const FILES_MAX: u32 = 400;

/// What a node's program is started with.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// A program and its arguments that start the node.
    prefix: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Launch {
    /// The node by itself.
    pub fn plain() -> Launch {
        Launch::default()
    }

    /// Under strace, which does what `injections` say to system calls: see `inject` in its manual. A signal is delivered before the
    /// call, which is then not made. Counters are each thread's own.
    ///
    /// # Panics
    /// If strace is missing.
    pub fn strace(injections: &[String]) -> Launch {
        require_program("strace");
        // As a grandchild of ours (-D), so that the child is the node itself.
        let options = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", "signal=none"];
        let mut prefix: Vec<String> = options.map(Into::into).into();
        // Calls that are not traced are not tampered with.
        let calls: Vec<&str> = injections.iter().filter_map(|injection| injection.split(':').next()).collect();
        prefix.extend(["-e".into(), format!("trace={}", calls.join(","))]);
        for injection in injections {
            prefix.extend(["-e".into(), format!("inject={injection}")]);
        }
        Launch { prefix, environment: Vec::new() }
    }

    /// Under strace, which does what `injections` say, but only to calls that concern the files with these numbers in `database`: the
    /// log files (`000042.log`), if `extension` is "log".
    ///
    /// # Panics
    /// If strace is missing.
    pub fn strace_on(database: &Path, extension: &str, injections: &[String]) -> Launch {
        let mut launch = Launch::strace(injections);
        // RocksDB numbers its files as it makes them; a young database does not get far.
        for number in 1..FILES_MAX {
            let file = database.join(format!("{number:06}.{extension}"));
            launch.prefix.extend(["-P".into(), file.display().to_string()]);
        }
        launch
    }

    /// Under strace, which writes down what is written and synced: see [`crate::processes::wal`].
    ///
    /// # Panics
    /// If strace is missing.
    pub fn recorded(record: &Path, injections: &[String]) -> Launch {
        let mut launch = Launch::strace(injections);
        let place = launch.prefix.iter().position(|argument| argument == "/dev/null").expect("the output's name");
        launch.prefix[place] = record.display().to_string();
        launch.prefix.extend(["-y", "-s", "0", "-e", "trace=write,fdatasync"].map(Into::into));
        launch
    }

    /// With a wall clock that runs as `file` says: an offset in seconds such as `+3600` or `-3600`, which may be rewritten at any
    /// time with [`set_clock`]. Monotonic clocks are left alone, as they are by people who set clocks.
    ///
    /// # Panics
    /// If libfaketime is missing.
    pub fn with_clock(file: &Path) -> Launch {
        let library = faketime_library();
        let environment = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ];
        let environment = environment.map(|(name, value)| (name.to_string(), value)).into();
        Launch { prefix: Vec::new(), environment }
    }

    /// Starts the node of a home.
    pub fn start(&self, home: &Path) -> NodeProcess {
        let node = super::program("farthing-node");
        let mut command = match self.prefix.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(node);
                command
            }
            None => Command::new(node),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        NodeProcess::start(command, home)
    }
}

/// Sets a clock that [`Launch::with_clock`] gave to a node, to so many seconds off.
pub fn set_clock(file: &Path, offset_s: i64) {
    // In place of the old file, so that a node never reads half of it.
    let new = file.with_extension("new");
    fs::write(&new, format!("{offset_s:+}\n")).expect("room for a few bytes");
    fs::rename(&new, file).expect("the same directory");
}

fn require_program(name: &str) {
    let found = Command::new(name).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "{name} is missing: tests/run installs it, or run `apt-get install {name}`");
}

fn faketime_library() -> PathBuf {
    let name = "faketime/libfaketimeMT.so.1";
    let places =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: tests/run installs it, or run `apt-get install libfaketime`"))
}
