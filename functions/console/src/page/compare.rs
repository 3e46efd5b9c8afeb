//! Two jobs side by side.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::Problem;

use super::layout::{Section, page};
use super::parts::{metric, plain};
use crate::Ports;
use crate::api::jobs::{self, JobQuery, LIMIT_MAX, Pair};
use crate::respond::{Params, Wants, page_response};
use crate::view::{Comparison, Difference};

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
    let view = jobs::compare(&ports, &pair).await?;
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
    let differing = view.rows.iter().filter(|row| !row.same).count();
    html! {
        @match view.same_model {
            Some(true) => p .callout.good { "Both made the same forest, bit for bit." },
            Some(false) => p .callout.off { "They made different forests." },
            None => p .callout.off { "At least one of them has made no forest." },
        }
        div .scroll tabindex="0" role="region" aria-label="Comparison" {
            table .list {
                caption { (differing) " of " (view.rows.len()) " differ" }
                thead { tr {
                    th scope="col" { "What" }
                    th scope="col" { a href=(format!("/jobs/{}", view.a)) { (view.a) } }
                    th scope="col" { a href=(format!("/jobs/{}", view.b)) { (view.b) } }
                    th scope="col" .num { "Change" }
                } }
                tbody { @for row in &view.rows { (line(row)) } }
            }
        }
    }
}

fn line(row: &Difference) -> Markup {
    html! {
        tr .differs[!row.same] {
            th scope="row" { span .dim { (row.group) } " " (row.name) }
            td .break { (plain(&row.a)) }
            td .break { (plain(&row.b)) }
            td .num { @match row.change.filter(|_| !row.same) {
                Some(change) => { @if change > 0.0 { "+" } (metric(change)) },
                None => @if row.same { span .dim { "same" } } @else { "differs" },
            } }
        }
    }
}
