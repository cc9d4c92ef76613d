//! The API over a real listener, with a node behind it that executes what it gets at once.

mod documents;
mod events;
mod fake_node;
mod fuzz;
mod holds;
mod limits;
mod reads;
mod spending;
mod submissions;

use super::{ApiConfig, ApiMetrics, serve};
use fake_node::FakeNode;
use farthing_client::{Client, Problem, ProblemCode};
use farthing_core::transaction::SignedTransaction;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A served API.
struct Server {
    address: SocketAddr,
    node: Arc<FakeNode>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        Server::start_with(ApiConfig::default()).await
    }

    async fn start_with(config: ApiConfig) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let node = Arc::new(FakeNode::new());
        let metrics = ApiMetrics::register(&mut node.registry());
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, node.clone(), metrics, config, stop.clone()));
        Server { address, node, stop, task }
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address)).expect("an address")
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a listener")
    }

    async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", b"").await
    }

    async fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.request("POST", path, &format!("content-type: {content_type}\r\n"), body).await
    }

    async fn post_encoded(&self, query: &str, transactions: &[SignedTransaction]) -> Answer {
        let body: Vec<u8> = transactions.iter().flat_map(SignedTransaction::encode).collect();
        self.post(&format!("/v1/transactions{query}"), "application/octet-stream", &body).await
    }

    async fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(&request_bytes(method, path, headers, body)).await.expect("a connection");
        Answer::read(&mut stream).await
    }
}

fn request_bytes(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer, as it came over the wire.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    /// Reads to the end of the connection.
    async fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end").expect("an answer");
        Answer::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an end of the headers");
        let head = std::str::from_utf8(&bytes[..end]).expect("text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_lowercase(), value.to_string()))
            .collect();
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The problem that this answer must be; its fields agree with one another and with the status line.
    #[track_caller]
    fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}: {}", self.status, self.text());
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.kind, format!("urn:farthing:problem:{}", problem.code));
        assert!(!problem.detail.is_empty());
        problem
    }

    /// Checks that the answer is this problem, and that its detail mentions something.
    #[track_caller]
    fn assert_problem(&self, code: ProblemCode, mentions: &str) {
        let problem = self.problem();
        assert_eq!((problem.code, problem.status), (code, code.status()), "{}", problem.detail);
        assert!(problem.detail.contains(mentions), "{:?} does not mention {mentions:?}", problem.detail);
    }
}
