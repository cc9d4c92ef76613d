//! The client against servers that behave, and against those that do not.

use farthing_client::{Client, ClientError, ProblemCode, SubmitQuery, Wait};
use farthing_core::hash::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one request with these bytes, closes the connection, and returns what was asked.
async fn answer_once(answer: Vec<u8>) -> (Client, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (client, server)
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_problem_is_given_with_its_code() {
    let body = r#"{"type":"t","title":"t","status":200,"code":"no_such_account","detail":"nobody"}"#;
    let (client, server) = answer_once(response("404 Not Found", body)).await;
    let error = client.account("farl1x").await.unwrap_err();
    assert_eq!(error.code(), Some(ProblemCode::NoSuchAccount));
    assert_eq!(error.to_string(), "nobody");
    assert!(!error.may_have_arrived() && !error.another_may_answer());
    assert!(server.await.unwrap().starts_with("GET /v1/accounts/farl1x HTTP/1.1"));
}

#[tokio::test]
async fn a_submission_carries_its_bytes_and_its_query() {
    let (client, server) = answer_once(response("200 OK", r#"{"transactions":[]}"#)).await;
    let query = SubmitQuery { wait: Wait::Final, timeout_ms: Some(500) };
    assert_eq!(client.submit_bytes(b"bytes".to_vec(), query).await.unwrap().transactions.len(), 0);
    let request = server.await.unwrap();
    assert!(request.starts_with("POST /v1/transactions?wait=final&timeout_ms=500 HTTP/1.1"), "{request}");
    assert!(
        request.contains("content-type: application/octet-stream") && request.ends_with("\r\n\r\nbytes"),
        "{request}"
    );
}

#[tokio::test]
async fn without_a_connection_nothing_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&url).unwrap().submit_bytes(vec![1], SubmitQuery::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { url: tried, .. } if *tried == url), "{error:?}");
    assert!(!error.may_have_arrived() && error.another_may_answer());
}

#[tokio::test]
async fn a_broken_answer_leaves_it_open_whether_the_request_arrived() {
    for answer in [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"trans".to_vec(),
        response("200 OK", "not json"),
        response("502 Bad Gateway", "<html>"),
        response("301 Moved Permanently", ""),
    ] {
        let (client, server) = answer_once(answer.clone()).await;
        let error = client.submit_bytes(vec![1], SubmitQuery::default()).await.unwrap_err();
        assert!(error.may_have_arrived() && error.another_may_answer(), "{error:?} {answer:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let part = vec![b' '; 1 << 20];
        // Until the client hangs up.
        while stream.write_all(&part).await.is_ok() {}
    });
    let error = client.transaction(&Digest::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
    server.await.unwrap();
}

#[test]
fn addresses_are_checked_before_use() {
    for url in ["", "127.0.0.1:8080", "node.example", "ftp://node.example", "http://", "http://a/?b", "http://a/#b"] {
        assert!(matches!(Client::new(url), Err(ClientError::Address { .. })), "{url:?}");
    }
    for (url, shown) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://node.example/", "https://node.example"),
        (" http://node.example/farthing ", "http://node.example/farthing"),
    ] {
        assert_eq!(Client::new(url).unwrap().url(), shown);
    }
}
