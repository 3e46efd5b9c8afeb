//! One sweep: its trials, their scores, the best of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_events::event::TrialResult;
use regrove_host::{Path, Problem};
use regrove_jobs::SweepView;

use super::layout::{Section, form_key, page};
use super::parts::{fact, metric, model_href, notice, plain, progress, state, time};
use crate::respond::Wants;
use crate::{Ports, action};

pub(super) async fn show(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = wants.name(&id);
    action::check_id(id)?;
    let view = ports.jobs.show_sweep(id).await.map_err(action::refused)?;
    Ok(wants.answer(&view, |view| page(&wants, Section::Jobs, &view.id, &body(&wants, view))))
}

fn body(wants: &Wants, sweep: &SweepView) -> Markup {
    let done = sweep.trials.iter().filter(|trial| trial.state.is_terminal()).count();
    html! {
        p .eyebrow { a href="/jobs" { "Jobs" } }
        h1 .code { (sweep.id) }
        (notice(wants))
        div #sweep data-live {
            @if sweep.completed.is_none() {
                form .inline method="post" action=(format!("/jobs/{}/stop", sweep.id)) {
                    (form_key(&wants.csrf)) button #stop .danger type="submit" { "Stop" }
                }
            }
            dl .facts {
                (fact("Trials", &html! { (done) " of " (sweep.size) " done" }))
                (fact("Asked for", &html! { (time(sweep.requested_at)) }))
                (fact("Ended", &html! { (time(sweep.ended_at)) }))
                (fact("Best", &best(sweep)))
            }
            (trials(sweep))
        }
    }
}

fn best(sweep: &SweepView) -> Markup {
    let reason = sweep.completed.as_ref().and_then(|completed| completed.reason.as_deref());
    html! {
        @match sweep.best() {
            Some(best) => {
                a href=(format!("/jobs/{}", best.id)) { (best.id) }
                @if let Some(model) = &best.model {
                    p .dim { a href=(model_href(&model.name)) { (model.name) " v" (model.version) } }
                }
            },
            None => span .dim { (reason.unwrap_or("–")) },
        }
    }
}

fn trials(sweep: &SweepView) -> Markup {
    let results: BTreeMap<&str, &TrialResult> = sweep
        .completed
        .iter()
        .flat_map(|completed| &completed.trials)
        .map(|result| (result.job.as_str(), result))
        .collect();
    html! {
        div .scroll tabindex="0" role="group" aria-label="Trials" {
            table .list {
                thead { tr {
                    th scope="col" { "Trial" } th scope="col" { "State" } th scope="col" { "Trees" }
                    th scope="col" { "Settings" } th scope="col" .num { "Score" }
                } }
                tbody { @for trial in &sweep.trials {
                    @let result = results.get(trial.id.as_str());
                    tr {
                        th scope="row" { a href=(format!("/jobs/{}", trial.id)) { (trial.id) } }
                        td { (state(trial.state)) }
                        td { (progress(trial)) }
                        td { @if let Some(result) = result {
                            ul .params { @for (name, value) in &result.params { li { code { (name) "=" (plain(value)) } } } }
                        } @else { span .dim { "–" } } }
                        td .num { @match result.and_then(|result| result.score) { Some(score) => (metric(score)), None => "–" } }
                    }
                } }
            }
        }
    }
}
