//! `regrove rebuild`: everything that is derived from the log, made again.

use std::collections::BTreeSet;

use anyhow::bail;
use regrove_aggregate::dataset::DataAccess;
use regrove_data::DataArgs;
use regrove_events::log::{JOB_PREFIX, SWEEP_PREFIX, job_stream};
use regrove_events::{Event, JobState, job};
use regrove_host::Emitter;
use regrove_mlflow::{Client, MlflowArgs, Record};
use regrove_register::{Ports, rebuild};
use regrove_store::Control;
use serde::Serialize;

use crate::output::{Output, Usage, table};
use crate::reach::Reach;
use crate::regrow;

/// Entries of the log read at once.
const BATCH: usize = 1000;

/// What is made again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  regrove rebuild\n  regrove rebuild my-job other-job --json\n  \
    regrove rebuild --mlflow-tracking-uri https://mlflow.example.com\n\n\
    Forests that the artifact store has lost are grown again and compared with the log's hashes; runs, versions and aliases that \
    MLflow lacks are made in the order in which they were. What is there is left alone.\n\n\
    Exit code 1 when anything cannot be made again, or gets another version number than the log says.")]
pub(crate) struct Args {
    /// Jobs; all of them without any
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    mlflow: MlflowArgs,
    #[command(flatten)]
    data: DataArgs,
}

/// What came of a job.
#[derive(Debug, Serialize)]
struct Line {
    job: String,
    state: JobState,
    /// Whether the forest had to be grown again.
    grown: bool,
    run_id: Option<String>,
    /// The version, as MLflow has it now.
    uri: Option<String>,
    /// Why it is not as the log says.
    wrong: Option<String>,
}

pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let control = reach.control()?;
    let access = regrow::access(reach, &args.data)?;
    let record = Record::new(Client::new(&args.mlflow).map_err(|error| Usage(error.to_string()))?);
    let ports = Ports { control: control.clone(), emitter: Emitter::new(None), record };
    let Streams { jobs, sweeps } = streams(&control).await?;
    if let Some(unknown) = args.jobs.iter().find(|id| !jobs.contains(id)) {
        return Err(Usage(format!("there is no job `{unknown}`; `regrove job list` lists them")).into());
    }
    let mut lines = Vec::new();
    for id in jobs.iter().filter(|id| args.jobs.is_empty() || args.jobs.contains(id)) {
        let line = of_job(&ports, &access, id).await?;
        if line.grown {
            output.progress(format_args!("{id}: the forest was grown again"));
        }
        lines.push(line);
    }
    if args.jobs.is_empty() {
        for id in &sweeps {
            rebuild::sweep(&ports, id).await.map_err(|problem| anyhow::anyhow!("sweep {id}: {}", problem.detail))?;
        }
    }
    output.result(&lines, || describe(&lines))?;
    let wrong = lines.iter().filter(|line| line.wrong.is_some()).count();
    if wrong > 0 {
        bail!("{wrong} of {} jobs are not as the log says", lines.len());
    }
    Ok(())
}

/// Jobs and sweeps by id.
struct Streams {
    /// Those that made versions first, in the order in which they made them: so the versions get their numbers again.
    jobs: Vec<String>,
    sweeps: Vec<String>,
}

async fn streams(control: &Control) -> anyhow::Result<Streams> {
    let (mut made_versions, mut others, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
    let mut position = 0;
    loop {
        let entries = control.log.tail(position, BATCH).await?;
        let last = entries.len() < BATCH;
        for entry in entries {
            position = entry.position;
            if let Some(id) = entry.stream.strip_prefix(JOB_PREFIX) {
                if matches!(Event::read(&entry.event), Ok(Event::ModelRegistered(_))) {
                    made_versions.push(id.to_owned());
                } else {
                    others.push(id.to_owned());
                }
            } else if let Some(id) = entry.stream.strip_prefix(SWEEP_PREFIX) {
                sweeps.push(id.to_owned());
            }
        }
        if last {
            break;
        }
    }
    made_versions.append(&mut others);
    Ok(Streams { jobs: once(made_versions), sweeps: once(sweeps) })
}

/// Each id where it stands first.
fn once(ids: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}

/// A job that cannot be made again does not keep the others from it.
async fn of_job(ports: &Ports, access: &DataAccess, id: &str) -> anyhow::Result<Line> {
    let state = job::replay(&ports.control.log.read(&job_stream(id), 0).await?);
    let mut line = Line { job: id.to_owned(), state: state.state, grown: false, run_id: None, uri: None, wrong: None };
    if state.registered.is_some() {
        match regrow::ensure_forest(&ports.control, access, &state).await {
            Ok(grown) => line.grown = grown,
            Err(error) => {
                line.wrong = Some(format!("{error:#}"));
                return Ok(line);
            }
        }
    }
    match rebuild::job(ports, id).await {
        Ok(Some(rebuilt)) => {
            line.run_id = Some(rebuilt.run_id);
            line.uri = rebuilt.version.map(|version| version.uri());
            let said = state.registered.map(|registered| registered.uri);
            line.wrong = (line.uri != said).then(|| format!("the log says {}", said.unwrap_or_default()));
        }
        Ok(None) => {}
        Err(problem) => line.wrong = Some(problem.detail),
    }
    Ok(line)
}

fn describe(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| {
        vec![
            line.job.clone(),
            line.state.to_string(),
            if line.grown { "grown again" } else { "" }.to_owned(),
            line.uri.clone().unwrap_or_default(),
            line.wrong.clone().unwrap_or_default(),
        ]
    });
    table(&["job", "state", "forest", "version", ""], rows)
}
