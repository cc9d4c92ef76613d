//! Storage in memory, for the simulator and for tests: deterministic, and able to lose what was not synced.
//!
//! It models a power failure as the loss of all but a prefix of the batches since the last sync, which is what a write-ahead log
//! with a torn tail gives.

use super::retention::Floors;
use super::{
    Base, Batch, BlockRecord, EVIDENCE_PER_AUTHOR_MAX, HistoryCursor, HistoryRecord, IndexedTransaction, LineRange,
    PayloadRecord, Retention, Slots, Stage, Staged, Storage, StorageError, Topic, TransactionPosition,
    assert_batch_follows,
};
use crate::snapshot::Manifest;
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::block::BlockHeader;
use farthing_core::certificate::CertificateAttestation;
use farthing_core::flush::FlushPoint;
use farthing_core::hash::Digest;
use farthing_core::state::SlotRecord;
use farthing_core::state_chunk::StateChunk;
use farthing_core::transaction::TransactionId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

/// Storage in memory. New, it is an empty disk without signing state.
#[derive(Default)]
pub struct MemoryStorage(Mutex<Disk>);

/// What is written, and how much of it would survive a power failure.
#[derive(Default)]
struct Disk {
    current: Tables,
    durable: Tables,
    /// The batches that lead from `durable` to `current`.
    unsynced: Vec<Batch>,
}

#[derive(Clone, Default)]
struct Tables {
    vertices: BTreeMap<VertexRef, VerifiedVertex>,
    commits: BTreeMap<u64, Commit>,
    blocks: BTreeMap<u64, BlockRecord>,
    headers: BTreeMap<u64, BlockHeader>,
    certificates: BTreeMap<u64, Vec<CertificateAttestation>>,
    transactions: BTreeMap<TransactionId, IndexedTransaction>,
    lines: BTreeMap<(Topic, HistoryCursor), HistoryRecord>,
    evidence: BTreeMap<(Author, Round), Vec<u8>>,
    slots: BTreeMap<u32, Vec<u8>>,
    flush_point: Option<FlushPoint>,
    signing_state: Option<Option<VertexRef>>,
    floors: Floors,
    base: Option<Base>,
    staged: Option<Manifest>,
    chunks: BTreeMap<u32, StateChunk>,
}

impl MemoryStorage {
    /// How many batches a power failure may take.
    pub fn unsynced(&self) -> usize {
        self.disk().unsynced.len()
    }

    /// A power failure: forgets the batches since the last sync but for the first `keep` of them.
    ///
    /// # Panics
    /// If fewer than `keep` batches are unsynced.
    pub fn crash(&self, keep: usize) {
        let mut disk = self.disk();
        assert!(keep <= disk.unsynced.len(), "only {} batches are unsynced", disk.unsynced.len());
        disk.unsynced.truncate(keep);
        disk.sync();
        disk.current = disk.durable.clone();
    }

    /// A power failure after which a subset of the unsynced batches is there, which a write-ahead log never leaves: to see what a
    /// node makes of such a database.
    pub fn crash_keeping(&self, mut is_kept: impl FnMut() -> bool) {
        let mut disk = self.disk();
        disk.unsynced.retain(|_| is_kept());
        disk.sync();
        disk.current = disk.durable.clone();
    }

    /// Another disk with what is durable on this one.
    pub fn copy(&self) -> MemoryStorage {
        let durable = self.disk().durable.clone();
        MemoryStorage(Mutex::new(Disk { current: durable.clone(), durable, unsynced: Vec::new() }))
    }

    /// The signing state that a power failure leaves.
    pub fn durable_signing_state(&self) -> Option<Option<VertexRef>> {
        self.disk().durable.signing_state
    }

    /// Whether a power failure leaves this vertex.
    pub fn has_durable_vertex(&self, reference: &VertexRef) -> bool {
        self.disk().durable.vertices.contains_key(reference)
    }

    /// The newest commit that a power failure leaves, 0 if there is none.
    pub fn durable_commit(&self) -> u64 {
        last_key(&self.disk().durable.commits)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no holder of the lock panics and goes on")
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, StorageError> {
        Ok(read(&self.disk().current))
    }
}

impl Storage for MemoryStorage {
    fn apply(&self, batch: &Batch, sync: bool) -> Result<(), StorageError> {
        let mut disk = self.disk();
        let tables = &disk.current;
        let last_signed = tables.signing_state.flatten();
        assert_batch_follows(batch, last_signed, last_key(&tables.commits), last_key(&tables.headers));
        disk.current.apply(batch);
        disk.unsynced.push(batch.clone());
        if sync {
            disk.sync();
        }
        Ok(())
    }

    fn signing_state(&self) -> Result<Option<Option<VertexRef>>, StorageError> {
        self.read(|tables| tables.signing_state)
    }

    fn initialize_signing_state(&self) -> Result<(), StorageError> {
        let mut disk = self.disk();
        if let Some(Some(signed)) = disk.current.signing_state {
            return Err(StorageError::SigningStateExists(signed.round));
        }
        disk.sync();
        disk.current.signing_state = Some(None);
        disk.durable.signing_state = Some(None);
        Ok(())
    }

    fn vertex(&self, reference: &VertexRef) -> Result<Option<VerifiedVertex>, StorageError> {
        self.read(|tables| tables.vertices.get(reference).cloned())
    }

    fn vertex_header(&self, reference: &VertexRef) -> Result<Option<SignedHeader>, StorageError> {
        self.read(|tables| tables.vertices.get(reference).map(|vertex| vertex.signed_header().clone()))
    }

    fn vertices(&self, from: u64, to: u64, limit: usize) -> Result<Vec<VerifiedVertex>, StorageError> {
        let first = VertexRef { round: from, author: 0, digest: Digest::ZERO };
        self.read(|tables| {
            let rounds = tables.vertices.range(first..).take_while(|(reference, _)| reference.round <= to);
            rounds.take(limit).map(|(_, vertex)| vertex.clone()).collect()
        })
    }

    fn commit(&self, index: u64) -> Result<Option<Commit>, StorageError> {
        self.read(|tables| tables.commits.get(&index).cloned())
    }

    fn newest_commit(&self) -> Result<u64, StorageError> {
        self.read(|tables| last_key(&tables.commits))
    }

    fn oldest_commit(&self) -> Result<u64, StorageError> {
        self.read(|tables| tables.floors.oldest_commit().max(tables.base.map_or(0, |base| base.oldest_commit())))
    }

    fn block(&self, height: u64) -> Result<Option<BlockRecord>, StorageError> {
        self.read(|tables| tables.blocks.get(&height).cloned())
    }

    fn payloads(&self, height: u64) -> Result<Option<Vec<PayloadRecord>>, StorageError> {
        self.read(|tables| tables.blocks.get(&height).map(|block| block.payloads.clone()))
    }

    fn place(&self, position: TransactionPosition) -> Result<Option<(VertexRef, u32)>, StorageError> {
        self.read(|tables| {
            let block = tables.blocks.get(&position.height)?;
            let entry = block.entries.get(position.position as usize)?;
            Some((block.payloads.get(usize::from(entry.payload))?.vertex, entry.place))
        })
    }

    fn header(&self, height: u64) -> Result<Option<BlockHeader>, StorageError> {
        self.read(|tables| tables.headers.get(&height).cloned())
    }

    fn newest_block(&self) -> Result<u64, StorageError> {
        self.read(|tables| last_key(&tables.headers))
    }

    fn certificate(&self, height: u64) -> Result<Option<Vec<CertificateAttestation>>, StorageError> {
        self.read(|tables| tables.certificates.get(&height).cloned())
    }

    fn newest_certificate(&self) -> Result<u64, StorageError> {
        self.read(|tables| last_key(&tables.certificates))
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError> {
        self.read(|tables| tables.transactions.get(id).copied())
    }

    fn keeps_history(&self) -> bool {
        true
    }

    fn lines(&self, topic: &Topic, range: &LineRange, limit: usize) -> Result<Vec<HistoryRecord>, StorageError> {
        const END: HistoryCursor = (u64::MAX, u32::MAX, u32::MAX);
        self.read(|tables| match range {
            LineRange::Before(before) => {
                let lines = tables.lines.range((*topic, (0, 0, 0))..(*topic, before.unwrap_or(END)));
                lines.rev().take(limit).map(|(_, line)| line.clone()).collect()
            }
            LineRange::After(after) => {
                let bounds = (Bound::Excluded((*topic, *after)), Bound::Excluded((*topic, END)));
                // A range must not begin at its end.
                let lines = (*after < END).then(|| tables.lines.range(bounds)).into_iter().flatten();
                lines.take(limit).map(|(_, line)| line.clone()).collect()
            }
        })
    }

    fn evidence(&self) -> Result<Vec<(u64, u16, Vec<u8>)>, StorageError> {
        self.read(|tables| {
            tables.evidence.iter().map(|((author, round), proof)| (*round, *author, proof.clone())).collect()
        })
    }

    fn begin(&self, point: &FlushPoint, slots: &mut dyn Iterator<Item = SlotRecord>) -> Result<(), StorageError> {
        let slots: BTreeMap<u32, Vec<u8>> = slots.map(|record| (record.slot, record.bytes)).collect();
        let mut disk = self.disk();
        disk.sync();
        let Disk { current, durable, .. } = &mut *disk;
        for tables in [current, durable] {
            tables.flush_point = Some(point.clone());
            tables.slots = slots.clone();
        }
        Ok(())
    }

    fn slots(&self) -> Result<Option<(FlushPoint, Slots<'_>)>, StorageError> {
        let copied = self.read(|tables| Some((tables.flush_point.clone()?, tables.slots.clone())))?;
        Ok(copied.map(|(point, slots)| {
            let records = slots.into_iter().map(|(slot, bytes)| Ok(SlotRecord { slot, bytes }));
            (point, Box::new(records) as Slots<'_>)
        }))
    }

    fn staged(&self) -> Result<Option<Staged>, StorageError> {
        self.read(|tables| {
            let manifest = tables.staged.clone()?;
            Some(Staged { manifest, chunks: tables.chunks.keys().copied().collect() })
        })
    }

    fn install(&self) -> Result<bool, StorageError> {
        let Some(staged) = self.staged()? else { return Ok(false) };
        if !staged.is_installable(self.newest_commit()?) {
            return Ok(false);
        }
        let mut disk = self.disk();
        disk.sync();
        disk.current.install();
        disk.durable.install();
        Ok(true)
    }

    fn base(&self) -> Result<Option<Base>, StorageError> {
        self.read(|tables| tables.base)
    }

    fn prune(&self, retention: &Retention) -> Result<bool, StorageError> {
        let (flush_point, floors) = self.read(|tables| (tables.flush_point.clone(), tables.floors))?;
        let Some(flush_point) = flush_point else { return Ok(false) };
        let next = floors.next(self, &flush_point, retention)?;
        if next == floors {
            return Ok(false);
        }
        let mut disk = self.disk();
        disk.sync();
        disk.current.prune(next);
        disk.durable.prune(next);
        Ok(true)
    }
}

impl Disk {
    /// Makes all batches durable.
    fn sync(&mut self) {
        for batch in self.unsynced.drain(..) {
            self.durable.apply(&batch);
        }
    }
}

impl Tables {
    fn apply(&mut self, batch: &Batch) {
        self.vertices.extend(batch.vertices.iter().map(|vertex| (vertex.reference(), vertex.clone())));
        self.commits.extend(batch.commits.iter().map(|commit| (commit.index, commit.clone())));
        if batch.last_signed.is_some() {
            self.signing_state = Some(batch.last_signed);
        }
        if let Some((block, history)) = &batch.block {
            self.put_block(block, history);
        }
        self.certificates.extend(batch.certificates.iter().cloned());
        if let Some(flush) = &batch.flush {
            self.flush_point = Some(flush.point.clone());
            self.slots.extend(flush.slots.iter().map(|record| (record.slot, record.bytes.clone())));
        }
        for (round, author, proof) in &batch.evidence {
            let of_author = self.evidence.range((*author, 0)..=(*author, Round::MAX)).count();
            if of_author < EVIDENCE_PER_AUTHOR_MAX {
                self.evidence.entry((*author, *round)).or_insert_with(|| proof.clone());
            }
        }
        match &batch.stage {
            Some(Stage::Begin(manifest)) => {
                let before = self.staged.replace((**manifest).clone());
                self.chunks
                    .retain(|number, _| before.as_ref().is_some_and(|before| before.has_same_chunk(manifest, *number)));
            }
            Some(Stage::Chunk(number, chunk)) if self.staged.is_some() => {
                self.chunks.insert(*number, chunk.clone());
            }
            Some(Stage::Chunk(..)) | None => {}
        }
    }

    /// Puts the staged snapshot, which is complete, in the place of the state.
    fn install(&mut self) {
        let manifest = self.staged.take().expect("there is a staged snapshot");
        let slots = std::mem::take(&mut self.chunks).into_values().flat_map(|chunk| chunk.slots);
        self.slots = (0..).zip(slots.map(|slot| slot.0)).collect();
        assert_eq!(self.slots.len() as u64, manifest.slot_count, "the staged chunks were checked");
        let base = manifest.base();
        self.floors = self.floors.at_snapshot(&manifest);
        self.vertices.retain(|vertex, _| vertex.round >= self.floors.rounds);
        self.blocks.clear();
        self.commits = manifest.contained_commits().iter().map(|commit| (commit.index, commit.clone())).collect();
        self.headers.insert(base.height, manifest.parent.clone());
        self.flush_point = Some(manifest.point());
        self.base = Some(base);
    }

    fn put_block(&mut self, block: &BlockRecord, history: &[HistoryRecord]) {
        let height = block.header.height;
        self.headers.insert(height, block.header.clone());
        self.blocks.insert(height, block.clone());
        for (position, entry) in (0..).zip(&block.entries) {
            let position = TransactionPosition { height, position };
            self.transactions.insert(entry.id, IndexedTransaction { position, code: entry.code });
        }
        for line in history {
            for topic in line.topics().chain([Topic::Account(line.account)]) {
                self.lines.insert((topic, line.cursor()), line.clone());
            }
        }
    }

    fn prune(&mut self, floors: Floors) {
        self.floors = floors;
        self.blocks.retain(|height, _| *height >= floors.bodies);
        let kept_commits: BTreeSet<u64> = self.blocks.values().map(|block| block.header.commit_index).collect();
        let kept_payloads: BTreeSet<VertexRef> =
            self.blocks.values().flat_map(|block| &block.payloads).map(|payload| payload.vertex).collect();
        self.commits.retain(|index, _| *index >= floors.commits || kept_commits.contains(index));
        self.vertices.retain(|vertex, _| vertex.round >= floors.rounds || kept_payloads.contains(vertex));
        self.transactions.retain(|_, indexed| indexed.position.height >= floors.transactions);
    }
}

/// The highest key, 0 if there is none.
fn last_key<T>(table: &BTreeMap<u64, T>) -> u64 {
    table.last_key_value().map_or(0, |(key, _)| *key)
}
