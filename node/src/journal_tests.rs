use super::{Journal, Write};
use crate::storage::memory::MemoryStorage;
use crate::storage::{
    Base, Batch, BlockRecord, HistoryRecord, IndexedTransaction, LineRange, PayloadRecord, Retention, Slots, Staged,
    Storage, StorageError, Topic, TransactionPosition,
};
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::block::BlockHeader;
use farthing_core::certificate::CertificateAttestation;
use farthing_core::flush::FlushPoint;
use farthing_core::state::SlotRecord;
use farthing_core::transaction::TransactionId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

const RETENTION: Retention = Retention { commits: 20_000, blocks: 1_000, transactions_ms: 0 };

fn write(ticket: u64, sync: bool) -> Write {
    // Each write can be told from the others by its evidence.
    Write { ticket, batch: Box::new(Batch { evidence: vec![(ticket, 0, vec![1])], ..Batch::default() }), sync }
}

/// Gives the journal these writes, lets it end, and returns what it reported and which writes storage has.
async fn run(storage: Arc<dyn Storage>, writes: Vec<Write>) -> (Vec<Result<u64, String>>, Vec<u64>) {
    let (done_in, mut done) = mpsc::unbounded_channel();
    let journal = Journal::start(storage.clone(), RETENTION, done_in).unwrap();
    for next in writes {
        journal.write(next).await;
    }
    drop(journal);
    let mut reported = Vec::new();
    while let Some(report) = done.recv().await {
        reported.push(report.map_err(|error| error.to_string()));
    }
    let stored = storage.evidence().unwrap().into_iter().map(|(ticket, _, _)| ticket).collect();
    (reported, stored)
}

#[tokio::test]
async fn writes_are_done_in_order() {
    let writes = (1..=9).map(|ticket| write(ticket, ticket % 3 == 0)).collect();
    let (reported, stored) = run(Arc::new(MemoryStorage::default()), writes).await;
    // One report may stand for those before it.
    let tickets: Vec<_> = reported.into_iter().map(Result::unwrap).collect();
    assert!(tickets.is_sorted() && tickets.last() == Some(&9), "{tickets:?}");
    assert_eq!(stored, (1..=9).collect::<Vec<_>>());
}

/// The moment a synced write is reported, a power failure takes neither it nor anything before it.
#[tokio::test]
async fn what_is_reported_as_synced_survives_a_power_failure() {
    let storage = Arc::new(MemoryStorage::default());
    let (done_in, mut done) = mpsc::unbounded_channel();
    let journal = Journal::start(storage.clone(), RETENTION, done_in).unwrap();
    // Storage keeps sixteen pieces of evidence of an author.
    for tickets in [1..=1, 2..=3, 4..=15] {
        let last = *tickets.end();
        for ticket in tickets {
            journal.write(write(ticket, ticket == last)).await;
        }
        while done.recv().await.expect("the journal runs").expect("memory does not fail") < last {}
        storage.crash(0);
        let stored: Vec<u64> = storage.evidence().unwrap().into_iter().map(|(ticket, _, _)| ticket).collect();
        assert_eq!(stored, (1..=last).collect::<Vec<_>>());
    }
    // Nothing is synced that nobody wants synced.
    journal.write(write(16, false)).await;
    while done.recv().await.expect("the journal runs").expect("memory does not fail") < 16 {}
    storage.crash(0);
    assert_eq!(storage.evidence().unwrap().len(), 15);
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_or_reported_any_more() {
    for failing in 1..=8 {
        let failed_sync = failing % 2 == 0;
        let storage = Arc::new(Failing { fails_at: failing, calls: AtomicU64::new(0), disk: MemoryStorage::default() });
        let writes = (1..=9).map(|ticket| write(ticket, ticket % 2 == 0)).collect();
        let (reported, stored) = run(storage, writes).await;
        let (last, before) = reported.split_last().unwrap();
        assert!(last.as_ref().is_err_and(|error| error.contains("no space")), "{failing}: {reported:?}");
        assert!(
            before.iter().all(|report| report.as_ref().is_ok_and(|ticket| *ticket < failing)),
            "{failing}: {reported:?}"
        );
        assert_eq!(stored, (1..failing).collect::<Vec<_>>(), "a failed sync: {failed_sync}");
    }
}

/// A disk that is full from a write on.
struct Failing {
    fails_at: u64,
    calls: AtomicU64,
    disk: MemoryStorage,
}

impl Storage for Failing {
    fn apply(&self, batch: &Batch, sync: bool) -> Result<(), StorageError> {
        let call = 1 + self.calls.fetch_add(1, Ordering::Relaxed);
        if call >= self.fails_at {
            return Err(StorageError::Database("no space left on device".into()));
        }
        self.disk.apply(batch, sync)
    }

    fn signing_state(&self) -> Result<Option<Option<VertexRef>>, StorageError> {
        self.disk.signing_state()
    }

    fn initialize_signing_state(&self) -> Result<(), StorageError> {
        self.disk.initialize_signing_state()
    }

    fn vertex(&self, reference: &VertexRef) -> Result<Option<VerifiedVertex>, StorageError> {
        self.disk.vertex(reference)
    }

    fn vertex_header(&self, reference: &VertexRef) -> Result<Option<SignedHeader>, StorageError> {
        self.disk.vertex_header(reference)
    }

    fn vertices(&self, from: u64, to: u64, limit: usize) -> Result<Vec<VerifiedVertex>, StorageError> {
        self.disk.vertices(from, to, limit)
    }

    fn commit(&self, index: u64) -> Result<Option<Commit>, StorageError> {
        self.disk.commit(index)
    }

    fn newest_commit(&self) -> Result<u64, StorageError> {
        self.disk.newest_commit()
    }

    fn oldest_commit(&self) -> Result<u64, StorageError> {
        self.disk.oldest_commit()
    }

    fn block(&self, height: u64) -> Result<Option<BlockRecord>, StorageError> {
        self.disk.block(height)
    }

    fn payloads(&self, height: u64) -> Result<Option<Vec<PayloadRecord>>, StorageError> {
        self.disk.payloads(height)
    }

    fn place(&self, position: TransactionPosition) -> Result<Option<(VertexRef, u32)>, StorageError> {
        self.disk.place(position)
    }

    fn header(&self, height: u64) -> Result<Option<BlockHeader>, StorageError> {
        self.disk.header(height)
    }

    fn newest_block(&self) -> Result<u64, StorageError> {
        self.disk.newest_block()
    }

    fn certificate(&self, height: u64) -> Result<Option<Vec<CertificateAttestation>>, StorageError> {
        self.disk.certificate(height)
    }

    fn newest_certificate(&self) -> Result<u64, StorageError> {
        self.disk.newest_certificate()
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError> {
        self.disk.transaction(id)
    }

    fn keeps_history(&self) -> bool {
        true
    }

    fn lines(&self, topic: &Topic, range: &LineRange, limit: usize) -> Result<Vec<HistoryRecord>, StorageError> {
        self.disk.lines(topic, range, limit)
    }

    fn evidence(&self) -> Result<Vec<(u64, u16, Vec<u8>)>, StorageError> {
        self.disk.evidence()
    }

    fn begin(&self, point: &FlushPoint, slots: &mut dyn Iterator<Item = SlotRecord>) -> Result<(), StorageError> {
        self.disk.begin(point, slots)
    }

    fn slots(&self) -> Result<Option<(FlushPoint, Slots<'_>)>, StorageError> {
        self.disk.slots()
    }

    fn staged(&self) -> Result<Option<Staged>, StorageError> {
        self.disk.staged()
    }

    fn install(&self) -> Result<bool, StorageError> {
        self.disk.install()
    }

    fn base(&self) -> Result<Option<Base>, StorageError> {
        self.disk.base()
    }

    fn prune(&self, retention: &Retention) -> Result<bool, StorageError> {
        self.disk.prune(retention)
    }
}
