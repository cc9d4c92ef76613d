//! The `GET` endpoints.

use super::Server;
use super::fake_node::{Mode, address, key, prefix};
use crate::api::NodeView as _;
use crate::handle::RefuseReason;
use crate::storage::Batch;
use bytes::Bytes;
use farthing_client::{
    AccountView, BlockView, Direction, Evidence, EvidenceError, HistoryPage, HistoryQuery, NodeStatus, ProblemCode,
    Role, SignedTransactionJson, TransactionState, TransactionStatus, ValidatorView,
};
use farthing_consensus::vertex::{VerifiedVertex, VertexHeader, VertexRef};
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::codec;
use farthing_core::hash::Digest;

fn text(number: u8) -> String {
    address(number).encode(&prefix())
}

#[tokio::test]
async fn a_transaction_is_found_by_its_id() {
    let server = Server::start().await;
    let signed = server.node.payment(1, &[(address(2), 5, false)]);
    let id = server.node.id(&signed);
    let client = server.client();
    assert_eq!(client.transaction(&id).await.expect("an answer").status, TransactionState::Unknown);
    server.get(&format!("/v1/transactions/{id}/receipt")).await.assert_problem(ProblemCode::NoSuchTransaction, "");
    server.node.set_mode(Mode::Holds);
    server.post_encoded("", std::slice::from_ref(&signed)).await;
    assert_eq!(client.transaction(&id).await.expect("an answer").status, TransactionState::Pending);
    let answer = server.get(&format!("/v1/transactions/{id}/receipt")).await;
    answer.assert_problem(ProblemCode::NotCertifiedYet, "in no block yet");
    server.node.set_mode(Mode::Executes);
    server.post_encoded("", std::slice::from_ref(&signed)).await;
    let status = client.transaction(&id).await.expect("an answer");
    assert_eq!((status.status, status.certified), (TransactionState::Executed, false));
    assert_eq!(status.transaction, Some(SignedTransactionJson::new(&signed, &prefix())));
    let answer = server.get(&format!("/v1/transactions/{id}/receipt")).await;
    answer.assert_problem(ProblemCode::NotCertifiedYet, "block 1");
    assert_eq!(answer.header("retry-after"), "1");
    // The certificate of the next block vouches for this one too.
    server.node.set_mode(Mode::Certifies);
    let next = server.node.payment(2, &[(address(2), 5, false)]);
    server.post_encoded("", std::slice::from_ref(&next)).await;
    assert!(client.transaction(&id).await.expect("an answer").certified);
    let receipt = client.receipt(&server.node.id(&next)).await.expect("a receipt");
    receipt.verify(&client.genesis().await.expect("the genesis document")).expect("a good receipt");
}

#[tokio::test]
async fn accounts_say_what_they_hold() {
    let server = Server::start().await;
    let signed = server.node.payment(3, &[(address(2), 5, false), (address(3), 7, true)]);
    server.post_encoded("", &[signed]).await;
    let client = server.client();
    let alice = client.account(&text(1)).await.expect("an account");
    let carol = client.account(&text(3)).await.expect("an account");
    let far = Amount::from_far(1).expect("one");
    let expected = AccountView {
        address: text(1),
        balance: Amount::from_mites(999_000_000_000 - 12),
        reserve: Amount::ZERO,
        sponsor: None,
        nonce_high: 3,
        nonce_seen: alice.nonce_seen,
        next_nonce: 4,
        as_of: alice.as_of,
    };
    assert_eq!(alice, expected);
    assert_eq!((alice.nonce_seen.0, alice.as_of.height, alice.as_of.commit_index), (1, 1, 1));
    assert_eq!((carol.balance, carol.reserve, carol.sponsor), (Amount::from_mites(7), far, Some(text(1))));
    server.get(&format!("/v1/accounts/{}", text(9))).await.assert_problem(ProblemCode::NoSuchAccount, &text(9));
}

#[tokio::test]
async fn account_proofs_verify() {
    let server = Server::start().await;
    let client = server.client();
    let genesis = client.genesis().await.expect("the genesis document");
    let path = format!("/v1/accounts/{}/proof", text(3));
    server.get(&path).await.assert_problem(ProblemCode::NoSuchAccount, &text(3));
    server.post_encoded("", &[server.node.payment(1, &[(address(3), 7, true)])]).await;
    // The next block publishes the root of the state with the new account.
    server.get(&path).await.assert_problem(ProblemCode::NotCertifiedYet, "again");
    server.post_encoded("", &[server.node.payment(2, &[(address(3), 7, false)])]).await;
    let proof = client.account_proof(&text(3)).await.expect("a proof");
    proof.verify(&genesis).expect("a good proof");
    let (proven, account) = proof.account().expect("a proof of an account");
    assert_eq!((*proven, account.balance), (address(3), Amount::from_mites(7)));
}

#[tokio::test]
async fn history_comes_in_pages() {
    let server = Server::start().await;
    for nonce in 1..=12 {
        server.post_encoded("", &[server.node.payment(nonce, &[(address(2), nonce, false)])]).await;
    }
    let client = server.client();
    let mut query = HistoryQuery { cursor: None, limit: Some(5) };
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = client.history(&text(2), &query).await.expect("a page");
        assert!(page.entries.len() <= 5);
        seen.extend(page.entries);
        pages += 1;
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    let amounts: Vec<_> = seen.iter().map(|entry| entry.amount.mites()).collect();
    assert_eq!((amounts, pages), ((1..=12).rev().collect(), 3));
    assert!(seen.iter().all(|entry| entry.direction == Direction::In && entry.counterparty == Some(text(1))));
    assert_eq!(seen[0].reference, Some(Digest([7; 32]).to_string()));
    let all: HistoryPage = server.get(&format!("/v1/accounts/{}/history?limit=12", text(2))).await.json();
    assert_eq!((all.entries, all.next), (seen, None));
    let empty: HistoryPage = server.get(&format!("/v1/accounts/{}/history", text(9))).await.json();
    assert_eq!((empty.entries, empty.next), (vec![], None));
}

#[tokio::test]
async fn history_tells_who_was_paid() {
    let server = Server::start().await;
    for (nonce, outputs) in [
        (1, vec![(address(2), 5, false)]),
        (2, vec![(address(1), 6, false)]),
        (3, vec![(address(2), 1, false), (address(1), 2, false)]),
    ] {
        server.post_encoded("", &[server.node.payment(nonce, &outputs)]).await;
    }
    let page: HistoryPage = server.get(&format!("/v1/accounts/{}/history", text(1))).await.json();
    let lines: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry.height, entry.direction, entry.counterparty.clone(), entry.amount.mites(), entry.outputs))
        .collect();
    assert_eq!(
        lines,
        [
            (3, Direction::In, Some(text(1)), 2, 2),
            (3, Direction::Out, None, 3, 2),
            (2, Direction::ToSelf, Some(text(1)), 6, 1),
            (1, Direction::Out, Some(text(2)), 5, 1),
        ]
    );
}

#[tokio::test]
async fn blocks_are_found_by_height() {
    let server = Server::start().await;
    server.get("/v1/blocks/latest").await.assert_problem(ProblemCode::NoSuchBlock, "genesis");
    let payments = [1, 2].map(|nonce| server.node.payment(nonce, &[(address(2), 5, false)]));
    server.post_encoded("", &payments).await;
    server.node.set_mode(Mode::Executes);
    server.post_encoded("", &[server.node.payment(3, &[(address(9), 5, false)])]).await;
    let first: BlockView = server.get("/v1/blocks/1").await.json();
    let latest: BlockView = server.get("/v1/blocks/latest").await.json();
    assert_eq!((first.header.height, first.hash, first.certified), (1, first.header.hash(), true));
    assert_eq!((latest.header.height, latest.header.previous, latest.certified), (2, first.hash, false));
    let ids: Vec<_> = first.transactions.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, payments.map(|signed| server.node.id(&signed)));
    assert!(!first.pruned);
    assert!(!latest.transactions[0].code.is_executed());
    server.get("/v1/blocks/3").await.assert_problem(ProblemCode::NoSuchBlock, "the newest is 2");
    server.get("/v1/blocks/0").await.assert_problem(ProblemCode::NoSuchBlock, "genesis");
    server.get("/v1/blocks/18446744073709551615").await.assert_problem(ProblemCode::NoSuchBlock, "the newest is 2");
}

#[tokio::test]
async fn what_is_pruned_is_said_to_be() {
    let server = Server::start().await;
    let id = server.node.id(&server.node.prune());
    let receipt = server.get(&format!("/v1/transactions/{id}/receipt")).await;
    receipt.assert_problem(ProblemCode::Pruned, "number 0 of block 1");
    let status: TransactionStatus = server.get(&format!("/v1/transactions/{id}")).await.json();
    assert_eq!((status.status, status.code), (TransactionState::Executed, Some(ResultCode::Executed)));
    assert!(status.transaction.is_none(), "what became of it is kept, what it said is not");
    let block: BlockView = server.get("/v1/blocks/1").await.json();
    assert_eq!((block.pruned, block.certified, block.header.transaction_count), (true, true, 1));
    assert!(block.transactions.is_empty());
    let history: HistoryPage = server.get(&format!("/v1/accounts/{}/history?cursor=2.0.0", text(2))).await.json();
    assert_eq!(history.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id], "history outlives bodies");
}

#[tokio::test]
async fn the_node_says_how_it_is() {
    let server = Server::start().await;
    server.post_encoded("", &[server.node.payment(1, &[(address(2), 5, false)])]).await;
    let status: NodeStatus = server.get("/v1/status").await.json();
    let genesis = server.client().genesis().await.expect("the genesis document");
    assert_eq!((status.network.as_str(), status.chain), ("testing", genesis.chain_hash()));
    assert_eq!((status.role, status.validator.as_deref()), (Role::Validator, Some("validator-2")));
    assert_eq!((status.height, status.commit_index, status.certified_height), (1, 1, 1));
    assert_eq!((status.state_root.height, status.state_root.commit_index), (1, 1));
    assert_eq!((status.peers_connected, status.validators, status.ready), (3, 4, true));
    assert_eq!(status.version, "1.2.3");
    let validators: Vec<ValidatorView> = server.get("/v1/validators").await.json();
    let seen: Vec<_> = validators
        .iter()
        .map(|validator| (validator.index, validator.name.as_str(), validator.connected, validator.last_round))
        .collect();
    let expected = [
        (0, "validator-0", true, 17),
        (1, "validator-1", true, 16),
        (2, "validator-2", true, 17),
        (3, "validator-3", false, 0),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_node_that_started_from_a_snapshot_says_that_it_does_not_know() {
    let server = Server::start().await;
    let old = server.node.id(&server.node.install_snapshot());
    // What it held before is still true, and what it never held is not denied.
    assert_eq!(server.client().transaction(&old).await.expect("an answer").status, TransactionState::Executed);
    let never = Digest::of_bytes(b"another one");
    assert_eq!(server.client().transaction(&never).await.expect("an answer").status, TransactionState::Unknown);
    let receipt = server.get(&format!("/v1/transactions/{never}/receipt")).await;
    receipt.assert_problem(ProblemCode::NotKept, "a snapshot at block 1000");
    assert!(server.client().block(Some(2)).await.expect("a header").pruned);
    for height in [3, 999] {
        server.get(&format!("/v1/blocks/{height}")).await.assert_problem(ProblemCode::NotKept, "at block 1000");
    }
    assert_eq!(server.client().block(Some(1_000)).await.expect("a header").header.height, 1_000);
    server.get("/v1/blocks/1001").await.assert_problem(ProblemCode::NoSuchBlock, "the newest is 1000");
}

#[tokio::test]
async fn evidence_is_shown_and_anybody_can_check_it() {
    let server = Server::start().await;
    assert_eq!(server.client().evidence().await.expect("a list"), []);
    let genesis = server.client().genesis().await.expect("the genesis document");
    let (chain, guilty) = (genesis.chain_hash(), key(103));
    let sign = |round, timestamp_ms| {
        let header = VertexHeader {
            epoch: 0,
            round,
            author: 2,
            timestamp_ms,
            parents: vec![VertexRef { round: round - 1, author: 2, digest: Digest::ZERO }],
            payload_digest: Digest::of_bytes(&[]),
            commit_vote: None,
            attestations: Vec::new(),
        };
        VerifiedVertex::sign(header, Bytes::new(), &chain, &guilty).signed_header().clone()
    };
    // The same validator, twice; the earlier one is shown.
    let pair = |round| codec::encode(&(sign(round, 1), sign(round, 2)));
    let evidence = vec![(9, 2, pair(9)), (7, 2, pair(7))];
    server.node.storage().apply(&Batch { evidence, ..Batch::default() }, true).expect("memory");
    let shown = server.client().evidence().await.expect("a list");
    let [evidence] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((evidence.author, evidence.validator.as_str(), evidence.round), (2, "validator-2", 7));
    assert_eq!(evidence.verify(&genesis), Ok(()));
    let validators = server.client().validators().await.expect("a list");
    let convicted: Vec<_> = validators.iter().filter(|validator| validator.equivocated).map(|one| one.index).collect();
    assert_eq!(convicted, [2]);

    // Nothing else passes for evidence.
    let refused = |change: &dyn Fn(&mut Evidence)| {
        let mut changed = evidence.clone();
        change(&mut changed);
        changed.verify(&genesis).expect_err("it proves nothing")
    };
    assert_eq!(refused(&|evidence| evidence.second = evidence.first.clone()), EvidenceError::Same);
    assert_eq!(refused(&|evidence| evidence.author = 4), EvidenceError::Validator(4));
    assert_eq!(refused(&|evidence| evidence.public_key = key(101).public_key()), EvidenceError::Validator(2));
    assert_eq!(refused(&|evidence| evidence.round = 8), EvidenceError::Header("first"));
    assert_eq!(refused(&|evidence| evidence.second.header.push('0')), EvidenceError::Header("second"));
    assert_eq!(refused(&|evidence| evidence.first.header.clear()), EvidenceError::Header("first"));
    let error = refused(&|evidence| evidence.second.signature = evidence.first.signature);
    assert!(matches!(error, EvidenceError::Signature("second", _)));
}

#[tokio::test]
async fn readiness_is_not_health() {
    let server = Server::start().await;
    assert_eq!(server.get("/readyz").await.status, 200);
    server.node.set_mode(Mode::Refuses(RefuseReason::NotReady));
    let answer = server.get("/readyz").await;
    answer.assert_problem(ProblemCode::Unavailable, "catching up");
    assert_eq!(answer.header("retry-after"), "1");
    server.node.set_mode(Mode::Stops);
    server.get("/readyz").await.assert_problem(ProblemCode::Unavailable, "another node");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn every_request_has_its_status_and_code() {
    use ProblemCode::*;
    let server = Server::start().await;
    let alice = text(1);
    let elsewhere = address(1).encode(&"main".parse().expect("a prefix"));
    let zeros = "0".repeat(64);
    let cases = [
        ("GET", "/".to_string(), NoSuchResource, "/docs"),
        ("GET", "/v1".into(), NoSuchResource, "/v1"),
        ("GET", "/v1/accounts/".into(), NoSuchResource, "/v1/accounts/"),
        ("GET", "/v1/status/".into(), NoSuchResource, "/v1/status/"),
        ("GET", "/docs/nothing.js".into(), NoSuchResource, "nothing.js"),
        ("GET", "/v1/transactions".into(), MethodNotAllowed, "GET"),
        ("DELETE", "/v1/status".into(), MethodNotAllowed, "DELETE"),
        ("POST", format!("/v1/accounts/{alice}"), MethodNotAllowed, "POST"),
        ("GET", "/v1/accounts/alice".into(), MalformedAddress, "alice"),
        ("GET", "/v1/accounts/%ff".into(), InvalidParameter, ""),
        ("GET", format!("/v1/accounts/{}", alice.replace('q', "p")), MalformedAddress, "typing"),
        ("GET", format!("/v1/accounts/{elsewhere}"), WrongNetwork, "\"test1\""),
        ("GET", format!("/v1/accounts/{elsewhere}/proof"), WrongNetwork, "\"main\""),
        ("GET", format!("/v1/accounts/{elsewhere}/history"), WrongNetwork, "\"main\""),
        ("GET", format!("/v1/accounts/{alice}?x=1"), InvalidParameter, "no query parameters"),
        ("GET", format!("/v1/accounts/{alice}/history?limit=0"), InvalidParameter, "1 to 100"),
        ("GET", format!("/v1/accounts/{alice}/history?limit=101"), InvalidParameter, "1 to 100"),
        ("GET", format!("/v1/accounts/{alice}/history?limit=x"), InvalidParameter, "limit"),
        ("GET", format!("/v1/accounts/{alice}/history?offset=1"), InvalidParameter, "unknown field `offset`"),
        ("GET", format!("/v1/accounts/{alice}/history?cursor="), InvalidCursor, "unchanged"),
        ("GET", format!("/v1/accounts/{alice}/history?cursor=1.2"), InvalidCursor, "unchanged"),
        ("GET", format!("/v1/accounts/{alice}/history?cursor=1.2.3.4"), InvalidCursor, "unchanged"),
        ("GET", format!("/v1/accounts/{alice}/history?cursor=1.2.4294967296"), InvalidCursor, "unchanged"),
        ("GET", "/v1/transactions/xyz".into(), InvalidParameter, "64 hexadecimal digits"),
        ("GET", format!("/v1/transactions/{zeros}0"), InvalidParameter, "64 hexadecimal digits"),
        ("GET", format!("/v1/transactions/{zeros}/receipt"), NoSuchTransaction, &zeros),
        ("GET", "/v1/transactions/xyz/receipt".into(), InvalidParameter, "64 hexadecimal digits"),
        ("GET", "/v1/blocks/-1".into(), InvalidParameter, "whole number"),
        ("GET", "/v1/blocks/+1".into(), InvalidParameter, "whole number"),
        ("GET", "/v1/blocks/18446744073709551616".into(), InvalidParameter, "whole number"),
        ("GET", "/v1/status?verbose".into(), InvalidParameter, "no query parameters"),
    ];
    for (method, path, code, mentions) in cases {
        let answer = server.request(method, &path, "", b"").await;
        assert_eq!(answer.status, code.status(), "{method} {path}: {}", answer.text());
        answer.assert_problem(code, mentions);
        assert_eq!(answer.header("allow").is_empty(), code != MethodNotAllowed, "{method} {path}");
    }
}
