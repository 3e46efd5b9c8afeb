//! The list of jobs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::Problem;
use regrove_jobs::{Page, Summary};

use super::layout::{Section, page};
use super::parts::{empty, maybe_seconds, metric, model_href, notice, progress, state, time};
use crate::Ports;
use crate::api::jobs::{self, JobQuery, STATES};
use crate::respond::{Params, Wants};

pub(super) async fn list(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Params(query): Params<JobQuery>,
) -> Result<Response, Problem> {
    let list = jobs::list(&ports, &query).await?;
    Ok(wants.answer(&list, |list| page(&wants, Section::Jobs, "Jobs", &body(&wants, list, &query))))
}

fn body(wants: &Wants, list: &Page, query: &JobQuery) -> Markup {
    let all: usize = list.states.values().sum();
    html! {
        div .title-row {
            h1 { "Jobs" }
            div .actions {
                a .button href="/jobs/compare" { "Compare" }
                a .button.primary href="/jobs/new" { "New job" }
            }
        }
        (notice(wants))
        form .filters role="search" method="get" action="/jobs" aria-label="Filter jobs" {
            div { label for="name" { "Name" } input #name name="name" type="search" value=(query.name) placeholder="id, data set or model"; }
            div { label for="since" { "Since" } input #since name="since" value=(query.since) placeholder="2026-11-23T08:00:00Z"; }
            div { label for="until" { "Until" } input #until name="until" value=(query.until) placeholder="2026-11-24T08:00:00Z"; }
            @if !query.state.is_empty() { input type="hidden" name="state" value=(query.state); }
            button type="submit" { "Filter" }
        }
        div #jobs data-live {
            nav .tabs aria-label="State" {
                a href=(href(query, "")) aria-current=[query.state.is_empty().then_some("true")] { "all " span .count { (all) } }
                @for known in STATES {
                    a href=(href(query, known.as_str())) aria-current=[(query.state == known.as_str()).then_some("true")] {
                        (known) " " span .count { (list.states.get(known.as_str()).copied().unwrap_or(0)) }
                    }
                }
            }
            @if list.jobs.is_empty() {
                @if all == 0 && *query == JobQuery::default() {
                    (empty("No jobs yet", &html! { "Start one with " a href="/jobs/new" { "New job" } ", or " code { "regrove train --data FILE.csv" } "." }))
                } @else {
                    (empty("No job fits", &html! { a href="/jobs" { "Show all jobs" } }))
                }
            } @else { (table(&list.jobs)) }
            @if let Some(next) = &list.next {
                p .more { a .button href=(href(&JobQuery { after: next.clone(), ..query.clone() }, &query.state)) { "Older jobs" } }
            }
        }
    }
}

/// The same list with another state.
fn href(query: &JobQuery, state: &str) -> String {
    let pairs = [("name", &query.name), ("since", &query.since), ("until", &query.until), ("after", &query.after)];
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(
        pairs.into_iter().filter(|(name, value)| !value.is_empty() && (*name != "after" || state == query.state)),
    );
    if !state.is_empty() {
        out.append_pair("state", state);
    }
    let text = out.finish();
    if text.is_empty() { "/jobs".to_owned() } else { format!("/jobs?{text}") }
}

/// Jobs in a table.
pub(super) fn table(jobs: &[Summary]) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-label="Jobs" {
            table .list {
                thead { tr {
                    th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Data set" }
                    th scope="col" { "Trees" } th scope="col" .num { "Accuracy" } th scope="col" { "Model" }
                    th scope="col" .num { "Took" } th scope="col" { "Requested" }
                } }
                tbody { @for job in jobs { (row(job)) } }
            }
        }
    }
}

fn row(job: &Summary) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(format!("/jobs/{}", job.id)) { (job.id) } }
            td { (state(job.state)) @if job.retries > 0 { " " span .dim { (job.retries) " retried" } } }
            td { (job.dataset.as_deref().unwrap_or("–")) }
            td { (progress(job)) }
            td .num { @match job.score() {
                Some((of, value)) => span title=(of) { (metric(value)) },
                None => span .dim { "–" },
            } }
            td { @match &job.model {
                Some(model) => a href=(model_href(&model.name)) { (model.name) " " span .count { "v" (model.version) } },
                None => span .dim { (job.model_name.as_deref().unwrap_or("–")) },
            } }
            td .num { (maybe_seconds(job.seconds.total)) }
            td { (time(job.requested_at)) }
        }
    }
}
