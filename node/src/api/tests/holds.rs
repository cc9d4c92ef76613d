//! Holds and references.

use super::Server;
use super::fake_node::{GENESIS_MS, address, prefix};
use farthing_client::{
    Direction, HistoryPage, HistoryQuery, HoldState, HoldsPage, OperationName, ProblemCode, ReferencePage,
};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::hold::Condition;
use farthing_core::state::SlotValue;
use farthing_core::transaction::{Capture, OpenHold, Operation, Proof, SignedTransaction, TransactionId};

const DAY_MS: u64 = 86_400_000;

fn text(number: u8) -> String {
    address(number).encode(&prefix())
}

/// Alice sets 100 mites aside for Bob.
fn opening(server: &Server, nonce: u64, condition: Condition) -> SignedTransaction {
    let open = OpenHold {
        payee: address(2),
        amount: Amount::from_mites(100),
        condition,
        expires_at_ms: GENESIS_MS + DAY_MS,
        reference: Some(Digest([7; 32])),
    };
    server.node.operation(1, nonce, Operation::OpenHold(Box::new(open)))
}

/// Bob captures up to so much.
fn capture(server: &Server, nonce: u64, hold: TransactionId, mites: u64, is_final: bool) -> SignedTransaction {
    let capture = Capture { hold, cumulative: Amount::from_mites(mites), proof: Proof::None, is_final };
    server.node.operation(2, nonce, Operation::Capture(Box::new(capture)))
}

#[tokio::test]
async fn a_hold_is_shown_from_its_opening_to_its_end_and_after() {
    let server = Server::start().await;
    let client = server.client();
    let signed = opening(&server, 1, Condition::Payee);
    let id = server.node.id(&signed);
    server.get(&format!("/v1/holds/{id}")).await.assert_problem(ProblemCode::NoSuchHold, "no hold");
    server.post_encoded("", &[signed]).await;
    let open = client.hold(&id).await.expect("a hold");
    assert_eq!((open.state, open.amount.mites(), open.captured), (HoldState::Open, 100, Some(Amount::ZERO)));
    assert_eq!((&open.payer, &open.payee, open.reference), (&text(1), &text(2), Some(Digest([7; 32]))));
    let terms = open.terms.expect("the terms of an open hold");
    assert_eq!((terms.end_ms, terms.closing_at_ms), (GENESIS_MS + DAY_MS, None));

    server.post_encoded("", &[capture(&server, 1, id, 30, false)]).await;
    assert_eq!(client.hold(&id).await.expect("a hold").captured, Some(Amount::from_mites(30)));
    server.post_encoded("", &[capture(&server, 2, id, 45, true)]).await;
    let closed = client.hold(&id).await.expect("still known");
    assert_eq!((closed.state, closed.amount.mites(), closed.terms), (HoldState::Closed, 100, None));
    assert_eq!(closed.captured, Some(Amount::from_mites(45)));

    let history: HistoryPage = server.get(&format!("/v1/holds/{id}/history")).await.json();
    let lines: Vec<_> = history.entries.iter().rev().map(|entry| (entry.operation, entry.direction)).collect();
    use OperationName::{Capture as Captured, OpenHold as Opened};
    let expected = [
        (Opened, Direction::Out),
        (Captured, Direction::Out),
        (Captured, Direction::In),
        (Captured, Direction::Out),
        (Captured, Direction::In),
        (Captured, Direction::In),
    ];
    assert_eq!(lines, expected, "what the payee took, twice, and what came back");
    assert!(history.entries.iter().all(|entry| entry.hold == Some(id)));
}

#[tokio::test]
async fn the_proof_of_a_hold_verifies() {
    let server = Server::start().await;
    let client = server.client();
    let signed = opening(&server, 1, Condition::Payee);
    let id = server.node.id(&signed);
    let path = format!("/v1/holds/{id}/proof");
    server.get(&path).await.assert_problem(ProblemCode::NoSuchHold, "");
    server.post_encoded("", &[signed]).await;
    server.get(&path).await.assert_problem(ProblemCode::NotCertifiedYet, "again");
    server.post_encoded("", &[server.node.payment(2, &[(address(2), 7, false)])]).await;
    let proof = client.hold_proof(&id).await.expect("a proof");
    proof.verify(&client.genesis().await.expect("the genesis document")).expect("a good proof");
    assert!(
        matches!(&proof.value, SlotValue::Hold { id: proven, hold } if *proven == id && hold.amount.mites() == 100)
    );
}

#[tokio::test]
async fn an_account_lists_its_holds_in_pages_closed_ones_too() {
    let server = Server::start().await;
    let client = server.client();
    let mut ids = Vec::new();
    for nonce in 1..=5 {
        let signed = opening(&server, nonce, Condition::Payee);
        ids.push(server.node.id(&signed));
        server.post_encoded("", &[signed]).await;
    }
    server.post_encoded("", &[server.node.operation(2, 1, Operation::Release { hold: ids[1] })]).await;
    ids.reverse();
    for account in [1, 2] {
        let mut query = HistoryQuery { cursor: None, limit: Some(2) };
        let mut seen = Vec::new();
        loop {
            let page: HoldsPage = client.holds(&text(account), &query).await.expect("a page");
            seen.extend(page.holds.into_iter().map(|hold| (hold.id, hold.state)));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        let state = |place| if place == 3 { HoldState::Closed } else { HoldState::Open };
        let expected: Vec<_> = (0..).zip(&ids).map(|(place, id)| (*id, state(place))).collect();
        assert_eq!(seen, expected, "account {account}");
    }
    assert!(client.holds(&text(9), &HistoryQuery::default()).await.expect("a page").holds.is_empty());
}

#[tokio::test]
async fn a_reference_finds_what_was_paid_with_it() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("/v1/references/{}", Digest([7; 32]));
    let none: ReferencePage = server.get(&path).await.json();
    assert_eq!((none.entries.len(), none.next), (0, None));
    let signed = opening(&server, 1, Condition::Payee);
    let id = server.node.id(&signed);
    server.post_encoded("", &[signed]).await;
    // Rejected: it pays nobody, and is found nowhere.
    server.post_encoded("", &[server.node.payment(2, &[(address(9), 5, false)])]).await;
    server.post_encoded("", &[server.node.payment(3, &[(address(2), 5, false)])]).await;
    server.post_encoded("", &[capture(&server, 1, id, 30, false)]).await;
    let page = client.reference(&Digest([7; 32]), &HistoryQuery::default()).await.expect("a page");
    let seen: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry.operation, entry.direction, entry.account.clone(), entry.amount.mites()))
        .collect();
    let expected = [
        (OperationName::Capture, Direction::In, text(2), 30),
        (OperationName::Transfer, Direction::In, text(2), 5),
        (OperationName::OpenHold, Direction::Out, text(1), 100),
    ];
    assert_eq!(seen, expected);
    assert_eq!(page.entries[2].counterparty, Some(text(2)));
    let first: ReferencePage = server.get(&format!("{path}?limit=1")).await.json();
    assert_eq!(first.entries, page.entries[..1]);
    let rest: ReferencePage = server.get(&format!("{path}?cursor={}", first.next.expect("more"))).await.json();
    assert_eq!(rest.entries, page.entries[1..]);
    server.get("/v1/references/77").await.assert_problem(ProblemCode::InvalidParameter, "reference");
    server.get(&format!("{path}?cursor=7")).await.assert_problem(ProblemCode::InvalidCursor, "");
}
