//! What goes over HTTP as JSON: submissions to a node, and its answers, which a wallet must not trust.

use crate::fixtures::{address, chain, genesis, prefix, transfers};
use crate::json;
use crate::proofs::JSON;
use farthing_client::{
    AccountView, AsOf, BlockPosition, BlockTransaction, BlockView, Direction, HistoryEntry, HistoryPage, NodeStatus,
    NonceBits, OperationName, Problem, ProblemCode, Role, SignedTransactionJson, StateRoot, Submission, SubmitResponse,
    TransactionState, TransactionStatus, ValidatorView,
};
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::hash::Digest;
use farthing_fuzz::Target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &'static str, seeds: &[T]) {
    let seeds = seeds.iter().map(|seed| serde_json::to_string(seed).expect("plain data")).collect();
    Target::text(name, seeds, JSON, |input| json::<T>(input).map(drop)).check();
}

#[test]
fn submissions() {
    let one = |signed| SignedTransactionJson::new(signed, &prefix());
    let transfers = transfers();
    let seeds = [
        Submission::One(Box::new(one(&transfers[1]))),
        Submission::Many(transfers.iter().map(one).collect()),
        Submission::Many(Vec::new()),
    ];
    let seeds = seeds.iter().map(|seed| serde_json::to_string(seed).expect("plain data")).collect();
    let chain = genesis().chain_hash();
    Target::text("submission-json", seeds, JSON, |input| {
        for json in json::<Submission>(input)?.into_vec() {
            let signed = json.to_signed(&prefix()).map_err(|error| error.to_string())?;
            let again = SignedTransactionJson::new(&signed, &prefix()).to_signed(&prefix());
            assert_eq!(again.as_ref(), Ok(&signed), "a transaction changes when it is written as JSON");
            assert!(signed.clone().verify(&chain).is_err() || transfers.contains(&signed), "nobody signed this");
        }
        Ok(())
    })
    .check();
}

#[test]
fn answers_about_transactions() {
    let receipt = chain().receipts[2].clone();
    let id = receipt.transaction.transaction.id(&genesis().chain_hash());
    let block = BlockPosition { height: 2, hash: receipt.header.hash(), position: 0, timestamp_ms: 1, commit_index: 2 };
    let executed = TransactionStatus {
        code: Some(ResultCode::Executed),
        detail: Some("text".into()),
        block: Some(block),
        certified: true,
        transaction: Some(SignedTransactionJson::new(&receipt.transaction, &prefix())),
        receipt: Some(receipt),
        ..TransactionStatus::new(id, TransactionState::Executed)
    };
    let pending = TransactionStatus::new(id, TransactionState::Pending);
    check("answer-status", &[executed.clone(), pending.clone()]);
    check("answer-submit", &[SubmitResponse { transactions: vec![executed, pending] }]);
    check("answer-problem", &[Problem::new(ProblemCode::Pruned, "gone"), Problem::new(ProblemCode::Internal, "")]);
}

#[test]
fn answers_about_accounts() {
    let account = AccountView {
        address: address(1).encode(&prefix()),
        balance: Amount::from_mites(5),
        reserve: Amount::ZERO,
        nonce_high: 7,
        nonce_seen: NonceBits(0b101),
        next_nonce: 8,
        sponsor: Some(address(2).encode(&prefix())),
        as_of: AsOf { height: 1, commit_index: 2, timestamp_ms: 3 },
    };
    check("answer-account", &[account]);
    let entry = HistoryEntry {
        account: address(1).encode(&prefix()),
        operation: OperationName::Transfer,
        hold: None,
        id: Digest([1; 32]),
        direction: Direction::ToSelf,
        counterparty: None,
        amount: Amount::from_mites(9),
        code: ResultCode::NoSuchAccount,
        reference: Some("00".repeat(32)),
        height: 1,
        position: 0,
        timestamp_ms: 5,
        outputs: 1,
    };
    check("answer-history", &[HistoryPage { entries: vec![entry], next: Some("1.2.3".into()) }]);
}

#[test]
fn answers_about_the_node() {
    let header = chain().headers[1].clone();
    let hash = header.hash();
    let transactions = vec![BlockTransaction { id: Digest([3; 32]), code: ResultCode::Executed }];
    check("answer-block", &[BlockView { header, hash, certified: true, pruned: false, transactions }]);
    let status = NodeStatus {
        network: "fuzzing".into(),
        chain: genesis().chain_hash(),
        address_prefix: prefix(),
        version: "1.2.3".into(),
        role: Role::Validator,
        validator: Some("validator 1".into()),
        round: 5,
        commit_index: 4,
        height: 3,
        block_hash: hash,
        timestamp_ms: 2,
        certified_height: 1,
        state_root: StateRoot { root: Digest::ZERO, height: 3, commit_index: 4 },
        peers_connected: 3,
        validators: 4,
        mempool_transactions: 0,
        mempool_bytes: 0,
        uptime_s: 1,
        catching_up: false,
        ready: true,
    };
    check("answer-node", &[status]);
    let public_key = address(1).0;
    let validator =
        ValidatorView { index: 0, name: "v".into(), public_key, connected: true, last_round: 9, equivocated: false };
    check("answer-validators", &[vec![validator.clone(), validator], Vec::new()]);
}
