//! Lines of histories, as the API gives them: pages, cursors, entries.

use super::ApiState;
use super::problem::ApiError;
use crate::storage::{Direction as LineDirection, HistoryCursor, HistoryRecord, LineRange, OperationKind, Topic};
use farthing_client::{
    Direction, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, HistoryEntry, HistoryQuery, OperationName, ProblemCode,
};
use farthing_core::address::AddressPrefix;
use farthing_core::hash::Digest;

/// A page of a topic, newest first, and the cursor of the next one.
///
/// # Errors
/// `invalid_cursor`, `invalid_parameter` or `not_kept`.
pub(super) async fn page(
    state: &ApiState,
    topic: Topic,
    query: &HistoryQuery,
) -> Result<(Vec<HistoryRecord>, Option<String>), ApiError> {
    let before = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let limit = query.limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    if !(1..=HISTORY_LIMIT_MAX).contains(&limit) {
        return Err(ApiError::new(
            ProblemCode::InvalidParameter,
            format!("limit is {limit}: a page has 1 to {HISTORY_LIMIT_MAX} entries"),
        ));
    }
    check_kept(state)?;
    let (limit, range) = (limit as usize, LineRange::Before(before));
    // One line more than asked for tells whether there is a next page.
    let mut lines = state.blocking(move |node| Ok(node.storage().lines(&topic, &range, limit + 1)?)).await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| more).map(|line| cursor(line.cursor()));
    Ok((lines, next))
}

/// Whether this node keeps lines at all.
///
/// # Errors
/// `not_kept`.
pub(super) fn check_kept(state: &ApiState) -> Result<(), ApiError> {
    if state.node.storage().keeps_history() {
        return Ok(());
    }
    Err(ApiError::new(
        ProblemCode::NotKept,
        "this node keeps no histories of accounts (storage.history in its configuration): ask another one",
    ))
}

/// Opaque to clients: the place of a line.
pub(super) fn cursor((height, position, line): HistoryCursor) -> String {
    format!("{height}.{position}.{line}")
}

/// The place that a cursor stands for.
///
/// # Errors
/// `invalid_cursor` for a text that is none.
pub(super) fn parse_cursor(text: &str) -> Result<HistoryCursor, ApiError> {
    let parse = || {
        let mut parts = text.split('.');
        let cursor = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
        parts.next().is_none().then_some(cursor)
    };
    parse().ok_or_else(invalid_cursor)
}

/// A number of digits and nothing else.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

pub(super) fn invalid_cursor() -> ApiError {
    ApiError::new(
        ProblemCode::InvalidCursor,
        "the cursor is not one of this API: give the \"next\" of a page or the id of an event, unchanged",
    )
}

/// Whether the line is the incoming one of a payment to oneself, which the outgoing one stands for.
pub(super) fn is_echo(line: &HistoryRecord) -> bool {
    is_to_self(line) && line.direction == LineDirection::In
}

/// A line as the API gives it.
pub(super) fn entry(line: &HistoryRecord, prefix: &AddressPrefix) -> HistoryEntry {
    let direction = match line.direction {
        _ if is_to_self(line) => Direction::ToSelf,
        LineDirection::Out => Direction::Out,
        LineDirection::In => Direction::In,
    };
    let counterparty = match line.direction {
        LineDirection::Out if line.output_count > 1 => None,
        // Nobody is paid.
        LineDirection::Out if line.counterparty == line.account && line.output_count == 0 => None,
        LineDirection::Out | LineDirection::In => Some(line.counterparty.encode(prefix)),
    };
    HistoryEntry {
        account: line.account.encode(prefix),
        id: line.id,
        operation: operation_name(line.operation),
        direction,
        counterparty,
        amount: line.amount,
        code: line.code,
        reference: line.reference.map(|reference| Digest(reference).to_string()),
        hold: line.hold,
        height: line.height,
        position: line.position,
        timestamp_ms: line.timestamp_ms,
        outputs: line.output_count,
    }
}

/// Whether the account pays itself alone; such a transfer has a line for each direction.
fn is_to_self(line: &HistoryRecord) -> bool {
    line.counterparty == line.account && line.output_count == 1
}

fn operation_name(kind: OperationKind) -> OperationName {
    match kind {
        OperationKind::Transfer => OperationName::Transfer,
        OperationKind::OpenHold => OperationName::OpenHold,
        OperationKind::Capture => OperationName::Capture,
        OperationKind::Release => OperationName::Release,
        OperationKind::TopUp => OperationName::TopUp,
        OperationKind::SetKey => OperationName::SetKey,
        OperationKind::RemoveKey => OperationName::RemoveKey,
        OperationKind::SetPolicy => OperationName::SetPolicy,
        OperationKind::Reclaim => OperationName::Reclaim,
    }
}
