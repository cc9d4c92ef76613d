//! `GET /v1/evidence`: validators that equivocated.

use super::ApiState;
use super::extract::NoParameters;
use super::problem::ApiError;
use super::view::NodeView;
use crate::storage::StorageError;
use axum::Json;
use axum::extract::State;
use farthing_client::{Evidence, SignedVertexHeader};
use farthing_consensus::vertex::{Author, Round, SignedHeader};
use farthing_core::codec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most bytes of stored evidence: two headers of some 7 KB.
const EVIDENCE_BYTES_MAX: usize = 64 * 1024;

/// Validators that equivocated, with the proof.
///
/// A validator that signs two vertices for one round is faulty, or its key is used twice. One proof convicts it, so one is given for each:
/// the earliest that this node keeps.
#[utoipa::path(
    get,
    path = "/v1/evidence",
    tag = "node",
    responses((status = 200, description = "The proofs, by author; empty as long as all is well.", body = Vec<Evidence>)),
)]
pub(super) async fn evidence(
    State(state): State<Arc<ApiState>>,
    _: NoParameters,
) -> Result<Json<Vec<Evidence>>, ApiError> {
    state.blocking(read).await.map(Json)
}

/// The validators against which there is evidence.
pub(super) fn convicted(node: &dyn NodeView) -> Result<BTreeSet<Author>, ApiError> {
    Ok(node.storage().evidence()?.into_iter().map(|(_, author, _)| author).collect())
}

fn read(node: &dyn NodeView) -> Result<Vec<Evidence>, ApiError> {
    let mut earliest: BTreeMap<Author, (Round, Vec<u8>)> = BTreeMap::new();
    for (round, author, proof) in node.storage().evidence()? {
        earliest.entry(author).or_insert((round, proof));
    }
    earliest.into_iter().map(|(author, (round, proof))| view(node, author, round, &proof)).collect()
}

fn view(node: &dyn NodeView, author: Author, round: Round, proof: &[u8]) -> Result<Evidence, ApiError> {
    let (first, second): (SignedHeader, SignedHeader) = codec::decode(proof, EVIDENCE_BYTES_MAX)
        .map_err(|error| StorageError::Damaged(format!("evidence against validator {author}: {error}")))?;
    let validator = &node.info().genesis.validators()[usize::from(author)];
    Ok(Evidence {
        author,
        validator: validator.name.clone(),
        public_key: validator.public_key,
        round,
        first: signed(&first),
        second: signed(&second),
    })
}

fn signed(signed: &SignedHeader) -> SignedVertexHeader {
    SignedVertexHeader { header: hex::encode(codec::encode(&signed.header)), signature: signed.signature }
}
