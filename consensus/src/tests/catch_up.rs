//! Checking certified commits (§11): chains, votes, and peers that lie. Author 3 catches up in a committee of four, so two votes certify.

use super::{committee, secret_key};
use crate::catch_up::CatchUp;
use crate::commit::Commit;
use crate::committee::Committee;
use crate::dag::Dag;
use crate::fetcher::Fetcher;
use crate::interface::Settings;
use crate::linearizer::{LastCommit, Linearizer};
use crate::message::Message;
use crate::synchronizer::Synchronizer;
use crate::vertex::{Author, SignedHeader, VerifiedVertex, VertexHeader, VertexRef};
use bytes::Bytes;
use farthing_core::hash::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;

struct Parts {
    committee: Arc<Committee>,
    catch_up: CatchUp,
    dag: Dag,
    synchronizer: Synchronizer,
    fetcher: Fetcher,
    last: LastCommit,
    connected: BTreeSet<Author>,
}

impl Parts {
    fn new() -> Parts {
        let committee = Arc::new(committee(4));
        Parts {
            catch_up: CatchUp::new(committee.clone(), Some(3), &Settings::default(), 0),
            dag: Dag::new(committee.clone(), 0),
            synchronizer: Synchronizer::new(4),
            fetcher: Fetcher::new(300),
            last: *Linearizer::new(committee.clone(), None).last(),
            connected: BTreeSet::from([0, 1, 2]),
            committee,
        }
    }

    /// The peer asked now for commits from where on.
    fn poll(&mut self, now_ms: u64) -> Option<(Author, u64)> {
        let (dag, fetcher) = (&self.dag, &mut self.fetcher);
        let request = self.catch_up.poll(&self.last, dag, &self.synchronizer, fetcher, &self.connected, now_ms)?;
        match request {
            (peer, Message::FetchCommits { from_index }) => Some((peer, from_index)),
            other => panic!("{other:?} asks for no commits"),
        }
    }

    fn answer(&mut self, from: Author, commits: &[Commit], votes: &[SignedHeader], now_ms: u64) {
        self.catch_up.on_answer(from, commits.to_vec(), votes, 1, &self.last, now_ms);
    }

    /// A chain of commits of one vertex each.
    fn chain(&self, length: u64, salt: &str) -> Vec<Commit> {
        let mut commits: Vec<Commit> = Vec::new();
        for index in 1..=length {
            let previous = commits.last().map_or(self.last.digest, |last| last.digest(self.committee.chain()));
            let digest = Digest::of(salt, &[&index.to_le_bytes()]);
            let leader = VertexRef { round: index, author: self.committee.leader(index), digest };
            commits.push(Commit { epoch: 0, index, previous, leader, vertices: vec![leader], timestamp_ms: index });
        }
        commits
    }

    fn vertex_voting_for(&self, commit: &Commit, author: Author) -> VerifiedVertex {
        let header = VertexHeader {
            epoch: 0,
            round: 1_000,
            author,
            timestamp_ms: 0,
            parents: vec![self.committee.genesis_ref(author)],
            payload_digest: Digest::of_bytes(&[]),
            commit_vote: Some((commit.index, commit.digest(self.committee.chain()))),
            attestations: Vec::new(),
        };
        VerifiedVertex::sign(header, Bytes::new(), self.committee.chain(), &secret_key(author))
    }

    fn votes(&self, commit: &Commit, authors: &[Author]) -> Vec<SignedHeader> {
        authors.iter().map(|author| self.vertex_voting_for(commit, *author).signed_header().clone()).collect()
    }

    /// Live votes far ahead, which start catching up.
    fn fall_behind(&mut self, commit: &Commit) {
        for author in [0, 1] {
            let vertex = self.vertex_voting_for(commit, author);
            self.catch_up.record_vote(author, vertex.header().commit_vote);
        }
    }

    /// How many vertices of certified commits are wanted.
    fn wanted(&mut self, now_ms: u64) -> usize {
        self.poll(now_ms);
        self.fetcher.len()
    }
}

#[test]
fn it_starts_when_f_plus_1_are_more_than_100_ahead_or_commits_stall() {
    let mut parts = Parts::new();
    let chain = parts.chain(102, "a");
    parts.catch_up.record_vote(0, parts.vertex_voting_for(&chain[101], 0).header().commit_vote);
    assert_eq!(parts.poll(10_000), None, "one may lie");
    parts.catch_up.record_vote(1, parts.vertex_voting_for(&chain[99], 1).header().commit_vote);
    assert_eq!((parts.catch_up.voted_commit(), parts.poll(1_999)), (100, None));
    assert_eq!(parts.poll(2_000), Some((0, 1)), "no commit for two seconds");
    let mut parts = Parts::new();
    parts.fall_behind(&chain[100]);
    assert_eq!(parts.poll(0), Some((0, 1)));
    assert!(parts.catch_up.is_active());
}

#[test]
fn commits_are_certified_up_to_the_lower_of_two_votes() {
    let mut parts = Parts::new();
    let chain = parts.chain(150, "a");
    parts.fall_behind(&chain[149]);
    assert_eq!(parts.poll(0), Some((0, 1)));
    let votes = [parts.votes(&chain[62], &[2]), parts.votes(&chain[40], &[1])].concat();
    parts.answer(0, &chain[..64], &votes, 10);
    assert_eq!(parts.wanted(10), 41);
    assert!(parts.catch_up.has_certified());
}

#[test]
fn one_authors_votes_forged_votes_and_votes_for_other_commits_certify_nothing() {
    let mut parts = Parts::new();
    let (chain, other) = (parts.chain(150, "a"), parts.chain(150, "b"));
    parts.fall_behind(&chain[149]);
    parts.poll(0);
    let mut forged = parts.votes(&chain[60], &[1]);
    forged[0].signature.0[5] ^= 1;
    let twice = [parts.votes(&chain[60], &[2]), parts.votes(&chain[61], &[2])].concat();
    let elsewhere = [parts.votes(&other[60], &[0]), parts.votes(&chain[149], &[1])].concat();
    parts.answer(0, &chain[..64], &[forged, twice, elsewhere].concat(), 10);
    assert!(!parts.catch_up.has_certified());
}

#[test]
fn whoever_hands_out_little_is_not_asked_again_before_the_others() {
    let mut parts = Parts::new();
    let chain = parts.chain(150, "a");
    parts.fall_behind(&chain[149]);
    assert_eq!(parts.poll(0), Some((0, 1)));
    // As late as it may answer, two commits and votes for the first.
    let votes = parts.votes(&chain[0], &[0, 1]);
    parts.answer(0, &chain[..2], &votes, 990);
    assert_eq!(parts.poll(990), Some((1, 2)), "and what was not certified is shown again");
    // One commit that nobody voted for yet: the next one is asked, but not at once.
    parts.answer(1, &chain[1..2], &[], 1_000);
    assert_eq!(parts.poll(1_000), None);
    assert_eq!(parts.poll(1_300), Some((2, 2)));
}

#[test]
fn one_commit_more_does_not_end_being_behind_what_peers_keep() {
    let mut parts = Parts::new();
    let chain = parts.chain(150, "a");
    parts.fall_behind(&chain[149]);
    for now_ms in [0, 1_000] {
        let (peer, _) = parts.poll(now_ms).expect("it asks");
        assert!(!parts.catch_up.is_behind_retention(&parts.last), "one may lie");
        parts.catch_up.on_answer(peer, Vec::new(), &[], 50, &parts.last, now_ms);
    }
    assert!(parts.catch_up.is_behind_retention(&parts.last));
    parts.last.index = 48;
    assert!(parts.catch_up.is_behind_retention(&parts.last));
    parts.last.index = 49;
    assert!(!parts.catch_up.is_behind_retention(&parts.last), "the next is one that they keep");
}

#[test]
fn votes_that_come_with_a_later_range_certify_earlier_ones() {
    // All 150 commits were decided in one go: nobody voted for any but the last.
    let mut parts = Parts::new();
    let chain = parts.chain(150, "a");
    parts.fall_behind(&chain[149]);
    assert_eq!(parts.poll(0), Some((0, 1)));
    parts.answer(0, &chain[..64], &[], 10);
    assert_eq!(parts.poll(10), Some((0, 65)), "the same peer goes on");
    parts.answer(0, &chain[64..128], &[], 20);
    assert!(!parts.catch_up.has_certified());
    assert_eq!(parts.poll(20), Some((0, 129)));
    parts.answer(0, &chain[128..], &parts.votes(&chain[149], &[1, 2]), 30);
    assert_eq!(parts.wanted(30), 150);
}

#[test]
fn live_votes_certify_what_was_shown_before() {
    let mut parts = Parts::new();
    let chain = parts.chain(110, "a");
    parts.fall_behind(&chain[100]);
    for range in [0..64, 64..110] {
        let (peer, _) = parts.poll(0).expect("more to ask for");
        parts.answer(peer, &chain[range], &[], 0);
    }
    assert_eq!(parts.wanted(0), 101, "as far as the votes that started it reach");
    parts.fall_behind(&chain[109]);
    parts.catch_up.certify_by_live_votes(&parts.last);
    assert_eq!(parts.wanted(0), 110);
}

#[test]
fn a_broken_chain_is_refused_and_another_peer_asked() {
    let mut parts = Parts::new();
    let chain = parts.chain(150, "a");
    parts.fall_behind(&chain[149]);
    parts.poll(0);
    let mut gap = chain[..64].to_vec();
    gap.remove(30);
    let votes = parts.votes(&chain[63], &[0, 1]);
    parts.answer(0, &gap, &votes, 10);
    assert!(!parts.catch_up.has_certified());
    assert_eq!(parts.poll(309), None);
    assert_eq!(parts.poll(310), Some((1, 1)));
    parts.answer(1, &chain[10..64], &votes, 400);
    assert!(!parts.catch_up.has_certified(), "not from where we are");
    assert_eq!(parts.poll(700), Some((2, 1)));
    let mut other_epoch = chain.clone();
    other_epoch[0].epoch = 1;
    parts.answer(2, &other_epoch[..1], &parts.votes(&other_epoch[0], &[0, 1]), 710);
    assert!(!parts.catch_up.has_certified());
}

#[test]
fn silent_empty_and_uninvited_answers_do_no_harm() {
    let mut parts = Parts::new();
    let chain = parts.chain(150, "a");
    parts.fall_behind(&chain[149]);
    let votes = parts.votes(&chain[63], &[0, 1]);
    assert_eq!(parts.poll(0), Some((0, 1)));
    parts.answer(2, &chain[..64], &votes, 10);
    assert!(!parts.catch_up.has_certified(), "it was not asked");
    assert_eq!(parts.poll(1_000), Some((1, 1)), "validator 0 took too long");
    parts.answer(1, &[], &[], 1_010);
    assert_eq!(parts.poll(1_310), Some((2, 1)));
    parts.answer(2, &chain[..64], &votes, 1_320);
    assert!(parts.catch_up.has_certified());
}

#[test]
fn an_endless_chain_without_votes_is_given_up() {
    let mut parts = Parts::new();
    let (fake, real) = (parts.chain(1_200, "fake"), parts.chain(1_200, "real"));
    parts.fall_behind(&real[1_199]);
    let mut asked = 0;
    while let Some((0, from_index)) = parts.poll(0) {
        let from = from_index as usize - 1;
        parts.answer(0, &fake[from..from + 64], &[], 0);
        asked += 1;
    }
    assert!((10..=20).contains(&asked), "asked {asked} times");
    assert_eq!(parts.poll(300), Some((1, 1)));
}

#[test]
fn a_chain_without_votes_that_leaves_nothing_to_ask_for_is_given_up() {
    let mut parts = Parts::new();
    let (fake, real) = (parts.chain(110, "fake"), parts.chain(110, "real"));
    parts.fall_behind(&real[109]);
    for (from_index, range) in [(1, 0..64), (65, 64..110)] {
        assert_eq!(parts.poll(0), Some((0, from_index)));
        parts.answer(0, &fake[range], &[], 0);
    }
    assert_eq!(parts.poll(4_999), None);
    assert_eq!(parts.catch_up.next_poll_ms(&parts.last, &parts.connected), Some(5_000));
    assert_eq!(parts.poll(5_000), Some((1, 1)));
    parts.answer(1, &real[..64], &parts.votes(&real[63], &[1, 2]), 5_010);
    assert!(parts.catch_up.has_certified());
}

#[test]
fn after_a_short_lag_a_useless_answer_ends_it() {
    let mut parts = Parts::new();
    let chain = parts.chain(5, "a");
    parts.fall_behind(&chain[4]);
    assert_eq!(parts.poll(2_000), Some((0, 1)));
    parts.answer(0, &[], &[], 2_010);
    assert!(!parts.catch_up.is_active());
    assert_eq!(parts.poll(4_009), None);
    assert_eq!(parts.poll(4_010), Some((1, 1)), "the next one is asked after another stall");
}
