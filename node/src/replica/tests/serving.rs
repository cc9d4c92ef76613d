//! What peers are told while an own write is under way.

use super::*;
use crate::test_support::transfer;

/// Asks machine `id` as a peer would, and returns what it answers.
fn ask(cluster: &mut Cluster, id: MachineId, from: Peer, message: Inbound) -> Vec<Outbound> {
    let before = cluster.machines[id].sent.len();
    cluster.queue.push_back((id, Event::Message { from, message }));
    let is_cut_off = std::mem::replace(&mut cluster.machines[id].is_cut_off, true);
    cluster.settle();
    cluster.machines[id].is_cut_off = is_cut_off;
    cluster.machines[id].sent[before..].iter().map(|(_, message)| message.clone()).collect()
}

/// The newest own vertex that storage shows.
fn newest_own(cluster: &Cluster, id: MachineId) -> VertexRef {
    let vertices = cluster.machines[id].storage.vertices(0, u64::MAX, usize::MAX).expect("memory");
    let own = vertices.iter().map(VerifiedVertex::reference).filter(|reference| usize::from(reference.author) == id);
    own.max().expect("it has proposed")
}

#[test]
fn nothing_unsynced_leaves() {
    let mut cluster = Cluster::connected(4, 0);
    cluster.run(1_000);
    let asker = Peer::Validator(1);
    let (fetch, subscribe) = (
        |refs: VertexRef| Inbound::FetchVertices { refs: vec![refs], above_round: refs.round - 1 },
        |reference: VertexRef| Inbound::Subscribe { from_round: reference.round },
    );
    let synced = newest_own(&cluster, 0);
    let answers = ask(&mut cluster, 0, asker, fetch(synced));
    assert!(matches!(&answers[..], [Outbound::Message(Message::Vertices { vertices })] if vertices.len() == 1));
    assert_eq!(ask(&mut cluster, 0, asker, subscribe(synced)).len(), 1);

    // From here on its writes are visible, but not done.
    cluster.machines[0].disk_hangs = true;
    cluster.submit(0, vec![transfer(1, 1)]);
    cluster.run(2_000);
    let unsynced = newest_own(&cluster, 0);
    assert!(unsynced.round > synced.round, "it has proposed another vertex");
    let was_sent = |cluster: &Cluster| {
        let is_it = |message: &Outbound| match message {
            Outbound::Vertex(vertex) => vertex.reference() == unsynced,
            Outbound::Message(Message::Vertices { vertices }) => {
                vertices.iter().any(|vertex| vertex.signed.reference() == unsynced)
            }
            Outbound::Message(Message::Latest { own, .. }) => {
                own.as_ref().is_some_and(|vertex| vertex.reference() == unsynced)
            }
            Outbound::Message(Message::Commits { votes, .. }) => votes.iter().any(|vote| vote.reference() == unsynced),
            _ => false,
        };
        cluster.machines[0].sent.iter().any(|(_, message)| is_it(message))
    };
    let answers = ask(&mut cluster, 0, asker, fetch(unsynced));
    assert!(matches!(&answers[..], [Outbound::Message(Message::Vertices { vertices })] if vertices.is_empty()));
    ask(&mut cluster, 0, asker, subscribe(unsynced));
    ask(&mut cluster, 0, asker, Inbound::FetchCommits { from_index: 1 });
    assert_eq!(ask(&mut cluster, 0, asker, Inbound::FetchLatest).len(), 1);
    assert!(!was_sent(&cluster));

    cluster.machines[0].disk_hangs = false;
    for ticket in std::mem::take(&mut cluster.machines[0].unwritten) {
        cluster.queue.push_back((0, Event::Persisted(ticket)));
    }
    cluster.settle();
    assert!(was_sent(&cluster), "once it is durable it is sent");
}

#[test]
fn a_vote_that_is_not_synced_does_not_certify_a_commit() {
    // Alone a validator commits at once, so its own unsynced vertices stand in its commits.
    let mut cluster = Cluster::connected(1, 1);
    cluster.run(2_000);
    let synced = newest_own(&cluster, 0);
    cluster.machines[0].disk_hangs = true;
    cluster.run(2_000);
    let from_index = cluster.machines[0].storage.newest_commit().expect("memory").saturating_sub(3).max(1);
    let answers = ask(&mut cluster, 0, Peer::Follower(1), Inbound::FetchCommits { from_index });
    let [Outbound::Message(Message::Commits { votes, .. })] = &answers[..] else { panic!("{answers:?}") };
    assert!(votes.iter().all(|vote| vote.reference().round <= synced.round), "{synced:?}: {votes:?}");
    assert!(newest_own(&cluster, 0).round > synced.round);
}
