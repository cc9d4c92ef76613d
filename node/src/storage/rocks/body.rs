//! The body of a block as it is stored: without the header, which is stored by itself, and without ids, which follow from the payloads.
//!
//! A block's transactions are those of its payloads, in order, but for the dropped ones and those of void payloads. So a body says, payload
//! by payload, how many transactions in a row had which result, and how many were dropped before them: nine bytes for a payload
//! whose transactions were all executed, however many they are, where an id alone takes 32. When a block is read, its payloads are
//! decoded and the ids computed again, a third of a microsecond each; what needs no ids asks for [`Storage::payloads`] or
//! [`Storage::place`].
//!
//! A body goes with its payloads, in one batch: a payload that is missing is damage, unless the body has gone meanwhile.

use super::{RocksStorage, keys};
use crate::payload;
use crate::storage::{BlockEntry, BlockRecord, PayloadRecord, Storage as _, StorageError, TransactionPosition};
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_consensus::vertex::VertexRef;
use farthing_core::block::ResultCode;
use farthing_core::transaction::{SignedTransaction, TransactionId};

/// The body of a block.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct BlockBody {
    payloads: Vec<PayloadBody>,
}

/// A payload, with what became of its transactions. A void one has no runs.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
struct PayloadBody {
    record: PayloadRecord,
    /// From the payload's first transaction on; those after the last run were dropped.
    runs: Vec<Run>,
}

/// Transactions in a row of which the first ones were dropped, and all the others had the same result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
struct Run {
    dropped: u32,
    executed: u32,
    code: ResultCode,
}

impl BlockBody {
    /// The body of a block.
    ///
    /// # Panics
    /// If its entries are not in the order of payloads and places, each once, or one is of a void payload or of none.
    pub fn of(block: &BlockRecord) -> BlockBody {
        let body = |record: &PayloadRecord| PayloadBody { record: *record, runs: Vec::new() };
        let mut payloads: Vec<_> = block.payloads.iter().map(body).collect();
        // The lowest place that is not passed yet.
        let mut next = (0, 0);
        for entry in &block.entries {
            assert!((entry.payload, entry.place) >= next, "entries are in the order of payloads and places, each once");
            let payload = &mut payloads[usize::from(entry.payload)];
            assert!(!payload.record.void, "nothing of a void payload is executed");
            let dropped = if entry.payload == next.0 { entry.place - next.1 } else { entry.place };
            match payload.runs.last_mut() {
                Some(run) if dropped == 0 && run.code == entry.code => run.executed += 1,
                _ => payload.runs.push(Run { dropped, executed: 1, code: entry.code }),
            }
            next = (entry.payload, entry.place + 1);
        }
        BlockBody { payloads }
    }

    /// The block's entries, where `ids_of` gives the ids of all transactions of a vertex's payload. `None` if these are fewer than
    /// the body tells of.
    ///
    /// # Errors
    /// Those of `ids_of`.
    pub fn entries<E>(
        &self,
        mut ids_of: impl FnMut(&VertexRef) -> Result<Vec<TransactionId>, E>,
    ) -> Result<Option<Vec<BlockEntry>>, E> {
        let mut entries = Vec::new();
        for (number, payload) in (0..).zip(&self.payloads) {
            if payload.runs.is_empty() {
                continue;
            }
            let mut ids = (0..).zip(ids_of(&payload.record.vertex)?);
            for run in &payload.runs {
                let before = entries.len();
                let executed = ids.by_ref().skip(run.dropped as usize).take(run.executed as usize);
                entries.extend(executed.map(|(place, id)| BlockEntry { payload: number, place, id, code: run.code }));
                if entries.len() - before != run.executed as usize {
                    return Ok(None);
                }
            }
        }
        Ok(Some(entries))
    }

    /// The vertex whose payload holds the transaction at this position of the block, and its place there.
    fn place(&self, position: u32) -> Option<(VertexRef, u32)> {
        let mut left = position;
        for payload in &self.payloads {
            let mut place = 0u32;
            for run in &payload.runs {
                place = place.checked_add(run.dropped)?;
                if left < run.executed {
                    return Some((payload.record.vertex, place.checked_add(left)?));
                }
                left -= run.executed;
                place = place.checked_add(run.executed)?;
            }
        }
        None
    }

    /// The vertices whose payload is not empty, in order.
    pub(super) fn payloads(&self) -> impl Iterator<Item = PayloadRecord> {
        self.payloads.iter().map(|payload| payload.record)
    }
}

impl RocksStorage {
    /// What [`crate::storage::Storage::block`] answers.
    pub(super) fn read_block(&self, height: u64) -> Result<Option<BlockRecord>, StorageError> {
        let Some(body) = self.read_body(height)? else { return Ok(None) };
        let damaged = |what: &str| StorageError::Damaged(format!("block {height}: {what}"));
        let header = self.header(height)?.ok_or_else(|| damaged("it has a body, but no header"))?;
        let entries = match body.entries(|vertex| self.ids_of(vertex)) {
            Ok(entries) => entries.filter(|entries| entries.len() == header.transaction_count as usize),
            // Pruning came between the reads.
            Err(_) if self.read_body(height)?.is_none() => return Ok(None),
            Err(error) => return Err(error),
        };
        let entries = entries.ok_or_else(|| damaged("its payloads do not hold its transactions"))?;
        Ok(Some(BlockRecord { header, payloads: body.payloads().collect(), entries }))
    }

    /// The body of the block at this height.
    pub(super) fn read_body(&self, height: u64) -> Result<Option<BlockBody>, StorageError> {
        self.read(keys::BLOCKS, &keys::number(height))
    }

    /// What [`crate::storage::Storage::place`] answers.
    pub(super) fn read_place(&self, position: TransactionPosition) -> Result<Option<(VertexRef, u32)>, StorageError> {
        Ok(self.read_body(position.height)?.and_then(|body| body.place(position.position)))
    }

    /// The ids of the transactions of a vertex's payload, which must be there and readable.
    fn ids_of(&self, reference: &VertexRef) -> Result<Vec<TransactionId>, StorageError> {
        let damaged = |what: &str| {
            StorageError::Damaged(format!("the payload of vertex {reference:?}, which is a block's: {what}"))
        };
        let vertex = self.vertex(reference)?.ok_or_else(|| damaged("it is gone"))?;
        let transactions = payload::decode(vertex.payload()).map_err(|error| damaged(&error.to_string()))?;
        Ok(transactions.iter().map(|SignedTransaction { transaction, .. }| transaction.id(&self.chain)).collect())
    }
}
