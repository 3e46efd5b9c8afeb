//! Runs: creating, finding, ending.

use axum::Json;
use axum::extract::State;
use rusqlite::params;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::experiments::{known, lifecycle};
use crate::request::{Answer, Ask, Input, Page, Pair, done, identity, required, whole};
use crate::run_rows::{RunRow, put_pair};
use crate::search::{Searchable, select};
use crate::store::Store;

const RUNS_DEFAULT: i64 = 1000;
const RUNS_MAX: i64 = 50_000;
const RUN_NAME_TAG: &str = "mlflow.runName";

const RUNS: Searchable = Searchable {
    attributes: &[
        ("run_id", "runs.run_id"),
        ("run_name", "runs.name"),
        ("run name", "runs.name"),
        ("status", "runs.status"),
        ("start_time", "runs.start_time"),
        ("created", "runs.start_time"),
        ("end_time", "runs.end_time"),
        ("user_id", "runs.user_id"),
        ("artifact_uri", "('mlflow-artifacts:/' || runs.experiment_id || '/' || runs.run_id || '/artifacts')"),
    ],
    owner: "runs.run_id",
    tags: "run_tags",
    params: Some("run_params"),
    metrics: true,
    absent_differs: false,
};

#[derive(Deserialize)]
pub(crate) struct Create {
    #[serde(default, deserialize_with = "identity")]
    experiment_id: Option<String>,
    #[serde(default)]
    run_name: String,
    #[serde(default)]
    user_id: String,
    #[serde(default, deserialize_with = "whole")]
    start_time: Option<i64>,
    #[serde(default)]
    tags: Vec<Pair>,
}

/// Old clients say `run_uuid`.
#[derive(Deserialize)]
pub(crate) struct ById {
    run_id: Option<String>,
    run_uuid: Option<String>,
}

impl ById {
    fn id(self) -> Result<String, Refusal> {
        required("run_id", self.run_id.filter(|id| !id.is_empty()).or(self.run_uuid))
    }
}

#[derive(Deserialize)]
pub(crate) struct Update {
    run_id: Option<String>,
    run_uuid: Option<String>,
    status: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    end_time: Option<i64>,
    run_name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    experiment_ids: Vec<String>,
    #[serde(default)]
    filter: String,
    run_view_type: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    max_results: Option<i64>,
    #[serde(default)]
    order_by: Vec<String>,
    page_token: Option<String>,
}

pub(crate) async fn create(State(store): State<Store>, Input(input): Input<Create>) -> Answer {
    let experiment_id = input.experiment_id.filter(|id| !id.is_empty()).unwrap_or_else(|| "0".to_owned());
    let run = store
        .write(move |tx| {
            let experiment_id = known(tx, &experiment_id)?;
            let run_id = uuid::Uuid::new_v4().simple().to_string();
            let named = input.tags.iter().find(|tag| tag.key == RUN_NAME_TAG).map(|tag| tag.value.clone());
            let name = Some(input.run_name)
                .filter(|name| !name.is_empty())
                .or(named)
                .unwrap_or_else(|| format!("run-{}", run_id.chars().take(8).collect::<String>()));
            tx.execute(
                "INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_time) \
                 VALUES (?, ?, ?, ?, 'RUNNING', ?)",
                params![run_id, experiment_id, name, input.user_id, input.start_time.unwrap_or(0)],
            )?;
            for tag in &input.tags {
                put_pair(tx, "run_tags", &run_id, tag)?;
            }
            put_pair(tx, "run_tags", &run_id, &Pair { key: RUN_NAME_TAG.to_owned(), value: name })?;
            RunRow::known(tx, &run_id)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"run": run})))
}

pub(crate) async fn get(State(store): State<Store>, Ask(ask): Ask<ById>) -> Answer {
    let id = ask.id()?;
    let run = store.read(move |tx| RunRow::known(tx, &id)?.json(tx)).await?;
    Ok(Json(json!({"run": run})))
}

pub(crate) async fn update(State(store): State<Store>, Input(input): Input<Update>) -> Answer {
    let id = ById { run_id: input.run_id, run_uuid: input.run_uuid }.id()?;
    if let Some(status) = input.status.as_deref()
        && !matches!(status, "RUNNING" | "SCHEDULED" | "FINISHED" | "FAILED" | "KILLED")
    {
        return Err(Refusal::invalid(format!("Invalid run status '{status}'")));
    }
    let info = store
        .write(move |tx| {
            RunRow::active(tx, &id)?;
            tx.execute(
                "UPDATE runs SET status = coalesce(?, status), end_time = coalesce(?, end_time), \
                 name = coalesce(?, name) WHERE run_id = ?",
                params![input.status, input.end_time, input.run_name, id],
            )?;
            if let Some(name) = input.run_name {
                put_pair(tx, "run_tags", &id, &Pair { key: RUN_NAME_TAG.to_owned(), value: name })?;
            }
            Ok(RunRow::known(tx, &id)?.info())
        })
        .await?;
    Ok(Json(json!({"run_info": info})))
}

pub(crate) async fn delete(State(store): State<Store>, Input(input): Input<ById>) -> Answer {
    set_lifecycle(store, input, "deleted").await
}

pub(crate) async fn restore(State(store): State<Store>, Input(input): Input<ById>) -> Answer {
    set_lifecycle(store, input, "active").await
}

async fn set_lifecycle(store: Store, input: ById, lifecycle: &'static str) -> Answer {
    let id = input.id()?;
    store
        .write(move |tx| {
            RunRow::known(tx, &id)?;
            tx.execute("UPDATE runs SET lifecycle = ? WHERE run_id = ?", params![lifecycle, id])?;
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn search(State(store): State<Store>, Input(input): Input<Search>) -> Answer {
    let page = Page::new(input.max_results, RUNS_DEFAULT, RUNS_MAX, input.page_token.as_deref())?;
    let mut condition = RUNS.filter(&input.filter)?;
    condition.and(&lifecycle(input.run_view_type.as_deref(), "runs.lifecycle")?, []);
    let places = vec!["?"; input.experiment_ids.len()].join(", ");
    // An id that is no number names no experiment.
    let ids = input.experiment_ids.into_iter().map(|id| id.parse().unwrap_or(-1).into());
    condition.and(&format!("runs.experiment_id IN ({places})"), ids);
    let order = RUNS.order(&input.order_by, "runs.start_time DESC, runs.run_id")?;
    let found = store
        .read(move |tx| {
            let rows = select(tx, "runs", condition, order, page, RunRow::read)?;
            rows.iter().map(|row| row.json(tx)).collect::<Result<Vec<Value>, Refusal>>()
        })
        .await?;
    Ok(Json(page.answer("runs", found)))
}
