//! Two jobs side by side.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::Problem;
use regrove_jobs::{Comparison, Difference, LIMIT_MAX, MetricDifference};

use super::layout::{Section, page};
use super::parts::{maybe_seconds, metric, plain};
use crate::api::jobs::{self, JobQuery, Pair};
use crate::respond::{Params, Wants, page_response};
use crate::{Ports, action};

pub(super) async fn show(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Params(pair): Params<Pair>,
) -> Result<Response, Problem> {
    let known = jobs::list(&ports, &JobQuery { limit: Some(LIMIT_MAX), ..JobQuery::default() }).await?;
    let ids: Vec<String> = known.jobs.into_iter().map(|job| job.id).collect();
    if pair.a.is_empty() || pair.b.is_empty() {
        let choose = page(&wants, Section::Jobs, "Compare jobs", &body(&pair, &ids, None));
        return Ok(page_response(choose, &wants.csrf));
    }
    let view = action::compare(&ports, &pair.a, &pair.b).await?;
    Ok(wants.answer(&view, |view| page(&wants, Section::Jobs, "Compare jobs", &body(&pair, &ids, Some(view)))))
}

fn body(pair: &Pair, ids: &[String], view: Option<&Comparison>) -> Markup {
    html! {
        p .eyebrow { a href="/jobs" { "Jobs" } }
        h1 { "Compare jobs" }
        form .filters method="get" action="/jobs/compare" aria-label="Which jobs" {
            div { label for="a" { "First" } input #a name="a" list="ids" value=(pair.a) required; }
            div { label for="b" { "Second" } input #b name="b" list="ids" value=(pair.b) required; }
            datalist #ids { @for id in ids { option value=(id) {} } }
            button .primary type="submit" { "Compare" }
        }
        @if let Some(view) = view { div #comparison data-live { (comparison(view)) } }
    }
}

fn comparison(view: &Comparison) -> Markup {
    let differing = view.settings.iter().filter(|setting| setting.differs).count();
    html! {
        @match view.same_model {
            Some(true) => p .callout.good { "Both made the same forest, bit for bit." },
            Some(false) => p .callout.off { "They made different forests." },
            None => p .callout.off { "At least one of them has made no forest." },
        }
        @if view.same_data == Some(false) { p .callout.warn { "They learned from different data." } }
        div .scroll tabindex="0" role="group" aria-label="Comparison" {
            table .list {
                caption { (differing) " of " (view.settings.len()) " settings differ" }
                thead { tr {
                    th scope="col" { "What" }
                    th scope="col" { a href=(format!("/jobs/{}", view.left.id)) { (view.left.id) } }
                    th scope="col" { a href=(format!("/jobs/{}", view.right.id)) { (view.right.id) } }
                    th scope="col" .num { "Change" }
                } }
                tbody {
                    @for setting in &view.settings { (line(setting)) }
                    @for metric in &view.metrics { (measured(metric)) }
                    tr {
                        th scope="row" { "seconds, from event to registered version" }
                        td { (maybe_seconds(view.left.seconds.queued_to_registered)) }
                        td { (maybe_seconds(view.right.seconds.queued_to_registered)) }
                        td {}
                    }
                }
            }
        }
    }
}

fn line(setting: &Difference) -> Markup {
    html! {
        tr .differs[setting.differs] {
            th scope="row" { (setting.name) }
            td .break { (plain(&setting.left)) }
            td .break { (plain(&setting.right)) }
            td .num { @if setting.differs { "differs" } @else { span .dim { "same" } } }
        }
    }
}

fn measured(one: &MetricDifference) -> Markup {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), metric);
    html! {
        tr {
            th scope="row" { (one.name) }
            td { (shown(one.left)) }
            td { (shown(one.right)) }
            td .num { @match one.change {
                Some(change) => { @if change > 0.0 { "+" } (metric(change)) },
                None => "–",
            } }
        }
    }
}
