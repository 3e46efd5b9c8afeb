//! What runs log: metrics, parameters, tags, data sets, models.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::request::{Answer, Ask, Input, Page, Pair, done, float, required, whole};
use crate::run_rows::{RunRow, delete_pair, metric, put_pair};
use crate::store::Store;

/// Limits of one batch, as in MLflow.
const BATCH_METRICS_MAX: usize = 1000;
const BATCH_PARAMS_MAX: usize = 100;
const BATCH_TAGS_MAX: usize = 100;
/// Page sizes of a metric's history.
const HISTORY_DEFAULT: i64 = 25_000;
const HISTORY_MAX: i64 = 25_000;
/// Limits of single values, in characters, as in MLflow.
const KEY_CHARS_MAX: usize = 250;
const PARAM_CHARS_MAX: usize = 6000;
/// Where 2.x clients note models.
const HISTORY_TAG: &str = "mlflow.log-model.history";

#[derive(Deserialize)]
pub(crate) struct Point {
    key: Option<String>,
    #[serde(default, deserialize_with = "float")]
    value: Option<f64>,
    #[serde(default, deserialize_with = "whole")]
    timestamp: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    step: Option<i64>,
    #[serde(default)]
    model_id: String,
    #[serde(default)]
    dataset_name: String,
    #[serde(default)]
    dataset_digest: String,
}

#[derive(Deserialize)]
pub(crate) struct Batch {
    run_id: Option<String>,
    #[serde(default)]
    metrics: Vec<Point>,
    #[serde(default)]
    params: Vec<Pair>,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct OneMetric {
    run_id: Option<String>,
    #[serde(flatten)]
    point: Point,
}

#[derive(Deserialize)]
pub(crate) struct OnePair {
    run_id: Option<String>,
    key: Option<String>,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
pub(crate) struct History {
    run_id: Option<String>,
    run_uuid: Option<String>,
    metric_key: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    max_results: Option<i64>,
    page_token: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Inputs {
    run_id: Option<String>,
    #[serde(default)]
    datasets: Vec<DatasetInput>,
}

#[derive(Deserialize)]
struct DatasetInput {
    #[serde(default)]
    tags: Vec<Pair>,
    dataset: Dataset,
}

#[derive(Deserialize)]
struct Dataset {
    name: Option<String>,
    digest: Option<String>,
    #[serde(default)]
    source_type: String,
    #[serde(default)]
    source: String,
    schema: Option<String>,
    profile: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Outputs {
    run_id: Option<String>,
    #[serde(default)]
    models: Vec<ModelOutput>,
}

#[derive(Deserialize)]
struct ModelOutput {
    model_id: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    step: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct LogModel {
    run_id: Option<String>,
    model_json: Option<String>,
}

pub(crate) async fn batch(State(store): State<Store>, Input(input): Input<Batch>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    for (what, count, limit) in [
        ("metrics", input.metrics.len(), BATCH_METRICS_MAX),
        ("params", input.params.len(), BATCH_PARAMS_MAX),
        ("tags", input.tags.len(), BATCH_TAGS_MAX),
    ] {
        if count > limit {
            return Err(Refusal::invalid(format!(
                "A batch logging request can contain at most {limit} {what}. Got {count} {what}. \
                 Please split up {what} across multiple requests and try again."
            )));
        }
    }
    check_params(&input.params)?;
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            for param in &input.params {
                log_param(tx, &run_id, param)?;
            }
            for (place, point) in input.metrics.iter().enumerate() {
                log_point(tx, &run_id, point, &format!("metrics[{place}]."))?;
            }
            for tag in &input.tags {
                log_tag(tx, &run_id, tag)?;
            }
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn log_metric(State(store): State<Store>, Input(input): Input<OneMetric>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            log_point(tx, &run_id, &input.point, "")
        })
        .await?;
    Ok(done())
}

pub(crate) async fn log_parameter(State(store): State<Store>, Input(input): Input<OnePair>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    let param = Pair { key: required("key", input.key)?, value: input.value };
    check_params(std::slice::from_ref(&param))?;
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            log_param(tx, &run_id, &param)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn set_tag(State(store): State<Store>, Input(input): Input<OnePair>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    let tag = Pair { key: required("key", input.key)?, value: input.value };
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            log_tag(tx, &run_id, &tag)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn delete_tag(State(store): State<Store>, Input(input): Input<OnePair>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    let key = required("key", input.key)?;
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            if delete_pair(tx, "run_tags", &run_id, &key)? {
                return Ok(());
            }
            Err(Refusal::not_found(format!("No tag with name: {key} in run with id {run_id}")))
        })
        .await?;
    Ok(done())
}

pub(crate) async fn history(State(store): State<Store>, Ask(ask): Ask<History>) -> Answer {
    let run_id = required("run_id", ask.run_id.filter(|id| !id.is_empty()).or(ask.run_uuid))?;
    let key = required("metric_key", ask.metric_key)?;
    let page = Page::new(ask.max_results, HISTORY_DEFAULT, HISTORY_MAX, ask.page_token.as_deref())?;
    let points = store
        .read(move |tx| {
            RunRow::known(tx, &run_id)?;
            let mut statement = tx.prepare_cached(
                "SELECT * FROM metrics WHERE run_id = ? AND key = ? ORDER BY timestamp, step, value LIMIT ? OFFSET ?",
            )?;
            let bound = params![run_id, key, page.rows(), page.offset];
            let rows = statement.query_map(bound, |row| metric(row, false))?;
            Ok(rows.collect::<Result<Vec<Value>, _>>()?)
        })
        .await?;
    Ok(Json(page.answer("metrics", points)))
}

pub(crate) async fn inputs(State(store): State<Store>, Input(input): Input<Inputs>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            for DatasetInput { tags, dataset } in input.datasets {
                let name = required("dataset.name", dataset.name)?;
                let digest = required("dataset.digest", dataset.digest)?;
                tx.execute(
                    "INSERT OR IGNORE INTO run_inputs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        run_id,
                        name,
                        digest,
                        dataset.source_type,
                        dataset.source,
                        dataset.schema,
                        dataset.profile,
                        json!(tags).to_string()
                    ],
                )?;
            }
            Ok(())
        })
        .await?;
    Ok(done())
}

/// As in MLflow the second time for the same model is an error: clients must look first.
pub(crate) async fn outputs(State(store): State<Store>, Input(input): Input<Outputs>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            for ModelOutput { model_id, step } in input.models {
                let model_id = required("models.model_id", model_id)?;
                let change = params![run_id, model_id, step.unwrap_or(0)];
                if tx.execute("INSERT OR IGNORE INTO run_outputs VALUES (?, ?, ?)", change)? == 0 {
                    return Err(Refusal::bad_request(format!(
                        "UNIQUE constraint failed: run {run_id} has the output {model_id} already"
                    )));
                }
            }
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn log_model(State(store): State<Store>, Input(input): Input<LogModel>) -> Answer {
    let run_id = required("run_id", input.run_id)?;
    let text = required("model_json", input.model_json)?;
    let model: Value = serde_json::from_str(&text)
        .map_err(|error| Refusal::invalid(format!("Malformed model info, it is not JSON: {error}")))?;
    let missing: Vec<&str> = ["artifact_path", "flavors", "utc_time_created", "run_id"]
        .into_iter()
        .filter(|field| model.get(field).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::invalid(format!("Model json is missing mandatory fields: {}", missing.join(", "))));
    }
    store
        .write(move |tx| {
            RunRow::active(tx, &run_id)?;
            let known: Option<String> = tx
                .query_row("SELECT value FROM run_tags WHERE owner = ? AND key = ?", [&run_id, HISTORY_TAG], |row| {
                    row.get(0)
                })
                .optional()?;
            let mut models: Vec<Value> = known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            models.push(model);
            let tag = Pair { key: HISTORY_TAG.to_owned(), value: Value::from(models).to_string() };
            put_pair(tx, "run_tags", &run_id, &tag)
        })
        .await?;
    Ok(done())
}

fn log_tag(tx: &Transaction<'_>, run_id: &str, tag: &Pair) -> Result<(), Refusal> {
    check_key("tag", &tag.key)?;
    if tag.key == "mlflow.runName" {
        tx.execute("UPDATE runs SET name = ? WHERE run_id = ?", [&tag.value, run_id])?;
    }
    put_pair(tx, "run_tags", run_id, tag)
}

/// A parameter is written once; the same value again is no change. Of long values MLflow keeps the beginning.
fn log_param(tx: &Transaction<'_>, run_id: &str, param: &Pair) -> Result<(), Refusal> {
    let param = &Pair { key: param.key.clone(), value: param.value.chars().take(PARAM_CHARS_MAX).collect() };
    let known: Option<String> = tx
        .prepare_cached("SELECT value FROM run_params WHERE owner = ? AND key = ?")?
        .query_row([run_id, &param.key], |row| row.get(0))
        .optional()?;
    match known {
        None => put_pair(tx, "run_params", run_id, param),
        Some(value) if value == param.value => Ok(()),
        Some(value) => Err(Refusal::invalid(format!(
            "Changing param values is not allowed. Param with key='{}' was already logged with value='{value}' \
             for run ID='{run_id}'. Attempted logging new value '{}'.",
            param.key, param.value
        ))),
    }
}

fn check_params(params: &[Pair]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for param in params {
        check_key("param", &param.key)?;
        if !seen.insert(&param.key) {
            return Err(Refusal::invalid(format!(
                "Duplicate parameter keys have been submitted: ['{}']. \
                 Please ensure the request contains only one param value per param key.",
                param.key
            )));
        }
    }
    Ok(())
}

fn log_point(tx: &Transaction<'_>, run_id: &str, point: &Point, place: &str) -> Result<(), Refusal> {
    let key = required(&format!("{place}key"), point.key.clone())?;
    check_key("metric", &key)?;
    let value = point.value.ok_or_else(|| Refusal::missing_parameter(&format!("{place}value")))?;
    let timestamp = point.timestamp.ok_or_else(|| Refusal::missing_parameter(&format!("{place}timestamp")))?;
    // SQLite has no NaN: it would become NULL, and two NULLs are never the same point.
    let (value, is_nan) = if value.is_nan() { (0.0, true) } else { (value, false) };
    tx.prepare_cached("INSERT OR IGNORE INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(params![
        run_id,
        key,
        point.step.unwrap_or(0),
        timestamp,
        value,
        is_nan,
        point.model_id,
        point.dataset_name,
        point.dataset_digest
    ])?;
    Ok(())
}

/// MLflow's rule for names of metrics, parameters and tags.
fn check_key(what: &str, key: &str) -> Result<(), Refusal> {
    let allowed = |character: char| character.is_alphanumeric() || "_-. :/".contains(character);
    if key.is_empty() || !key.chars().all(allowed) {
        return Err(Refusal::invalid(format!(
            "Invalid value \"{key}\" for the name of a {what}: Names may only contain alphanumerics, underscores (_), \
             dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        )));
    }
    if key.chars().count() > KEY_CHARS_MAX {
        return Err(Refusal::invalid(format!("The name of a {what} exceeds {KEY_CHARS_MAX} characters")));
    }
    Ok(())
}
