//! Suspension (§3, §9): valid vertices that wait for parents, and which parents have to be fetched for them.

use crate::dag::Dag;
use crate::fetcher::Fetcher;
use crate::vertex::{Author, Round, VerifiedVertex, VertexRef};
use farthing_core::hash::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The most encoded bytes of suspended vertices of one author.
pub const SUSPENDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most parents being fetched for the vertices of one author.
pub const FETCHING_MAX: usize = 1_024;

/// Of the ancestors of a suspended vertex, so many are looked at for what its sender can be asked for.
const OFFERED_MAX: usize = 512;

/// A dropped vertex that others wait for is fetched again after so long.
const DROPPED_RETRY_MS: u64 = 1_000;

/// The vertices that wait.
pub struct Synchronizer {
    suspended: BTreeMap<VertexRef, Suspended>,
    /// Parents that are neither accepted nor collected. Some are suspended themselves; the others are fetched.
    missing: BTreeMap<VertexRef, Missing>,
    /// By author.
    usage: Vec<Usage>,
}

struct Suspended {
    vertex: VerifiedVertex,
    /// How many of its parents are missing.
    missing: usize,
}

struct Missing {
    /// The suspended vertices that wait for this one; never empty.
    children: BTreeSet<VertexRef>,
    /// The author of the first of them while the parent is being fetched: whose bound it counts against.
    fetched_for: Option<Author>,
}

#[derive(Clone, Default)]
struct Usage {
    bytes: usize,
    fetching: usize,
}

impl Synchronizer {
    /// Nothing suspended, in a committee of `size`.
    pub fn new(size: usize) -> Synchronizer {
        Synchronizer { suspended: BTreeMap::new(), missing: BTreeMap::new(), usage: vec![Usage::default(); size] }
    }

    /// How many vertices are suspended.
    pub fn len(&self) -> usize {
        self.suspended.len()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.usage.iter().map(|usage| usage.bytes).sum()
    }

    /// A suspended vertex.
    pub fn get(&self, reference: &VertexRef) -> Option<&VerifiedVertex> {
        self.suspended.get(reference).map(|suspended| &suspended.vertex)
    }

    /// Whether a suspended vertex waits for this one, which is not here.
    pub fn is_wanted(&self, reference: &VertexRef) -> bool {
        self.missing.contains_key(reference) && !self.suspended.contains_key(reference)
    }

    /// A suspended vertex at a slot.
    pub fn at_slot(&self, round: Round, author: Author) -> Option<&VerifiedVertex> {
        let from = VertexRef { round, author, digest: Digest::ZERO };
        let to = VertexRef { round, author, digest: Digest([0xff; 32]) };
        self.suspended.range(from..=to).next().map(|(_, suspended)| &suspended.vertex)
    }

    /// Suspends a vertex that lacks parents and has them fetched from `due_ms` on, first from `source`. Returns the vertices that had
    /// to be dropped to keep its author within bounds, perhaps itself: always the highest ones, since the lowest are what the
    /// others wait for.
    pub fn suspend(
        &mut self,
        vertex: VerifiedVertex,
        dag: &Dag,
        fetcher: &mut Fetcher,
        source: Author,
        due_ms: u64,
    ) -> Vec<VerifiedVertex> {
        let reference = vertex.reference();
        let parents = dag.missing_parents(&vertex);
        assert!(!parents.is_empty(), "{reference:?} lacks no parent and was suspended");
        self.stop_fetching(&reference, fetcher);
        for parent in &parents {
            if let Some(missing) = self.missing.get_mut(parent) {
                missing.children.insert(reference);
                continue;
            }
            let children = BTreeSet::from([reference]);
            self.missing.insert(*parent, Missing { children, fetched_for: None });
            if !self.suspended.contains_key(parent) {
                self.start_fetching(*parent, reference.author, dag, fetcher, source, due_ms);
            }
        }
        self.offer_ancestors(&parents, fetcher, source, due_ms);
        self.usage[usize::from(reference.author)].bytes += vertex.encoded_len();
        let known = self.suspended.insert(reference, Suspended { vertex, missing: parents.len() });
        assert!(known.is_none(), "{reference:?} was suspended twice");
        self.enforce_bounds(reference.author, dag, fetcher, source, due_ms)
    }

    /// A vertex was accepted: returns the children that lack no parent any more, to be accepted in turn.
    pub fn on_accepted(&mut self, reference: &VertexRef, fetcher: &mut Fetcher) -> Vec<VerifiedVertex> {
        if self.suspended.contains_key(reference) {
            self.remove(reference, fetcher);
        }
        self.resolve(reference, fetcher)
    }

    /// The gc round rose: drops what is collected and returns the vertices that lack no parent any more.
    pub fn on_collected(&mut self, gc_round: Round, fetcher: &mut Fetcher) -> Vec<VerifiedVertex> {
        while let Some((reference, _)) = self.suspended.first_key_value().filter(|(first, _)| first.round <= gc_round) {
            let reference = *reference;
            self.remove(&reference, fetcher);
        }
        let mut complete = Vec::new();
        while let Some((reference, _)) = self.missing.first_key_value().filter(|(first, _)| first.round <= gc_round) {
            let reference = *reference;
            complete.extend(self.resolve(&reference, fetcher));
        }
        complete
    }

    /// A parent is there or not needed any more.
    fn resolve(&mut self, parent: &VertexRef, fetcher: &mut Fetcher) -> Vec<VerifiedVertex> {
        self.stop_fetching(parent, fetcher);
        let Some(missing) = self.missing.remove(parent) else { return Vec::new() };
        let mut complete = Vec::new();
        for child in missing.children {
            let suspended = self.suspended.get_mut(&child).expect("what waits is suspended");
            suspended.missing -= 1;
            if suspended.missing == 0 {
                complete.push(self.take(&child));
            }
        }
        complete
    }

    /// Removes a suspended vertex without accepting it, and lets go of the parents that only it waited for.
    fn remove(&mut self, reference: &VertexRef, fetcher: &mut Fetcher) -> VerifiedVertex {
        let vertex = self.take(reference);
        for parent in &vertex.header().parents {
            let Some(missing) = self.missing.get_mut(parent) else { continue };
            missing.children.remove(reference);
            if missing.children.is_empty() {
                self.stop_fetching(parent, fetcher);
                self.missing.remove(parent);
            }
        }
        vertex
    }

    fn take(&mut self, reference: &VertexRef) -> VerifiedVertex {
        let vertex = self.suspended.remove(reference).expect("the vertex is suspended").vertex;
        self.usage[usize::from(reference.author)].bytes -= vertex.encoded_len();
        vertex
    }

    fn enforce_bounds(
        &mut self,
        author: Author,
        dag: &Dag,
        fetcher: &mut Fetcher,
        source: Author,
        due_ms: u64,
    ) -> Vec<VerifiedVertex> {
        let mut dropped = Vec::new();
        loop {
            let usage = &self.usage[usize::from(author)];
            if usage.bytes <= SUSPENDED_BYTES_MAX && usage.fetching <= FETCHING_MAX {
                return dropped;
            }
            let highest = self.suspended.keys().rev().find(|reference| reference.author == author).copied();
            let Some(highest) = highest else { return dropped };
            dropped.push(self.remove(&highest, fetcher));
            // What waits for the dropped vertex needs it fetched again some time.
            if let Some(child) = self.missing.get(&highest).and_then(|missing| missing.children.first()).copied() {
                self.start_fetching(highest, child.author, dag, fetcher, source, due_ms + DROPPED_RETRY_MS);
            }
        }
    }

    fn start_fetching(
        &mut self,
        parent: VertexRef,
        child: Author,
        dag: &Dag,
        fetcher: &mut Fetcher,
        source: Author,
        due_ms: u64,
    ) {
        self.missing.get_mut(&parent).expect("what is fetched is missing").fetched_for = Some(child);
        self.usage[usize::from(child)].fetching += 1;
        fetcher.want(parent, source, dag.ancestry_floor(&parent), due_ms);
    }

    /// Has the missing ancestors of a vertex asked for from whoever sent the vertex, also those that have been asked for elsewhere.
    fn offer_ancestors(&self, parents: &[VertexRef], fetcher: &mut Fetcher, source: Author, due_ms: u64) {
        let mut seen: BTreeSet<VertexRef> = parents.iter().copied().collect();
        let mut open = parents.to_vec();
        while let Some(ancestor) = open.pop() {
            let Some(suspended) = self.suspended.get(&ancestor) else {
                fetcher.offer(&ancestor, source, due_ms);
                continue;
            };
            for parent in &suspended.vertex.header().parents {
                if seen.len() < OFFERED_MAX && self.missing.contains_key(parent) && seen.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
    }

    fn stop_fetching(&mut self, parent: &VertexRef, fetcher: &mut Fetcher) {
        if let Some(author) = self.missing.get_mut(parent).and_then(|missing| missing.fetched_for.take()) {
            self.usage[usize::from(author)].fetching -= 1;
        }
        fetcher.cancel(parent);
    }
}
