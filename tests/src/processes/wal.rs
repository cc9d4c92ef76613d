//! The write-ahead log of a database as a power failure may leave it: what was synced, and any part of what came after.

use std::fs;
use std::path::{Path, PathBuf};

/// A write-ahead log, and how much of it was durable when its process died.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wal {
    /// The file.
    pub path: PathBuf,
    /// Bytes that were synced.
    pub synced: u64,
    /// Bytes that were written.
    pub written: u64,
}

/// The newest write-ahead log of `database`, judged by what [`super::Launch::recorded`] saw; `None` if nothing was written to it.
///
/// A byte is synced if it was written before an `fdatasync` began that succeeded.
pub fn newest(database: &Path, record: &Path) -> Option<Wal> {
    let entries = fs::read_dir(database).expect("a database").map(|entry| entry.expect("readable").path());
    let path = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max()?;
    let name = format!("/{}>", path.file_name()?.to_str()?);
    let (mut written, mut synced, mut syncing) = (0, 0, 0);
    // The journal's thread alone writes to the log, one call after the other, so its lines tell the order. A call that another
    // thread's line interrupts stands on two lines, the second without the file's name: `<... write resumed>) = 12`.
    let mut interrupted: Option<(String, Call)> = None;
    for line in fs::read_to_string(record).expect("a record").lines() {
        let (thread, rest) = line.split_once(' ').expect("a line begins with its thread");
        let rest = rest.trim_start();
        let call = match &interrupted {
            Some((other, call)) if other == thread && rest.starts_with("<...") => *call,
            _ if !rest.contains(&name) => continue,
            _ if rest.starts_with("write(") => Call::Write,
            _ if rest.starts_with("fdatasync(") => Call::Sync,
            _ => continue,
        };
        if call == Call::Sync && !rest.starts_with("<...") {
            syncing = written;
        }
        if rest.ends_with("<unfinished ...>") {
            interrupted = Some((thread.to_owned(), call));
            continue;
        }
        interrupted = None;
        let result = rest.rsplit_once("= ").and_then(|(_, result)| result.split(' ').next()?.parse::<u64>().ok());
        match (call, result) {
            (Call::Write, Some(bytes)) => written += bytes,
            (Call::Sync, Some(0)) => synced = syncing,
            // It failed, or the process died in it.
            _ => {}
        }
    }
    let length = fs::metadata(&path).expect("it is there").len();
    assert!(synced <= length && written <= length, "{synced} bytes synced, {written} written, {length} there");
    (length > 0).then_some(Wal { path, synced, written: length })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Write,
    Sync,
}

/// Up to `count` lengths from what was synced to all that was written, both included, with every byte near both ends.
pub fn cuts(wal: &Wal, count: u64) -> Vec<u64> {
    let tail = wal.written - wal.synced;
    let near = count / 4;
    let far = (1..=count / 2).map(|step| wal.synced + tail * step / (count / 2 + 1));
    let mut cuts: Vec<u64> =
        (0..=near.min(tail)).flat_map(|step| [wal.synced + step, wal.written - step]).chain(far).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Copies a directory of plain files, and links none.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("room for a test");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("room for a test");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_what_was_synced() {
        let directory = tempfile::tempdir().expect("room");
        let (log, record) = (directory.path().join("000007.log"), directory.path().join("record"));
        fs::write(directory.path().join("000004.log"), "older").expect("room");
        fs::write(&log, [0; 60]).expect("room");
        let file = format!("9<{}>", log.display());
        let lines = [
            format!("11 write({file}, \"\"..., 10) = 10"),
            format!("11 fdatasync({file}) = 0"),
            format!("11 write({file}, \"\"..., 20 <unfinished ...>"),
            "12 write(2</dev/stderr>, \"\"..., 5) = 5".to_string(),
            "11 <... write resumed>)             = 20".to_string(),
            format!("11 fdatasync({file} <unfinished ...>"),
            "12 <... write resumed>)             = 70".to_string(),
            "11 <... fdatasync resumed>)         = 0".to_string(),
            format!("11 write({file}, \"\"..., 30) = 30"),
            format!("11 fdatasync({file}) = -1 EIO (Input/output error) (INJECTED)"),
            format!("11 fdatasync({file} <unfinished ...>"),
            "11 +++ killed by SIGKILL +++".to_string(),
        ];
        fs::write(&record, lines.join("\n")).expect("room");
        let wal = newest(directory.path(), &record).expect("written to");
        assert_eq!(wal, Wal { path: log, synced: 30, written: 60 });
        assert_eq!(cuts(&wal, 8), [30, 31, 32, 36, 42, 48, 54, 58, 59, 60]);
        assert_eq!(cuts(&Wal { synced: 60, ..wal }, 8), [60]);
    }
}
