//! Runs: who they are first, what they hold later.

use super::{COMPLETE_TAG, Push, RUN_TAG};
use crate::error::Error;
use crate::filter;
use crate::pages::following;
use crate::record::JOB_TAG;
use crate::runs::{NewRun, RunsQuery};
use crate::wire::{Experiment, Metric, ModelOutput, Param, Run, RunStatus, Tag};

/// Runs on a page of the search.
const RUNS_PER_PAGE: u32 = 1000;
/// Names the run below which a run lies.
const PARENT_TAG: &str = "mlflow.parentRunId";

impl Push<'_> {
    /// Makes every active run of an experiment that the target lacks, the oldest first. Gives the source's.
    pub(super) async fn ensure_runs(&mut self, experiment: &Experiment, pushed_id: &str) -> Result<Vec<Run>, Error> {
        let mut query = RunsQuery {
            experiment_ids: vec![experiment.experiment_id.clone()],
            filter: String::new(),
            order_by: vec!["attributes.start_time ASC".to_owned()],
            max_results: RUNS_PER_PAGE,
            page_token: None,
        };
        let mut runs = Vec::new();
        loop {
            let page = self.from.search_runs(&query).await?;
            for run in page.runs {
                let pushed = self.ensure_run(&run, pushed_id).await?;
                self.roots.insert(run.info.run_id.clone(), pushed.info.artifact_uri);
                self.done.run_ids.insert(run.info.run_id.clone(), pushed.info.run_id);
                self.done.runs += 1;
                // What was copied to its end needs no second look; what it holds need not be kept until then.
                if pushed.data.tags.iter().all(|tag| !ends_at(tag, &run)) {
                    runs.push(run);
                }
            }
            query.page_token = following(page.next_page_token);
            if query.page_token.is_none() {
                return Ok(runs);
            }
        }
    }

    async fn ensure_run(&mut self, run: &Run, pushed_id: &str) -> Result<Run, Error> {
        let tag = Tag::new(RUN_TAG, &run.info.run_id);
        if let Some(known) = self.find_run(pushed_id, &tag).await? {
            return Ok(known);
        }
        let job = run.tag(JOB_TAG).map(|job| Tag::new(JOB_TAG, job));
        if let Some(job) = &job
            && let Some(known) = self.find_run(pushed_id, job).await?
        {
            self.to.set_run_tag(&known.info.run_id, &tag).await?;
            return Ok(known);
        }
        self.done.runs_new += 1;
        let new = NewRun {
            experiment_id: pushed_id.to_owned(),
            run_name: run.info.run_name.clone(),
            user_id: run.info.user_id.clone(),
            start_time: run.info.start_time,
            tags: job.into_iter().chain([tag]).collect(),
        };
        self.to.create_run(&new).await
    }

    async fn find_run(&self, pushed_id: &str, tag: &Tag) -> Result<Option<Run>, Error> {
        let query = RunsQuery {
            experiment_ids: vec![pushed_id.to_owned()],
            filter: filter::tag(&tag.key, &tag.value)?,
            order_by: vec!["attributes.start_time ASC".to_owned()],
            max_results: 1,
            page_token: None,
        };
        Ok(self.to.search_runs(&query).await?.runs.into_iter().next())
    }

    /// Copies what a run holds; its end comes last.
    pub(super) async fn content(&mut self, run: &Run) -> Result<(), Error> {
        let source_id = &run.info.run_id;
        let (Some(id), Some(root)) = (self.done.run_ids.get(source_id).cloned(), self.roots.get(source_id).cloned())
        else {
            return Ok(());
        };
        (self.say)(&format!("run {} ({source_id})", run.info.run_name));
        let known = self.to.run(&id).await?;
        let missing: Vec<Param> = run
            .data
            .params
            .iter()
            .filter(|param| known.param(&param.key) != Some(param.value.as_str()))
            .cloned()
            .collect();
        self.record.log_params(&id, &missing).await?;
        for tag in run.data.tags.iter().filter_map(|tag| self.tag(tag, run, &id)) {
            if known.tag(&tag.key) != Some(tag.value.as_str()) {
                self.to.set_run_tag(&id, &tag).await?;
            }
        }
        for metric in &run.data.metrics {
            let points: Vec<Metric> = self.from.metric_history(source_id, &metric.key).await?;
            let points: Vec<Metric> = points.into_iter().map(|point| self.point(point)).collect();
            self.record.log_metrics(&id, &points).await?;
        }
        if !run.inputs.dataset_inputs.is_empty() {
            self.to.log_inputs(&id, &run.inputs.dataset_inputs).await?;
        }
        for output in &run.outputs.model_outputs {
            if let Some(model_id) = self.model_ids.get(&output.model_id) {
                let output = ModelOutput { model_id: model_id.clone(), step: output.step };
                self.record.note_output(&known, output).await?;
            }
        }
        let renamed = [(run.info.artifact_uri.as_str(), root.as_str()), (source_id.as_str(), id.as_str())];
        self.files(&run.info.artifact_uri, &root, &renamed).await?;
        if is_over(run) {
            self.to.update_run(&id, run.info.status, run.info.end_time).await?;
            self.to.set_run_tag(&id, &Tag::new(COMPLETE_TAG, end(run))).await?;
        }
        Ok(())
    }

    /// A tag as it is in the target, where runs have other ids; `None` for one that means nothing there.
    fn tag(&self, tag: &Tag, run: &Run, id: &str) -> Option<Tag> {
        if tag.key == PARENT_TAG {
            return Some(Tag::new(PARENT_TAG, self.done.run_ids.get(&tag.value)?));
        }
        Some(Tag::new(&tag.key, tag.value.replace(&run.info.run_id, id)))
    }

    /// A point of a curve, which may say of which model it is.
    fn point(&self, mut point: Metric) -> Metric {
        point.model_id = point.model_id.and_then(|id| self.model_ids.get(&id).cloned());
        point
    }
}

fn is_over(run: &Run) -> bool {
    matches!(run.info.status, RunStatus::Finished | RunStatus::Failed | RunStatus::Killed)
}

fn end(run: &Run) -> String {
    run.info.end_time.unwrap_or(0).to_string()
}

fn ends_at(tag: &Tag, run: &Run) -> bool {
    is_over(run) && tag.key == COMPLETE_TAG && tag.value == end(run)
}
