//! Attestations on their way: ours into our vertices, and those of others as far as idling depends on them (§12). Whether their
//! signatures hold is the ledger's matter.

use crate::committee::Committee;
use crate::vertex::{ATTESTATIONS_MAX, VerifiedVertex};
use farthing_core::certificate::Attestation;
use farthing_core::hash::Digest;
use std::collections::{BTreeMap, VecDeque};

/// The most own attestations that wait for a vertex. A validator that catches up makes them faster than it proposes; the oldest
/// blocks have been certified by the others long since, or are by way of their descendants.
const QUEUE_MAX: usize = 256;

/// The most heights remembered for an author.
const HEIGHTS_MAX: usize = 64;

/// The attestations of one node.
pub struct Attestations {
    quorum: usize,
    queue: VecDeque<Attestation>,
    /// By author, the blocks that its accepted vertices attest, from the newest executed block's height on.
    attested: Vec<BTreeMap<u64, Digest>>,
    /// Height and hash of the newest executed block, once one is known.
    newest: Option<(u64, Digest)>,
}

impl Attestations {
    /// No attestations.
    pub fn new(committee: &Committee) -> Attestations {
        Attestations {
            quorum: committee.quorum(),
            queue: VecDeque::new(),
            attested: vec![BTreeMap::new(); committee.size()],
            newest: None,
        }
    }

    /// A block was executed; `own` is our attestation of it.
    pub fn on_executed(&mut self, height: u64, hash: Digest, own: Option<Attestation>) {
        self.newest = Some((height, hash));
        for heights in &mut self.attested {
            *heights = heights.split_off(&height);
        }
        if self.queue.len() == QUEUE_MAX {
            self.queue.pop_front();
        }
        self.queue.extend(own);
    }

    /// A vertex was accepted.
    pub fn on_accepted(&mut self, vertex: &VerifiedVertex) {
        let heights = &mut self.attested[usize::from(vertex.author())];
        let newest_height = self.newest.map_or(0, |(height, _)| height);
        for attestation in &vertex.header().attestations {
            if attestation.height >= newest_height {
                heights.insert(attestation.height, attestation.block);
            }
        }
        // The highest matter, if we are far behind; what an author invents about the far future is its own loss.
        while heights.len() > HEIGHTS_MAX {
            heights.pop_first();
        }
    }

    /// Takes what fits into a vertex.
    pub fn take(&mut self) -> Vec<Attestation> {
        self.queue.drain(..self.queue.len().min(ATTESTATIONS_MAX)).collect()
    }

    /// Whether nothing is left to do: all own attestations are in vertices, and a quorum attests the newest block.
    pub fn is_settled(&self) -> bool {
        let is_certified = self.newest.is_none_or(|(height, hash)| {
            self.attested.iter().filter(|heights| heights.get(&height) == Some(&hash)).count() >= self.quorum
        });
        self.queue.is_empty() && is_certified
    }
}
