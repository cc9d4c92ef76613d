//! Acceptance (§3): which vertices are taken, which wait, and what is found out on the way.

use super::Engine;
use crate::amnesia::OwnVertex;
use crate::interface::Output;
use crate::subscriptions::AHEAD_ROUNDS_MAX;
use crate::vertex::{Author, SignedHeader, VerifiedVertex, VertexRef};

impl Engine {
    /// Acceptance (§3) of a valid vertex. What was not pushed is taken only if something references it.
    pub(super) fn receive(
        &mut self,
        vertex: VerifiedVertex,
        source: Author,
        is_pushed: bool,
        outputs: &mut Vec<Output>,
    ) {
        self.catch_up.record_vote(vertex.author(), vertex.header().commit_vote);
        let reference = vertex.reference();
        let is_known = self.dag.contains(&reference) || self.synchronizer.get(&reference).is_some();
        if is_known || reference.round <= self.dag.gc_round() {
            return;
        }
        let is_for_catch_up = self.catch_up.is_wanted(&reference);
        let is_named = self.amnesia.as_ref().is_some_and(|amnesia| amnesia.is_wanted(&reference));
        let is_referenced = is_for_catch_up || is_named || self.synchronizer.is_wanted(&reference);
        let is_slot_free = self.note_equivocation(&vertex, outputs);
        if !is_referenced {
            if !is_pushed || !is_slot_free {
                // It may have been fetched for an amnesia that is over.
                self.fetcher.cancel(&reference);
                return;
            }
            let is_too_high = reference.round > self.dag.highest_round() + AHEAD_ROUNDS_MAX;
            if is_too_high || self.catch_up.is_far_behind(self.linearizer.last()) {
                self.subscriptions.on_dropped(source, reference.round);
                return;
            }
        }
        self.meet_own(&reference);
        if is_for_catch_up {
            self.fetcher.cancel(&reference);
            self.catch_up.store(vertex);
        } else {
            // The parents of what was pushed are often on their way; those of what was fetched came and went long ago.
            let patience_ms = if is_pushed { self.settings.fetch_delay_ms } else { 0 };
            self.accept_or_suspend(vertex, source, patience_ms, outputs);
        }
    }

    fn accept_or_suspend(
        &mut self,
        vertex: VerifiedVertex,
        source: Author,
        patience_ms: u64,
        outputs: &mut Vec<Output>,
    ) {
        if self.dag.missing_parents(&vertex).is_empty() {
            self.ready.insert(vertex.reference(), vertex);
            self.accept_ready(outputs);
            return;
        }
        let due_ms = self.now_ms + patience_ms;
        for dropped in self.synchronizer.suspend(vertex, &self.dag, &mut self.fetcher, source, due_ms) {
            self.subscriptions.on_dropped(dropped.author(), dropped.round());
        }
    }

    /// Records evidence if another vertex is known for the slot. Returns whether none is.
    fn note_equivocation(&mut self, vertex: &VerifiedVertex, outputs: &mut Vec<Output>) -> bool {
        let (round, author) = (vertex.round(), vertex.author());
        let accepted = self.dag.first_at_slot(round, author);
        let known =
            accepted.and_then(|reference| self.dag.get(&reference)).or(self.synchronizer.at_slot(round, author));
        let Some(known) = known.filter(|known| *known != vertex) else { return true };
        let evidence = (known.signed_header().clone(), vertex.signed_header().clone());
        if self.dag.mark_equivocator(author) {
            outputs.push(Output::Evidence(Box::new(evidence)));
        }
        false
    }

    /// An answer to the question for the latest vertices (§10). What does not hold is as good as no answer.
    pub(super) fn on_latest(
        &mut self,
        from: Author,
        theirs: Option<Box<SignedHeader>>,
        ours: Option<Box<SignedHeader>>,
    ) {
        let Some(own) = self.own_author() else { return };
        let is_valid = |signed: &SignedHeader, author: Author| {
            signed.header.author == author
                && self.committee.check_parents(&signed.header).is_ok()
                && self.committee.verify_header(signed).is_ok()
        };
        let ours = ours.filter(|signed| is_valid(signed, own)).map(|signed| signed.reference());
        let latest = match theirs {
            None => Some(self.committee.genesis_ref(from)),
            Some(signed) if is_valid(&signed, from) => {
                self.catch_up.record_vote(from, signed.header.commit_vote);
                Some(signed.reference())
            }
            Some(_) => None,
        };
        if let Some(ours) = ours {
            self.meet_own(&ours);
        }
        if let (Some(amnesia), Some(latest)) = (&mut self.amnesia, latest) {
            amnesia.on_answer(from, latest);
        }
    }

    /// Judges a vertex with our signature: it may be from an earlier life that the database does not know of (§10), or the work of
    /// another process (§3).
    ///
    /// # Panics
    /// If another vertex is known for its slot, or this process signed at or below its round and not it. Then somebody else signs with
    /// our key, or did, in rounds in which we do, and every further signature may be the second one for its slot.
    pub(super) fn meet_own(&mut self, reference: &VertexRef) {
        let Some(amnesia) = self.amnesia.as_mut().filter(|amnesia| amnesia.own() == reference.author) else { return };
        if self.dag.contains(reference) || !self.settings.stop_at_own_equivocation {
            return;
        }
        let accepted = self.dag.first_at_slot(reference.round, reference.author);
        let suspended = self.synchronizer.at_slot(reference.round, reference.author).map(VerifiedVertex::reference);
        let is_second = accepted.or(suspended).is_some_and(|known| known != *reference);
        let judged = amnesia.judge(reference.round, self.dag.gc_round());
        assert!(
            !is_second && judged != OwnVertex::Foreign,
            "STOP: a vertex of round {} carries our signature, but is not in our database, though this process signed in \
             that round or below it. Either another process signs with this validator's key, or the database is older than \
             what was signed with it. Do not start this validator again before the other process is gone, or with another \
             key.",
            reference.round
        );
        if judged == OwnVertex::Lost {
            amnesia.on_lost_vertex(reference.round);
        }
    }

    /// Accepts what lacks no parent, and in turn what waited for it.
    pub(super) fn accept_ready(&mut self, outputs: &mut Vec<Output>) {
        while let Some((reference, vertex)) = self.ready.pop_first() {
            if reference.round > self.dag.gc_round() && !self.dag.contains(&reference) {
                self.accept(vertex, outputs);
            }
        }
    }

    pub(super) fn accept(&mut self, vertex: VerifiedVertex, outputs: &mut Vec<Output>) {
        self.note_equivocation(&vertex, outputs);
        self.dag.insert(vertex.clone());
        self.attestations.on_accepted(&vertex);
        self.adopt(&vertex);
        let complete = self.synchronizer.on_accepted(&vertex.reference(), &mut self.fetcher);
        self.ready.extend(complete.into_iter().map(|child| (child.reference(), child)));
        outputs.push(Output::Accepted(vertex.clone()));
        self.unstored.push(vertex);
        self.is_dag_changed = true;
    }

    /// Goes on after an own vertex of an earlier life.
    fn adopt(&mut self, vertex: &VerifiedVertex) {
        if let (Some(proposer), Some(amnesia)) = (&mut self.proposer, &self.amnesia)
            && amnesia.own() == vertex.author()
            && vertex.round() <= amnesia.past_round()
        {
            proposer.adopt(vertex);
        }
    }

    /// Takes a stored vertex back. One whose parents were lost waits for them like any other.
    pub(super) fn reload(&mut self, vertex: VerifiedVertex, outputs: &mut Vec<Output>) {
        if vertex.round() > self.dag.gc_round() {
            self.catch_up.record_vote(vertex.author(), vertex.header().commit_vote);
            let author = vertex.author();
            self.accept_or_suspend(vertex, author, 0, outputs);
        }
    }
}
