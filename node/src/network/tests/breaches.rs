//! What happens to peers that break the protocol, and to the others meanwhile: nothing.

use super::super::frame::{Channel, Frame, Kind};
use super::raw::Raw;
use super::*;
use crate::test_support::transfer;
use farthing_consensus::vertex::Vertex;
use farthing_core::codec;
use tokio::io::AsyncWriteExt as _;

/// Who does it.
#[derive(Clone, Copy)]
enum Who {
    Member,
    Stranger,
}

/// Validators 1 and 2 of three run and stay connected; number 0 or a stranger connects to number 2 and sends `bytes` after its
/// hello. It must be dropped, counted under `reason`, and refused when it comes again.
async fn check(who: Who, reason: &str, bytes: impl Fn(&World) -> (Channel, Vec<u8>)) {
    let mut node = check_after(who, reason, bytes).await;
    assert!(node.events.try_recv().is_err(), "{reason}: the driver hears nothing of it");
}

/// The same, whatever the driver hears of it before it is dropped.
async fn check_after(who: Who, reason: &str, bytes: impl Fn(&World) -> (Channel, Vec<u8>)) -> Node {
    let world = World::new(3);
    let mut node = Node::start(world.config(Some(2), &[])).await;
    let mut other = Node::start(world.config(Some(1), &[(2, node.address.clone())])).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(1)));
    assert_eq!(other.next().await, NetworkEvent::Connected(Peer::Validator(2)));

    let (identity, peer) = match who {
        Who::Member => (world.identities[0].clone(), Peer::Validator(0)),
        Who::Stranger => (stranger(0), Peer::Follower(1)),
    };
    let mut raw = Raw::greeted(&identity, &world, &node, 2).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(peer));
    let (channel, bytes) = bytes(&world);
    raw.write(channel, &bytes).await;
    loop {
        match node.next().await {
            NetworkEvent::Message { from, .. } if from == peer => {}
            event => {
                assert_eq!(event, NetworkEvent::Disconnected(peer), "{reason}");
                break;
            }
        }
    }
    node.wait_for_metric(&format!("farthing_network_breaches_total{{reason=\"{reason}\"}} 1")).await;

    assert!(Raw::connect(&identity, &world, &node, 2).await.is_none(), "{reason}: it is refused for a while");
    node.wait_for_metric("farthing_network_refused_total{reason=\"breach\"} 1").await;
    node.assert_talks_with(2, &mut other, 1).await;
    assert_eq!(node.network.connected(), [Peer::Validator(1)]);
    node
}

fn frame(message: Message) -> Vec<u8> {
    let frame = Frame::encode(Outbound::Message(message));
    [&frame.head[..], &frame.payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage() {
    check(Who::Member, "unknown_kind", |_| (Channel::Vertices, vec![0x55; 1000])).await;
    check(Who::Stranger, "unknown_kind", |_| (Channel::Sync, vec![0x55; 1000])).await;
    // A subscription of nine bytes is one of eight with a byte too many.
    check(Who::Stranger, "malformed", |_| (Channel::Sync, vec![2, 0, 0, 0, Kind::FetchCommits as u8, 1])).await;
    // The right length for the wrong content: a count of 255.
    let bad = [&[6, 0, 0, 0, Kind::FetchVertices as u8][..], &[0xff; 5]].concat();
    check(Who::Stranger, "malformed", |_| (Channel::Sync, bad.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_frames() {
    let length = u32::MAX.to_le_bytes();
    check(Who::Member, "oversized", |_| (Channel::Vertices, [&length[..], &[Kind::Vertex as u8]].concat())).await;
    check(Who::Stranger, "oversized", |_| (Channel::Sync, [&length[..], &[Kind::FetchCommits as u8]].concat())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_on_the_wrong_stream_or_out_of_turn() {
    let fetch = frame(Message::FetchCommits { from_index: 1 });
    check(Who::Member, "misplaced", |_| (Channel::Vertices, fetch.clone())).await;
    check(Who::Member, "misplaced", |world| (Channel::Sync, Frame::hello(world.committee.chain()).head)).await;
    let unasked = Message::Commits { commits: Vec::new(), votes: Vec::new(), oldest_index: 1 };
    check(Who::Member, "unsolicited", |_| (Channel::Sync, frame(unasked.clone()))).await;
    check(Who::Stranger, "unsolicited", |_| (Channel::Sync, frame(Message::Vertices { vertices: Vec::new() }))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_transactions_that_are_none() {
    let forward = |bytes: Vec<u8>| {
        let frame = Frame::encode(Outbound::Forward(bytes.into()));
        (Channel::Sync, [&frame.head[..], &frame.payload].concat())
    };
    let good = transfer(1, 1).signed().encode();
    check(Who::Member, "validator_forward", |_| forward(good.clone())).await;
    check(Who::Stranger, "malformed", |_| forward(good[..good.len() - 1].to_vec())).await;
    check(Who::Stranger, "malformed", |_| forward(Vec::new())).await;
    check(Who::Stranger, "oversized", |_| forward(good.repeat(1 + FORWARD_BYTES_MAX / good.len()))).await;
    check(Who::Member, "unsolicited", |_| (Channel::Sync, Frame::encode(Outbound::Forwarded(vec![true])).head)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_anybody_needs() {
    let fetch = frame(Message::FetchCommits { from_index: 1 });
    check_after(Who::Stranger, "too_many_requests", |_| (Channel::Sync, fetch.repeat(1_100))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vertices_that_must_not_be_pushed() {
    let push = |vertex: Vertex| (Channel::Vertices, frame(Message::Vertex(vertex)));
    check(Who::Member, "wrong_author", |world| push(world.vertex(1, vec![1]).vertex().clone())).await;
    let subscription = frame(Message::Subscribe { from_round: 1 });
    check(Who::Stranger, "follower_subscribed", |_| (Channel::Vertices, subscription.clone())).await;
    check(Who::Stranger, "follower_vertex", |world| push(world.vertex(1, vec![1]).vertex().clone())).await;
    check(Who::Member, "invalid_vertex", |world| {
        let mut vertex = world.vertex(0, vec![1]).vertex().clone();
        vertex.signed.header.timestamp_ms += 1;
        push(vertex)
    })
    .await;
    check(Who::Member, "invalid_vertex", |world| {
        let vertex = world.vertex(0, vec![1]).vertex().clone();
        push(Vertex { payload: vec![2].into(), ..vertex })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_invalid_vertices() {
    let world = World::new(2);
    let mut node = Node::start(world.config(Some(1), &[])).await;
    let mut raw = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));
    let refs = vec![world.vertex(0, vec![1]).reference()];
    node.network
        .send(Peer::Validator(0), Outbound::Message(Message::FetchVertices { refs: refs.clone(), above_round: 3 }));
    let (kind, content) = raw.read(Channel::Sync).await;
    assert_eq!(
        (kind, &content[..]),
        (Kind::FetchVertices, &codec::encode(&Message::FetchVertices { refs, above_round: 3 })[..])
    );
    let mut vertex = world.vertex(0, vec![1]).vertex().clone();
    vertex.signed.signature.0[0] ^= 1;
    raw.send(Outbound::Message(Message::Vertices { vertices: vec![vertex] })).await;
    assert_eq!(node.next().await, NetworkEvent::Disconnected(Peer::Validator(0)));
    node.wait_for_metric("farthing_network_breaches_total{reason=\"invalid_vertex\"} 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_network_is_refused() {
    let world = World::new(2);
    let elsewhere = World::with_chain(2, Digest::of_bytes(b"another chain"));
    let mut node = Node::start(world.config(Some(1), &[])).await;
    let foreign = Node::start(elsewhere.config(Some(0), &[(1, node.address.clone())])).await;
    node.wait_for_metric("farthing_network_breaches_total{reason=\"other_chain\"} 1").await;
    assert_eq!(foreign.network.connected(), []);
    assert!(node.events.try_recv().is_err(), "the driver never hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_greet_is_refused() {
    let world = World::new(2);
    let node = Node::start(world.config(Some(1), &[])).await;
    let mut raw = Raw::connect(&world.identities[0], &world, &node, 1).await.unwrap();
    raw.send(subscribe(1)).await;
    node.wait_for_metric("farthing_network_breaches_total{reason=\"no_hello\"} 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_driver_can_drop_a_peer() {
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    nodes[1].network.disconnect(Peer::Validator(0), "bad_commits");
    assert_eq!(nodes[1].next().await, NetworkEvent::Disconnected(Peer::Validator(0)));
    assert_eq!(nodes[0].next().await, NetworkEvent::Disconnected(Peer::Validator(1)));
    nodes[1].wait_for_metric("farthing_network_breaches_total{reason=\"bad_commits\"} 1").await;
    // What is sent to a peer that is gone goes nowhere.
    nodes[1].network.send(Peer::Validator(0), subscribe(1));
    assert_eq!(nodes[1].network.room(Peer::Validator(0)), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_keep_no_member_out() {
    let world = World::new(2);
    // Where a member is known to be; it is for the member to dial.
    let known = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let mut node = Node::start(world.config(Some(1), &[(0, known)])).await;
    let port = node.address.to_string().rsplit('/').next().unwrap().parse::<u16>().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..400 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        // It says nothing, and holds its place in the handshake as long as it is let.
        sockets.push(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap());
    }
    node.wait_for_metric("farthing_network_refused_total{reason=\"pending\"}").await;
    // Kept out it would be refused at once, which is an error here.
    let _member = Raw::greeted(&world.identities[0], &world, &node, 1).await;
    assert_eq!(node.next().await, NetworkEvent::Connected(Peer::Validator(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_plain_sockets_harms_nobody() {
    let world = World::new(2);
    let mut nodes = world.mesh().await;
    let port = nodes[1].address.to_string().rsplit('/').next().unwrap().parse::<u16>().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..400 {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // The node may have closed it already.
        let _ = socket.write_all(&[0x13; 64]).await;
        sockets.push(socket);
    }
    let mut second = nodes.pop().unwrap();
    nodes[0].assert_talks_with(0, &mut second, 1).await;
    assert_eq!(second.network.connected(), [Peer::Validator(0)]);
}
