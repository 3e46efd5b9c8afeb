//! `regrove train`: asks for a model by emitting `train-requested`.

use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use regrove_events::event::{self, DatasetRequest, ModelRequest, Objective, TrainRequested};
use regrove_events::log::job_stream;
use regrove_events::{Event, Job, JobState, job};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::commands::job::summary;
use crate::output::{Output, Usage};
use crate::reach::{Reach, SOURCE};
use crate::watch;

/// Ask for a model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  regrove train --data examples/breast_cancer.csv --target target --wait\n  \
    regrove train --data 'synthetic:make_classification?n_samples=2500&random_state=42' \\\n    \
    --set n_estimators=75 --set max_depth=30 --set random_state=42 --shards 4 --id my-job --wait")]
pub(crate) struct Args {
    /// CSV file with a header, a `file://` URI, or `synthetic:make_classification?…`
    #[arg(long, value_name = "FILE|URI")]
    data: String,
    /// Column to predict
    #[arg(long, value_name = "COLUMN", default_value = "target")]
    target: String,
    /// A parameter of the forest under scikit-learn's name; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    params: Vec<(String, Value)>,
    /// How many shards to grow the forest in; never changes the model
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    shards: u32,
    /// Share of rows that a second forest does not see and is scored on; 0 for none
    #[arg(long, default_value_t = 0.2)]
    test_size: f64,
    /// Registered model to make a version of
    #[arg(long, value_name = "NAME", default_value = "RandomForestClassifierModel")]
    model: String,
    /// Alias to set on the new version
    #[arg(long)]
    alias: Option<String>,
    /// MLflow experiment
    #[arg(long, default_value = "regrove")]
    experiment: String,
    /// Job id; sending the same job again under its id is harmless
    #[arg(long)]
    id: Option<String>,
    /// Follow the job to its end; exit code 1 if it fails
    #[arg(long)]
    wait: bool,
}

/// `name=value`, the value read as JSON if it is JSON, else as text; `none` is null.
pub(crate) fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = match value {
        "none" | "None" => Value::Null,
        "True" => true.into(),
        "False" => false.into(),
        other => serde_json::from_str(other).unwrap_or_else(|_| other.into()),
    };
    Ok((name.trim().to_owned(), value))
}

pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let request = TrainRequested {
        dataset: DatasetRequest::new(data_uri(&args.data)?, args.target),
        params: args.params.into_iter().collect::<Map<_, _>>(),
        shards: args.shards,
        test_size: args.test_size,
        model: ModelRequest { name: args.model, alias: args.alias, description: None },
        experiment: args.experiment,
        objective: None,
    };
    let job_id = args.id.unwrap_or_else(|| new_job_id("train"));
    event::check_subject(&job_id).map_err(|error| Usage(format!("--id: {error}")))?;
    let control = reach.control()?;
    refuse_taken(&job::replay(&control.log.read(&job_stream(&job_id), 0).await?), &job_id, &request)?;
    let after = control.log.head().await?;
    submit(reach, &job_id, &request).await?;
    if !args.wait {
        return output.result(&json!({"id": job_id, "state": "requested"}), || {
            format!("{job_id}\nfollow it with: regrove job show {job_id}")
        });
    }
    let watched = watch::follow(&control, &job_id, after, false, output).await?;
    output.result(&summary(&job_id, &watched.job), || describe(&job_id, &watched.job))?;
    match watched.job.state {
        JobState::Succeeded => Ok(()),
        JobState::Cancelled => bail!("job {job_id} was cancelled"),
        _ => bail!("job {job_id} failed: {}", watched.job.failure.map(|failure| failure.reason).unwrap_or_default()),
    }
}

/// A job id that sorts by time.
pub(crate) fn new_job_id(prefix: &str) -> String {
    let id = Uuid::now_v7().simple().to_string();
    // The first 12 digits are milliseconds, the last ones are random.
    format!("{prefix}-{}{}", id.get(..12).unwrap_or_default(), id.get(26..).unwrap_or_default())
}

/// Emits the request.
#[expect(clippy::disallowed_methods, reason = "a command is where the outside, and its clock, begins")]
pub(crate) async fn submit(reach: &Reach, job_id: &str, request: &TrainRequested) -> anyhow::Result<()> {
    let event = Event::TrainRequested(request.clone());
    let event = event.first(&format!("{job_id}/request"), SOURCE, job_id, Timestamp::now())?;
    reach.emit(&event).await
}

fn refuse_taken(known: &Job, job_id: &str, request: &TrainRequested) -> anyhow::Result<()> {
    match &known.request {
        Some(taken) if taken != request => {
            Err(Usage(format!("--id {job_id}: the job exists with other parameters; choose another id")).into())
        }
        _ => Ok(()),
    }
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

fn describe(job_id: &str, job: &Job) -> String {
    let mut lines = vec![format!("{job_id} {}", job.state)];
    if let Some(model) = &job.model {
        lines.extend(model.metrics.iter().map(|(key, value)| format!("  {key} {value:.4}")));
    }
    if let Some(registered) = &job.registered {
        lines.push(format!("  {}", registered.uri));
    }
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
        test_size: 0.2,
        model: ModelRequest::default(),
        experiment: "regrove".to_owned(),
        objective: Some(Objective { width: f64::from(WIDTH), height: f64::from(HEIGHT), steps: 200 }),
    }
}
