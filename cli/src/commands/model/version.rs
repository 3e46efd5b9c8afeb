//! One version: its files, and whether they can be made again.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use regrove_data::DataArgs;
use regrove_events::job;
use regrove_events::log::job_stream;
use regrove_mlflow::model_dir::{NATIVE_FILE, ONNX_FILE};
use regrove_mlflow::record::{JOB_TAG, SHA256_TAG};
use regrove_mlflow::{Client, MlflowArgs, ModelVersion, Record, Selector};
use regrove_store::artifact::sha256;
use serde_json::json;

use crate::output::{Output, Usage};
use crate::reach::Reach;
use crate::regrow;

/// Which version.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Registered model name
    name: String,
    /// Version number; the latest without it
    #[arg(long, conflicts_with = "alias")]
    version: Option<u64>,
    /// Alias
    #[arg(long)]
    alias: Option<String>,
    #[command(flatten)]
    mlflow: MlflowArgs,
}

impl Which {
    async fn find(&self) -> anyhow::Result<(Record, ModelVersion)> {
        let record = Record::new(Client::new(&self.mlflow)?);
        let selector = match (self.version, &self.alias) {
            (Some(number), _) => Selector::Version(number),
            (None, Some(alias)) => Selector::Alias(alias.trim_start_matches('@').to_owned()),
            (None, None) => Selector::Latest,
        };
        let found = record.resolve(&self.name, &selector).await;
        let version = found.map_err(|error| match error {
            missing if missing.is_not_found() => anyhow::Error::new(Usage(format!("{}: {missing}", self.name))),
            other => other.into(),
        })?;
        Ok((record, version))
    }
}

/// What is copied where.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    which: Which,
    /// File to write: NAME.rgf for the native form, NAME.onnx for ONNX
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// What is compared.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) async fn export(args: Export, output: &Output) -> anyhow::Result<()> {
    let place = args.output.display();
    let file = match args.output.extension().and_then(std::ffi::OsStr::to_str) {
        Some("rgf") => NATIVE_FILE,
        Some("onnx") => ONNX_FILE,
        _ => return Err(Usage(format!("{place}: the name must end in .rgf or .onnx")).into()),
    };
    let (record, version) = args.which.find().await?;
    let bytes = record.download(&version, file).await?;
    let tag = if file == NATIVE_FILE { SHA256_TAG } else { "regrove.onnx_sha256" };
    let hash = sha256(&bytes);
    if let Some(known) = version.tag(tag).filter(|known| *known != hash) {
        bail!(
            "`{file}` of {} version {} has SHA-256 {hash}, its tag `{tag}` says {known}",
            version.name,
            version.version
        );
    }
    std::fs::write(&args.output, &bytes).with_context(|| place.to_string())?;
    let value = json!({"name": version.name, "version": version.version.to_string(), "file": args.output,
        "bytes": bytes.len(), "sha256": hash});
    output.result(&value, || {
        format!("{place}: {} version {}, {} bytes, sha256 {hash}", version.name, version.version, bytes.len())
    })
}

pub(crate) async fn verify(args: Verify, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let (_, version) = args.which.find().await?;
    let (name, number) = (&version.name, version.version);
    let registered = version.tag(SHA256_TAG);
    let registered = registered.with_context(|| format!("{name} version {number} was not made by a job of Regrove"))?;
    let job =
        version.tag(JOB_TAG).with_context(|| format!("{name} version {number} does not say which job made it"))?;
    let control = reach.control()?;
    let state = job::replay(&control.log.read(&job_stream(job), 0).await?);
    if state.model.is_none() {
        bail!("the log does not know job `{job}`, which made {name} version {number}");
    }
    let forest = regrow::forest(&control, &regrow::access(reach, &args.data)?, &state).await?;
    let made = tokio::task::spawn_blocking(move || forest.to_bytes().map(|bytes| sha256(&bytes))).await??;
    let same = made == registered;
    let value = json!({"name": name, "version": number.to_string(), "job": job, "sha256": registered,
        "grown_sha256": made, "same": same});
    output.result(&value, || {
        let word = if same { "the same" } else { "another" };
        format!("{name} version {number} of job {job}: grown anew it is {word} forest\nregistered {registered}\ngrown      {made}")
    })?;
    if same { Ok(()) } else { bail!("{name} version {number} cannot be made again from the log") }
}
