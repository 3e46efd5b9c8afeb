//! Copies one record into another MLflow: experiments, runs with their curves and files, logged models, versions, aliases.
//!
//! Safe to repeat, after a crash at any point too. What was made for a thing of the source carries a tag with its identity
//! there ([`RUN_TAG`], [`MODEL_TAG`], [`VERSION_TAG`]), and what a job has made in the target already is taken for it
//! ([`JOB_TAG`](crate::record::JOB_TAG)); each is looked for before it is made. A run whose end was copied carries
//! [`COMPLETE_TAG`] and is not read again.
//!
//! Run ids, model ids and, where versions were deleted, version numbers are the target's own: [`Pushed`] says which became
//! which. Deleted runs and experiments stay behind.

mod files;
mod models;
mod runs;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::Client;
use crate::error::Error;
use crate::record::Record;

/// Tag of runs: their id in the record that they come from.
pub const RUN_TAG: &str = "regrove.pushed_run";
/// Tag of logged models: their id in the record that they come from.
pub const MODEL_TAG: &str = "regrove.pushed_model";
/// Tag of versions: where their files are in the record that they come from, and their number there.
pub const VERSION_TAG: &str = "regrove.pushed_version";
/// Tag of runs: when the run ended whose last point, parameter and file have been copied; milliseconds since 1970.
pub const COMPLETE_TAG: &str = "regrove.pushed_end";

/// A version of the source, and what it is in the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushedVersion {
    /// Registered model.
    pub name: String,
    /// Number in the source.
    pub version: u64,
    /// Number in the target.
    pub pushed_version: u64,
    /// Whether this push has made it.
    pub new: bool,
}

/// What a push has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Runs of the source.
    pub runs: u64,
    /// Those of them that the target did not have.
    pub runs_new: u64,
    /// Logged models of the source.
    pub models: u64,
    /// Those of them that the target did not have.
    pub models_new: u64,
    /// Files that were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Every version of the source.
    pub versions: Vec<PushedVersion>,
    /// The target's id of each run, by the source's.
    pub run_ids: BTreeMap<String, String>,
}

/// Told, in words for people, what is being copied.
pub type Say<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// Copies everything in `from` to `to`.
///
/// # Errors
/// [`Error::Configuration`] when both are one server; what either of them refuses. What was copied so far stays, and the
/// next push goes on from there.
pub async fn push(from: &Client, to: &Client, say: &Say<'_>) -> Result<Pushed, Error> {
    if from.uri() == to.uri() {
        let reason = format!("{} is where the record comes from; name another MLflow", to.uri());
        return Err(Error::Configuration { setting: "--to", reason });
    }
    let mut push = Push {
        from,
        to,
        record: Record::new(to.clone()),
        say,
        done: Pushed::default(),
        model_ids: BTreeMap::new(),
        roots: BTreeMap::new(),
    };
    push.all().await?;
    Ok(push.done)
}

struct Push<'a> {
    from: &'a Client,
    to: &'a Client,
    /// Operations on `to`.
    record: Record,
    say: &'a Say<'a>,
    done: Pushed,
    /// The target's id of each logged model, by the source's.
    model_ids: BTreeMap<String, String>,
    /// The target's artifact root of each run, by the source's.
    roots: BTreeMap<String, String>,
}

impl Push<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        for experiment in self.from.search_experiments("").await? {
            let pushed_id = self.record.ensure_experiment(&experiment.name).await?;
            // All runs first: some name others, and models name the run that made them.
            let runs = self.ensure_runs(&experiment, &pushed_id).await?;
            self.models(&experiment, &pushed_id).await?;
            for run in &runs {
                self.content(run).await?;
            }
        }
        for model in self.from.search_registered_models("").await? {
            self.registered(&model).await?;
        }
        Ok(())
    }
}
