//! One job: how far it has come, how it came to be so, and what may be done about it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use regrove_events::JobState;
use regrove_host::{Path, Problem, now};
use regrove_jobs::{JobView, Moment, ShardView, Span, SpanStatus};

use super::functions::lines;
use super::layout::{Section, form_key, page};
use super::parts::{
    fact, grouped, hash, json, maybe_seconds, metric, model_href, notice, plain, progress, seconds, state, time,
    unavailable,
};
use crate::api::functions::{self, LogQuery};
use crate::api::jobs;
use crate::respond::{Format, Wants};
use crate::runtime::Line;
use crate::view::{JobAndRun, MlflowView};
use crate::{Ports, action, chart};

/// Features whose importance is drawn.
const FEATURES_SHOWN: usize = 20;

pub(super) async fn show(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = wants.name(&id);
    let job = jobs::show(&ports, id).await?;
    if wants.format == Format::Json {
        return Ok(wants.answer(&job, |_| html! {}));
    }
    let trace = action::trace(&ports, id).await?;
    let lines = functions::lines(&ports, id, &LogQuery::default()).await.map_err(|problem| problem.detail);
    let shown = Shown { job, trace, lines };
    Ok(wants.answer(&shown.job, |job| page(&wants, Section::Jobs, &job.job.summary.id, &body(&wants, &shown, now()))))
}

/// What the page shows: the job, and what else is known of its work.
struct Shown {
    job: JobAndRun,
    trace: Span,
    lines: Result<Vec<Line>, String>,
}

fn body(wants: &Wants, view: &Shown, now: Timestamp) -> Markup {
    let (job, mlflow) = (&view.job.job, &view.job.mlflow);
    let summary = &job.summary;
    html! {
        p .eyebrow { a href="/jobs" { "Jobs" } }
        div .title-row {
            h1 .code { (summary.id) }
            div #job-state data-live data-announce=(format!("Job {} is {}", summary.id, summary.state)) {
                (state(summary.state)) " " (progress(summary))
            }
        }
        (notice(wants))
        div #orders data-live { (orders(wants, job)) }
        div #job data-live {
            @if let Some(failure) = &summary.failure {
                div .callout.bad role="alert" {
                    strong { "Failed in " (failure.step) ": " } (failure.reason)
                    p .dim { code { (failure.problem) } }
                }
            }
            @if summary.state == JobState::Cancelled {
                p .callout.off { "Stopped" @if let Some(reason) = &summary.cancel_reason { ": " (reason) } "." }
            }
            (facts(job, mlflow))
            @if let Some(gantt) = chart::gantt(job, now) {
                section aria-labelledby="shards" { h2 #shards { "Shards" } (gantt) (shards(&job.shard_list)) }
            }
            (results(job, mlflow))
            section aria-labelledby="causes" { h2 #causes { "Causes and effects" } (chart::graph(&summary.id, &job.timeline)) }
            section aria-labelledby="timeline" { h2 #timeline { "Timeline" } (timeline(&summary.id, &job.timeline)) }
            section aria-labelledby="trace" { h2 #trace { "Trace" } (spans(&view.trace)) }
            section aria-labelledby="logs" {
                h2 #logs { "Logs" }
                @match &view.lines {
                    Ok(written) => (lines(written, true)),
                    Err(reason) => (unavailable(&format!("Not known here: {reason}."))),
                }
            }
            @if let Some(request) = job.request.as_ref().and_then(|request| serde_json::to_value(request).ok()) {
                details #request { summary { "The request" } (json(&request)) }
            }
        }
    }
}

fn orders(wants: &Wants, job: &JobView) -> Markup {
    let id = &job.summary.id;
    html! {
        div .actions {
            @if matches!(job.summary.state, JobState::Failed | JobState::Cancelled) {
                form method="post" action=(format!("/jobs/{id}/retry")) {
                    (form_key(&wants.csrf)) button #retry type="submit" { "Retry as a new job" }
                }
            } @else if !job.summary.state.is_terminal() {
                form .inline method="post" action=(format!("/jobs/{id}/stop")) {
                    (form_key(&wants.csrf))
                    label .unseen for="reason" { "Reason for the stop" }
                    input #reason name="reason" placeholder="reason (optional)";
                    button #stop .danger type="submit" { "Stop" }
                }
            }
            form method="post" action=(format!("/jobs/{id}/replay")) {
                (form_key(&wants.csrf))
                button #replay type="submit" title="Says its events to the broker again; nothing is trained twice" { "Replay events" }
            }
            a .button href=(format!("/jobs/compare?a={id}")) { "Compare" }
        }
    }
}

fn facts(job: &JobView, mlflow: &MlflowView) -> Markup {
    let summary = &job.summary;
    let params = job.request.as_ref().map(|request| &request.params).filter(|params| !params.is_empty());
    html! {
        dl .facts {
            @if let Some(data) = &job.data {
                (fact("Data set", &html! {
                    (data.name) p .dim { (grouped(data.n_samples)) " rows, " (data.feature_names.len()) " features, target " code { (data.target) } ", " (hash(&data.frame.sha256)) }
                    p .dim.break { (data.uri) }
                }))
            } @else if let Some(request) = &job.request {
                (fact("Data set", &html! { span .break { (request.dataset.uri) } p .dim { "not read yet" } }))
            }
            (fact("Model", &html! {
                @match &summary.model {
                    Some(model) => { a href=(model_href(&model.name)) { (model.name) " v" (model.version) } p .dim { (hash(&model.sha256)) } },
                    None => (summary.model_name.as_deref().unwrap_or("–")),
                }
            }))
            (fact("Parameters", &html! {
                @match params {
                    None => span .dim { "scikit-learn's defaults" },
                    Some(params) => ul .params { @for (name, value) in params { li { code { (name) "=" (plain(value)) } } } },
                }
            }))
            (fact("Asked for", &html! { (time(summary.requested_at)) }))
            (fact("Took", &html! {
                (maybe_seconds(summary.seconds.total))
                p .dim { "train " (maybe_seconds(summary.seconds.train)) ", aggregate " (maybe_seconds(summary.seconds.aggregate)) ", register " (maybe_seconds(summary.seconds.register)) }
            }))
            (fact("MLflow", &run(mlflow, summary.experiment.as_deref())))
            @if let Some(trace) = &job.trace_id { (fact("Trace", &html! { code .break { (trace) } })) }
        }
    }
}

fn run(mlflow: &MlflowView, experiment: Option<&str>) -> Markup {
    html! {
        @match (&mlflow.run_url, &mlflow.unavailable) {
            (Some(url), _) => { a href=(url) rel="noreferrer" { "run " (mlflow.run_id.as_deref().unwrap_or_default().chars().take(8).collect::<String>()) } " " span .dim { (mlflow.status.as_deref().unwrap_or_default()) } },
            (None, Some(reason)) => span .dim { (reason) },
            (None, None) => span .dim { "no run yet" },
        }
        @if let Some(experiment) = experiment { p .dim { "experiment " (experiment) } }
    }
}

fn shards(shards: &[ShardView]) -> Markup {
    html! {
        details #shard-table {
            summary { (shards.len()) " shards in a table" }
            div .scroll tabindex="0" role="group" aria-label="Shards" {
                table .list {
                    thead { tr {
                        th scope="col" .num { "Shard" } th scope="col" { "Trees" } th scope="col" .num { "Attempts" }
                        th scope="col" { "Asked for" } th scope="col" { "In" } th scope="col" .num { "Grew for" }
                        th scope="col" .num { "Nodes" } th scope="col" { "Where" } th scope="col" { "Trees' hash" }
                    } }
                    tbody { @for shard in shards {
                        tr {
                            th scope="row" .num { (shard.shard) }
                            td { (shard.trees.from) " to " (shard.trees.to) }
                            td .num { (shard.attempts.len()) }
                            td { (time(shard.attempts.first().and_then(|attempt| attempt.requested_at))) }
                            td { (time(shard.trained_at)) }
                            td .num { (maybe_seconds(shard.seconds)) }
                            td .num { @match shard.n_nodes { Some(nodes) => (grouped(nodes)), None => "–" } }
                            td { (shard.worker.as_deref().unwrap_or("–")) }
                            td { @if let Some(model) = &shard.model { (hash(&model.sha256)) } @else { "–" } }
                        }
                    } }
                }
            }
        }
    }
}

fn results(job: &JobView, mlflow: &MlflowView) -> Markup {
    html! {
        @if !job.summary.metrics.is_empty() {
            section aria-labelledby="metrics" {
                h2 #metrics { "Metrics" }
                ul .tiles { @for (key, value) in &job.summary.metrics {
                    li .tile { span .tile-number { (metric(*value)) } span .dim { (key) } }
                } }
            }
        }
        @if let Some(reason) = &mlflow.unavailable {
            (unavailable(&format!("The curves of its metrics are in MLflow: {reason}")))
        }
        @if !mlflow.series.is_empty() {
            section aria-labelledby="curves" {
                h2 #curves { "Curves" }
                div .grid { @for one in &mlflow.series {
                    (chart::line(&one.key, &one.points.iter().map(|&(step, value)| (to_f64(step), value)).collect::<Vec<_>>()))
                } }
            }
        }
        @if !job.feature_importances.is_empty() {
            section aria-labelledby="importances" {
                h2 #importances { "Feature importances" }
                (chart::rows("Feature importances: mean decrease in impurity", &job.feature_importances, FEATURES_SHOWN))
            }
        }
    }
}

/// Steps are small whole numbers.
fn to_f64(step: i64) -> f64 {
    f64::from(i32::try_from(step).unwrap_or(i32::MAX))
}

fn timeline(id: &str, moments: &[Moment]) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-label="Timeline" {
            table .list {
                thead { tr {
                    th scope="col" .num { "#" } th scope="col" .num { "After" } th scope="col" { "Time" }
                    th scope="col" { "What" } th scope="col" { "Event" } th scope="col" { "From" }
                } }
                tbody { @for moment in moments {
                    tr {
                        td .num.dim { (moment.version) }
                        td .num { @match moment.after_seconds { Some(after) => { "+" (seconds(after.max(0.0))) }, None => "–" } }
                        td { (time(moment.at)) }
                        td { (moment.text) }
                        th scope="row" .code { a href=(chart::event_href(id, moment)) { (moment.name) } }
                        td .dim { (moment.source) }
                    }
                } }
            }
        }
    }
}

/// Spans as a nested list: the work and the parts that it is made of.
fn spans(span: &Span) -> Markup {
    let (class, word) = match span.status {
        SpanStatus::Ok => ("state state-succeeded", "ok"),
        SpanStatus::Error => ("state state-failed", "not done"),
        SpanStatus::Running => ("state state-training", "at work"),
    };
    html! {
        ul .spans {
            li {
                span .span-name { (span.name) } " " span .dim { (span.function) } " "
                span .num { (maybe_seconds(span.seconds)) } " " span class=(class) { (word) }
                @if !span.attributes.is_empty() {
                    p .dim { @for (name, value) in &span.attributes { code { (name) "=" (value) } " " } }
                }
                @for child in &span.children { (spans(child)) }
            }
        }
    }
}
