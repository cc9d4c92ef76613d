//! Receipts and account proofs: they verify offline, and every bit of them counts.

use crate::helpers::{
    GENESIS_MS, act, address, certificate, commit, key, mites, network, next, output, transfer, validators,
};
use farthing_core::account::Account;
use farthing_core::block::{BlockHeader, ResultCode, TransactionResult};
use farthing_core::certificate::CertificateError;
use farthing_core::codec;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::genesis::Genesis;
use farthing_core::hash::Digest;
use farthing_core::hold::Condition;
use farthing_core::receipt::{Receipt, ReceiptError, transaction_path};
use farthing_core::state::SlotValue;
use farthing_core::state_proof::{StateProof, StateProofError};
use farthing_core::transaction::{Authority, Capture, OpenHold, Operation, Proof, SetKey, SignedTransaction};

fn genesis() -> Genesis {
    network(&[(1, 1_000), (2, 500), (3, 7)])
}

/// Three signed transfers: executed, rejected, executed with an opening.
fn transfers(genesis: &Genesis) -> Vec<SignedTransaction> {
    let chain = genesis.chain_hash();
    let bodies = [
        (1, transfer(1, 1, vec![output(2, 10, false)])),
        (2, transfer(2, 1, vec![output(1, 511, false)])),
        (1, transfer(1, 2, vec![output(4, 10, true)])),
    ];
    bodies.into_iter().map(|(person, body)| body.sign(&chain, &key(person))).collect()
}

/// Executes the transfers, signatures checked, and a few empty seconds; returns the ledger, the results and the headers after block 0.
fn run(genesis: &Genesis) -> (Ledger, Vec<TransactionResult>, Vec<BlockHeader>) {
    let chain = genesis.chain_hash();
    let mut ledger = Ledger::genesis(genesis);
    let verified: Vec<_> = transfers(genesis).into_iter().map(|signed| signed.verify(&chain).unwrap()).collect();
    let digest = Digest::of("test commit", &[]);
    let first = CommitContext { epoch: 0, index: 1, digest, timestamp_ms: GENESIS_MS + 700 };
    let block = ledger.execute(&first, &verified).block.unwrap();
    let results = block.results.iter().map(|(_, result)| *result).collect();
    let mut headers = vec![block.header];
    headers.push(commit(&mut ledger, 1_700, &[]).block.unwrap().header);
    headers.push(commit(&mut ledger, 1_800, &[transfer(3, 1, vec![output(3, 7, false)])]).block.unwrap().header);
    (ledger, results, headers)
}

/// The receipt of the transfer at a position, certified partly through the block's descendants.
fn receipt(genesis: &Genesis, position: u32) -> Receipt {
    let (_, results, headers) = run(genesis);
    Receipt {
        transaction: transfers(genesis)[position as usize].clone(),
        code: results[position as usize].code,
        position,
        path: transaction_path(&results, position),
        header: headers[0].clone(),
        certificate: certificate(&headers, &[(0, 0), (1, 2), (3, 1)]),
    }
}

fn account_proof(genesis: &Genesis, person: u8) -> StateProof {
    let (ledger, _, headers) = run(genesis);
    let proof = ledger.prove_account(&address(person)).unwrap();
    assert_eq!(proof.header(), &headers[1]);
    proof.certify(certificate(&headers[1..], &[(1, 0), (2, 1), (3, 0)]))
}

/// The account that a proof proves.
fn content(proof: &StateProof) -> (farthing_core::address::Address, &Account) {
    let (address, account) = proof.account().expect("a proof of an account");
    (*address, account)
}

/// Asserts that no value whose encoding differs in one bit passes.
fn every_bit_counts<T: borsh::BorshSerialize>(value: &T, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = codec::encode(value);
    assert!(passes(&bytes));
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!passes(&bytes), "bit {bit} does not count");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn receipts_prove_what_became_of_each_transaction() {
    let genesis = genesis();
    let codes = [ResultCode::Executed, ResultCode::InsufficientBalance, ResultCode::Executed];
    for (position, code) in (0..).zip(codes) {
        let receipt = receipt(&genesis, position);
        let proven = receipt.verify(&genesis).unwrap();
        assert_eq!(proven.id, receipt.transaction.transaction.id(&genesis.chain_hash()));
        assert_eq!((proven.code, proven.height, proven.timestamp_ms), (code, 1, GENESIS_MS + 700));
        assert_eq!((proven.block, proven.signers), (receipt.header.hash(), vec![0, 1, 3]));
    }
}

#[test]
fn every_bit_of_a_receipt_counts() {
    let genesis = genesis();
    let passes = |bytes: &[u8]| Receipt::decode(bytes).is_ok_and(|receipt| receipt.verify(&genesis).is_ok());
    every_bit_counts(&receipt(&genesis, 2), passes);
}

#[test]
fn every_bit_of_an_account_proof_counts() {
    let genesis = genesis();
    let passes = |bytes: &[u8]| StateProof::decode(bytes).is_ok_and(|proof| proof.verify(&genesis).is_ok());
    // The one account is of the genesis document, the other one was opened.
    every_bit_counts(&account_proof(&genesis, 1), passes);
    every_bit_counts(&account_proof(&genesis, 4), passes);
}

#[test]
fn account_proofs_prove_the_state_before_their_block() {
    let genesis = genesis();
    let (ledger, _, _) = run(&genesis);
    let expect = [(1, 1_000 - 10 - 10 - 100), (2, 510), (3, 7), (4, 10)];
    for (person, balance) in expect {
        let proof = account_proof(&genesis, person);
        assert_eq!(proof.verify(&genesis), Ok(()));
        let (proven, account) = content(&proof);
        assert_eq!((proven, account.balance), (address(person), mites(balance)));
    }
    // The nonce used in the block after the root is not in the proof, though it is in the state.
    assert_eq!(content(&account_proof(&genesis, 3)).1.nonces.high(), 0);
    assert_eq!(ledger.account(&address(3)).unwrap().nonces.high(), 1);
    assert_eq!(ledger.prove_account(&address(9)), None, "slots cannot prove absence");
}

#[test]
fn another_genesis_document_refuses() {
    let here = genesis();
    let elsewhere = network(&[(1, 1_000), (2, 500), (3, 8)]);
    assert!(matches!(receipt(&here, 0).verify(&elsewhere), Err(ReceiptError::Signature(_))));
    let other_chain = account_proof(&here, 1).verify(&elsewhere);
    assert!(matches!(other_chain, Err(StateProofError::Certificate(CertificateError::OtherChain { .. }))));
}

#[test]
fn a_committee_of_others_refuses() {
    let here = genesis();
    let mut others = validators(4);
    others.iter_mut().for_each(|validator| validator.public_key.0[0] ^= 1);
    let json = here.to_json().replace(&here.validators()[0].public_key.to_string(), &others[0].public_key.to_string());
    let elsewhere = Genesis::from_json(&json).unwrap();
    assert!(receipt(&here, 0).verify(&elsewhere).is_err());
}

#[test]
fn each_lie_has_its_error() {
    let genesis = genesis();
    let good = receipt(&genesis, 0);
    let refused = |lie: fn(&mut Receipt)| {
        let mut receipt = good.clone();
        lie(&mut receipt);
        receipt.verify(&genesis).unwrap_err()
    };
    assert!(matches!(refused(|receipt| receipt.transaction.signature.0[40] ^= 1), ReceiptError::Signature(_)));
    assert_eq!(refused(|receipt| receipt.code = ResultCode::NoSuchAccount), ReceiptError::NotInBlock);
    assert_eq!(refused(|receipt| receipt.position = 1), ReceiptError::NotInBlock);
    assert_eq!(refused(|receipt| receipt.position = 3), ReceiptError::NotInBlock);
    assert_eq!(refused(|receipt| receipt.path.truncate(1)), ReceiptError::NotInBlock);
    assert_eq!(refused(|receipt| receipt.header.transaction_count = 4), ReceiptError::NotInBlock);
    assert!(matches!(refused(|receipt| receipt.header.height = 2), ReceiptError::Certificate(_)));
    assert!(matches!(refused(|receipt| receipt.certificate.attestations.truncate(2)), ReceiptError::Certificate(_)));

    let mut rootless = account_proof(&genesis, 1);
    rootless.header.state_root = None;
    assert_eq!(rootless.verify(&genesis), Err(StateProofError::NoStateRoot));
    let mut richer = account_proof(&genesis, 1);
    let SlotValue::Account { account, .. } = &mut richer.value else { panic!("not an account") };
    account.balance = mites(1_000_000);
    assert_eq!(richer.verify(&genesis), Err(StateProofError::NotInState));
}

#[test]
fn json_says_the_same() {
    let genesis = genesis();
    let receipt = receipt(&genesis, 1);
    let json = serde_json::to_value(&receipt).unwrap();
    assert_eq!(json["transaction"], hex::encode(receipt.transaction.encode()));
    assert_eq!(json["code"], "insufficient_balance");
    assert_eq!(serde_json::from_value::<Receipt>(json.clone()).unwrap(), receipt);
    let mut longer = json;
    longer["transaction"] = format!("{}00", hex::encode(receipt.transaction.encode())).into();
    assert!(serde_json::from_value::<Receipt>(longer).is_err(), "trailing bytes");

    let proof = account_proof(&genesis, 4);
    let json = serde_json::to_value(&proof).unwrap();
    assert_eq!(
        (&json["value"]["account"]["address"], &json["value"]["account"]["account"]["sponsor"]),
        (&address(4).0.to_string().into(), &address(1).0.to_string().into())
    );
    assert_eq!(json["value"]["account"]["account"]["balance"], "10");
    assert_eq!(serde_json::from_value::<StateProof>(json).unwrap(), proof);
}

#[test]
fn holds_and_keys_are_proven_too() {
    let genesis = network(&[(1, 5_000), (2, 500)]);
    let mut ledger = Ledger::genesis(&genesis);
    let open = OpenHold {
        payee: address(2),
        amount: mites(100),
        condition: Condition::Payee,
        expires_at_ms: GENESIS_MS + 86_400_000,
        reference: None,
    };
    let open = next(&ledger, 0, 1, Authority::Root, Operation::OpenHold(Box::new(open)));
    let (hold, app) = (open.id(ledger.chain()), key(60).public_key());
    commit(&mut ledger, 0, &[open]);
    let limits = KeyLimits {
        operations: KeyOperations::TRANSFER,
        payees: Some(vec![address(2)]),
        transaction_max: None,
        limit: None,
        expires_at_ms: Some(7),
    };
    act(&mut ledger, 0, 1, Authority::Root, Operation::SetKey(Box::new(SetKey { public_key: app, limits }))).unwrap();
    assert!(ledger.prove_hold(&hold).is_none(), "no root has been published yet");
    let header = commit(&mut ledger, 1_000, &[]).block.unwrap().header;
    let certified = |proof: farthing_core::state_proof::UncertifiedStateProof| {
        assert_eq!(proof.header(), &header);
        proof.certify(certificate(std::slice::from_ref(&header), &[(1, 0), (2, 0), (3, 0)]))
    };
    let passes = |bytes: &[u8]| StateProof::decode(bytes).is_ok_and(|proof| proof.verify(&genesis).is_ok());

    let of_hold = certified(ledger.prove_hold(&hold).unwrap());
    let SlotValue::Hold { id, hold: proven } = &of_hold.value else { panic!("not a hold") };
    assert_eq!((*id, proven.amount, proven.payee), (hold, mites(100), address(2)));
    assert_eq!(of_hold.account(), None);
    every_bit_counts(&of_hold, passes);
    let of_key = certified(ledger.prove_key(&address(1), &app).unwrap());
    let SlotValue::Key { owner, public_key, key } = &of_key.value else { panic!("not a key") };
    assert_eq!((*owner, *public_key, key.limits.expires_at_ms), (address(1), app, Some(7)));
    every_bit_counts(&of_key, passes);
    for proof in [&of_hold, &of_key] {
        assert_eq!(&serde_json::from_value::<StateProof>(serde_json::to_value(proof).unwrap()).unwrap(), proof);
    }

    // Captured after the root: the proof is of what was.
    let capture = Capture { hold, cumulative: mites(40), proof: Proof::None, is_final: false };
    act(&mut ledger, 1_100, 2, Authority::Root, Operation::Capture(Box::new(capture))).unwrap();
    assert_eq!(certified(ledger.prove_hold(&hold).unwrap()), of_hold);
    // Gone after it: the node no longer knows where it stood.
    act(&mut ledger, 1_200, 2, Authority::Root, Operation::Release { hold }).unwrap();
    assert_eq!(ledger.prove_hold(&hold), None);
    // A new object in its slot is not proven by what stood there before.
    let opens = Operation::Transfer { outputs: vec![output(9, 1, true)] };
    act(&mut ledger, 1_300, 1, Authority::Root, opens).unwrap();
    assert_eq!(ledger.prove_account(&address(9)), None);
    ledger.audit();
}
