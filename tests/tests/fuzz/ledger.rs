//! What the ledger reads: transactions in payloads and submissions, and what it stored itself.

use crate::canonical;
use crate::fixtures::{chain, genesis, key, transfers};
use farthing_client::{REQUEST_BYTES_MAX, TRANSACTIONS_MAX, decode_concatenated};
use farthing_core::account::Account;
use farthing_core::block::{BlockHeader, HEADER_BYTES_MAX, TransactionResult};
use farthing_core::certificate::Attestation;
use farthing_core::codec;
use farthing_core::flush::FlushPoint;
use farthing_core::hash::Digest;
use farthing_core::replay::NonceWindow;
use farthing_core::state::{SLOT_BYTES_MAX, SlotValue};
use farthing_core::transaction::{SIGNED_TRANSACTION_BYTES_MAX, SignedTransaction};
use farthing_fuzz::Target;
use farthing_node::payload;

fn encoded() -> Vec<Vec<u8>> {
    transfers().iter().map(SignedTransaction::encode).collect()
}

#[test]
fn transactions() {
    let (chain, signed) = (genesis().chain_hash(), transfers());
    Target::bytes("transaction", encoded(), |input| {
        let transaction: SignedTransaction = canonical(input, SIGNED_TRANSACTION_BYTES_MAX)?;
        assert_eq!(SignedTransaction::decode(input).as_ref(), Ok(&transaction));
        let verified = transaction.clone().verify(&chain).map_err(|error| error.to_string())?;
        assert!(signed.contains(&transaction), "nobody signed {verified:?}");
        Ok(())
    })
    .check();
}

#[test]
fn payloads() {
    let seeds = vec![Vec::new(), encoded()[0].clone(), encoded().concat()];
    Target::bytes("payload", seeds, |input| {
        let transactions = payload::decode(input).map_err(|error| error.to_string())?;
        assert_eq!(transactions.iter().flat_map(SignedTransaction::encode).collect::<Vec<u8>>(), input);
        Ok(())
    })
    .check();
}

#[test]
fn submissions_of_bytes() {
    let seeds = vec![encoded()[0].clone(), encoded().concat(), encoded()[0].repeat(TRANSACTIONS_MAX)];
    Target::bytes("submission", seeds, |input| {
        let transactions = decode_concatenated(input).map_err(|error| error.to_string())?;
        assert!((1..=TRANSACTIONS_MAX).contains(&transactions.len()) && input.len() <= REQUEST_BYTES_MAX);
        assert_eq!(transactions.iter().flat_map(SignedTransaction::encode).collect::<Vec<u8>>(), input);
        Ok(())
    })
    .check();
}

#[test]
fn stored_state() {
    let chain = chain();
    let slots = chain.flushes.iter().flat_map(|flush| flush.slots.iter().map(|slot| slot.bytes.clone()));
    let slots: Vec<Vec<u8>> = slots.collect();
    let accounts = slots.iter().filter_map(|bytes| match codec::decode(bytes, SLOT_BYTES_MAX) {
        Ok(SlotValue::Account { account, .. }) => Some(codec::encode(&account)),
        _ => None,
    });
    let accounts = accounts.collect();
    Target::bytes("slot", slots, |input| canonical::<SlotValue>(input, SLOT_BYTES_MAX).map(drop)).check();
    Target::bytes("account", accounts, |input| canonical::<Account>(input, SLOT_BYTES_MAX).map(drop)).check();
    let points = chain.flushes.iter().map(|flush| codec::encode(&flush.point)).collect();
    let max = HEADER_BYTES_MAX + 48;
    Target::bytes("flush-point", points, move |input| canonical::<FlushPoint>(input, max).map(drop)).check();
}

#[test]
fn parts_of_blocks() {
    let chain = chain();
    let headers = chain.headers.iter().map(codec::encode).collect();
    Target::bytes("header", headers, |input| {
        let header: BlockHeader = canonical(input, HEADER_BYTES_MAX)?;
        let same = codec::decode::<BlockHeader>(&codec::encode(&header), HEADER_BYTES_MAX);
        assert_eq!(same.map(|same| same.hash()), Ok(header.hash()));
        Ok(())
    })
    .check();
    let results = chain.receipts.iter().map(|receipt| {
        let id = receipt.transaction.transaction.id(&genesis().chain_hash());
        codec::encode(&TransactionResult { id, code: receipt.code })
    });
    Target::bytes("result", results.collect(), |input| canonical::<TransactionResult>(input, 33).map(drop)).check();
}

#[test]
fn attestations() {
    let (chain, validator) = (genesis().chain_hash(), key(101));
    let attestation = Attestation::sign(&chain, 5, Digest([4; 32]), &validator);
    Target::bytes("attestation", vec![codec::encode(&attestation)], move |input| {
        let read: Attestation = canonical(input, 104)?;
        match read.is_signed_by(&chain, &validator.public_key()) {
            true => assert_eq!(read, attestation, "nobody signed this"),
            false => return Err("it is not signed".into()),
        }
        Ok(())
    })
    .check();
}

/// A nonce window comes from the disk and from peers: whatever it holds, its rules hold.
#[test]
fn nonce_windows() {
    let seeds = [(0u64, 0u128), (5, 0b10111), (u64::MAX, 1), (200, u128::MAX)].map(|parts| codec::encode(&parts));
    Target::bytes("nonce-window", seeds.to_vec(), |input| {
        let window: NonceWindow = canonical(input, 24)?;
        for nonce in [0, 1, window.high().wrapping_sub(128), window.high(), window.next(), u64::MAX] {
            let mut after = window;
            match window.check(nonce) {
                Ok(()) => after.consume(nonce),
                Err(_) => continue,
            }
            assert!(after.check(nonce).is_err(), "nonce {nonce} can be used twice in {window:?}");
        }
        Ok(())
    })
    .check();
}
