//! Own vertices that nobody committed.

use super::*;
use crate::test_support::transfer;

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
