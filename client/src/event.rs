//! Live events: what a node tells as it happens, over Server-Sent Events.
//!
//! Each event has a cursor, and a stream begins after a cursor or, without one, now. A stream begins with a [`Event::Position`], so that a
//! client has a cursor at once, and another one comes now and then while nothing happens. Whoever is cut off goes on from the last
//! cursor, here or at another node, and misses nothing.

use crate::account::HistoryEntry;
use crate::http::ClientError;
use farthing_core::block::BlockHash;
use farthing_core::hash::Digest;
use reqwest::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The most bytes of one event, far above what an honest node sends.
const EVENT_BYTES_MAX: usize = 64 << 10;

/// Where a stream of events begins.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Where an earlier stream ended: the id of the last event; `0` for the beginning of the ledger. Now without it. The header
    /// `Last-Event-ID` stands for it, too, and goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing, up to here.
    Position(PositionEvent),
    /// Something that the stream is about.
    Entry(Box<HistoryEntry>),
    /// A block.
    Block(Box<BlockEvent>),
}

/// How far a stream has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PositionEvent {
    /// The height of the block up to which the stream has told everything.
    pub height: u64,
}

/// A block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlockEvent {
    /// Its height.
    pub height: u64,
    /// The hash of its header.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// The commit that made it.
    pub commit_index: u64,
    /// Its timestamp in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// How many transactions it holds.
    pub transaction_count: u32,
    /// The state root, if it carries one.
    #[schema(value_type = Option<String>)]
    pub state_root: Option<Digest>,
}

/// What a stream of events is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventTopic {
    /// What an account, by its address, paid and received.
    Account(String),
    /// What was paid with a reference.
    Reference(Digest),
    /// What is done with a hold.
    Hold(Digest),
    /// All blocks.
    Blocks,
}

/// A stream of events from one node.
#[derive(Debug)]
pub struct Events {
    response: Response,
    url: String,
    buffer: Vec<u8>,
    /// The cursor of the last event.
    cursor: Option<String>,
}

impl EventTopic {
    /// The path of the stream.
    pub(crate) fn path(&self) -> String {
        match self {
            EventTopic::Account(address) => format!("v1/accounts/{address}/events"),
            EventTopic::Reference(reference) => format!("v1/references/{reference}/events"),
            EventTopic::Hold(hold) => format!("v1/holds/{hold}/events"),
            EventTopic::Blocks => "v1/blocks/events".into(),
        }
    }
}

impl Events {
    pub(crate) fn new(response: Response, url: String, after: Option<String>) -> Events {
        Events { response, url, buffer: Vec::new(), cursor: after }
    }

    /// Where to go on after this stream: the id of the last event, or where it was asked to begin.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next event; `None` at the end of the stream, which may come at any time. Waits as long as nothing comes: an event comes
    /// every 15 seconds at least, so give up after some more. What was read is kept if the future is dropped.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks or the node sends something else.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(end) = end_of_event(&self.buffer) {
                let text = self.buffer.drain(..end).collect::<Vec<u8>>();
                let text = String::from_utf8(text).map_err(|_| self.bad("an event is not text"))?;
                let fields = Fields::of(&text);
                if fields.data.is_empty() {
                    continue;
                }
                let event = fields.event().map_err(|reason| self.bad(&reason))?;
                self.cursor = fields.id.map(str::to_string).or(self.cursor.take());
                if event.is_some() {
                    return Ok(event);
                }
                continue;
            }
            if self.buffer.len() > EVENT_BYTES_MAX {
                return Err(self.bad("an event has no end"));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(ClientError::NoAnswer { url: self.url.clone(), reason: error.to_string() });
                }
            }
        }
    }

    fn bad(&self, reason: &str) -> ClientError {
        ClientError::BadAnswer { url: self.url.clone(), reason: reason.chars().take(300).collect() }
    }
}

/// The length of the first event of a stream with the empty line that ends it; nodes send `\n` alone.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\n\n").map(|place| place + 2)
}

/// The fields of an event, as they stand in the stream.
struct Fields<'a> {
    id: Option<&'a str>,
    kind: &'a str,
    data: String,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Fields<'a> {
        let mut fields = Fields { id: None, kind: "message", data: String::new() };
        for line in text.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => fields.id = Some(value),
                "event" => fields.kind = value,
                "data" => fields.data.push_str(value),
                // Comments, and what else there may be one day.
                _ => {}
            }
        }
        fields
    }

    /// What it says; `None` for a kind that this version does not know.
    fn event(&self) -> Result<Option<Event>, String> {
        let data = &self.data;
        let event = match self.kind {
            "position" => serde_json::from_str(data).map(Event::Position),
            "entry" => serde_json::from_str(data).map(|entry| Event::Entry(Box::new(entry))),
            "block" => serde_json::from_str(data).map(|block| Event::Block(Box::new(block))),
            _ => return Ok(None),
        };
        event.map(Some).map_err(|error| format!("an event is malformed: {error}"))
    }
}

/// Reads one event as it stands in a stream; `None` if it is of a kind that this version does not know.
///
/// # Errors
/// What is wrong with it.
pub fn parse_event(text: &str) -> Result<Option<Event>, String> {
    Fields::of(text).event()
}
