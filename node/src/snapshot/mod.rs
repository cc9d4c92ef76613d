//! State snapshots: how a node that lags beyond what its peers keep, or that begins with nothing, gets the state itself.
//!
//! # What a snapshot is
//! The state just before one certified block, the **anchor**, whose header carries its root. A [`Manifest`] proves it to somebody who
//! knows the genesis document and nothing else:
//!
//! - the anchor's certificate says that a quorum vouches for its header: for the state root, for the commit that made it, and for
//!   the header before it;
//! - the digest of that commit fixes it, and the digests inside fix the commits before it: as many of them as reach above the gc
//!   round, whose vertices count as accepted and committed from here on (consensus.md §11);
//! - the tops of all chunks fold to the state root ([`farthing_core::state_chunk`]), so each chunk is checked by itself.
//!
//! So the ledger goes on with the anchor's own commit, and gets it and all later ones from its peers as after any other absence.
//! What lies before it is not there: no bodies, no index of ids, no headers ([`crate::storage::Base`]).
//!
//! # Serving
//! [`Snapshots`] copies the newest flushed state that has an anchor into a file, once somebody asks and no fresh copy is there, on a
//! thread of its own, from one consistent view: neither the replica nor the journal waits. Requests read that file. Flushes happen at
//! the same moments of commit time everywhere, so peers without a fresh copy that are asked at about the same time serve the same snapshot.
//!
//! # Fetching
//! [`fetch::Fetch`], a state machine without clock or sockets, asks all validators for their manifests, takes the newest of those that
//! hold, and fetches its chunks from everybody who has that one. Each is staged as it comes, so neither a crash nor a change of peers
//! loses more than what was under way; chunks that are the same in a newer snapshot stay.
//!
//! # Installing
//! When all chunks are staged, storage replaces its state ([`crate::storage::Storage::install`]): a marker is written first and removed
//! with the last write, and opening a database with the marker in it installs again. The signing state is never touched.

mod export;
pub mod fetch;
mod manifest;
mod message;
#[cfg(test)]
mod tests;

pub use export::{Snapshots, SnapshotsSettings};
pub use manifest::{CHUNKS_MAX, MANIFEST_BYTES_MAX, Manifest, ManifestError};
pub use message::{ChunkId, SnapshotMessage};
