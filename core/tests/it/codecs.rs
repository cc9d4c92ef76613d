//! Encodings: each value has one, and what is not one is refused.

use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::account::Account;
use farthing_core::account_proof::{ACCOUNT_PROOF_BYTES_MAX, AccountProof};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHeader, HEADER_BYTES_MAX, ResultCode, TransactionResult};
use farthing_core::certificate::{
    Attestation, CERTIFIED_HEADER_BYTES_MAX, Certificate, CertificateAttestation, LINKS_MAX,
};
use farthing_core::codec::{self, CodecError};
use farthing_core::flush::FlushPoint;
use farthing_core::genesis::VALIDATORS_MAX;
use farthing_core::hash::Digest;
use farthing_core::keys::{PublicKey, Signature};
use farthing_core::merkle::PATH_MAX;
use farthing_core::receipt::{RECEIPT_BYTES_MAX, Receipt};
use farthing_core::replay::NonceWindow;
use farthing_core::state::{SLOT_BYTES_MAX, SlotValue};
use farthing_core::transaction::{
    Authority, OUTPUTS_MAX, Operation, Output, SIGNED_TRANSACTION_BYTES_MAX, SignedTransaction, Transaction,
};
use proptest::prelude::*;
use std::fmt::Debug;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 32]>().prop_map(|bytes| Address(PublicKey(bytes)))
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(r, s)| Signature([r, s].concat().try_into().unwrap()))
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<u64>().prop_map(Amount::from_mites)
}

fn output() -> impl Strategy<Value = Output> {
    let amount = (1..=u64::MAX).prop_map(Amount::from_mites);
    (address(), amount, any::<Option<[u8; 32]>>(), any::<bool>()).prop_map(|(to, amount, reference, open)| Output {
        to,
        amount,
        reference,
        open,
    })
}

fn signed() -> impl Strategy<Value = SignedTransaction> {
    let body = (address(), any::<u64>(), any::<u64>(), prop::collection::vec(output(), 1..5));
    (body, signature()).prop_map(|((sender, nonce, valid_until_ms, outputs), signature)| SignedTransaction {
        transaction: Transaction {
            sender,
            authority: Authority::Root,
            nonce,
            valid_until_ms,
            operation: Operation::Transfer { outputs },
        },
        signature,
    })
}

fn code() -> impl Strategy<Value = ResultCode> {
    use ResultCode::*;
    prop::sample::select(vec![Executed, AmountOverflow, InsufficientBalance, NoSuchAccount, InsufficientReserve])
}

fn header() -> impl Strategy<Value = BlockHeader> {
    let digests = (digest(), digest(), digest(), digest(), prop::option::of(digest()));
    (digests, any::<[u64; 4]>(), any::<u32>()).prop_map(|(digests, numbers, transaction_count)| BlockHeader {
        chain: digests.0,
        epoch: numbers[0],
        height: numbers[1],
        previous: digests.1,
        commit_index: numbers[2],
        commit_digest: digests.2,
        timestamp_ms: numbers[3],
        transactions_root: digests.3,
        state_root: digests.4,
        transaction_count,
    })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    let attestation = (any::<u16>(), any::<u64>(), signature())
        .prop_map(|(validator, height, signature)| CertificateAttestation { validator, height, signature });
    (prop::collection::vec(header(), 0..3), prop::collection::vec(attestation, 0..4))
        .prop_map(|(links, attestations)| Certificate { links, attestations })
}

fn path() -> impl Strategy<Value = Vec<Digest>> {
    prop::collection::vec(digest(), 0..=PATH_MAX)
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (signed(), code(), any::<u32>(), path(), header(), certificate()).prop_map(
        |(transaction, code, position, path, header, certificate)| Receipt {
            transaction,
            code,
            position,
            path,
            header,
            certificate,
        },
    )
}

fn window() -> impl Strategy<Value = NonceWindow> {
    (any::<u64>(), any::<u128>()).prop_map(|parts| codec::decode(&codec::encode(&parts), 24).unwrap())
}

fn account() -> impl Strategy<Value = Account> {
    (amount(), window(), prop::option::of(address()), amount())
        .prop_map(|(balance, nonces, sponsor, reserve)| Account { balance, nonces, sponsor, reserve })
}

fn account_proof() -> impl Strategy<Value = AccountProof> {
    (address(), account(), any::<u32>(), any::<u64>(), path(), header(), certificate()).prop_map(
        |(address, account, slot, slot_count, path, header, certificate)| AccountProof {
            address,
            account,
            slot,
            slot_count,
            path,
            header,
            certificate,
        },
    )
}

fn slot_value() -> impl Strategy<Value = SlotValue> {
    let globals = (any::<u64>(), amount()).prop_map(|(slot_count, supply)| SlotValue::Globals { slot_count, supply });
    let account = (address(), account()).prop_map(|(address, account)| SlotValue::Account { address, account });
    prop_oneof![globals, account]
}

/// Asserts that a value has one encoding of at most `max` bytes: it comes back from it, and neither more bytes nor fewer, nor
/// others, are taken for an encoding of it.
fn check<T>(value: &T, max: usize, flip: prop::sample::Index) -> Result<(), TestCaseError>
where
    T: BorshSerialize + BorshDeserialize + PartialEq + Debug,
{
    let bytes = codec::encode(value);
    prop_assert!(bytes.len() <= max);
    prop_assert_eq!(&codec::decode::<T>(&bytes, max).unwrap(), value);
    for length in 0..bytes.len() {
        prop_assert!(codec::decode::<T>(&bytes[..length], max).is_err(), "{} of {} bytes", length, bytes.len());
    }
    let trailing = [bytes.as_slice(), &[0]].concat();
    prop_assert!(codec::decode::<T>(&trailing, max + 1).is_err(), "a trailing byte");
    prop_assert_eq!(
        codec::decode::<T>(&bytes, bytes.len() - 1),
        Err(CodecError::TooLong { actual: bytes.len(), max: bytes.len() - 1 })
    );
    let mut flipped = bytes;
    let bit = flip.index(8 * flipped.len());
    flipped[bit / 8] ^= 1 << (bit % 8);
    if let Ok(other) = codec::decode::<T>(&flipped, max) {
        prop_assert_ne!(&other, value);
        prop_assert_eq!(codec::encode(&other), flipped, "decoding and encoding gives the same bytes");
    }
    Ok(())
}

macro_rules! round_trips {
    ($($name:ident: $strategy:expr, $max:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(100))]
            $(#[test]
            fn $name(value in $strategy, flip in any::<prop::sample::Index>()) {
                check(&value, $max, flip)?;
            })*
        }
    };
}

round_trips! {
    amounts: amount(), 8;
    addresses: address(), 32;
    signed_transactions: signed(), SIGNED_TRANSACTION_BYTES_MAX;
    transactions: signed().prop_map(|signed| signed.transaction), SIGNED_TRANSACTION_BYTES_MAX;
    results: (digest(), code()).prop_map(|(id, code)| TransactionResult { id, code }), 33;
    headers: header(), HEADER_BYTES_MAX;
    attestations: (any::<u64>(), digest(), signature())
        .prop_map(|(height, block, signature)| Attestation { height, block, signature }), 104;
    certificates: certificate(), CERTIFIED_HEADER_BYTES_MAX;
    receipts: receipt(), RECEIPT_BYTES_MAX;
    accounts: account(), SLOT_BYTES_MAX;
    account_proofs: account_proof(), ACCOUNT_PROOF_BYTES_MAX;
    slot_values: slot_value(), SLOT_BYTES_MAX;
    flush_points: (header(), any::<u64>(), any::<u64>(), digest()).prop_map(|(header, commit_index, timestamp_ms, state_root)| {
        FlushPoint { header, commit_index, timestamp_ms, state_root }
    }), HEADER_BYTES_MAX + 48;
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = SignedTransaction::decode(&bytes);
        let _ = Receipt::decode(&bytes);
        let _ = AccountProof::decode(&bytes);
        let _ = codec::decode::<SlotValue>(&bytes, SLOT_BYTES_MAX);
    }
}

/// A transfer with this many outputs, the largest that an output may be.
fn transfer_of(count: usize) -> SignedTransaction {
    let output =
        Output { to: Address(PublicKey([1; 32])), amount: Amount::from_mites(1), reference: Some([2; 32]), open: true };
    let operation = Operation::Transfer { outputs: vec![output; count] };
    let sender = Address(PublicKey([3; 32]));
    let transaction = Transaction { sender, authority: Authority::Root, nonce: 1, valid_until_ms: 2, operation };
    SignedTransaction { transaction, signature: Signature([4; 64]) }
}

#[test]
fn counts_out_of_bounds_are_refused() {
    assert!(SignedTransaction::decode(&transfer_of(1).encode()).is_ok());
    let largest = transfer_of(OUTPUTS_MAX).encode();
    assert_eq!(largest.len(), SIGNED_TRANSACTION_BYTES_MAX);
    assert!(SignedTransaction::decode(&largest).is_ok());
    for count in [0, OUTPUTS_MAX + 1] {
        let bytes = transfer_of(count).encode();
        let error = codec::decode::<SignedTransaction>(&bytes, usize::MAX).unwrap_err();
        assert!(error.to_string().contains(&format!("a count of {count}, expected 1 to 1024")), "{error}");
    }
    // A count of 4 billion is refused before anything is allocated for it.
    let mut huge = transfer_of(1).encode();
    huge[50..54].copy_from_slice(&[0xff; 4]);
    assert!(SignedTransaction::decode(&huge).is_err());
}

#[test]
fn an_output_of_nothing_is_refused() {
    let mut signed = transfer_of(1);
    let Operation::Transfer { outputs } = &mut signed.transaction.operation;
    outputs[0].amount = Amount::ZERO;
    let error = SignedTransaction::decode(&signed.encode()).unwrap_err();
    assert!(error.to_string().contains("at least 1 mite"), "{error}");
}

#[test]
fn unknown_tags_are_refused() {
    let bytes = transfer_of(1).encode();
    // Authority, operation, the option of the reference, `open`.
    for place in [32, 49, 94, 127] {
        let mut unknown = bytes.clone();
        unknown[place] = 2;
        assert!(SignedTransaction::decode(&unknown).is_err(), "byte {place}");
    }
    assert!(codec::decode::<ResultCode>(&[5], 1).is_err());
}

#[test]
fn the_counts_of_proofs_are_bounded() {
    let header = || farthing_core::execution::Ledger::genesis(&crate::helpers::network(&[])).newest().clone();
    let attestation = CertificateAttestation { validator: 1, height: 2, signature: Signature([3; 64]) };
    let certificate = |links, attestations| Certificate {
        links: vec![header(); links],
        attestations: vec![attestation; attestations],
    };
    let decodes = |links, attestations| {
        codec::decode::<Certificate>(&codec::encode(&certificate(links, attestations)), usize::MAX).is_ok()
    };
    assert!(decodes(LINKS_MAX, VALIDATORS_MAX));
    assert!(!decodes(LINKS_MAX + 1, 0));
    assert!(!decodes(0, VALIDATORS_MAX + 1));

    let receipt = |path, outputs| Receipt {
        transaction: transfer_of(outputs),
        code: ResultCode::Executed,
        position: 0,
        path: vec![Digest::ZERO; path],
        header: header(),
        certificate: certificate(LINKS_MAX, VALIDATORS_MAX),
    };
    let largest = codec::encode(&receipt(PATH_MAX, OUTPUTS_MAX));
    assert_eq!(largest.len(), RECEIPT_BYTES_MAX);
    assert!(Receipt::decode(&largest).is_ok());
    assert!(Receipt::decode(&codec::encode(&receipt(PATH_MAX + 1, 1))).is_err());
}
