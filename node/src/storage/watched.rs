//! Storage whose failures nobody can overlook.
//!
//! Whoever reads damaged data gets an error, but may be able to go on without the data: the API answers that it cannot, a peer is
//! not answered. The node must stop all the same, so that the damage is repaired ([`crate::repair`]). So all users of a
//! node's storage share one that says so to the driver.

use super::{
    Base, Batch, BlockRecord, HistoryRecord, IndexedTransaction, LineRange, PayloadRecord, Retention, Slots, Staged,
    Storage, StorageError, Topic, TransactionPosition,
};
use crate::replica::log::Ticket;
use farthing_consensus::commit::Commit;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::block::BlockHeader;
use farthing_core::certificate::CertificateAttestation;
use farthing_core::flush::FlushPoint;
use farthing_core::state::SlotRecord;
use farthing_core::transaction::TransactionId;
use tokio::sync::mpsc;

/// Storage that reports the damage found in it.
pub struct WatchedStorage<S> {
    storage: S,
    failed: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
}

impl<S: Storage> WatchedStorage<S> {
    /// Reports to `failed`, where the journal reports its own failures.
    pub fn new(storage: S, failed: mpsc::UnboundedSender<Result<Ticket, StorageError>>) -> WatchedStorage<S> {
        WatchedStorage { storage, failed }
    }

    fn watch<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(StorageError::Damaged(how)) = &result {
            // If nobody listens the node is stopping already.
            let _ = self.failed.send(Err(StorageError::Damaged(how.clone())));
        }
        result
    }
}

impl<S: Storage> Storage for WatchedStorage<S> {
    fn apply(&self, batch: &Batch, sync: bool) -> Result<(), StorageError> {
        self.watch(self.storage.apply(batch, sync))
    }

    fn signing_state(&self) -> Result<Option<Option<VertexRef>>, StorageError> {
        self.watch(self.storage.signing_state())
    }

    fn initialize_signing_state(&self) -> Result<(), StorageError> {
        self.watch(self.storage.initialize_signing_state())
    }

    fn vertex(&self, reference: &VertexRef) -> Result<Option<VerifiedVertex>, StorageError> {
        self.watch(self.storage.vertex(reference))
    }

    fn vertex_header(&self, reference: &VertexRef) -> Result<Option<SignedHeader>, StorageError> {
        self.watch(self.storage.vertex_header(reference))
    }

    fn vertices(&self, from: u64, to: u64, limit: usize) -> Result<Vec<VerifiedVertex>, StorageError> {
        self.watch(self.storage.vertices(from, to, limit))
    }

    fn commit(&self, index: u64) -> Result<Option<Commit>, StorageError> {
        self.watch(self.storage.commit(index))
    }

    fn newest_commit(&self) -> Result<u64, StorageError> {
        self.watch(self.storage.newest_commit())
    }

    fn oldest_commit(&self) -> Result<u64, StorageError> {
        self.watch(self.storage.oldest_commit())
    }

    fn block(&self, height: u64) -> Result<Option<BlockRecord>, StorageError> {
        self.watch(self.storage.block(height))
    }

    fn payloads(&self, height: u64) -> Result<Option<Vec<PayloadRecord>>, StorageError> {
        self.watch(self.storage.payloads(height))
    }

    fn place(&self, position: TransactionPosition) -> Result<Option<(VertexRef, u32)>, StorageError> {
        self.watch(self.storage.place(position))
    }

    fn header(&self, height: u64) -> Result<Option<BlockHeader>, StorageError> {
        self.watch(self.storage.header(height))
    }

    fn newest_block(&self) -> Result<u64, StorageError> {
        self.watch(self.storage.newest_block())
    }

    fn certificate(&self, height: u64) -> Result<Option<Vec<CertificateAttestation>>, StorageError> {
        self.watch(self.storage.certificate(height))
    }

    fn newest_certificate(&self) -> Result<u64, StorageError> {
        self.watch(self.storage.newest_certificate())
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<IndexedTransaction>, StorageError> {
        self.watch(self.storage.transaction(id))
    }

    fn keeps_history(&self) -> bool {
        self.storage.keeps_history()
    }

    fn lines(&self, topic: &Topic, range: &LineRange, limit: usize) -> Result<Vec<HistoryRecord>, StorageError> {
        self.watch(self.storage.lines(topic, range, limit))
    }

    fn evidence(&self) -> Result<Vec<(u64, u16, Vec<u8>)>, StorageError> {
        self.watch(self.storage.evidence())
    }

    fn begin(&self, point: &FlushPoint, slots: &mut dyn Iterator<Item = SlotRecord>) -> Result<(), StorageError> {
        self.watch(self.storage.begin(point, slots))
    }

    fn slots(&self) -> Result<Option<(FlushPoint, Slots<'_>)>, StorageError> {
        let Some((point, slots)) = self.watch(self.storage.slots())? else { return Ok(None) };
        Ok(Some((point, Box::new(slots.map(|slot| self.watch(slot))))))
    }

    fn staged(&self) -> Result<Option<Staged>, StorageError> {
        self.watch(self.storage.staged())
    }

    fn install(&self) -> Result<bool, StorageError> {
        self.watch(self.storage.install())
    }

    fn base(&self) -> Result<Option<Base>, StorageError> {
        self.watch(self.storage.base())
    }

    fn prune(&self, retention: &Retention) -> Result<bool, StorageError> {
        self.watch(self.storage.prune(retention))
    }
}
