//! Streams of events from servers that behave, and from those that do not.

use farthing_client::{Client, ClientError, Event, EventTopic, Events, ProblemCode};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Opens the stream of blocks after a cursor at a server that sends these pieces, some time apart, and closes the connection.
async fn stream(pieces: Vec<Vec<u8>>, after: Option<&str>) -> (Result<Events, ClientError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (asked, asked_for) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).await.unwrap();
        asked.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
        for piece in pieces {
            // Whoever reads no further has closed the connection.
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    (client.events(&EventTopic::Blocks, after).await, asked_for.await.unwrap())
}

fn head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec()
}

fn positions(heights: &[u64]) -> String {
    heights.iter().map(|height| format!("id: {height}\nevent: position\ndata: {{\"height\":{height}}}\n\n")).collect()
}

#[tokio::test]
async fn events_are_put_together_from_whatever_pieces_they_come_in() {
    let text = format!(": comment\n\nevent: later\nid: 4\ndata: x\n\n{}id: 9\nevent: po", positions(&[5, 6, 7]));
    for size in [1, 3, 10, 10_000] {
        let pieces = [vec![head()], text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect()].concat();
        let (events, request) = stream(pieces, Some("4.1.2")).await;
        assert!(request.starts_with("GET /v1/blocks/events?after=4.1.2 HTTP/1.1"), "{request}");
        let mut events = events.unwrap();
        assert_eq!(events.cursor(), Some("4.1.2"), "as long as nothing came");
        for height in [5, 6, 7] {
            let event = events.next().await.unwrap().expect("an event");
            assert!(matches!(event, Event::Position(position) if position.height == height), "{event:?}");
            assert_eq!(events.cursor(), Some(&*height.to_string()));
        }
        assert_eq!(events.next().await.unwrap(), None, "an event that was cut off is none");
        assert_eq!(events.cursor(), Some("7"));
    }
}

#[tokio::test]
async fn what_was_read_is_kept_when_a_wait_is_given_up() {
    let pieces = vec![head(), b"id: 5\nevent: position\nda".to_vec(), b"ta: {\"height\":5}\n\n".to_vec()];
    let mut events = stream(pieces, None).await.0.unwrap();
    let event = loop {
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
            break event.unwrap().expect("an event");
        }
    };
    assert!(matches!(event, Event::Position(position) if position.height == 5));
}

#[tokio::test]
async fn streams_that_are_none_are_refused() {
    let garbage = b"event: block\ndata: {}\n\n".to_vec();
    let binary = b"data: \xff\xfe\n\n".to_vec();
    let endless = vec![b'x'; 200 << 10];
    for bad in [garbage, binary, endless] {
        let mut events = stream(vec![head(), bad], None).await.0.unwrap();
        let error = events.next().await.unwrap_err();
        assert!(matches!(error, ClientError::BadAnswer { .. }), "{error:?}");
    }
    let body = r#"{"type":"t","title":"t","status":404,"code":"not_kept","detail":"gone"}"#;
    let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let error = stream(vec![answer], Some("0")).await.0.unwrap_err();
    assert_eq!(error.code(), Some(ProblemCode::NotKept));
}
