//! Functions: replicas, traffic, latency, cold starts; and one of them with its logs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use regrove_host::{Path, Problem, now};

use super::layout::{Section, page};
use super::parts::{empty, fact, grouped, time, unavailable};
use crate::api::functions::{self, FunctionList, FunctionView, HISTORY_SECONDS, LEVELS, LogQuery};
use crate::respond::{Params, Wants};
use crate::runtime::{ColdStart, Line, Revision, Service};
use crate::{Ports, chart};

/// Starts from zero in the table.
const STARTS_SHOWN: usize = 20;

pub(super) async fn list(State(ports): State<Arc<Ports>>, wants: Wants) -> Result<Response, Problem> {
    let list = functions::list(&ports).await?;
    Ok(wants.answer(&list, |list| page(&wants, Section::Functions, "Functions", &body(list, now()))))
}

pub(super) async fn show(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Path(name): Path<String>,
    Params(query): Params<LogQuery>,
) -> Result<Response, Problem> {
    let view = functions::show(&ports, wants.name(&name), &query).await?;
    let title = view.service.name().to_owned();
    Ok(wants.answer(&view, |view| page(&wants, Section::Functions, &title, &function(view, &query, now()))))
}

fn body(list: &FunctionList, now: Timestamp) -> Markup {
    html! {
        h1 { "Functions" }
        @match &list.status {
            None => (unavailable(&format!("Not known here: {}.", list.unavailable.as_deref().unwrap_or("the runtime says nothing")))),
            Some(status) => div #functions data-live {
                (table(&status.services))
                section aria-labelledby="replicas" { h2 #replicas { "Replicas" } (chart::replicas(&list.history, now.as_millisecond(), HISTORY_SECONDS)) }
                section aria-labelledby="latency" { h2 #latency { "Latency" } (chart::heat(&list.history, now.as_millisecond(), HISTORY_SECONDS)) }
                section aria-labelledby="starts" { h2 #starts { "Cold starts" } (starts(&list.cold_starts)) }
            },
        }
    }
}

fn table(services: &[Service]) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-label="Functions" {
            table .list {
                thead { tr {
                    th scope="col" { "Function" } th scope="col" { "Replicas" } th scope="col" { "Traffic" }
                    th scope="col" .num { "Under way" } th scope="col" .num { "Requests" } th scope="col" .num { "Failed" }
                    th scope="col" .num { "p50" } th scope="col" .num { "p99" } th scope="col" .num { "Cold starts" }
                } }
                tbody { @for service in services {
                    tr {
                        th scope="row" { a href=(format!("/functions/{}", service.name())) { (service.name()) } }
                        td { (replicas(service)) }
                        td { @for revision in service.revisions.iter().filter(|revision| revision.percent > 0.0) { span .tag { (revision.name) " " (percent(revision)) } " " } }
                        td .num { (service.in_flight) @if service.waiting > 0 { " + " (service.waiting) " waiting" } }
                        td .num { (grouped(service.requests)) }
                        td .num { (grouped(service.failures)) }
                        td .num { (milliseconds(service.p50_ms)) }
                        td .num { (milliseconds(service.p99_ms)) }
                        td .num { (service.cold_starts) }
                    }
                } }
            }
        }
    }
}

fn replicas(service: &Service) -> Markup {
    html! {
        @if service.ready + service.starting + service.draining == 0 { span .state { "at zero" } } @else {
            @if service.ready > 0 { span .state.state-succeeded { (service.ready) " ready" } " " }
            @if service.starting > 0 { span .state.state-queued { (service.starting) " starting" } " " }
            @if service.draining > 0 { span .state { (service.draining) " draining" } }
        }
    }
}

fn percent(revision: &Revision) -> String {
    format!("{:.0} %", revision.percent)
}

fn milliseconds(given: Option<f64>) -> String {
    given.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"))
}

fn starts(starts: &[ColdStart]) -> Markup {
    html! {
        @if starts.is_empty() { (empty("No cold starts", &html! { "No request had to wait for a first replica yet." })) } @else {
            div .scroll tabindex="0" role="group" aria-label="Cold starts" {
                table .list {
                    thead { tr {
                        th scope="col" { "Time" } th scope="col" { "Replica" } th scope="col" .num { "Queue" } th scope="col" .num { "Spawn" }
                        th scope="col" .num { "Ready" } th scope="col" .num { "Start, in all" } th scope="col" .num { "First byte after" }
                    } }
                    tbody { @for start in starts.iter().rev().take(STARTS_SHOWN) {
                        tr {
                            td { (time(Timestamp::from_millisecond(start.at_ms).ok())) }
                            th scope="row" { (start.replica) }
                            td .num { (format!("{:.1} ms", start.queue_ms)) }
                            td .num { (format!("{:.1} ms", start.spawn_ms)) }
                            td .num { (format!("{:.1} ms", start.ready_ms)) }
                            td .num { strong { (format!("{:.1} ms", start.queue_ms + start.spawn_ms + start.ready_ms)) } }
                            td .num { (format!("{:.1} ms", start.first_byte_ms)) }
                        }
                    } }
                }
            }
        }
    }
}

fn function(view: &FunctionView, query: &LogQuery, now: Timestamp) -> Markup {
    let service = &view.service;
    html! {
        p .eyebrow { a href="/functions" { "Functions" } }
        h1 { (service.name()) }
        div #function data-live {
            dl .facts {
                (fact("Replicas", &replicas(service)))
                (fact("Requests", &html! { (grouped(service.requests)) p .dim { (grouped(service.failures)) " failed, " (service.in_flight) " under way, " (service.waiting) " waiting" } }))
                (fact("Time to the first byte", &html! { "p50 " (milliseconds(service.p50_ms)) ", p99 " (milliseconds(service.p99_ms)) }))
                (fact("Address", &html! { @match &service.url { Some(url) => code .break { (url) }, None => span .dim { "only from inside" } } }))
            }
            section aria-labelledby="revisions" {
                h2 #revisions { "Revisions" }
                ul .chips { @for revision in &service.revisions { li { span .chip { (revision.name) " " span .count { (percent(revision)) ", " (revision.ready) " ready" } } } } }
            }
            section aria-labelledby="replicas" { h2 #replicas { "Replicas" } (chart::replicas(&view.history, now.as_millisecond(), HISTORY_SECONDS)) }
            section aria-labelledby="latency" { h2 #latency { "Latency" } (chart::heat(&view.history, now.as_millisecond(), HISTORY_SECONDS)) }
            section aria-labelledby="starts" { h2 #starts { "Cold starts" } (starts(&view.cold_starts)) }
        }
        section aria-labelledby="logs" {
            h2 #logs { "Logs" }
            form .filters method="get" action=(format!("/functions/{}#logs", service.name())) aria-label="Filter lines" {
                div { label for="level" { "At least" } select #level name="level" {
                    option value="" { "any level" }
                    @for level in LEVELS { option value=(level) selected[query.level == level] { (level) } }
                } }
                div { label for="text" { "Contains" } input #text name="text" type="search" value=(query.text); }
                button type="submit" { "Filter" }
            }
            div #lines data-live { (lines(&view.lines, false)) }
        }
    }
}

/// Lines of functions, oldest first.
pub(super) fn lines(lines: &[Line], named: bool) -> Markup {
    html! {
        @if lines.is_empty() { (empty("No lines", &html! { "Nothing was written, or nothing that fits." })) } @else {
            div .scroll.log tabindex="0" role="group" aria-label="Lines" {
                table { tbody { @for line in lines {
                    @let level = line.level.as_deref().unwrap_or("info");
                    tr class=(format!("level-{level}")) {
                        td { (time(Timestamp::from_millisecond(line.at_ms).ok())) }
                        td .level { (level) }
                        @if named { td { (line.replica) } }
                        td .break { (said(&line.text)) }
                    }
                } } }
            }
        }
    }
}

/// A structured line in words: its message, then its fields; any other line as it is.
fn said(text: &str) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(text) else { return text.to_owned() };
    let mut words = vec![fields.get("message").map(super::parts::plain).unwrap_or_default()];
    let known = ["message", "timestamp", "level"];
    words.extend(
        fields
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={}", super::parts::plain(value))),
    );
    words.join("  ")
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_structured_line_is_shown_in_words() {
        let line =
            r#"{"timestamp":"2026-11-23T08:00:00Z","level":"INFO","message":"registered","job":"a","version":"3"}"#;
        assert_eq!(said(line), "registered  job=a  version=3");
        assert_eq!(said("plain text"), "plain text");
    }
}
