//! `GET /v1/accounts/{address}/{bandwidth,keys,policy}`: what an account may still do.

use super::ApiState;
use super::accounts::{as_of, no_such_account};
use super::extract::{NoParameters, Segment, Segments};
use super::problem::ApiError;
use crate::handle::{AccountState, Provable, Snapshot};
use axum::Json;
use axum::extract::State;
use farthing_client::{
    BandwidthView, KeyLimitsJson, KeyView, KeysView, NonceBits, PendingPolicyView, PolicyView, Problem, ProblemCode,
};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::bandwidth::{capacity_bytes, charged_bytes};
use farthing_core::delegated_key::DelegatedKey;
use farthing_core::keys::PublicKey;
use farthing_core::policy::Policy;
use farthing_core::spending_limit::{SpendingLimit, Spent};
use farthing_core::state_proof::StateProof;
use farthing_core::transaction::{Authority, Operation, Output, Transaction};
use std::sync::Arc;

/// What an account may still send, and when that grows back.
///
/// Nobody pays for a transaction; each costs bandwidth, which every account has by its balance and which grows back with time.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/bandwidth",
    tag = "accounts",
    params(("address" = String, Path, description = "The account's address.")),
    responses(
        (status = 200, description = "The bandwidth.", body = BandwidthView),
        (status = 400, description = "`malformed_address` or `wrong_network`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_account`.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn bandwidth(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<BandwidthView>, ApiError> {
    let (address, snapshot) = read(&state, &segment).await?;
    let genesis = &state.node.info().genesis;
    let (parameters, now_ms) = (&genesis.parameters().bandwidth, snapshot.timestamp_ms);
    let AccountState { account, bandwidth, .. } = &snapshot.value;
    let transfer = plain_transfer(address);
    let charged = charged_bytes(parameters, transfer.signed_bytes(), &transfer.operation);
    let transfer_bytes = bandwidth.multiplier.times(charged);
    let capacity = capacity_bytes(parameters, account.balance);
    let wanted = parameters.byte_ms(transfer_bytes);
    let available_bytes = bandwidth.available_bytes;
    Ok(Json(BandwidthView {
        address: address.encode(genesis.prefix()),
        available_bytes,
        capacity_bytes: bandwidth.capacity_bytes,
        refill_ms: parameters.refill_ms,
        full_at_ms: bandwidth.full_at_ms,
        multiplier: f64::from(bandwidth.multiplier.sixteen_bits()) / 65_536.0,
        transfer_bytes,
        transfers_left: u128::try_from(available_bytes).unwrap_or(0) / transfer_bytes,
        next_transfer_at_ms: account.bandwidth.available_at_ms(parameters, capacity, now_ms, wanted),
        as_of: as_of(&snapshot),
    }))
}

/// The delegated keys of an account, with their limits and what they have spent.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/keys",
    tag = "accounts",
    params(("address" = String, Path, description = "The account's address.")),
    responses(
        (status = 200, description = "The keys.", body = KeysView),
        (status = 400, description = "`malformed_address` or `wrong_network`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_account`.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn keys(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<KeysView>, ApiError> {
    let (address, snapshot) = read(&state, &segment).await?;
    let prefix = state.node.info().genesis.prefix();
    let view =
        |(public_key, key): &(PublicKey, DelegatedKey)| key_view(*public_key, key, prefix, snapshot.timestamp_ms);
    Ok(Json(KeysView {
        address: address.encode(prefix),
        keys: snapshot.value.keys.iter().map(view).collect(),
        as_of: as_of(&snapshot),
    }))
}

/// Proof of a delegated key: its state at a certified block that publishes a state root.
///
/// Anybody with the genesis document can verify it offline. That an account has no other keys follows from the proof of the account.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/keys/{key}/proof",
    tag = "accounts",
    params(
        ("address" = String, Path, description = "The account's address."),
        ("key" = String, Path, description = "The key, 64 hexadecimal digits."),
    ),
    responses(
        (status = 200, description = "The proof.", body = serde_json::Value),
        (status = 400, description = "`malformed_address`, `wrong_network` or `invalid_parameter`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_account` or `no_such_key`.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_certified_yet`: the key is too new, ask again.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn key_proof(
    State(state): State<Arc<ApiState>>,
    Segments(address, key): Segments,
    _: NoParameters,
) -> Result<Json<StateProof>, ApiError> {
    let (address, snapshot) = read(&state, &address).await?;
    let public_key = key.public_key()?;
    if !snapshot.value.keys.iter().any(|(known, _)| *known == public_key) {
        let detail = format!("the account has no delegated key {public_key}: /v1/accounts/…/keys lists those it has");
        return Err(ApiError::new(ProblemCode::NoSuchKey, detail));
    }
    let proof = state.node.proof(Provable::Key(address, public_key)).await?;
    proof.map(Json).ok_or_else(|| {
        let detail = "no certified block publishes a state with this key yet: ask again shortly";
        ApiError::new(ProblemCode::NotCertifiedYet, detail)
    })
}

/// The owner's own limits of an account: what is in force, what is spent, and what is to come.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/policy",
    tag = "accounts",
    params(("address" = String, Path, description = "The account's address.")),
    responses(
        (status = 200, description = "The policy.", body = PolicyView),
        (status = 400, description = "`malformed_address` or `wrong_network`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_such_account`.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn policy(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    _: NoParameters,
) -> Result<Json<PolicyView>, ApiError> {
    let (address, snapshot) = read(&state, &segment).await?;
    let now_ms = snapshot.timestamp_ms;
    let policy = snapshot.value.account.policy();
    let settings = policy.map(|policy| policy.settings_at(now_ms)).unwrap_or_default();
    let limit = settings.limit.as_ref();
    let pending = policy.and_then(|policy: &Policy| policy.pending).filter(|pending| pending.effective_at_ms > now_ms);
    Ok(Json(PolicyView {
        address: address.encode(state.node.info().genesis.prefix()),
        settings: settings.into(),
        spent: policy.map_or(Amount::ZERO, |policy| spent(&policy.spent, limit, now_ms)),
        next_period_at_ms: limit.map(|limit| limit.next_window_ms(now_ms)),
        pending: pending.map(|pending| PendingPolicyView {
            settings: pending.settings.into(),
            effective_at_ms: pending.effective_at_ms,
        }),
        as_of: as_of(&snapshot),
    }))
}

async fn read(state: &ApiState, segment: &Segment) -> Result<(Address, Snapshot<AccountState>), ApiError> {
    let prefix = state.node.info().genesis.prefix();
    let address = segment.address(prefix)?;
    let Snapshot { value, height, commit_index, timestamp_ms } = state.node.account(address).await?;
    let value = value.ok_or_else(|| no_such_account(&address, prefix))?;
    Ok((address, Snapshot { value, height, commit_index, timestamp_ms }))
}

/// A transfer with one output and no reference, by the account's own key.
fn plain_transfer(sender: Address) -> Transaction {
    let output = Output { to: sender, amount: Amount::from_mites(1), reference: None, open: false };
    let operation = Operation::Transfer { outputs: vec![output] };
    Transaction { sender, authority: Authority::Root, nonce: 1, valid_until_ms: 0, operation }
}

fn key_view(public_key: PublicKey, key: &DelegatedKey, prefix: &AddressPrefix, now_ms: u64) -> KeyView {
    let limit = key.limits.limit.as_ref();
    KeyView {
        public_key,
        limits: KeyLimitsJson::new(&key.limits, prefix),
        spent: spent(&key.spent, limit, now_ms),
        next_period_at_ms: limit.map(|limit| limit.next_window_ms(now_ms)),
        is_expired: key.is_expired(now_ms),
        reserve: key.reserve,
        nonce_high: key.nonces.high(),
        nonce_seen: NonceBits(key.nonces.seen()),
        next_nonce: key.nonces.next(),
    }
}

fn spent(spent: &Spent, limit: Option<&SpendingLimit>, now_ms: u64) -> Amount {
    limit.map_or(Amount::ZERO, |limit| spent.in_window(limit, now_ms))
}
