//! Repair of a damaged database: it is moved aside, and what it held is fetched from the other nodes again.
//!
//! A node that finds its database damaged notes that in a file beside it and stops. The next start moves the database to
//! `database.damaged`, in the place of an earlier one, and begins with an empty one. A validator has lost its signing state then, even if
//! it could still be read: what was synced last may be what is missing. So it signs nothing until the others have told it
//! what it signed (consensus.md §10).

use crate::config::Config;
use crate::init::sync_directory;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The note that the database is damaged, in the node's home.
pub const DAMAGE_FILE: &str = "database-damaged";

/// Where a damaged database is moved, in the node's home.
pub const DAMAGED_DIRECTORY: &str = "database.damaged";

/// Why a damaged database could not be moved aside.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Another process still has it open.
    #[error("{} is damaged, and in use by another process: stop that first", .0.display())]
    InUse(PathBuf),
    /// A file could not be read, written or moved.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Notes durably that the database is damaged, and how. Only who has the database to itself can tell: what another process is writing
/// may look damaged.
///
/// # Errors
/// [`RepairError::InUse`]; [`RepairError::Io`]: the next start will find the damage again.
pub fn note_damage(config: &Config, how: &str) -> Result<(), RepairError> {
    let (home, database) = (&config.home, config.database());
    let _lock = database.exists().then(|| lock(&database)).transpose()?;
    let path = home.join(DAMAGE_FILE);
    let write = || {
        let mut file = File::create(&path)?;
        writeln!(file, "{how}")?;
        file.sync_all()?;
        sync_directory(home)
    };
    write().map_err(|source| RepairError::Io { path: path.clone(), source })
}

/// Moves the database aside if it was noted as damaged. Returns how it is damaged, if so.
///
/// # Errors
/// [`RepairError`]: the node must not start.
pub fn move_damaged_aside(config: &Config) -> Result<Option<String>, RepairError> {
    let (note, database) = (config.home.join(DAMAGE_FILE), config.database());
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RepairError::Io { path, source }
    };
    let how = match fs::read_to_string(&note) {
        Ok(how) => how.trim_end().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&note)(error)),
    };
    // A crash may have come between the move and the removal of the note.
    if database.exists() {
        let _lock = lock(&database)?;
        let aside = config.home.join(DAMAGED_DIRECTORY);
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(at(&aside))?;
        }
        fs::rename(&database, &aside).map_err(at(&database))?;
        sync_directory(&config.home).map_err(at(&config.home))?;
    }
    fs::remove_file(&note).map_err(at(&note))?;
    sync_directory(&config.home).map_err(at(&config.home))?;
    Ok(Some(how))
}

/// Takes the lock that RocksDB takes. It ends with the file.
fn lock(database: &Path) -> Result<File, RepairError> {
    let path = database.join("LOCK");
    let io_error = |source: io::Error| RepairError::Io { path: path.clone(), source };
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io_error)?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(RepairError::InUse(database.into())),
        Err(error) => Err(io_error(error.into())),
    }
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
