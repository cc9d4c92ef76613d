//! What a restart makes of what it finds (§10): it refuses commits that are no chain, and finds out what is known of the validator's own
//! signatures.

use crate::commit::Commit;
use crate::committee::Committee;
use crate::interface::{RECOVERY_COMMITS, Recovered, Signing};
use crate::vertex::{Author, Round, VertexRef};

/// What a validator knows of what it signed before a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Past {
    /// The own vertex to go on from; `None` is genesis.
    pub last: Option<VertexRef>,
    /// The highest round known to be signed.
    pub round: Round,
    /// Whether more may have been signed: the signing state is missing, or contradicts the database.
    pub is_lost: bool,
}

/// Checks that the commits recovered are a chain and reach back far enough.
///
/// # Panics
/// If not, with a message for whoever runs the node.
pub fn check(committee: &Committee, recovered: &Recovered) {
    let commits = &recovered.commits;
    let gc_round = commits.last().map_or(0, |newest| committee.gc_round(newest.leader.round));
    // Leaders have distinct, ascending rounds: before the first of these commits there is none above the gc round.
    let is_enough =
        |first: &Commit| first.index == 1 || commits.len() >= RECOVERY_COMMITS || first.leader.round <= gc_round + 1;
    assert!(
        commits.first().is_none_or(is_enough),
        "the database lacks commits: {} recovered, at least {RECOVERY_COMMITS} are needed",
        commits.len()
    );
    for pair in commits.windows(2) {
        assert!(
            pair[1].index == pair[0].index + 1 && pair[1].previous == pair[0].digest(committee.chain()),
            "the database is damaged: commit {} does not follow commit {}. Restore it from a backup of this very \
             validator, or let the validator catch up with an empty database and a new key.",
            pair[1].index,
            pair[0].index
        );
    }
}

/// What the validator `own` knows of its past. A signing state below an own vertex is an old one; one whose vertex is not there belongs to
/// a newer database.
///
/// # Panics
/// If the signing state is another validator's.
pub fn past(committee: &Committee, own: Author, recovered: &Recovered) -> Past {
    let newest_leader = recovered.commits.last().map_or(0, |commit| commit.leader.round);
    let gc_round = committee.gc_round(newest_leader);
    let own_vertices = recovered.vertices.iter().map(|vertex| vertex.reference()).filter(|known| known.author == own);
    let highest = own_vertices.clone().max();
    let highest_round = highest.map_or(0, |reference| reference.round);
    let Signing::Intact(last) = recovered.signing else {
        return Past { last: highest, round: highest_round, is_lost: true };
    };
    let signed_round = last.map_or(0, |reference| reference.round);
    if let Some(last) = last {
        assert!(last.author == own, "the signing state is that of validator {}, this is validator {own}", last.author);
    }
    let is_here = |last: VertexRef| last.round <= gc_round || own_vertices.clone().any(|known| known == last);
    if highest_round <= signed_round && last.is_none_or(is_here) {
        return Past { last, round: signed_round, is_lost: false };
    }
    Past { last: highest, round: highest_round.max(signed_round), is_lost: true }
}
