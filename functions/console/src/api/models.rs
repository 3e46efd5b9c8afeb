//! Models: versions, aliases, the serving pointer; load, rollback, try.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use regrove_events::event::ModelAggregated;
use regrove_events::log::{job_stream, serving_stream};
use regrove_events::{job, model_name, serving};
use regrove_host::{JsonBody, Path, Problem};
use regrove_jobs::Summary;
use regrove_mlflow::{RegisteredModel, filter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::view::{ConfusionView, ModelSummary, ModelView, PointerView, SignatureView, VersionView, switches};
use crate::{Ports, action};

/// How long MLflow may take before models are shown without it.
const MLFLOW_WAIT: Duration = Duration::from_secs(2);
/// Versions of one model that are shown.
const VERSIONS_MAX: u32 = 200;

/// Models by name.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// The models.
    pub(crate) models: Vec<ModelSummary>,
    /// Why MLflow was not asked: only models that this log has are shown then.
    pub(crate) unavailable: Option<String>,
}

/// MLflow's answer, or why there is none.
async fn bounded<T>(
    ports: &Ports,
    asking: impl Future<Output = Result<T, regrove_mlflow::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(MLFLOW_WAIT, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("MLflow at {} does not answer", ports.record.uri())),
    }
}

/// All models that MLflow or the log know.
///
/// # Errors
/// 503 when the log does not answer.
pub(crate) async fn list(ports: &Ports) -> Result<ModelList, Problem> {
    let registered = bounded(ports, ports.record.client().search_registered_models("")).await;
    let (registered, unavailable) = match registered {
        Ok(registered) => (registered, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let made = ports.jobs.with_version().await.map_err(action::refused)?;
    let lists = ports.index.lists().await?;
    let mut models: BTreeMap<String, ModelSummary> = BTreeMap::new();
    let blank = |name: &str| ModelSummary {
        name: name.to_owned(),
        served: None,
        versions: 0,
        latest: None,
        aliases: BTreeMap::new(),
    };
    for made in made.iter().filter_map(|job| job.model.as_ref()) {
        let model = models.entry(made.name.clone()).or_insert_with(|| blank(&made.name));
        model.versions += 1;
        let number = |version: &str| version.parse::<u64>().unwrap_or(0);
        if model.latest.as_deref().is_none_or(|latest| number(latest) < number(&made.version)) {
            model.latest = Some(made.version.clone());
        }
    }
    for RegisteredModel { name, aliases, latest_versions, .. } in registered {
        let model = models.entry(name.clone()).or_insert_with(|| blank(&name));
        model.aliases = aliases.into_iter().map(|alias| (alias.alias, alias.version.to_string())).collect();
        let newest = latest_versions.iter().map(|version| version.version).max();
        if let Some(newest) = newest {
            model.latest = Some(newest.to_string());
            model.versions = model.versions.max(latest_versions.len());
        }
    }
    for (name, serving) in &lists.serving {
        let model = models.entry(name.clone()).or_insert_with(|| blank(name));
        model.served = serving.current.as_ref().map(|current| current.version.clone());
    }
    Ok(ModelList { models: models.into_values().collect(), unavailable })
}

/// A model with its versions and its pointer.
///
/// # Errors
/// 404 for a model that neither MLflow nor the log know; 503 when the log does not answer.
pub(crate) async fn show(ports: &Ports, name: &str) -> Result<ModelView, Problem> {
    let unknown = || {
        let detail = format!("there is no model `{name}`; GET /api/models lists them");
        Problem::new("model-not-found", StatusCode::NOT_FOUND, detail)
    };
    model_name::check(name).map_err(|_| unknown())?;
    let stream = serving_stream(name);
    let history = ports.control.log.read(&stream, 0).await?;
    let pointer = PointerView::of(&serving::replay(&history));
    let (mut versions, unavailable) = match bounded(ports, versions(ports, name)).await {
        Ok(versions) => (versions, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let jobs = jobs_of(ports, name).await?;
    if versions.is_empty() {
        versions = jobs.values().filter_map(from_job).collect();
    }
    if versions.is_empty() && pointer.is_none() {
        return Err(unknown());
    }
    for version in &mut versions {
        version.served = pointer.as_ref().is_some_and(|pointer| pointer.version == version.version);
        if let Some(job) = jobs.get(&version.version) {
            version.metrics.clone_from(&job.metrics);
            version.job = Some(job.id.clone());
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.number()));
    let served_by = pointer.as_ref().and_then(|pointer| jobs.get(&pointer.version));
    let model = match served_by {
        Some(job) => aggregated(ports, &job.id).await?,
        None => None,
    };
    let base = ports.record.uri().trim_end_matches('/');
    Ok(ModelView {
        name: name.to_owned(),
        pointer,
        versions,
        switches: switches(&stream, &history),
        signature: model.as_ref().map(|model| SignatureView {
            feature_names: model.dataset.feature_names.clone(),
            classes: model.dataset.classes.clone(),
            categories: model.dataset.categories.clone(),
            example: model.input_example.clone(),
        }),
        confusion_matrix: model
            .as_ref()
            .and_then(|model| model.confusion_matrix.as_ref())
            .map(|matrix| ConfusionView { of: matrix.of.words().to_owned(), counts: matrix.counts.clone() }),
        feature_importances: model
            .map(|model| model.dataset.feature_names.into_iter().zip(model.feature_importances).collect())
            .unwrap_or_default(),
        mlflow_url: unavailable.is_none().then(|| format!("{base}/#/models/{}", model_name::segment(name))),
        unavailable,
    })
}

async fn versions(ports: &Ports, name: &str) -> Result<Vec<VersionView>, regrove_mlflow::Error> {
    let client = ports.record.client();
    let wanted = format!("name = {}", filter::literal("registered model", name)?);
    let found = client.search_model_versions(&wanted, "version_number DESC", VERSIONS_MAX).await?;
    let mut views: Vec<VersionView> = found.iter().map(VersionView::of).collect();
    if !views.is_empty() {
        // Searches leave the aliases out; the model itself has them.
        for alias in client.registered_model(name).await?.aliases {
            let named = alias.version.to_string();
            if let Some(view) = views.iter_mut().find(|view| view.version == named) {
                let mut aliases: BTreeSet<String> = view.aliases.drain(..).collect();
                aliases.insert(alias.alias);
                view.aliases = aliases.into_iter().collect();
            }
        }
    }
    Ok(views)
}

/// The jobs that made versions of a model, by version.
async fn jobs_of(ports: &Ports, name: &str) -> Result<BTreeMap<String, Summary>, Problem> {
    let made = ports.jobs.with_version().await.map_err(action::refused)?;
    let made = made.into_iter().filter_map(|job| {
        let model = job.model.as_ref().filter(|model| model.name == name)?;
        Some((model.version.clone(), job))
    });
    Ok(made.collect())
}

fn from_job(job: &Summary) -> Option<VersionView> {
    let model = job.model.as_ref()?;
    Some(VersionView {
        version: model.version.clone(),
        served: false,
        aliases: Vec::new(),
        job: Some(job.id.clone()),
        run_id: None,
        sha256: Some(model.sha256.clone()),
        metrics: job.metrics.clone(),
        created_at: job.ended_at,
        description: String::new(),
    })
}

/// The whole forest that a job made.
async fn aggregated(ports: &Ports, id: &str) -> Result<Option<ModelAggregated>, Problem> {
    Ok(job::replay(&ports.control.log.read(&job_stream(id), 0).await?).model)
}

/// Lists models.
#[utoipa::path(get, path = "/api/models", tag = "models", responses((status = 200, description = "The models", body = ModelList)))]
pub(crate) async fn list_models(State(ports): State<Arc<Ports>>) -> Result<Json<ModelList>, Problem> {
    Ok(Json(list(&ports).await?))
}

/// Shows a model: versions, aliases, the serving pointer and its moves, feature importances.
#[utoipa::path(get, path = "/api/models/{name}", tag = "models",
    params(("name" = String, Path, description = "Registered model name")),
    responses((status = 200, description = "The model", body = ModelView), (status = 404, description = "model-not-found")))]
pub(crate) async fn show_model(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
) -> Result<Json<ModelView>, Problem> {
    Ok(Json(show(&ports, &name).await?))
}

/// Body of a load.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadOrder {
    /// A version's number, `latest`, or `previous` for a rollback.
    pub(crate) version: String,
    /// Why, for the record.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// Has a version served: forward or back.
#[utoipa::path(post, path = "/api/models/{name}/load", tag = "models", request_body = LoadOrder,
    params(("name" = String, Path, description = "Registered model name")),
    responses((status = 200, body = Object, description = "load-model's answer"),
        (status = 404, description = "model-not-found"), (status = 409, description = "no-version-before")))]
pub(crate) async fn load_model(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    JsonBody(order): JsonBody<LoadOrder>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(action::load(&ports, &name, &order).await?))
}

/// Body of a change of traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrafficOrder {
    /// The version that answers a share of the requests; nothing ends it.
    pub(crate) canary: Option<String>,
    /// Its share in percent, 1 to 100.
    pub(crate) percent: Option<u8>,
    /// The version whose answers are only compared; nothing ends it.
    pub(crate) shadow: Option<String>,
    /// Why, for the record.
    pub(crate) reason: Option<String>,
}

/// Says what stands beside the served version: a canary with its share, a shadow, or nothing.
#[utoipa::path(post, path = "/api/models/{name}/traffic", tag = "models", request_body = TrafficOrder,
    params(("name" = String, Path, description = "Registered model name")),
    responses((status = 200, body = Object, description = "load-model's answer"), (status = 404, description = "model-not-found"),
        (status = 409, description = "traffic-conflict"), (status = 422, description = "invalid-request")))]
pub(crate) async fn change_traffic(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    JsonBody(order): JsonBody<TrafficOrder>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(action::traffic(&ports, &name, &order).await?))
}

/// Asks `predict` for an answer.
#[utoipa::path(post, path = "/api/models/{name}/predict", tag = "models", request_body = Object,
    params(("name" = String, Path, description = "Registered model name")),
    responses((status = 200, body = Object, description = "predict's answer")))]
pub(crate) async fn predict(
    State(ports): State<Arc<Ports>>,
    Path(name): Path<String>,
    JsonBody(rows): JsonBody<Value>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(action::predict(&ports, &name, &rows).await?))
}
