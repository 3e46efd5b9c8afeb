//! One event: attributes, data, cause and effects.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::Problem;

use super::events::{subject, table};
use super::layout::{Section, page};
use super::parts::{empty, fact, json, time};
use crate::Ports;
use crate::api::events::{self, EventDetail};
use crate::respond::Wants;

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
        section aria-labelledby="data" {
            h2 #data { "Data" }
            @match &event.data {
                Some(data) => (json(data)),
                None => p .dim { "It carries none." },
            }
        }
    }
}
