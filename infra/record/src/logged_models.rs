//! Logged models: models with their own identity and files.

use axum::Json;
use axum::extract::{Path, State};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::experiments::known;
use crate::request::{Answer, Input, Page, Pair, done, identity, put_items, required, whole};
use crate::run_rows::{delete_pair, metric, pairs, put_pair};
use crate::search::{Searchable, select};
use crate::store::{Store, now_ms};

const MODELS_DEFAULT: i64 = 50;
const MODELS_MAX: i64 = 1000;

const MODELS: Searchable = Searchable {
    attributes: &[
        ("name", "name"),
        ("model_id", "model_id"),
        ("model_type", "model_type"),
        ("source_run_id", "source_run_id"),
        ("status", "status"),
        ("experiment_id", "experiment_id"),
        ("creation_timestamp", "created"),
        ("creation_time", "created"),
        ("last_updated_timestamp", "updated"),
    ],
    owner: "logged_models.model_id",
    tags: "logged_model_tags",
    params: Some("logged_model_params"),
    metrics: false,
    absent_differs: false,
};

#[derive(Deserialize)]
pub(crate) struct Create {
    #[serde(default, deserialize_with = "identity")]
    experiment_id: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    source_run_id: String,
    #[serde(default)]
    params: Vec<Pair>,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct Finalize {
    model_id: Option<String>,
    status: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Tags {
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct Params {
    #[serde(default)]
    params: Vec<Pair>,
}

#[derive(Deserialize)]
struct OrderBy {
    field_name: String,
    ascending: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    experiment_ids: Vec<String>,
    #[serde(default)]
    filter: String,
    #[serde(default, deserialize_with = "whole")]
    max_results: Option<i64>,
    #[serde(default)]
    order_by: Vec<OrderBy>,
    page_token: Option<String>,
}

pub(crate) async fn create(State(store): State<Store>, Input(input): Input<Create>) -> Answer {
    let experiment_id = required("experiment_id", input.experiment_id)?;
    if input.name.contains(['/', ':', '.', '%', '"', '\'']) {
        return Err(Refusal::invalid(format!(
            "Invalid model name ('{}') provided. Model name must be a non-empty string and cannot contain the following \
             characters: ('/', ':', '.', '%', '\"', \"'\")",
            input.name
        )));
    }
    let model = store
        .write(move |tx| {
            let experiment_id = known(tx, &experiment_id)?;
            let model_id = format!("m-{}", uuid::Uuid::new_v4().simple());
            let name = if input.name.is_empty() { &model_id } else { &input.name };
            tx.execute(
                "INSERT INTO logged_models \
                 (model_id, experiment_id, name, model_type, source_run_id, status, created, updated) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 'LOGGED_MODEL_PENDING', ?6, ?6)",
                params![model_id, experiment_id, name, input.model_type, input.source_run_id, now_ms()],
            )?;
            for param in &input.params {
                put_pair(tx, "logged_model_params", &model_id, param)?;
            }
            for tag in &input.tags {
                put_pair(tx, "logged_model_tags", &model_id, tag)?;
            }
            LoggedModel::known(tx, &model_id)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"model": model})))
}

pub(crate) async fn get(State(store): State<Store>, Path(model_id): Path<String>) -> Answer {
    let model = store.read(move |tx| LoggedModel::known(tx, &model_id)?.json(tx)).await?;
    Ok(Json(json!({"model": model})))
}

pub(crate) async fn finalize(
    State(store): State<Store>,
    Path(model_id): Path<String>,
    Input(input): Input<Finalize>,
) -> Answer {
    required("model_id", input.model_id)?;
    let status = required("status", input.status)?;
    if !matches!(status.as_str(), "LOGGED_MODEL_PENDING" | "LOGGED_MODEL_READY" | "LOGGED_MODEL_UPLOAD_FAILED") {
        return Err(Refusal::invalid(format!("Invalid model status '{status}'")));
    }
    let model = store
        .write(move |tx| {
            LoggedModel::known(tx, &model_id)?;
            let change = params![status, now_ms(), model_id];
            tx.execute("UPDATE logged_models SET status = ?, updated = ? WHERE model_id = ?", change)?;
            LoggedModel::known(tx, &model_id)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"model": model})))
}

pub(crate) async fn delete(State(store): State<Store>, Path(model_id): Path<String>) -> Answer {
    store
        .write(move |tx| {
            let change = params![now_ms(), model_id];
            let sql = "UPDATE logged_models SET lifecycle = 'deleted', updated = ? WHERE model_id = ?";
            if tx.execute(sql, change)? == 0 {
                return Err(missing(&model_id));
            }
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn set_tags(
    State(store): State<Store>,
    Path(model_id): Path<String>,
    Input(input): Input<Tags>,
) -> Answer {
    put_all(store, model_id, "logged_model_tags", input.tags).await
}

pub(crate) async fn set_params(
    State(store): State<Store>,
    Path(model_id): Path<String>,
    Input(input): Input<Params>,
) -> Answer {
    put_all(store, model_id, "logged_model_params", input.params).await
}

async fn put_all(store: Store, model_id: String, table: &'static str, items: Vec<Pair>) -> Answer {
    store
        .write(move |tx| {
            LoggedModel::known(tx, &model_id)?;
            items.iter().try_for_each(|pair| put_pair(tx, table, &model_id, pair))
        })
        .await?;
    Ok(done())
}

pub(crate) async fn delete_tag(State(store): State<Store>, Path((model_id, key)): Path<(String, String)>) -> Answer {
    store
        .write(move |tx| {
            LoggedModel::known(tx, &model_id)?;
            if delete_pair(tx, "logged_model_tags", &model_id, &key)? {
                return Ok(());
            }
            Err(Refusal::not_found(format!("No tag with key {key:?} found for model with ID {model_id:?}.")))
        })
        .await?;
    Ok(done())
}

pub(crate) async fn search(State(store): State<Store>, Input(input): Input<Search>) -> Answer {
    let page = Page::new(input.max_results, MODELS_DEFAULT, MODELS_MAX, input.page_token.as_deref())?;
    let mut condition = MODELS.filter(&input.filter)?;
    condition.and("lifecycle = 'active'", []);
    let places = vec!["?"; input.experiment_ids.len()].join(", ");
    let ids = input.experiment_ids.into_iter().map(|id| id.parse().unwrap_or(-1).into());
    condition.and(&format!("experiment_id IN ({places})"), ids);
    let orders: Vec<String> = input
        .order_by
        .into_iter()
        .map(|order| format!("{} {}", order.field_name, if order.ascending == Some(false) { "DESC" } else { "ASC" }))
        .collect();
    let order = MODELS.order(&orders, "created DESC, model_id")?;
    let found = store
        .read(move |tx| {
            let rows = select(tx, "logged_models", condition, order, page, LoggedModel::read)?;
            rows.iter().map(|row| row.json(tx)).collect::<Result<Vec<Value>, Refusal>>()
        })
        .await?;
    Ok(Json(page.answer("models", found)))
}

fn missing(model_id: &str) -> Refusal {
    Refusal::not_found(format!("Logged model with ID '{model_id}' not found."))
}

/// The row of a logged model.
pub(crate) struct LoggedModel {
    model_id: String,
    experiment_id: i64,
    name: String,
    model_type: String,
    pub(crate) source_run_id: String,
    status: String,
    created: i64,
    updated: i64,
}

impl LoggedModel {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            model_id: row.get("model_id")?,
            experiment_id: row.get("experiment_id")?,
            name: row.get("name")?,
            model_type: row.get("model_type")?,
            source_run_id: row.get("source_run_id")?,
            status: row.get("status")?,
            created: row.get("created")?,
            updated: row.get("updated")?,
        })
    }

    /// A logged model that exists and is not deleted.
    pub(crate) fn known(tx: &Transaction<'_>, model_id: &str) -> Result<Self, Refusal> {
        let sql = "SELECT * FROM logged_models WHERE model_id = ? AND lifecycle = 'active'";
        tx.query_row(sql, [model_id], Self::read).optional()?.ok_or_else(|| missing(model_id))
    }

    pub(crate) fn artifact_uri(&self) -> String {
        format!("mlflow-artifacts:/{}/models/{}/artifacts", self.experiment_id, self.model_id)
    }

    fn json(&self, tx: &Transaction<'_>) -> Result<Value, Refusal> {
        let mut info = Map::new();
        for (name, text) in [
            ("model_id", &self.model_id),
            ("experiment_id", &self.experiment_id.to_string()),
            ("name", &self.name),
            ("artifact_uri", &self.artifact_uri()),
            ("status", &self.status),
            ("model_type", &self.model_type),
            ("source_run_id", &self.source_run_id),
        ] {
            info.insert(name.to_owned(), text.as_str().into());
        }
        info.insert("creation_timestamp_ms".to_owned(), self.created.into());
        info.insert("last_updated_timestamp_ms".to_owned(), self.updated.into());
        put_items(&mut info, "tags", pairs(tx, "logged_model_tags", &self.model_id)?);
        let mut data = Map::new();
        put_items(&mut data, "params", pairs(tx, "logged_model_params", &self.model_id)?);
        put_items(&mut data, "metrics", self.metrics(tx)?);
        Ok(json!({"info": info, "data": data}))
    }

    fn metrics(&self, tx: &Transaction<'_>) -> Result<Vec<Value>, Refusal> {
        let mut statement = tx.prepare_cached(
            "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY run_id, key, dataset_name, dataset_digest \
             ORDER BY step DESC, timestamp DESC, value DESC) AS place FROM metrics WHERE model_id = ? AND model_id <> '') \
             WHERE place = 1 ORDER BY key, run_id",
        )?;
        let rows = statement.query_map([&self.model_id], |row| metric(row, true))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
