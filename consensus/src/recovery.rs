//! What a restart refuses to go on with (§10): states from which a second vertex might be signed for a slot, or a commit made twice.

use crate::commit::Commit;
use crate::committee::Committee;
use crate::interface::{RECOVERY_COMMITS, Recovered, Signing};
use crate::vertex::Author;

/// Checks that what was recovered does not contradict itself.
///
/// # Panics
/// If it does, with a message for whoever runs the node.
pub fn check(committee: &Committee, own: Option<Author>, recovered: &Recovered) {
    check_commits(committee, recovered);
    if let Some(own) = own {
        check_signing_state(committee, own, recovered);
    }
}

fn check_commits(committee: &Committee, recovered: &Recovered) {
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

fn check_signing_state(committee: &Committee, own: Author, recovered: &Recovered) {
    let newest_leader = recovered.commits.last().map_or(0, |commit| commit.leader.round);
    let gc_round = committee.gc_round(newest_leader);
    let own_vertices = recovered.vertices.iter().filter(|vertex| vertex.author() == own);
    let highest = own_vertices.clone().map(|vertex| vertex.round()).max().unwrap_or(0);
    let Signing::Intact(last_signed) = recovered.signing else { return };
    let signed_round = last_signed.map_or(0, |reference| reference.round);
    assert!(
        highest <= signed_round,
        "the signing state is older than the database: last signed is round {signed_round}, but there is an own vertex of \
         round {highest}. Signing on could sign two vertices for one slot. Restore the newest signing state."
    );
    if let Some(last) = last_signed.filter(|last| last.round > gc_round) {
        assert!(
            last.author == own && own_vertices.clone().any(|vertex| vertex.reference() == last),
            "the database is older than the signing state: the last signed vertex, of round {}, is not in it. Restore the \
             newest database.",
            last.round
        );
    }
}
