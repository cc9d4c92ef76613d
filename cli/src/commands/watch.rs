//! `farthing watch`: what happens, as it happens.
//!
//! One line an event; with `--output json` one JSON value a line, each with the cursor to go on from. A stream that breaks is taken up again
//! where it was, at the next node.

use super::Context;
use super::account::row;
use super::send::parse_reference;
use crate::args::WatchArgs;
use crate::error::{Error, ErrorCode};
use crate::network::{Network, Node, NodeError, failure_of, unreachable_error};
use crate::output::{self, Format};
use farthing_client::{
    ClientError, Direction, Event, EventTopic, Events, HistoryEntry, OperationName, PaymentRequest, ProblemCode,
};
use farthing_core::hash::Digest;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a node may take to begin.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a node may say nothing: three times as long as it promises.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How long to wait after every node was tried in vain.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether to go on after an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    More,
    Enough,
}

/// Shows events.
pub async fn run(context: &Context, args: WatchArgs) -> Result<(), Error> {
    let network = context.network()?;
    let topic = match (&args.reference, args.hold, args.blocks) {
        (Some(reference), ..) => EventTopic::Reference(Digest(parse_reference(reference)?)),
        (_, Some(hold), _) => EventTopic::Hold(hold),
        (_, _, true) => EventTopic::Blocks,
        _ => EventTopic::Account(context.account(&network, args.account.as_deref())?.encode(network.prefix())),
    };
    let deadline = args.until.map(|span_ms| Instant::now() + Duration::from_millis(span_ms));
    let mut left = args.count.unwrap_or(u64::MAX);
    follow(&network, &topic, args.after, deadline, &mut |event, cursor| {
        if left == 0 {
            return Ok(Next::Enough);
        }
        let Some((text, value)) = shown(event, cursor) else { return Ok(Next::More) };
        match context.format {
            Format::Text => output::write_out(&text)?,
            Format::Json => output::write_out(&value.to_string())?,
        }
        left -= 1;
        Ok(if left == 0 { Next::Enough } else { Next::More })
    })
    .await
    .map(drop)
}

/// Waits until the payee of a request has got what it asks for, for as long as the command may take.
pub async fn wait_for_payment(
    context: &Context,
    network: &Network,
    request: &PaymentRequest,
) -> Result<HistoryEntry, Error> {
    let reference = request.reference.expect("requests of this wallet have one");
    let payee = request.to.encode(network.prefix());
    let deadline = Instant::now() + context.timeout;
    let mut paid = None;
    // From the beginning: it may have been paid before the stream began.
    let after = Some("0".into());
    follow(network, &EventTopic::Reference(reference), after, Some(deadline), &mut |event, _| {
        let Event::Entry(entry) = event else { return Ok(Next::More) };
        let fits =
            entry.account == payee && entry.direction != Direction::Out && entry.operation == OperationName::Transfer;
        if !fits || request.amount.is_some_and(|amount| entry.amount < amount) {
            return Ok(Next::More);
        }
        paid = Some((**entry).clone());
        Ok(Next::Enough)
    })
    .await?;
    paid.ok_or_else(|| {
        let message = format!("not paid yet: `farthing watch --reference {reference} --after 0` shows when it is");
        Error::new(ErrorCode::OutcomeUnknown, message).with("reference", reference.to_string())
    })
}

/// Gives each event to `take` until that has enough or the time is up.
async fn follow(
    network: &Network,
    topic: &EventTopic,
    mut after: Option<String>,
    deadline: Option<Instant>,
    take: &mut dyn FnMut(&Event, &str) -> Result<Next, Error>,
) -> Result<(), Error> {
    loop {
        let mut failures = Vec::new();
        for node in network.nodes() {
            let mut events = match begin(network, node, topic, after.as_deref()).await? {
                Ok(events) => events,
                Err(failure) => {
                    failures.push(failure);
                    continue;
                }
            };
            loop {
                let silence = SILENCE_MAX.min(time_left(deadline));
                let Ok(next) = tokio::time::timeout(silence, events.next()).await else { break };
                // A stream may end, or break, at any time.
                let Ok(Some(event)) = next else { break };
                let cursor = events.cursor().unwrap_or_default().to_string();
                if take(&event, &cursor)? == Next::Enough {
                    return Ok(());
                }
                after = Some(cursor);
            }
            if time_left(deadline).is_zero() {
                return Ok(());
            }
        }
        if failures.len() == network.nodes().len() {
            return Err(unreachable_error(&failures));
        }
        tokio::time::sleep(PAUSE.min(time_left(deadline))).await;
    }
}

/// Asks a node for the stream; the inner error is a reason to ask another one.
async fn begin(
    network: &Network,
    node: &Node,
    topic: &EventTopic,
    after: Option<&str>,
) -> Result<Result<Events, String>, Error> {
    match network.check(node).await {
        Ok(()) => {}
        Err(NodeError::Client(error)) => return Ok(Err(failure_of(node, &error))),
        Err(NodeError::OtherNetwork(error)) => return Err(error),
    }
    match tokio::time::timeout(START_TIMEOUT, node.client.events(topic, after)).await {
        Ok(Ok(events)) => Ok(Ok(events)),
        Ok(Err(error)) if error.another_may_answer() || is_not_kept(&error) => Ok(Err(failure_of(node, &error))),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Ok(Err(format!("{}: the time was up", node.client.url()))),
    }
}

fn is_not_kept(error: &ClientError) -> bool {
    matches!(error.code(), Some(ProblemCode::NotKept | ProblemCode::Pruned))
}

fn time_left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
}

/// A line and a JSON value; nothing for positions, which are for the machine.
fn shown(event: &Event, cursor: &str) -> Option<(String, Value)> {
    match event {
        Event::Position(_) => None,
        Event::Entry(entry) => {
            let text = row(entry).join("  ").trim_end().to_string();
            Some((text, json!({ "event": "entry", "cursor": cursor, "entry": entry })))
        }
        Event::Block(block) => {
            let text = format!(
                "{}  block {}  {} transactions  {}",
                output::time(block.timestamp_ms),
                block.height,
                block.transaction_count,
                block.hash
            );
            Some((text, json!({ "event": "block", "cursor": cursor, "block": block })))
        }
    }
}
