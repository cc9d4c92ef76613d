//! Lines by account, and by the topics whose indexes point to them.

use super::{Entry, RocksStorage, bad_key, decode, keys};
use crate::storage::{HistoryCursor, HistoryRecord, LineRange, StorageError, Topic};
use farthing_core::address::Address;
use farthing_core::codec;
use rocksdb::{IteratorMode, ReadOptions, WriteBatch};

/// Greater than the place of any line.
const END: HistoryCursor = (u64::MAX, u32::MAX, u32::MAX);

impl RocksStorage {
    /// Adds the lines of a block, and what points to them.
    pub(super) fn put_lines(&self, write: &mut WriteBatch, lines: &[HistoryRecord]) {
        let (histories, topics) = (self.column(keys::HISTORY), self.column(keys::TOPICS));
        for line in lines {
            write.put_cf(histories, keys::history(&line.account, line.cursor()), codec::encode(line));
            for key in line.topics().filter_map(|topic| keys::topic(&topic, line.cursor())) {
                write.put_cf(topics, key, codec::encode(&line.account));
            }
        }
    }

    /// The lines of a topic.
    pub(super) fn read_lines(
        &self,
        topic: &Topic,
        range: &LineRange,
        limit: usize,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        match topic {
            Topic::Account(account) => {
                let key = |cursor| keys::history(account, cursor).to_vec();
                let lines = self.scan_range(keys::HISTORY, key, range).take(limit);
                lines.map(|entry| entry.and_then(|(key, bytes)| decode(keys::HISTORY, &key, &bytes))).collect()
            }
            Topic::Reference(_) | Topic::Hold(_) | Topic::HoldsOf(_) => {
                let key = |cursor| keys::topic(topic, cursor).expect("not an account").to_vec();
                let found = self.scan_range(keys::TOPICS, key, range).take(limit);
                found.map(|entry| entry.and_then(|(key, account)| self.line_at(&key, &account))).collect()
            }
        }
    }

    /// The keys and values of a range of a topic, where `key` gives the key of a place.
    fn scan_range(
        &self,
        column: &str,
        key: impl Fn(HistoryCursor) -> Vec<u8>,
        range: &LineRange,
    ) -> impl Iterator<Item = Result<Entry, StorageError>> {
        let (from, to, mode) = match range {
            LineRange::Before(before) => (key((0, 0, 0)), key(before.unwrap_or(END)), IteratorMode::End),
            LineRange::After(after) => {
                let mut next = key(*after);
                // The least key that is greater.
                next.push(0);
                (next, key(END), IteratorMode::Start)
            }
        };
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from.clone());
        // RocksDB wants no range that ends before it begins.
        options.set_iterate_upper_bound(to.max(from));
        self.scan(column, mode, options)
    }

    /// The line that an entry of an index points to.
    fn line_at(&self, key: &[u8], account: &[u8]) -> Result<HistoryRecord, StorageError> {
        let account: Address = decode(keys::TOPICS, key, account)?;
        let cursor = keys::cursor_of(key).ok_or_else(|| bad_key(keys::TOPICS, key))?;
        self.read(keys::HISTORY, &keys::history(&account, cursor))?.ok_or_else(|| {
            StorageError::Damaged(format!("{} {}: there is no such line", keys::TOPICS, hex::encode(key)))
        })
    }
}
