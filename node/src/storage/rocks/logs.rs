//! A look at RocksDB's logs (the write-ahead logs and the manifest) before RocksDB reads them.
//!
//! A log is a row of blocks of 32 KiB, each a row of records: checksum (4 bytes), length (2), type (1), content; a block's last bytes
//! are left empty where no header fits. RocksDB has types of records for logs whose files are used again, which this program
//! never does. One such type in our logs, as one flipped bit makes it of a good one, is read by RocksDB before it looks at the
//! checksum: it turns in a circle for ever, or takes everything from there on as an older log's and passes over it.
//!
//! A record that ends beyond its file is to RocksDB one that a crash cut off, and it goes without it. In the manifest, whose records are
//! synced one by one, nothing whole can follow such a record; if something does, its length was changed, and RocksDB would
//! forget all tables that the following records name, and delete them.

use crate::storage::StorageError;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The bytes of a block.
const BLOCK_BYTES: usize = 32 * 1024;

/// The bytes of a record's header.
const HEADER_BYTES: usize = 7;

/// The types of records in logs whose files are used again.
const RECYCLED_TYPES: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Checks all logs of a database.
///
/// # Errors
/// [`StorageError::Damaged`] if one has a record of a type that is never written, [`StorageError::Database`] if one cannot be read.
pub(super) fn check(database: &Path) -> Result<(), StorageError> {
    let failed =
        |path: &Path, error: io::Error| StorageError::Database(format!("cannot read {}: {error}", path.display()));
    for entry in std::fs::read_dir(database).map_err(|error| failed(database, error))? {
        let path = entry.map_err(|error| failed(database, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.ends_with(".log") && !name.starts_with("MANIFEST-") {
            continue;
        }
        if let Some(at) = find_recycled(&path).map_err(|error| failed(&path, error))? {
            let path = path.display();
            return Err(StorageError::Damaged(format!(
                "{path}: the record at byte {at} is of a type that is never written"
            )));
        }
        if name.starts_with("MANIFEST-") && hides_records(&std::fs::read(&path).map_err(|error| failed(&path, error))?)
        {
            let path = path.display();
            return Err(StorageError::Damaged(format!("{path}: whole records follow one that is cut off")));
        }
    }
    Ok(())
}

/// Whether there is a whole record behind one that ends beyond its block or the file.
fn hides_records(log: &[u8]) -> bool {
    let last_block = log.len().saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
    let block = &log[last_block..];
    let mut position = 0;
    while let Some(record) = record_at(block, position) {
        position += record.len();
    }
    (position + 1..block.len()).any(|position| record_at(block, position).is_some_and(is_whole))
}

/// The record, header and content, that begins here, if it ends within the block.
fn record_at(block: &[u8], position: usize) -> Option<&[u8]> {
    let header = block.get(position..position + HEADER_BYTES)?;
    let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
    block.get(position..position + HEADER_BYTES + length)
}

/// Whether the checksum, which covers type and content, is right. RocksDB writes it turned and shifted by a constant.
fn is_whole(record: &[u8]) -> bool {
    let (header, _) = record.split_at(HEADER_BYTES);
    let expected = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let is_known_type = (1..=4).contains(&header[6]);
    is_known_type && crc32c::crc32c(&record[HEADER_BYTES - 1..]).rotate_right(15).wrapping_add(0xa282_ead8) == expected
}

/// The position of the first record of a type that is never written.
fn find_recycled(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut start = 0;
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if let Some(position) = find_in_block(&block) {
            return Ok(Some(start + position as u64));
        }
        // The end, also if somebody is just writing more: that would not begin a block.
        if block.len() < BLOCK_BYTES {
            return Ok(None);
        }
        start += block.len() as u64;
    }
}

fn find_in_block(block: &[u8]) -> Option<usize> {
    let mut position = 0;
    while let Some(&[_, _, _, _, low, high, kind]) = block.get(position..position + HEADER_BYTES) {
        if RECYCLED_TYPES.contains(&kind) {
            return Some(position);
        }
        // A hole, as a power failure leaves it: RocksDB passes over the rest of the block.
        if kind == 0 && low == 0 && high == 0 {
            return None;
        }
        // A length that leads out of the block is for RocksDB to judge: it passes over the rest of the block, or refuses.
        position += HEADER_BYTES + usize::from(u16::from_le_bytes([low, high]));
    }
    None
}
