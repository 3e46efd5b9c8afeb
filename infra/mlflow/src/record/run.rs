//! Experiments, runs, parameters, metrics and data sets of a job.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{JOB_TAG, Record, gone};
use crate::error::Error;
use crate::filter;
use crate::runs::{NewRun, RunsQuery};
use crate::wire::{DatasetInput, DatasetWire, Metric, Param, Run, RunStatus, Tag};

/// Most parameters in one batch (MLflow's limit).
const PARAMS_PER_BATCH: usize = 100;
/// Most metrics in one batch (MLflow's limit).
const METRICS_PER_BATCH: usize = 1000;
/// Most runs of one job that a search looks at; more than one is a lost race already.
const RUNS_PER_JOB_MAX: u32 = 100;

/// Type of a column of a data set, in MLflow's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 64-bit floating point.
    Double,
    /// 64-bit whole number.
    Long,
    /// Text.
    String,
}

impl ColumnType {
    fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Long => "long",
            Self::String => "string",
        }
    }
}

/// A column of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: ColumnType,
}

/// The data set that a job trains on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Name, at most 500 characters.
    pub name: String,
    /// Digest, at most 36 characters: the first part of the content hash.
    pub digest: String,
    /// `local`, `http`, `s3` or `code`.
    pub source_type: String,
    /// What the source type asks for: `{"uri": …}` for local and s3, `{"url": …}` for http, `{"tags": {…}}` for code.
    pub source: Value,
    /// Columns, the target included. Empty: not told.
    pub schema: Vec<Column>,
    /// Rows.
    pub num_rows: u64,
    /// Cells, the target's included.
    pub num_elements: u64,
}

impl Dataset {
    fn to_input(&self) -> DatasetInput {
        let columns: Vec<Value> = self
            .schema
            .iter()
            .map(|column| json!({"type": column.kind.name(), "name": column.name, "required": true}))
            .collect();
        let profile = json!({"num_rows": self.num_rows, "num_elements": self.num_elements});
        DatasetInput {
            tags: vec![Tag::new("mlflow.data.context", "training")],
            dataset: DatasetWire {
                name: self.name.clone(),
                digest: self.digest.clone(),
                source_type: self.source_type.clone(),
                source: self.source.to_string(),
                schema: (!columns.is_empty()).then(|| json!({"mlflow_colspec": columns}).to_string()),
                profile: Some(profile.to_string()),
            },
        }
    }
}

/// What the run of a job says at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// Name of the experiment, created when missing.
    pub experiment: String,
    /// The job; becomes the tag [`JOB_TAG`](super::JOB_TAG).
    pub job_id: String,
    /// Shown name.
    pub run_name: String,
    /// Who asked for it.
    pub user: String,
    /// Milliseconds since 1970; take it from the job, so that repeating says the same.
    pub start_time_ms: i64,
    /// Parameters, unique by key.
    pub params: Vec<Param>,
    /// Tags beside those that are set anyway.
    pub tags: Vec<Tag>,
    /// The data set, when known.
    pub dataset: Option<Dataset>,
}

impl Record {
    /// The id of the experiment with this name; created when missing.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] when the experiment is deleted; what the server refuses.
    pub async fn ensure_experiment(&self, name: &str) -> Result<String, Error> {
        match self.client.experiment_by_name(name).await {
            Err(error) if error.is_not_found() => {}
            found => return active(found?),
        }
        let kind = Tag::new("mlflow.experimentKind", "custom_model_development");
        match self.client.create_experiment(name, &[kind]).await {
            // Somebody was faster.
            Err(Error::AlreadyExists { .. }) => active(self.client.experiment_by_name(name).await?),
            created => created,
        }
    }

    /// The id of the one run of a job; created when missing, with its parameters and data set.
    ///
    /// Parameters that are there already are left alone. When two processes create at the same moment, the one with the
    /// earlier start, then the smaller id stays and the others are deleted; writing to a deleted one gives
    /// [`Error::RunDeleted`], which is retryable: repeating finds the winner.
    ///
    /// # Errors
    /// [`Error::Refused`] when a parameter is there with another value; [`Error::InvalidValue`] for a job id that cannot
    /// be searched for.
    pub async fn ensure_run(&self, job: &JobRun) -> Result<String, Error> {
        let experiment_id = self.ensure_experiment(&job.experiment).await?;
        let run = match self.settled_run(&experiment_id, &job.job_id).await? {
            Some(run) => run,
            None => self.create_job_run(&experiment_id, job).await?,
        };
        let run_id = run.info.run_id.clone();
        let missing: Vec<Param> =
            job.params.iter().filter(|param| run.param(&param.key) != Some(param.value.as_str())).cloned().collect();
        self.log_params(&run_id, &missing).await?;
        if let Some(dataset) = &job.dataset {
            let known = run
                .inputs
                .dataset_inputs
                .iter()
                .any(|input| input.dataset.name == dataset.name && input.dataset.digest == dataset.digest);
            if !known {
                self.client.log_inputs(&run_id, &[dataset.to_input()]).await?;
            }
        }
        Ok(run_id)
    }

    /// The run of a job, if there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown experiment.
    pub async fn find_run(&self, experiment: &str, job_id: &str) -> Result<Option<Run>, Error> {
        let experiment = self.client.experiment_by_name(experiment).await?;
        Ok(self.runs_of(&experiment.experiment_id, job_id).await?.into_iter().next())
    }

    /// Logs parameters. Safe to repeat: MLflow refuses another value only.
    pub(crate) async fn log_params(&self, run_id: &str, params: &[Param]) -> Result<(), Error> {
        for batch in params.chunks(PARAMS_PER_BATCH) {
            self.client.log_batch(run_id, &[], batch, &[]).await?;
        }
        Ok(())
    }

    /// Logs points of metrics. Safe to repeat as long as key, step, timestamp and value stay the same.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown run, [`Error::RunDeleted`] for a deleted one.
    pub async fn log_metrics(&self, run_id: &str, metrics: &[Metric]) -> Result<(), Error> {
        for batch in metrics.chunks(METRICS_PER_BATCH) {
            self.client.log_batch(run_id, batch, &[], &[]).await?;
        }
        Ok(())
    }

    /// Ends a run. `end_time_ms` comes from the event that ended the job, so that repeating says the same.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown run.
    pub async fn finish_run(&self, run_id: &str, status: RunStatus, end_time_ms: i64) -> Result<(), Error> {
        self.client.update_run(run_id, status, Some(end_time_ms)).await.map(drop)
    }

    async fn create_job_run(&self, experiment_id: &str, job: &JobRun) -> Result<Run, Error> {
        let mut tags = vec![
            Tag::new(JOB_TAG, &job.job_id),
            Tag::new("mlflow.user", &job.user),
            Tag::new("mlflow.source.name", "regrove"),
            Tag::new("mlflow.source.type", "JOB"),
            Tag::new("mlflow.runName", &job.run_name),
        ];
        tags.extend(job.tags.iter().cloned());
        let created = self
            .client
            .create_run(&NewRun {
                experiment_id: experiment_id.to_owned(),
                run_name: job.run_name.clone(),
                user_id: job.user.clone(),
                start_time: job.start_time_ms,
                tags,
            })
            .await?;
        Ok(self.settled_run(experiment_id, &job.job_id).await?.unwrap_or(created))
    }

    /// The winner among the runs of a job; the others are deleted.
    async fn settled_run(&self, experiment_id: &str, job_id: &str) -> Result<Option<Run>, Error> {
        let mut runs = self.runs_of(experiment_id, job_id).await?.into_iter();
        let winner = runs.next();
        for loser in runs {
            tracing::info!(job_id, run_id = loser.info.run_id, "deleting a second run of a job");
            gone(self.client.delete_run(&loser.info.run_id).await)?;
        }
        Ok(winner)
    }

    /// Active runs of a job, the winner first.
    async fn runs_of(&self, experiment_id: &str, job_id: &str) -> Result<Vec<Run>, Error> {
        let page = self
            .client
            .search_runs(&RunsQuery {
                experiment_ids: vec![experiment_id.to_owned()],
                filter: filter::tag(JOB_TAG, job_id)?,
                order_by: vec!["attributes.start_time ASC".to_owned()],
                max_results: RUNS_PER_JOB_MAX,
                page_token: None,
            })
            .await?;
        let mut runs = page.runs;
        runs.sort_by(earlier);
        Ok(runs)
    }
}

/// A run that ended well is never given up for one that did not.
fn earlier(left: &Run, right: &Run) -> Ordering {
    let key = |run: &Run| (run.info.status != RunStatus::Finished, run.info.start_time);
    key(left).cmp(&key(right)).then_with(|| left.info.run_id.cmp(&right.info.run_id))
}

fn active(experiment: crate::wire::Experiment) -> Result<String, Error> {
    if experiment.lifecycle_stage == "deleted" {
        return Err(Error::InvalidValue {
            field: "experiment",
            value: experiment.name,
            reason: "it is deleted in MLflow: restore it, or choose another name",
        });
    }
    Ok(experiment.experiment_id)
}
