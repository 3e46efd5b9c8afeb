//! `regrove train`: asks for a model by emitting `train-requested`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use regrove_data::{TargetKind, Wish};
use regrove_events::JobState;
use regrove_events::event::{
    self, CsvFormat, DatasetRequest, EarlyStop, ModelRequest, Objective, ShardBy, SweepRequested, TrainRequested,
};
use regrove_events::log::Version;
use regrove_jobs::Summary;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::commands::{job, sweep};
use crate::output::{Output, Usage};
use crate::reach::Reach;
use crate::source::Source;
use crate::watch;

/// Ask for a model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  regrove train --data examples/breast_cancer.csv --target target --wait\n  \
    regrove train --data s3://bucket/rides.parquet --target tip --drop ride_id --categorical zone --id rides-7\n  \
    regrove train --data iris.csv --target species --sweep n_estimators=100,200 --sweep max_depth=8,16,none \\\n    \
    --metric accuracy --alias champion --wait\n  \
    regrove train --data iris.csv --target species --set n_estimators=1000 --early-stop --round 50 --wait\n  \
    regrove train --file job.yaml --set n_estimators=200 --wait\n  \
    regrove train --data 'synthetic:make_classification?n_samples=2500&random_state=42' \\\n    \
    --set n_estimators=75 --set max_depth=30 --set random_state=42 --shards 4 --id my-job --wait\n  \
    regrove train --data rides.parquet --target tip --shards 8 --shard-by rows\n\n\
    A file has the fields of the event `train-requested` (docs/events.md), as YAML or JSON; flags go before it.\n\n\
    Exit codes: 0 asked for, or with --wait succeeded; 1 failed; 2 wrong arguments; 3 cancelled while waiting.")]
pub(crate) struct Args {
    /// CSV or Parquet file, a URI (file:, https:, s3:, gs:, az:), or `synthetic:make_classification?…`
    #[arg(long, value_name = "FILE|URI", required_unless_present = "file")]
    data: Option<String>,
    /// The whole request as YAML or JSON; `-` for standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Column to predict [default: target]
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    #[command(flatten)]
    columns: Columns,
    /// A parameter of the forest under scikit-learn's name; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    params: Vec<(String, Value)>,
    /// How many shards to grow the forest in; never changes the model, unless they divide the rows [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// What the shards divide: `trees`, or `rows` for data larger than one worker, which makes another model than
    /// scikit-learn's: each shard grows its trees on a part of the rows [default: trees]
    #[arg(long, value_name = "WHAT", value_parser = shard_by)]
    shard_by: Option<ShardBy>,
    /// Share of rows that a second forest does not see and is scored on; 0 for none [default: 0.2]
    #[arg(long)]
    test_size: Option<f64>,
    /// Registered model to make a version of [default: that of the estimator, such as `RandomForestClassifierModel`]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Alias to set on the new version
    #[arg(long)]
    alias: Option<String>,
    /// MLflow experiment [default: regrove]
    #[arg(long)]
    experiment: Option<String>,
    /// Job id; sending the same job again under its id is harmless
    #[arg(long)]
    id: Option<String>,
    /// Values of a parameter to try; may be repeated. Every combination is a job, the best one is registered
    #[arg(long, value_name = "NAME=V1,V2,…", value_parser = values)]
    sweep: Vec<(String, Vec<Value>)>,
    /// What makes a trial of a sweep the best, on held-out rows: `accuracy`, `balanced_accuracy`, `f1_macro`, `roc_auc`, `log_loss`; of a
    /// regressor `r2_score`, `mean_squared_error`, `root_mean_squared_error`, `mean_absolute_error` [default: the first]
    #[arg(long, requires = "sweep")]
    metric: Option<String>,
    #[command(flatten)]
    early: Early,
    /// Follow the job to its end
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Return as soon as the broker has the request, which is the default
    #[arg(long)]
    no_wait: bool,
}

/// When a forest stops growing.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Early stop")]
pub(crate) struct Early {
    /// Grow the forest in rounds, until so many in a row have brought no gain; it keeps the trees up to the last gain
    #[arg(long = "early-stop", value_name = "ROUNDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Trees of a round [default: 50]
    #[arg(long, value_name = "TREES", requires = "patience", value_parser = clap::value_parser!(u32).range(1..))]
    round: Option<u32>,
    /// What a score must be better by to be a gain [default: 0]
    #[arg(long, value_name = "GAIN", requires = "patience")]
    min_gain: Option<f64>,
    /// What is scored, on held-out rows: one of those of `--metric` [default: that of the sweep, else the first]
    #[arg(long, value_name = "METRIC", requires = "patience")]
    stop_metric: Option<String>,
}

impl Early {
    /// What was said, over what the file says; `metric` is what is scored when nothing is said about it.
    fn over(self, known: Option<EarlyStop>, metric: Option<&str>) -> Option<EarlyStop> {
        let Some(rounds) = self.patience else { return known };
        let usual = known.unwrap_or_else(|| EarlyStop { metric: metric.map(str::to_owned), ..EarlyStop::default() });
        Some(EarlyStop {
            rounds,
            trees: self.round.unwrap_or(usual.trees),
            min_gain: self.min_gain.unwrap_or(usual.min_gain),
            metric: self.stop_metric.or(usual.metric),
        })
    }
}

/// How a file's columns are written and used.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Columns")]
pub(crate) struct Columns {
    /// CSV: what stands between cells [default: ,]
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<char>,
    /// CSV: what stands around cells that hold delimiters [default: "]
    #[arg(long, value_name = "CHAR")]
    quote: Option<char>,
    /// CSV: the first line is data; columns are `column_0`, `column_1`, …
    #[arg(long)]
    no_header: bool,
    /// CSV: a cell that stands for a missing value; may be repeated [default: NA, N/A, NaN, null, None, …]
    #[arg(long, value_name = "TEXT")]
    missing: Vec<String>,
    /// A column to leave out; may be repeated
    #[arg(long, value_name = "COLUMN")]
    drop: Vec<String>,
    /// A column of numbers that stands for categories; may be repeated
    #[arg(long, value_name = "COLUMN")]
    categorical: Vec<String>,
    /// A column of what each row weighs when trees grow, numbers of 0 or more; it is no feature
    #[arg(long, value_name = "COLUMN")]
    sample_weight: Option<String>,
}

impl Columns {
    /// The way of writing, when anything was said about it.
    pub(crate) fn csv(&self) -> Option<CsvFormat> {
        let usual = CsvFormat::default();
        let format = CsvFormat {
            delimiter: self.delimiter.unwrap_or(usual.delimiter),
            quote: self.quote.unwrap_or(usual.quote),
            header: !self.no_header,
            missing: (!self.missing.is_empty()).then(|| self.missing.clone()),
        };
        (format != usual).then_some(format)
    }

    /// What a frame of a file on this machine is to hold.
    pub(crate) fn wish(self, target: String, kind: TargetKind) -> Wish {
        let Self { drop, categorical, sample_weight, .. } = self;
        Wish { target, kind, drop, categorical, sample_weight, frame_bytes_max: u64::MAX }
    }

    /// The columns that are read.
    pub(crate) fn wanted(&self) -> regrove_data::Columns<'_> {
        regrove_data::Columns::Except(&self.drop)
    }

    /// Whether a column is left out.
    pub(crate) fn dropped(&self, name: &str) -> bool {
        self.drop.iter().any(|dropped| dropped == name)
    }

    /// The columns whose distinct values matter.
    pub(crate) fn counted(&self, target: Option<&str>) -> BTreeSet<String> {
        self.categorical.iter().cloned().chain(target.map(str::to_owned)).collect()
    }
}

/// The job was cancelled while the command waited for it: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("job {id} was cancelled")]
pub(crate) struct Cancelled {
    id: String,
}

/// `name=value`, the value read as JSON if it is JSON, else as text; `none` is null.
pub(crate) fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), setting(value)))
}

/// `trees` or `rows`.
fn shard_by(text: &str) -> Result<ShardBy, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected trees or rows".to_owned())
}

/// `name=v1,v2`; a value that holds commas is written as JSON in a list: `name=["a,b"]`.
fn values(text: &str) -> Result<(String, Vec<Value>), String> {
    let (name, values) = text.split_once('=').ok_or("expected NAME=V1,V2,…")?;
    let values = match serde_json::from_str::<Vec<Value>>(values) {
        Ok(list) => list,
        Err(_) => values.split(',').map(|value| setting(value.trim())).collect(),
    };
    Ok((name.trim().to_owned(), values))
}

fn setting(value: &str) -> Value {
    match value {
        "none" | "None" => Value::Null,
        "True" => true.into(),
        "False" => false.into(),
        other => serde_json::from_str(other).unwrap_or_else(|_| other.into()),
    }
}

pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let source = Source::of(reach)?;
    let job_id = args.id.clone().unwrap_or_else(|| new_job_id("train"));
    event::check_subject(&job_id).map_err(|error| Usage(format!("--id: {error}")))?;
    let wait = args.wait;
    if !args.sweep.is_empty() {
        let (grid, metric) = (args.sweep.iter().cloned().collect(), args.metric.clone());
        let wish = SweepRequested { train: request(args)?, grid, metric };
        return sweep::run(&job_id, &wish, wait, &source, output).await;
    }
    let request = request(args)?;
    let known = job::version(&source, &job_id).await?;
    source.submit(&job_id, &request).await.map_err(|error| match error.downcast::<Usage>() {
        Ok(refused) => Usage(format!("--id {job_id}: {refused}")).into(),
        Err(failure) => failure,
    })?;
    job::asked(&job_id, known, wait, &source, output).await
}

/// The request of the file, with what the flags say in its place.
fn request(args: Args) -> anyhow::Result<TrainRequested> {
    let mut request = match (&args.file, &args.data) {
        (Some(file), _) => read_request(file)?,
        (None, Some(data)) => TrainRequested::new(DatasetRequest::new(data_uri(data)?, "target")),
        (None, None) => return Err(Usage("say --data or --file".to_owned()).into()),
    };
    if let Some(data) = &args.data {
        request.dataset.uri = data_uri(data)?;
    }
    let dataset = &mut request.dataset;
    dataset.csv = args.columns.csv().or(dataset.csv.take());
    dataset.target = args.target.unwrap_or_else(|| std::mem::take(&mut dataset.target));
    dataset.drop.extend(args.columns.drop);
    dataset.categorical.extend(args.columns.categorical);
    dataset.sample_weight = args.columns.sample_weight.or(dataset.sample_weight.take());
    request.params.extend(args.params);
    request.early_stop = args.early.over(request.early_stop.take(), args.metric.as_deref());
    request.shards = args.shards.unwrap_or(request.shards);
    request.shard_by = args.shard_by.unwrap_or(request.shard_by);
    request.test_size = args.test_size.unwrap_or(request.test_size);
    request.model.name = args.model.or(request.model.name.take());
    request.model.alias = args.alias.or(request.model.alias);
    request.experiment = args.experiment.unwrap_or(request.experiment);
    Ok(request)
}

/// Reads a request as YAML, of which JSON is a part. A relative path in it is relative to the file.
fn read_request(file: &Path) -> anyhow::Result<TrainRequested> {
    let place = file.display();
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file).map_err(|error| Usage(format!("--file {place}: {error}")))?
    };
    let mut request: TrainRequested =
        serde_saphyr::from_str(&text).map_err(|error| Usage(format!("--file {place}: {error}")))?;
    if !request.dataset.uri.contains(':') {
        let beside = file.parent().unwrap_or(Path::new("")).join(&request.dataset.uri);
        request.dataset.uri = data_uri(&beside.to_string_lossy())?;
    }
    Ok(request)
}

/// Follows a job to its end and says what became of it.
pub(crate) async fn wait_for(job_id: &str, known: Version, source: &Source, output: &Output) -> anyhow::Result<()> {
    let job = watch::follow(source, job_id, known, output).await?.summary;
    output.result(&job, || describe(&job))?;
    match job.state {
        JobState::Succeeded => Ok(()),
        JobState::Cancelled => Err(Cancelled { id: job_id.to_owned() }.into()),
        _ => bail!("job {job_id} failed: {}", job.failure.map(|failure| failure.reason).unwrap_or_default()),
    }
}

/// A job id that sorts by time.
pub(crate) fn new_job_id(prefix: &str) -> String {
    let id = Uuid::now_v7().simple().to_string();
    // The first 12 digits are milliseconds, the last ones are random.
    format!("{prefix}-{}{}", id.get(..12).unwrap_or_default(), id.get(26..).unwrap_or_default())
}

/// A path becomes an absolute `file://` URI; a URI stays.
fn data_uri(data: &str) -> anyhow::Result<String> {
    if data.contains(':') && !Path::new(data).exists() {
        return Ok(data.to_owned());
    }
    let path = Path::new(data).canonicalize().map_err(|error| Usage(format!("--data {data}: {error}")))?;
    let uri = url::Url::from_file_path(&path).ok().context("the path has no URI")?;
    Ok(uri.into())
}

fn describe(job: &Summary) -> String {
    let mut lines = vec![format!("{} {}", job.id, job.state)];
    lines.extend(job.metrics.iter().map(|(key, value)| format!("  {key} {value:.4}")));
    lines.extend(job.model.as_ref().map(|model| format!("  {}", model.uri)));
    lines.join("\n")
}

/// The reference job: the parameters that the reference stack trains with.
pub(crate) fn reference_request(shards: u32) -> TrainRequested {
    const WIDTH: u32 = 75;
    const HEIGHT: u32 = 30;
    let params = json!({"n_estimators": WIDTH, "max_depth": HEIGHT, "max_features": 0.7, "random_state": 42});
    let data = "synthetic:make_classification?n_samples=2500&n_features=20&n_informative=10&n_redundant=10\
                &n_classes=2&random_state=42";
    TrainRequested {
        dataset: DatasetRequest { name: Some("make_classification".to_owned()), ..DatasetRequest::new(data, "target") },
        params: params.as_object().cloned().unwrap_or_default(),
        shards,
        shard_by: ShardBy::Trees,
        test_size: 0.2,
        model: ModelRequest::default(),
        experiment: "regrove".to_owned(),
        objective: Some(Objective { width: f64::from(WIDTH), height: f64::from(HEIGHT), steps: 200 }),
        early_stop: None,
        sweep: None,
    }
}
