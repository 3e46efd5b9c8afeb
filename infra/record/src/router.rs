//! Which path answers what.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::request::{Answer, Ask, put_items, required};
use crate::run_rows::RunRow;
use crate::store::Store;
use crate::{artifacts, experiments, logged_models, logging, registry, runs, versions};

/// The MLflow version whose API this server speaks, and which it names when asked.
pub const COMPATIBLE_MLFLOW_VERSION: &str = "3.17.2";

/// The server as a router. Paths are those of MLflow: `/api/2.0/mlflow/…`, `/api/2.0/mlflow-artifacts/artifacts/…`,
/// `/health`, `/version`.
///
/// It answers only to names of this machine: `localhost`, names below it, and IP addresses, so that no web page can
/// reach it through a name of its own that resolves to loopback.
pub fn router(store: Store) -> Router {
    let api = Router::new().merge(tracking()).merge(registration());
    Router::new()
        .nest("/api/2.0/mlflow", api.clone())
        // The path that pages and some clients use for the same calls.
        .nest("/ajax-api/2.0/mlflow", api)
        .nest("/api/2.0/mlflow-artifacts", files())
        .route("/health", get(|| async { "OK" }))
        .route("/version", get(|| async { COMPATIBLE_MLFLOW_VERSION }))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(known_host))
        .layer(DefaultBodyLimit::disable()) // each reader of a body has its own limit
        .with_state(store)
}

fn tracking() -> Router<Store> {
    Router::new()
        .route("/experiments/create", post(experiments::create))
        .route("/experiments/get", get(experiments::get))
        .route("/experiments/get-by-name", get(experiments::get_by_name))
        .route("/experiments/search", post(experiments::search).get(experiments::search_by_query))
        .route("/experiments/set-experiment-tag", post(experiments::set_tag))
        .route("/experiments/delete", post(experiments::delete))
        .route("/experiments/restore", post(experiments::restore))
        .route("/runs/create", post(runs::create))
        .route("/runs/get", get(runs::get))
        .route("/runs/update", post(runs::update))
        .route("/runs/delete", post(runs::delete))
        .route("/runs/restore", post(runs::restore))
        .route("/runs/search", post(runs::search))
        .route("/runs/log-batch", post(logging::batch))
        .route("/runs/log-metric", post(logging::log_metric))
        .route("/runs/log-parameter", post(logging::log_parameter))
        .route("/runs/set-tag", post(logging::set_tag))
        .route("/runs/delete-tag", post(logging::delete_tag))
        .route("/runs/log-inputs", post(logging::inputs))
        .route("/runs/outputs", post(logging::outputs))
        .route("/runs/log-model", post(logging::log_model))
        .route("/metrics/get-history", get(logging::history))
        .route("/artifacts/list", get(list_of_run))
        .route("/logged-models", post(logged_models::create))
        .route("/logged-models/search", post(logged_models::search))
        .route(
            "/logged-models/{model_id}",
            get(logged_models::get).patch(logged_models::finalize).delete(logged_models::delete),
        )
        .route("/logged-models/{model_id}/tags", patch(logged_models::set_tags))
        .route("/logged-models/{model_id}/tags/{key}", delete(logged_models::delete_tag))
        .route("/logged-models/{model_id}/params", post(logged_models::set_params))
}

fn registration() -> Router<Store> {
    Router::new()
        .route("/registered-models/create", post(registry::create))
        .route("/registered-models/get", get(registry::get))
        .route("/registered-models/search", get(registry::search))
        .route("/registered-models/update", patch(registry::update))
        .route("/registered-models/rename", post(registry::rename))
        .route("/registered-models/delete", delete(registry::delete))
        .route("/registered-models/set-tag", post(registry::set_tag))
        .route("/registered-models/delete-tag", delete(registry::delete_tag))
        .route("/registered-models/get-latest-versions", post(registry::latest).get(registry::latest_by_query))
        .route(
            "/registered-models/alias",
            post(registry::set_alias).get(registry::get_alias).delete(registry::delete_alias),
        )
        .route("/model-versions/create", post(versions::create))
        .route("/model-versions/get", get(versions::get))
        .route("/model-versions/get-download-uri", get(versions::download_uri))
        .route("/model-versions/search", get(versions::search))
        .route("/model-versions/update", patch(versions::update))
        .route("/model-versions/delete", delete(versions::delete))
        .route("/model-versions/set-tag", post(versions::set_tag))
        .route("/model-versions/delete-tag", delete(versions::delete_tag))
}

fn files() -> Router<Store> {
    Router::new()
        .route("/artifacts", get(artifacts::list))
        .route("/artifacts/{*path}", put(artifacts::put).get(artifacts::get).delete(artifacts::delete))
}

#[derive(Deserialize)]
struct ListOfRun {
    run_id: Option<String>,
    run_uuid: Option<String>,
    #[serde(default)]
    path: String,
}

/// The files of a run; paths are relative to the run's root, not to the listed folder.
async fn list_of_run(State(store): State<Store>, Ask(ask): Ask<ListOfRun>) -> Answer {
    let run_id = required("run_id", ask.run_id.filter(|id| !id.is_empty()).or(ask.run_uuid))?;
    let root_uri = store.read(move |tx| Ok(RunRow::known(tx, &run_id)?.artifact_uri())).await?;
    let root = root_uri.trim_start_matches("mlflow-artifacts:/");
    let folder = artifacts::below(store.files(), &format!("{root}/{}", ask.path))?;
    let mut files = artifacts::files_in(&folder).await?;
    let prefix = ask.path.trim_matches('/');
    if !prefix.is_empty() {
        for file in &mut files {
            if let Some(Value::String(path)) = file.get_mut("path") {
                *path = format!("{prefix}/{path}");
            }
        }
    }
    let mut fields = Map::new();
    fields.insert("root_uri".to_owned(), json!(root_uri));
    put_items(&mut fields, "files", files);
    Ok(axum::Json(Value::Object(fields)))
}

async fn known_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_none_or(is_this_machine) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "Invalid Host header - possible DNS rebinding attack detected").into_response()
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

async fn no_such_path() -> Response {
    (StatusCode::NOT_FOUND, Html("<!doctype html><title>404 Not Found</title><h1>Not Found</h1>")).into_response()
}

async fn wrong_method() -> Response {
    let page = "<!doctype html><title>405 Method Not Allowed</title><h1>Method Not Allowed</h1>";
    (StatusCode::METHOD_NOT_ALLOWED, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in
            ["localhost", "localhost:8989", "mlflow.default.localhost:8000", "127.0.0.1:1", "[::1]:8989", "10.0.0.7"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "evil.example:8989", ""] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
