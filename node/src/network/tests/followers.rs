//! Full nodes: what they may have, and what they forward.

use super::super::frame::{Channel, Kind};
use super::raw::Raw;
use super::*;
use crate::test_support::transfer;
use farthing_core::transaction::SignedTransaction;
use std::time::Instant;

fn encoded(transactions: &[SignedTransaction]) -> Bytes {
    transactions.iter().flat_map(SignedTransaction::encode).collect::<Vec<_>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_follower_gets_its_allowance_and_validators_are_not_delayed() {
    let world = World::new(2);
    let limits = FollowerLimits { requests_per_second: 1_000, bytes_per_second: 65_536 };
    let mut node = Node::start(NetworkConfig { follower_limits: limits, ..world.config(Some(1), &[]) }).await;
    let mut member = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));
    let mut greedy = Raw::greeted(&stranger(0), &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Follower(1)));
    for from_index in 1..=100 {
        greedy.send(Outbound::Message(Message::FetchCommits { from_index })).await;
    }
    // An answer of some 30 KB.
    let votes = vec![world.vertex(0, vec![1]).signed_header().clone(); 128];
    let answer = Message::Commits { commits: Vec::new(), votes, oldest_index: 1 };
    let bytes = farthing_core::codec::encode(&answer).len();
    let (started, mut answered) = (Instant::now(), 0);
    let reading = tokio::spawn(async move {
        loop {
            greedy.read(Channel::Sync).await;
        }
    });
    let mut waits = Vec::new();
    for from_index in 1..=20 {
        member.send(Outbound::Message(Message::FetchCommits { from_index })).await;
        let asked = Instant::now();
        loop {
            let NetworkEvent::Message { from, .. } = node.next().await else { panic!("a connection broke") };
            node.network.send(from, Outbound::Message(answer.clone()));
            match from {
                Peer::Follower(_) => answered += 1,
                Peer::Validator(_) => break,
            }
        }
        member.read(Channel::Sync).await;
        waits.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    reading.abort();
    // Whatever the machine does to one of them, a validator behind a follower's backlog would wait every time.
    waits.sort_unstable();
    assert!(waits[10] < Duration::from_secs(1), "a validator waited {waits:?}");
    let allowed = 65_536.0 * (2.0 + started.elapsed().as_secs_f64());
    assert!(answered >= 4, "it is served");
    // One more than allowed, since an answer's size is known only once it is made.
    assert!((answered - 1) as f64 * bytes as f64 <= allowed, "{answered} answers of {bytes} bytes, {allowed} allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_one_request_answered_at_a_time() {
    let world = World::new(2);
    let mut node = Node::start(world.config(Some(1), &[])).await;
    let mut raw = Raw::greeted(&stranger(0), &world, &node, 1).await;
    let peer = Peer::Follower(1);
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    for from_index in 1..=5 {
        raw.send(Outbound::Message(Message::FetchCommits { from_index })).await;
    }
    for from_index in 1..=5 {
        assert_eq!(node.message(peer).await, Inbound::FetchCommits { from_index });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(node.events.try_recv().is_err(), "the next one waits for the answer");
        let answer = Message::Commits { commits: Vec::new(), votes: Vec::new(), oldest_index: 1 };
        node.network.send(peer, Outbound::Message(answer));
        assert_eq!(raw.read(Channel::Sync).await.0, Kind::Commits);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_forwarded_and_answered() {
    let world = World::new(2);
    let mut validator = Node::start(world.config(Some(0), &[])).await;
    let mut full = Node::start(world.config(None, &[(0, validator.address.clone())])).await;
    assert_eq!(full.next().await, NetworkEvent::Connected(Peer::Validator(0)));
    let peer = Peer::Follower(1);
    assert_eq!(validator.next().await, NetworkEvent::Connected(peer));
    for count in [1, 500] {
        let transactions: Vec<_> = (1..=count).map(|nonce| transfer(1, nonce).signed().clone()).collect();
        full.network.send(Peer::Validator(0), Outbound::Forward(encoded(&transactions)));
        assert_eq!(validator.message(peer).await, Inbound::Forward { transactions });
        let taken: Vec<_> = (0..count).map(|number| number % 3 == 0).collect();
        validator.network.send(peer, Outbound::Forwarded(taken.clone()));
        assert_eq!(full.message(Peer::Validator(0)).await, Inbound::Forwarded { taken });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_reach_a_later_connection() {
    let world = World::new(2);
    let mut node = Node::start(world.config(Some(1), &[])).await;
    let peer = Peer::Validator(0);
    let mut first = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    first.send(Outbound::Message(Message::FetchCommits { from_index: 1 })).await;
    assert_eq!(node.message(peer).await, Inbound::FetchCommits { from_index: 1 });
    let mut second = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Disconnected(peer));
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    // Late: nobody asked for it over this connection, and to be given it would be a breach.
    let votes = vec![world.vertex(1, vec![1]).signed_header().clone()];
    let late = Message::Commits { commits: Vec::new(), votes, oldest_index: 1 };
    node.network.send(peer, Outbound::Message(late));
    second.send(Outbound::Message(Message::FetchCommits { from_index: 2 })).await;
    assert_eq!(node.message(peer).await, Inbound::FetchCommits { from_index: 2 });
    let answer = Message::Commits { commits: Vec::new(), votes: Vec::new(), oldest_index: 1 };
    node.network.send(peer, Outbound::Message(answer.clone()));
    let (kind, content) = second.read(Channel::Sync).await;
    assert_eq!((kind, &content[..]), (Kind::Commits, &farthing_core::codec::encode(&answer)[..]));
}
