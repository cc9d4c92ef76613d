//! The node itself: `GET /v1/status`, `/v1/validators`, `/v1/genesis`, `/healthz`, `/readyz` and `/metrics`.

use super::ApiState;
use super::evidence;
use super::extract::NoParameters;
use super::metrics::METRICS_CONTENT_TYPE;
use super::problem::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use farthing_client::{NodeStatus, Problem, ProblemCode, Role, StateRoot, ValidatorView};
use std::sync::Arc;

/// How the node is doing.
///
/// To compare nodes, compare the `state_root` of answers that name the same `commit_index` in it.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "node",
    responses(
        (status = 200, description = "The status.", body = NodeStatus),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn status(State(state): State<Arc<ApiState>>, _: NoParameters) -> Result<Json<NodeStatus>, ApiError> {
    let info = state.node.info();
    let status = state.node.status().await?;
    let validators = info.genesis.validators();
    let own = info.own.map(|own| validators[usize::from(own)].name.clone());
    Ok(Json(NodeStatus {
        network: info.genesis.network().into(),
        chain: info.chain,
        address_prefix: info.genesis.prefix().clone(),
        version: info.version.into(),
        role: if own.is_some() { Role::Validator } else { Role::Full },
        validator: own,
        round: status.round,
        commit_index: status.executed_index,
        height: status.height,
        block_hash: status.block_hash,
        timestamp_ms: status.timestamp_ms,
        certified_height: status.certified_height,
        state_root: StateRoot { root: status.state_root, height: status.height, commit_index: status.executed_index },
        peers_connected: saturating_u32(status.connected.len() + status.followers),
        validators: saturating_u32(validators.len()),
        mempool_transactions: status.mempool_transactions as u64,
        mempool_bytes: status.mempool_bytes as u64,
        uptime_s: state.started.elapsed().as_secs(),
        catching_up: status.catching_up,
        ready: status.ready,
    }))
}

/// The committee, as this node sees it.
#[utoipa::path(
    get,
    path = "/v1/validators",
    tag = "node",
    responses(
        (status = 200, description = "The validators, in the order of the genesis document.", body = Vec<ValidatorView>),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn validators(
    State(state): State<Arc<ApiState>>,
    _: NoParameters,
) -> Result<Json<Vec<ValidatorView>>, ApiError> {
    let info = state.node.info();
    let status = state.node.status().await?;
    let convicted = state.blocking(evidence::convicted).await?;
    let views = (0..).zip(info.genesis.validators()).map(|(index, validator)| ValidatorView {
        index,
        name: validator.name.clone(),
        public_key: validator.public_key,
        connected: info.own == Some(index) || status.connected.contains(&index),
        last_round: status.highest_rounds.get(usize::from(index)).copied().unwrap_or(0),
        equivocated: convicted.contains(&index),
    });
    Ok(Json(views.collect()))
}

/// The genesis document that the node runs on.
///
/// Its hash identifies the network; whoever wants to trust the ledger and not this node compares it with one from elsewhere.
#[utoipa::path(
    get,
    path = "/v1/genesis",
    tag = "node",
    responses((status = 200, description = "The genesis document.", body = serde_json::Value)),
)]
pub(super) async fn genesis(State(state): State<Arc<ApiState>>, _: NoParameters) -> Response {
    let document = &state.node.info().genesis_document;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_string()),
        (header::CONTENT_LENGTH, document.len_bytes().to_string()),
    ];
    (headers, document.body()).into_response()
}

/// Whether the process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "It is.", body = String)),
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the node answers for the newest state and takes transactions.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "It does.", body = String),
        (status = 503, description = "`unavailable`: not yet, or not now.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn readyz(State(state): State<Arc<ApiState>>) -> Result<&'static str, ApiError> {
    let status = state.node.status().await?;
    if status.ready {
        return Ok("ready\n");
    }
    let reason = match (status.amnesia, status.catching_up) {
        (true, _) => "waiting for the other validators to tell what this one has signed",
        (false, true) => "catching up with the others",
        (false, false) => "not connected to enough validators",
    };
    Err(ApiError::new(
        ProblemCode::Unavailable,
        format!("the node is {reason}: height {}, {} validators connected", status.height, status.connected.len()),
    ))
}

/// Metrics for Prometheus, in the OpenMetrics text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "The metrics.", body = String, content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(state): State<Arc<ApiState>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], state.node.metrics_text()).into_response()
}

fn saturating_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
