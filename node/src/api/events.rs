//! Live events, as Server-Sent Events.
//!
//! A stream is read from storage, a page at a time, and only as fast as its client takes it: nothing is kept for a client but one
//! page, and one that takes nothing for [`super::ApiConfig::stall_timeout`] is cut. A new block wakes the streams up. So a client that comes
//! back with its last cursor goes on where it was, whatever happened meanwhile, and a node whose storage does not reach back that far (it
//! started from a snapshot) says so instead of leaving something out: with a problem at the beginning, with the end of the stream later.
//!
//! Cursors: `HEIGHT.POSITION.LINE` after a line, `HEIGHT` after all of a block. Streams are bounded in number ([`StreamSlots`]), each wakes up
//! at most once every [`PAUSE`], and none lives longer than its connection may ([`super::ApiConfig::connection_age_max`]).

use super::blocks::not_kept;
use super::extract::{Parameters, Segment};
use super::limits::{ConnectionCounts, CountedConnection};
use super::lines;
use super::problem::ApiError;
use super::server::PeerAddress;
use super::{ApiConfig, ApiState};
use crate::storage::{HistoryCursor, HistoryRecord, LineRange, Storage, StorageError, Topic};
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event;
use farthing_client::{BlockEvent, EventsQuery, PositionEvent, Problem};
use farthing_core::address::AddressPrefix;
use farthing_core::block::BlockHeader;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// The most events that are read from storage at a time.
const PAGE: usize = 64;

/// The shortest time between two looks at storage for one stream.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a stream says nothing at most.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What an account pays, receives and does, as it happens.
///
/// Server-Sent Events: `position` (how far the stream has got, at the beginning and every 15 seconds) and `entry`. The id of each event is a
/// cursor to go on from, with `Last-Event-ID` or `after`.
#[utoipa::path(
    get,
    path = "/v1/accounts/{address}/events",
    tag = "events",
    params(("address" = String, Path, description = "The account's address."), EventsQuery),
    responses(
        (status = 200, description = "A stream of `position` and `entry` events.", body = farthing_client::HistoryEntry, content_type = "text/event-stream"),
        (status = 400, description = "`malformed_address`, `wrong_network`, `invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_kept`: this node does not reach back that far.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_requests`: too many streams.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_account(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    peer: Extension<PeerAddress>,
    headers: HeaderMap,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<EventStream, ApiError> {
    let address = segment.address(state.node.info().genesis.prefix())?;
    open(state, Subject::Lines(Topic::Account(address)), peer, &headers, query).await
}

/// What is paid with a reference, and the holds that are opened with it, as it happens.
///
/// Server-Sent Events as those of accounts.
#[utoipa::path(
    get,
    path = "/v1/references/{reference}/events",
    tag = "events",
    params(("reference" = String, Path, description = "The reference, 64 hexadecimal digits."), EventsQuery),
    responses(
        (status = 200, description = "A stream of `position` and `entry` events.", body = farthing_client::HistoryEntry, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_kept`: this node does not reach back that far.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_requests`: too many streams.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_reference(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    peer: Extension<PeerAddress>,
    headers: HeaderMap,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<EventStream, ApiError> {
    let reference = segment.reference()?;
    open(state, Subject::Lines(Topic::Reference(reference.0)), peer, &headers, query).await
}

/// What is done with a hold, and what it pays, as it happens.
///
/// Server-Sent Events as those of accounts.
#[utoipa::path(
    get,
    path = "/v1/holds/{id}/events",
    tag = "events",
    params(("id" = String, Path, description = "The hold: the id of the transaction that opens it, 64 hexadecimal digits."), EventsQuery),
    responses(
        (status = 200, description = "A stream of `position` and `entry` events.", body = farthing_client::HistoryEntry, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_kept`: this node does not reach back that far.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_requests`: too many streams.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_hold(
    State(state): State<Arc<ApiState>>,
    segment: Segment,
    peer: Extension<PeerAddress>,
    headers: HeaderMap,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<EventStream, ApiError> {
    let id = segment.transaction_id()?;
    open(state, Subject::Lines(Topic::Hold(id)), peer, &headers, query).await
}

/// Blocks, as they are made.
///
/// Server-Sent Events: `position` (how far the stream has got, at the beginning and every 15 seconds) and `block`, one for each block without a
/// gap. The id of each event is a cursor to go on from, with `Last-Event-ID` or `after`.
#[utoipa::path(
    get,
    path = "/v1/blocks/events",
    tag = "events",
    params(EventsQuery),
    responses(
        (status = 200, description = "A stream of `position` and `block` events.", body = BlockEvent, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_parameter` or `invalid_cursor`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_kept`: this node does not reach back that far.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_requests`: too many streams.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_blocks(
    State(state): State<Arc<ApiState>>,
    peer: Extension<PeerAddress>,
    headers: HeaderMap,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<EventStream, ApiError> {
    open(state, Subject::Blocks, peer, &headers, query).await
}

/// What handlers answer.
type EventStream = Sse<BoxStream<'static, Result<Event, Infallible>>>;

/// How many streams there may be, in all and for each address.
pub(super) struct StreamSlots {
    permits: Arc<Semaphore>,
    counts: ConnectionCounts,
}

/// One stream's place among them, until it is dropped.
struct StreamSlot {
    _permit: OwnedSemaphorePermit,
    _count: CountedConnection,
}

impl StreamSlots {
    pub(super) fn new(config: &ApiConfig) -> StreamSlots {
        StreamSlots {
            permits: Arc::new(Semaphore::new(config.streams_max)),
            counts: ConnectionCounts::new(config.streams_per_address_max),
        }
    }

    fn take(&self, address: IpAddr) -> Result<StreamSlot, ApiError> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| ApiError::too_many_streams())?;
        let count = self.counts.admit(address).ok_or_else(ApiError::too_many_streams)?;
        Ok(StreamSlot { _permit: permit, _count: count })
    }
}

/// What a stream is about.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Lines(Topic),
    Blocks,
}

/// What was read from storage.
struct Page {
    /// What there is to tell; little.
    events: VecDeque<Event>,
    /// When these are told, everything up to here is.
    told: HistoryCursor,
    /// Whether there may be more.
    is_full: bool,
}

/// One client's stream.
struct Feed {
    state: Arc<ApiState>,
    subject: Subject,
    /// When `events` are told, everything up to here is.
    told: HistoryCursor,
    events: VecDeque<Event>,
    blocks: watch::Receiver<u64>,
    /// When to say something at the latest.
    heartbeat: Instant,
    /// When to look at storage again at the earliest.
    pause: Instant,
    _slot: StreamSlot,
}

async fn open(
    state: Arc<ApiState>,
    subject: Subject,
    Extension(PeerAddress(address)): Extension<PeerAddress>,
    headers: &HeaderMap,
    query: EventsQuery,
) -> Result<EventStream, ApiError> {
    if matches!(subject, Subject::Lines(_)) {
        lines::check_kept(&state)?;
    }
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let after = last_id.or(query.after.as_deref()).map(parse_cursor).transpose()?;
    let slot = state.streams.take(address)?;
    let blocks = state.node.blocks();
    let told = state
        .blocking(move |node| match after {
            Some(after) if !reaches_back(node.storage(), after)? => Err(not_kept(node.storage())?),
            Some(after) => Ok(after),
            None => Ok(after_block(node.storage().newest_block()?)),
        })
        .await?;
    let (events, now) = (VecDeque::from([position(told)]), Instant::now());
    let feed = Feed { state, subject, told, events, blocks, heartbeat: now + HEARTBEAT, pause: now, _slot: slot };
    let stream = futures::stream::unfold(feed, |mut feed| async move { Some((Ok(feed.next().await?), feed)) });
    Ok(Sse::new(stream.boxed()))
}

impl Feed {
    /// The next event; `None` when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.heartbeat = Instant::now() + HEARTBEAT;
                return Some(event);
            }
            if self.state.shutdown.is_cancelled() {
                return None;
            }
            // What comes from here on is noticed below.
            self.blocks.mark_unchanged();
            let page = self.read().await?;
            (self.told, self.events) = (page.told, page.events);
            if self.events.is_empty() && !page.is_full {
                self.wait().await?;
            }
        }
    }

    /// Waits for a block, or until something has to be said; `None` if the node is stopping.
    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.state.shutdown.cancelled() => None,
            () = tokio::time::sleep_until(self.heartbeat) => {
                self.events.push_back(position(self.told));
                Some(())
            }
            changed = self.blocks.changed() => changed.ok(),
        }
    }

    /// Reads what follows; `None` if storage cannot be read or has a gap there: the client is told why when it comes back.
    async fn read(&mut self) -> Option<Page> {
        tokio::time::sleep_until(self.pause).await;
        self.pause = Instant::now() + PAUSE;
        let (subject, told) = (self.subject, self.told);
        let read = self.state.blocking(move |node| {
            let (storage, prefix) = (node.storage(), node.info().genesis.prefix());
            if !reaches_back(storage, told)? {
                return Ok(None);
            }
            Ok(match subject {
                Subject::Lines(topic) => Some(read_lines(storage, &topic, told, prefix)?),
                Subject::Blocks => read_blocks(storage, told)?,
            })
        });
        read.await.ok().flatten()
    }
}

/// Whether nothing that came after this place was passed over by a snapshot.
fn reaches_back(storage: &dyn Storage, after: HistoryCursor) -> Result<bool, StorageError> {
    Ok(storage.base()?.is_none_or(|base| after.0 >= base.height))
}

fn read_lines(
    storage: &dyn Storage,
    topic: &Topic,
    told: HistoryCursor,
    prefix: &AddressPrefix,
) -> Result<Page, StorageError> {
    // Before the lines: all of its lines are there then.
    let newest = storage.newest_block()?;
    let lines = storage.lines(topic, &LineRange::After(told), PAGE)?;
    let is_full = lines.len() == PAGE;
    let last = lines.last().map_or(told, HistoryRecord::cursor);
    let told = if is_full { last } else { last.max(after_block(newest)) };
    let shown = lines.iter().filter(|line| !lines::is_echo(line));
    let events = shown.map(|line| event(line.cursor(), "entry", &lines::entry(line, prefix))).collect();
    Ok(Page { events, told, is_full })
}

/// `None` if there is a gap.
fn read_blocks(storage: &dyn Storage, told: HistoryCursor) -> Result<Option<Page>, StorageError> {
    let newest = storage.newest_block()?;
    let last = newest.min(told.0.saturating_add(PAGE as u64));
    let mut events = VecDeque::new();
    for height in told.0.saturating_add(1)..=last {
        let Some(header) = storage.header(height)? else { return Ok(None) };
        events.push_back(event(after_block(height), "block", &block_event(&header)));
    }
    Ok(Some(Page { events, told: told.max(after_block(last)), is_full: last < newest }))
}

fn block_event(header: &BlockHeader) -> BlockEvent {
    BlockEvent {
        height: header.height,
        hash: header.hash(),
        commit_index: header.commit_index,
        timestamp_ms: header.timestamp_ms,
        transaction_count: header.transaction_count,
        state_root: header.state_root,
    }
}

/// The cursor after all of a block.
fn after_block(height: u64) -> HistoryCursor {
    (height, u32::MAX, u32::MAX)
}

fn position(told: HistoryCursor) -> Event {
    event(told, "position", &PositionEvent { height: told.0 })
}

fn event(cursor: HistoryCursor, kind: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("events are plain data");
    Event::default().id(cursor_text(cursor)).event(kind).data(data)
}

fn cursor_text(cursor: HistoryCursor) -> String {
    if cursor == after_block(cursor.0) { cursor.0.to_string() } else { lines::cursor(cursor) }
}

fn parse_cursor(text: &str) -> Result<HistoryCursor, ApiError> {
    match lines::number(text) {
        Some(height) => Ok(after_block(height)),
        None => lines::parse_cursor(text),
    }
}
