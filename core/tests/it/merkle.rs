//! Merkle trees: batched updates against building anew, and paths.

use farthing_core::hash::Digest;
use farthing_core::merkle::{self, MerkleTree};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn leaf(n: u64) -> Digest {
    merkle::leaf(&n.to_le_bytes())
}

/// The top node by the definition: padded to a power of two, halved until one is left.
fn naive_top(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::ZERO,
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            let mut right = right.to_vec();
            right.resize(half, Digest::ZERO);
            naive_node(naive_top(left), naive_top(&right))
        }
    }
}

fn naive_node(left: Digest, right: Digest) -> Digest {
    if left == Digest::ZERO && right == Digest::ZERO {
        return Digest::ZERO;
    }
    let pair = [*left.as_bytes(), *right.as_bytes()].concat();
    Digest(*blake3::keyed_hash(b"farthing merkle node, version 1.", &pair).as_bytes())
}

proptest! {
    #[test]
    fn updates_give_the_tree_built_anew(
        start in 0usize..40,
        batches in prop::collection::vec((prop::collection::btree_map(0usize..60, any::<u64>(), 0..20), 0usize..30), 1..8),
    ) {
        let mut leaves: Vec<Digest> = (0..start as u64).map(leaf).collect();
        let mut tree = MerkleTree::new(leaves.clone());
        for (changed, appended) in batches {
            let count = leaves.len() + appended;
            let mut changes: BTreeMap<usize, Digest> =
                changed.into_iter().filter(|(place, _)| *place < count).map(|(place, n)| (place, leaf(n))).collect();
            for place in leaves.len()..count {
                changes.entry(place).or_insert_with(|| leaf(place as u64));
            }
            leaves.resize(count, Digest::ZERO);
            changes.iter().for_each(|(place, digest)| leaves[*place] = *digest);
            let update = tree.plan(changes.into_iter().collect());
            let (top, count) = (tree.top_after(&update), tree.count_after(&update));
            tree.apply(update);
            prop_assert_eq!((tree.top(), tree.count()), (top, count));
            prop_assert_eq!(&tree, &MerkleTree::new(leaves.clone()));
            prop_assert_eq!(tree.top(), naive_top(&leaves));
        }
    }
}

#[test]
fn every_path_proves_its_own_leaf_and_place_only() {
    for count in 1..=33u64 {
        let tree = MerkleTree::new((0..count).map(leaf).collect());
        for position in 0..count {
            let path = tree.path(position);
            for (claimed, place) in (0..2 * count).flat_map(|claimed| (0..2 * count).map(move |place| (claimed, place)))
            {
                let proves = merkle::top_of_path(leaf(claimed), place, count, &path) == Some(tree.top());
                assert_eq!(proves, claimed == position && place == position, "{claimed} at {place} of {count}");
            }
        }
    }
}

#[test]
fn paths_of_another_length_or_place_are_refused() {
    let tree = MerkleTree::new((0..5).map(leaf).collect());
    let path = tree.path(4);
    assert_eq!(merkle::top_of_path(leaf(4), 4, 5, &path), Some(tree.top()));
    assert_eq!(merkle::top_of_path(leaf(4), 4, 5, &path[..2]), None);
    assert_eq!(merkle::top_of_path(leaf(4), 4, 5, &[path.clone(), vec![Digest::ZERO]].concat()), None);
    assert_eq!(merkle::top_of_path(Digest::ZERO, 5, 5, &path), None, "padding is not a leaf");
    assert_eq!(merkle::top_of_path(leaf(4), u64::MAX, u64::MAX, &path), None);
    assert_eq!(merkle::top_of_path(leaf(4), 4, u64::MAX, &path), None);
}

#[test]
fn the_number_of_leaves_is_part_of_the_root() {
    let tree = MerkleTree::new(vec![leaf(1)]);
    assert_ne!(merkle::root("test/v1", 1, &tree.top()), merkle::root("test/v1", 2, &tree.top()));
    assert_ne!(merkle::root("test/v1", 1, &tree.top()), merkle::root("other/v1", 1, &tree.top()));
}
