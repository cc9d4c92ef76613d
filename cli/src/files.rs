//! The wallet's folder and how its files are written: private, whole, and durable.
//!
//! ```text
//! $FARTHING_HOME, else $XDG_CONFIG_HOME/farthing, else ~/.config/farthing
//! ├── config.toml                        profiles (profile.rs)
//! ├── genesis/<chain hash>.json          pinned genesis documents
//! ├── keys/<name>.json                   key files (keyfile.rs)
//! ├── journal/<chain hash>/<public key>/ payments in flight (journal.rs)
//! ├── heights/<chain hash>               the newest block known to hold a payment of this wallet (network.rs)
//! ├── links/<chain hash>/                payment links that were made here (commands/link.rs)
//! ├── channels/<chain hash>/             payment channels (commands/channel.rs)
//! └── payouts/<chain hash>/              payouts to many (commands/pay_many.rs)
//! ```

use crate::error::Error;
use farthing_core::hash::ChainHash;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The wallet's folder.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The folder given, else the user's, after the XDG base directory specification. It need not exist.
    pub fn locate(given: Option<PathBuf>) -> Result<Home, Error> {
        if let Some(path) = given {
            return Ok(Home(path));
        }
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
        config.map(|path| Home(path.join("farthing"))).ok_or_else(|| {
            Error::usage("there is no home directory: set FARTHING_HOME to the folder for the wallet's files")
        })
    }

    /// The file of profiles.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The pinned genesis document of a network.
    pub fn genesis(&self, chain: &ChainHash) -> PathBuf {
        self.0.join("genesis").join(format!("{chain}.json"))
    }

    /// The folder of key files.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The folder of the journals of all accounts on a network.
    pub fn journals(&self, chain: &ChainHash) -> PathBuf {
        self.0.join("journal").join(chain.to_string())
    }

    /// The file of the height of the newest block that is known to hold a payment of this wallet.
    pub fn height(&self, chain: &ChainHash) -> PathBuf {
        self.0.join("heights").join(chain.to_string())
    }

    /// The folder of the payment links that were made here.
    pub fn links(&self, chain: &ChainHash) -> PathBuf {
        self.0.join("links").join(chain.to_string())
    }

    /// The folder of the payment channels.
    pub fn channels(&self, chain: &ChainHash) -> PathBuf {
        self.0.join("channels").join(chain.to_string())
    }

    /// The folder of the payouts to many.
    pub fn payouts(&self, chain: &ChainHash) -> PathBuf {
        self.0.join("payouts").join(chain.to_string())
    }

    /// Keeps other processes from changing profiles and keys until the file is dropped.
    pub fn lock(&self) -> Result<File, Error> {
        create_dir(&self.0)?;
        lock_file(&self.0.join("lock"))
    }
}

/// Opens a file that exists only to be locked, and waits until no other process holds it.
pub fn lock_file(path: &Path) -> Result<File, Error> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = open.map_err(|error| failure("open", path, &error))?;
    file.lock().map_err(|error| failure("lock", path, &error))?;
    Ok(file)
}

/// Creates a folder and those above it, for the user alone, and makes their names durable.
pub fn create_dir(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_dir(path.parent().unwrap_or(Path::new("."))),
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(failure("create", path, &error)),
    }
}

/// Writes a file that is either there as a whole or as it was before, even after a crash: a temporary file, synced, renamed,
/// and the folder synced. Only the user may read it. The file comes back open, with the lock that it was given before
/// anybody could see it.
pub fn write_locked(path: &Path, bytes: &[u8]) -> Result<File, Error> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(|error| Error::local(format!("the system has no randomness: {error}")))?;
    let temporary = folder.join(format!(".{name}.{}", hex::encode(unique)));
    let written = (|| {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        file.lock()?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(file)
    })();
    let file = written.map_err(|error| {
        // Best effort: what counts is that the file itself is as it was.
        let _ = fs::remove_file(&temporary);
        failure("write", path, &error)
    })?;
    sync_dir(folder)?;
    Ok(file)
}

/// [`write_locked`] without keeping the lock.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_locked(path, bytes).map(drop)
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> Result<(), Error> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| failure("sync", path, &error))
}

/// Reads a file of at most `max` bytes; `None` if there is none.
pub fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, Error> {
    match File::open(path) {
        Ok(file) => read_all(file, path, max).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure("read", path, &error)),
    }
}

/// Reads a file that the user named, or standard input for `-`, of at most `max` bytes.
pub fn read_named(path: &Path, max: u64) -> Result<Vec<u8>, Error> {
    if path == Path::new("-") {
        return read_all(std::io::stdin().lock(), Path::new("standard input"), max);
    }
    read(path, max)?.ok_or_else(|| Error::usage(format!("there is no file {}", path.display())))
}

fn read_all(source: impl Read, path: &Path, max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    source.take(max + 1).read_to_end(&mut bytes).map_err(|error| failure("read", path, &error))?;
    if bytes.len() as u64 > max {
        return Err(Error::usage(format!(
            "{} is longer than {max} bytes: it is not what it should be",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The error for an operation of the operating system on a file.
pub fn failure(verb: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::local(format!("cannot {verb} {}: {error}", path.display()))
}
