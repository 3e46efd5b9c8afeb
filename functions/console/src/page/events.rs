//! The newest events, filtered.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_events::SCHEMAS;
use regrove_host::Problem;

use super::layout::{Section, page};
use super::parts::{empty, grouped, time};
use crate::Ports;
use crate::api::events::{self, EventList, EventQuery};
use crate::respond::{Params, Wants};
use crate::view::EventView;

pub(super) async fn list(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Params(query): Params<EventQuery>,
) -> Result<Response, Problem> {
    let list = events::list(&ports, &query).await?;
    Ok(wants.answer(&list, |list| page(&wants, Section::Events, "Events", &body(list, &query))))
}

fn body(list: &EventList, query: &EventQuery) -> Markup {
    html! {
        h1 { "Events" }
        form .filters role="search" method="get" action="/events" aria-label="Filter events" {
            div {
                label for="type" { "Type" }
                select #type name="type" {
                    option value="" selected[query.ty.is_empty()] { "all types" }
                    @for (name, _) in SCHEMAS { option value=(name) selected[query.ty == name] { (name) } }
                }
            }
            div { label for="subject" { "Subject" } input #subject name="subject" value=(query.subject) placeholder="job id or model"; }
            div { label for="text" { "Contains" } input #text name="text" type="search" value=(query.text) placeholder="id, source or data"; }
            button type="submit" { "Filter" }
        }
        div #events data-live[query.before.is_none()] {
            p .dim { "The log holds " (grouped(list.head)) " events; the newest come first." }
            @if list.events.is_empty() {
                (empty("No event fits", &html! { @if list.head > 0 { a href="/events" { "Show all events" } } @else { "Nothing has happened yet." } }))
            } @else { (table(&list.events)) }
            @if let Some(next) = list.next { p .more { a .button href=(href(query, next)) { "Older events" } } }
        }
    }
}

fn href(query: &EventQuery, before: u64) -> String {
    let pairs = [("type", &query.ty), ("subject", &query.subject), ("text", &query.text)];
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
    out.append_pair("before", &before.to_string());
    format!("/events?{}", out.finish())
}

/// Events in a table.
pub(super) fn table(events: &[EventView]) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-label="Events" {
            table .list {
                thead { tr {
                    th scope="col" .num { "#" } th scope="col" { "Time" } th scope="col" { "Type" }
                    th scope="col" { "Id" } th scope="col" { "Subject" } th scope="col" { "Source" }
                } }
                tbody { @for event in events {
                    tr {
                        td .num.dim { @match event.position { Some(position) => (position), None => (event.version) } }
                        td { (time(event.time)) }
                        td { (event.name()) }
                        th scope="row" .code { a href=(event.href()) { (event.id) } }
                        td { (subject(event)) }
                        td .dim { (event.source) }
                    }
                } }
            }
        }
    }
}

/// Links to what an event is about.
pub(super) fn subject(event: &EventView) -> Markup {
    let Some(subject) = &event.subject else { return html! { span .dim { "–" } } };
    let folder = if event.stream.starts_with("serving/") { "models" } else { "jobs" };
    html! { a href=(format!("/{folder}/{subject}")) { (subject) } }
}
