//! Every error of the API leaves it as a [`Problem`].

use crate::handle::Unavailable;
use crate::storage::StorageError;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use farthing_client::{Problem, ProblemCode};
use farthing_core::address::AddressError;
use std::time::Duration;

/// The content type of problems.
const PROBLEM_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// When to ask again a node that is starting, catching up or overloaded.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// When to ask again for a stream of events.
const STREAMS_RETRY: Duration = Duration::from_secs(30);

/// Why a request has no answer.
#[derive(Debug)]
pub(super) struct ApiError {
    problem: Problem,
    /// How long the client should wait before it tries again, where trying again makes sense.
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error of this kind; `detail` says what is wrong this time and what to do about it.
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> ApiError {
        let retry_after = matches!(code, ProblemCode::Unavailable | ProblemCode::NotCertifiedYet);
        ApiError { problem: Problem::new(code, detail), retry_after: retry_after.then_some(UNAVAILABLE_RETRY) }
    }

    /// Too many requests; there is room for another after `wait`.
    pub(super) fn too_many_requests(wait: Duration) -> ApiError {
        let problem = Problem::new(
            ProblemCode::TooManyRequests,
            "your address sends more requests than this node allows: slow down, send transactions in batches, or run a full node",
        );
        ApiError { problem, retry_after: Some(wait) }
    }

    /// There is no room for another stream of events.
    pub(super) fn too_many_streams() -> ApiError {
        let problem = Problem::new(
            ProblemCode::TooManyRequests,
            "this node serves as many streams of events as it can, or as your address may have: close some, ask another node, or run \
             a full node",
        );
        ApiError { problem, retry_after: Some(STREAMS_RETRY) }
    }

    /// The address submitted too many bad signatures; it may submit again after `wait`.
    pub(super) fn too_many_bad_signatures(wait: Duration) -> ApiError {
        let problem = Problem::new(
            ProblemCode::TooManyRequests,
            "your address submitted too many transactions whose signature is bad: check which key signs them, for which network",
        );
        ApiError { problem, retry_after: Some(wait) }
    }
}

impl From<Unavailable> for ApiError {
    fn from(_: Unavailable) -> ApiError {
        ApiError::new(
            ProblemCode::Unavailable,
            "the node is stopping or has too much to do: try again shortly, or another node",
        )
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> ApiError {
        tracing::error!(%error, "the API could not read the node's storage");
        ApiError::new(ProblemCode::Internal, "the node could not read its storage; the reason is in its log")
    }
}

impl From<AddressError> for ApiError {
    fn from(error: AddressError) -> ApiError {
        ApiError::new(address_code(&error), error.to_string())
    }
}

/// The code for a text that is not an address of this network.
pub(super) fn address_code(error: &AddressError) -> ProblemCode {
    match error {
        AddressError::WrongNetwork { .. } => ProblemCode::WrongNetwork,
        AddressError::Malformed { .. } | AddressError::Prefix(_) => ProblemCode::MalformedAddress,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).expect("codes have good statuses");
        let body = serde_json::to_vec(&self.problem).expect("a problem is plain data");
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_CONTENT_TYPE)], body).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds are all the header can say: round up.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Makes problems of errors that did not come from our handlers: paths and methods that do not exist, files that are not there.
pub(super) async fn unify_errors(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let response = next.run(request).await;
    let status = response.status();
    let error = status.is_client_error() || status.is_server_error();
    if !error || response.headers().get(header::CONTENT_TYPE) == Some(&PROBLEM_CONTENT_TYPE) {
        return response;
    }
    let path: String = path.chars().take(200).collect();
    let problem = match status {
        StatusCode::NOT_FOUND => {
            ApiError::new(ProblemCode::NoSuchResource, format!("there is no {path}; /docs lists what there is"))
        }
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(
            ProblemCode::MethodNotAllowed,
            format!("{path} does not take {method}; /docs says what it takes"),
        ),
        _ => ApiError::new(ProblemCode::Internal, format!("the node failed with HTTP status {status}")),
    };
    let mut unified = problem.into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        unified.headers_mut().insert(header::ALLOW, allow.clone());
    }
    unified
}
