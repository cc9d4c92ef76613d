use super::*;
use crate::storage::{Batch, memory::MemoryStorage};
use crate::test_support::{genesis, key};
use farthing_core::certificate::{Attestation, CertificateAttestation};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// The attestation that certifies a block.
fn attested(height: u64) -> Batch {
    let chain = genesis().chain_hash();
    let signature = Attestation::sign(&chain, height, chain, &key(101)).signature;
    let attestation = CertificateAttestation { validator: 0, height, signature };
    Batch { certificates: vec![(height, vec![attestation])], ..Batch::default() }
}

#[tokio::test]
async fn a_proof_waits_until_its_block_is_certified() {
    let storage = Arc::new(MemoryStorage::default());
    let (certified_in, certified) = watch::channel(6);
    let waiting = {
        let (storage, certified) = (storage.clone(), certified.clone());
        tokio::spawn(async move { certificate_within(&*storage, certified, 7, LONG).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished(), "there is no certificate yet");
    storage.apply(&attested(7), true).expect("memory");
    certified_in.send_replace(7);
    let found = waiting.await.expect("no panic").expect("memory").expect("a certificate");
    assert_eq!(found.attestations.len(), 1);

    // What is stored is given at once, whatever was certified since the start.
    storage.apply(&attested(9), true).expect("memory");
    assert!(certificate_within(&*storage, certified.clone(), 9, LONG).await.expect("memory").is_some());
}

#[tokio::test]
async fn waiting_for_a_certificate_ends() {
    let storage = MemoryStorage::default();
    let (certified_in, certified) = watch::channel(6);
    let found = certificate_within(&storage, certified.clone(), 7, Duration::from_millis(20)).await;
    assert_eq!(found.expect("memory"), None, "time ran out");
    drop(certified_in);
    assert_eq!(certificate_within(&storage, certified, 7, LONG).await.expect("memory"), None, "the node stopped");
}
