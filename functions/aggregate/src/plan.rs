//! From a train request to the shards of a job, or to the reason why there will be none.

use regrove_data::TargetKind;
use regrove_events::event::{Dataset, ShardRequested, TrainRequested};
use regrove_forest::RandomForestParams;
use regrove_forest::model_selection::stratified_sizes;

use crate::dataset::{self, Data, DataAccess, Refused};
use crate::decide::{self, SHARDS_MAX};

/// A job that can be started.
#[derive(Debug)]
pub struct Plan {
    /// The data, read once for the whole job.
    pub data: Data,
    /// The parameters, complete.
    pub params: RandomForestParams,
}

/// Reads the data and checks everything that the shards will rely on.
///
/// # Errors
/// The job's failure, with the field that is wrong and what it may be; or that the data cannot be fetched now.
pub async fn check(request: &TrainRequested, access: &DataAccess) -> Result<Plan, Refused> {
    let params = check_request(request)?;
    let kind = if params.estimator.is_regressor() { TargetKind::Values } else { TargetKind::Classes };
    let data = dataset::read(&request.dataset, kind, access).await?;
    if kind == TargetKind::Classes {
        check_classes(request, &data)?;
    }
    Ok(Plan { data, params })
}

/// What can be said without the data.
fn check_request(request: &TrainRequested) -> Result<RandomForestParams, Refused> {
    let refuse = |reason: String| Err(Refused::because("invalid-parameter", reason));
    if request.shards == 0 || request.shards > SHARDS_MAX {
        return refuse(format!("`shards` is {}, it must be in 1..={SHARDS_MAX}", request.shards));
    }
    if !(0.0..1.0).contains(&request.test_size) {
        return refuse(format!("`test_size` is {}, it must be in [0, 1)", request.test_size));
    }
    let name = &request.model.name;
    if regrove_events::event::check_subject(name).is_err() {
        let rule = "1 to 128 letters, digits, `.`, `_` and `-`, starting with a letter or digit";
        return refuse(format!("`model.name` is `{name}`, it must be {rule}"));
    }
    let params = serde_json::Value::Object(request.params.clone());
    let params: RandomForestParams = match serde_path_to_error::deserialize(params) {
        Ok(params) => params,
        Err(error) => return refuse(format!("`params.{}`: {}", error.path(), error.inner())),
    };
    match params.check() {
        Ok(()) => Ok(params),
        Err(error) => refuse(error.to_string()),
    }
}

fn check_classes(request: &TrainRequested, data: &Data) -> Result<(), Refused> {
    if data.classes.len() < 2 {
        let found = data.classes.first().map(|(label, _)| label.to_string()).unwrap_or_default();
        let target = &request.dataset.target;
        let reason = format!("target `{target}` has one class only (`{found}`), a classifier needs at least two");
        return Err(Refused::because("one-class", reason));
    }
    let counts: Vec<usize> =
        data.classes.iter().map(|(_, rows)| usize::try_from(*rows).unwrap_or(usize::MAX)).collect();
    if request.test_size > 0.0
        && let Err(error) = stratified_sizes(&counts, request.test_size)
    {
        let reason = format!("`test_size` {}: {error}; 0 turns it off", request.test_size);
        return Err(Refused::because("invalid-parameter", reason));
    }
    Ok(())
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
