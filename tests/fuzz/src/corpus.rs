//! The inputs that are kept: one file each, in a folder for each target.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The most bytes of a file that is written, but for findings.
const FILE_BYTES_MAX: usize = 1_024;

/// The most files that are written of each kind: seeds, and ways to be refused.
const FILES_MAX: usize = 10;

/// What the files of findings begin with.
const FAILED: &str = "failed-";

/// The kept inputs of a target, by the names of their files.
pub(crate) fn read(target: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder(target)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the corpus can be read").path());
    let mut files: Vec<_> = paths
        .map(|path| {
            let bytes = fs::read(&path).expect("the corpus can be read");
            (path.file_name().expect("a file has a name").to_string_lossy().into_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// Keeps a failing input. Returns where.
pub(crate) fn keep_failure(target: &str, input: &[u8]) -> PathBuf {
    let path = folder(target).join(format!("{FAILED}{:016x}", fingerprint(input)));
    let written = fs::create_dir_all(folder(target)).and_then(|()| fs::write(&path, input));
    if let Err(error) = written {
        eprintln!("cannot keep the failing input in {}: {error}", path.display());
    }
    path
}

/// Replaces what [`write`] wrote before. `refused` has for each way to be refused the smallest input.
pub(crate) fn write(target: &str, seeds: &[Vec<u8>], refused: &BTreeMap<String, Vec<u8>>) {
    let folder = folder(target);
    fs::create_dir_all(&folder).expect("the corpus can be written");
    for (name, _) in read(target) {
        if name.starts_with("seed-") || name.starts_with("refused-") {
            fs::remove_file(folder.join(name)).expect("the corpus can be written");
        }
    }
    let small = |input: &&Vec<u8>| input.len() <= FILE_BYTES_MAX;
    for (number, seed) in seeds.iter().filter(small).take(FILES_MAX).enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("the corpus can be written");
    }
    for (number, input) in refused.values().filter(small).take(FILES_MAX).enumerate() {
        fs::write(folder.join(format!("refused-{number}")), input).expect("the corpus can be written");
    }
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// FNV-1a: enough to give files different names.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
