//! The form that asks for a job.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;

use super::layout::{Section, form_key, page};
use crate::respond::Wants;

/// A data set that needs no file: scikit-learn's synthetic one.
const EXAMPLE_DATA: &str =
    "synthetic:make_classification?n_samples=2500&n_features=20&n_informative=10&random_state=42";

pub(super) async fn ask(wants: Wants) -> Response {
    // What the form begins with, as the body of `POST /api/jobs`.
    let example = json!({
        "dataset": {"uri": EXAMPLE_DATA, "target": "target"},
        "params": {"n_estimators": 100, "random_state": 42},
        "shards": 4,
        "test_size": 0.2,
        "experiment": "regrove",
    });
    wants.answer(&example, |_| form(&wants))
}

fn form(wants: &Wants) -> Markup {
    page(
        wants,
        Section::Jobs,
        "New job",
        &html! {
            p .eyebrow { a href="/jobs" { "Jobs" } }
            h1 { "New job" }
            form .stack method="post" action="/jobs" {
                (form_key(&wants.csrf))
                div {
                    label for="uri" { "Data set" }
                    input #uri name="uri" required value=(EXAMPLE_DATA) aria-describedby="uri-hint";
                    p #uri-hint .dim { "A URI that the functions can read, such as " code { "file:///data/iris.csv" } "." }
                }
                div { label for="target" { "Target column" } input #target name="target" value="target"; }
                div {
                    label for="params" { "Parameters, as JSON" }
                    textarea #params name="params" rows="4" spellcheck="false" aria-describedby="params-hint" { "{\"n_estimators\": 100, \"random_state\": 42}" }
                    p #params-hint .dim { "scikit-learn's names; what is left out has scikit-learn's default." }
                }
                div .pair {
                    div { label for="shards" { "Shards" } input #shards name="shards" type="number" min="1" max="1024" value="4"; }
                    div { label for="test_size" { "Share held out" } input #test_size name="test_size" type="number" min="0" max="0.99" step="0.01" value="0.2"; }
                }
                div {
                    label for="shard_by" { "Shards divide" }
                    select #shard_by name="shard_by" aria-describedby="shard_by-hint" {
                        option value="trees" selected { "the trees" }
                        option value="rows" { "the rows" }
                    }
                    p #shard_by-hint .dim { "Rows: for data larger than one worker. Each shard grows its trees on a part of the rows, which makes another model than scikit-learn's." }
                }
                div .pair {
                    div { label for="model" { "Registered model" } input #model name="model" placeholder="that of the estimator"; }
                    div { label for="alias" { "Alias" } input #alias name="alias" placeholder="champion"; }
                }
                div .pair {
                    div { label for="experiment" { "MLflow experiment" } input #experiment name="experiment" value="regrove"; }
                    div { label for="id" { "Job id" } input #id name="id" placeholder="made up when empty" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]{0,127}"; }
                }
                div .actions { button #submit .primary type="submit" { "Start" } a .button href="/jobs" { "Cancel" } }
            }
        },
    )
}
