//! Experiments and runs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::pages;
use crate::wire::{DatasetInput, Experiment, Metric, ModelOutput, Param, Run, RunInfo, RunStatus, Tag};

/// What to create a run from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewRun {
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// Shown name.
    pub run_name: String,
    /// Who starts it.
    pub user_id: String,
    /// Milliseconds since 1970.
    pub start_time: i64,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// A search for runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunsQuery {
    /// Where to look.
    pub experiment_ids: Vec<String>,
    /// Condition in MLflow's search language, empty for all.
    pub filter: String,
    /// For example `attributes.start_time DESC`.
    pub order_by: Vec<String>,
    /// Page size, 1 ..= 50000.
    pub max_results: u32,
    /// Where the last page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunsPage {
    /// The runs.
    #[serde(default)]
    pub runs: Vec<Run>,
    /// Where to go on; absent on the last page.
    #[serde(default)]
    pub next_page_token: Option<String>,
}

/// A page of the points of one metric.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MetricsPage {
    /// The points in the order in which they were logged.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Where to go on; absent on the last page.
    #[serde(default)]
    pub next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct ExperimentReply {
    experiment: Experiment,
}

#[derive(Deserialize)]
struct ExperimentId {
    experiment_id: String,
}

#[derive(Deserialize)]
struct ExperimentsPage {
    #[serde(default)]
    experiments: Vec<Experiment>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct RunReply {
    run: Run,
}

#[derive(Deserialize)]
struct RunInfoReply {
    run_info: RunInfo,
}

/// Most points of one metric that a page may hold.
const METRIC_POINTS_PER_PAGE: u32 = 25_000;

/// Experiments on a page of a search.
const EXPERIMENTS_PER_PAGE: u32 = 1000;

/// Every method: [`Error::Unreachable`], [`Error::Timeout`] and [`Error::Unavailable`] when the server is away, and what
/// the server refuses.
impl Client {
    /// The experiment with this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub async fn experiment_by_name(&self, name: &str) -> Result<Experiment, Error> {
        let reply: ExperimentReply = self.get("experiments/get-by-name", &[("experiment_name", name)]).await?;
        Ok(reply.experiment)
    }

    /// Creates an experiment and gives its id.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the name is taken, also by a deleted experiment.
    pub async fn create_experiment(&self, name: &str, tags: &[Tag]) -> Result<String, Error> {
        let reply: ExperimentId = self.post("experiments/create", &json!({"name": name, "tags": tags})).await?;
        Ok(reply.experiment_id)
    }

    /// All active experiments that fit the filter (empty: all).
    ///
    /// # Errors
    /// [`Error::Refused`] for a filter that MLflow does not understand.
    pub async fn search_experiments(&self, filter: &str) -> Result<Vec<Experiment>, Error> {
        let body = json!({"filter": filter, "max_results": EXPERIMENTS_PER_PAGE});
        pages::all(|token| async {
            let page: ExperimentsPage = self.post("experiments/search", &pages::from(&body, token)).await?;
            Ok((page.experiments, page.next_page_token))
        })
        .await
    }

    /// Creates a run. Not safe to repeat: [`Record::ensure_run`](crate::Record::ensure_run) is.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown experiment.
    pub async fn create_run(&self, run: &NewRun) -> Result<Run, Error> {
        let reply: RunReply = self.post("runs/create", run).await?;
        Ok(reply.run)
    }

    /// A run with everything that it logged.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown run.
    pub async fn run(&self, run_id: &str) -> Result<Run, Error> {
        let reply: RunReply = self.get("runs/get", &[("run_id", run_id)]).await?;
        Ok(reply.run)
    }

    /// Sets status and end of a run.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown run, [`Error::RunDeleted`] for a deleted one.
    pub async fn update_run(
        &self,
        run_id: &str,
        status: RunStatus,
        end_time_ms: Option<i64>,
    ) -> Result<RunInfo, Error> {
        let mut body = json!({"run_id": run_id, "status": status});
        if let (Some(end), Some(fields)) = (end_time_ms, body.as_object_mut()) {
            fields.insert("end_time".to_owned(), end.into());
        }
        let reply: Result<RunInfoReply, Error> = self.post("runs/update", &body).await;
        reply.map(|reply| reply.run_info).map_err(|error| deleted(run_id, error))
    }

    /// Marks a run as deleted; searches leave it out from then on.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown run.
    pub async fn delete_run(&self, run_id: &str) -> Result<(), Error> {
        let _: Value = self.post("runs/delete", &json!({"run_id": run_id})).await?;
        Ok(())
    }

    /// One page of the runs that fit.
    ///
    /// # Errors
    /// [`Error::Refused`] for a filter that MLflow does not understand.
    pub async fn search_runs(&self, query: &RunsQuery) -> Result<RunsPage, Error> {
        self.post("runs/search", query).await
    }

    /// Logs one batch: at most 1000 metrics, 100 parameters, 100 tags, and together 1000.
    /// [`Record`](crate::Record) cuts longer lists.
    ///
    /// # Errors
    /// [`Error::Refused`] for a changed parameter, [`Error::RunDeleted`] for a deleted run.
    pub async fn log_batch(
        &self,
        run_id: &str,
        metrics: &[Metric],
        params: &[Param],
        tags: &[Tag],
    ) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "metrics": metrics, "params": params, "tags": tags});
        let reply: Result<Value, Error> = self.post("runs/log-batch", &body).await;
        reply.map(drop).map_err(|error| deleted(run_id, error))
    }

    /// Logs the data sets that a run has read.
    ///
    /// # Errors
    /// [`Error::RunDeleted`] for a deleted run.
    pub async fn log_inputs(&self, run_id: &str, datasets: &[DatasetInput]) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "datasets": datasets});
        let reply: Result<Value, Error> = self.post("runs/log-inputs", &body).await;
        reply.map(drop).map_err(|error| deleted(run_id, error))
    }

    /// Logs the models that a run has made (3.x). The second time for the same model is refused by the server.
    ///
    /// # Errors
    /// [`Error::NoSuchEndpoint`] on 2.x.
    pub async fn log_outputs(&self, run_id: &str, models: &[ModelOutput]) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "models": models});
        let reply: Result<Value, Error> = self.post("runs/outputs", &body).await;
        reply.map(drop).map_err(|error| deleted(run_id, error))
    }

    /// Notes a model on its run, the way of 2.x; `model` is the content of its `MLmodel` as an object.
    ///
    /// # Errors
    /// [`Error::RunDeleted`] for a deleted run.
    pub async fn log_model(&self, run_id: &str, model: &Value) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "model_json": model.to_string()});
        let reply: Result<Value, Error> = self.post("runs/log-model", &body).await;
        reply.map(drop).map_err(|error| deleted(run_id, error))
    }

    /// Sets or replaces one tag of a run.
    ///
    /// # Errors
    /// [`Error::RunDeleted`] for a deleted run.
    pub async fn set_run_tag(&self, run_id: &str, tag: &Tag) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "key": tag.key, "value": tag.value});
        let reply: Result<Value, Error> = self.post("runs/set-tag", &body).await;
        reply.map(drop).map_err(|error| deleted(run_id, error))
    }

    /// Every point of one metric of a run.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown run.
    pub async fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>, Error> {
        pages::all(|token| async {
            let mut query = vec![
                ("run_id", run_id.to_owned()),
                ("metric_key", key.to_owned()),
                ("max_results", METRIC_POINTS_PER_PAGE.to_string()),
            ];
            query.extend(token.map(|token| ("page_token", token)));
            let page: MetricsPage = self.get("metrics/get-history", &query).await?;
            Ok((page.metrics, page.next_page_token))
        })
        .await
    }
}

/// Writing to a deleted run is refused with a text only; it means that another run stands for the job.
fn deleted(run_id: &str, error: Error) -> Error {
    match error {
        Error::Refused { message, .. }
            if message.contains("must be in the 'active'") || message.contains("lifecycle_stage") =>
        {
            Error::RunDeleted { run_id: run_id.to_owned(), message }
        }
        other => other,
    }
}
