//! From a train request to the shards of a job, or to the reason why there will be none.

use std::path::Path;

use regrove_events::event::{Dataset, JobFailed, ShardRequested, TrainRequested};
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{Frame, RandomForestParams};

use crate::dataset::{self, Refused};
use crate::decide::{self, SHARDS_MAX};

/// A job that can be started.
#[derive(Debug)]
pub struct Plan {
    /// The data, read once for the whole job.
    pub frame: Frame,
    /// The parameters, complete.
    pub params: RandomForestParams,
}

/// Reads the data and checks everything that the shards will rely on. Blocking.
///
/// # Errors
/// The job's failure, with the field that is wrong and what it may be.
pub fn check(request: &TrainRequested, data_root: Option<&Path>) -> Result<Plan, JobFailed> {
    let refuse = |problem: &str, reason: String| {
        Err(JobFailed { step: "aggregate".to_owned(), problem: problem.to_owned(), reason })
    };
    if request.shards == 0 || request.shards > SHARDS_MAX {
        return refuse("invalid-parameter", format!("`shards` is {}, it must be in 1..={SHARDS_MAX}", request.shards));
    }
    if !(0.0..1.0).contains(&request.test_size) {
        return refuse("invalid-parameter", format!("`test_size` is {}, it must be in [0, 1)", request.test_size));
    }
    let name = &request.model.name;
    if regrove_events::event::check_subject(name).is_err() {
        let rule = "1 to 128 letters, digits, `.`, `_` and `-`, starting with a letter or digit";
        return refuse("invalid-parameter", format!("`model.name` is `{name}`, it must be {rule}"));
    }
    let params = serde_json::Value::Object(request.params.clone());
    let params: RandomForestParams = match serde_path_to_error::deserialize(params) {
        Ok(params) => params,
        Err(error) => return refuse("invalid-parameter", format!("`params.{}`: {}", error.path(), error.inner())),
    };
    if let Err(error) = params.check() {
        return refuse("invalid-parameter", error.to_string());
    }
    let frame = dataset::read(&request.dataset, data_root).map_err(Refused::into_failure)?;
    if frame.classes().len() < 2 {
        let found = frame.classes().first().map(ToString::to_string).unwrap_or_default();
        let target = &request.dataset.target;
        let reason = format!("target `{target}` has one class only (`{found}`), a classifier needs at least two");
        return refuse("one-class", reason);
    }
    if request.test_size > 0.0
        && let Err(error) = train_test_split_stratified(&frame, request.test_size, params.random_state)
    {
        return refuse("invalid-parameter", format!("`test_size` {}: {error}; 0 turns it off", request.test_size));
    }
    Ok(Plan { frame, params })
}

/// The shards of a job, as they are asked for the first time.
pub fn shards(request: &TrainRequested, n_estimators: u32, dataset: &Dataset) -> Vec<ShardRequested> {
    let ranges = decide::plan(n_estimators, request.shards);
    let of = u32::try_from(ranges.len()).unwrap_or(SHARDS_MAX);
    (0..of)
        .zip(ranges)
        .map(|(shard, trees)| ShardRequested {
            shard,
            of,
            trees,
            dataset: dataset.clone(),
            params: request.params.clone(),
            test_size: request.test_size,
            attempt: 1,
        })
        .collect()
}
