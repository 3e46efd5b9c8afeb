//! `predict` answers from the model that the serving pointer names.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /predict` `{"features": [[…], …]}` | `predictions`, `probabilities`, `model_version`, `timestamp` |
//! | `GET /model/info` | what is served |
//! | `POST /models/{name}/predict`, `GET /models/{name}/info` | the same for a model by name |

pub mod models;
pub mod rows;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use http::HeaderMap;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use regrove_forest::Label;
use regrove_host::{Problem, now};
use serde::Serialize;
use serde_json::{Value, json};

use crate::models::{Models, Served};

/// Rows from which the kernel runs on a thread of its own, so that it does not hold up other requests.
const BLOCKING_ROWS: usize = 2_000;

/// What this function reaches for.
#[derive(Debug)]
pub struct Ports {
    /// The models in service.
    pub models: Models,
    /// The model that `/predict` means.
    pub model_name: String,
}

/// The answer of `POST /predict`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The most probable class of each row.
    pub predictions: Vec<Label>,
    /// Per row the probability of each class, in the order of the classes.
    pub probabilities: Vec<Vec<f64>>,
    /// The version that answered, as MLflow writes it.
    pub model_version: String,
    /// When, RFC 3339.
    pub timestamp: String,
}

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    Router::new()
        .route("/predict", post(predict_default))
        .route("/model/info", get(info_default))
        .route("/models/{name}/predict", post(predict_named))
        .route("/models/{name}/info", get(info_named))
        .with_state(Arc::new(ports))
}

async fn predict_default(
    State(ports): State<Arc<Ports>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Prediction>, Problem> {
    predict(&ports, &ports.model_name, &headers, &body).await
}

async fn predict_named(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Prediction>, Problem> {
    predict(&ports, &name, &headers, &body).await
}

async fn info_default(State(ports): State<Arc<Ports>>) -> Result<Json<Value>, Problem> {
    Ok(Json(info(&*ports.models.get(&ports.model_name).await?)))
}

async fn info_named(State(ports): State<Arc<Ports>>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(info(&*ports.models.get(&name).await?)))
}

async fn predict(ports: &Ports, name: &str, headers: &HeaderMap, body: &[u8]) -> Result<Json<Prediction>, Problem> {
    check_content_type(headers)?;
    let served = ports.models.get(name).await?;
    let rows = rows::parse(body, served.model.n_features())?;
    let version = served.loaded.version.clone();
    let (labels, proba) = if rows.n_rows >= BLOCKING_ROWS {
        tokio::task::spawn_blocking(move || answer(&served, &rows))
            .await
            .map_err(|error| Problem::internal(&error))??
    } else {
        answer(&served, &rows)?
    };
    Ok(Json(Prediction {
        predictions: labels,
        probabilities: proba,
        model_version: version,
        timestamp: now().to_string(),
    }))
}

fn answer(served: &Served, rows: &rows::Rows) -> Result<(Vec<Label>, Vec<Vec<f64>>), Problem> {
    let model = &served.model;
    let k = model.n_classes();
    let mut proba = vec![0.0; rows.n_rows * k];
    model.predict_proba_rows(&rows.values, rows.n_rows, &mut proba).map_err(|error| Problem::internal(&error))?;
    let labels = proba.chunks_exact(k).filter_map(|row| model.classes().get(first_largest(row)).cloned()).collect();
    Ok((labels, proba.chunks_exact(k).map(<[f64]>::to_vec).collect()))
}

/// Ties go to the first class, as scikit-learn's `argmax` has it.
fn first_largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if row.get(best).is_some_and(|so_far| value > so_far) {
            best = class;
        }
    }
    best
}

/// The reference stack refuses a body without a JSON content type like one that is not JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let detail = format!("Content-Type is `{given}`, expected application/json");
    Err(Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail))
}

fn info(served: &Served) -> Value {
    let Served { loaded, model } = served;
    json!({
        "model_loaded": true,
        "model_info": loaded.info(),
        "sha256": loaded.model.sha256,
        "n_features": model.n_features(),
        "feature_names": model.feature_names(),
        "classes": model.classes(),
        "n_estimators": model.n_trees(),
        "timestamp": now().to_string(),
    })
}
