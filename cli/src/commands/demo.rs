//! `regrove demo`: the whole loop on this machine, from an event to a prediction.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use regrove_events::event::{DatasetRequest, ModelRequest, ShardBy, TrainRequested};
use regrove_events::log::job_stream;
use regrove_events::{JobState, job};
use regrove_runtime::{Runtime, RuntimeConfig};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use crate::commands::predict::ask;
use crate::commands::train::{new_job_id, reference_request};
use crate::commands::up::{Interrupt, environment, stop};
use crate::output::{Output, Usage};
use crate::reach::{Reach, Refused};
use crate::source::Source;
use crate::{binaries, manifests, watch};

/// The data set that the repository ships; `examples/README.md` says where it comes from.
const BREAST_CANCER: &str = include_str!("../../../examples/breast_cancer.csv");

/// How long a replica of `predict` may take to serve the version that the serving pointer names.
const SWITCH_WAIT: Duration = Duration::from_secs(30);
/// Time between two questions until then.
const SWITCH_PAUSE: Duration = Duration::from_millis(10);

/// Run the whole loop on this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  regrove demo --json | jq '.jobs[0].prediction'")]
pub(crate) struct Args {
    /// How many shards to grow each forest in
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    shards: u32,
    /// MLflow to use instead of the embedded record
    #[arg(long, env = "MLFLOW_TRACKING_URI", value_name = "URL")]
    mlflow_tracking_uri: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    jobs: Vec<Value>,
    cold_starts_ms: BTreeMap<String, Vec<f64>>,
}

pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let mut interrupt = Interrupt::listen()?;
    let outcome = tokio::select! {
        outcome = start(&args, reach, output) => outcome,
        () = interrupt.wait() => return Ok(()),
    };
    let (runtime, reach) = outcome?;
    let outcome = tokio::select! {
        outcome = both_jobs(&args, &runtime, &reach, output) => Some(outcome),
        () = interrupt.wait() => None,
    };
    // Whatever came of it, no process stays behind.
    stop(runtime, &mut interrupt).await;
    let Some(report) = outcome.transpose()? else {
        output.progress("interrupted");
        return Ok(());
    };
    output.result(&report, || describe(&report))
}

/// Starts the local runtime on free ports, everything at zero replicas.
async fn start(args: &Args, reach: &Reach, output: &Output) -> anyhow::Result<(Runtime, Reach)> {
    let application = manifests::read(None, output)?;
    let bin_dirs = binaries::directories(output).await?;
    let mut config = RuntimeConfig::new(application, &reach.store.home).on_free_ports();
    config.bin_dirs = bin_dirs;
    config.env = environment(reach, args.mlflow_tracking_uri.as_deref())?;
    if args.mlflow_tracking_uri.is_some() {
        config.record = None;
    }
    let runtime = Runtime::start(config).await?;
    let addresses = runtime.addresses();
    let mut here = reach.clone();
    here.console = None;
    here.gateway = Url::parse(&format!("http://{}", addresses.gateway))?;
    here.broker = Url::parse(&format!("http://{}/{}/default", addresses.ingress, reach.namespace))?;
    output.progress(format_args!(
        "local runtime: gateway {}, broker {}, {} functions at zero replicas",
        here.gateway,
        here.broker,
        runtime.status().services.len()
    ));
    Ok((runtime, here))
}

async fn both_jobs(args: &Args, runtime: &Runtime, reach: &Reach, output: &Output) -> anyhow::Result<Report> {
    let one_to_twenty: Vec<f64> = (1..=20).map(f64::from).collect();
    let reference = one_job("reference", reference_request(args.shards), Some(one_to_twenty), reach, output).await?;
    let cancer = one_job("breast-cancer", breast_cancer(args.shards, reach)?, None, reach, output).await?;
    Ok(Report { jobs: vec![reference, cancer], cold_starts_ms: cold_starts(runtime) })
}

/// Milliseconds of each start from zero, by function.
fn cold_starts(runtime: &Runtime) -> BTreeMap<String, Vec<f64>> {
    let by_function =
        |(service, times): (String, Vec<f64>)| (service.rsplit('/').next().unwrap_or(&service).to_owned(), times);
    runtime.cold_starts().into_iter().map(by_function).collect()
}

/// The data set as a file, so that the job reads it as any other.
fn breast_cancer(shards: u32, reach: &Reach) -> anyhow::Result<TrainRequested> {
    let path = reach.store.home.join("breast_cancer.csv");
    std::fs::write(&path, BREAST_CANCER).map_err(|error| Usage(format!("{}: {error}", path.display())))?;
    let uri = Url::from_file_path(path.canonicalize()?).ok().context("the path has no URI")?;
    let params = json!({"n_estimators": 100, "random_state": 42});
    Ok(TrainRequested {
        dataset: DatasetRequest::new(uri, "target"),
        params: params.as_object().cloned().unwrap_or_default(),
        shards,
        shard_by: ShardBy::Trees,
        test_size: 0.2,
        model: ModelRequest::named("BreastCancerModel"),
        experiment: "regrove".to_owned(),
        objective: None,
        early_stop: None,
        sweep: None,
    })
}

/// One job from its event to a prediction. Without `row`, the job's own input example is asked for.
async fn one_job(
    name: &str,
    request: TrainRequested,
    row: Option<Vec<f64>>,
    reach: &Reach,
    output: &Output,
) -> anyhow::Result<Value> {
    let job_id = new_job_id(name);
    let source = Source::of(reach)?;
    source.submit(&job_id, &request).await?;
    let summary = watch::follow(&source, &job_id, 0, output).await?.summary;
    if summary.state != JobState::Succeeded {
        bail!("job {job_id} {}: {}", summary.state, summary.failure.map(|failure| failure.reason).unwrap_or_default());
    }
    let control = reach.control()?;
    let job = job::replay(&control.log.read(&job_stream(&job_id), 0).await?);
    let registered = job.registered.context("a job that has succeeded has a version")?;
    let loaded = watch::until_served(&control, &registered).await?;
    let row = row.or_else(|| job.model.as_ref().map(|model| model.input_example.clone())).unwrap_or_default();
    let version = registered.version.as_str();
    let (prediction, predict_seconds) = ask_version(reach, &request.model_name(), version, &json!([row])).await?;
    output.progress(format_args!("{job_id}: predicted {}", prediction["predictions"]));
    let mut value = serde_json::to_value(&summary)?;
    let load_seconds = loaded.time().zip(job.registered_at).map(|(to, from)| to.duration_since(from).as_secs_f64());
    value["seconds"]["load"] = json!(load_seconds);
    value["seconds"]["predict"] = json!(predict_seconds);
    value["prediction"] = json!({
        "predictions": prediction["predictions"],
        "probabilities": prediction["probabilities"],
        "model_version": prediction["model_version"],
    });
    Ok(value)
}

/// Asks for a prediction until it comes from `version`: replicas follow the serving pointer within moments. Returns the
/// answer and the seconds that it took.
async fn ask_version(reach: &Reach, name: &str, version: &str, rows: &Value) -> anyhow::Result<(Value, f64)> {
    let deadline = Instant::now() + SWITCH_WAIT;
    loop {
        let asked = Instant::now();
        let answer = ask(reach, Some(name), rows).await;
        let seconds = asked.elapsed().as_secs_f64();
        let early = match &answer {
            Ok(prediction) => prediction["model_version"] != version,
            Err(error) => error.downcast_ref().is_some_and(|refused: &Refused| refused.status == 503),
        };
        if !early || Instant::now() >= deadline {
            return Ok((answer?, seconds));
        }
        tokio::time::sleep(SWITCH_PAUSE).await;
    }
}

fn describe(report: &Report) -> String {
    let mut lines = Vec::new();
    for job in &report.jobs {
        let seconds = |name: &str| job["seconds"][name].as_f64().unwrap_or_default();
        let metric = |name: &str| job["metrics"][name].as_f64();
        lines.push(String::new());
        lines.push(format!("job         {} ({})", text(&job["id"]), text(&job["state"])));
        lines.push(format!("data set    {}, {} shards", text(&job["dataset"]), job["shards"]));
        lines.push(format!(
            "seconds     {:.3} from event to registered version: train {:.3}, aggregate {:.3}, register {:.3}; load {:.3}, predict {:.3}",
            seconds("queued_to_registered"),
            seconds("train"),
            seconds("aggregate"),
            seconds("register"),
            seconds("load"),
            seconds("predict")
        ));
        let named =
            [("holdout_accuracy", "held-out rows"), ("oob_accuracy", "out of bag"), ("accuracy", "training rows")];
        let accuracies: Vec<String> =
            named.iter().filter_map(|(key, name)| Some(format!("{:.4} ({name})", metric(key)?))).collect();
        lines.push(format!("accuracy    {}", accuracies.join(", ")));
        lines.push(format!("model       {}, sha256 {}", text(&job["model"]["uri"]), text(&job["model"]["sha256"])));
        lines.push(format!(
            "prediction  class {} with probabilities {} from version {}",
            job["prediction"]["predictions"][0],
            job["prediction"]["probabilities"][0],
            text(&job["prediction"]["model_version"])
        ));
    }
    lines.push(String::new());
    let starts: Vec<String> = report
        .cold_starts_ms
        .iter()
        .map(|(function, times)| {
            let times: Vec<String> = times.iter().map(|ms| format!("{ms:.1}")).collect();
            format!("{function} {}", times.join(" "))
        })
        .collect();
    lines.push(format!("cold starts {} (ms)", starts.join(", ")));
    lines.push(String::new());
    lines.push("Try next:".to_owned());
    let id = report.jobs.first().map(|job| text(&job["id"])).unwrap_or_default();
    let regrove = binaries::invocation();
    lines.push(format!("  {regrove} job show {id}"));
    lines.push(format!("  {regrove} up"));
    lines.push(format!("  {regrove} train --data examples/breast_cancer.csv --wait    (while it is up)"));
    lines.join("\n")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
