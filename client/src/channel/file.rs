//! The file of a channel: written whole beside its place, synced, and then put there.

use super::ChannelError;
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::codec;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Far more than any channel's file has.
const FILE_BYTES_MAX: usize = 4_096;

/// What stands at the start of every file.
const MAGIC: &[u8; 8] = b"FARCHAN1";

/// Creates the file; refuses one that is there. After a crash it is there whole or not at all.
pub(super) fn create<T: BorshSerialize>(path: &Path, content: &T) -> Result<(), ChannelError> {
    let failed = |action| move |error| ChannelError::File { path: path.into(), action, error };
    let next = write_beside(path, content)?;
    // A rename would replace a file that is there, a link does not.
    let linked = std::fs::hard_link(&next, path).map_err(failed("cannot be created"));
    std::fs::remove_file(&next).map_err(failed("cannot be created"))?;
    linked?;
    sync_directory(path).map_err(failed("cannot be synced"))
}

/// Replaces the file's content; returns when that is durable.
pub(super) fn replace<T: BorshSerialize>(path: &Path, content: &T) -> Result<(), ChannelError> {
    let failed = |action| move |error| ChannelError::File { path: path.into(), action, error };
    let next = write_beside(path, content)?;
    std::fs::rename(&next, path).map_err(failed("cannot be replaced"))?;
    sync_directory(path).map_err(failed("cannot be synced"))
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

/// Writes and syncs the content into a new file next to the path. What a crash left there is unlinked, never written to: it may be the
/// same file as the one at the path.
fn write_beside<T: BorshSerialize>(path: &Path, content: &T) -> Result<PathBuf, ChannelError> {
    let failed = |action| move |error| ChannelError::File { path: path.into(), action, error };
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("cannot be written beside")(error)),
        _ => (),
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&next).map_err(failed("cannot be written beside"))?;
    file.write_all(MAGIC).map_err(failed("cannot be written"))?;
    file.write_all(&codec::encode(content)).map_err(failed("cannot be written"))?;
    file.sync_all().map_err(failed("cannot be synced"))?;
    Ok(next)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
