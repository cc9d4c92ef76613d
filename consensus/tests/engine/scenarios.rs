//! Scenarios in which attacks on the design succeed when one of its rules is taken out. Each is run with the rule and without.

use crate::network::{Network, committee, secret_key};
use crate::node::Disk;
use crate::progress::{common_commit, run_under_load};
use bytes::Bytes;
use farthing_consensus::committee::Committee;
use farthing_consensus::engine::{Input, Rule, Signing};
use farthing_consensus::vertex::{Author, Round, VerifiedVertex, VertexHeader, VertexRef};
use farthing_core::hash::Digest;
use std::collections::BTreeMap;

fn network_without(committee: Committee, seed: u64, rule: Option<Rule>) -> Network {
    let mut network = Network::new(committee, seed);
    network.nodes.iter_mut().for_each(|node| node.settings.rule_taken_out = rule);
    network
}

/// Commits a minute where each leader's vertex takes 120 ms to the next leader and 10 ms to the others: when it arrives, so do the
/// vertices of the others on top of it, and the clock passes the next leader's own round before it could propose.
fn commits_with_late_leaders(rule: Option<Rule>) -> u64 {
    let mut network = network_without(committee(4), 1, rule);
    network.delay_ms = (10, 10);
    network.push_delay_ms = Some(|committee, from, to, vertex| {
        let is_leader = committee.leader(vertex.round()) as usize == from;
        if is_leader && committee.leader(vertex.round() + 1) as usize == to { 120 } else { 10 }
    });
    network.start_all();
    run_under_load(&mut network, 100, 60_000);
    common_commit(&network)
}

#[test]
fn skipped_rounds_keep_late_leaders_in() {
    let (with, without) = (commits_with_late_leaders(None), commits_with_late_leaders(Some(Rule::SkippedRounds)));
    assert!(with > 3 * without, "{with} commits a minute with the rule, {without} without");
    assert!(with > 250, "{with} commits a minute");
}

/// The two Byzantine validators of seven: they make a vertex a round, so that nobody waits for them, but vote for no leader, themselves
/// included: then they pass their own last vertex over. They know of all vertices 20 ms after they were sent.
struct Omitters {
    last: BTreeMap<Author, VertexRef>,
    made: BTreeMap<(Round, Author), VertexRef>,
}

impl Omitters {
    const AUTHORS: [Author; 2] = [5, 6];

    fn new(network: &Network) -> Omitters {
        let last = Omitters::AUTHORS.map(|author| (author, network.committee.genesis_ref(author)));
        Omitters { last: last.into(), made: BTreeMap::new() }
    }

    fn act(&mut self, network: &mut Network) {
        for author in Omitters::AUTHORS {
            let first = self.last[&author].round + 1;
            // They may be a few rounds behind after a halt.
            for round in first..first + 8 {
                let Some(parents) = self.parents(network, author, round) else { continue };
                let vertex = sign(&network.committee, author, round, parents, network.now_ms);
                self.last.insert(author, vertex.reference());
                self.made.insert((round, author), vertex.reference());
                for honest in 0..5 {
                    network.step(honest, Input::Pushed { from: author, vertex: vertex.clone() });
                }
                break;
            }
        }
    }

    /// A quorum of the round before without the leader, if there is one.
    fn parents(&self, network: &Network, author: Author, round: Round) -> Option<Vec<VertexRef>> {
        let before = round - 1;
        let is_leader = before > 0 && author == network.committee.leader(before);
        let older = before.checked_sub(1).and_then(|round| self.made.get(&(round, author)));
        let own = if is_leader {
            older.copied().unwrap_or(network.committee.genesis_ref(author))
        } else {
            self.last[&author]
        };
        let mut parents = vec![own];
        for other in network.committee.authors().filter(|other| *other != author) {
            let is_omitted = before > 0 && other == network.committee.leader(before);
            let reference = match before {
                0 => Some(network.committee.genesis_ref(other)),
                _ if Omitters::AUTHORS.contains(&other) => self.made.get(&(before, other)).copied(),
                _ => {
                    let sent = network.nodes[usize::from(other)].broadcasts.iter().rev().take(12);
                    let known = sent.filter(|(at_ms, _)| at_ms + 20 <= network.now_ms).map(|(_, vertex)| vertex);
                    let mut known = known.filter(|vertex| vertex.round() == before);
                    known.next().map(VerifiedVertex::reference)
                }
            };
            parents.extend(reference.filter(|_| !is_omitted));
        }
        let at_round_before = parents.iter().filter(|parent| parent.round == before).count();
        (at_round_before >= network.committee.quorum()).then_some(parents)
    }
}

fn sign(committee: &Committee, author: Author, round: Round, parents: Vec<VertexRef>, now_ms: u64) -> VerifiedVertex {
    let header = VertexHeader {
        epoch: 0,
        round,
        author,
        timestamp_ms: 1_700_000_000_000 + now_ms,
        parents,
        payload_digest: Digest::of_bytes(&[]),
        commit_vote: None,
        attestations: Vec::new(),
    };
    committee.check_parents(&header).expect("valid");
    VerifiedVertex::sign(header, Bytes::new(), committee.chain(), &secret_key(author))
}

/// Over how many rounds nothing commits around the return of validator 4, whose links take 230 ms longer and which was cut off.
fn halt_with_omitters(rule: Option<Rule>) -> u64 {
    let mut network = network_without(committee(7), 1, rule);
    network.delay_ms = (5, 10);
    network.nodes[4].delay_extra_ms = 230;
    network.nodes.iter_mut().for_each(|node| node.settings.round_delay_min_ms = 40);
    let mut omitters = Omitters::new(&network);
    (0..5).for_each(|index| network.start(index));
    network.connect_all();
    let mut run = |network: &mut Network, ms: u64| {
        for step in 0..ms / 5 {
            if step % 20 == 0 {
                network.submit(0, Bytes::from(step.to_le_bytes().to_vec()));
            }
            network.run_for(5);
            omitters.act(network);
        }
    };
    run(&mut network, 5_000);
    (0..4).for_each(|peer| network.disconnect(4, peer));
    run(&mut network, 2000);
    network.connect_all();
    run(&mut network, 20_000);
    let leaders: Vec<Round> = network.nodes[0].disk.commits.values().map(|commit| commit.leader.round).collect();
    assert!(network.status(0).round < leaders[leaders.len() - 1] + 16, "it goes on");
    leaders.windows(2).map(|pair| pair[1] - pair[0]).max().expect("commits")
}

#[test]
fn a_slow_honest_validator_is_waited_for_when_nothing_commits() {
    let (with, without) = (halt_with_omitters(None), halt_with_omitters(Some(Rule::AbsentNearCommitsOnly)));
    // Other rules save the chain in the end (timeouts that double, flow control that slows rounds down), but much later.
    assert!(with <= 18 && without >= 28, "nothing commits for {with} rounds with the rule, for {without} without");
}

/// Seven validators with a gc depth of 6. Validator 6 is off for a second; then validator 5 makes a vertex whose own parent it never
/// sent, at the gc round of the others, who accept it; then it and validator 4 go silent. The others need validator 6, which needs
/// that parent unless it catches up. Returns whether they go on.
fn goes_on_after_an_unsent_parent(change: impl FnOnce(&mut Network)) -> bool {
    let mut network = Network::new(committee(7).with_gc_depth(6), 3);
    network.start_all();
    run_under_load(&mut network, 50, 3_000);
    network.crash(6);
    run_under_load(&mut network, 50, 1_000);
    network.crash(5);
    network.run_for(400);
    let round = network.nodes[5].disk.last_signed().expect("it has signed").round + 2;
    while (0..5).any(|index| network.status(index).last_proposed + 1 < round) {
        network.run_for(1);
    }
    let gc_round = (0..5).map(|index| network.status(index).gc_round).min().expect("five");
    let lagging_gc_round =
        network.committee.gc_round(network.nodes[6].disk.commits.values().last().expect("some").leader.round);
    assert!(lagging_gc_round < gc_round, "validator 6 would need the parent");
    let unsent = VertexRef { round: gc_round, author: 5, digest: Digest::of_bytes(b"never sent") };
    let mut parents = vec![unsent];
    for author in 0..5 {
        let sent = network.nodes[author].broadcasts.iter().map(|(_, vertex)| vertex.reference());
        parents.extend(sent.filter(|sent| sent.round + 1 == round));
    }
    let vertex = sign(&network.committee, 5, round, parents, network.now_ms);
    for index in 0..5 {
        network.step(index, Input::Pushed { from: 5, vertex: vertex.clone() });
    }
    network.run_for(300);
    network.crash(4);
    network.run_for(1_000);
    let is_linked = |vertex: &VerifiedVertex| {
        vertex.header().parents.iter().any(|parent| parent.author == 5 && parent.round == round)
    };
    let last = network.nodes[0].broadcasts.iter().rev().take(20);
    assert!(last.map(|(_, vertex)| vertex).any(is_linked), "the others accepted and referenced it");
    change(&mut network);
    network.start(6);
    network.connect_all();
    run_under_load(&mut network, 50, 3_000);
    let before = network.agreed.len() as u64;
    run_under_load(&mut network, 50, 12_000);
    let indices = [0, 1, 2, 3, 6];
    indices.iter().all(|index| network.status(*index).last_commit > before + 20)
}

#[test]
fn a_lagging_validator_passes_an_unsent_parent() {
    assert!(goes_on_after_an_unsent_parent(|_| ()));
}

#[test]
fn without_retained_commits_an_unsent_parent_halts_the_chain() {
    assert!(!goes_on_after_an_unsent_parent(|network| {
        network.nodes.iter_mut().for_each(|node| node.retained_commits = Some(1));
    }));
}

/// Starts validator 3 from a snapshot of validator 0: the newest commits without any vertices.
fn start_from_a_snapshot(rule: Option<Rule>, gc_depth: u64) -> Network {
    let mut network = Network::new(committee(4).with_gc_depth(gc_depth), 4);
    network.start_all();
    run_under_load(&mut network, 50, 8_000);
    network.crash(3);
    run_under_load(&mut network, 50, 2_000);
    // Taken where two leaders follow upon one another, so that what comes next links vertices of both commits.
    let is_good = |disk: &Disk| {
        let mut newest = disk.commits.values().rev();
        let (last, before) = (newest.next().expect("commits"), newest.next().expect("commits"));
        last.leader.round == before.leader.round + 1 && disk.executed == last.index
    };
    while !is_good(&network.nodes[0].disk) {
        network.run_for(1);
    }
    let mut snapshot = network.nodes[0].disk.clone();
    snapshot.vertices.clear();
    let from = snapshot.executed - 59;
    snapshot.commits = snapshot.commits.split_off(&from);
    snapshot.signing = Signing::Lost;
    let block = network.nodes[0].committed_payloads.clone();
    snapshot.payloads = block.len();
    network.nodes[3].committed_payloads = block;
    network.restore_disk(3, snapshot);
    network.nodes[3].settings.rule_taken_out = rule;
    network.start(3);
    network.connect_all();
    run_under_load(&mut network, 50, 10_000);
    network.run_for(1_000);
    network
}

#[test]
fn after_a_snapshot_the_next_commits_are_those_of_the_others() {
    for gc_depth in [4, 8, 60] {
        let network = start_from_a_snapshot(None, gc_depth);
        let status = network.status(3);
        assert!(status.last_commit + 10 > network.agreed.len() as u64, "gc depth {gc_depth}: {status:?}");
        assert!(status.last_proposed + 5 > status.round, "gc depth {gc_depth}: {status:?}");
        assert_eq!(network.nodes[3].disk.block, network.nodes[0].disk.block, "gc depth {gc_depth}");
    }
}

#[test]
#[should_panic(expected = "disagrees about commit")]
fn without_flags_after_a_snapshot_commits_differ() {
    let network = start_from_a_snapshot(Some(Rule::FlagsOfEarlierCommits), 60);
    assert!(network.status(3).last_commit + 10 > network.agreed.len() as u64, "it stands still");
}

/// How long it takes from a payload, submitted right after an idle proposal, to its commit everywhere.
fn wake_up_ms(rule: Option<Rule>) -> u64 {
    let mut network = network_without(committee(4), 2, rule);
    // Validator 1 is the first to propose: the others are patient.
    [0, 2, 3].iter().for_each(|patient| network.nodes[*patient].settings.idle_delay_ms = 1_500);
    network.start_all();
    network.run_for(9_000);
    while network.now_ms - network.nodes[1].broadcasts.last().expect("it proposes").0 != 1 {
        network.run_for(1);
    }
    let submitted_ms = network.now_ms;
    network.submit(1, Bytes::from_static(b"wake up"));
    while network.nodes.iter().any(|node| node.committed_payloads.is_empty()) {
        network.run_for(1);
    }
    network.now_ms - submitted_ms
}

#[test]
fn a_payload_right_after_an_idle_proposal_wakes_everybody() {
    let (with, without) = (wake_up_ms(None), wake_up_ms(Some(Rule::Waking)));
    assert!(with < 450 && without > 2 * with, "{with} ms with the rule, {without} ms without");
}
