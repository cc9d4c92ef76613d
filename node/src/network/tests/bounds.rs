//! Queues, turns and silence.

use super::super::frame::{Channel, HEARTBEAT, SILENCE_MAX, STALL_MAX, flush, write_all};
use super::super::receive::SUBSCRIPTION_EVERY;
use super::raw::Raw;
use super::*;
use farthing_consensus::vertex::PAYLOAD_BYTES_MAX;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_disconnected() {
    let world = World::new(3);
    let mut node = Node::start(world.config(Some(2), &[])).await;
    let mut other = Node::start(world.config(Some(1), &[(2, node.address.clone())])).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(1)));
    assert_eq!(other.next().await, NetworkEvent::Connected(Peer::Validator(2)));
    let _raw = Raw::greeted(&world.identities[0], &world, &node, 2).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));

    let vertex = world.vertex(2, vec![1; PAYLOAD_BYTES_MAX]);
    let sent = (1..1000).take_while(|_| {
        node.network.send(Peer::Validator(0), Outbound::Vertex(vertex.clone()));
        node.network.room(Peer::Validator(0)) > PAYLOAD_BYTES_MAX
    });
    let sent = sent.count() + 1;
    assert!(sent >= QUEUE_BYTES_MIN / (PAYLOAD_BYTES_MAX + 1024) - 1, "the queue holds {sent} vertices");
    for _ in 0..8 {
        node.network.send(Peer::Validator(0), Outbound::Vertex(vertex.clone()));
    }
    assert_eq!(node.next().await, NetworkEvent::Disconnected(Peer::Validator(0)));
    node.wait_for_metric("farthing_network_queue_overflows_total 1").await;
    node.assert_talks_with(2, &mut other, 1).await;

    // It did nothing forbidden: it may come again at once.
    let _raw = Raw::greeted(&world.identities[0], &world, &node, 2).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_gets_a_few_answers_at_a_time() {
    let world = World::new(2);
    let mut node = Node::start(world.config(Some(1), &[])).await;
    let peer = Peer::Validator(0);
    let mut raw = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    for from_index in 1..=10 {
        raw.send(Outbound::Message(Message::FetchCommits { from_index })).await;
    }
    for from_index in 1..=3 {
        assert_eq!(node.message(peer).await, Inbound::FetchCommits { from_index });
    }
    // The others wait, though a subscription behind them does not.
    raw.send(subscribe(7)).await;
    assert_eq!(node.message(peer).await, Inbound::Subscribe { from_round: 7 });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(node.events.try_recv().is_err());
    for from_index in 4..=10 {
        let answer = Message::Commits { commits: Vec::new(), votes: Vec::new(), oldest_index: 1 };
        node.network.send(peer, Outbound::Message(answer));
        assert_eq!(node.message(peer).await, Inbound::FetchCommits { from_index });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_connects_anew_replaces_its_connection() {
    let world = World::new(2);
    let mut node = Node::start(world.config(Some(1), &[])).await;
    let peer = Peer::Validator(0);
    let _first = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    let mut second = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Disconnected(peer));
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    second.send(subscribe(2)).await;
    assert_eq!(node.message(peer).await, Inbound::Subscribe { from_round: 2 });
    assert_eq!(node.network.connected(), [peer]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_connection_and_heartbeats_keep_it() {
    let world = World::new(3);
    let mut node = Node::start(world.config(Some(2), &[])).await;
    let mut other = Node::start(world.config(Some(1), &[(2, node.address.clone())])).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(1)));
    assert_eq!(other.next().await, NetworkEvent::Connected(Peer::Validator(2)));
    let mut raw = Raw::greeted(&world.identities[0], &world, &node, 2).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));

    // One stream is kept alive, the other falls silent.
    let started = tokio::time::Instant::now();
    let beating = tokio::spawn(async move {
        loop {
            raw.write(Channel::Vertices, &HEARTBEAT).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(node.next().await, NetworkEvent::Disconnected(Peer::Validator(0)));
    assert!(started.elapsed() >= SILENCE_MAX - Duration::from_secs(1));
    beating.abort();
    // The two nodes had nothing to say either.
    assert_eq!(node.network.connected(), [Peer::Validator(1)]);
    node.assert_talks_with(2, &mut other, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_is_cut_off() {
    let world = World::new(3);
    let mut node = Node::start(world.config(Some(2), &[])).await;
    let mut other = Node::start(world.config(Some(1), &[(2, node.address.clone())])).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(1)));
    assert_eq!(other.next().await, NetworkEvent::Connected(Peer::Validator(2)));
    let Raw { mut vertices, mut sync, driver: _driver } = Raw::greeted(&world.identities[0], &world, &node, 2).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));
    // It is alive and well, as far as its heartbeats tell, and reads nothing: more waits for it than any buffer takes, and less than
    // its queue.
    let started = std::time::Instant::now();
    let beating = tokio::spawn(async move {
        while write_all(&mut vertices, &HEARTBEAT).await.is_ok() && write_all(&mut sync, &HEARTBEAT).await.is_ok() {
            let _ = (flush(&mut vertices).await, flush(&mut sync).await);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let vertex = world.vertex(2, vec![1; PAYLOAD_BYTES_MAX]);
    for _ in 0..40 {
        node.network.send(Peer::Validator(0), Outbound::Vertex(vertex.clone()));
    }
    assert_eq!(node.next().await, NetworkEvent::Disconnected(Peer::Validator(0)));
    // Since it is not silent, nothing else ends the connection.
    assert!(started.elapsed() >= STALL_MAX, "after {:?}", started.elapsed());
    node.wait_for_metric("farthing_network_queue_overflows_total 0").await;
    node.assert_talks_with(2, &mut other, 1).await;
    beating.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_event_channel_slows_peers_down_and_loses_nothing() {
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    let vertices: Vec<_> =
        (0..10 * EVENTS_MAX as u64).map(|mark| world.vertex(0, mark.to_le_bytes().to_vec())).collect();
    for vertex in &vertices {
        nodes[0].network.send(Peer::Validator(1), Outbound::Vertex(vertex.clone()));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for vertex in vertices {
        assert_eq!(nodes[1].message(Peer::Validator(0)).await, Inbound::Vertex(vertex));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_handed_over_slowly() {
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    let started = std::time::Instant::now();
    for from_round in 1..=3 {
        nodes[0].network.send(Peer::Validator(1), subscribe(from_round));
    }
    for from_round in 1..=3 {
        assert_eq!(nodes[1].message(Peer::Validator(0)).await, Inbound::Subscribe { from_round });
    }
    assert!(started.elapsed() >= 2 * SUBSCRIPTION_EVERY);
}
