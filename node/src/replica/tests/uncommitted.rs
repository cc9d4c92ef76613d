//! Own vertices that nobody committed.

use super::*;
use crate::test_support::transfer;
use farthing_consensus::vertex::{SignedHeader, Vertex, VertexHeader};
use farthing_core::keys::Signature;

#[test]
fn what_a_lost_vertex_carried_is_proposed_again_after_a_restart() {
    let mut cluster = Cluster::connected(4, 0);
    cluster.run(1_000);
    // It proposes the transfer while nothing gets out, and is started again from its disk: the mempool is gone.
    cluster.machines[0].is_cut_off = true;
    let transaction = transfer(1, 1);
    cluster.submit(0, vec![transaction.clone()]);
    cluster.run(100);
    let carries = |vertex: &VerifiedVertex| vertex.payload()[..] == transaction.signed().encode()[..];
    let vertices = cluster.machines[0].storage.vertices(0, u64::MAX, usize::MAX).expect("memory");
    let lost = vertices.iter().find(|vertex| carries(vertex)).expect("it proposed the transfer").reference();
    cluster.stop(0);
    for other in 1..4 {
        cluster.queue.push_back((other, Event::Disconnected(Peer::Validator(0))));
    }
    cluster.start(0);
    assert!(!cluster.replica(0).is_pending(&transaction.id()));

    // The others go on until nobody would take that vertex any more.
    cluster.run_until("the others", |cluster| cluster.replica(1).engine.status().gc_round > lost.round + 5);
    assert!(!cluster.is_settled(1, &transaction));
    cluster.machines[0].is_cut_off = false;
    for other in 1..4 {
        cluster.connect(0, other);
    }
    cluster.run_until("the transfer", |cluster| (0..4).all(|id| cluster.is_settled(id, &transaction)));
}

#[test]
fn an_own_vertex_that_peers_showed_counts_only_as_what_it_was_found_to_be() {
    let mut cluster = Cluster::connected(1, 0);
    let replica = cluster.machines[0].replica.as_mut().expect("it runs");
    let transaction = transfer(1, 1);
    let mut forged = transaction.signed().clone();
    forged.signature.0[0] ^= 1;
    let forged = own_vertex(50, forged.encode());
    let garbage = own_vertex(51, vec![0xff; 40]);
    let honest = own_vertex(52, transaction.signed().encode());
    let vertices = [forged, garbage, honest];
    for vertex in &vertices {
        replica.accepted(vertex.clone(), &mut Vec::new()).expect("it goes on");
    }

    replica.uncommitted(&vertices);
    assert!(!replica.is_pending(&transaction.id()), "nothing was verified yet");
    replica.executor.verdict(&vertices[0].reference(), Verdict::Void);
    replica.executor.verdict(&vertices[1].reference(), Verdict::Void);
    replica.uncommitted(&vertices);
    assert!(!replica.is_pending(&transaction.id()), "it was forged");
    replica.executor.verdict(&vertices[2].reference(), Verdict::Valid(vec![transaction.clone()]));
    replica.uncommitted(&vertices);
    assert!(replica.is_pending(&transaction.id()));
}

fn own_vertex(round: u64, payload: Vec<u8>) -> VerifiedVertex {
    let header = VertexHeader {
        epoch: 0,
        round,
        author: 0,
        timestamp_ms: START_MS,
        parents: Vec::new(),
        payload_digest: Digest::of_bytes(&payload),
        commit_vote: None,
        attestations: Vec::new(),
    };
    let signed = SignedHeader { header, signature: Signature([1; 64]) };
    VerifiedVertex::from_own_storage(Vertex { signed, payload: payload.into() })
}
