//! Encodings: each value has one, and what is not one is refused.

use borsh::{BorshDeserialize, BorshSerialize};
use farthing_core::account::{Account, Extras};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::bandwidth::{Bandwidth, Load};
use farthing_core::block::{BlockHeader, HEADER_BYTES_MAX, ResultCode, TransactionResult};
use farthing_core::certificate::{
    Attestation, CERTIFIED_HEADER_BYTES_MAX, Certificate, CertificateAttestation, LINKS_MAX,
};
use farthing_core::codec::{self, CodecError};
use farthing_core::delegated_key::{DelegatedKey, KEYS_MAX, KeyLimits, KeyOperations, PAYEES_MAX, Tombstone};
use farthing_core::flush::FlushPoint;
use farthing_core::genesis::VALIDATORS_MAX;
use farthing_core::hash::Digest;
use farthing_core::hold::{CLOSE_DELAY_MS, Condition, Hold};
use farthing_core::keys::{PublicKey, Signature};
use farthing_core::merkle::PATH_MAX;
use farthing_core::policy::{PendingPolicy, Policy, PolicySettings, RAISE_DELAY_MS_MAX};
use farthing_core::receipt::{RECEIPT_BYTES_MAX, Receipt};
use farthing_core::replay::NonceWindow;
use farthing_core::spending_limit::{PERIOD_MS, SpendingLimit, Spent};
use farthing_core::state::{Globals, SLOT_BYTES_MAX, SlotValue};
use farthing_core::state_proof::{STATE_PROOF_BYTES_MAX, StateProof};
use farthing_core::transaction::{
    Authority, Capture, OUTPUTS_MAX, OpenHold, Operation, Output, Proof, SIGNED_TRANSACTION_BYTES_MAX, SetKey,
    SignedTransaction, Transaction,
};
use farthing_core::voucher::Voucher;
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

fn public_key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey)
}

fn condition() -> impl Strategy<Value = Condition> {
    let voucher =
        (public_key(), CLOSE_DELAY_MS).prop_map(|(key, close_delay_ms)| Condition::Voucher { key, close_delay_ms });
    prop_oneof![Just(Condition::Payee), voucher, digest().prop_map(|digest| Condition::Hashlock { digest })]
}

fn limit() -> impl Strategy<Value = SpendingLimit> {
    (amount(), PERIOD_MS).prop_map(|(amount, period_ms)| SpendingLimit { amount, period_ms })
}

fn limits() -> impl Strategy<Value = KeyLimits> {
    let payees = prop::option::of(prop::collection::vec(address(), 1..=PAYEES_MAX));
    (0u8..64, payees, prop::option::of(amount()), prop::option::of(limit()), any::<Option<u64>>()).prop_map(
        |(bits, payees, transaction_max, limit, expires_at_ms)| KeyLimits {
            operations: KeyOperations::from_bits(bits).unwrap(),
            payees,
            transaction_max,
            limit,
            expires_at_ms,
        },
    )
}

fn settings() -> impl Strategy<Value = PolicySettings> {
    (prop::option::of(limit()), 0..=RAISE_DELAY_MS_MAX, any::<bool>())
        .prop_map(|(limit, raise_delay_ms, blocked)| PolicySettings { limit, raise_delay_ms, blocked })
}

fn positive() -> impl Strategy<Value = Amount> {
    (1..=u64::MAX).prop_map(Amount::from_mites)
}

fn operation() -> impl Strategy<Value = Operation> {
    let proof = prop_oneof![
        Just(Proof::None),
        signature().prop_map(Proof::Voucher),
        any::<[u8; 32]>().prop_map(Proof::Preimage)
    ];
    let open = (address(), positive(), condition(), any::<u64>(), prop::option::of(digest())).prop_map(
        |(payee, amount, condition, expires_at_ms, reference)| {
            Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms, reference }))
        },
    );
    let capture = (digest(), amount(), proof, any::<bool>()).prop_map(|(hold, cumulative, proof, is_final)| {
        Operation::Capture(Box::new(Capture { hold, cumulative, proof, is_final }))
    });
    let top_up = (digest(), positive(), any::<u64>()).prop_map(|(hold, amount, expires_at_ms)| Operation::TopUp {
        hold,
        amount,
        expires_at_ms,
    });
    let set_key = (public_key(), limits())
        .prop_map(|(public_key, limits)| Operation::SetKey(Box::new(SetKey { public_key, limits })));
    prop_oneof![
        3 => prop::collection::vec(output(), 1..5).prop_map(|outputs| Operation::Transfer { outputs }),
        1 => open,
        1 => capture,
        1 => digest().prop_map(|hold| Operation::Release { hold }),
        1 => top_up,
        1 => set_key,
        1 => public_key().prop_map(|public_key| Operation::RemoveKey { public_key }),
        1 => settings().prop_map(|settings| Operation::SetPolicy(Box::new(settings))),
        1 => address().prop_map(|account| Operation::Reclaim { account }),
    ]
}

fn signed() -> impl Strategy<Value = SignedTransaction> {
    let authority = prop_oneof![Just(Authority::Root), public_key().prop_map(Authority::Key)];
    let body = (address(), authority, any::<u64>(), any::<u64>(), operation());
    (body, signature()).prop_map(|((sender, authority, nonce, valid_until_ms, operation), signature)| {
        SignedTransaction {
            transaction: Transaction { sender, authority, nonce, valid_until_ms, operation },
            signature,
        }
    })
}

fn code() -> impl Strategy<Value = ResultCode> {
    prop::sample::select(ResultCode::ALL.to_vec())
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

fn spent() -> impl Strategy<Value = Spent> {
    (any::<u64>(), amount()).prop_map(|(window_ms, amount)| Spent { window_ms, amount })
}

fn policy() -> impl Strategy<Value = Policy> {
    let pending =
        (settings(), any::<u64>()).prop_map(|(settings, effective_at_ms)| PendingPolicy { settings, effective_at_ms });
    (settings(), spent(), prop::option::of(pending)).prop_map(|(settings, spent, pending)| Policy {
        settings,
        spent,
        pending,
    })
}

fn extras() -> impl Strategy<Value = Extras> {
    let tombstone = (public_key(), window(), any::<u64>()).prop_map(|(public_key, nonces, until_ms)| Tombstone {
        public_key,
        nonces,
        until_ms,
    });
    let keys = prop::collection::vec(public_key(), 0..=KEYS_MAX);
    let tombstones = prop::collection::vec(tombstone, 0..4);
    (keys, tombstones, any::<u32>(), prop::option::of(policy())).prop_map(|(keys, tombstones, holds, policy)| Extras {
        keys,
        tombstones,
        holds,
        policy,
    })
}

fn bandwidth() -> impl Strategy<Value = Bandwidth> {
    (any::<i128>(), any::<u64>()).prop_map(|parts| codec::decode(&codec::encode(&parts), 24).unwrap())
}

fn account() -> impl Strategy<Value = Account> {
    let extras = prop::option::weighted(0.3, extras().prop_map(Box::new));
    (amount(), window(), bandwidth(), prop::option::of(address()), amount(), extras).prop_map(
        |(balance, nonces, bandwidth, sponsor, reserve, extras)| Account {
            balance,
            nonces,
            bandwidth,
            sponsor,
            reserve,
            extras,
        },
    )
}

fn hold() -> impl Strategy<Value = Hold> {
    let amounts = (amount(), amount(), amount());
    let times = (any::<u64>(), any::<Option<u64>>());
    (address(), address(), amounts, condition(), times, prop::option::of(digest())).prop_map(
        |(payer, payee, (amount, captured, reserve), condition, (expires_at_ms, closing_at_ms), reference)| Hold {
            payer,
            payee,
            amount,
            captured,
            condition,
            expires_at_ms,
            closing_at_ms,
            reference,
            reserve,
        },
    )
}

fn delegated_key() -> impl Strategy<Value = DelegatedKey> {
    (limits(), window(), spent(), amount()).prop_map(|(limits, nonces, spent, reserve)| DelegatedKey {
        limits,
        nonces,
        spent,
        reserve,
    })
}

fn slot_value() -> impl Strategy<Value = SlotValue> {
    let load = (any::<u32>(), any::<u64>(), any::<u64>())
        .prop_map(|parts| codec::decode::<Load>(&codec::encode(&parts), 20).unwrap());
    let globals = (any::<u64>(), amount(), load)
        .prop_map(|(slot_count, supply, load)| SlotValue::Globals(Globals { slot_count, supply, load }));
    let account = (address(), account()).prop_map(|(address, account)| SlotValue::Account { address, account });
    let hold = (digest(), hold()).prop_map(|(id, hold)| SlotValue::Hold { id, hold });
    let key = (address(), public_key(), delegated_key()).prop_map(|(owner, public_key, key)| SlotValue::Key {
        owner,
        public_key,
        key,
    });
    prop_oneof![globals, account, hold, key, Just(SlotValue::Empty)]
}

fn state_proof() -> impl Strategy<Value = StateProof> {
    (slot_value(), any::<u32>(), any::<u64>(), path(), header(), certificate()).prop_map(
        |(value, slot, slot_count, path, header, certificate)| StateProof {
            value,
            slot,
            slot_count,
            path,
            header,
            certificate,
        },
    )
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
    holds: hold(), SLOT_BYTES_MAX;
    delegated_keys: delegated_key(), SLOT_BYTES_MAX;
    vouchers: (digest(), amount(), signature()).prop_map(|(hold, cumulative, signature)| Voucher { hold, cumulative, signature }), 104;
    state_proofs: state_proof(), STATE_PROOF_BYTES_MAX;
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
        let _ = StateProof::decode(&bytes);
        let _ = codec::decode::<SlotValue>(&bytes, SLOT_BYTES_MAX);
    }
}

/// A transfer with this many outputs, the largest that an output may be.
fn transfer_of(count: usize) -> SignedTransaction {
    let output =
        Output { to: Address(PublicKey([1; 32])), amount: Amount::from_mites(1), reference: Some([2; 32]), open: true };
    let operation = Operation::Transfer { outputs: vec![output; count] };
    let sender = Address(PublicKey([3; 32]));
    let authority = Authority::Key(PublicKey([5; 32]));
    let transaction = Transaction { sender, authority, nonce: 1, valid_until_ms: 2, operation };
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
    huge[82..86].copy_from_slice(&[0xff; 4]);
    assert!(SignedTransaction::decode(&huge).is_err());
}

#[test]
fn an_output_of_nothing_is_refused() {
    let mut signed = transfer_of(1);
    let Operation::Transfer { outputs } = &mut signed.transaction.operation else { unreachable!() };
    outputs[0].amount = Amount::ZERO;
    let error = SignedTransaction::decode(&signed.encode()).unwrap_err();
    assert!(error.to_string().contains("at least 1 mite"), "{error}");
}

#[test]
fn unknown_tags_are_refused() {
    let bytes = transfer_of(1).encode();
    // Authority, operation, the option of the reference, `open`.
    for (place, tag) in [(32, 2), (81, 9), (126, 2), (159, 2)] {
        let mut unknown = bytes.clone();
        unknown[place] = tag;
        assert!(SignedTransaction::decode(&unknown).is_err(), "byte {place}");
    }
    assert!(codec::decode::<ResultCode>(&[22], 1).is_err());
    assert!(codec::decode::<KeyOperations>(&[64], 1).is_err());
    assert!(codec::decode::<SlotValue>(&[5], 1).is_err());
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

#[test]
fn a_plain_transfer_is_small() {
    let mut plain = transfer_of(1);
    plain.transaction.authority = Authority::Root;
    let Operation::Transfer { outputs } = &mut plain.transaction.operation else { unreachable!() };
    outputs[0].reference = None;
    assert_eq!(plain.encode().len(), 160);
    assert_eq!(plain.transaction.signed_bytes(), 160);
    assert_eq!(transfer_of(7).transaction.signed_bytes(), transfer_of(7).encode().len() as u64);
}

#[test]
fn bounds_inside_operations_are_checked() {
    let refused = |operation: Operation, text: &str| {
        let error = codec::decode::<Operation>(&codec::encode(&operation), 10_000).unwrap_err().to_string();
        assert!(error.contains(text), "{error:?} should say {text:?}");
    };
    let (hold, payee) = (Digest([1; 32]), Address(PublicKey([2; 32])));
    let open = |amount, condition| {
        let amount = Amount::from_mites(amount);
        Operation::OpenHold(Box::new(OpenHold { payee, amount, condition, expires_at_ms: 1, reference: None }))
    };
    refused(open(0, Condition::Payee), "at least 1 mite");
    for close_delay_ms in [CLOSE_DELAY_MS.start() - 1, CLOSE_DELAY_MS.end() + 1] {
        refused(open(1, Condition::Voucher { key: PublicKey([3; 32]), close_delay_ms }), "an hour to 30 days");
    }
    refused(Operation::TopUp { hold, amount: Amount::ZERO, expires_at_ms: 1 }, "at least 1 mite");
    let set = |payees: Option<usize>, period_ms: u64| {
        let limits = KeyLimits {
            operations: KeyOperations::ALL,
            payees: payees.map(|count| vec![payee; count]),
            transaction_max: None,
            limit: Some(SpendingLimit { amount: Amount::ZERO, period_ms }),
            expires_at_ms: None,
        };
        Operation::SetKey(Box::new(SetKey { public_key: PublicKey([3; 32]), limits }))
    };
    refused(set(Some(0), 1_000), "a count of 0");
    refused(set(Some(PAYEES_MAX + 1), 1_000), "a count of 9");
    refused(set(None, PERIOD_MS.start() - 1), "a second to 400 days");
    refused(set(None, PERIOD_MS.end() + 1), "a second to 400 days");
    let raise_delay_ms = RAISE_DELAY_MS_MAX + 1;
    refused(
        Operation::SetPolicy(Box::new(PolicySettings { raise_delay_ms, ..PolicySettings::default() })),
        "at most 30 days",
    );
}

#[test]
fn the_largest_account_fits_a_slot() {
    let payload = |keys: usize, tombstones: usize| {
        let limit = Some(SpendingLimit { amount: Amount::ZERO, period_ms: 1_000 });
        let settings = PolicySettings { limit, raise_delay_ms: 1, blocked: true };
        let tombstone = Tombstone { public_key: PublicKey([1; 32]), nonces: NonceWindow::default(), until_ms: 1 };
        let policy =
            Policy { settings, spent: Spent::default(), pending: Some(PendingPolicy { settings, effective_at_ms: 1 }) };
        let extras = Extras {
            keys: vec![PublicKey([1; 32]); keys],
            tombstones: vec![tombstone; tombstones],
            holds: 1,
            policy: Some(policy),
        };
        let address = Address(PublicKey([2; 32]));
        let bandwidth = codec::decode(&[0; 24], 24).unwrap();
        let account = Account { sponsor: Some(address), ..Account::of_genesis(Amount::ZERO, bandwidth) };
        let account = Account { extras: Some(Box::new(extras)), ..account };
        codec::encode(&SlotValue::Account { address, account })
    };
    assert_eq!(payload(KEYS_MAX, KEYS_MAX).len(), SLOT_BYTES_MAX);
    assert!(codec::decode::<SlotValue>(&payload(KEYS_MAX, KEYS_MAX), SLOT_BYTES_MAX).is_ok());
    assert!(codec::decode::<SlotValue>(&payload(KEYS_MAX + 1, 0), SLOT_BYTES_MAX).is_err());
    assert!(codec::decode::<SlotValue>(&payload(0, KEYS_MAX + 1), SLOT_BYTES_MAX).is_err());
}
