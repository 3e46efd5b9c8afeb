//! One event: attributes, data, cause and effects.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use regrove_host::{Path, Problem};

use super::events::{subject, table};
use super::layout::{Section, page};
use super::parts::{empty, fact, json, time, unavailable};
use crate::Ports;
use crate::api::events::{self, EventDetail};
use crate::respond::Wants;
use crate::runtime::Delivery;

pub(super) async fn show(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Path(place): Path<String>,
) -> Result<Response, Problem> {
    let detail = events::show(&ports, wants.name(&place)).await?;
    let title = detail.event.id.clone();
    Ok(wants.answer(&detail, |detail| page(&wants, Section::Events, &title, &body(detail))))
}

fn body(detail: &EventDetail) -> Markup {
    let event = &detail.event;
    html! {
        p .eyebrow { a href="/events" { "Events" } " / " (event.name()) }
        h1 .code { (event.id) }
        dl .facts {
            (fact("Type", &html! { a href=(format!("/events?type={}", event.name())) { code { (event.ty) } } }))
            (fact("Subject", &subject(event)))
            (fact("Time", &time(event.time)))
            (fact("Source", &html! { code { (event.source) } }))
            (fact("Place in the log", &html! { code { (event.stream) } ", number " (event.version) }))
            @if let Some(trace) = &event.trace_id { (fact("Trace", &html! { code { (trace) } })) }
            @for (name, value) in &event.extensions { (fact(name, &html! { code { (value) } })) }
        }
        section aria-labelledby="cause" {
            h2 #cause { "Cause" }
            @match &detail.cause {
                Some(cause) => (table(std::slice::from_ref(cause))),
                None => @match &event.causationid {
                    Some(id) => p { "Event " code { (id) } ", which is in another stream or came from outside." },
                    None => p .dim { "Nothing of ours caused it: it came from outside." },
                },
            }
        }
        section aria-labelledby="effects" {
            h2 #effects { "Effects" }
            @if detail.effects.is_empty() { (empty("No effects", &html! { "Nothing in its stream names it as its cause." })) }
            @else { (table(&detail.effects)) }
        }
        section aria-labelledby="deliveries" { h2 #deliveries { "Deliveries" } (deliveries(detail)) }
        section aria-labelledby="data" {
            h2 #data { "Data" }
            @match &event.data {
                Some(data) => (json(data)),
                None => p .dim { "It carries none." },
            }
        }
    }
}

fn deliveries(detail: &EventDetail) -> Markup {
    if let Some(reason) = &detail.deliveries_unavailable {
        return unavailable(&format!("Not known here: {reason}."));
    }
    html! {
        @if detail.deliveries.is_empty() {
            (empty("No deliveries", &html! { "The broker took it longer ago than it keeps deliveries, or no trigger wanted it." }))
        } @else {
            div .scroll tabindex="0" role="group" aria-label="Deliveries" {
                table .list {
                    thead { tr {
                        th scope="col" { "Trigger" } th scope="col" { "State" } th scope="col" { "Attempt" } th scope="col" { "Where" }
                        th scope="col" .num { "Answer" } th scope="col" .num { "Took" } th scope="col" { "What went wrong" }
                    } }
                    tbody { @for delivery in &detail.deliveries { (attempts(delivery)) } }
                }
            }
        }
    }
}

fn attempts(delivery: &Delivery) -> Markup {
    let class = match delivery.state.as_str() {
        "delivered" => "state state-succeeded",
        "pending" => "state state-queued",
        "redriven" => "state",
        _ => "state state-failed",
    };
    html! {
        @if delivery.attempts.is_empty() {
            tr { th scope="row" { (delivery.trigger) } td { span class=(class) { (delivery.state) } } td colspan="5" .dim { "no attempt yet" } }
        }
        @for (number, attempt) in delivery.attempts.iter().enumerate() {
            tr {
                th scope="row" { (delivery.trigger) }
                td { @if number + 1 == delivery.attempts.len() { span class=(class) { (delivery.state) } } }
                td { (number + 1) " " span .dim { (time(Timestamp::from_millisecond(attempt.at_ms).ok())) } }
                td .break { code { (attempt.destination) } @if attempt.dead_letter { " " span .tag { "dead letter sink" } } }
                td .num { @match attempt.code { Some(code) => (code), None => "none" } }
                td .num { (format!("{:.1} ms", milliseconds(attempt.latency_us))) }
                td { (attempt.error.as_deref().unwrap_or("–")) }
            }
        }
    }
}

/// Latencies are far below a day.
fn milliseconds(microseconds: i64) -> f64 {
    f64::from(i32::try_from(microseconds).unwrap_or(i32::MAX)) / 1e3
}
