//! The file of a channel: written whole, synced, and renamed into place.

use super::ChannelError;
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::codec;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Far more than any channel's file has.
const FILE_BYTES_MAX: usize = 4_096;

/// What stands at the start of every file.
const MAGIC: &[u8; 8] = b"FARCHAN1";

/// Creates the file; refuses one that is there.
pub(super) fn create<T: BorshSerialize>(path: &Path, content: &T) -> Result<(), ChannelError> {
    let failed = |action| move |error| ChannelError::File { path: path.into(), action, error };
    let taken = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed("cannot be created"))?;
    drop(taken);
    replace(path, content)
}

/// Replaces the file's content; returns when that is durable.
pub(super) fn replace<T: BorshSerialize>(path: &Path, content: &T) -> Result<(), ChannelError> {
    let failed = |action| move |error| ChannelError::File { path: path.into(), action, error };
    let next = beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&next)
        .map_err(failed("cannot be written beside"))?;
    file.write_all(MAGIC).map_err(failed("cannot be written"))?;
    file.write_all(&codec::encode(content)).map_err(failed("cannot be written"))?;
    file.sync_all().map_err(failed("cannot be synced"))?;
    std::fs::rename(&next, path).map_err(failed("cannot be replaced"))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("cannot be synced"))
}

/// Reads the file.
pub(super) fn read<T: BorshDeserialize>(path: &Path) -> Result<T, ChannelError> {
    let failed = |error| ChannelError::File { path: path.into(), action: "cannot be read", error };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let damaged = |reason: String| ChannelError::NotThisChannel { path: path.into(), reason };
    let content = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it begins with something else".into()))?;
    codec::decode(content, FILE_BYTES_MAX).map_err(|error| damaged(error.to_string()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}
