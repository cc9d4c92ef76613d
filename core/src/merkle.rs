//! Binary Merkle trees over a dense sequence of leaves, for transactions and for the state.
//!
//! - A leaf is `keyed_blake3(LEAF_KEY, bytes)`; an inner node is `keyed_blake3(NODE_KEY, left ‖ right)`, one compression. With two
//!   keys, no inner node can pass for a leaf.
//! - The leaves are padded to a power of two with "nothing", the zero digest; a node over nothing but nothing is nothing itself.
//! - The root of a tree is a hash over the number of leaves and the top node, under a domain of its user. With the number fixed,
//!   every path has one length, and no place outside of the sequence can be proven.

use crate::hash::Digest;

/// The longest path: trees have at most 2^32 leaves.
pub const PATH_MAX: usize = 32;

const LEAF_KEY: &[u8; 32] = b"farthing merkle leaf, version 1.";
const NODE_KEY: &[u8; 32] = b"farthing merkle node, version 1.";

/// What stands where there is no leaf, and on top of nothing but such places.
pub(crate) const NOTHING: Digest = Digest::ZERO;

/// The digest of a leaf.
pub fn leaf(bytes: &[u8]) -> Digest {
    Digest(*blake3::keyed_hash(LEAF_KEY, bytes).as_bytes())
}

/// The root: a hash over the number of leaves and the top node, under the user's domain.
pub fn root(domain: &str, count: u64, top: &Digest) -> Digest {
    Digest::of(domain, &[&count.to_le_bytes(), top.as_bytes()])
}

/// The top node that a path leads to, from the leaf at `position` among `count` leaves; the path goes from the leaf's sibling
/// up. `None` if the position is not below the count or the path does not have the one length it must have.
pub fn top_of_path(leaf: Digest, position: u64, count: u64, path: &[Digest]) -> Option<Digest> {
    if position >= count || path.len() != depth(count) {
        return None;
    }
    let climb = |below: Digest, (level, sibling): (usize, &Digest)| {
        if position >> level & 1 == 0 { node(&below, sibling) } else { node(sibling, &below) }
    };
    Some(path.iter().enumerate().fold(leaf, climb))
}

/// The top of the subtree over the 2^`level` places that begin with these leaves; what follows them is nothing. Zero for no leaves.
///
/// # Panics
/// If there are more leaves than places.
pub fn subtree_top(leaves: Vec<Digest>, level: u32) -> Digest {
    assert!(leaves.len() as u64 <= 1 << level, "{} leaves under a node of level {level}", leaves.len());
    let lowest = depth(leaves.len() as u64);
    (lowest..level as usize).fold(MerkleTree::new(leaves).top(), |below, _| node(&below, &NOTHING))
}

/// A tree in memory, as levels: the leaves first, the top node last. Takes about 64 bytes a leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MerkleTree {
    /// Each level holds the nodes that have a leaf under them; everything to their right is nothing.
    levels: Vec<Vec<Digest>>,
}

/// The nodes that a batch of changed leaves changes, level by level, each level ascending by position.
pub struct MerkleUpdate {
    levels: Vec<Vec<(usize, Digest)>>,
}

impl MerkleTree {
    /// The tree over these leaves.
    pub fn new(leaves: Vec<Digest>) -> MerkleTree {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let above = below.chunks(2).map(|pair| node(&pair[0], pair.get(1).unwrap_or(&NOTHING))).collect();
            levels.push(above);
        }
        MerkleTree { levels }
    }

    /// How many leaves there are.
    pub fn count(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// The top node; nothing (zero) for no leaves.
    pub fn top(&self) -> Digest {
        *self.levels.last().expect("there is always the level of the leaves").first().unwrap_or(&NOTHING)
    }

    /// The path of the leaf at `position`: its sibling first, then the sibling of each node above.
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn path(&self, position: u64) -> Vec<Digest> {
        assert!(position < self.count(), "leaf {position} of {}", self.count());
        let below_top = &self.levels[..self.levels.len() - 1];
        below_top.iter().enumerate().map(|(level, nodes)| at(nodes, (position >> level ^ 1) as usize)).collect()
    }

    /// Computes the nodes above a batch of changed leaves, each upper node once, without changing the tree. Leaves may be
    /// appended: then `changes` has all the new ones.
    ///
    /// # Panics
    /// If the positions do not ascend strictly, or leave a gap between the old leaves and the new ones.
    pub fn plan(&self, changes: Vec<(usize, Digest)>) -> MerkleUpdate {
        let old_count = self.levels[0].len();
        let appended = changes.len() - changes.partition_point(|(position, _)| *position < old_count);
        let count = old_count + appended;
        assert!(changes.is_sorted_by(|a, b| a.0 < b.0), "changed leaves must ascend");
        assert!(changes.last().is_none_or(|(position, _)| *position < count), "appended leaves must leave no gap");
        let mut levels = vec![changes];
        for level in 0..depth(count as u64) {
            let stored = self.levels.get(level).map_or(&[][..], Vec::as_slice);
            let above = parents(stored, &levels[level]);
            levels.push(above);
        }
        MerkleUpdate { levels }
    }

    /// The top node that the tree will have after an update.
    pub fn top_after(&self, update: &MerkleUpdate) -> Digest {
        update.levels.last().and_then(|level| level.first()).map_or(self.top(), |(_, digest)| *digest)
    }

    /// How many leaves the tree will have after an update.
    pub fn count_after(&self, update: &MerkleUpdate) -> u64 {
        update.levels[0].last().map_or(self.count(), |(position, _)| self.count().max(*position as u64 + 1))
    }

    /// Applies an update that was computed from this very tree.
    pub fn apply(&mut self, update: MerkleUpdate) {
        self.levels.resize_with(self.levels.len().max(update.levels.len()), Vec::new);
        for (nodes, changes) in self.levels.iter_mut().zip(update.levels) {
            for (position, digest) in changes {
                if position == nodes.len() {
                    nodes.push(digest);
                } else {
                    nodes[position] = digest;
                }
            }
        }
        for pair in self.levels.windows(2) {
            assert_eq!(pair[1].len(), pair[0].len().div_ceil(2), "a level of the tree is incomplete");
        }
    }
}

/// The digest of an inner node.
pub(crate) fn node(left: &Digest, right: &Digest) -> Digest {
    if *left == NOTHING && *right == NOTHING {
        return NOTHING;
    }
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left.as_bytes());
    pair[32..].copy_from_slice(right.as_bytes());
    Digest(*blake3::keyed_hash(NODE_KEY, &pair).as_bytes())
}

/// The levels above the leaves: ⌈log2(count)⌉, for any count that somebody may claim.
pub(crate) fn depth(count: u64) -> usize {
    (u64::BITS - count.saturating_sub(1).leading_zeros()) as usize
}

fn at(nodes: &[Digest], position: usize) -> Digest {
    nodes.get(position).copied().unwrap_or(NOTHING)
}

/// The changed nodes of a level above, from the stored nodes and the changed ones of the level below.
fn parents(stored: &[Digest], changes: &[(usize, Digest)]) -> Vec<(usize, Digest)> {
    let mut above = Vec::with_capacity(changes.len());
    for siblings in changes.chunk_by(|a, b| a.0 / 2 == b.0 / 2) {
        let parent = siblings[0].0 / 2;
        let mut pair = [at(stored, 2 * parent), at(stored, 2 * parent + 1)];
        for (position, digest) in siblings {
            pair[position % 2] = *digest;
        }
        above.push((parent, node(&pair[0], &pair[1])));
    }
    above
}

/// Reads a path for borsh, refusing more than [`PATH_MAX`] digests.
pub(crate) fn read_path<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Digest>> {
    crate::codec::bounded_vec(reader, 0, PATH_MAX)
}
