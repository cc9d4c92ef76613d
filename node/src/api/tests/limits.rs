//! What bounds the API, and how it ends.

use super::fake_node::{FakeNode, Mode, address};
use super::{Answer, PATIENCE, Server, request_bytes};
use crate::api::server::PeerAddress;
use crate::api::{ApiConfig, ApiMetrics, RateLimit, router};
use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use farthing_client::{Problem, ProblemCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// Reads until the other side closes or resets the connection.
async fn read_to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the other side closes the connection");
    bytes
}

#[tokio::test]
async fn bodies_are_bounded() {
    let server = Server::start_with(ApiConfig { body_bytes_max: 1_000, ..ApiConfig::default() }).await;
    let head = "content-type: application/octet-stream\r\n";
    let fits = server.request("POST", "/v1/transactions", head, &[0; 1_000]).await;
    fits.assert_problem(ProblemCode::MalformedBody, "transaction 0");
    let too_long = server.request("POST", "/v1/transactions", head, &[0; 1_001]).await;
    too_long.assert_problem(ProblemCode::BodyTooLarge, "1000 bytes");
    // Without a length up front it is noticed as it arrives.
    let mut stream = server.connect().await;
    let request = format!(
        "POST /v1/transactions HTTP/1.1\r\nhost: node\r\nconnection: close\r\n{head}transfer-encoding: chunked\r\n\r\n\
         3e9\r\n{}\r\n0\r\n\r\n",
        "0".repeat(1_001)
    );
    stream.write_all(request.as_bytes()).await.expect("a connection");
    Answer::read(&mut stream).await.assert_problem(ProblemCode::BodyTooLarge, "1000 bytes");
    assert_eq!(server.node.submissions(), 0);
}

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let config = ApiConfig { header_timeout: Duration::from_millis(300), ..ApiConfig::default() };
    let server = Server::start_with(config).await;
    for sent in ["", "GET /v1/sta", "GET /v1/status HTTP/1.1\r\nhost: node\r\n"] {
        let start = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(sent.as_bytes()).await.expect("a connection");
        let answer = read_to_the_end(&mut stream).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{sent:?}");
        assert!(start.elapsed() >= Duration::from_millis(300), "{sent:?}");
    }
    // Nor does a connection stay open for ever after a request.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n").await.expect("a connection");
    assert!(read_to_the_end(&mut stream).await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn slow_bodies_are_refused() {
    let config = ApiConfig { body_timeout: Duration::from_millis(200), ..ApiConfig::default() };
    let server = Server::start_with(config).await;
    let mut stream = server.connect().await;
    let request = request_bytes("POST", "/v1/transactions", "content-type: application/json\r\n", &[b' '; 100]);
    stream.write_all(&request[..request.len() - 1]).await.expect("a connection");
    Answer::read(&mut stream).await.assert_problem(ProblemCode::RequestTimeout, "did not arrive");
}

#[tokio::test]
async fn slow_answers_are_given_up() {
    let config = ApiConfig { request_timeout: Duration::from_millis(200), ..ApiConfig::default() };
    let server = Server::start_with(config).await;
    server.node.set_mode(Mode::Holds);
    let answer = server.post_encoded("?wait=final", &[server.node.payment(1, &[(address(2), 5, false)])]).await;
    answer.assert_problem(ProblemCode::Unavailable, "too long");
}

#[tokio::test]
async fn long_headers_are_refused() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let request = request_bytes("GET", "/healthz", &format!("x: {}\r\n", "x".repeat(100_000)), b"");
    let _ = stream.write_all(&request).await;
    assert!(!read_to_the_end(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    // As is what is no HTTP at all; and the server lives on.
    let mut stream = server.connect().await;
    stream.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0]).await.expect("a connection");
    assert!(!read_to_the_end(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = Server::start_with(ApiConfig { connections_max: 2, ..ApiConfig::default() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        // An answered request shows that the server has accepted the connection.
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n").await.expect("a connection");
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("an answer");
        held.push(stream);
    }
    let mut waiting = server.connect().await;
    waiting.write_all(&request_bytes("GET", "/healthz", "", b"")).await.expect("a connection");
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.read_exact(&mut byte)).await;
    assert!(early.is_err(), "a third connection is served while two are open");
    held.pop();
    let answer = tokio::time::timeout(PATIENCE, waiting.read_exact(&mut byte)).await;
    assert!(answer.is_ok_and(|read| read.is_ok()), "the waiting connection is served once there is room");
}

#[tokio::test]
async fn requests_beyond_the_rate_are_told_when_to_come_again() {
    let limit = RateLimit { requests_per_second: 1, burst: 2 };
    let config = Arc::new(ApiConfig { rate_limit: Some(limit), ..ApiConfig::default() });
    let node = Arc::new(FakeNode::new());
    let metrics = ApiMetrics::register(&mut node.registry());
    // Straight to the router, since every connection of a test comes from loopback, which is exempt.
    let mut router = router(node, metrics, config, CancellationToken::new());
    let mut ask = async |address: &str| {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/healthz".parse().expect("a path");
        request.extensions_mut().insert(PeerAddress(address.parse().expect("an address")));
        router.call(request).await.expect("infallible")
    };
    // Two at once, and one more for every second that this test is held up.
    let mut allowed = 0;
    let refused = loop {
        let answer = ask("203.0.113.7").await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 200);
        allowed += 1;
        assert!(allowed < 10, "there is no bound");
    };
    assert!(allowed >= 2, "{allowed} requests are allowed at once");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let body = axum::body::to_bytes(refused.into_body(), 10_000).await.expect("a body");
    let problem: Problem = serde_json::from_slice(&body).expect("a problem");
    assert_eq!((problem.code, problem.status), (ProblemCode::TooManyRequests, 429));
    for address in ["203.0.113.8", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
        assert_eq!(ask(address).await.status(), 200);
    }
}

#[tokio::test]
async fn bad_signatures_cost_their_sender_a_pause() {
    let node = Arc::new(FakeNode::new());
    let metrics = ApiMetrics::register(&mut node.registry());
    let mut router = router(node.clone(), metrics, Arc::new(ApiConfig::default()), CancellationToken::new());
    let good = node.payment(1, &[(address(2), 5, false)]);
    let mut bad = node.payment(2, &[(address(2), 5, false)]);
    bad.signature.0[40] ^= 1;
    let mut submit = async |from: &str, body: Vec<u8>| {
        let mut request = Request::new(Body::from(body));
        (*request.uri_mut(), *request.method_mut()) = ("/v1/transactions".parse().expect("a path"), Method::POST);
        request.headers_mut().insert("content-type", "application/octet-stream".parse().expect("a value"));
        request.extensions_mut().insert(PeerAddress(from.parse().expect("an address")));
        router.call(request).await.expect("infallible")
    };
    // A few are a mistake; a thousand are more than the address has made up for in the next half minute.
    assert_eq!(submit("203.0.113.7", bad.encode()).await.status(), 200);
    assert_eq!(submit("203.0.113.7", good.encode()).await.status(), 200);
    assert_eq!(submit("203.0.113.7", bad.encode().repeat(1_000)).await.status(), 200);
    let submissions = node.submissions();
    let refused = submit("203.0.113.7", good.encode()).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((30..=61).contains(&wait), "{wait} s");
    assert_eq!(node.submissions(), submissions, "nothing of it is looked at");
    for other in ["203.0.113.8", "127.0.0.1"] {
        assert_eq!(submit(other, good.encode()).await.status(), 200);
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_all() {
    let config = ApiConfig { bodies_bytes_max: 2_000, ..ApiConfig::default() };
    let server = Server::start_with(config).await;
    server.node.set_mode(Mode::Holds);
    let signed = server.node.payment(1, &[(address(2), 5, false)]);
    let body = signed.encode().repeat(8);
    assert!((1_000..2_000).contains(&body.len()));
    let mut first = server.connect().await;
    // Long enough for the second submission to come while the first is held.
    let path = "/v1/transactions?wait=final&timeout_ms=5000";
    let request = request_bytes("POST", path, "content-type: application/octet-stream\r\n", &body);
    first.write_all(&request).await.expect("a connection");
    while server.node.submissions() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = server.post_encoded("", &vec![signed.clone(); 8]).await;
    refused.assert_problem(ProblemCode::Unavailable, "as it can hold");
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(Answer::read(&mut first).await.status, 202);
    assert_eq!(server.post_encoded("", &vec![signed; 8]).await.status, 202, "what was answered holds nothing");
}

#[tokio::test]
async fn a_flood_of_connections_leaves_room_for_others() {
    let config = ApiConfig {
        connections_max: 64,
        connections_per_address_max: 16,
        header_timeout: Duration::from_millis(500),
        ..ApiConfig::default()
    };
    let server = Server::start_with(config).await;
    // Slow connections from elsewhere, many more than that address may have; each says a little and then nothing.
    let mut flood = Vec::new();
    for _ in 0..200 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        // Not loopback's usual address, but of loopback still: exempt from the bound for one address, so it fills all 64.
        socket.bind(([127, 0, 0, 2], 0).into()).expect("an address");
        let mut stream = socket.connect(server.address).await.expect("a listener");
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nx-slow: ").await;
        flood.push(stream);
    }
    // The time for headers makes room for everybody in turn.
    let start = Instant::now();
    assert_eq!(server.get("/healthz").await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(15), "it waited {:?}", start.elapsed());
}

#[tokio::test]
async fn clients_that_never_read_are_cut_off() {
    let stall_timeout = Duration::from_millis(300);
    let server = Server::start_with(ApiConfig { connections_max: 1, stall_timeout, ..ApiConfig::default() }).await;
    // Its answers fill every buffer on the way.
    let mut deaf = server.connect().await;
    let requests = b"GET /openapi.json HTTP/1.1\r\nhost: node\r\n\r\n".repeat(2_000);
    let sending = tokio::spawn(async move {
        let _ = deaf.write_all(&requests).await;
        deaf
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // There is one connection at a time, and it is free again.
    assert_eq!(server.get("/healthz").await.status, 200);
    let mut deaf = tokio::time::timeout(PATIENCE, sending).await.expect("an end").expect("no panic");
    read_to_the_end(&mut deaf).await;
}

#[tokio::test]
async fn old_connections_are_closed() {
    let config = ApiConfig { connection_age_max: Duration::from_millis(300), ..ApiConfig::default() };
    let server = Server::start_with(config).await;
    let start = Instant::now();
    let mut stream = server.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n").await.expect("a connection");
    assert!(read_to_the_end(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn requests_under_way_are_answered_at_shutdown() {
    let server = Server::start().await;
    server.node.set_mode(Mode::Holds);
    let mut idle = server.connect().await;
    let signed = server.node.payment(1, &[(address(2), 5, false)]);
    let mut busy = server.connect().await;
    let path = "/v1/transactions?wait=final&timeout_ms=500";
    let request = request_bytes("POST", path, "content-type: application/octet-stream\r\n", &signed.encode());
    busy.write_all(&request).await.expect("a connection");
    while server.node.submissions() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop.cancel();
    assert_eq!(Answer::read(&mut busy).await.status, 202);
    assert!(read_to_the_end(&mut idle).await.is_empty());
    tokio::time::timeout(PATIENCE, server.task).await.expect("an end").expect("a clean end");
    assert!(TcpStream::connect(server.address).await.is_err());
}
