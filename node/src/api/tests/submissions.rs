//! `POST /v1/transactions`.

use super::fake_node::{Mode, address, prefix};
use super::{Answer, Server};
use crate::handle::RefuseReason;
use farthing_client::{
    DroppedReason, ProblemCode, SignedTransactionJson, SubmitQuery, SubmitResponse, TRANSACTIONS_MAX, TransactionState,
    TransactionStatus, Wait,
};
use farthing_core::block::{DropReason, ResultCode};
use std::time::{Duration, Instant};

const JSON: &str = "application/json";
const ENCODED: &str = "application/octet-stream";

fn one(answer: &Answer) -> TransactionStatus {
    let SubmitResponse { mut transactions } = answer.json();
    assert_eq!(transactions.len(), 1);
    transactions.remove(0)
}

#[tokio::test]
async fn a_transfer_gives_a_receipt_that_verifies() {
    let server = Server::start().await;
    let signed = server.node.payment(1, &[(address(2), 2_500_000, false)]);
    let query = SubmitQuery { wait: Wait::Certified, timeout_ms: None };
    let response = server.client().submit(std::slice::from_ref(&signed), query).await.expect("an answer");
    let status = &response.transactions[0];
    assert_eq!(status.status, TransactionState::Executed);
    assert_eq!(status.code, Some(ResultCode::Executed));
    assert!(status.certified);
    let genesis = server.client().genesis().await.expect("the genesis document");
    let verified = status.receipt.as_ref().expect("a receipt").verify(&genesis).expect("a good receipt");
    assert_eq!((verified.id, verified.height), (server.node.id(&signed), 1));
    assert_eq!(status.block.expect("a place").hash, verified.block);
}

#[tokio::test]
async fn json_and_encoded_submissions_are_the_same() {
    let server = Server::start().await;
    let signed = server.node.payment(1, &[(address(2), 5, false), (address(3), 1, true)]);
    let json = SignedTransactionJson::new(&signed, &prefix());
    let single = serde_json::to_vec(&json).expect("JSON");
    let first = server.post("/v1/transactions?wait=final", JSON, &single).await;
    assert_eq!(first.status, 200);
    assert_eq!(one(&first).status, TransactionState::Executed);
    let list = serde_json::to_vec(&[&json]).expect("JSON");
    let again = [
        server.post("/v1/transactions?wait=final", JSON, &single).await,
        server.post("/v1/transactions?wait=final", "Application/JSON; charset=utf-8", &list).await,
        server.post_encoded("?wait=final", &[signed]).await,
    ];
    for answer in again {
        assert_eq!((answer.status, answer.text()), (200, first.text()));
    }
}

#[tokio::test]
async fn what_a_node_cannot_tell_is_unknown_and_not_dropped() {
    let server = Server::start().await;
    server.node.set_mode(Mode::Refuses(RefuseReason::Unknown));
    let status = one(&server.post_encoded("?wait=final", &[server.node.payment(1, &[(address(2), 5, false)])]).await);
    assert_eq!((status.status, status.reason), (TransactionState::Unknown, None));
    assert!(status.detail.is_some_and(|detail| detail.contains("ask another one")));
}

#[tokio::test]
async fn many_transactions_are_answered_in_order() {
    let server = Server::start().await;
    let mut transactions: Vec<_> =
        (1..=100).map(|nonce| server.node.payment(nonce, &[(address(2), nonce, false)])).collect();
    transactions[10].signature.0[0] ^= 1;
    transactions[20] = server.node.payment(21, &[(address(9), 1, false)]);
    transactions[30] = transactions[29].clone();
    let answer = server.post_encoded("?wait=final", &transactions).await;
    assert_eq!(answer.status, 200);
    let SubmitResponse { transactions: statuses } = answer.json();
    assert_eq!(statuses.len(), 100);
    for (number, (status, signed)) in statuses.iter().zip(&transactions).enumerate() {
        assert_eq!(status.id, server.node.id(signed));
        let expected = match number {
            10 => (TransactionState::Dropped, None, Some(DroppedReason::BadSignature)),
            20 => (TransactionState::Rejected, Some(ResultCode::NoSuchAccount), None),
            _ => (TransactionState::Executed, Some(ResultCode::Executed), None),
        };
        assert_eq!((status.status, status.code, status.reason), expected, "transaction {number}");
        assert_eq!(status.detail.is_some(), number == 10 || number == 20);
    }
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let server = Server::start().await;
    let signed = [server.node.payment(1, &[(address(2), 5, false)])];
    let drops = [
        (DropReason::UnknownSender, DroppedReason::UnknownSender),
        (DropReason::UnknownKey, DroppedReason::UnknownKey),
        (DropReason::Expired, DroppedReason::Expired),
        (DropReason::ValidTooLong, DroppedReason::ValidTooLong),
        (DropReason::NonceUsed, DroppedReason::NonceUsed),
        (DropReason::NonceTooHigh, DroppedReason::NonceTooHigh),
        (DropReason::InsufficientBandwidth, DroppedReason::InsufficientBandwidth),
    ];
    let mut cases: Vec<_> = drops.map(|(drop, reason)| (RefuseReason::Dropped(drop), reason)).to_vec();
    let later = RefuseReason::Later { reason: DropReason::InsufficientBandwidth, passes_at_ms: 77 };
    cases.push((later, DroppedReason::InsufficientBandwidth));
    cases.push((RefuseReason::BadSignature, DroppedReason::BadSignature));
    cases.push((RefuseReason::SenderFull, DroppedReason::SenderLimit));
    cases.push((RefuseReason::NonceFull, DroppedReason::SenderLimit));
    for (refused, reason) in cases {
        server.node.set_mode(Mode::Refuses(refused));
        let answer = server.post_encoded("", &signed).await;
        let status = one(&answer);
        assert_eq!((answer.status, status.status, status.reason), (200, TransactionState::Dropped, Some(reason)));
        assert!(status.detail.is_some_and(|detail| !detail.is_empty()));
        assert_eq!(status.passes_at_ms, (refused == later).then_some(77));
    }
    for refused in [RefuseReason::NotReady, RefuseReason::MempoolFull] {
        server.node.set_mode(Mode::Refuses(refused));
        let answer = server.post_encoded("", &signed).await;
        answer.assert_problem(ProblemCode::Unavailable, "another node");
        assert_eq!(answer.header("retry-after"), "1");
    }
    server.node.set_mode(Mode::Full);
    let answer = server.post_encoded("", &signed).await;
    answer.assert_problem(ProblemCode::Unavailable, "in good time");
    assert_eq!(answer.header("retry-after"), "1");
    server.node.set_mode(Mode::Stops);
    server.post_encoded("", &signed).await.assert_problem(ProblemCode::Unavailable, "another node");
}

#[tokio::test]
async fn waiting_is_bounded() {
    let server = Server::start().await;
    server.node.set_mode(Mode::Holds);
    let signed = [server.node.payment(1, &[(address(2), 5, false)])];
    let answer = server.post_encoded("", &signed).await;
    assert_eq!((answer.status, one(&answer).status), (202, TransactionState::Pending));
    let start = Instant::now();
    let answer = server.post_encoded("?wait=final&timeout_ms=100", &signed).await;
    assert_eq!((answer.status, one(&answer).status), (202, TransactionState::Pending));
    assert!(start.elapsed() >= Duration::from_millis(100));
    let status = server.client().transaction(&server.node.id(&signed[0])).await.expect("an answer");
    assert_eq!(status.status, TransactionState::Pending);
    // In a block that is not certified: waiting for a certificate has not come to its end.
    server.node.set_mode(Mode::Executes);
    for (wait, status) in [("final", 200), ("certified", 202)] {
        let answer = server.post_encoded(&format!("?wait={wait}"), &signed).await;
        assert_eq!((answer.status, one(&answer).status), (status, TransactionState::Executed));
        assert!(!one(&answer).certified && one(&answer).receipt.is_none());
    }
}

#[tokio::test]
async fn large_submissions_are_answered_without_receipts() {
    let server = Server::start().await;
    let transactions: Vec<_> =
        (1..=65).map(|nonce| server.node.payment(nonce, &[(address(2), nonce, false)])).collect();
    for (count, receipts) in [(64, 64), (65, 0)] {
        let answer = server.post_encoded("?wait=certified", &transactions[..count]).await;
        let SubmitResponse { transactions: statuses } = answer.json();
        assert!(statuses.iter().all(|status| status.certified));
        assert_eq!(statuses.iter().filter(|status| status.receipt.is_some()).count(), receipts);
    }
}

#[tokio::test]
async fn malformed_submissions_say_what_and_where() {
    let server = Server::start().await;
    let signed = server.node.payment(1, &[(address(2), 5, false)]);
    let good = serde_json::to_value(SignedTransactionJson::new(&signed, &prefix())).expect("JSON");
    let with = |pointer: &str, value: serde_json::Value| {
        let mut json = good.clone();
        *json.pointer_mut(pointer).expect("a field") = value;
        json.to_string()
    };
    let elsewhere = address(2).encode(&"main".parse().expect("a prefix"));
    let mistyped = address(2).encode(&prefix()).replace('q', "p");
    let unknown_field = {
        let mut json = good.clone();
        json["fee"] = 1.into();
        json.to_string()
    };
    let too_many = serde_json::to_string(&vec![&good; TRANSACTIONS_MAX + 1]).expect("JSON");
    let cases = [
        (String::new(), ProblemCode::MalformedBody, "line 1 column 0"),
        ("{".into(), ProblemCode::MalformedBody, "line 1 column 1"),
        ("[]".into(), ProblemCode::TransactionCount, "0 transactions"),
        ("[null]".into(), ProblemCode::MalformedBody, "column 5"),
        ("5".into(), ProblemCode::MalformedBody, "column 1"),
        (format!("{good}x"), ProblemCode::MalformedBody, "trailing"),
        ("[".repeat(500), ProblemCode::MalformedBody, "line 1"),
        (unknown_field, ProblemCode::MalformedBody, "unknown field `fee`"),
        (with("/signature", "00".into()), ProblemCode::MalformedBody, "128 hexadecimal digits"),
        (with("/nonce", (-1).into()), ProblemCode::MalformedBody, "-1"),
        (with("/nonce", 1.5.into()), ProblemCode::MalformedBody, "1.5"),
        (with("/operation/transfer/outputs/0/amount", 5.into()), ProblemCode::MalformedBody, "string"),
        (with("/operation/transfer/outputs/0/amount", "0".into()), ProblemCode::MalformedBody, "1 mite"),
        (with("/operation/transfer/outputs/0/amount", "5 FAR".into()), ProblemCode::MalformedBody, "5 FAR"),
        (with("/operation/transfer/outputs", serde_json::json!([])), ProblemCode::MalformedBody, "1024 outputs"),
        (with("/operation/transfer/outputs/0/to", mistyped.into()), ProblemCode::MalformedAddress, "transaction 0"),
        (with("/sender", elsewhere.into()), ProblemCode::WrongNetwork, "\"main\""),
        (too_many, ProblemCode::TransactionCount, "1025 transactions"),
    ];
    for (body, code, mentions) in cases {
        server.post("/v1/transactions", JSON, body.as_bytes()).await.assert_problem(code, mentions);
    }
    let encoded = signed.encode();
    let mut zero = encoded.clone();
    let amount = zero.windows(8).position(|bytes| bytes == 5_u64.to_le_bytes()).expect("the amount");
    zero[amount] = 0;
    let too_many = encoded.repeat(TRANSACTIONS_MAX + 1);
    let cases: [(&[u8], _, _); 5] = [
        (b"", ProblemCode::TransactionCount, "empty"),
        (&encoded[..encoded.len() - 1], ProblemCode::MalformedBody, "transaction 0"),
        (&[&encoded[..], b"x"].concat(), ProblemCode::MalformedBody, "transaction 1"),
        (&zero, ProblemCode::MalformedBody, "1 mite"),
        (&too_many, ProblemCode::MalformedBody, "more than 1024"),
    ];
    for (body, code, mentions) in cases {
        server.post("/v1/transactions", ENCODED, body).await.assert_problem(code, mentions);
    }
    assert_eq!(server.node.submissions(), 0, "nothing malformed reaches the node");
}

#[tokio::test]
async fn requests_are_taken_strictly() {
    let server = Server::start().await;
    let signed = server.node.payment(1, &[(address(2), 5, false)]);
    for (query, mentions) in [
        ("?wait=forever", "forever"),
        ("?wait=final&wait=final", "duplicate"),
        ("?waiting=final", "unknown field `waiting`"),
        ("?timeout_ms=-1", "timeout_ms"),
        ("?timeout_ms=60001", "60000 ms at most"),
    ] {
        server
            .post_encoded(query, std::slice::from_ref(&signed))
            .await
            .assert_problem(ProblemCode::InvalidParameter, mentions);
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answer = server.post("/v1/transactions", content_type, &signed.encode()).await;
        answer.assert_problem(ProblemCode::UnsupportedMediaType, "application/json");
    }
    assert_eq!(server.node.submissions(), 0);
}
