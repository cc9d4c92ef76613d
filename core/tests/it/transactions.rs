//! Signed transactions: who signed what, for which network, one by one and in batches.

use crate::helpers::{key, network, output, transfer};
use farthing_core::keys::Signature;
use farthing_core::signature::{DecodedKey, SignatureError};
use farthing_core::transaction::{SignedTransaction, VerifiedTransaction};
use farthing_core::verification::{UnverifiedTransaction, verify_all, verify_payloads};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

#[test]
fn only_the_sender_signs_and_only_for_one_network() {
    let (here, elsewhere) = (network(&[(1, 5)]).chain_hash(), network(&[(1, 6)]).chain_hash());
    let body = transfer(1, 1, vec![output(2, 1, false)]);
    let signed = body.clone().sign(&here, &key(1));
    let verified = signed.clone().verify(&here).unwrap();
    assert_eq!((verified.id(), verified.transaction(), verified.signed()), (body.id(&here), &body, &signed));
    assert_eq!(signed.clone().verify(&elsewhere), Err(SignatureError::Mismatch));
    assert_eq!(body.clone().sign(&here, &key(2)).verify(&here), Err(SignatureError::Mismatch));
    let other = SignedTransaction { transaction: transfer(1, 2, vec![output(2, 1, false)]), ..signed };
    assert_eq!(other.verify(&here), Err(SignatureError::Mismatch));
    assert_ne!(body.id(&here), body.id(&elsewhere));
}

#[test]
fn a_batch_tells_good_from_bad_by_place() {
    let chain = network(&[(1, 5)]).chain_hash();
    let mut batch: Vec<SignedTransaction> =
        (1..=40).map(|nonce| transfer(1, nonce, vec![output(2, 1, false)]).sign(&chain, &key(1))).collect();
    batch[7].signature.0[40] ^= 1;
    batch[20].signature = Signature([0; 64]);
    batch[39].transaction.nonce = 1;
    let ids: Vec<_> = batch.iter().map(|signed| signed.transaction.id(&chain)).collect();
    let batch = batch.into_iter().map(|signed| UnverifiedTransaction::new(signed, &chain)).collect();
    let results = verify_all(batch, DecodedKey::decode_all, &mut ChaCha20Rng::seed_from_u64(1));
    assert_eq!(results.len(), 40);
    for (place, result) in results.into_iter().enumerate() {
        let expect = match place {
            7 | 39 => Err(SignatureError::Mismatch),
            20 => Err(SignatureError::BadCommitment),
            _ => Ok(ids[place]),
        };
        assert_eq!(result.map(|verified| verified.id()), expect, "{place}");
    }
}

#[test]
fn a_payload_is_good_or_bad_as_a_whole() {
    let chain = network(&[(1, 5)]).chain_hash();
    let batch: Vec<SignedTransaction> =
        (1..=10).map(|nonce| transfer(1, nonce, vec![output(2, 1, false)]).sign(&chain, &key(1))).collect();
    let unverified = |batch: &[SignedTransaction]| {
        batch.iter().map(|signed| UnverifiedTransaction::new(signed.clone(), &chain)).collect::<Vec<_>>()
    };
    let check_all = |payloads: &[&[SignedTransaction]]| {
        let payloads = payloads.iter().map(|payload| unverified(payload)).collect();
        verify_payloads(payloads, DecodedKey::decode_all, &mut ChaCha20Rng::seed_from_u64(1))
    };
    let check = |batch: &[SignedTransaction]| check_all(&[batch]).remove(0);
    let verified = check(&batch).unwrap();
    assert!(verified.iter().map(VerifiedTransaction::signed).eq(&batch), "all of them, in their order");
    assert_eq!(check(&[]), Ok(vec![]));
    let with = |signature: Signature| {
        let mut batch = batch.clone();
        batch[6].signature = signature;
        batch
    };
    let mut wrong = batch[6].signature;
    wrong.0[40] ^= 1;
    assert_eq!(check(&with(wrong)), Err(SignatureError::Mismatch));
    assert_eq!(check(&with(Signature([0; 64]))), Err(SignatureError::BadCommitment));

    // Beside others, each is still good or bad for itself, wherever it stands.
    let bad = [with(wrong), with(Signature([0; 64]))];
    let errors = [SignatureError::Mismatch, SignatureError::BadCommitment];
    assert!(check_all(&[]).is_empty());
    for (bad, error) in bad.iter().zip(errors) {
        for place in 0..3 {
            let mut payloads: Vec<&[SignedTransaction]> = vec![&batch, &batch[..4], &[]];
            payloads.insert(place, bad);
            for (at, result) in check_all(&payloads).into_iter().enumerate() {
                let expect = if at == place { Err(error) } else { Ok(payloads[at].len()) };
                assert_eq!(result.map(|verified| verified.len()), expect, "{at}, the bad one at {place}");
            }
        }
        assert_eq!(check_all(&[bad, bad]), [Err(error), Err(error)]);
    }
}
