//! The state directory: what a testnet keeps from one run to the next.
//!
//! ```text
//! farthing-testnet.lock  marks the directory as ours; locked while a testnet runs, and holds its process id
//! testnet.json           the topology, written last when the directory is made: without it the rest is incomplete
//! genesis.json           the genesis document
//! ready.json             where everything is, while the testnet is ready
//! validator-1/ …         the validators' homes, with their logs
//! load.lock, faucet.lock one load generator and one faucet payment at a time
//! ```

use anyhow::{Context as _, bail};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "farthing-testnet.lock";

/// A state directory that this process alone uses, until it is dropped.
pub struct StateDirectory {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl StateDirectory {
    /// Opens or makes the directory, locks it, and with `reset` removes everything in it first.
    ///
    /// # Errors
    /// If it is in use, holds files that are not a testnet's, or cannot be written.
    pub fn open(path: &Path, reset: bool) -> anyhow::Result<StateDirectory> {
        let shown = path.display();
        let is_new = is_absent_or_empty(path).with_context(|| format!("cannot read {shown}"))?;
        if !is_new && !path.join(LOCK_FILE).is_file() {
            bail!("{shown} holds files, but no testnet: choose an empty or a new directory with --state");
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| format!("cannot make {shown}"))?;
        let path = path.canonicalize().with_context(|| format!("cannot read {shown}"))?;
        let lock = lock_exclusively(&path)?;
        if reset {
            remove_all_but_lock(&path).with_context(|| format!("cannot reset {shown}"))?;
        }
        Ok(StateDirectory { path, _lock: lock })
    }

    /// The absolute path of a file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes everything that was made so far, to begin again.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear(&self) -> anyhow::Result<()> {
        remove_all_but_lock(&self.path).with_context(|| format!("cannot clear {}", self.path.display()))
    }
}

/// Where the state is when nobody says: the same for every command and working directory.
///
/// # Errors
/// If the environment does not tell where the user's files are.
pub fn default_path() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    let base = base.context("neither XDG_STATE_HOME nor HOME is set: say --state DIR")?;
    Ok(base.join("farthing").join("testnet"))
}

/// Writes a file so that readers see the old content or the new one, never a part.
///
/// # Errors
/// If it cannot be written beside its place or moved there.
pub fn write_atomically(path: &Path, content: &str) -> anyhow::Result<()> {
    let name = path.file_name().with_context(|| format!("{} is not the name of a file", path.display()))?;
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Opens a lock file and waits for its lock, which is held until the file is dropped.
///
/// # Errors
/// If it cannot be opened or locked.
pub fn wait_for_lock(path: &Path) -> anyhow::Result<File> {
    let open = || {
        let file = open_lock(path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    open().with_context(|| format!("cannot lock {}", path.display()))
}

/// Opens a lock file and takes its lock, or `None` if somebody else holds it.
///
/// # Errors
/// If it cannot be opened or locked.
pub fn try_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = open_lock(path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn lock_exclusively(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join(LOCK_FILE);
    let Some(mut file) = try_lock(&path)? else {
        let pid = fs::read_to_string(&path).unwrap_or_default();
        bail!(
            "a testnet is running on {} (process {}): stop it with Ctrl-C first, or choose another directory with --state",
            directory.display(),
            pid.trim()
        );
    };
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn is_absent_or_empty(path: &Path) -> std::io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn remove_all_but_lock(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == LOCK_FILE {
            continue;
        }
        // The type of the entry itself: a symbolic link is removed, not what it points to.
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A number kept in a lock file, for its holder to read and raise.
pub struct Counter(File);

impl Counter {
    /// Waits until nobody else holds the counter.
    ///
    /// # Errors
    /// If the file cannot be opened or locked.
    pub fn lock(path: &Path) -> anyhow::Result<Counter> {
        wait_for_lock(path).map(Counter)
    }

    /// The number, 0 in a new file.
    ///
    /// # Errors
    /// If the file cannot be read or holds something else.
    pub fn read(&mut self) -> anyhow::Result<u64> {
        let mut text = String::new();
        self.0.rewind()?;
        (&mut self.0).take(32).read_to_string(&mut text)?;
        match text.trim() {
            "" => Ok(0),
            digits => digits.parse().context("a counter's file holds something else than a number"),
        }
    }

    /// Stores a number and syncs it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, number: u64) -> anyhow::Result<()> {
        self.0.rewind()?;
        // Numbers only grow, so what is written is never shorter than what it replaces.
        writeln!(self.0, "{number}")?;
        Ok(self.0.sync_all()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_by_one_testnet_at_a_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("a/b");
        let first = StateDirectory::open(&path, false).expect("opened");
        let message = StateDirectory::open(&path, true).err().expect("locked").to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(first);
        StateDirectory::open(&path, false).expect("free again");
    }

    #[test]
    fn reset_empties_ours_and_leaves_others_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("precious"), "x").expect("written");
        let message = StateDirectory::open(&outside, true).err().expect("not ours").to_string();
        assert!(message.contains("holds files, but no testnet"), "{message}");
        assert!(outside.join("precious").exists());

        let ours = directory.path().join("ours");
        let state = StateDirectory::open(&ours, false).expect("opened");
        fs::create_dir_all(state.join("validator-1/database")).expect("made");
        fs::write(state.join("genesis.json"), "x").expect("written");
        std::os::unix::fs::symlink(&outside, state.join("link")).expect("linked");
        drop(state);
        let state = StateDirectory::open(&ours, true).expect("opened");
        assert_eq!(fs::read_dir(state.path()).expect("readable").count(), 1, "only the lock is left");
        assert!(outside.join("precious").exists(), "a link is not followed");
    }

    #[test]
    fn counters_remember() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("counter");
        let mut counter = Counter::lock(&path).expect("locked");
        assert_eq!(counter.read().expect("readable"), 0);
        counter.write(9).expect("written");
        counter.write(10).expect("written");
        assert_eq!(counter.read().expect("readable"), 10);
        assert!(try_lock(&path).expect("no error").is_none());
        drop(counter);
        assert_eq!(Counter::lock(&path).expect("locked").read().expect("readable"), 10);
    }

    #[test]
    fn files_are_replaced_whole() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("a.json");
        write_atomically(&path, "one").expect("written");
        write_atomically(&path, "two").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "two");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
        assert!(write_atomically(&directory.path().join("absent/a.json"), "x").is_err());
    }
}
