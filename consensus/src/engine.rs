//! The engine: dispatches inputs to the state machines it is composed of, and puts their outputs in order.

mod acceptance;

pub use crate::interface::{Input, Now, Output, RECOVERY_COMMITS, Recovered, Rule, Settings, Signing, Status};

use crate::amnesia::Amnesia;
use crate::attestations::Attestations;
use crate::catch_up::CatchUp;
use crate::commit::{Commit, CommittedVertices};
use crate::committee::Committee;
use crate::committer::{Committer, Decision};
use crate::dag::Dag;
use crate::fetcher::Fetcher;
use crate::flow::Flow;
use crate::linearizer::Linearizer;
use crate::pacemaker::{Conditions, Pacemaker, Proposing};
use crate::proposer::{Content, Proposer};
use crate::recovery;
use crate::subscriptions::{AHEAD_ROUNDS_MAX, Subscriptions};
use crate::synchronizer::Synchronizer;
use crate::vertex::{Author, PAYLOAD_BYTES_MAX, Round, SignedHeader, VerifiedVertex, VertexRef};
use bytes::Bytes;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The consensus engine of one node: a validator, or an observer that follows and commits but never proposes.
pub struct Engine {
    committee: Arc<Committee>,
    settings: Settings,
    proposer: Option<Proposer>,
    dag: Dag,
    pacemaker: Pacemaker,
    committer: Committer,
    linearizer: Linearizer,
    synchronizer: Synchronizer,
    fetcher: Fetcher,
    catch_up: CatchUp,
    subscriptions: Subscriptions,
    /// What a validator may not know of itself.
    amnesia: Option<Amnesia>,
    flow: Flow,
    attestations: Attestations,
    /// Lacks no parent: to be accepted before the step ends. Empty between steps.
    ready: BTreeMap<VertexRef, VerifiedVertex>,
    /// Accepted since the last `Persist`.
    unstored: Vec<VerifiedVertex>,
    /// Whether anything was accepted since slots were last evaluated.
    is_dag_changed: bool,
    has_payload_waiting: bool,
    /// Whether there was nothing to do at any time since the last proposal.
    was_idle: bool,
    /// The round to propose once the payload asked for is here.
    awaiting_payload: Option<Round>,
    timer_at_ms: Option<u64>,
    now_ms: u64,
}

impl Engine {
    /// Starts an engine on what `recovered` holds. `own` is the author number and key of a validator; `None` makes an observer.
    ///
    /// Emits `Accepted` for the recovered vertices, commits that are decided but not stored, the last own vertex again, and what
    /// any step emits.
    ///
    /// A validator whose signing state is lost, or contradicts the own vertices recovered, waits until it has learned from others
    /// what it may have signed (§10).
    ///
    /// # Panics
    /// If the recovered commits are no chain, or too few; if the signing state or the key is not the author's; if the least round delay
    /// is zero.
    pub fn start(
        committee: Arc<Committee>,
        own: Option<(Author, SecretKey)>,
        settings: Settings,
        recovered: Recovered,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Engine {
        let delays_ms = settings.round_delay_min_ms..=settings.round_delay_max_ms;
        assert!(*delays_ms.start() > 0 && !delays_ms.is_empty(), "the delay between own vertices is {delays_ms:?} ms");
        let now_ms = now.monotonic_ms;
        let author = own.as_ref().map(|(author, _)| *author);
        recovery::check(&committee, &recovered);
        let past = author.map(|author| recovery::past(&committee, author, &recovered));
        let Recovered { signing: _, commits, mut vertices, equivocators } = recovered;
        let newest = commits.last();
        let linearizer = Linearizer::new(committee.clone(), newest);
        let last = *linearizer.last();
        let mut dag = Dag::new(committee.clone(), last.leader_round);
        let flagged = match settings.rule_taken_out {
            Some(Rule::FlagsOfEarlierCommits) => commits.len().saturating_sub(1)..,
            _ => 0..,
        };
        for reference in commits[flagged].iter().flat_map(|commit| &commit.vertices) {
            dag.flag_committed(*reference);
        }
        for author in equivocators {
            dag.mark_equivocator(author);
        }
        let last_proposed = past.map_or(0, |past| past.round);
        let mut engine = Engine {
            proposer: None,
            pacemaker: Pacemaker::new(committee.clone(), settings.clone(), author, last_proposed, now_ms),
            committer: Committer::new(committee.clone(), last.leader_round + 1),
            linearizer,
            synchronizer: Synchronizer::new(committee.size()),
            fetcher: Fetcher::new(settings.fetch_retry_ms),
            catch_up: CatchUp::new(committee.clone(), author, &settings, now_ms),
            subscriptions: Subscriptions::new(&committee, author.is_none()),
            amnesia: None,
            flow: Flow::new(delays_ms, last.index),
            attestations: Attestations::new(&committee),
            dag,
            committee,
            settings,
            ready: BTreeMap::new(),
            unstored: Vec::new(),
            is_dag_changed: false,
            has_payload_waiting: false,
            was_idle: false,
            awaiting_payload: None,
            timer_at_ms: None,
            now_ms,
        };
        vertices.sort_by_key(VerifiedVertex::reference);
        vertices.dedup_by_key(|vertex| vertex.reference());
        let last_signed = past.and_then(|past| past.last);
        let last_own = vertices.iter().find(|vertex| Some(vertex.reference()) == last_signed).cloned();
        for vertex in vertices {
            engine.reload(vertex, outputs);
        }
        // Everything reloaded is stored already.
        engine.unstored.clear();
        if let (Some((author, key)), Some(past)) = (own, past) {
            engine.amnesia = Some(Amnesia::new(&engine.committee, author, &past, &engine.settings, now_ms));
            engine.proposer = Some(Proposer::new(engine.committee.clone(), author, key, past.last, &engine.dag));
        }
        outputs.extend(last_own.map(Output::Broadcast));
        engine.settle(now, outputs);
        engine
    }

    /// Handles one input.
    ///
    /// # Panics
    /// On a broken contract: time that falls, a payload not asked for, a larger one than a vertex may carry. On a second own vertex
    /// for a slot, and on two certified leaders at one slot: then more than f validators are Byzantine.
    pub fn step(&mut self, now: Now, input: Input, outputs: &mut Vec<Output>) {
        assert!(now.monotonic_ms >= self.now_ms, "the monotonic clock fell");
        self.now_ms = now.monotonic_ms;
        let is_payload = matches!(input, Input::Payload(_));
        assert!(is_payload == self.awaiting_payload.is_some(), "a payload is the very next input after its request");
        match input {
            Input::Timer => {}
            Input::Connected(peer) => self.on_connected(peer),
            Input::Disconnected(peer) => self.on_disconnected(peer),
            Input::Pushed { from, vertex } => {
                if vertex.author() == from {
                    self.receive(vertex, from, true, outputs);
                }
            }
            Input::Fetched { from, vertices } => self.on_fetched(from, vertices, outputs),
            Input::FetchedCommits { from, commits, votes, oldest_index } => {
                self.catch_up.on_answer(from, commits, &votes, oldest_index, self.linearizer.last(), self.now_ms);
            }
            Input::Latest { from, own, yours } => self.on_latest(from, own, yours),
            Input::PayloadWaiting(is_waiting) => self.has_payload_waiting = is_waiting,
            Input::Payload(payload) => self.on_payload(now, payload, outputs),
            Input::Executed { index, block, attestation } => {
                self.flow.on_executed(index);
                if let Some((height, hash)) = block {
                    self.attestations.on_executed(height, hash, attestation.filter(|_| self.proposer.is_some()));
                }
            }
        }
        self.settle(now, outputs);
    }

    /// A picture of the engine.
    pub fn status(&self) -> Status {
        let last = self.linearizer.last();
        Status {
            round: self.pacemaker.round(),
            last_proposed: self.pacemaker.last_proposed(),
            highest_accepted: self.committee.authors().map(|author| self.dag.highest_of(author)).collect(),
            last_commit: last.index,
            last_commit_digest: last.digest,
            last_leader_round: last.leader_round,
            gc_round: self.dag.gc_round(),
            executed: self.flow.executed(),
            voted_commit: self.catch_up.voted_commit(),
            accepted: self.dag.len(),
            suspended: self.synchronizer.len(),
            suspended_bytes: self.synchronizer.bytes(),
            fetching: self.fetcher.len(),
            catching_up: self.catch_up.is_active(),
            behind_retention: self.catch_up.is_behind_retention(last),
            amnesia: self.amnesia.as_ref().is_some_and(Amnesia::is_lost),
            idle: self.is_idle(),
            payload_bytes_max: if self.is_flow_stopped() { 0 } else { self.flow.budget_bytes() },
            equivocators: self.dag.equivocators().collect(),
        }
    }

    /// Signed headers of accepted vertices of others above the last committed leader: votes for the newest commits, for
    /// [`crate::archive::Archive::recent_votes`]. Own ones may not be durable yet, and leave by `Broadcast` only.
    pub fn recent_votes(&self) -> Vec<SignedHeader> {
        let from_round = self.linearizer.last().leader_round + 1;
        let vertices = self.dag.vertices_from(from_round).filter(|vertex| Some(vertex.author()) != self.own_author());
        vertices.map(|vertex| vertex.signed_header().clone()).collect()
    }

    /// The highest accepted vertex of another author, for answers to [`crate::message::Message::FetchLatest`]. After a restart one that
    /// was collected before is not known any more.
    ///
    /// # Panics
    /// If there is no such author.
    pub fn latest_of(&self, author: Author) -> Option<&SignedHeader> {
        self.dag.latest_of(author)
    }

    fn on_connected(&mut self, peer: Author) {
        let is_member = self.committee.key(peer).is_some() && Some(peer) != self.own_author();
        assert!(is_member, "connected to {peer}, which is not another member of the committee");
        self.subscriptions.on_connected(peer);
        if let Some(amnesia) = &mut self.amnesia {
            amnesia.on_connected(peer);
        }
    }

    fn on_disconnected(&mut self, peer: Author) {
        self.subscriptions.on_disconnected(peer);
        self.fetcher.on_disconnected(peer);
        self.catch_up.on_disconnected(peer);
    }

    fn on_fetched(&mut self, from: Author, vertices: Vec<VerifiedVertex>, outputs: &mut Vec<Output>) {
        let answered = vertices.iter().filter(|vertex| self.fetcher.is_wanted(&vertex.reference())).count();
        self.fetcher.on_answer(from, answered, self.now_ms);
        for vertex in vertices {
            self.receive(vertex, from, false, outputs);
        }
    }

    /// Brings everything to rest after an input: commits, proposals, requests to peers, the timer.
    fn settle(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.catch_up.certify_by_live_votes(self.linearizer.last());
        self.commit(outputs);
        if let Some(round) = self.amnesia.as_mut().and_then(|amnesia| amnesia.settle(&self.dag, self.now_ms)) {
            self.pacemaker.resume_after(round);
        }
        self.pacemaker.advance(&self.dag, self.now_ms);
        let payload_request = self.propose(now, outputs);
        self.send_requests(outputs);
        self.set_timer(outputs);
        if let Some(bytes_max) = payload_request {
            outputs.push(Output::RequestPayload { bytes_max });
        }
    }

    /// Makes all commits that can be made, and stores them together.
    fn commit(&mut self, outputs: &mut Vec<Output>) {
        let mut made: Vec<CommittedVertices> = Vec::new();
        self.accept_ready(outputs);
        while let Some(committed) = self.next_commit(outputs) {
            self.catch_up.on_commit(self.now_ms);
            self.pacemaker.on_commit();
            self.collect(committed.commit.leader.round, outputs);
            made.push(committed);
            self.accept_ready(outputs);
        }
        if !made.is_empty() {
            outputs.push(Output::Persist {
                vertices: std::mem::take(&mut self.unstored),
                commits: made.iter().map(|committed| committed.commit.clone()).collect(),
                last_signed: None,
            });
            outputs.extend(made.into_iter().map(Output::Commit));
        }
    }

    /// The next commit: a certified one while any waits, else one decided here.
    fn next_commit(&mut self, outputs: &mut Vec<Output>) -> Option<CommittedVertices> {
        if self.catch_up.has_certified() {
            if self.flow.is_execution_behind(self.linearizer.last().index) {
                return None;
            }
            let last = self.linearizer.last();
            let (commit, digest, vertices) = self.catch_up.take_ready(last, &self.dag, &self.synchronizer)?;
            return Some(self.apply_certified(&commit, digest, vertices, outputs));
        }
        if std::mem::take(&mut self.is_dag_changed) {
            self.committer.evaluate(&self.dag);
        }
        loop {
            match self.committer.take_next()? {
                (_, Decision::Skip) => {}
                (_, Decision::Commit(leader)) => return Some(self.linearizer.sequence(&mut self.dag, leader)),
            }
        }
    }

    /// Applies a certified commit without the decision rule (§11). Sequencing its leader must give the very same commit.
    fn apply_certified(
        &mut self,
        commit: &Commit,
        digest: Digest,
        vertices: Vec<VerifiedVertex>,
        outputs: &mut Vec<Output>,
    ) -> CommittedVertices {
        for vertex in vertices {
            self.meet_own(&vertex.reference());
            self.accept(vertex, outputs);
        }
        let committed = self.linearizer.sequence(&mut self.dag, commit.leader);
        assert!(
            committed.digest == digest,
            "HALT: commit {} is certified as {digest} by f + 1 validators, but its leader brings in something else here: {:?} \
             instead of {commit:?}. More than f = {} validators are Byzantine, or they run other software.",
            commit.index,
            committed.commit,
            self.committee.faulty_max()
        );
        self.committer.continue_after(commit.leader.round);
        self.is_dag_changed = true;
        committed
    }

    /// Garbage collection (§8), and another look at what waited for collected parents.
    fn collect(&mut self, leader_round: Round, outputs: &mut Vec<Output>) {
        let gc_round = self.committee.gc_round(leader_round);
        if gc_round <= self.dag.gc_round() {
            return;
        }
        let own = self.own_author();
        let mut uncommitted = self.dag.collect(gc_round);
        uncommitted.retain(|vertex| Some(vertex.author()) == own);
        if !uncommitted.is_empty() {
            outputs.push(Output::Uncommitted(uncommitted));
        }
        let complete = self.synchronizer.on_collected(gc_round, &mut self.fetcher);
        self.fetcher.cancel_collected(gc_round);
        self.ready.extend(complete.into_iter().map(|vertex| (vertex.reference(), vertex)));
    }

    /// Proposes all that is due. Returns the budget if payload has to be asked for first.
    fn propose(&mut self, now: Now, outputs: &mut Vec<Output>) -> Option<usize> {
        while let Proposing::Now { round, is_paced } = self.next_proposal() {
            if let Some(period_ms) =
                self.pacemaker.since_proposal_ms(self.now_ms).filter(|_| is_paced && !self.was_idle)
            {
                self.flow.on_period(period_ms);
            }
            if self.has_payload_waiting && !self.is_flow_stopped() {
                self.awaiting_payload = Some(round);
                return Some(self.flow.budget_bytes());
            }
            self.make_vertex(now, round, Bytes::new(), outputs);
        }
        self.was_idle |= self.is_idle();
        None
    }

    fn on_payload(&mut self, now: Now, payload: Bytes, outputs: &mut Vec<Output>) {
        let round = self.awaiting_payload.take().expect("checked before");
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload of {} bytes", payload.len());
        self.make_vertex(now, round, payload, outputs);
    }

    /// Signs, stores and sends an own vertex, in this order.
    fn make_vertex(&mut self, now: Now, round: Round, payload: Bytes, outputs: &mut Vec<Output>) {
        let last = self.linearizer.last();
        let content = Content {
            payload,
            commit_vote: (last.index > 0).then_some((last.index, last.digest)),
            attestations: self.attestations.take(),
            timestamp_ms: now.wall_ms,
        };
        let proposer = self.proposer.as_mut().expect("only validators propose");
        let vertex = proposer.sign(&self.dag, round, content);
        self.accept(vertex.clone(), outputs);
        outputs.push(Output::Persist {
            vertices: std::mem::take(&mut self.unstored),
            commits: Vec::new(),
            last_signed: Some(vertex.reference()),
        });
        outputs.push(Output::Broadcast(vertex));
        self.pacemaker.on_proposed(round, self.now_ms);
        self.flow.on_proposed(self.linearizer.last().index);
        self.amnesia.as_mut().expect("as above").on_signed(round);
        self.was_idle = false;
        self.commit(outputs);
        self.pacemaker.advance(&self.dag, self.now_ms);
    }

    fn next_proposal(&self) -> Proposing {
        let last = self.linearizer.last();
        let is_waiting = self.catch_up.is_far_behind(last) || self.amnesia.as_ref().is_some_and(Amnesia::is_waiting);
        let Some(proposer) = self.proposer.as_ref().filter(|_| !is_waiting) else {
            return Proposing::Blocked;
        };
        let conditions = Conditions {
            last_leader_round: last.leader_round,
            round_delay_ms: self.flow.round_delay_ms(self.is_flow_stopped()),
            idle: self.is_idle(),
            catching_up: self.catch_up.is_active(),
        };
        match self.pacemaker.next_proposal(&self.dag, &conditions, self.now_ms) {
            // After a start from a snapshot the clock stands still until vertices above the gc round come.
            Proposing::Now { round, .. } if round <= self.dag.gc_round() || !proposer.can_build(&self.dag, round) => {
                Proposing::Blocked
            }
            proposing => proposing,
        }
    }

    fn send_requests(&mut self, outputs: &mut Vec<Output>) {
        self.fetch_latest();
        let last = self.linearizer.last();
        let connected = self.subscriptions.connected();
        let commits =
            self.catch_up.poll(last, &self.dag, &self.synchronizer, &mut self.fetcher, connected, self.now_ms);
        let mut requests = self.fetcher.poll(connected, self.now_ms);
        requests.extend(commits);
        let behind = self.catch_up.behind_retention(last, self.now_ms);
        outputs.extend(behind.map(|peers| Output::BehindRetention { peers }));
        let is_far_behind = self.catch_up.is_far_behind(last);
        if let Some(amnesia) = &mut self.amnesia {
            requests.extend(amnesia.poll(connected, self.now_ms));
        }
        requests.extend(self.subscriptions.poll(&self.dag, is_far_behind, self.now_ms));
        outputs.extend(requests.into_iter().map(|(to, message)| Output::Send { to, message }));
    }

    /// Fetches what amnesia waits for, unless it is so far ahead that only catching up leads there.
    fn fetch_latest(&mut self) {
        let Some(amnesia) = self.amnesia.as_ref().filter(|amnesia| amnesia.is_lost()) else { return };
        if self.catch_up.is_active() {
            return;
        }
        let round_max = self.dag.highest_round() + AHEAD_ROUNDS_MAX;
        for (peer, latest) in amnesia.unsettled() {
            if latest.round <= round_max && self.synchronizer.get(&latest).is_none() {
                let above_round = self.dag.ancestry_floor(&latest);
                self.fetcher.want(latest, peer, above_round, self.now_ms);
            }
        }
    }

    /// Asks for the earliest moment at which anything is due, if it was not asked for already.
    fn set_timer(&mut self, outputs: &mut Vec<Output>) {
        let last = self.linearizer.last();
        let connected = self.subscriptions.connected();
        let proposing = match self.next_proposal() {
            Proposing::At(at_ms) => Some(at_ms),
            Proposing::Now { .. } | Proposing::Blocked => None,
        };
        let due = [
            proposing,
            self.amnesia.as_ref().and_then(|amnesia| amnesia.next_poll_ms(connected)),
            self.fetcher.next_poll_ms(connected),
            self.catch_up.next_poll_ms(last, connected),
            self.subscriptions.next_poll_ms(&self.dag, self.catch_up.is_far_behind(last)),
        ];
        self.timer_at_ms = self.timer_at_ms.filter(|at_ms| *at_ms > self.now_ms);
        if let Some(at_ms) = due.into_iter().flatten().min().map(|at_ms| at_ms.max(self.now_ms + 1))
            && self.timer_at_ms != Some(at_ms)
        {
            self.timer_at_ms = Some(at_ms);
            outputs.push(Output::SetTimer { at_ms });
        }
    }

    /// Nothing to propose for (§12).
    fn is_idle(&self) -> bool {
        !self.has_payload_waiting && self.attestations.is_settled() && !self.dag.has_uncommitted_payload()
    }

    fn is_flow_stopped(&self) -> bool {
        let last = self.linearizer.last();
        self.flow.is_stopped(last.index, self.pacemaker.round(), last.leader_round)
    }

    fn own_author(&self) -> Option<Author> {
        self.proposer.as_ref().map(Proposer::author)
    }
}
