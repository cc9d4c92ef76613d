//! Live events: nothing is missed and nothing comes twice, whenever a client comes back.

use super::fake_node::{address, prefix};
use super::{PATIENCE, Server};
use crate::api::ApiConfig;
use farthing_client::{ClientError, Event, EventTopic, Events, ProblemCode};
use farthing_core::hash::Digest;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn text(number: u8) -> String {
    address(number).encode(&prefix())
}

async fn open(server: &Server, topic: &EventTopic, after: Option<&str>) -> Events {
    server.client().events(topic, after).await.expect("a stream")
}

async fn next(events: &mut Events) -> Event {
    let next = tokio::time::timeout(PATIENCE, events.next()).await.expect("an event in time");
    next.expect("a good stream").expect("no end")
}

/// The amount of the next entry.
async fn amount(events: &mut Events) -> u64 {
    match next(events).await {
        Event::Entry(entry) => entry.amount.mites(),
        other => panic!("{other:?}"),
    }
}

/// Where a stream begins.
async fn position(events: &mut Events) -> u64 {
    match next(events).await {
        Event::Position(position) => position.height,
        other => panic!("{other:?}"),
    }
}

async fn pay(server: &Server, nonce: u64, mites: u64) {
    server.post_encoded("", &[server.node.payment(nonce, &[(address(2), mites, false)])]).await;
}

#[tokio::test]
async fn a_stream_begins_now_and_goes_on_as_things_happen() {
    let server = Server::start().await;
    pay(&server, 1, 11).await;
    let mut bob = open(&server, &EventTopic::Account(text(2)), None).await;
    let mut paid = open(&server, &EventTopic::Reference(Digest([7; 32])), None).await;
    let mut carol = open(&server, &EventTopic::Account(text(3)), None).await;
    assert_eq!([position(&mut bob).await, position(&mut paid).await, position(&mut carol).await], [1; 3]);
    for nonce in 2..=4 {
        pay(&server, nonce, 10 + nonce).await;
        assert_eq!([amount(&mut bob).await, amount(&mut paid).await], [10 + nonce; 2]);
    }
    let nothing = tokio::time::timeout(Duration::from_millis(300), carol.next()).await;
    assert!(nothing.is_err(), "nothing of others: {nothing:?}");
}

#[tokio::test]
async fn who_comes_back_with_a_cursor_misses_nothing() {
    let server = Server::start().await;
    let topic = EventTopic::Account(text(2));
    // More than a page, some of them in one block.
    for block in 0..20_u64 {
        let payments: Vec<_> = (1..=5)
            .map(|number| server.node.payment(5 * block + number, &[(address(2), 5 * block + number, false)]))
            .collect();
        server.post_encoded("", &payments).await;
    }
    let mut whole = open(&server, &topic, Some("0")).await;
    assert_eq!(position(&mut whole).await, 0);
    let mut cursors = Vec::new();
    for expected in 1..=100 {
        assert_eq!(amount(&mut whole).await, expected);
        cursors.push(whole.cursor().expect("a cursor").to_string());
    }
    drop(whole);
    pay(&server, 101, 101).await;
    for (place, cursor) in (1..).zip(&cursors).step_by(9) {
        let mut rest = open(&server, &topic, Some(cursor)).await;
        position(&mut rest).await;
        for expected in place + 1..=101 {
            assert_eq!(amount(&mut rest).await, expected, "after {cursor}");
        }
    }
    // From the future, as at a node that lags: it waits.
    let mut ahead = open(&server, &topic, Some("21")).await;
    assert_eq!(position(&mut ahead).await, 21);
    pay(&server, 102, 102).await;
    assert_eq!(amount(&mut ahead).await, 102);
}

#[tokio::test]
async fn blocks_come_without_a_gap() {
    let server = Server::start().await;
    for nonce in 1..=70 {
        pay(&server, nonce, nonce).await;
    }
    let mut blocks = open(&server, &EventTopic::Blocks, Some("3")).await;
    assert_eq!(position(&mut blocks).await, 3);
    for height in 4..=71 {
        if height == 71 {
            pay(&server, 71, 1).await;
        }
        let Event::Block(block) = next(&mut blocks).await else { panic!("no block") };
        assert_eq!((block.height, block.transaction_count), (height, 1));
        let stored = server.client().block(Some(height)).await.expect("a block");
        assert_eq!((block.hash, block.state_root), (stored.hash, stored.header.state_root));
    }
    assert_eq!(blocks.cursor(), Some("71"));
}

#[tokio::test]
async fn a_payment_to_oneself_comes_once() {
    let server = Server::start().await;
    server.post_encoded("", &[server.node.payment(1, &[(address(1), 5, false)])]).await;
    pay(&server, 2, 6).await;
    let mut alice = open(&server, &EventTopic::Account(text(1)), Some("0")).await;
    position(&mut alice).await;
    assert_eq!([amount(&mut alice).await, amount(&mut alice).await], [5, 6]);
}

#[tokio::test]
async fn a_node_says_when_it_does_not_reach_back_far_enough() {
    let server = Server::start().await;
    server.node.install_snapshot();
    for after in ["0", "2", "999"] {
        for topic in [EventTopic::Account(text(2)), EventTopic::Blocks] {
            let error = server.client().events(&topic, Some(after)).await.expect_err("a gap");
            assert_eq!(error.code(), Some(ProblemCode::NotKept), "{after}: {error}");
        }
    }
    let mut now = open(&server, &EventTopic::Account(text(2)), None).await;
    assert_eq!(position(&mut now).await, 1_000);
    let mut base = open(&server, &EventTopic::Blocks, Some("1000")).await;
    assert_eq!(position(&mut base).await, 1_000);
    for wrong in ["x", "1.2", "1.2.3.4", "-1", "+1", ""] {
        let path = format!("/v1/accounts/{}/events?after={wrong}", text(2));
        server.get(&path).await.assert_problem(ProblemCode::InvalidCursor, "cursor");
    }
}

#[tokio::test]
async fn a_stream_that_is_under_way_when_a_snapshot_leaves_a_gap_ends() {
    let server = Server::start().await;
    let mut bob = open(&server, &EventTopic::Account(text(2)), None).await;
    assert_eq!(position(&mut bob).await, 0);
    server.node.install_snapshot();
    loop {
        match tokio::time::timeout(PATIENCE, bob.next()).await.expect("in time").expect("a good stream") {
            Some(Event::Entry(_)) => {}
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    let cursor = bob.cursor().expect("a cursor").to_string();
    let error = server.client().events(&EventTopic::Account(text(2)), Some(&cursor)).await.expect_err("a gap");
    assert_eq!(error.code(), Some(ProblemCode::NotKept));
}

#[tokio::test]
async fn the_last_event_id_of_a_browser_goes_before_the_query() {
    let server = Server::start().await;
    pay(&server, 1, 11).await;
    pay(&server, 2, 12).await;
    let mut stream = server.connect().await;
    let head = format!(
        "GET /v1/accounts/{}/events?after=0 HTTP/1.1\r\nhost: node\r\nlast-event-id: 1\r\naccept: text/event-stream\r\n\r\n",
        text(2)
    );
    stream.write_all(head.as_bytes()).await.expect("a connection");
    let mut seen = String::new();
    while !seen.contains("event: entry") {
        let mut bytes = [0; 4_096];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("in time").expect("bytes");
        assert!(length > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    assert!(seen.contains("\"12\"") && !seen.contains("\"11\""), "{seen}");
}

#[tokio::test]
async fn streams_are_bounded_in_number_and_give_their_place_back() {
    let server = Server::start_with(ApiConfig { streams_max: 2, ..ApiConfig::default() }).await;
    let first = open(&server, &EventTopic::Blocks, None).await;
    let _second = open(&server, &EventTopic::Blocks, None).await;
    let refused = server.client().events(&EventTopic::Blocks, None).await.expect_err("no room");
    assert!(
        matches!(&refused, ClientError::Problem(problem) if problem.code == ProblemCode::TooManyRequests),
        "{refused:?}"
    );
    drop(first);
    let started = std::time::Instant::now();
    // The server notices that the client is gone when it writes the next event.
    while server.client().events(&EventTopic::Blocks, None).await.is_err() {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn streams_end_when_the_node_stops() {
    let server = Server::start().await;
    let mut blocks = open(&server, &EventTopic::Blocks, None).await;
    position(&mut blocks).await;
    server.stop.cancel();
    let end = tokio::time::timeout(PATIENCE, blocks.next()).await.expect("in time");
    assert!(matches!(end, Ok(None)), "{end:?}");
    tokio::time::timeout(PATIENCE, server.task).await.expect("the API ends").expect("no panic");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let config = ApiConfig { stall_timeout: Duration::from_millis(300), streams_max: 1, ..ApiConfig::default() };
    let server = Server::start_with(config).await;
    // Far more than what sockets hold.
    for block in 0..60_u64 {
        let payments: Vec<_> =
            (1..=200).map(|number| server.node.payment(200 * block + number, &[(address(2), 1, false)])).collect();
        server.post_encoded("", &payments).await;
    }
    let mut stream = server.connect().await;
    let head = format!("GET /v1/accounts/{}/events?after=0 HTTP/1.1\r\nhost: node\r\n\r\n", text(2));
    stream.write_all(head.as_bytes()).await.expect("a connection");
    let started = std::time::Instant::now();
    while server.client().events(&EventTopic::Blocks, None).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the stream of a client that reads nothing keeps its place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(stream);
}
