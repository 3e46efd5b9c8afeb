//! From a train request to the shards of a job, or to the reason why there will be none.

use regrove_data::TargetKind;
use regrove_events::event::{Dataset, ROW_PARTS, RowPart, ShardBy, ShardRequested, TrainRequested, TreeRange};
use regrove_forest::model_selection::stratified_sizes;
use regrove_forest::{RandomForestParams, RowParts, row_parts};

use crate::dataset::{self, CutData, Data, DataAccess, Refused};
use crate::decide::{self, SHARDS_MAX};

/// A job that can be started.
#[derive(Debug)]
pub struct Plan {
    /// The data, read once for the whole job.
    pub data: Data,
    /// The same in parts of its rows, where shards divide the rows.
    pub cut: Option<CutData>,
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
    let mut data = dataset::read(&request.dataset, kind, params.row_parts.unwrap_or(1), access).await?;
    if kind == TargetKind::Classes {
        check_classes(request, &data)?;
    }
    let cut = match params.row_parts {
        None => None,
        Some(n_parts) => {
            let parts = row_parts_of(&data, n_parts, params.random_state)?;
            let cut = dataset::cut_rows(&mut data, &request.dataset, kind, parts, access).await?;
            check_parts(request, &cut)?;
            Some(cut)
        }
    };
    Ok(Plan { data, cut, params })
}

fn row_parts_of(data: &Data, n_parts: u32, random_state: u32) -> Result<RowParts, Refused> {
    let n_samples = usize::try_from(data.n_samples).unwrap_or(usize::MAX);
    RowParts::new(n_samples, n_parts, random_state).map_err(|_| {
        let reason = format!("`shards` is {n_parts} by rows, it must be at most {n_samples}, the number of rows");
        Refused::because("invalid-parameter", reason)
    })
}

/// Rows are held out of each part by itself.
fn check_parts(request: &TrainRequested, cut: &CutData) -> Result<(), Refused> {
    if request.test_size <= 0.0 {
        return Ok(());
    }
    for (part, rows) in cut.class_rows().enumerate() {
        let present = rows.iter().filter(|rows| **rows > 0);
        let counts: Vec<usize> = present.map(|rows| usize::try_from(*rows).unwrap_or(usize::MAX)).collect();
        if let Err(error) = stratified_sizes(&counts, request.test_size) {
            let test_size = request.test_size;
            let reason = format!(
                "`test_size` {test_size}, part {part} of the rows: {error}; use fewer `shards`, or 0 to turn it off"
            );
            return Err(Refused::because("invalid-parameter", reason));
        }
    }
    Ok(())
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
    if request.params.contains_key(ROW_PARTS) {
        return refuse(format!("`params.{ROW_PARTS}` is set by `shard_by`: say \"rows\" and as many `shards`"));
    }
    let params = serde_json::Value::Object(request.forest_params());
    let params: RandomForestParams = match serde_path_to_error::deserialize(params) {
        Ok(params) => params,
        Err(error) => return refuse(format!("`params.{}`: {}", error.path(), error.inner())),
    };
    if request.shard_by == ShardBy::Rows && request.shards > params.n_estimators {
        let (shards, trees) = (request.shards, params.n_estimators);
        return refuse(format!(
            "`shards` is {shards} by rows, it must be at most {trees} (`n_estimators`): every part of the rows grows a tree"
        ));
    }
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

/// The shards of a job, as they are asked for the first time. `parts` are those of the rows, where shards divide them.
pub fn shards(
    request: &TrainRequested,
    params: &RandomForestParams,
    dataset: &Dataset,
    parts: Vec<RowPart>,
) -> Vec<ShardRequested> {
    let work: Vec<(TreeRange, Option<RowPart>)> = if parts.is_empty() {
        decide::plan(params.n_estimators, request.shards).into_iter().map(|trees| (trees, None)).collect()
    } else {
        let trees = |part: &RowPart| {
            let trees = row_parts::trees(params, part.index);
            TreeRange { from: trees.start, to: trees.end }
        };
        parts.into_iter().map(|part| (trees(&part), Some(part))).collect()
    };
    let of = u32::try_from(work.len()).unwrap_or(SHARDS_MAX);
    (0..of)
        .zip(work)
        .map(|(shard, (trees, part))| ShardRequested {
            shard,
            of,
            trees,
            dataset: dataset.clone(),
            params: request.forest_params(),
            test_size: request.test_size,
            attempt: 1,
            part,
        })
        .collect()
}
