//! What handlers take from a request, strictly: what a resource does not know is an error, so that no typing mistake is ignored.

use super::ApiConfig;
use super::limits::HeldBody;
use super::problem::ApiError;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use farthing_client::ProblemCode;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::hash::Digest;
use farthing_core::keys::PublicKey;
use farthing_core::transaction::TransactionId;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

/// Query parameters; `T` denies unknown ones.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Parameters(parameters)),
            Err(error) => Err(ApiError::new(ProblemCode::InvalidParameter, error.body_text())),
        }
    }
}

/// For resources that take no query parameters.
pub(super) struct NoParameters;

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.uri.query() {
            None | Some("") => Ok(NoParameters),
            Some(_) => Err(ApiError::new(ProblemCode::InvalidParameter, "this resource takes no query parameters")),
        }
    }
}

/// The one variable segment of a path.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Segment(segment)),
            Err(error) => Err(ApiError::new(ProblemCode::InvalidParameter, error.body_text())),
        }
    }
}

/// The two variable segments of a path.
pub(super) struct Segments(pub(super) Segment, pub(super) Segment);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path((first, second))) => Ok(Segments(Segment(first), Segment(second))),
            Err(error) => Err(ApiError::new(ProblemCode::InvalidParameter, error.body_text())),
        }
    }
}

impl Segment {
    /// The segment as the id of a transaction.
    ///
    /// # Errors
    /// `invalid_parameter` for anything but 64 hexadecimal digits.
    pub(super) fn transaction_id(&self) -> Result<TransactionId, ApiError> {
        self.0.parse().map_err(|error| {
            ApiError::new(ProblemCode::InvalidParameter, format!("the id of a transaction is malformed: {error}"))
        })
    }

    /// The segment as a reference.
    ///
    /// # Errors
    /// `invalid_parameter` for anything but 64 hexadecimal digits.
    pub(super) fn reference(&self) -> Result<Digest, ApiError> {
        self.0.parse().map_err(|error| {
            ApiError::new(ProblemCode::InvalidParameter, format!("the reference is malformed: {error}"))
        })
    }

    /// The segment as a public key.
    ///
    /// # Errors
    /// `invalid_parameter` for anything but 64 hexadecimal digits.
    pub(super) fn public_key(&self) -> Result<PublicKey, ApiError> {
        self.0.parse().map_err(|error| {
            ApiError::new(ProblemCode::InvalidParameter, format!("the public key is malformed: {error}"))
        })
    }

    /// The segment as an address of this network.
    ///
    /// # Errors
    /// `malformed_address` or `wrong_network`.
    pub(super) fn address(&self, prefix: &AddressPrefix) -> Result<Address, ApiError> {
        Ok(Address::decode(&self.0, prefix)?)
    }
}

/// Reads a body of at most [`ApiConfig::body_bytes_max`], as far as `held` grows.
///
/// # Errors
/// `body_too_large`, `request_timeout`, `unavailable` if too many bytes of other bodies are held, or `malformed_body` when the
/// connection breaks or the chunks are malformed.
pub(super) async fn read_body(request: Request, config: &ApiConfig, held: &mut HeldBody) -> Result<Bytes, ApiError> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > config.body_bytes_max as u64) {
        return Err(body_too_large(config));
    }
    let read = read_chunks(request.into_body(), config, held);
    tokio::time::timeout(config.body_timeout, read).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            ProblemCode::RequestTimeout,
            format!("the body did not arrive within {} s", config.body_timeout.as_secs()),
        ))
    })
}

async fn read_chunks(body: Body, config: &ApiConfig, held: &mut HeldBody) -> Result<Bytes, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(ProblemCode::MalformedBody, format!("the body did not arrive whole: {error}"))
        })?;
        if bytes.len() + chunk.len() > config.body_bytes_max {
            return Err(body_too_large(config));
        }
        if !held.grow(chunk.len()) {
            return Err(ApiError::new(
                ProblemCode::Unavailable,
                "the node has as many submissions in hand as it can hold: try again shortly, or another node",
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn body_too_large(config: &ApiConfig) -> ApiError {
    ApiError::new(
        ProblemCode::BodyTooLarge,
        format!("a body may have {} bytes: send several requests with fewer transactions", config.body_bytes_max),
    )
}
