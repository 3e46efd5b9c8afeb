//! Events: the newest, filtered; and one with everything that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use regrove_events::log::{Entry, Position, Version};
use regrove_events::{CloudEvent, TYPE_PREFIX};
use regrove_host::{Path, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::respond::Params;
use crate::runtime::Delivery;
use crate::view::EventView;
use crate::{Ports, action};

/// Events in a list when nothing else is said.
pub(crate) const LIMIT_DEFAULT: usize = 100;
/// Events in a list at most.
pub(crate) const LIMIT_MAX: usize = 1000;
/// Entries of the log read at once.
const WINDOW: u64 = 500;
/// Entries looked at for one answer at most; the answer says where it stopped.
const LOOKED_AT_MAX: u64 = 20_000;

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only events of this type, with or without `io.regrove.`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) ty: String,
    /// Only events about this job or model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) subject: String,
    /// Only events whose id, source, type or data contains this text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    /// Only events before this position: `next` of the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Position>,
    /// How many: 1 to 1000, 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

/// Events, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events, without their data.
    pub(crate) events: Vec<EventView>,
    /// Position of the newest event in the log.
    pub(crate) head: Position,
    /// `before` of the next answer; absent when the beginning of the log was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Position>,
}

impl EventQuery {
    fn fits(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        let ty = self.ty.strip_prefix(TYPE_PREFIX).unwrap_or(&self.ty);
        (ty.is_empty() || event.ty().strip_prefix(TYPE_PREFIX).unwrap_or(event.ty()) == ty)
            && (self.subject.is_empty() || event.subject() == Some(self.subject.as_str()))
            && (self.text.is_empty() || contains(event, &self.text))
    }
}

fn contains(event: &CloudEvent, text: &str) -> bool {
    let data = event.data().is_some_and(|data| {
        let (data, text) = (data.as_ref(), text.as_bytes());
        data.windows(text.len()).any(|window| window == text)
    });
    data || [event.id(), event.source(), event.ty()].iter().any(|part| part.contains(text))
}

/// The newest events that a query asks for.
///
/// # Errors
/// 422 for a query that is none; 503 when the log does not answer.
pub(crate) async fn list(ports: &Ports, query: &EventQuery) -> Result<EventList, Problem> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(action::invalid(&format!("`limit` is {limit}, expected 1 to {LIMIT_MAX}")));
    }
    let head = ports.control.log.head().await?;
    // Entries below this position are still to be looked at.
    let mut below = query.before.unwrap_or(Position::MAX).min(head.saturating_add(1));
    let mut looked_at = 0;
    let mut events = Vec::new();
    while below > 1 && looked_at < LOOKED_AT_MAX && events.len() < limit {
        let after = below.saturating_sub(WINDOW + 1);
        let size = usize::try_from(below - after).unwrap_or(usize::MAX);
        let entries = ports.control.log.tail(after, size).await?;
        looked_at += WINDOW;
        let mut lowest = after + 1;
        for entry in entries.iter().rev().filter(|entry| entry.position < below) {
            if query.fits(entry) {
                events.push(EventView::of(&entry.stream, entry.version, Some(entry.position), &entry.event));
                if events.len() == limit {
                    lowest = entry.position;
                    break;
                }
            }
        }
        below = lowest;
    }
    Ok(EventList { events, head, next: (below > 1).then_some(below) })
}

/// An event, its cause and what it caused.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct EventDetail {
    /// The event with its data.
    pub(crate) event: EventView,
    /// The event that caused it, if the same stream has it.
    pub(crate) cause: Option<EventView>,
    /// Events that it caused, in the same stream.
    pub(crate) effects: Vec<EventView>,
    /// Its deliveries and every attempt at them.
    pub(crate) deliveries: Vec<Delivery>,
    /// Why its deliveries are not known here.
    pub(crate) deliveries_unavailable: Option<String>,
}

/// The event at a place such as `job/reference-1/3`.
///
/// # Errors
/// 404 when there is none.
pub(crate) async fn show(ports: &Ports, place: &str) -> Result<EventDetail, Problem> {
    let unknown = || {
        let detail =
            format!("there is no event `{place}`; places look like job/my-job/3: the stream and the number in it");
        Problem::new("event-not-found", StatusCode::NOT_FOUND, detail)
    };
    let (stream, version) = place.rsplit_once('/').ok_or_else(unknown)?;
    let version: Version = version.parse().map_err(|_| unknown())?;
    let history = ports.control.log.read(stream, 0).await?;
    let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1)).ok_or_else(unknown)?;
    let event = history.get(index).ok_or_else(unknown)?;
    let view = |(version, event): (Version, &CloudEvent)| EventView::of(stream, version, None, event);
    let cause = event.attribute("causationid");
    let cause = cause.and_then(|id| (1..).zip(&history).find(|(_, other)| other.id() == id)).map(view);
    let effects = (1..)
        .zip(&history)
        .filter(|(_, other)| other.attribute("causationid").is_some_and(|id| id == event.id()))
        .map(view)
        .collect();
    let (deliveries, deliveries_unavailable) = match ports.runtime.deliveries(event.id()).await {
        Ok(deliveries) => (deliveries, None),
        Err(problem) => (Vec::new(), Some(problem.detail)),
    };
    let event = EventView::whole(stream, version, None, event);
    Ok(EventDetail { event, cause, effects, deliveries, deliveries_unavailable })
}

/// Lists events, the newest first.
#[utoipa::path(get, path = "/api/events", tag = "events", params(EventQuery),
    responses((status = 200, description = "The events", body = EventList), (status = 422, description = "invalid-request")))]
pub(crate) async fn list_events(
    State(ports): State<Arc<Ports>>,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    Ok(Json(list(&ports, &query).await?))
}

/// Shows one event with its data, its cause and its effects.
#[utoipa::path(get, path = "/api/events/{place}", tag = "events",
    params(("place" = String, Path, description = "Stream and number, such as job/my-job/3")),
    responses((status = 200, description = "The event", body = EventDetail), (status = 404, description = "event-not-found")))]
pub(crate) async fn show_event(
    State(ports): State<Arc<Ports>>,
    Path(place): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    Ok(Json(show(&ports, &place).await?))
}
