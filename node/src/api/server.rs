//! The accept loop: connections in, bounded in number, in time and in what one address may hold.
//!
//! HTTP/1.1 only; a reverse proxy in front speaks TLS and HTTP/2 where the API is public. Requests that are no HTTP, or whose
//! headers are too long, are answered by hyper itself (400 or 431 with no body).

use super::ApiConfig;
use super::limits::{ConnectionCounts, CountedConnection};
use super::stall::CutWhenStalled;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

/// The most bytes of a request's line and headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The most bytes read ahead of a connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long to wait after a failed accept, usually for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The address of the other side, as an extension of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddress(pub(super) IpAddr);

/// What a connection holds while it lasts.
struct Slot {
    _permit: OwnedSemaphorePermit,
    _count: CountedConnection,
}

/// Accepts and serves connections until `shutdown`, then lets the requests under way finish.
pub(super) async fn run(listener: TcpListener, router: Router, config: Arc<ApiConfig>, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let counts = ConnectionCounts::new(config.connections_per_address_max);
    let connections = TaskTracker::new();
    // When all connections are taken, new ones wait in the listener's backlog.
    while let Some((stream, address, permit)) = accept(&listener, &permits, &shutdown).await {
        let Some(count) = counts.admit(address) else {
            tracing::debug!(%address, "closed a connection: the address has as many as it may");
            continue;
        };
        let slot = Slot { _permit: permit, _count: count };
        connections.spawn(serve_connection(stream, address, router.clone(), config.clone(), shutdown.clone(), slot));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection, once there is room for it; `None` when shutting down.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = tokio::select! {
        () = shutdown.cancelled() => return None,
        permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
    };
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer.ip(), permit)),
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    address: IpAddr,
    router: Router,
    config: Arc<ApiConfig>,
    shutdown: CancellationToken,
    slot: Slot,
) {
    // Answers are written whole: waiting to fill a segment would only delay them. Failing to say so harms nothing.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request<Incoming> = request;
        request.extensions_mut().insert(PeerAddress(address));
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(CutWhenStalled::new(stream, config.stall_timeout)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        // Bounds what a client can hold that reads its answers as slowly as it may.
        () = tokio::time::sleep(config.connection_age_max) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(config.request_timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection of the API broke");
    }
    drop(slot);
}
