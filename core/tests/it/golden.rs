//! Encodings, hashes and roots, pinned. A change of one of these is a change of the format: every network in existence breaks.

use crate::helpers::{GENESIS_MS, certificate, commit, key, network, output, transfer};
use farthing_core::certificate::attestation_digest;
use farthing_core::codec;
use farthing_core::execution::{CommitContext, Ledger};
use farthing_core::genesis::Genesis;
use farthing_core::hash::Digest;
use farthing_core::receipt::{Receipt, transaction_path, transactions_root};
use farthing_core::transaction::{Operation, SignedTransaction};

fn genesis() -> Genesis {
    network(&[(1, 1_000), (2, 500)])
}

/// A transfer with everything in it.
fn signed() -> SignedTransaction {
    let mut transaction = transfer(1, 1, vec![output(2, 10, false), output(3, 20, true)]);
    let Operation::Transfer { outputs } = &mut transaction.operation;
    outputs[0].reference = Some([7; 32]);
    transaction.sign(&genesis().chain_hash(), &key(1))
}

fn check(name: &str, digest: Digest, expect: &str) {
    assert_eq!(digest.to_string(), expect, "{name}");
}

#[test]
fn chain_and_transaction() {
    let chain = genesis().chain_hash();
    check("chain hash", chain, "937d1a783b3e5981032875b40e448a0019a4ff101658bd94acb76e45ce0e9848");
    check(
        "signed transaction",
        Digest::of_bytes(&signed().encode()),
        "f6f277e66b2df041551ea12d673fc042bcece173b9d737dc2b2a6ac3b3f03de1",
    );
    check(
        "transaction id",
        signed().transaction.id(&chain),
        "c2f2813b7cd374280db07949948d5f6e918e18482d0ea2b464717c4e906840a9",
    );
    check(
        "attestation digest",
        attestation_digest(&chain, 1, &Digest([5; 32])),
        "5380a2ddea39927a9c074e79683fefd3a6e3f81d433422886d741638757221f0",
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
        "2e82b6a80a3838a6cb067c2257043505fe6ad71d8c9c5375c182890b962bbf58",
    );
    check("block 0", ledger.newest_hash(), "a792313e00c3f80c931f32099d62fd3bc464e3d906ed29af6b7145e3da590559");

    let chain = genesis.chain_hash();
    let verified = [signed().verify(&chain).unwrap()];
    let context = CommitContext { epoch: 0, index: 1, digest: Digest([9; 32]), timestamp_ms: GENESIS_MS + 700 };
    let first = ledger.execute(&context, &verified).block.unwrap();
    check("block 1", first.hash, "5e5f6f67f8b27c5fa2ecef02e32ee1c79a16fe05dc58225f1a5b8b9469b2a76b");
    check(
        "transactions root",
        first.header.transactions_root,
        "4b68c78293e992c61d60424a0ca6d7c483dbfb663844d546433e6754286fc9e7",
    );

    let more = [transfer(3, 5, vec![output(1, 19, false)]), transfer(2, 1, vec![output(1, 511, false)])];
    let second = commit(&mut ledger, 1_700, &more).block.unwrap();
    check(
        "state root before block 2",
        second.header.state_root.unwrap(),
        "eb538d19a9666752f4d49f00db6b26704501e88dd2de83784c5c817e83dad6c0",
    );
    check("block 2", second.hash, "b0236c7ce3275f8131b3cccc401c1d65a5547c0f23dbccc7adce0db2df5e6253");
    check(
        "state root after block 2",
        ledger.state_root(),
        "fd6127e6274a61294406fb959262af3ec17473c7fa004293187c9b5fb8cc15b1",
    );
    let slots = (0..4).map(|slot| ledger.state().record(slot).bytes).collect::<Vec<_>>().concat();
    check(
        "slots after block 2",
        Digest::of_bytes(&slots),
        "8df63abb58596adb3973ebccd238b42a62e9d503f1c355f8f22a7b9ef1bc1f4d",
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
        "cd12a652cebead81c68efdbedccb2bf596c4930a0f00f0d9928c878ab89c8c0c",
    );
}
