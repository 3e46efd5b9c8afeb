//! From a train request to the shards of a job, or to the reason why there will be none.

use regrove_data::TargetKind;
use regrove_events::event::{Dataset, ROW_PARTS, RowPart, ShardBy, ShardRequested, TrainRequested, TreeRange};
use regrove_events::score::{metrics_of, usual_metric};
use regrove_forest::model_selection::{split_sizes, stratified_sizes};
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
    check_early_stop(request, &params)?;
    let kind = if params.estimator.is_regressor() { TargetKind::Values } else { TargetKind::Classes };
    let mut data = dataset::read(&request.dataset, kind, params.row_parts.unwrap_or(1), access).await?;
    match kind {
        TargetKind::Classes => check_classes(request, &data)?,
        TargetKind::Values => check_split(request, None, split_sizes(count(data.n_samples), request.test_size))?,
    }
    let cut = match params.row_parts {
        None => None,
        Some(n_parts) => {
            let parts = row_parts_of(&data, n_parts, params.random_state)?;
            let cut = dataset::cut_rows(&mut data, &request.dataset, kind, parts, access).await?;
            check_parts(request, kind, &cut)?;
            Some(cut)
        }
    };
    Ok(Plan { data, cut, params })
}

fn row_parts_of(data: &Data, n_parts: u32, random_state: u32) -> Result<RowParts, Refused> {
    let n_samples = count(data.n_samples);
    RowParts::new(n_samples, n_parts, random_state).map_err(|_| {
        let reason = format!("`shards` is {n_parts} by rows, it must be at most {n_samples}, the number of rows");
        Refused::because("invalid-parameter", reason)
    })
}

/// Rows are held out of each part by itself.
fn check_parts(request: &TrainRequested, kind: TargetKind, cut: &CutData) -> Result<(), Refused> {
    for (part, rows) in cut.rows().enumerate() {
        let sizes = match kind {
            TargetKind::Values => split_sizes(count(rows.n_samples), request.test_size),
            TargetKind::Classes => {
                let present = rows.by_class.iter().filter(|rows| **rows > 0);
                stratified_sizes(&present.map(|rows| count(*rows)).collect::<Vec<_>>(), request.test_size)
            }
        };
        check_split(request, Some(part), sizes)?;
    }
    Ok(())
}

/// Refuses a request whose rows cannot be held out, if any are to be. Rows are held out of a part, or of all rows.
fn check_split(
    request: &TrainRequested,
    part: Option<usize>,
    sizes: Result<(usize, usize), regrove_forest::Error>,
) -> Result<(), Refused> {
    match sizes {
        Err(error) if request.test_size > 0.0 => {
            let test_size = request.test_size;
            let reason = match part {
                None => format!("`test_size` {test_size}: {error}; 0 turns it off"),
                Some(part) => format!(
                    "`test_size` {test_size}, part {part} of the rows: {error}; use fewer `shards`, or 0 to turn it off"
                ),
            };
            Err(Refused::because("invalid-parameter", reason))
        }
        _ => Ok(()),
    }
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
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
    let name = &request.model_name();
    if regrove_events::event::check_subject(name).is_err() {
        let rule = "1 to 128 letters, digits, `.`, `_` and `-`, starting with a letter or digit";
        return refuse(format!("`model.name` is `{name}`, it must be {rule}"));
    }
    if request.params.contains_key(ROW_PARTS) {
        return refuse(format!("`params.{ROW_PARTS}` is set by `shard_by`: say \"rows\" and as many `shards`"));
    }
    let params: RandomForestParams = match serde_json::from_value(request.forest_params().into()) {
        Ok(params) => params,
        Err(error) => return refuse(format!("params: {error}")),
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
    let counts: Vec<usize> = data.classes.iter().map(|(_, rows)| count(*rows)).collect();
    check_split(request, None, stratified_sizes(&counts, request.test_size))
}

fn check_early_stop(request: &TrainRequested, params: &RandomForestParams) -> Result<(), Refused> {
    let Some(stop) = &request.early_stop else { return Ok(()) };
    let refuse = |field: &str, reason: String| {
        Err(Refused::because("invalid-parameter", format!("`early_stop.{field}` {reason}")))
    };
    if request.shard_by == ShardBy::Rows {
        let reason = "`early_stop` needs shards that divide the trees, and `shard_by` is `rows`: leave one of them out";
        return Err(Refused::because("invalid-parameter", reason));
    }
    if stop.trees == 0 {
        return refuse("trees", "is 0, it must be at least 1".to_owned());
    }
    if stop.rounds == 0 {
        return refuse("rounds", "is 0, it must be at least 1".to_owned());
    }
    if !(stop.min_gain.is_finite() && stop.min_gain >= 0.0) {
        return refuse("min_gain", format!("is {}, it must be at least 0", stop.min_gain));
    }
    let regressor = params.estimator.is_regressor();
    let (all, usual) = (metrics_of(regressor), usual_metric(regressor));
    let metric = stop.metric.as_deref().unwrap_or(usual);
    if request.test_size > 0.0 {
        if !all.contains(&metric) {
            return refuse("metric", format!("is `{metric}`, it must be one of {}", all.join(", ")));
        }
    } else if metric != usual {
        return refuse(
            "metric",
            format!("is `{metric}`; where no rows are held out (`test_size` 0) it must be {usual}"),
        );
    } else if !params.bootstrap {
        return refuse("metric", "needs held-out rows (`test_size`) or `bootstrap`".to_owned());
    }
    Ok(())
}

/// The shards of a round of a job that divide its trees, as they are asked for the first time. `before` shards were asked for
/// in earlier rounds.
pub fn round(request: &TrainRequested, trees: TreeRange, before: u32, dataset: &Dataset) -> Vec<ShardRequested> {
    let ranges = decide::plan(trees.to - trees.from, request.shards);
    let of = before + u32::try_from(ranges.len()).unwrap_or(SHARDS_MAX);
    let moved = |range: TreeRange| TreeRange { from: trees.from + range.from, to: trees.from + range.to };
    (before..of).zip(ranges).map(|(shard, range)| wish(request, dataset, (shard, of), moved(range), None)).collect()
}

/// The shards of a job that divide its rows, as they are asked for the first time.
pub fn by_rows(
    request: &TrainRequested,
    params: &RandomForestParams,
    dataset: &Dataset,
    parts: Vec<RowPart>,
) -> Vec<ShardRequested> {
    let of = u32::try_from(parts.len()).unwrap_or(SHARDS_MAX);
    let ask = |(shard, part): (u32, RowPart)| {
        let trees = row_parts::trees(params, part.index);
        wish(request, dataset, (shard, of), TreeRange { from: trees.start, to: trees.end }, Some(part))
    };
    (0..of).zip(parts).map(ask).collect()
}

fn wish(
    request: &TrainRequested,
    dataset: &Dataset,
    (shard, of): (u32, u32),
    trees: TreeRange,
    part: Option<RowPart>,
) -> ShardRequested {
    ShardRequested {
        shard,
        of,
        trees,
        dataset: dataset.clone(),
        params: request.forest_params(),
        test_size: request.test_size,
        attempt: 1,
        part,
    }
}
