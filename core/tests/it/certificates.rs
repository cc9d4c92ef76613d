//! Certificates: a quorum's word, directly or through linked descendants, and nothing besides.

use crate::helpers::{certificate, commit, network, output, transfer};
use farthing_core::block::BlockHeader;
use farthing_core::certificate::CertificateError::{self, *};
use farthing_core::certificate::{Certificate, LINKS_MAX, faulty_max, quorum};
use farthing_core::execution::Ledger;
use farthing_core::genesis::Genesis;

fn genesis() -> Genesis {
    network(&[(1, 1_000)])
}

/// Consecutive headers from height 1 on.
fn headers(count: u64) -> Vec<BlockHeader> {
    let mut ledger = Ledger::genesis(&genesis());
    let mut block = |nonce| commit(&mut ledger, 0, &[transfer(1, nonce, vec![output(1, 1, false)])]).block;
    (1..=count).map(|nonce| block(nonce).unwrap().header).collect()
}

fn check(headers: &[BlockHeader], attested: &[(u16, usize)], expect: Result<(), CertificateError>) {
    assert_eq!(certificate(headers, attested).verify(&headers[0], &genesis()), expect, "{attested:?}");
}

#[test]
fn a_quorum_certifies() {
    let headers = headers(3);
    check(&headers[..1], &[(0, 0), (1, 0), (2, 0)], Ok(()));
    check(&headers[..1], &[(0, 0), (1, 0), (2, 0), (3, 0)], Ok(()));
    check(&headers, &[(0, 2), (1, 2), (2, 2)], Ok(()));
    check(&headers, &[(0, 1), (1, 2), (3, 0)], Ok(()));
}

#[test]
fn less_does_not() {
    let headers = headers(3);
    check(&headers[..1], &[], Err(NoQuorum { found: 0, quorum: 3 }));
    check(&headers[..1], &[(0, 0), (3, 0)], Err(NoQuorum { found: 2, quorum: 3 }));
    let order = Malformed("the attestations do not ascend by validator");
    check(&headers[..1], &[(0, 0), (1, 0), (1, 0)], Err(order.clone()));
    check(&headers[..1], &[(1, 0), (0, 0), (2, 0)], Err(order));
    check(&headers[..1], &[(0, 0), (1, 0), (4, 0)], Err(Malformed("a validator that does not exist")));
    check(&headers, &[(0, 0), (1, 0), (2, 1)], Err(Malformed("the last link is not attested")));
}

fn tampered(tamper: impl Fn(&mut Certificate)) -> CertificateError {
    let headers = headers(3);
    let mut certificate = certificate(&headers, &[(0, 0), (1, 1), (2, 2)]);
    tamper(&mut certificate);
    certificate.verify(&headers[0], &genesis()).unwrap_err()
}

#[test]
fn tampering_is_noticed() {
    assert_eq!(tampered(|certificate| certificate.links.swap(0, 1)), BrokenLink);
    assert_eq!(tampered(|certificate| certificate.links = certificate.links.split_off(1)), BrokenLink);
    assert_eq!(tampered(|certificate| certificate.links.truncate(1)), Malformed("the last link is not attested"));
    assert_eq!(tampered(|certificate| certificate.links[0].timestamp_ms += 1), BrokenLink);
    assert_eq!(tampered(|certificate| certificate.links[1].timestamp_ms += 1), BadSignature(2));
    assert_eq!(tampered(|certificate| certificate.links[1].chain.0[0] ^= 1), BrokenLink);
    assert_eq!(tampered(|certificate| certificate.attestations[0].signature.0[40] ^= 1), BadSignature(0));
    assert_eq!(tampered(|certificate| certificate.attestations[0].height = 2), BadSignature(0));
    assert_eq!(
        tampered(|certificate| certificate.attestations[0].height = 0),
        Malformed("an attestation of a block that is not included")
    );
    let links = vec![headers(1)[0].clone(); LINKS_MAX + 1];
    assert_eq!(tampered(|certificate| certificate.links = links.clone()), Malformed("too many links"));
    let many = vec![certificate(&headers(1), &[(0, 0)]).attestations[0]; 5];
    assert_eq!(
        tampered(|certificate| certificate.attestations = many.clone()),
        Malformed("more attestations than validators")
    );
}

#[test]
fn quorums_of_committees() {
    let table =
        [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (5, 1, 4), (6, 1, 5), (7, 2, 5), (10, 3, 7), (100, 33, 67)];
    for (n, f, q) in table {
        assert_eq!((faulty_max(n), quorum(n)), (f, q), "{n} validators");
        assert!(2 * q - n > f, "two quorums of {n} share an honest validator");
        assert!(n - f >= q, "the honest ones of {n} are a quorum");
    }
}
