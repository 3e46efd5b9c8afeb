//! The list of models.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::Problem;

use super::layout::{Section, page};
use super::parts::{empty, model_href, unavailable};
use crate::Ports;
use crate::api::models::{self, ModelList};
use crate::respond::Wants;

pub(super) async fn list(State(ports): State<Arc<Ports>>, wants: Wants) -> Result<Response, Problem> {
    let list = models::list(&ports).await?;
    Ok(wants.answer(&list, |list| page(&wants, Section::Models, "Models", &body(list))))
}

fn body(list: &ModelList) -> Markup {
    html! {
        h1 { "Models" }
        div #models data-live {
            @if let Some(reason) = &list.unavailable {
                (unavailable(&format!("MLflow was not asked, so only models of this log are shown: {reason}")))
            }
            @if list.models.is_empty() {
                (empty("No models yet", &html! { "A job registers one when it has succeeded: " a href="/jobs/new" { "New job" } "." }))
            } @else {
                div .scroll tabindex="0" role="group" aria-label="Models" {
                    table .list {
                        thead { tr {
                            th scope="col" { "Model" } th scope="col" { "Served" } th scope="col" { "Latest" } th scope="col" { "Aliases" }
                        } }
                        tbody { @for model in &list.models {
                            tr {
                                th scope="row" { a href=(model_href(&model.name)) { (model.name) } }
                                td { @match &model.served {
                                    Some(version) => span .state.state-succeeded { "v" (version) },
                                    None => span .dim { "nothing" },
                                } }
                                td { @match &model.latest { Some(version) => { "v" (version) }, None => "–" } }
                                td { @for (alias, version) in &model.aliases { span .tag { (alias) " → v" (version) } " " } }
                            }
                        } }
                    }
                }
            }
        }
    }
}
