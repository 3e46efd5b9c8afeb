//! From a forest to exactly one version of a registered model.

use serde_json::json;

use super::{ALIASED_TAG, BYTES_TAG, JOB_TAG, Record, SHA256_TAG, gone};
use crate::error::Error;
use crate::filter;
use crate::model_dir::{self, ModelDescription, Placement};
use crate::registry::NewModelVersion;
use crate::wire::{LoggedModel, LoggedModelStatus, ModelOutput, ModelVersion, NewLoggedModel, Param, Run, Tag};

/// Most versions of one job that a search looks at; more than one is a lost race already.
const VERSIONS_PER_JOB_MAX: u32 = 100;
/// Name of the model among the outputs of its run.
const MODEL_NAME: &str = "model";
/// Where 2.x notes the models of a run.
const HISTORY_TAG: &str = "mlflow.log-model.history";

/// What to register for a job.
#[derive(Debug, Clone)]
pub struct ModelVersionRequest {
    /// The job; becomes the tag [`JOB_TAG`](super::JOB_TAG).
    pub job_id: String,
    /// The job's run, from [`Record::ensure_run`].
    pub run_id: String,
    /// Name of the registered model, created when missing. `/` and `:` are not allowed in it.
    pub registered_name: String,
    /// The model.
    pub model: ModelDescription,
    /// Parameters to show on the logged model (3.x).
    pub params: Vec<Param>,
    /// Tags of the version beside the job's and the hash's.
    pub tags: Vec<Tag>,
    /// Free text of the version.
    pub description: String,
    /// Alias to move to the version: only forward, and only once per version.
    pub alias: Option<String>,
}

/// Where the files of a job's model are.
struct Stored {
    source: String,
    model_id: Option<String>,
}

impl Record {
    /// The one version of a registered model for a job; everything that it needs is created when missing: logged model
    /// (3.x) or artifacts of the run (2.x), files, registered name, version, alias.
    ///
    /// # Errors
    /// [`Error::Conflicting`] when the job has a version with another content; [`Error::RunDeleted`] when the run lost a
    /// race (retryable, from [`Record::ensure_run`] on); what the server refuses.
    pub async fn ensure_model_version(&self, request: &ModelVersionRequest) -> Result<ModelVersion, Error> {
        let sha256 = model_dir::native_sha256(&request.model);
        let version = match self.settled_version(request).await? {
            Some(version) => version,
            None => match self.register(request, &sha256).await {
                // A process that won the race may have deleted what this one was working on.
                Err(error) if error.is_not_found() => self.settled_version(request).await?.ok_or(error)?,
                registered => registered?,
            },
        };
        match version.tag(SHA256_TAG) {
            Some(existing) if existing != sha256 => Err(Error::Conflicting {
                what: format!("version {} of {} for job {}", version.version, version.name, request.job_id),
                existing: existing.to_owned(),
                requested: sha256,
            }),
            _ => {
                self.alias_once(request, &version).await?;
                Ok(version)
            }
        }
    }

    async fn register(&self, request: &ModelVersionRequest, sha256: &str) -> Result<ModelVersion, Error> {
        let run = self.client.run(&request.run_id).await?;
        if run.info.lifecycle_stage == "deleted" {
            let message = format!("see the run of job {}", request.job_id);
            return Err(Error::RunDeleted { run_id: request.run_id.clone(), message });
        }
        let stored = match self.logged_model_of(&run, request).await {
            Err(Error::NoSuchEndpoint { .. }) => self.store_on_run(&run, request).await?,
            model => self.store_logged_model(&run, model?, request).await?,
        };
        match self.client.create_registered_model(&request.registered_name, &[], "").await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        let bytes = request.model.native.len().to_string();
        let mut tags =
            vec![Tag::new(JOB_TAG, &request.job_id), Tag::new(SHA256_TAG, sha256), Tag::new(BYTES_TAG, bytes)];
        tags.extend(request.tags.iter().cloned());
        let created = self
            .client
            .create_model_version(&NewModelVersion {
                name: request.registered_name.clone(),
                source: stored.source,
                model_id: stored.model_id,
                run_id: request.run_id.clone(),
                tags,
                description: request.description.clone(),
            })
            .await?;
        Ok(self.settled_version(request).await?.unwrap_or(created))
    }

    /// The winner among the versions of a job; the others are deleted, whoever made them: their makers may be dead, or
    /// may not know that they made one, because the answer was lost.
    ///
    /// Version numbers grow, so the lowest one is the first, and nobody can see another without seeing it.
    async fn settled_version(&self, request: &ModelVersionRequest) -> Result<Option<ModelVersion>, Error> {
        let mut versions = self.versions_of_job(request).await?.into_iter();
        let Some(winner) = versions.next() else { return Ok(None) };
        for loser in versions {
            tracing::info!(
                job_id = request.job_id,
                version = loser.version,
                winner = winner.version,
                "deleting a second version of a job"
            );
            // The model first: as long as the version is there, whoever comes next finds both.
            if let Some(model_id) = loser.model_id()
                && winner.model_id() != Some(model_id)
            {
                gone(self.client.delete_logged_model(model_id).await)?;
            }
            gone(self.client.delete_model_version(&loser.name, loser.version).await)?;
        }
        Ok(Some(winner))
    }

    /// Versions of a job, the lowest number first.
    async fn versions_of_job(&self, request: &ModelVersionRequest) -> Result<Vec<ModelVersion>, Error> {
        let filter = format!(
            "name = {} AND {}",
            filter::literal("registered model", &request.registered_name)?,
            filter::tag(JOB_TAG, &request.job_id)?
        );
        let mut versions = self.client.search_model_versions(&filter, "", VERSIONS_PER_JOB_MAX).await?;
        versions.sort_by_key(|version| version.version);
        Ok(versions)
    }

    /// The logged model of the job's run, created when missing. The oldest one when a race made several.
    async fn logged_model_of(&self, run: &Run, request: &ModelVersionRequest) -> Result<LoggedModel, Error> {
        let experiment_id = &run.info.experiment_id;
        let filter = format!("source_run_id = {}", filter::literal("run id", &request.run_id)?);
        let found = self
            .client
            .search_logged_models(experiment_id, &filter)
            .await?
            .into_iter()
            .filter(|model| model.tags.contains(&Tag::new(JOB_TAG, &request.job_id)))
            .min_by(|left, right| {
                let key = |model: &LoggedModel| (model.creation_timestamp_ms, model.model_id.clone());
                key(left).cmp(&key(right))
            });
        if let Some(model) = found {
            return Ok(model);
        }
        self.client
            .create_logged_model(&NewLoggedModel {
                experiment_id: experiment_id.clone(),
                name: MODEL_NAME.to_owned(),
                source_run_id: request.run_id.clone(),
                model_type: None,
                params: request.params.clone(),
                tags: vec![Tag::new(JOB_TAG, &request.job_id)],
            })
            .await
    }

    async fn store_logged_model(
        &self,
        run: &Run,
        model: LoggedModel,
        request: &ModelVersionRequest,
    ) -> Result<Stored, Error> {
        if model.status != LoggedModelStatus::Ready {
            let placement = Placement {
                run_id: request.run_id.clone(),
                model_id: Some(model.model_id.clone()),
                artifact_path: model.artifact_uri.clone(),
            };
            self.upload(&model.artifact_uri, &request.model, &placement).await?;
            self.client.set_logged_model_status(&model.model_id, LoggedModelStatus::Ready).await?;
        }
        self.note_output(run, ModelOutput { model_id: model.model_id.clone(), step: 0 }).await?;
        Ok(Stored { source: format!("models:/{}", model.model_id), model_id: Some(model.model_id) })
    }

    /// `runs/outputs` refuses what it knows already, in words that depend on the database: look, then try, then look.
    pub(crate) async fn note_output(&self, run: &Run, output: ModelOutput) -> Result<(), Error> {
        let model_id = output.model_id.clone();
        let noted = |run: &Run| run.outputs.model_outputs.iter().any(|output| output.model_id == model_id);
        if noted(run) {
            return Ok(());
        }
        match self.client.log_outputs(&run.info.run_id, &[output]).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let again = self.client.run(&run.info.run_id).await?;
                if noted(&again) { Ok(()) } else { Err(error) }
            }
        }
    }

    /// The way of 2.x: the files lie below the run.
    async fn store_on_run(&self, run: &Run, request: &ModelVersionRequest) -> Result<Stored, Error> {
        let source = format!("{}/{MODEL_NAME}", run.info.artifact_uri.trim_end_matches('/'));
        let placement =
            Placement { run_id: request.run_id.clone(), model_id: None, artifact_path: MODEL_NAME.to_owned() };
        self.upload(&source, &request.model, &placement).await?;
        if run.tag(HISTORY_TAG).is_none_or(|history| !history.contains(&request.run_id)) {
            let noted = json!({
                "run_id": request.run_id,
                "artifact_path": MODEL_NAME,
                "utc_time_created": model_dir::mlflow_time(request.model.utc_time),
                "model_uuid": request.run_id,
                "flavors": model_dir::flavors(&request.model),
            });
            self.client.log_model(&request.run_id, &noted).await?;
        }
        Ok(Stored { source, model_id: None })
    }

    async fn upload(&self, root: &str, model: &ModelDescription, placement: &Placement) -> Result<(), Error> {
        for file in model_dir::build(model, placement)? {
            self.client.put_artifact(root, &file.name, &file.content).await?;
        }
        Ok(())
    }

    async fn alias_once(&self, request: &ModelVersionRequest, version: &ModelVersion) -> Result<(), Error> {
        let Some(alias) = request.alias.as_deref() else { return Ok(()) };
        if version.tag(ALIASED_TAG) == Some(alias) {
            return Ok(());
        }
        self.move_alias(&version.name, alias, version.version).await?;
        let done = Tag::new(ALIASED_TAG, alias);
        self.client.set_version_tag(&version.name, version.version, &done).await
    }

    /// Lets an alias name a version unless it names a later one.
    pub(crate) async fn move_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), Error> {
        let current = match self.client.version_by_alias(name, alias).await {
            Ok(current) => Some(current.version),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        if current.is_none_or(|current| current < version) {
            self.client.set_alias(name, alias, version).await?;
        }
        Ok(())
    }
}
