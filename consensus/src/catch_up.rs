//! Catching up by certified commits (§11).
//!
//! Commit digests chain, so a vote for a commit covers all before it; the votes of f + 1 authors include an honest one. Ranges of
//! commits are fetched from one peer at a time. What chains but is not certified yet is kept as *tentative*: commits that were
//! decided in one go have votes only for the last of them, so the votes may come with a later range. Certified commits wait in
//! order for their vertices, and are then applied without the decision rule.
//!
//! An observer does nothing else: it subscribes to no vertices, and asks for the next commits all the time, one peer as long as that
//! brings it on, then the next peer. It asks from the last certified commit on, since votes for the newest commits come late.

use crate::commit::Commit;
use crate::committee::Committee;
use crate::dag::Dag;
use crate::fetcher::Fetcher;
use crate::interface::Settings;
use crate::linearizer::LastCommit;
use crate::message::{FETCH_COMMITS_MAX, Message};
use crate::synchronizer::Synchronizer;
use crate::vertex::{Author, Round, SignedHeader, VerifiedVertex, VertexRef};
use farthing_core::hash::Digest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// So many commits behind, catching up starts at once; fewer behind, only when local commits stall.
const START_LAG_COMMITS: u64 = 100;

/// So many commits behind, live vertices are dropped and nothing is proposed.
const DROP_LIVE_LAG_COMMITS: u64 = 500;

/// How long a peer may take to answer with a range of commits.
const ANSWER_TIMEOUT_MS: u64 = 1_000;

/// No further range is fetched while so many certified commits wait.
const QUEUE_COMMITS_MAX: usize = 128;

/// So many tentative commits of one peer, or so many references in them, and it is given up. No honest committee makes so many
/// without votes for one of them.
const TENTATIVE_COMMITS_MAX: usize = 1_024;
const TENTATIVE_REFS_MAX: usize = 262_144;

/// Tentative commits are given up, and another peer is asked, when nobody has vouched for any of them for so long: they may be one
/// peer's invention, which would keep the real ones out for ever when the chain is long enough to leave nothing to ask for.
const TENTATIVE_PATIENCE_MS: u64 = 5_000;

/// Vertices at hand or being fetched ahead of their commit's turn (the first commit is fetched whole in any case).
const WINDOW_VERTICES_MAX: usize = 256;

/// Certified commits are forgotten and asked for again when none of them could be applied for so long. Their vertices may have been
/// pruned everywhere since the commits were shown; then the answer says from where on they are kept, and nothing is waited for.
const QUEUE_PATIENCE_MS: u64 = 10_000;

/// How often it is told that peers no longer keep the next commit.
const BEHIND_RETENTION_EVERY_MS: u64 = 10_000;

/// Catching up, of one node.
pub struct CatchUp {
    committee: Arc<Committee>,
    /// `None` is an observer.
    own: Option<Author>,
    retry_ms: u64,
    stall_ms: u64,
    follow_poll_ms: u64,
    /// By author, its highest vote seen in a valid vertex.
    votes: Vec<(u64, Digest)>,
    is_active: bool,
    /// When the newest commit was made here.
    committed_at_ms: u64,
    /// The peer asked last, and until when it has to answer.
    asked: Option<Author>,
    pending_until_ms: Option<u64>,
    /// No request before this.
    ask_after_ms: u64,
    tentative: Vec<(Commit, Digest)>,
    /// When the first of them came, or the last answer that certified any.
    tentative_since_ms: u64,
    /// Certified commits right after the newest local one.
    queue: VecDeque<(Commit, Digest)>,
    /// Since when some wait.
    queued_since_ms: Option<u64>,
    /// How many commits of `queue` have had their vertices asked for.
    window: usize,
    wanted: BTreeSet<VertexRef>,
    vertices: BTreeMap<VertexRef, VerifiedVertex>,
    /// By author, the lowest commit that it keeps, as it said last.
    oldest_kept: Vec<u64>,
    /// When it was told last that some keep the next commit no more.
    told_behind_at_ms: Option<u64>,
    /// Whether the last answer was as long as answers may be, so that there is more. True before the first.
    has_more: bool,
    /// Whether it brought an observer on.
    is_progressing: bool,
}

impl CatchUp {
    /// Not catching up.
    pub fn new(committee: Arc<Committee>, own: Option<Author>, settings: &Settings, now_ms: u64) -> CatchUp {
        CatchUp {
            own,
            retry_ms: settings.fetch_retry_ms,
            stall_ms: settings.commit_stall_ms,
            oldest_kept: vec![1; committee.size()],
            told_behind_at_ms: None,
            has_more: true,
            is_progressing: false,
            follow_poll_ms: settings.follow_poll_ms,
            votes: vec![(0, Digest::ZERO); committee.size()],
            committee,
            is_active: own.is_none(),
            committed_at_ms: now_ms,
            asked: None,
            pending_until_ms: None,
            ask_after_ms: 0,
            tentative: Vec::new(),
            tentative_since_ms: 0,
            queue: VecDeque::new(),
            queued_since_ms: None,
            window: 0,
            wanted: BTreeSet::new(),
            vertices: BTreeMap::new(),
        }
    }

    /// Whether certified commits are being fetched or applied because this node is behind. An observer is while there is more to fetch.
    pub fn is_active(&self) -> bool {
        match self.own {
            Some(_) => self.is_active,
            None => self.has_more,
        }
    }

    /// Whether certified commits wait to be applied. Until they are, nothing is decided locally.
    pub fn has_certified(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether live vertices are useless and proposing is pointless.
    pub fn is_far_behind(&self, last: &LastCommit) -> bool {
        self.voted_commit() > last.index + DROP_LIVE_LAG_COMMITS
    }

    /// The highest commit for which f + 1 other authors' vertices vote, or for later ones.
    pub fn voted_commit(&self) -> u64 {
        let is_other = |(author, _): &(usize, &(u64, Digest))| Some(*author as Author) != self.own;
        let mut indices: Vec<u64> =
            self.votes.iter().enumerate().filter(is_other).map(|(_, (index, _))| *index).collect();
        indices.sort_unstable_by(|a, b| b.cmp(a));
        indices.get(self.committee.faulty_max()).copied().unwrap_or(0)
    }

    /// Records the vote in a valid vertex, whatever becomes of the vertex.
    pub fn record_vote(&mut self, author: Author, commit_vote: Option<(u64, Digest)>) {
        let vote = &mut self.votes[usize::from(author)];
        if let Some((index, digest)) = commit_vote
            && index > vote.0
        {
            *vote = (index, digest);
        }
    }

    /// Notes that a commit was made here.
    pub fn on_commit(&mut self, now_ms: u64) {
        self.committed_at_ms = now_ms;
    }

    /// Certifies tentative commits by votes that have come in live vertices since, which is how catching up ends.
    pub fn certify_by_live_votes(&mut self, last: &LastCommit) {
        self.follow_local_commits(last);
        self.certify(&[]);
    }

    /// Whether a vertex is wanted for a certified commit.
    pub fn is_wanted(&self, reference: &VertexRef) -> bool {
        self.wanted.contains(reference)
    }

    /// Takes a wanted vertex.
    pub fn store(&mut self, vertex: VerifiedVertex) {
        assert!(self.wanted.remove(&vertex.reference()), "an unwanted vertex was stored");
        self.vertices.insert(vertex.reference(), vertex);
    }

    /// The next certified commit with those of its vertices that wait here, if all are at hand: here, accepted or suspended.
    pub fn take_ready(
        &mut self,
        last: &LastCommit,
        dag: &Dag,
        suspended: &Synchronizer,
    ) -> Option<(Commit, Digest, Vec<VerifiedVertex>)> {
        let (commit, _) = self.queue.front()?;
        let is_at_hand = |reference: &VertexRef| {
            self.vertices.contains_key(reference) || dag.contains(reference) || suspended.get(reference).is_some()
        };
        if !needed(last, commit).all(is_at_hand) {
            return None;
        }
        let (commit, digest) = self.queue.pop_front().expect("the queue has a front");
        self.window = self.window.saturating_sub(1);
        let vertices = needed(last, &commit).filter_map(|reference| {
            self.wanted.remove(reference);
            let stored = self.vertices.remove(reference);
            stored.or_else(|| suspended.get(reference).cloned()).filter(|_| !dag.contains(reference))
        });
        let vertices = vertices.collect();
        Some((commit, digest, vertices))
    }

    /// Starts, ends, and asks for what is needed next: a range of commits, and the vertices of those certified.
    pub fn poll(
        &mut self,
        last: &LastCommit,
        dag: &Dag,
        suspended: &Synchronizer,
        fetcher: &mut Fetcher,
        connected: &BTreeSet<Author>,
        now_ms: u64,
    ) -> Option<(Author, Message)> {
        let voted = self.voted_commit();
        let is_stalled = now_ms >= self.committed_at_ms + self.stall_ms;
        if voted > last.index + START_LAG_COMMITS || (voted > last.index && is_stalled) {
            self.is_active = true;
        } else if self.own.is_some() && voted <= last.index && self.queue.is_empty() {
            self.stop();
        }
        if self.queue.is_empty() {
            self.queued_since_ms = None;
        } else {
            self.queued_since_ms.get_or_insert(now_ms);
        }
        if self.forgets_at_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            // Vertices that came stay at hand.
            (self.window, self.queued_since_ms) = (0, None);
            self.queue.clear();
            self.give_up_on_peer();
        }
        self.want_vertices(last, dag, suspended, fetcher, now_ms);
        let gives_up_at_ms = [self.pending_until_ms, self.doubted_at_ms()];
        if gives_up_at_ms.into_iter().flatten().any(|at_ms| now_ms >= at_ms) {
            self.give_up_on_peer();
        }
        if self.pending_until_ms.is_some() || !self.has_to_ask(last) || now_ms < self.ask_after_ms {
            return None;
        }
        // Whoever hands out a few commits at a time, as late as it may, would otherwise be asked for ever.
        let is_worth_asking =
            self.has_more && (!self.tentative.is_empty() || (self.own.is_none() && self.is_progressing));
        let peer = match self.asked.filter(|peer| connected.contains(peer) && is_worth_asking) {
            Some(peer) => peer,
            None => {
                self.tentative.clear();
                next_peer(connected, self.asked)?
            }
        };
        self.asked = Some(peer);
        self.pending_until_ms = Some(now_ms + ANSWER_TIMEOUT_MS);
        // Votes for the newest commits come after them: an observer asks for what is not certified once more, as long as that is little.
        let from_index = match self.own {
            None if self.tentative.len() < FETCH_COMMITS_MAX / 2 => self.certified(last) + 1,
            _ => self.tip(last).0 + 1,
        };
        Some((peer, Message::FetchCommits { from_index }))
    }

    /// When to poll again.
    pub fn next_poll_ms(&self, last: &LastCommit, connected: &BTreeSet<Author>) -> Option<u64> {
        if self.is_active {
            let can_ask = self.has_to_ask(last) && !connected.is_empty();
            let asking = self.pending_until_ms.or_else(|| can_ask.then_some(self.ask_after_ms));
            return [asking, self.doubted_at_ms(), self.forgets_at_ms()].into_iter().flatten().min();
        }
        (self.voted_commit() > last.index).then_some(self.committed_at_ms + self.stall_ms)
    }

    /// Checks an answer: a chain from where we are, certified as far as votes reach. A useless answer is followed by another peer's
    /// after a while, or ends catching up if that was only begun because of a stall.
    pub fn on_answer(
        &mut self,
        from: Author,
        commits: Vec<Commit>,
        votes: &[SignedHeader],
        oldest_index: u64,
        last: &LastCommit,
        now_ms: u64,
    ) {
        if self.pending_until_ms.is_none() || self.asked != Some(from) {
            return;
        }
        self.pending_until_ms = None;
        self.oldest_kept[usize::from(from)] = oldest_index;
        self.has_more = commits.len() == FETCH_COMMITS_MAX;
        let (tip_before, queued_before) = (self.tip(last).0, self.queue.len());
        let is_first = self.tentative.is_empty();
        if self.extend_tentative(commits, last) {
            self.certify(votes);
        }
        if is_first || self.queue.len() > queued_before {
            self.tentative_since_ms = now_ms;
        }
        self.is_progressing = self.queue.len() > queued_before || (self.has_more && self.tip(last).0 > tip_before);
        let is_useful = self.is_progressing || (self.own.is_some() && self.tip(last).0 > tip_before);
        let refs: usize = self.tentative.iter().map(|(commit, _)| commit.vertices.len()).sum();
        let is_too_much = self.tentative.len() > TENTATIVE_COMMITS_MAX || refs > TENTATIVE_REFS_MAX;
        if is_useful && !is_too_much {
            if !self.is_progressing {
                // The votes for these few are still to be made; the next peer may have them by then.
                self.ask_after_ms = now_ms + self.retry_ms;
            }
            return;
        }
        self.give_up_on_peer();
        if self.own.is_none() {
            self.ask_after_ms = now_ms + self.follow_poll_ms;
            return;
        }
        self.ask_after_ms = now_ms + self.retry_ms;
        let is_kept = oldest_index <= last.index + 1;
        if is_kept && self.queue.is_empty() && self.voted_commit() <= last.index + START_LAG_COMMITS {
            self.stop();
            self.committed_at_ms = now_ms;
        }
    }

    /// A connection is gone, and with it the answer.
    pub fn on_disconnected(&mut self, peer: Author) {
        if self.asked == Some(peer) && self.pending_until_ms.is_some() {
            self.give_up_on_peer();
        }
    }

    /// Those that no longer keep the next commit, if they are f + 1 and this was not told lately: one of them is honest.
    pub fn behind_retention(&mut self, last: &LastCommit, now_ms: u64) -> Option<Vec<Author>> {
        let is_due = self.told_behind_at_ms.is_none_or(|at_ms| now_ms >= at_ms + BEHIND_RETENTION_EVERY_MS);
        if !is_due || !self.is_active || !self.queue.is_empty() {
            return None;
        }
        if !self.is_behind_retention(last) {
            return None;
        }
        self.told_behind_at_ms = Some(now_ms);
        Some(self.peers_without_next(last).collect())
    }

    /// Whether f + 1 peers, of whom one is honest, do not keep the next commit any more, as far as they told.
    pub fn is_behind_retention(&self, last: &LastCommit) -> bool {
        self.peers_without_next(last).count() >= self.committee.validity_threshold()
    }

    fn peers_without_next(&self, last: &LastCommit) -> impl Iterator<Item = Author> + '_ {
        let next = last.index + 1;
        self.oldest_kept.iter().zip(0..).filter(move |(oldest, _)| **oldest > next).map(|(_, author)| author)
    }

    /// When certified commits that cannot be applied are forgotten.
    fn forgets_at_ms(&self) -> Option<u64> {
        self.queued_since_ms.map(|since_ms| since_ms.max(self.committed_at_ms) + QUEUE_PATIENCE_MS)
    }

    fn stop(&mut self) {
        self.is_active = false;
        self.pending_until_ms = None;
        self.tentative.clear();
    }

    fn give_up_on_peer(&mut self) {
        self.is_progressing = false;
        self.pending_until_ms = None;
        self.tentative.clear();
    }

    /// When tentative commits with nothing certified ahead of them are given up.
    fn doubted_at_ms(&self) -> Option<u64> {
        let is_waiting = self.queue.is_empty() && !self.tentative.is_empty();
        is_waiting.then_some(self.tentative_since_ms + TENTATIVE_PATIENCE_MS)
    }

    /// Index and digest of the last commit that is known to chain.
    fn tip(&self, last: &LastCommit) -> (u64, Digest) {
        let known = self.tentative.last().or(self.queue.back());
        known.map_or((last.index, last.digest), |(commit, digest)| (commit.index, *digest))
    }

    /// The last commit that is known to be certified.
    fn certified(&self, last: &LastCommit) -> u64 {
        self.queue.back().map_or(last.index, |(commit, _)| commit.index)
    }

    /// Whether there is more to ask for and room for it. An observer cannot know before it has asked.
    fn has_to_ask(&self, last: &LastCommit) -> bool {
        let may_be_more = self.own.is_none() || self.tip(last).0 < self.voted_commit();
        self.is_active && self.queue.len() < QUEUE_COMMITS_MAX && may_be_more
    }

    /// Forgets tentative commits that were decided locally in the meantime, and the others if they do not follow from those.
    fn follow_local_commits(&mut self, last: &LastCommit) {
        if !self.queue.is_empty() {
            return;
        }
        let decided = self.tentative.iter().take_while(|(commit, _)| commit.index <= last.index).count();
        self.tentative.drain(..decided);
        if self.tentative.first().is_some_and(|(commit, _)| commit.previous != last.digest) {
            self.tentative.clear();
        }
    }

    /// Takes the commits that continue the chain. Returns whether all did.
    fn extend_tentative(&mut self, commits: Vec<Commit>, last: &LastCommit) -> bool {
        self.follow_local_commits(last);
        for commit in commits {
            let (index, digest) = self.tip(last);
            if commit.index <= index {
                continue;
            }
            let chains =
                commit.index == index + 1 && commit.previous == digest && commit.epoch == self.committee.epoch();
            if !chains {
                self.tentative.clear();
                return false;
            }
            let digest = commit.digest(self.committee.chain());
            self.tentative.push((commit, digest));
        }
        true
    }

    /// Moves the tentative commits that f + 1 authors vouch for to the queue.
    fn certify(&mut self, votes: &[SignedHeader]) {
        let Some((first, _)) = self.tentative.first() else { return };
        let first_index = first.index;
        let position = |(index, digest): (u64, Digest)| {
            let position = usize::try_from(index.checked_sub(first_index)?).ok()?;
            (self.tentative.get(position)?.1 == digest).then_some(position)
        };
        // Votes of valid vertices need no further check; those of the answer are checked from the highest down, as many as needed.
        let live = self.votes.iter().zip(0..).filter_map(|(vote, author)| Some((position(*vote)?, author, None)));
        let shown = votes
            .iter()
            .filter_map(|signed| Some((position(signed.header.commit_vote?)?, signed.header.author, Some(signed))));
        let mut candidates: Vec<(usize, Author, Option<&SignedHeader>)> = live.chain(shown).collect();
        candidates.sort_by_key(|(position, author, signed)| (std::cmp::Reverse(*position), *author, signed.is_some()));
        let mut voters = BTreeSet::new();
        let mut certified = 0;
        for (position, author, signed) in candidates {
            if voters.contains(&author) || signed.is_some_and(|signed| self.committee.verify_header(signed).is_err()) {
                continue;
            }
            voters.insert(author);
            if voters.len() == self.committee.validity_threshold() {
                certified = position + 1;
                break;
            }
        }
        self.queue.extend(self.tentative.drain(..certified));
    }

    /// Asks for the vertices of the first commit that are not at hand, and of those after it within the window.
    fn want_vertices(
        &mut self,
        last: &LastCommit,
        dag: &Dag,
        suspended: &Synchronizer,
        fetcher: &mut Fetcher,
        now_ms: u64,
    ) {
        let Some(source) = self.asked else { return };
        for position in 0..self.queue.len() {
            let (commit, _) = &self.queue[position];
            let is_new = position >= self.window;
            let held = self.vertices.len() + self.wanted.len();
            if position > 0 && is_new && held + commit.vertices.len() > WINDOW_VERTICES_MAX {
                return;
            }
            // Those of the first commit are looked at each time: a suspended vertex may have been dropped since.
            if position > 0 && !is_new {
                continue;
            }
            let leader_before = last.leader.iter().filter(|_| position == 0);
            for reference in leader_before.chain(&commit.vertices) {
                let is_at_hand = self.vertices.contains_key(reference)
                    || dag.contains(reference)
                    || suspended.get(reference).is_some();
                let is_asked_for = self.wanted.contains(reference) && fetcher.is_wanted(reference);
                if !is_at_hand && !is_asked_for {
                    self.wanted.insert(*reference);
                    fetcher.want(*reference, source, Round::MAX, now_ms);
                }
            }
            self.window = self.window.max(position + 1);
        }
    }
}

/// The vertices without which the commit after `last` cannot be applied: its own, and the leader before it, whose timestamp it may take
/// and which after a start from a snapshot is not here.
fn needed<'a>(last: &'a LastCommit, commit: &'a Commit) -> impl Iterator<Item = &'a VertexRef> {
    last.leader.iter().chain(&commit.vertices)
}

/// The peer after the one asked last, in turn.
fn next_peer(connected: &BTreeSet<Author>, asked: Option<Author>) -> Option<Author> {
    let after = asked.and_then(|asked| connected.range(asked + 1..).next());
    after.or_else(|| connected.first()).copied()
}
