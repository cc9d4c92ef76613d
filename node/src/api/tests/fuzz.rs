//! Hostile requests: malformed HTTP, JSON and encodings never make the API fail, hang or close its door. See `tests/fuzz/src/lib.rs`
//! for the mutations.

use super::fake_node::{address, prefix};
use super::{Answer, PATIENCE, Server, request_bytes};
use crate::api::ApiConfig;
use farthing_client::SignedTransactionJson;
use farthing_core::transaction::SignedTransaction;
use farthing_fuzz::Mutants;
use futures::StreamExt as _;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Requests under way at a time.
const AT_ONCE: usize = 32;

/// Requests of each kind, unless there is time for more.
const REQUESTS: usize = 1_000;

const HTTP: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    ":",
    " ",
    "/",
    "?",
    "%00",
    "%ff",
    "%2e%2e/",
    "&",
    "=",
    "\0",
    "GET ",
    "POST ",
    "OPTIONS ",
    "HTTP/1.1",
    "HTTP/2.0",
    "content-length: 18446744073709551616\r\n",
    "content-length: 5\r\n",
    "transfer-encoding: chunked\r\n",
    "expect: 100-continue\r\n",
    "upgrade: websocket\r\nconnection: upgrade\r\n",
    "content-type: application/json\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "latest",
    "wait=final",
    "timeout_ms=0",
    "cursor=1",
    "limit=0",
];

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "-1",
    "1e400",
    "18446744073709551616",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "0",
    "ff",
    "{}",
    "[]",
];

/// A server that has no patience with slow requests, so that half ones end soon.
async fn impatient() -> Server {
    let timeout = Duration::from_millis(200);
    Server::start_with(ApiConfig { header_timeout: timeout, body_timeout: timeout, ..ApiConfig::default() }).await
}

fn payments(server: &Server) -> Vec<SignedTransaction> {
    (1..=3).map(|nonce| server.node.payment(nonce, &[(address(2), nonce, false), (address(9), 1, true)])).collect()
}

/// All of what the server answers to these bytes.
async fn answers(server: &Server, request: Vec<u8>) -> Vec<u8> {
    let mut stream = server.connect().await;
    let mut answers = Vec::new();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(&request).await;
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
    assert!(read.is_ok(), "the server hangs after {:?}", String::from_utf8_lossy(&request));
    answers
}

/// Sends mutants until there are enough of them or the time is up. `check` sees each with its answers.
async fn send(server: &Server, mutants: Mutants, wrap: impl Fn(Vec<u8>) -> Vec<u8>, check: impl Fn(&[u8], &[u8])) {
    let seconds = std::env::var("FARTHING_FUZZ_SECONDS").ok().and_then(|text| text.parse::<f64>().ok());
    let started = Instant::now();
    let is_wanted = |number: usize| match seconds {
        Some(seconds) => started.elapsed().as_secs_f64() < seconds,
        None => number < REQUESTS,
    };
    let requests = mutants.enumerate().take_while(|(number, _)| is_wanted(*number)).map(|(_, input)| {
        let request = wrap(input);
        async { (answers(server, request.clone()).await, request) }
    });
    futures::stream::iter(requests)
        .buffer_unordered(AT_ONCE)
        .for_each(|(answers, request)| {
            check(&request, &answers);
            std::future::ready(())
        })
        .await;
    let health = ask(server, request_bytes("GET", "/healthz", "", b"")).await;
    assert_eq!(health.status, 200, "the server is as well as before");
}

/// The answer to a whole request, asked again if the server hung up without a word: this task may have been held up, between
/// connecting and writing, for longer than an impatient server waits.
async fn ask(server: &Server, request: Vec<u8>) -> Answer {
    for _ in 0..3 {
        let answers = answers(server, request.clone()).await;
        if !answers.is_empty() {
            return Answer::parse(&answers);
        }
    }
    panic!("the server says nothing to {:?}", String::from_utf8_lossy(&request));
}

fn assert_no_failure(request: &[u8], answers: &[u8]) {
    let failed = answers.windows(10).any(|window| window == b"HTTP/1.1 5");
    let text = String::from_utf8_lossy;
    assert!(!failed, "{:?} was answered with {}", text(request), text(answers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_hardly_http() {
    let server = impatient().await;
    let payments = payments(&server);
    let id = server.node.id(&payments[0]);
    let headers = "content-type: application/octet-stream\r\n";
    ask(&server, request_bytes("POST", "/v1/transactions?wait=final", headers, &payments[0].encode())).await;
    let account = address(1).encode(&prefix());
    let paths = [
        "/v1/status".into(),
        "/v1/validators".into(),
        "/v1/genesis".into(),
        "/v1/blocks/latest".into(),
        "/v1/blocks/1".into(),
        format!("/v1/transactions/{id}"),
        format!("/v1/transactions/{id}/receipt"),
        format!("/v1/accounts/{account}"),
        format!("/v1/accounts/{account}/proof"),
        format!("/v1/accounts/{account}/history?limit=3"),
        "/healthz".into(),
        "/readyz".into(),
        "/metrics".into(),
        "/openapi.json".into(),
        "/docs".into(),
        "/docs/index.html".into(),
    ];
    let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path: &String| request_bytes("GET", path, "", b"")).collect();
    let json = serde_json::to_vec(&SignedTransactionJson::new(&payments[1], &prefix())).expect("JSON");
    let headers = "content-type: application/json\r\n";
    seeds.push(request_bytes("POST", "/v1/transactions?wait=certified&timeout_ms=10", headers, &json));
    let headers = "content-type: application/octet-stream\r\n";
    seeds.push(request_bytes("POST", "/v1/transactions?wait=final", headers, &payments[2].encode()));
    seeds.push(request_bytes(
        "OPTIONS",
        "/v1/status",
        "origin: http://a\r\naccess-control-request-method: GET\r\n",
        b"",
    ));
    send(&server, Mutants::new(seeds, HTTP), |input| input, assert_no_failure).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_hardly_submissions() {
    // Every request is whole, so nothing has to be cut off; and each must be answered, however long this task is held up.
    let server = Server::start().await;
    let payments = payments(&server);
    let check = |request: &[u8], answers: &[u8]| {
        assert_no_failure(request, answers);
        let answer = Answer::parse(answers);
        match answer.status {
            200 => drop(answer.json::<farthing_client::SubmitResponse>()),
            _ => drop(answer.problem()),
        }
    };
    let encoded = vec![payments[0].encode(), payments.iter().flat_map(SignedTransaction::encode).collect()];
    let post = |content_type: &'static str| {
        let headers = format!("content-type: {content_type}\r\n");
        move |body: Vec<u8>| request_bytes("POST", "/v1/transactions?wait=final", &headers, &body)
    };
    send(&server, Mutants::new(encoded, &[]), post("application/octet-stream"), check).await;
    let json: Vec<_> = payments.iter().map(|signed| SignedTransactionJson::new(signed, &prefix())).collect();
    let json = vec![serde_json::to_vec(&json[0]).expect("JSON"), serde_json::to_vec(&json).expect("JSON")];
    send(&server, Mutants::new(json, JSON), post("application/json"), check).await;
    let answer = server.post_encoded("?wait=final", &payments).await;
    assert_eq!(answer.status, 200, "an honest submission is taken as before: {}", answer.text());
}
