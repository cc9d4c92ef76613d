//! What an operator may do with the database of a node that does not run.

use crate::config::Config;
use crate::keys_file::Identity;
use crate::repair::{self, DAMAGE_FILE};
use crate::storage::StorageError;
use crate::storage::rocks::{OpenOptions, RocksStorage};
use std::collections::BTreeMap;
use std::path::Path;

/// What a compaction did.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Compacted {
    /// The bytes of the database's files before.
    pub before_bytes: u64,
    /// And after.
    pub after_bytes: u64,
    /// The bytes of the tables of each kind of data after, by its name.
    pub table_bytes: BTreeMap<String, u64>,
}

/// Compacts the database of a node that does not run.
///
/// # Errors
/// [`StorageError::Locked`] if it runs; if there is no database, or a damaged one; whatever keeps the node from starting. Damage that is
/// found is noted, as when the node runs.
pub fn compact(config: &Config) -> anyhow::Result<Compacted> {
    let database = config.database();
    anyhow::ensure!(database.join("CURRENT").exists(), "there is no database in {}", database.display());
    let note = config.home.join(DAMAGE_FILE);
    anyhow::ensure!(!note.exists(), "the database is damaged, {} says how: run the node", note.display());
    let genesis = config.load_genesis()?;
    let identity = Identity::load(config, &genesis)?;
    let validator = identity.validator.as_ref().map(|validator| validator.key.public_key());
    let options = OpenOptions { chain: genesis.chain_hash(), validator, history: config.storage.history };
    compact_database(config, &options).map_err(|error| match error.is_damage() {
        true => match repair::note_damage(config, &error.to_string()) {
            Ok(()) => anyhow::Error::from(error),
            Err(unnoted) => anyhow::Error::from(error).context(format!("it could not be noted: {unnoted}")),
        },
        false => error.into(),
    })
}

fn compact_database(config: &Config, options: &OpenOptions) -> Result<Compacted, StorageError> {
    let path = config.database();
    let before_bytes = file_bytes(&path)?;
    let storage = RocksStorage::open(&path, options)?;
    storage.compact()?;
    let table_bytes = storage.table_bytes()?;
    // Files that nothing needs any more are gone when it is closed.
    drop(storage);
    Ok(Compacted { before_bytes, after_bytes: file_bytes(&path)?, table_bytes })
}

/// The bytes of a database's files, but for what RocksDB tells of itself in text.
fn file_bytes(database: &Path) -> Result<u64, StorageError> {
    let failed = |error: std::io::Error| {
        StorageError::Database(format!("cannot list the files of {}: {error}", database.display()))
    };
    let mut bytes = 0;
    for entry in std::fs::read_dir(database).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with("LOG") {
            bytes += match entry.metadata() {
                Ok(metadata) => metadata.len(),
                // A node that runs, which is told of in a moment, makes and removes files.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
                Err(error) => return Err(failed(error)),
            };
        }
    }
    Ok(bytes)
}
