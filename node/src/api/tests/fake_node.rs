//! A node without consensus: what is submitted is a commit of its own, executed at once by a real ledger, and certified by all
//! four validators, whose keys it has.

use crate::api::NodeView;
use crate::executor::{history_of, payees_of_holds};
use crate::genesis_document::GenesisDocument;
use crate::handle::{AccountState, NodeInfo, Provable, RefuseReason, Snapshot, SubmitOutcome, Unavailable, Wait};
use crate::replica::ReplicaStatus;
use crate::snapshot::Manifest;
use crate::storage::memory::MemoryStorage;
use crate::storage::{
    Batch, BlockEntry, BlockRecord, HistoryRecord, RETAIN_COMMITS_MIN, Retention, Stage, Storage, StorageError,
    TransactionPosition,
};
use farthing_client::transfer;
use farthing_consensus::commit::Commit;
use farthing_consensus::committee::Committee;
use farthing_consensus::vertex::VertexRef;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::block::{BlockHeader, TransactionResult};
use farthing_core::certificate::{Attestation, Certificate, CertificateAttestation};
use farthing_core::execution::{CommitContext, ExecutedBlock, Ledger};
use farthing_core::genesis::{Genesis, Parameters, Validator};
use farthing_core::hash::Digest;
use farthing_core::hold::Hold;
use farthing_core::keys::SecretKey;
use farthing_core::receipt::{Receipt, transaction_path};
use farthing_core::state_chunk::{SlotBytes, StateChunk};
use farthing_core::state_proof::StateProof;
use farthing_core::transaction::{
    Authority, Operation, Output, SignedTransaction, Transaction, TransactionId, VerifiedTransaction,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// When the test network starts.
pub(super) const GENESIS_MS: u64 = 1_700_000_000_000;

/// How the node treats what it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Transactions are executed and certified at once.
    Certifies,
    /// Transactions are executed at once, and their blocks are not certified.
    Executes,
    /// Transactions stay in the mempool.
    Holds,
    /// All are refused.
    Refuses(RefuseReason),
    /// No more are taken.
    Full,
    /// The node answers nothing.
    Stops,
}

pub(super) struct FakeNode {
    info: NodeInfo,
    storage: MemoryStorage,
    validators: Vec<SecretKey>,
    state: Mutex<State>,
    blocks: watch::Sender<u64>,
    registry: Mutex<Registry>,
}

struct State {
    mode: Mode,
    ledger: Ledger,
    transactions: BTreeMap<TransactionId, SignedTransaction>,
    pending: BTreeMap<TransactionId, SignedTransaction>,
    submissions: usize,
}

/// The key number `number`; that of Alice, who has 1,000 FAR, is 1, and that of Bob, who has 10, is 2.
pub(super) fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// The address of the key number `number`.
pub(super) fn address(number: u8) -> Address {
    Address(key(number).public_key())
}

pub(super) fn prefix() -> AddressPrefix {
    "test".parse().expect("a prefix")
}

impl FakeNode {
    pub(super) fn new() -> FakeNode {
        let validators: Vec<_> = (101..=104).map(key).collect();
        let members = (0..).zip(&validators).map(|(index, key)| Validator {
            name: format!("validator-{index}"),
            public_key: key.public_key(),
            network_key: SecretKey::from_seed(&[200 + index; 32]).public_key(),
        });
        let far = |far| Amount::from_far(far).expect("a small amount");
        let accounts = vec![(address(1), far(1_000)), (address(2), far(10))];
        let genesis =
            Genesis::new("testing", &prefix(), GENESIS_MS, Parameters::generous(), members.collect(), accounts)
                .expect("a good genesis document");
        let state = State {
            mode: Mode::Certifies,
            ledger: Ledger::genesis(&genesis),
            transactions: BTreeMap::new(),
            pending: BTreeMap::new(),
            submissions: 0,
        };
        let info = NodeInfo {
            genesis_document: GenesisDocument::in_memory(genesis.to_json()),
            chain: genesis.chain_hash(),
            own: Some(2),
            committee: Arc::new(Committee::from_genesis(&genesis)),
            version: "1.2.3",
            genesis: Arc::new(genesis),
        };
        FakeNode {
            info,
            storage: MemoryStorage::default(),
            validators,
            state: Mutex::new(state),
            blocks: watch::Sender::new(0),
            registry: Mutex::new(Registry::default()),
        }
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("a lock")
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// How many submissions reached the node.
    pub(super) fn submissions(&self) -> usize {
        self.state().submissions
    }

    /// Alice pays with this nonce.
    pub(super) fn payment(&self, nonce: u64, outputs: &[(Address, u64, bool)]) -> SignedTransaction {
        let outputs = outputs.iter().map(|(to, mites, open)| Output {
            to: *to,
            amount: Amount::from_mites(*mites),
            reference: Some([7; 32]),
            open: *open,
        });
        transfer(&self.info.chain, &key(1), nonce, GENESIS_MS + 3_000_000, outputs.collect()).expect("a good transfer")
    }

    /// The account with the key number `number` does something with this nonce.
    pub(super) fn operation(&self, number: u8, nonce: u64, operation: Operation) -> SignedTransaction {
        let (sender, authority, valid_until_ms) = (address(number), Authority::Root, GENESIS_MS + 3_000_000);
        Transaction { sender, authority, nonce, valid_until_ms, operation }.sign(&self.info.chain, &key(number))
    }

    /// The chain hash.
    pub(super) fn chain(&self) -> Digest {
        self.info.chain
    }

    pub(super) fn id(&self, signed: &SignedTransaction) -> TransactionId {
        signed.transaction.id(&self.info.chain)
    }

    /// Makes 120 blocks of one transaction each, and prunes the bodies of the first 100 or more; gives the first transaction.
    pub(super) fn prune(&self) -> SignedTransaction {
        for nonce in 1..=120 {
            self.execute(vec![self.payment(nonce, &[(address(2), nonce, false)])]);
        }
        let retention = Retention { commits: RETAIN_COMMITS_MIN, blocks: 1, transactions_ms: u64::MAX };
        self.storage.prune(&retention).expect("memory");
        self.payment(1, &[(address(2), 1, false)])
    }

    /// Makes two blocks, and puts a snapshot as of block 1,000 in the place of what there is. Gives the first transaction.
    pub(super) fn install_snapshot(&self) -> SignedTransaction {
        for nonce in 1..=2 {
            self.execute(vec![self.payment(nonce, &[(address(2), nonce, false)])]);
        }
        let header = |height| BlockHeader { height, commit_index: height, ..self.state().ledger.newest().clone() };
        let anchor = BlockHeader { state_root: Some(Digest::ZERO), ..header(1_001) };
        let leader = VertexRef { round: 1_000, author: 0, digest: Digest::ZERO };
        let commit = |index| Commit {
            epoch: 0,
            index,
            previous: Digest::ZERO,
            leader,
            vertices: vec![leader],
            timestamp_ms: anchor.timestamp_ms,
        };
        let manifest = Manifest {
            certificate: Certificate { links: Vec::new(), attestations: Vec::new() },
            parent: header(1_000),
            commits: vec![commit(1_000), commit(1_001)],
            slot_count: 1,
            tops: vec![Digest::ZERO],
            anchor,
        };
        let chunk = StateChunk { slots: vec![SlotBytes(vec![0])] };
        for stage in [Stage::Begin(Box::new(manifest)), Stage::Chunk(0, chunk)] {
            self.storage.apply(&Batch { stage: Some(stage), ..Batch::default() }, true).expect("memory");
        }
        assert!(self.storage.install().expect("memory"));
        self.payment(1, &[(address(2), 1, false)])
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a lock")
    }

    fn execute(&self, transactions: Vec<SignedTransaction>) -> Vec<SubmitOutcome> {
        let mut state = self.state();
        let ids: Vec<_> = transactions.iter().map(|signed| self.id(signed)).collect();
        let mut refused = BTreeMap::new();
        let mut verified = Vec::new();
        for (id, signed) in ids.iter().zip(transactions) {
            match signed.verify(&self.info.chain) {
                Ok(_) if self.stored(id).is_some() => {}
                Ok(transaction) => verified.push(transaction),
                Err(_) => drop(refused.insert(*id, RefuseReason::BadSignature)),
            }
        }
        if !verified.is_empty() {
            let commit = CommitContext {
                epoch: 0,
                index: state.ledger.commit_index() + 1,
                digest: Digest::of_bytes(&state.ledger.commit_index().to_le_bytes()),
                timestamp_ms: state.ledger.timestamp_ms() + 1_000,
            };
            let payees = payees_of_holds(&state.ledger, &verified);
            let execution = state.ledger.execute(&commit, &verified);
            refused.extend(execution.dropped.iter().map(|(id, reason)| (*id, RefuseReason::Dropped(*reason))));
            if let Some(block) = execution.block {
                let history = history_of(&block, &verified, &payees);
                self.store(&mut state, &block, &verified, history);
            }
            self.storage.apply(&Batch { flush: execution.flush, ..Batch::default() }, true).expect("memory");
        }
        let certified = state.mode == Mode::Certifies;
        ids.into_iter().map(|id| self.outcome(id, &refused, certified)).collect()
    }

    fn store(
        &self,
        state: &mut State,
        block: &ExecutedBlock,
        transactions: &[VerifiedTransaction],
        history: Vec<HistoryRecord>,
    ) {
        let height = block.header.height;
        let mut entries = Vec::new();
        for (place, result) in &block.results {
            let signed = transactions[*place as usize].signed();
            state.transactions.insert(result.id, signed.clone());
            entries.push(BlockEntry { payload: 0, place: *place, id: result.id, code: result.code });
        }
        let attestations = (0..).zip(&self.validators).map(|(validator, key)| CertificateAttestation {
            validator,
            height,
            signature: Attestation::sign(&self.info.chain, height, block.hash, key).signature,
        });
        let certificates = if state.mode == Mode::Certifies { vec![(height, attestations.collect())] } else { vec![] };
        let record = BlockRecord { header: block.header.clone(), payloads: vec![], entries };
        let batch = Batch { block: Some((record, history)), certificates, ..Batch::default() };
        self.storage.apply(&batch, true).expect("memory");
        self.blocks.send_replace(height);
    }

    fn outcome(
        &self,
        id: TransactionId,
        refused: &BTreeMap<TransactionId, RefuseReason>,
        certified: bool,
    ) -> SubmitOutcome {
        let Some((position, block)) = self.stored(&id) else {
            return SubmitOutcome::Refused { id, reason: refused[&id] };
        };
        SubmitOutcome::InBlock {
            id,
            position,
            code: block.entries[position.position as usize].code,
            block_hash: block.header.hash(),
            header: Arc::new(block.header),
            certified,
        }
    }

    fn stored(&self, id: &TransactionId) -> Option<(TransactionPosition, BlockRecord)> {
        let position = self.storage.transaction(id).expect("memory")?.position;
        Some((position, self.storage.block(position.height).expect("memory").expect("never pruned")))
    }

    fn certificate(&self, height: u64) -> Option<Certificate> {
        let attestations = self.storage.certificate(height).expect("memory")?;
        Some(Certificate { links: vec![], attestations })
    }

    /// Answers unless the node stops.
    fn answer<T: Send + 'static>(&self, answer: impl FnOnce(&State) -> T) -> BoxFuture<'_, Result<T, Unavailable>> {
        let state = self.state();
        let answer = if state.mode == Mode::Stops { Err(Unavailable) } else { Ok(answer(&state)) };
        async move { answer }.boxed()
    }
}

impl NodeView for FakeNode {
    fn info(&self) -> &NodeInfo {
        &self.info
    }

    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn has_room(&self, _count: usize) -> bool {
        self.state().mode != Mode::Full
    }

    fn submit(
        &self,
        transactions: Vec<SignedTransaction>,
        wait: Wait,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Vec<SubmitOutcome>, Unavailable>> {
        async move {
            let mode = {
                let mut state = self.state();
                state.submissions += 1;
                state.mode
            };
            let ids: Vec<_> = transactions.iter().map(|signed| self.id(signed)).collect();
            match mode {
                Mode::Certifies | Mode::Executes => Ok(self.execute(transactions)),
                Mode::Refuses(reason) => Ok(ids.into_iter().map(|id| SubmitOutcome::Refused { id, reason }).collect()),
                Mode::Holds => {
                    self.state().pending.extend(ids.iter().copied().zip(transactions));
                    if wait != Wait::Accepted {
                        tokio::time::sleep(timeout).await;
                    }
                    Ok(ids.into_iter().map(|id| SubmitOutcome::Pending { id }).collect())
                }
                Mode::Full => panic!("submitted without room"),
                Mode::Stops => Err(Unavailable),
            }
        }
        .boxed()
    }

    fn account(&self, address: Address) -> BoxFuture<'_, Result<Snapshot<Option<AccountState>>, Unavailable>> {
        self.answer(|state| Snapshot::of(&state.ledger, AccountState::of(&state.ledger, &address)))
    }

    fn holds(&self, ids: Vec<TransactionId>) -> BoxFuture<'_, Result<Snapshot<Vec<Option<Hold>>>, Unavailable>> {
        self.answer(|state| Snapshot::of(&state.ledger, ids.iter().map(|id| state.ledger.hold(id).cloned()).collect()))
    }

    fn proof(&self, of: Provable) -> BoxFuture<'_, Result<Option<StateProof>, Unavailable>> {
        self.answer(|state| {
            let proof = of.prove(&state.ledger)?;
            let certificate = self.certificate(proof.header().height)?;
            Some(proof.certify(certificate))
        })
    }

    fn is_pending(&self, id: TransactionId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.answer(|state| state.pending.contains_key(&id))
    }

    fn status(&self) -> BoxFuture<'_, Result<ReplicaStatus, Unavailable>> {
        self.answer(|state| ReplicaStatus {
            round: 17,
            highest_rounds: vec![17, 16, 17, 0],
            commit_index: state.ledger.commit_index(),
            executed_index: state.ledger.commit_index(),
            height: state.ledger.newest().height,
            block_hash: state.ledger.newest_hash(),
            state_root: state.ledger.state_root(),
            timestamp_ms: state.ledger.timestamp_ms(),
            certified_height: state.ledger.newest().height,
            accounts: state.ledger.account_count(),
            mempool_transactions: state.pending.len(),
            mempool_bytes: 0,
            connected: vec![0, 1],
            followers: 1,
            catching_up: matches!(state.mode, Mode::Refuses(RefuseReason::NotReady)),
            amnesia: false,
            idle: true,
            ready: !matches!(state.mode, Mode::Refuses(RefuseReason::NotReady)),
            is_validator: true,
            evidence: 0,
        })
    }

    fn transaction(&self, position: TransactionPosition) -> Result<Option<SignedTransaction>, StorageError> {
        let Some(block) = self.storage.block(position.height)? else { return Ok(None) };
        Ok(self.state().transactions.get(&block.entries[position.position as usize].id).cloned())
    }

    fn receipt(&self, position: TransactionPosition) -> Result<Option<Receipt>, StorageError> {
        let Some(block) = self.storage.block(position.height)? else { return Ok(None) };
        let Some(certificate) = self.certificate(position.height) else { return Ok(None) };
        let results: Vec<_> =
            block.entries.iter().map(|entry| TransactionResult { id: entry.id, code: entry.code }).collect();
        let result = results[position.position as usize];
        Ok(Some(Receipt {
            transaction: self.state().transactions[&result.id].clone(),
            code: result.code,
            position: position.position,
            path: transaction_path(&results, position.position),
            header: block.header,
            certificate,
        }))
    }

    fn blocks(&self) -> watch::Receiver<u64> {
        self.blocks.subscribe()
    }

    fn metrics_text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry()).expect("writing into memory");
        text
    }
}
