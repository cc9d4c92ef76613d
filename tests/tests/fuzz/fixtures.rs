//! Valid values to mutate: a small network, a few blocks of it, and what can be proven of them.

use bytes::Bytes;
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::vertex::{SignedHeader, VerifiedVertex, VertexHeader};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::bandwidth::BandwidthParameters;
use farthing_core::block::{BlockHeader, TransactionResult};
use farthing_core::certificate::{Attestation, Certificate, CertificateAttestation};
use farthing_core::execution::{CommitContext, Execution, Ledger};
use farthing_core::flush::StateFlush;
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::receipt::{Receipt, transaction_path};
use farthing_core::state_proof::StateProof;
use farthing_core::transaction::{Authority, Operation, Output, SignedTransaction, Transaction};
use std::sync::LazyLock;

/// When the network starts: not a whole second.
const GENESIS_MS: u64 = 1_700_000_000_400;

/// The key of person number `n`; validators are 101 to 104.
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// The address of person number `n`. 1 and 2 have an account from the start.
pub fn address(n: u8) -> Address {
    Address(key(n).public_key())
}

/// What the network's addresses start with.
pub fn prefix() -> AddressPrefix {
    "test".parse().expect("a good prefix")
}

/// Four validators, two accounts. Made once: its keys take longer than most of what is tested here.
pub fn genesis() -> &'static Genesis {
    static GENESIS: LazyLock<Genesis> = LazyLock::new(make_genesis);
    &GENESIS
}

fn make_genesis() -> Genesis {
    let validator = |n: u8| Validator {
        name: format!("validator {n}"),
        public_key: key(100 + n).public_key(),
        network_key: key(110 + n).public_key(),
    };
    // Genesis documents relate bandwidth to the reserve, which is small here.
    let bandwidth = BandwidthParameters {
        base_bytes: 1_000_000_000,
        bytes_per_far: 10_000_000_000_000_000,
        ..BandwidthParameters::generous()
    };
    let parameters = Parameters {
        account_reserve: Amount::from_mites(100),
        validity_max_ms: 60_000,
        bandwidth,
        ..Parameters::default()
    };
    let accounts = vec![(address(1), Amount::from_mites(10_000)), (address(2), Amount::from_mites(5_000))];
    Genesis::new("fuzzing", &prefix(), GENESIS_MS, parameters, (1..=4).map(validator).collect(), accounts)
        .expect("a good genesis document")
}

/// Transfers of person 1 of every shape, which all execute in this order.
pub fn transfers() -> Vec<SignedTransaction> {
    let output = |to: u8, mites: u64, reference: Option<[u8; 32]>, open: bool| Output {
        to: address(to),
        amount: Amount::from_mites(mites),
        reference,
        open,
    };
    let shapes = [
        vec![output(2, 1, None, false)],
        vec![output(2, 300, Some([7; 32]), false)],
        vec![output(3, 20, None, true), output(1, 5, Some([9; 32]), false), output(3, 1, None, false)],
        vec![output(2, 1, None, false); 20],
    ];
    let sign = |(nonce, outputs): (u64, Vec<Output>)| {
        let operation = Operation::Transfer { outputs };
        let valid_until_ms = GENESIS_MS + 50_000;
        Transaction { sender: address(1), authority: Authority::Root, nonce, valid_until_ms, operation }
            .sign(&genesis().chain_hash(), &key(1))
    };
    (1..).zip(shapes).map(sign).collect()
}

/// Blocks that hold [`transfers`], and what proves things about them.
pub struct Chain {
    /// The headers of the blocks, from height 1 on, without gaps.
    pub headers: Vec<BlockHeader>,
    /// A receipt for each transfer, some with links in the certificate.
    pub receipts: Vec<Receipt>,
    /// Proofs of accounts, one with a link in the certificate.
    pub proofs: Vec<StateProof>,
    /// Flushes of the state.
    pub flushes: Vec<StateFlush>,
}

/// The chain: three blocks with transfers, a second apart, and one that only carries a state root.
pub fn chain() -> Chain {
    let chain = genesis().chain_hash();
    let mut ledger = Ledger::genesis(genesis());
    ledger.set_flush_interval_ms(0);
    let transfers = transfers();
    let commits = [&transfers[..2], &transfers[2..3], &transfers[3..], &[]];
    let mut blocks = Vec::new();
    let mut flushes = Vec::new();
    for (index, signed) in (1..).zip(commits) {
        let digest = Digest::of("fuzz commit", &[&[index as u8]]);
        let context = CommitContext { epoch: 0, index, digest, timestamp_ms: GENESIS_MS + 1_100 * index };
        let verified: Vec<_> = signed.iter().map(|signed| signed.clone().verify(&chain).expect("signed")).collect();
        let Execution { block, dropped, flush } = ledger.execute(&context, &verified);
        assert!(dropped.is_empty(), "{dropped:?}");
        flushes.extend(flush);
        blocks.push((block.expect("every commit here makes a block"), signed.to_vec()));
    }
    let headers: Vec<BlockHeader> = blocks.iter().map(|(block, _)| block.header.clone()).collect();
    let receipts = blocks.iter().enumerate().flat_map(|(place, (block, signed))| {
        let results: Vec<TransactionResult> = block.results.iter().map(|(_, result)| *result).collect();
        let headers = &headers;
        signed.iter().zip(0..).map(move |(signed, position)| Receipt {
            transaction: signed.clone(),
            code: results[position as usize].code,
            position,
            path: transaction_path(&results, position),
            header: headers[place].clone(),
            certificate: certificate(&headers[place..=(place + position as usize).min(3)]),
        })
    });
    let receipts = receipts.collect();
    let proofs = (1..=3).map(|person| {
        let proof = ledger.prove_account(&address(person)).expect("an account");
        let certificate = certificate(std::slice::from_ref(proof.header()));
        proof.certify(certificate)
    });
    Chain { receipts, proofs: proofs.collect(), headers, flushes }
}

/// A certificate of the first header by a bare quorum, one of which attests the last header.
fn certificate(headers: &[BlockHeader]) -> Certificate {
    let last = headers.last().expect("a header");
    let attested = [(0u16, &headers[0]), (1, last), (3, &headers[0])];
    let attestations = attested.map(|(validator, header)| {
        let key = key(101 + u8::try_from(validator).expect("one of four"));
        let attestation = Attestation::sign(&header.chain, header.height, header.hash(), &key);
        CertificateAttestation { validator, height: header.height, signature: attestation.signature }
    });
    Certificate { links: headers[1..].to_vec(), attestations: attestations.to_vec() }
}

/// The committee of [`genesis`].
pub fn committee() -> Committee {
    Committee::from_genesis(genesis())
}

/// A few valid vertices: bare, with everything, and with transfers.
pub fn vertices() -> Vec<VerifiedVertex> {
    let committee = committee();
    let first: Vec<_> = (0..4).map(|author| vertex(&committee, 1, author, &[], None)).collect();
    let payload = transfers().iter().flat_map(SignedTransaction::encode).collect::<Vec<u8>>();
    let second = vertex(&committee, 2, 2, &payload, Some(&first));
    vec![first[0].clone(), second, first[3].clone()]
}

fn vertex(
    committee: &Committee,
    round: u64,
    author: u16,
    payload: &[u8],
    parents: Option<&[VerifiedVertex]>,
) -> VerifiedVertex {
    let order = std::iter::once(author).chain((0..4).filter(|other| *other != author));
    let key = key(101 + u8::try_from(author).expect("one of four"));
    let full = parents.is_some();
    let block = Digest::of_bytes(b"a block");
    let header = VertexHeader {
        epoch: 0,
        round,
        author,
        timestamp_ms: GENESIS_MS + 100 * round,
        parents: order
            .map(|parent| {
                parents.map_or(committee.genesis_ref(parent), |vertices| vertices[usize::from(parent)].reference())
            })
            .collect(),
        payload_digest: Digest::of_bytes(payload),
        commit_vote: full.then_some((41, Digest::of_bytes(b"a commit"))),
        attestations: if full { vec![Attestation::sign(committee.chain(), 17, block, &key); 3] } else { Vec::new() },
    };
    VerifiedVertex::sign(header, Bytes::copy_from_slice(payload), committee.chain(), &key)
}

/// Two commits, the second after the first.
pub fn commits() -> Vec<Commit> {
    let vertices = vertices();
    let first = Commit {
        epoch: 0,
        index: 1,
        previous: *committee().chain(),
        leader: vertices[0].reference(),
        vertices: vec![vertices[0].reference()],
        timestamp_ms: GENESIS_MS + 100,
    };
    let second = Commit {
        index: 2,
        previous: first.digest(committee().chain()),
        leader: vertices[1].reference(),
        vertices: vec![vertices[2].reference(), vertices[1].reference()],
        timestamp_ms: GENESIS_MS + 200,
        ..first.clone()
    };
    vec![first, second]
}

/// The headers of [`vertices`], signed.
pub fn signed_headers() -> Vec<SignedHeader> {
    vertices().iter().map(|vertex| vertex.signed_header().clone()).collect()
}
