//! The HTTP API of a node.
//!
//! REST with JSON; the wire types are [`farthing_client`]'s, the document is OpenAPI 3.1 at `/openapi.json`, to be read at `/docs`.
//! Every endpoint answers from this node's own state and storage.
//!
//! - **Idempotent.** A transaction is known by its id: submitting the same bytes again, here or elsewhere, is harmless and is
//!   answered with where the transaction stands ([`submit`]).
//! - **Strict.** Unknown JSON fields and query parameters are errors, never ignored.
//! - **One form of error.** Everything with status 400 or above is a [`farthing_client::Problem`], but for requests that are not
//!   HTTP, which hyper answers ([`server`]).
//! - **Bounded.** Connections in all and for each address, the time for headers, body and answer, the bytes of headers, of a body and of
//!   all bodies, transactions a request, requests and bad signatures for each address, entries a page, streams of events in all and for each address. The API never follows a URL
//!   that a client gives.
//! - **Open for reading.** Any web page may read ([CORS] for `GET`); none may submit, since both content types of a submission
//!   need a preflight that is refused.
//! - **Out of the way.** Storage is read, and long bodies are decoded, on threads where blocking is allowed.
//!
//! [CORS]: https://fetch.spec.whatwg.org/#http-cors-protocol

mod accounts;
mod blocks;
mod events;
mod evidence;
mod extract;
mod holds;
mod limits;
mod lines;
mod metrics;
mod openapi;
mod problem;
mod server;
mod spending;
mod stall;
mod status;
mod submit;
#[cfg(test)]
mod tests;
mod transactions;
mod view;

pub use limits::RateLimit;
pub use metrics::ApiMetrics;
pub use view::NodeView;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use events::StreamSlots;
use farthing_client::{ProblemCode, REQUEST_BYTES_MAX, WAIT_TIMEOUT_MS_MAX};
use limits::{BAD_SIGNATURES, BodyBudget, RateLimiter};
use problem::ApiError;
use server::PeerAddress;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{Any, CorsLayer};

/// The API's limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiConfig {
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of bodies in all whose requests are under way; an eighth of them for one address (loopback is exempt).
    pub bodies_bytes_max: usize,
    /// Open connections in all; further ones wait in the backlog of the listener.
    pub connections_max: usize,
    /// Open connections of one address (loopback is exempt); further ones are closed at once.
    pub connections_per_address_max: usize,
    /// For a request's headers to arrive, counted from the end of the request before: idle connections are closed after it too.
    pub header_timeout: Duration,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
    /// For a client to take at least some of its answer.
    pub stall_timeout: Duration,
    /// For a request in all. Longer than what a submission may wait.
    pub request_timeout: Duration,
    /// For a connection in all; it is closed at the end of the request that is under way then.
    pub connection_age_max: Duration,
    /// Streams of events in all; further ones are refused.
    pub streams_max: usize,
    /// Streams of events of one address (loopback is exempt).
    pub streams_per_address_max: usize,
    /// Requests of one address (loopback is exempt); unlimited without it.
    pub rate_limit: Option<RateLimit>,
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig {
            body_bytes_max: REQUEST_BYTES_MAX,
            bodies_bytes_max: 128 << 20,
            connections_max: 1_024,
            connections_per_address_max: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_millis(WAIT_TIMEOUT_MS_MAX) + Duration::from_secs(15),
            connection_age_max: Duration::from_secs(3_600),
            streams_max: 256,
            streams_per_address_max: 16,
            rate_limit: None,
        }
    }
}

/// Serves the API until `shutdown` is cancelled. Requests under way then are answered, within `request_timeout`.
pub async fn serve(
    listener: TcpListener,
    node: Arc<dyn NodeView>,
    metrics: ApiMetrics,
    config: ApiConfig,
    shutdown: CancellationToken,
) {
    let config = Arc::new(config);
    let router = router(node, metrics, config.clone(), shutdown.clone());
    server::run(listener, router, config, shutdown).await;
}

/// What handlers share.
struct ApiState {
    node: Arc<dyn NodeView>,
    metrics: ApiMetrics,
    config: Arc<ApiConfig>,
    limiter: Option<RateLimiter>,
    bad_signatures: RateLimiter,
    bodies: BodyBudget,
    streams: StreamSlots,
    /// Cancelled when streams have to end.
    shutdown: CancellationToken,
    /// The OpenAPI document.
    document: Bytes,
    started: Instant,
}

impl ApiState {
    /// Runs something that reads storage or takes milliseconds where it holds nobody up.
    ///
    /// As many run at a time as there are connections, at most: a connection has one request under way.
    async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&dyn NodeView) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let node = self.node.clone();
        match tokio::task::spawn_blocking(move || run(&*node)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only when the runtime shuts down.
                Err(_) => Err(ApiError::new(ProblemCode::Unavailable, "the node is stopping: ask another one")),
            },
        }
    }
}

/// The routes, under layers that from the outermost in count, allow reading across origins, unify errors, limit the rate and
/// bound the time.
fn router(node: Arc<dyn NodeView>, metrics: ApiMetrics, config: Arc<ApiConfig>, shutdown: CancellationToken) -> Router {
    let (router, document) = openapi::routes();
    let state = Arc::new(ApiState {
        document: document.to_json().expect("the document is plain data").into(),
        limiter: config.rate_limit.map(RateLimiter::new),
        bad_signatures: RateLimiter::new(BAD_SIGNATURES),
        bodies: BodyBudget::new(config.bodies_bytes_max),
        streams: StreamSlots::new(&config),
        shutdown,
        started: Instant::now(),
        node,
        metrics,
        config,
    });
    router
        .layer(middleware::from_fn_with_state(state.clone(), limit_time))
        .layer(middleware::from_fn_with_state(state.clone(), limit_rate))
        .layer(middleware::from_fn(problem::unify_errors))
        .layer(CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]))
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .with_state(state)
}

async fn count(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    state.metrics.answered(route, &method, response.status().as_u16(), started.elapsed());
    response
}

async fn limit_rate(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    if let Some(limiter) = &state.limiter {
        let PeerAddress(address) = *request.extensions().get().expect("set by the server for every request");
        if let Err(wait) = limiter.take(address, Instant::now()) {
            return ApiError::too_many_requests(wait).into_response();
        }
    }
    next.run(request).await
}

async fn limit_time(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(state.config.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            ApiError::new(ProblemCode::Unavailable, "the node took too long to answer: try another one").into_response()
        }
    }
}
