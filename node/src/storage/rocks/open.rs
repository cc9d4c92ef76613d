//! Opening: what RocksDB is told, and whose database this is.

use super::{RocksStorage, database_error, ids, keys, logs};
use crate::init::sync_directory;
use crate::storage::StorageError;
use farthing_core::hash::ChainHash;
use farthing_core::keys::PublicKey;
use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompactionStyle, DBCompressionType, DBRecoveryMode,
    LogLevel, Options, UniversalCompactOptions, WriteBatch, WriteOptions,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of the format on disk. A change of keys or values is a new one.
pub const FORMAT_VERSION: u32 = 4;

const MIB: usize = 1024 * 1024;

/// For all column families together, beyond the write buffers: decoded blocks, their indexes and filters.
const BLOCK_CACHE_BYTES: usize = 64 * MIB;

/// All write buffers together; above it the oldest is written out.
const WRITE_BUFFERS_BYTES: usize = 64 * MIB;

/// The write-ahead log is kept until what it holds is written out otherwise; this is when that is forced.
const WAL_BYTES_MAX: u64 = 64 * MIB as u64;

/// The blocks of the index of ids. In larger ones than RocksDB's 4 KiB an entry takes a byte less.
const TRANSACTIONS_BLOCK_BYTES: usize = 16 * 1024;

/// How many tables of the index of ids there are before some are merged.
const TRANSACTIONS_TABLES_MIN: i32 = 16;

/// How long an outdated entry of the index of ids may stay on disk, unseen.
const TRANSACTIONS_COMPACTION_S: u64 = 24 * 60 * 60;

/// Whose database is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOptions {
    /// The network: the hash of its genesis document.
    pub chain: ChainHash,
    /// The key that a validator signs vertices with; `None` for a full node. A full node's database may become a validator's,
    /// and a validator's may be opened without its key; never by another validator.
    pub validator: Option<PublicKey>,
    /// Whether the histories of accounts are kept. Once they were not, they never can be.
    pub history: bool,
}

/// Opens the database, or makes it, and checks whose it is.
pub(super) fn open(
    path: &Path,
    options: &OpenOptions,
    transactions_floor: &Arc<AtomicU64>,
) -> Result<DB, StorageError> {
    // The entry of a new directory must last as long as what is synced in it.
    std::fs::create_dir_all(path)
        .and_then(|()| path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_directory))
        .map_err(|error| StorageError::Database(format!("cannot make the directory {}: {error}", path.display())))?;
    let database = database_options();
    if !path.join("CURRENT").exists() {
        assert_new(path)?;
    } else {
        logs::check(path)?;
        let existing = DB::list_cf(&database, path).map_err(|error| open_error(path, &error))?;
        if let Some(unknown) = existing.iter().find(|name| *name != "default" && !keys::ALL.contains(&name.as_str())) {
            let path = path.display();
            return Err(StorageError::Foreign(format!(
                "{path} holds \"{unknown}\", which this version of farthing-node does not know: use the version that made it"
            )));
        }
    }
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let columns = keys::ALL
        .map(|name| ColumnFamilyDescriptor::new(name, column_options(name, &cache, Arc::clone(transactions_floor))));
    let db = DB::open_cf_descriptors(&database, path, columns).map_err(|error| open_error(path, &error))?;
    check_owner(&db, path, options)?;
    Ok(db)
}

/// Checks the format, the network and the validator; writes them into a new database.
fn check_owner(db: &DB, path: &Path, options: &OpenOptions) -> Result<(), StorageError> {
    let path = path.display();
    let format = RocksStorage::read_from::<u32>(db, keys::META, keys::META_FORMAT)?;
    if let Some(found) = format.filter(|found| *found != FORMAT_VERSION) {
        return Err(StorageError::Foreign(format!(
            "{path} has format {found}, this version of farthing-node reads format {FORMAT_VERSION}: use the version that made it"
        )));
    }
    let chain = RocksStorage::read_from::<ChainHash>(db, keys::META, keys::META_CHAIN)?;
    if let Some(found) = chain.filter(|found| *found != options.chain) {
        let expected = options.chain;
        return Err(StorageError::Foreign(format!(
            "{path} belongs to another network (chain {found}; the genesis document's is {expected}): give another data \
             directory, or the right genesis document"
        )));
    }
    let validator = RocksStorage::read_from::<PublicKey>(db, keys::META, keys::META_VALIDATOR)?;
    if let (Some(found), Some(given)) = (validator, options.validator)
        && found != given
    {
        return Err(StorageError::Foreign(format!(
            "{path} belongs to the validator with the public key {found}, not to {given}: give another data directory, or \
             the right key"
        )));
    }
    let has_history = RocksStorage::read_from::<bool>(db, keys::META, keys::META_HISTORY)?;
    if options.history && has_history == Some(false) {
        return Err(StorageError::Foreign(format!(
            "{path} has kept no histories of accounts so far: set storage.history = false, or give another data directory"
        )));
    }
    let mut owner = WriteBatch::default();
    let meta = db.cf_handle(keys::META).expect("opened with it");
    owner.put_cf(meta, keys::META_FORMAT, farthing_core::codec::encode(&FORMAT_VERSION));
    owner.put_cf(meta, keys::META_CHAIN, farthing_core::codec::encode(&options.chain));
    if !options.history {
        owner.put_cf(meta, keys::META_HISTORY, farthing_core::codec::encode(&false));
    }
    if let Some(validator) = &options.validator {
        owner.put_cf(meta, keys::META_VALIDATOR, farthing_core::codec::encode(validator));
    }
    db.write_opt(owner, &synced()).map_err(|error| database_error(&error))
}

/// Writes that are durable when they return.
pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// What holds for the whole database.
fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_background_jobs(2);
    options.set_max_open_files(512);
    options.set_max_manifest_file_size(16 * MIB);
    options.set_bytes_per_sync(MIB as u64);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 * MIB);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// How tables of the index of ids are made outside of the database.
pub(super) fn transactions_table() -> Options {
    column_options(keys::TRANSACTIONS, &Cache::new_lru_cache(0), Arc::default())
}

/// How tables of the state are made outside of the database.
pub(super) fn state_table() -> Options {
    column_options(keys::STATE, &Cache::new_lru_cache(0), Arc::default())
}

/// What holds for one column family.
fn column_options(name: &str, cache: &Cache, transactions_floor: Arc<AtomicU64>) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(10.0, false);
    if name == keys::TRANSACTIONS {
        table.set_block_size(TRANSACTIONS_BLOCK_BYTES);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    // Keys and signatures do not get any shorter. (Ids do not, either, but what RocksDB puts around each does.)
    let is_random = name == keys::PAYLOADS;
    options.set_compression_type(if is_random { DBCompressionType::None } else { DBCompressionType::Lz4 });
    options.set_write_buffer_size(if name == keys::PAYLOADS { 32 * MIB } else { 8 * MIB });
    if [keys::HEADERS, keys::CERTIFICATES, keys::COMMITS].contains(&name) {
        // Little is written here, always at the end, and most of it stays. Leveled compaction would never merge the small
        // files that this makes, as none overlaps another.
        options.set_compaction_style(DBCompactionStyle::Universal);
    }
    if name == keys::TRANSACTIONS {
        // Ids are random, so each level of leveled compaction would be written again and again. Few look here, so many tables may
        // gather before they are merged. No entry ever takes the place of another one, so merging all does not give room back.
        options.set_compaction_style(DBCompactionStyle::Universal);
        let mut merging = UniversalCompactOptions::default();
        merging.set_min_merge_width(TRANSACTIONS_TABLES_MIN / 2);
        merging.set_max_size_amplification_percent(400);
        options.set_universal_compaction_options(&merging);
        options.set_level_zero_file_num_compaction_trigger(TRANSACTIONS_TABLES_MIN);
        // Beyond this writers have to wait.
        options.set_level_zero_slowdown_writes_trigger(4 * TRANSACTIONS_TABLES_MIN);
        options.set_level_zero_stop_writes_trigger(8 * TRANSACTIONS_TABLES_MIN);
        // Ids are random: removing outdated ones by key would cost as much as writing them did. They are left out when
        // compaction comes by, and readers pass over them until then. The floor is durable before it shows here.
        options.set_compaction_filter("outdated transactions", move |_level, _key: &[u8], stored: &[u8]| {
            match ids::stored_height(stored) {
                Some(height) if height < transactions_floor.load(Ordering::Acquire) => Decision::Remove,
                _ => Decision::Keep,
            }
        });
        options.set_periodic_compaction_seconds(TRANSACTIONS_COMPACTION_S);
    }
    options
}

/// Refuses a directory with a database that has lost its first file: RocksDB would begin a new one over it.
fn assert_new(path: &Path) -> Result<(), StorageError> {
    let failed =
        |error: std::io::Error| StorageError::Database(format!("cannot list the files of {}: {error}", path.display()));
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("MANIFEST-") || name.ends_with(".sst") {
            return Err(StorageError::Damaged(format!("{} has {name}, but no CURRENT", path.display())));
        }
    }
    Ok(())
}

/// Why the database did not open.
fn open_error(path: &Path, error: &rocksdb::Error) -> StorageError {
    use rocksdb::ErrorKind::{InvalidArgument, NotFound, NotSupported};
    // RocksDB has no kind of its own for this; the first text is that of another process's lock, the second of our own.
    let text = error.to_string();
    if text.contains("While lock file") || text.contains("lock hold by current process") {
        return StorageError::Locked(path.display().to_string());
    }
    // What the files name is not there, or makes no sense: the options are always the same.
    let is_nonsense = matches!(error.kind(), InvalidArgument | NotFound | NotSupported);
    if is_nonsense || text.contains("No such file or directory") {
        return StorageError::Damaged(text);
    }
    database_error(error)
}
