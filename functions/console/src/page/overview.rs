//! How everything stands, at a glance.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::{Problem, now};

use super::jobs::table;
use super::layout::{Section, page};
use super::parts::{empty, grouped, model_href, unavailable};
use crate::Ports;
use crate::api::functions::HISTORY_SECONDS;
use crate::api::jobs::STATES;
use crate::api::overview::{Health, Overview, overview};
use crate::chart;
use crate::respond::Wants;

pub(super) async fn show(State(ports): State<Arc<Ports>>, wants: Wants) -> Result<Response, Problem> {
    let view = overview(&ports).await?;
    Ok(wants.answer(&view, |view| page(&wants, Section::Overview, "Overview", &body(view))))
}

fn body(view: &Overview) -> Markup {
    let rates: Vec<f64> =
        view.events_per_minute.iter().map(|&count| f64::from(u32::try_from(count).unwrap_or(u32::MAX))).collect();
    html! {
        h1 { "Overview" }
        div #overview data-live {
            ul .health { @for part in &view.health { (health(part)) } }
            section aria-labelledby="states" {
                h2 #states { "Jobs" }
                ul .tiles {
                    @for state in STATES {
                        li { a .tile href=(format!("/jobs?state={state}")) {
                            span .tile-number { (grouped(view.states.get(state.as_str()).copied().unwrap_or(0) as u64)) }
                            span class=(format!("state state-{state}")) { (state) }
                        } }
                    }
                }
                @if view.jobs.is_empty() {
                    (empty("No jobs yet", &html! { "Start one with " a href="/jobs/new" { "New job" } ", or " code { "regrove train --data FILE.csv" } "." }))
                } @else { (table(&view.jobs)) p .more { a href="/jobs" { "All jobs" } } }
            }
            section aria-labelledby="replicas" { h2 #replicas { "Functions" } (functions(view)) }
            section aria-labelledby="rates" {
                h2 #rates { "Events" }
                (chart::columns("Events per minute over the last hour", &rates, "an hour ago", "now"))
                @if !view.event_types.is_empty() {
                    ul .chips { @for (ty, count) in &view.event_types {
                        li { a .chip href=(format!("/events?type={ty}")) { (ty) " " span .count { (grouped(*count)) } } }
                    } }
                }
            }
            section aria-labelledby="served" {
                h2 #served { "Served models" }
                @if view.served.is_empty() {
                    (empty("Nothing is served", &html! { "A model is loaded as soon as a job has registered it." }))
                } @else {
                    ul .chips { @for (name, version) in &view.served {
                        li { a .chip href=(model_href(name)) { (name) " " span .count { "v" (version) } } }
                    } }
                }
            }
        }
    }
}

fn health(part: &Health) -> Markup {
    let (class, word) = if part.ok { ("ok", "answers") } else { ("bad", "does not answer") };
    let name = match part.part {
        "log" => "Event log",
        "mlflow" => "MLflow",
        "broker" => "Broker",
        other => other,
    };
    html! {
        li class=(format!("health-part {class}")) {
            span .dot aria-hidden="true" {}
            div { strong { (name) } " " span .word { (word) } p .dim { (part.detail) } }
        }
    }
}

fn functions(view: &Overview) -> Markup {
    let Some(status) = &view.functions.status else {
        let reason = view.functions.unavailable.as_deref().unwrap_or("the runtime says nothing");
        return unavailable(&format!("Not known here: {reason}."));
    };
    let replicas: u64 = status.services.iter().map(|service| service.ready).sum();
    let waits = view.functions.cold_starts.iter().map(|start| start.queue_ms + start.spawn_ms + start.ready_ms);
    let slowest = waits.fold(0.0, f64::max);
    let tile = |number: &str, name: &str, href: &str| {
        html! { li { a .tile href=(href) { span .tile-number { (number) } span .dim { (name) } } } }
    };
    html! {
        ul .tiles {
            (tile(&grouped(replicas), "replicas ready", "/functions"))
            (tile(&grouped(status.events.delivered), "deliveries", "/events"))
            (tile(&grouped(status.events.failed), "failed attempts", "/events"))
            (tile(&grouped(status.events.dead), "given up since the start", "/dead-letters"))
            (tile(&grouped(view.functions.cold_starts.len() as u64), "latest cold starts", "/functions"))
            (tile(&format!("{slowest:.0} ms"), "slowest of them", "/functions"))
        }
        (chart::replicas(&view.functions.history, now().as_millisecond(), HISTORY_SECONDS))
    }
}
