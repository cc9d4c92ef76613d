//! Which of what is stored may go: the rule that both kinds of storage follow.
//!
//! Pruning is four floors that only rise; what lies below a floor is gone. Each rises in steps: of at least [`STEP_MIN`], so
//! that a removal is worth its fixed cost (a synced write, and a tombstone that readers pass over until it is compacted), and of at
//! most [`STEP_MAX`], which bounds the work of one call.
//!
//! No floor passes the newest flush point: state is rebuilt from there. Commits and vertices stay also as long as no block above
//! them is certified: without one there is no snapshot that could stand in for them, and a validator that was off for long may be
//! the very one whose attestation is missing.

use super::{Retention, Storage, StorageError};
use crate::snapshot::Manifest;
use borsh::{BorshDeserialize, BorshSerialize};
use farthing_consensus::archive::RETAINED_COMMITS;
use farthing_consensus::committee::GC_DEPTH;
use farthing_core::flush::FlushPoint;

/// The fewest commits that [`Retention::commits`] may keep: what `consensus.md` §8 promises peers that lag.
pub const RETAIN_COMMITS_MIN: u64 = RETAINED_COMMITS;

/// The least by which a floor rises.
const STEP_MIN: u64 = 100;

/// The most by which a floor rises in one call.
const STEP_MAX: u64 = 1_000;

/// How far pruning has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub(super) struct Floors {
    /// Commits with a lower index are gone, but for those of blocks that have their bodies.
    pub commits: u64,
    /// Vertices of lower rounds are gone, but for the payloads of blocks that have their bodies.
    pub rounds: u64,
    /// Blocks of lower height have no body.
    pub bodies: u64,
    /// Transactions of blocks of lower height are not in the index of ids. Never above `bodies`.
    pub transactions: u64,
}

impl Floors {
    /// The floors of a database in whose place a snapshot is put. The index of ids, which is still true, catches up by and by.
    pub(super) fn at_snapshot(&self, manifest: &Manifest) -> Floors {
        let first = manifest.contained_commits().first().expect("a good manifest contains commits");
        Floors {
            commits: first.index,
            rounds: self.rounds.max(manifest.newest_commit().leader.round.saturating_sub(GC_DEPTH) + 1),
            bodies: manifest.base().height + 1,
            transactions: self.transactions,
        }
    }

    /// The floors after one step of pruning; the same ones if there is no step worth taking.
    ///
    /// # Panics
    /// If `retention` keeps fewer than [`RETAIN_COMMITS_MIN`] commits.
    pub(super) fn next(
        &self,
        storage: &impl Storage,
        flush: &FlushPoint,
        retention: &Retention,
    ) -> Result<Floors, StorageError> {
        assert!(retention.commits >= RETAIN_COMMITS_MIN, "peers count on {RETAIN_COMMITS_MIN} commits");
        let mut next = *self;
        let newest_commit = storage.newest_commit()?;
        let commits = step(self.commits, newest_commit.saturating_sub(retention.commits).min(flush.commit_index));
        // The commits after the first one that stays draw from the rounds above its gc round, and from no others. (A
        // network with a lower depth of collection keeps a little more than it needs.)
        if commits > self.commits
            && commits <= certified_commit(storage)?
            && let Some(first) = storage.commit(commits)?
        {
            next.commits = commits;
            next.rounds = self.rounds.max(first.leader.round.saturating_sub(GC_DEPTH));
        }
        let newest_block = storage.newest_block()?;
        next.bodies = step(self.bodies, newest_block.saturating_sub(retention.blocks).min(flush.height()));
        next.transactions =
            step(self.transactions, self.outdated_below(storage, newest_block, next.bodies, retention)?);
        assert!(next.transactions <= next.bodies, "the index of ids outlives bodies");
        Ok(next)
    }

    /// The lowest commit whose vertices are all kept: the one at the floor may draw from rounds that are gone.
    pub(super) fn oldest_commit(&self) -> u64 {
        self.commits + 1
    }

    /// The lowest height from [`Floors::transactions`] on, at most a step up and at most `bodies`, whose block is not older than
    /// [`Retention::transactions_ms`].
    fn outdated_below(
        &self,
        storage: &impl Storage,
        newest_block: u64,
        bodies: u64,
        retention: &Retention,
    ) -> Result<u64, StorageError> {
        let Some(newest) = storage.header(newest_block)? else { return Ok(self.transactions) };
        let keep_from_ms = newest.timestamp_ms.saturating_sub(retention.transactions_ms);
        for height in self.transactions..bodies.min(self.transactions + STEP_MAX) {
            if storage.header(height)?.is_some_and(|header| header.timestamp_ms >= keep_from_ms) {
                return Ok(height);
            }
        }
        Ok(bodies.min(self.transactions + STEP_MAX))
    }
}

/// The commit that made the newest certified block, 0 if there is none.
fn certified_commit(storage: &impl Storage) -> Result<u64, StorageError> {
    let header = storage.header(storage.newest_certificate()?)?;
    Ok(header.map_or(0, |header| header.commit_index))
}

/// Moves a floor towards `target`, by [`STEP_MIN`] to [`STEP_MAX`] or not at all.
fn step(floor: u64, target: u64) -> u64 {
    if target < floor + STEP_MIN { floor } else { target.min(floor + STEP_MAX) }
}
