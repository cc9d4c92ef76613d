//! Serving snapshots: copies of flushed states, and the answers out of them.

use super::manifest::{CHUNKS_MAX, MANIFEST_BYTES_MAX, Manifest};
use crate::certifier::stored_certificate;
use crate::storage::{Storage, StorageError};
use farthing_consensus::commit::Commit;
use farthing_consensus::engine::RECOVERY_COMMITS;
use farthing_core::block::BlockHeader;
use farthing_core::certificate::Certificate;
use farthing_core::codec;
use farthing_core::flush::FlushPoint;
use farthing_core::hash::Digest;
use farthing_core::state_chunk::{CHUNK_BYTES_MAX, ChunkLayout, SlotBytes, StateChunk};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Copies that are kept: the newest, and the one before it for those who are still fetching it.
const EXPORTS_MAX: usize = 2;

/// How snapshots are served.
#[derive(Clone, Debug)]
pub struct SnapshotsSettings {
    /// Chunks have 2^`chunk_level` slots; the same at all nodes of a network.
    pub chunk_level: u32,
    /// A copy is made anew when more than half as many commits have come since its anchor: whoever has fetched it needs those from
    /// there on.
    pub retain_commits: u64,
    /// Where copies are written; without it they are kept in memory.
    pub directory: Option<PathBuf>,
}

/// The snapshots that a node serves. Shared by whoever answers requests.
pub struct Snapshots {
    storage: Arc<dyn Storage>,
    settings: SnapshotsSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest last.
    exports: Vec<Arc<Export>>,
    /// Whether one is being made.
    is_exporting: bool,
}

/// A copy of a state.
struct Export {
    manifest: Arc<Manifest>,
    layout: ChunkLayout,
    chunks: Chunks,
}

enum Chunks {
    Memory(Vec<Vec<u8>>),
    /// An unlinked file, which is gone with its last user, and where in it each chunk ends.
    File(File, Vec<u64>),
}

/// Why no copy could be made; a snapshot can be served without it later.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The copy could not be written.
    #[error("cannot write a snapshot to {}: {source}", path.display())]
    File {
        /// Where to.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl Snapshots {
    /// Serves snapshots of what `storage` holds.
    pub fn new(storage: Arc<dyn Storage>, settings: SnapshotsSettings) -> Snapshots {
        Snapshots { storage, settings, state: Mutex::default() }
    }

    /// The newest snapshot that is ready, unless its anchor is so old that its taker could not go on from it.
    pub fn newest(&self) -> Result<Option<Arc<Manifest>>, StorageError> {
        let newest = self.lock().exports.last().map(|export| export.manifest.clone());
        let Some(manifest) = newest else { return Ok(None) };
        let behind = self.storage.newest_commit()?.saturating_sub(manifest.anchor.commit_index);
        Ok((behind < self.settings.retain_commits).then_some(manifest))
    }

    /// A chunk of a snapshot that is at hand.
    pub fn chunk(&self, state_root: &Digest, number: u32) -> Option<StateChunk> {
        let has_root = |export: &&Arc<Export>| export.manifest.anchor.state_root == Some(*state_root);
        let export = self.lock().exports.iter().rev().find(has_root).cloned()?;
        let chunk = export.chunk(number)?;
        // A copy that was damaged since it was made is of no use to anybody.
        if export.layout.top_of(number, &chunk) != export.manifest.tops.get(number as usize).copied() {
            tracing::error!(number, "a copy of the state is damaged: it is not served any more");
            self.lock().exports.retain(|other| !Arc::ptr_eq(other, &export));
            return None;
        }
        Some(chunk)
    }

    /// Makes a copy of the newest flushed state, if the newest copy is old and a newer state has an anchor. One caller at a time
    /// does the work, the others return at once.
    ///
    /// # Errors
    /// [`ExportError`]; what was there before is still served.
    pub fn refresh(&self) -> Result<(), ExportError> {
        if std::mem::replace(&mut self.lock().is_exporting, true) {
            return Ok(());
        }
        let made = self.make_if_due();
        let mut state = self.lock();
        state.is_exporting = false;
        state.exports.extend(made?.map(Arc::new));
        Ok(())
    }

    /// Makes a copy as [`Snapshots::refresh`] does, on a thread of its own.
    pub fn refresh_in_background(self: &Arc<Self>) {
        if self.lock().is_exporting {
            return;
        }
        let snapshots = self.clone();
        let run = move || {
            if let Err(error) = snapshots.refresh() {
                tracing::warn!("no snapshot for peers that lag: {error}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("snapshot".into()).spawn(run) {
            tracing::warn!("no thread to make a snapshot for peers that lag: {error}");
        }
    }

    fn make_if_due(&self) -> Result<Option<Export>, ExportError> {
        let newest = self.lock().exports.last().map(|export| export.manifest.anchor.clone());
        let newest_commit = self.storage.newest_commit()?;
        let is_due = newest
            .as_ref()
            .is_none_or(|anchor| newest_commit.saturating_sub(anchor.commit_index) > self.settings.retain_commits / 2);
        if !is_due {
            return Ok(None);
        }
        let Some((point, slots)) = self.storage.slots()? else { return Ok(None) };
        let Some(proof) = prove(&*self.storage, &point)? else { return Ok(None) };
        if newest.is_some_and(|newest| newest.height >= proof.anchor.height) {
            return Ok(None);
        }
        // Room for the new one first: never more than so many lie on the disk.
        let mut state = self.lock();
        let outdated = (state.exports.len() + 1).saturating_sub(EXPORTS_MAX);
        state.exports.drain(..outdated);
        drop(state);
        let mut writer = Writer::new(&self.settings)?;
        for record in slots {
            writer.push(record?.bytes)?;
        }
        writer.finish(proof)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl Export {
    fn chunk(&self, number: u32) -> Option<StateChunk> {
        let number = number as usize;
        match &self.chunks {
            Chunks::Memory(chunks) => codec::decode(chunks.get(number)?, CHUNK_BYTES_MAX).ok(),
            Chunks::File(file, ends) => {
                let end = *ends.get(number)?;
                let start = number.checked_sub(1).map_or(0, |before| ends[before]);
                let mut bytes = vec![0; (end - start) as usize];
                file.read_exact_at(&mut bytes, start).ok()?;
                codec::decode(&bytes, CHUNK_BYTES_MAX).ok()
            }
        }
    }
}

/// What a manifest has besides its chunks.
struct Proof {
    anchor: BlockHeader,
    certificate: Certificate,
    parent: BlockHeader,
    commits: Vec<Commit>,
}

/// The proof of the state at a flush point; `None` as long as no certified block carries its root.
fn prove(storage: &dyn Storage, point: &FlushPoint) -> Result<Option<Proof>, StorageError> {
    // A block without transactions publishes the root of the state that it leaves behind; otherwise the next one publishes it.
    let height = if point.header.transaction_count == 0 { point.header.height } else { point.header.height + 1 };
    if height < 2 {
        return Ok(None);
    }
    let (Some(anchor), Some(parent)) = (storage.header(height)?, storage.header(height - 1)?) else { return Ok(None) };
    if anchor.state_root != Some(point.state_root) {
        return Err(StorageError::Damaged(format!("block {height} does not carry the root of the state before it")));
    }
    let Some(certificate) = stored_certificate(storage, height)? else { return Ok(None) };
    let first = anchor.commit_index.saturating_sub(RECOVERY_COMMITS as u64).max(1);
    let mut commits = Vec::new();
    for index in first..=anchor.commit_index {
        let Some(commit) = storage.commit(index)? else { return Ok(None) };
        commits.push(commit);
    }
    Ok((commits.len() >= 2).then_some(Proof { anchor, certificate, parent, commits }))
}

/// Cuts slots into chunks and puts them where they are served from.
struct Writer {
    level: u32,
    open: StateChunk,
    tops: Vec<Digest>,
    slot_count: u64,
    target: Target,
}

enum Target {
    Memory(Vec<Vec<u8>>),
    File { path: PathBuf, file: BufWriter<File>, ends: Vec<u64> },
}

impl Writer {
    fn new(settings: &SnapshotsSettings) -> Result<Writer, ExportError> {
        let target = match &settings.directory {
            None => Target::Memory(Vec::new()),
            Some(directory) => {
                let path = directory.join("snapshot");
                let file =
                    unlinked(directory, &path).map_err(|source| ExportError::File { path: path.clone(), source })?;
                Target::File { path, file: BufWriter::with_capacity(1 << 20, file), ends: Vec::new() }
            }
        };
        let open = StateChunk::default();
        Ok(Writer { level: settings.chunk_level, open, tops: Vec::new(), slot_count: 0, target })
    }

    fn push(&mut self, bytes: Vec<u8>) -> Result<(), ExportError> {
        self.open.slots.push(SlotBytes(bytes));
        self.slot_count += 1;
        if self.open.slots.len() == 1 << self.level { self.close() } else { Ok(()) }
    }

    /// Writes the open chunk.
    fn close(&mut self) -> Result<(), ExportError> {
        let chunk = std::mem::take(&mut self.open);
        // The slots so far make a layout of their own, in which this is the last chunk; its top is the same in the whole one's.
        let layout = ChunkLayout::new(self.slot_count, self.level).expect("there are slots, numbered in 32 bits");
        let number = u32::try_from(self.tops.len()).expect("slots are numbered in 32 bits");
        self.tops.push(layout.top_of(number, &chunk).expect("the last chunk of its layout"));
        let bytes = codec::encode(&chunk);
        match &mut self.target {
            Target::Memory(chunks) => chunks.push(bytes),
            Target::File { path, file, ends } => {
                file.write_all(&bytes).map_err(|source| ExportError::File { path: path.clone(), source })?;
                ends.push(ends.last().copied().unwrap_or(0) + bytes.len() as u64);
            }
        }
        Ok(())
    }

    /// The finished copy; `None` if it is too large to be served.
    fn finish(mut self, proof: Proof) -> Result<Option<Export>, ExportError> {
        if !self.open.slots.is_empty() {
            self.close()?;
        }
        let chunks = match self.target {
            Target::Memory(chunks) => Chunks::Memory(chunks),
            Target::File { path, file, ends } => {
                let file = file.into_inner().map_err(|error| ExportError::File { path, source: error.into_error() })?;
                Chunks::File(file, ends)
            }
        };
        let Proof { anchor, certificate, parent, commits } = proof;
        let Some(layout) = ChunkLayout::new(self.slot_count, self.level) else { return Ok(None) };
        let root = layout.state_root(&self.tops);
        if root != anchor.state_root {
            let problem = format!("the stored state does not have the root of block {}", anchor.height);
            return Err(StorageError::Damaged(problem).into());
        }
        let manifest = Manifest { anchor, certificate, parent, commits, slot_count: self.slot_count, tops: self.tops };
        let fits = manifest.tops.len() <= CHUNKS_MAX && codec::encode(&manifest).len() <= MANIFEST_BYTES_MAX;
        if !fits {
            tracing::warn!(chunks = manifest.tops.len(), "the state is too large to be served to peers that lag");
        }
        Ok(fits.then(|| Export { manifest: Arc::new(manifest), layout, chunks }))
    }
}

/// A new file that has no name any more, so that nothing is left of it after any end of the process.
fn unlinked(directory: &Path, path: &Path) -> io::Result<File> {
    std::fs::create_dir_all(directory)?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}
