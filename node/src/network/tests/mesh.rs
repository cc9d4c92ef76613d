//! What well-behaved nodes do.

use super::*;
use farthing_consensus::vertex::PAYLOAD_BYTES_MAX;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_connect_once_each_and_push_vertices() {
    let world = World::new(4);
    let mut nodes = world.mesh().await;
    let vertices: Vec<_> =
        world.committee.authors().map(|author| world.vertex(author, vec![author as u8; 1000])).collect();
    for (author, node) in nodes.iter().enumerate() {
        let others: Vec<_> =
            world.committee.authors().filter(|other| usize::from(*other) != author).map(Peer::Validator).collect();
        assert_eq!(node.network.connected(), others);
        for other in others {
            node.network.send(other, Outbound::Vertex(vertices[author].clone()));
        }
    }
    for (author, node) in nodes.iter_mut().enumerate() {
        let mut heard = BTreeSet::new();
        for _ in 0..3 {
            let NetworkEvent::Message { from: Peer::Validator(from), message } = node.next().await else { panic!() };
            assert_eq!(message, Inbound::Vertex(vertices[usize::from(from)].clone()));
            assert!(heard.insert(from));
        }
        assert!(!heard.contains(&(author as Author)));
        node.wait_for_metric("farthing_network_connections{role=\"validator\"} 3").await;
        node.wait_for_metric("farthing_network_messages_total{direction=\"in\",kind=\"vertex\"} 3").await;
        node.wait_for_metric("farthing_network_messages_total{direction=\"out\",kind=\"vertex\"} 3").await;
        assert!(node.metrics().contains("libp2p_swarm_connections_established"), "libp2p's metrics are there too");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_both_ways() {
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    let vertices = [world.vertex(0, vec![1]), world.vertex(1, vec![2])];
    for (asks, answers) in [(0, 1), (1, 0)] {
        let (asker, answerer) = (Peer::Validator(asks as Author), Peer::Validator(answers as Author));
        let refs = vec![vertices[0].reference(), vertices[1].reference()];
        nodes[asks]
            .network
            .send(answerer, Outbound::Message(Message::FetchVertices { refs: refs.clone(), above_round: 3 }));
        assert_eq!(nodes[answers].message(asker).await, Inbound::FetchVertices { refs, above_round: 3 });
        let answer = Message::Vertices { vertices: vertices.iter().map(|vertex| vertex.vertex().clone()).collect() };
        nodes[answers].network.send(asker, Outbound::Message(answer));
        assert_eq!(nodes[asks].message(answerer).await, Inbound::Vertices(vertices.to_vec()));

        nodes[asks].network.send(answerer, Outbound::Message(Message::FetchCommits { from_index: 5 }));
        assert_eq!(nodes[answers].message(asker).await, Inbound::FetchCommits { from_index: 5 });
        let votes = vec![vertices[0].signed_header().clone()];
        let answer = Message::Commits { commits: Vec::new(), votes: votes.clone(), oldest_index: 7 };
        nodes[answers].network.send(asker, Outbound::Message(answer));
        assert_eq!(
            nodes[asks].message(answerer).await,
            Inbound::Commits { commits: Vec::new(), votes, oldest_index: 7 }
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_validator_is_connected_again() {
    let world = World::new(4);
    // The one that all others dial, and the one that dials all others.
    for author in [3, 0] {
        let mut nodes = world.mesh().await;
        let known: Vec<_> = (0..).zip(nodes.iter().map(|node| node.address.clone())).collect();
        let stopped = nodes.remove(usize::from(author));
        stopped.network.shutdown().await;
        for node in &mut nodes {
            assert_eq!(node.next().await, NetworkEvent::Disconnected(Peer::Validator(author)));
        }
        let mut config = world.config(Some(author), &known);
        config.listen = vec![stopped.address.clone()];
        let mut restarted = Node::start(config).await;
        for node in &mut nodes {
            assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(author)));
            assert!(matches!(restarted.next().await, NetworkEvent::Connected(_)));
        }
        let other = if author == 0 { 1 } else { 0 };
        restarted.assert_talks_with(author, &mut nodes[0], other).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_are_served_up_to_a_limit() {
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    let known = [(0, nodes[0].address.clone()), (1, nodes[1].address.clone())];
    let mut followers = Vec::new();
    for number in 0..2 {
        let mut config = world.config(None, &known[..1]);
        config.identity = stranger(number);
        let mut follower = Node::start(config).await;
        assert_eq!(follower.next().await, NetworkEvent::Connected(Peer::Validator(0)));
        followers.push(follower);
    }
    let NetworkEvent::Connected(first) = nodes[0].next().await else { panic!() };
    let NetworkEvent::Connected(second) = nodes[0].next().await else { panic!() };
    assert!(matches!((first, second), (Peer::Follower(a), Peer::Follower(b)) if a != b));

    let vertex = world.vertex(0, vec![1, 2, 3]);
    let refs = vec![vertex.reference()];
    let fetch = Message::FetchVertices { refs: refs.clone(), above_round: 0 };
    followers[0].network.send(Peer::Validator(0), Outbound::Message(fetch));
    assert_eq!(nodes[0].message(first).await, Inbound::FetchVertices { refs, above_round: 0 });
    let answer = Message::Vertices { vertices: vec![vertex.vertex().clone()] };
    nodes[0].network.send(first, Outbound::Message(answer));
    assert_eq!(followers[0].message(Peer::Validator(0)).await, Inbound::Vertices(vec![vertex]));

    let mut config = world.config(None, &known[..1]);
    config.identity = stranger(2);
    let mut third = Node::start(config).await;
    nodes[0].wait_for_metric("farthing_network_refused_total{reason=\"followers\"}").await;
    assert_eq!(nodes[0].network.connected(), [Peer::Validator(1), first, second]);

    // A place becomes free, and the third, which keeps trying, gets it.
    followers[0].network.shutdown().await;
    assert_eq!(nodes[0].next().await, NetworkEvent::Disconnected(first));
    assert_eq!(third.next().await, NetworkEvent::Connected(Peer::Validator(0)));
    assert!(matches!(nodes[0].next().await, NetworkEvent::Connected(Peer::Follower(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_vertices_and_full_answers_go_through_together() {
    const VERTICES: u8 = 100;
    const ANSWERS: usize = 8;
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    let mut receiver = nodes.pop().unwrap();
    let mut sender = nodes.pop().unwrap();
    let (sender_peer, receiver_peer) = (Peer::Validator(0), Peer::Validator(1));
    let bulk = vec![world.vertex(0, vec![9; PAYLOAD_BYTES_MAX]).vertex().clone(); 16];
    let refs = vec![world.committee.genesis_ref(0)];

    let vertices: Vec<_> = (0..VERTICES).map(|mark| world.vertex(0, vec![mark; PAYLOAD_BYTES_MAX])).collect();
    let expected = vertices.clone();
    let sending = tokio::spawn(async move {
        let (mut answered, mut pushed) = (0, 0);
        while answered < ANSWERS || pushed < vertices.len() {
            if pushed < vertices.len() && sender.network.room(receiver_peer) > 300_000 {
                sender.network.send(receiver_peer, Outbound::Vertex(vertices[pushed].clone()));
                pushed += 1;
            } else if let Ok(event) = sender.events.try_recv() {
                assert!(matches!(event, NetworkEvent::Message { message: Inbound::FetchVertices { .. }, .. }));
                sender.network.send(receiver_peer, Outbound::Message(Message::Vertices { vertices: bulk.clone() }));
                answered += 1;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        sender
    });

    for _ in 0..ANSWERS {
        receiver
            .network
            .send(sender_peer, Outbound::Message(Message::FetchVertices { refs: refs.clone(), above_round: 3 }));
    }
    let (mut pushed, mut answers) = (Vec::new(), 0);
    while pushed.len() < usize::from(VERTICES) || answers < ANSWERS {
        match receiver.message(sender_peer).await {
            Inbound::Vertex(vertex) => pushed.push(vertex),
            Inbound::Vertices(vertices) => {
                assert_eq!(vertices.len(), 16);
                answers += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pushed, expected, "all of them, in order");
    let sender = sending.await.unwrap();
    sender.wait_for_metric("farthing_network_queue_overflows_total 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_configurations_are_refused() {
    let world = World::new(2);
    let start = |change: &dyn Fn(&mut NetworkConfig)| {
        let mut config = world.config(Some(0), &[]);
        change(&mut config);
        Network::start(config, &mut Registry::default()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let dns: Multiaddr = "/dns4/example.org/tcp/7400".parse().unwrap();
    assert_eq!(start(&|_| {}), "");
    assert!(start(&|config| config.identity = stranger(0)).contains("is not the one that the genesis document names"));
    assert!(start(&|config| config.own = None).contains("is that of validator 0, but this node is none"));
    assert!(
        start(&|config| config.members[1].network_key = config.members[0].network_key).contains("the same network key")
    );
    // No point of the curve has y = 2.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert!(start(&|config| config.members[1].network_key.0 = no_point).contains("not a valid ed25519 key"));
    assert!(start(&|config| config.members[1].address = Some(dns.clone())).contains("/dns4/example.org"));
    assert!(start(&|config| config.listen = vec![dns.clone()]).contains("/dns4/example.org"));
    assert!(start(&|config| config.queue_bytes_max = 1).contains("at least 12582912 is needed"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port()).parse().unwrap();
    assert!(start(&|config| config.listen = vec![address.clone()]).contains("cannot listen on"));
}
