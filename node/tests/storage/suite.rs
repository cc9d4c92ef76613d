//! What both kinds of storage do alike.

use crate::fixtures::*;
use farthing_core::block::ResultCode;
use farthing_core::certificate::CertificateAttestation;
use farthing_core::keys::Signature;
use farthing_node::storage::{
    Batch, EVIDENCE_PER_AUTHOR_MAX, HistoryRecord, IndexedTransaction, LineRange, OperationKind, StorageError, Topic,
    TransactionPosition,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_new_storage_is_empty() {
    over_both(|storage| {
        assert_eq!(storage.signing_state().unwrap(), None);
        assert_eq!((storage.newest_commit().unwrap(), storage.newest_block().unwrap()), (0, 0));
        assert_eq!(storage.vertex(&reference(1, 0)).unwrap(), None);
        assert_eq!(storage.vertices(0, u64::MAX, 10).unwrap(), []);
        assert_eq!(storage.commit(1).unwrap(), None);
        assert_eq!(storage.block(1).unwrap(), None);
        assert_eq!(storage.header(1).unwrap(), None);
        assert_eq!(storage.certificate(1).unwrap(), None);
        assert_eq!(storage.transaction(&id(1, 0)).unwrap(), None);
        assert_eq!(storage.history(&account(0), None, 10).unwrap(), []);
        assert_eq!(storage.evidence().unwrap(), []);
        assert_eq!(storage.state().unwrap(), None);
    });
}

#[test]
fn the_signing_state_is_missing_then_nothing_then_what_was_signed() {
    over_both(|storage| {
        storage.apply(&Batch { vertices: vec![simple_vertex(1, 0, b"")], ..Batch::default() }, true).unwrap();
        assert_eq!(storage.signing_state().unwrap(), None, "missing, whatever else is stored");
        storage.initialize_signing_state().unwrap();
        storage.initialize_signing_state().unwrap();
        assert_eq!(storage.signing_state().unwrap(), Some(None));
        for round in [1, 2, 7] {
            let signed = Some(reference(round, 3));
            storage.apply(&Batch { last_signed: signed, ..Batch::default() }, true).unwrap();
            assert_eq!(storage.signing_state().unwrap(), Some(signed));
        }
        let refused = storage.initialize_signing_state();
        assert!(matches!(refused, Err(StorageError::SigningStateExists(7))), "{refused:?}");
    });
}

#[test]
fn the_signing_state_never_moves_down_or_sideways() {
    over_both(|storage| {
        let sign = |round, author| {
            let batch = Batch { last_signed: Some(reference(round, author)), ..Batch::default() };
            catch_unwind(AssertUnwindSafe(|| storage.apply(&batch, true).unwrap()))
        };
        assert!(sign(5, 0).is_ok());
        assert!(sign(5, 0).is_ok(), "the same again");
        assert!(sign(4, 0).is_err(), "down");
        assert!(sign(5, 1).is_err(), "another one of the same round");
    });
}

#[test]
fn vertices_are_found_by_reference_and_by_round() {
    over_both(|storage| {
        // Written out of order, with and without payload, and with an equivocating copy.
        let equivocation = vertex(2, 1, 99, Vec::new(), b"other payload");
        let mut vertices = vec![
            simple_vertex(3, 0, b""),
            simple_vertex(1, 0, b"payload"),
            simple_vertex(2, 1, b""),
            equivocation,
            simple_vertex(2, 0, b"more payload"),
            simple_vertex(300, 2, b""),
            simple_vertex(1, 3, b""),
        ];
        storage.apply(&Batch { vertices: vertices[..4].to_vec(), ..Batch::default() }, false).unwrap();
        storage.apply(&Batch { vertices: vertices[3..].to_vec(), ..Batch::default() }, true).unwrap();
        for vertex in &vertices {
            let stored = storage.vertex(&vertex.reference()).unwrap().unwrap();
            assert_eq!(stored.vertex(), vertex.vertex());
        }
        assert_eq!(storage.vertex(&reference(2, 1)).unwrap(), None);

        vertices.sort_by_key(|vertex| vertex.reference());
        assert_eq!(storage.vertices(0, u64::MAX, 100).unwrap(), vertices);
        assert_eq!(storage.vertices(2, 3, 100).unwrap(), vertices[2..6]);
        assert_eq!(storage.vertices(2, 2, 2).unwrap(), vertices[2..4]);
        assert_eq!(storage.vertices(1, 299, 100).unwrap(), vertices[..6]);
        assert_eq!(storage.vertices(4, 299, 100).unwrap(), []);
        assert_eq!(storage.vertices(0, u64::MAX, 0).unwrap(), []);
    });
}

#[test]
fn commits_are_found_by_index() {
    over_both(|storage| {
        let commits: Vec<_> = (1..=3).map(|index| commit(index, vec![reference(index, 0)])).collect();
        storage.apply(&Batch { commits: commits[..2].to_vec(), ..Batch::default() }, true).unwrap();
        assert_eq!(storage.newest_commit().unwrap(), 2);
        storage.apply(&Batch { commits: commits[1..].to_vec(), ..Batch::default() }, true).unwrap();
        assert_eq!(storage.newest_commit().unwrap(), 3);
        for commit in &commits {
            assert_eq!(storage.commit(commit.index).unwrap().as_ref(), Some(commit));
        }
        assert_eq!(storage.commit(0).unwrap(), None);
        assert_eq!(storage.commit(4).unwrap(), None);
        let gap = Batch { commits: vec![commit(5, vec![reference(5, 0)])], ..Batch::default() };
        assert!(catch_unwind(AssertUnwindSafe(|| storage.apply(&gap, true))).is_err(), "a gap");
    });
}

#[test]
fn blocks_are_found_by_height_and_their_transactions_by_id() {
    over_both(|storage| {
        let mut network = Network::new(4);
        storage.apply(&network.busy(2), false).unwrap();
        storage.apply(&network.idle(), false).unwrap();
        storage.apply(&network.busy(3), true).unwrap();
        assert_eq!(storage.newest_block().unwrap(), 2);
        let second = block(2, 3, &network.last_round[..1], 3);
        assert_eq!(storage.block(2).unwrap(), Some(second.clone()));
        assert_eq!(storage.header(2).unwrap(), Some(second.header));
        assert_eq!(storage.header(1).unwrap().unwrap().commit_index, 1);
        assert_eq!((storage.block(3).unwrap(), storage.header(3).unwrap()), (None, None));
        let indexed = |height, position| {
            let position = TransactionPosition { height, position };
            Some(IndexedTransaction { position, code: ResultCode::Executed })
        };
        assert_eq!(storage.transaction(&id(1, 1)).unwrap(), indexed(1, 1));
        assert_eq!(storage.transaction(&id(2, 2)).unwrap(), indexed(2, 2));
        assert_eq!(storage.transaction(&id(2, 3)).unwrap(), None);
        let gap = Batch { block: Some((block(4, 9, &[], 0), Vec::new())), ..Batch::default() };
        assert!(catch_unwind(AssertUnwindSafe(|| storage.apply(&gap, true))).is_err(), "a gap");
    });
}

#[test]
fn a_certificate_is_replaced_by_a_later_one() {
    over_both(|storage| {
        let attestation =
            |validator| CertificateAttestation { validator, height: 7, signature: Signature([validator as u8; 64]) };
        for attestations in [vec![attestation(0), attestation(1)], vec![attestation(0), attestation(1), attestation(2)]]
        {
            let certificates = vec![(7, attestations.clone()), (8, Vec::new())];
            storage.apply(&Batch { certificates, ..Batch::default() }, true).unwrap();
            assert_eq!(storage.certificate(7).unwrap(), Some(attestations));
            assert_eq!(storage.certificate(8).unwrap(), Some(Vec::new()));
        }
        assert_eq!(storage.certificate(6).unwrap(), None);
    });
}

#[test]
fn history_is_read_newest_first_and_page_by_page() {
    over_both(|storage| {
        let mut expected = Vec::new();
        for (height, position, line) in [(1, 0, 0), (1, 0, 2), (1, 5, 1), (2, 0, 0), (300, 1, 1024)] {
            expected.push(history_line(account(1), height, position, line));
        }
        let others = [account(0), account(2)].map(|other| history_line(other, 2, 0, 0));
        for height in 1..=300 {
            let of_height = expected.iter().chain(&others).filter(|line| line.height == height).cloned().collect();
            let batch = Batch { block: Some((block(height, height, &[], 0), of_height)), ..Batch::default() };
            storage.apply(&batch, false).unwrap();
        }
        expected.reverse();
        assert_eq!(storage.history(&account(1), None, 100).unwrap(), expected);
        let mut before = None;
        for page in expected.chunks(2) {
            let read = storage.history(&account(1), before, 2).unwrap();
            assert_eq!(read, page);
            before = read.last().map(|line| line.cursor());
        }
        assert_eq!(storage.history(&account(1), before, 2).unwrap(), []);
        assert_eq!(storage.history(&account(2), None, 9).unwrap(), others[1..]);
        assert_eq!(storage.history(&account(3), None, 9).unwrap(), []);
    });
}

#[test]
fn lines_are_found_by_account_reference_and_hold_in_both_orders() {
    over_both(|storage| {
        let (payer, payee, hold) = (account(1), account(2), digest("hold", 1));
        let mark = Some([7; 32]);
        let opening = HistoryRecord {
            operation: OperationKind::OpenHold,
            counterparty: payee,
            reference: mark,
            hold: Some(hold),
            ..history_line(payer, 1, 0, 0)
        };
        let captured = HistoryRecord {
            operation: OperationKind::Capture,
            counterparty: payer,
            reference: mark,
            hold: Some(hold),
            ..history_line(payee, 2, 4, 1)
        };
        let capture =
            HistoryRecord { operation: OperationKind::Capture, hold: Some(hold), ..history_line(payee, 2, 4, 0) };
        let refused = HistoryRecord { code: ResultCode::BadProof, ..capture.clone() };
        let refused = HistoryRecord { height: 3, timestamp_ms: 3 * COMMIT_MS, ..refused };
        let paid = HistoryRecord { reference: mark, ..history_line(payee, 4, 0, 1) };
        let sent = HistoryRecord { reference: mark, ..history_line(payer, 4, 0, 0) };
        let blocks =
            [vec![opening.clone()], vec![captured.clone(), capture.clone()], vec![refused], vec![paid.clone(), sent]];
        for (height, lines) in (1..).zip(blocks) {
            let batch = Batch { block: Some((block(height, height, &[], 0), lines)), ..Batch::default() };
            storage.apply(&batch, true).unwrap();
        }
        let all = |topic| storage.lines(&topic, &LineRange::After((0, 0, 0)), 100).unwrap();
        let reversed = |topic| storage.lines(&topic, &LineRange::Before(None), 100).unwrap();
        for (topic, expected) in [
            (Topic::Reference([7; 32]), vec![opening.clone(), captured.clone(), paid.clone()]),
            (Topic::Hold(hold), vec![opening.clone(), capture, captured.clone()]),
            (Topic::HoldsOf(payer), vec![opening.clone()]),
            (Topic::HoldsOf(payee), vec![opening.clone()]),
            (Topic::Reference([8; 32]), Vec::new()),
            (Topic::HoldsOf(account(3)), Vec::new()),
        ] {
            assert_eq!(all(topic), expected, "{topic:?}");
            assert_eq!(reversed(topic), expected.into_iter().rev().collect::<Vec<_>>(), "{topic:?}");
        }
        let topic = Topic::Reference([7; 32]);
        let after = |cursor, limit| storage.lines(&topic, &LineRange::After(cursor), limit).unwrap();
        assert_eq!(after(opening.cursor(), 1), std::slice::from_ref(&captured), "strictly after");
        assert_eq!(after((2, u32::MAX, u32::MAX), 9), [paid]);
        assert_eq!(after((u64::MAX, u32::MAX, u32::MAX), 9), []);
        assert_eq!(storage.lines(&topic, &LineRange::Before(Some(captured.cursor())), 9).unwrap(), [opening]);
        assert_eq!(all(Topic::Account(payee)).len(), 4);
    });
}

#[test]
fn a_flush_replaces_the_slots_it_names() {
    over_both(|storage| {
        let first = flush(1, 4, &[(0, b"globals"), (1, b"one"), (256, b"two hundred and fifty-six")]);
        storage.apply(&Batch { flush: Some(first.clone()), ..Batch::default() }, true).unwrap();
        assert_eq!(storage.state().unwrap(), Some((first.point, first.slots.clone())));
        let second = flush(2, 9, &[(1, b"one again"), (300, b"")]);
        storage.apply(&Batch { flush: Some(second.clone()), ..Batch::default() }, true).unwrap();
        let slots =
            vec![first.slots[0].clone(), second.slots[0].clone(), first.slots[2].clone(), second.slots[1].clone()];
        assert_eq!(storage.state().unwrap(), Some((second.point, slots)));
    });
}

#[test]
fn evidence_is_kept_once_and_not_without_bound() {
    over_both(|storage| {
        let round_max = EVIDENCE_PER_AUTHOR_MAX as u64 + 5;
        for round in 1..=round_max {
            let evidence = vec![(round, 3, vec![1, round as u8]), (round, 3, vec![2]), (7, 2, vec![round as u8])];
            storage.apply(&Batch { evidence, ..Batch::default() }, true).unwrap();
        }
        let mut expected = vec![(7, 2, vec![1])];
        expected.extend((1..=EVIDENCE_PER_AUTHOR_MAX as u64).map(|round| (round, 3, vec![1, round as u8])));
        assert_eq!(storage.evidence().unwrap(), expected);
    });
}

#[test]
fn an_empty_batch_may_be_written_and_synced() {
    over_both(|storage| {
        storage.apply(&Batch::default(), false).unwrap();
        storage.apply(&Batch { commits: vec![commit(1, vec![reference(1, 0)])], ..Batch::default() }, false).unwrap();
        storage.apply(&Batch::default(), true).unwrap();
        assert_eq!(storage.newest_commit().unwrap(), 1);
    });
}
