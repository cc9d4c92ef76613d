//! Column families, and the keys in them. Numbers in keys are big-endian, so that the order of the bytes is theirs.

use crate::storage::{HistoryCursor, Topic};
use farthing_consensus::vertex::{Author, Round, VertexRef};
use farthing_core::address::Address;
use farthing_core::hash::Digest;
use farthing_core::transaction::TransactionId;

/// Vertices without payload, by [`vertex`].
pub(super) const VERTICES: &str = "vertices";
/// Vertices with a payload, by [`vertex`].
pub(super) const PAYLOADS: &str = "payloads";
/// Of the vertices in [`PAYLOADS`] those that belong to no block with a body, by [`vertex`]; no values. Pruning by round looks here,
/// so that it reads no payload, and only as much as there is to remove.
pub(super) const LOOSE: &str = "loose";
/// Commits, by [`number`] of their index.
pub(super) const COMMITS: &str = "commits";
/// Bodies of blocks (see `body`), by [`number`] of their height.
pub(super) const BLOCKS: &str = "blocks";
/// Headers of blocks, by [`number`] of their height.
pub(super) const HEADERS: &str = "headers";
/// Attestations, by [`number`] of the block's height.
pub(super) const CERTIFICATES: &str = "certificates";
/// Slots of the state as of the flush point, by [`slot`].
pub(super) const STATE: &str = "state";
/// Positions and results of transactions (see `ids`), by [`transaction`]; those of the newest blocks are missing yet.
pub(super) const TRANSACTIONS: &str = "transactions";
/// Lines of accounts' histories, by [`history`].
pub(super) const HISTORY: &str = "history";
/// By [`topic`], the accounts in whose history the lines are of the topics that are no account.
pub(super) const TOPICS: &str = "topics";
/// Equivocations, by [`evidence`].
pub(super) const EVIDENCE: &str = "evidence";
/// The snapshot being fetched: its chunks by [`chunk`], and its manifest.
pub(super) const SNAPSHOT: &str = "snapshot";
/// Single values, by the `META_` names.
pub(super) const META: &str = "meta";

/// All column families.
pub(super) const ALL: [&str; 14] = [
    VERTICES,
    PAYLOADS,
    LOOSE,
    COMMITS,
    BLOCKS,
    HEADERS,
    CERTIFICATES,
    STATE,
    TRANSACTIONS,
    HISTORY,
    TOPICS,
    EVIDENCE,
    SNAPSHOT,
    META,
];

/// In [`META`]: the version of this format, `u32`.
pub(super) const META_FORMAT: &[u8] = b"format";
/// In [`META`]: the chain hash.
pub(super) const META_CHAIN: &[u8] = b"chain";
/// In [`META`]: the public key of the validator whose signing state this is; missing as long as it is a full node's database.
pub(super) const META_VALIDATOR: &[u8] = b"validator";
/// In [`META`]: `Option<VertexRef>`, what was signed last.
pub(super) const META_LAST_SIGNED: &[u8] = b"last_signed";
/// In [`META`]: the newest flush point.
pub(super) const META_FLUSH_POINT: &[u8] = b"flush_point";
/// In [`META`]: the height up to which the ids of blocks are in [`TRANSACTIONS`].
pub(super) const META_INDEXED: &[u8] = b"indexed";
/// In [`META`]: `false` once the database has taken blocks without their lines for histories.
pub(super) const META_HISTORY: &[u8] = b"history";
/// In [`META`]: how far pruning has got.
pub(super) const META_FLOORS: &[u8] = b"floors";

/// In [`META`]: there while a snapshot is being installed.
pub(super) const META_INSTALLING: &[u8] = b"installing";
/// In [`META`]: where the database begins, if not at the genesis document.
pub(super) const META_BASE: &[u8] = b"base";

/// In [`SNAPSHOT`]: the manifest. Greater than the keys of all chunks.
pub(super) const SNAPSHOT_MANIFEST: &[u8] = b"manifest";

/// The key of a commit index or a height.
pub(super) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The key of a vertex: round ‖ author ‖ digest.
pub(super) fn vertex(reference: &VertexRef) -> [u8; 42] {
    let mut key = [0; 42];
    key[..8].copy_from_slice(&reference.round.to_be_bytes());
    key[8..10].copy_from_slice(&reference.author.to_be_bytes());
    key[10..].copy_from_slice(reference.digest.as_bytes());
    key
}

/// The reference that a vertex's key stands for; `None` for bytes that are no such key.
pub(super) fn vertex_of(key: &[u8]) -> Option<VertexRef> {
    let key: &[u8; 42] = key.try_into().ok()?;
    let (round, rest) = key.split_first_chunk()?;
    let (author, digest) = rest.split_first_chunk()?;
    let digest = Digest(digest.try_into().ok()?);
    Some(VertexRef { round: u64::from_be_bytes(*round), author: u16::from_be_bytes(*author), digest })
}

/// The bytes of an id that are its key.
pub(super) const ID_BYTES: usize = 20;

/// The key of a transaction: the first [`ID_BYTES`] of its id.
pub(super) fn transaction(id: &TransactionId) -> [u8; ID_BYTES] {
    let mut key = [0; ID_BYTES];
    key.copy_from_slice(&id.as_bytes()[..ID_BYTES]);
    key
}

/// The key of a slot.
pub(super) fn slot(slot: u32) -> [u8; 4] {
    slot.to_be_bytes()
}

/// The key of a chunk of the snapshot being fetched: "c" ‖ number.
pub(super) fn chunk(number: u32) -> [u8; 5] {
    let mut key = *b"c\0\0\0\0";
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number that a chunk's key stands for; `None` for bytes that are no such key.
pub(super) fn chunk_of(key: &[u8]) -> Option<u32> {
    let key: &[u8; 5] = key.try_into().ok()?;
    Some(u32::from_be_bytes(*key.strip_prefix(b"c")?.first_chunk()?))
}

/// The key of a line of an account's history: account ‖ height ‖ position ‖ line.
pub(super) fn history(account: &Address, (height, position, line): HistoryCursor) -> [u8; 48] {
    let mut key = [0; 48];
    key[..32].copy_from_slice(&account.0.0);
    key[32..40].copy_from_slice(&height.to_be_bytes());
    key[40..44].copy_from_slice(&position.to_be_bytes());
    key[44..].copy_from_slice(&line.to_be_bytes());
    key
}

/// The key of a line of a topic: kind ‖ reference, hold or account ‖ height ‖ position ‖ line. `None` for the topic whose lines are the
/// [`HISTORY`] itself.
pub(super) fn topic(topic: &Topic, (height, position, line): HistoryCursor) -> Option<[u8; 49]> {
    let (kind, subject) = match topic {
        Topic::Account(_) => return None,
        Topic::Reference(reference) => (b'r', reference),
        Topic::Hold(hold) => (b'h', &hold.0),
        Topic::HoldsOf(account) => (b'o', &account.0.0),
    };
    let mut key = [kind; 49];
    key[1..33].copy_from_slice(subject);
    key[33..41].copy_from_slice(&height.to_be_bytes());
    key[41..45].copy_from_slice(&position.to_be_bytes());
    key[45..].copy_from_slice(&line.to_be_bytes());
    Some(key)
}

/// The place within its topic that such a key stands for; `None` for bytes that are no such key.
pub(super) fn cursor_of(key: &[u8]) -> Option<HistoryCursor> {
    let key: &[u8; 49] = key.try_into().ok()?;
    let (height, rest) = key[33..].split_first_chunk()?;
    let (position, line) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*height), u32::from_be_bytes(*position), u32::from_be_bytes(line.try_into().ok()?)))
}

/// The key of an equivocation: author ‖ round.
pub(super) fn evidence(author: Author, round: Round) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&author.to_be_bytes());
    key[2..].copy_from_slice(&round.to_be_bytes());
    key
}

/// The author and round that an equivocation's key stands for; `None` for bytes that are no such key.
pub(super) fn evidence_of(key: &[u8]) -> Option<(Author, Round)> {
    let key: &[u8; 10] = key.try_into().ok()?;
    let (author, round) = key.split_first_chunk()?;
    Some((u16::from_be_bytes(*author), u64::from_be_bytes(round.try_into().ok()?)))
}
