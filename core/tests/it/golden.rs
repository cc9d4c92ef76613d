//! Encodings, hashes and roots, pinned. A change of one of these is a change of the format: every network in existence breaks.

use crate::helpers::{GENESIS_MS, address, certificate, commit, key, mites, network, output, transfer};
use farthing_core::certificate::attestation_digest;
use farthing_core::codec;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::genesis::Genesis;
use farthing_core::hash::Digest;
use farthing_core::hold::Condition;
use farthing_core::policy::PolicySettings;
use farthing_core::receipt::{Receipt, transaction_path, transactions_root};
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::transaction::{
    Authority, Capture, OpenHold, Operation, Proof, SetKey, SignedTransaction, Transaction,
};
use farthing_core::voucher::Voucher;

fn genesis() -> Genesis {
    network(&[(1, 1_000), (2, 500)])
}

/// A transfer with everything in it.
fn signed() -> SignedTransaction {
    let mut transaction = transfer(1, 1, vec![output(2, 10, false), output(3, 20, true)]);
    let Operation::Transfer { outputs } = &mut transaction.operation else { unreachable!() };
    outputs[0].reference = Some([7; 32]);
    transaction.sign(&genesis().chain_hash(), &key(1))
}

fn check(name: &str, digest: Digest, expect: &str) {
    assert_eq!(digest.to_string(), expect, "{name}");
}

#[test]
fn chain_and_transaction() {
    let chain = genesis().chain_hash();
    check("chain hash", chain, "5f88bc22a9f2e74732713153a8d0f0ff736e9c5751cac2762eee78e8f42797ca");
    check(
        "signed transaction",
        Digest::of_bytes(&signed().encode()),
        "2e981bb7d823ee386ac688ce13daa42b55ddd054847e7c9f6fe0ba3ae060d8ff",
    );
    check(
        "transaction id",
        signed().transaction.id(&chain),
        "170ff0e3d69c257923ae3f4b3f12513b866b1696f719d5cbc6773510f97ca76d",
    );
    check(
        "attestation digest",
        attestation_digest(&chain, 1, &Digest([5; 32])),
        "72a03776fa38141356002ddb6d627f163f063a53d6b694d8bb3a8f50aaf6ca63",
    );
}

#[test]
fn the_bytes_of_a_transfer() {
    let transaction = transfer(1, 2, vec![output(2, 3, true)]);
    let expect = [
        &key(1).public_key().to_string(),
        "00",               // Root
        "0200000000000000", // nonce
        "f053e6cf8b010000", // valid until 1,700,000,060,400
        "00",               // Transfer
        "01000000",         // outputs
        &key(2).public_key().to_string(),
        "0300000000000000", // amount
        "00",               // no reference
        "01",               // open
    ];
    assert_eq!(hex::encode(codec::encode(&transaction)), expect.concat());
}

#[test]
fn a_scripted_history() {
    let genesis = genesis();
    let mut ledger = Ledger::genesis(&genesis);
    check(
        "genesis state root",
        ledger.newest().state_root.unwrap(),
        "b4f20ef8a9c30f10e60918c8bf68d04f6249875ef8814ef772c4e1bdcfb84943",
    );
    check("block 0", ledger.newest_hash(), "ce16a084bd73a2c5bacba606fdf3fa9a5fa65499a3cbb6f2a517bf1eee577906");

    let chain = genesis.chain_hash();
    let verified = [signed().verify(&chain).unwrap()];
    let context = CommitContext { epoch: 0, index: 1, digest: Digest([9; 32]), timestamp_ms: GENESIS_MS + 700 };
    let first = ledger.execute(&context, &verified).block.unwrap();
    check("block 1", first.hash, "c3429effd61e12ed8a64f370f121036ea5d57e777a6f03147c8427688163a671");
    check(
        "transactions root",
        first.header.transactions_root,
        "f7eac537eb899517b74d9cafab8af9998a8136fa55f42fe615328d2b82ddcd2f",
    );

    let more = [transfer(3, 5, vec![output(1, 19, false)]), transfer(2, 1, vec![output(1, 511, false)])];
    let second = commit(&mut ledger, 1_700, &more).block.unwrap();
    check(
        "state root before block 2",
        second.header.state_root.unwrap(),
        "9c6759f2daa3315674625c1f791d1098f30406c80baa33a7f7ab3c66ba9c2e65",
    );
    check("block 2", second.hash, "22463b3954f5eeb88fd168be65dc0d74bfbe29e1d5664678b21ee8726f6f3c4d");
    check(
        "state root after block 2",
        ledger.state_root(),
        "c22687f24cd0f3fe74c50c2ff13921c0ccbe9d2e7fa3a4f509f96ed14420f19d",
    );
    let slots = (0..4).map(|slot| ledger.state().record(slot).bytes).collect::<Vec<_>>().concat();
    check(
        "slots after block 2",
        Digest::of_bytes(&slots),
        "ff628b0fd064b4fb3a3767127300afb4b3c20e9de34efd81fd6d7d157ab48e7d",
    );

    let results: Vec<_> = first.results.iter().map(|(_, result)| *result).collect();
    assert_eq!(transactions_root(&results), first.header.transactions_root);
    let receipt = Receipt {
        transaction: signed(),
        code: results[0].code,
        position: 0,
        path: transaction_path(&results, 0),
        header: first.header.clone(),
        certificate: certificate(&[first.header, second.header], &[(0, 0), (1, 1), (2, 0)]),
    };
    receipt.verify(&genesis).unwrap();
    check(
        "receipt",
        Digest::of_bytes(&codec::encode(&receipt)),
        "ec0a7528614b8b176fe369d44ad22ab712f835d80e955c6c3596844754cdd8b1",
    );
}

/// One of each operation, by Root and by a delegated key, executed or not.
#[test]
fn a_history_of_all_operations() {
    let genesis = network(&[(1, 5_000), (2, 500)]);
    let mut ledger = Ledger::genesis(&genesis);
    let (bob, app) = (address(2), key(60).public_key());
    let voucher_key = key(90);
    let condition = Condition::Voucher { key: voucher_key.public_key(), close_delay_ms: 3_600_000 };
    let expires_at_ms = GENESIS_MS + 86_400_000;
    let open = OpenHold { payee: bob, amount: mites(200), condition, expires_at_ms, reference: Some(Digest([7; 32])) };
    let open = transfer_of(1, 1, Operation::OpenHold(Box::new(open)));
    let hold = open.id(ledger.chain());
    let voucher = Voucher::sign(ledger.chain(), hold, mites(70), &voucher_key);
    let limits = KeyLimits {
        operations: KeyOperations::ALL,
        payees: Some(vec![bob]),
        transaction_max: Some(mites(50)),
        limit: Some(SpendingLimit { amount: mites(80), period_ms: 86_400_000 }),
        expires_at_ms: Some(expires_at_ms),
    };
    let settings = PolicySettings { limit: limits.limit, raise_delay_ms: 3_600_000, blocked: false };
    let proof = Proof::Voucher(voucher.signature);
    let capture = Capture { hold, cumulative: mites(70), proof, is_final: false };
    let other = key(61).public_key();
    let by_app = transfer(1, 1, vec![output(2, 40, false)]);
    let transactions = [
        open,
        transfer_of(2, 1, Operation::Capture(Box::new(capture))),
        transfer_of(1, 2, Operation::TopUp { hold, amount: mites(30), expires_at_ms }),
        transfer_of(1, 3, Operation::SetKey(Box::new(SetKey { public_key: app, limits: limits.clone() }))),
        transfer_of(1, 4, Operation::SetKey(Box::new(SetKey { public_key: other, limits }))),
        transfer_of(1, 5, Operation::SetPolicy(Box::new(settings))),
        Transaction { authority: Authority::Key(app), ..by_app },
        transfer_of(1, 6, Operation::RemoveKey { public_key: other }),
        transfer_of(1, 7, Operation::Release { hold }),
        transfer_of(1, 8, Operation::Reclaim { account: bob }),
    ];
    let bytes: Vec<u8> = transactions.iter().flat_map(codec::encode).collect();
    check("operations", Digest::of_bytes(&bytes), "582550966e35bbbd430db6251c91e9fe97c661e31cfa9b2dafa32a04921f0361");
    let block = commit(&mut ledger, 700, &transactions).block.unwrap();
    let codes: Vec<u8> = block.results.iter().map(|(_, result)| result.code as u8).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 13]);
    check("block", block.hash, "5a4223ab83f9665fb43fd1652bf22891e65e6bec0716d7470f733c48c0df5ff0");
    let slots = (0..ledger.state().slot_count() as u32).map(|slot| ledger.state().record(slot).bytes);
    check(
        "slots",
        Digest::of_bytes(&slots.collect::<Vec<_>>().concat()),
        "1d70ad2f5f1c542074937d11ab7f051f84f14a80ede7ed0aaf8d196e213be368",
    );
    check("state root", ledger.state_root(), "a0cfa5cb7b245c7658a831f57907b29ab298dbf8fc8aa75736dc5ca4f185be15");
    check(
        "voucher",
        Voucher::digest(ledger.chain(), &hold, mites(70)),
        "8ff92b0c0403daf375c00e52dc5f7305ca8b52f8731c18b330c0a986d0cc44f6",
    );
}

/// A transaction of Root with this operation, valid for a minute from the genesis on.
fn transfer_of(sender: u8, nonce: u64, operation: Operation) -> Transaction {
    Transaction { operation, ..transfer(sender, nonce, vec![output(sender, 1, false)]) }
}
