//! Logged models, and the registry's names, versions and aliases.

use super::{MODEL_TAG, Push, PushedVersion, VERSION_TAG};
use crate::error::Error;
use crate::filter;
use crate::record::JOB_TAG;
use crate::registry::NewModelVersion;
use crate::wire::{Experiment, LoggedModel, LoggedModelStatus, ModelVersion, NewLoggedModel, RegisteredModel, Tag};

impl Push<'_> {
    /// Copies the logged models of an experiment; a source that has none, or knows none (2.x), has nothing to copy.
    pub(super) async fn models(&mut self, experiment: &Experiment, pushed_id: &str) -> Result<(), Error> {
        let models = match self.from.search_logged_models(&experiment.experiment_id, "").await {
            Err(Error::NoSuchEndpoint { .. }) => return Ok(()),
            models => models?,
        };
        for model in models {
            self.done.models += 1;
            let pushed = self.ensure_model(&model, pushed_id).await?;
            self.model_ids.insert(model.model_id.clone(), pushed.model_id.clone());
            if pushed.status == LoggedModelStatus::Ready || model.status != LoggedModelStatus::Ready {
                continue;
            }
            (self.say)(&format!("model {} ({})", model.name, model.model_id));
            let run_id = self.pushed_run(&model.source_run_id);
            let mut renamed = vec![
                (model.artifact_uri.as_str(), pushed.artifact_uri.as_str()),
                (model.model_id.as_str(), pushed.model_id.as_str()),
            ];
            if !model.source_run_id.is_empty() {
                renamed.push((model.source_run_id.as_str(), run_id.as_str()));
            }
            self.files(&model.artifact_uri, &pushed.artifact_uri, &renamed).await?;
            self.to.set_logged_model_status(&pushed.model_id, LoggedModelStatus::Ready).await?;
        }
        Ok(())
    }

    /// The target's id of a run; empty for a run that stayed behind.
    fn pushed_run(&self, run_id: &str) -> String {
        self.done.run_ids.get(run_id).cloned().unwrap_or_default()
    }

    async fn ensure_model(&mut self, model: &LoggedModel, pushed_id: &str) -> Result<LoggedModel, Error> {
        let run_id = self.pushed_run(&model.source_run_id);
        let filter = if run_id.is_empty() {
            format!("name = {}", filter::literal("logged model", &model.name)?)
        } else {
            format!("source_run_id = {}", filter::literal("run id", &run_id)?)
        };
        let found = self.to.search_logged_models(pushed_id, &filter).await?;
        let by_job = |known: &LoggedModel| {
            let job = model.tag(JOB_TAG);
            job.is_some() && known.tag(JOB_TAG) == job && known.tag(MODEL_TAG).is_none()
        };
        let known = found.iter().find(|known| known.tag(MODEL_TAG) == Some(model.model_id.as_str()));
        if let Some(known) = known.or_else(|| found.iter().find(|known| by_job(known))) {
            return Ok(known.clone());
        }
        self.done.models_new += 1;
        let tags = model.tags.iter().cloned().chain([Tag::new(MODEL_TAG, &model.model_id)]).collect();
        let kind = Some(model.model_type.clone()).filter(|kind| !kind.is_empty());
        self.to
            .create_logged_model(&NewLoggedModel {
                experiment_id: pushed_id.to_owned(),
                name: model.name.clone(),
                source_run_id: run_id,
                model_type: kind,
                params: model.params.clone(),
                tags,
            })
            .await
    }

    /// Copies a name of the registry with its versions, the lowest number first, and its aliases.
    pub(super) async fn registered(&mut self, model: &RegisteredModel) -> Result<(), Error> {
        match self.to.create_registered_model(&model.name, &model.tags, &model.description).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        let of_model = format!("name = {}", filter::literal("registered model", &model.name)?);
        let known = self.to.all_model_versions(&of_model).await?;
        let mut numbers = Vec::new();
        for version in self.from.all_model_versions(&of_model).await? {
            let tag = Tag::new(VERSION_TAG, format!("{}#{}", version.source, version.version));
            let by_job = |known: &&ModelVersion| {
                let job = version.tag(JOB_TAG);
                job.is_some() && known.tag(JOB_TAG) == job
            };
            let found = known.iter().find(|known| known.tag(VERSION_TAG) == Some(tag.value.as_str()));
            let (pushed, new) = match found.or_else(|| known.iter().find(by_job)) {
                Some(found) => (found.version, false),
                None => (self.version(&version, tag).await?.version, true),
            };
            numbers.push((version.version, pushed));
            self.done.versions.push(PushedVersion {
                name: model.name.clone(),
                version: version.version,
                pushed_version: pushed,
                new,
            });
        }
        // What a search gives leaves the aliases out on some servers.
        for alias in self.from.registered_model(&model.name).await?.aliases {
            let number = numbers.iter().find(|(version, _)| *version == alias.version).map(|(_, pushed)| *pushed);
            if let Some(number) = number {
                self.record.move_alias(&model.name, &alias.alias, number).await?;
            }
        }
        Ok(())
    }

    async fn version(&self, version: &ModelVersion, tag: Tag) -> Result<ModelVersion, Error> {
        (self.say)(&format!("version {}", version.uri()));
        let model_id = version.model_id().and_then(|id| self.model_ids.get(id)).cloned();
        let source = match &model_id {
            Some(model_id) => format!("models:/{model_id}"),
            // The way of 2.x: the files lie below the run.
            None => self.source_on_run(version),
        };
        self.to
            .create_model_version(&NewModelVersion {
                name: version.name.clone(),
                source,
                model_id,
                run_id: self.pushed_run(&version.run_id),
                tags: version.tags.iter().cloned().chain([tag]).collect(),
                description: version.description.clone(),
            })
            .await
    }

    /// Where the files of a version are that lie below its run: at the same place below the copied run.
    fn source_on_run(&self, version: &ModelVersion) -> String {
        let marker = format!("/{}/artifacts", version.run_id);
        match (version.source.split_once(&marker), self.roots.get(&version.run_id)) {
            (Some((_, path)), Some(root)) => format!("{}{path}", root.trim_end_matches('/')),
            _ => version.source.clone(),
        }
    }
}
