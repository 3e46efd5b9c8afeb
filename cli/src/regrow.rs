//! Forests grown again from what the log says of a job.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use regrove_aggregate::dataset::{self, DataAccess, Refused};
use regrove_data::{Policy, TargetKind};
use regrove_events::Job;
use regrove_events::event::ModelAggregated;
use regrove_forest::{Forest, Frame, RandomForestParams, fit, onnx};
use regrove_store::{Control, artifact};

use crate::reach::Reach;

/// What data sets may be read from when nothing is said: what `regrove up` lets the functions read.
pub(crate) const DATA_ALLOWED: &str = "file:,https:,s3:,gs:,az:";

/// What may be read again: what functions that run here may read, if nothing else is said.
pub(crate) fn access(reach: &Reach, data: &regrove_data::DataArgs) -> anyhow::Result<DataAccess> {
    let policy = if data.data_allow.is_none() && data.data_root.is_none() {
        Policy::for_events(Some(DATA_ALLOWED), None)?
    } else {
        data.policy()?
    };
    Ok(DataAccess {
        policy,
        limits: data.limits(),
        spool: reach.store.home.join("spool"),
        frame_bytes_max: reach.store.artifact_bytes_max,
    })
}

/// The forest that a job's data and parameters make. The data is that of the artifact store or, where that has it no
/// longer, read again from where the job had it from.
pub(crate) async fn forest(control: &Control, access: &DataAccess, job: &Job) -> anyhow::Result<Forest> {
    let model = job.model.as_ref().context("the job has no forest")?;
    let frame = frame(control, access, job, model).await?;
    let params: RandomForestParams = serde_json::from_value(model.params.clone().into())?;
    Ok(tokio::task::spawn_blocking(move || fit(&Frame::from_bytes(&frame)?, &params)).await??)
}

async fn frame(control: &Control, access: &DataAccess, job: &Job, model: &ModelAggregated) -> anyhow::Result<Bytes> {
    match control.artifacts.get(&model.dataset.frame).await {
        Err(artifact::Error::Missing { .. } | artifact::Error::Corrupt { .. }) => {}
        found => return Ok(found?),
    }
    let request = &job.request.as_ref().context("the log does not say what the job was asked for")?.dataset;
    let kind = if model.dataset.classes.is_empty() { TargetKind::Values } else { TargetKind::Classes };
    let parts = model.params.get("row_parts").and_then(serde_json::Value::as_u64).unwrap_or(1);
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let data = dataset::read(request, kind, parts, access).await.map_err(|refused| match refused {
        Refused::Final(failure) => anyhow::anyhow!(failure.reason),
        Refused::Later(problem) => anyhow::anyhow!(problem.detail),
    })?;
    let stored = dataset::store(data, &control.artifacts).await.map_err(|problem| anyhow::anyhow!(problem.detail))?;
    if stored != model.dataset.frame {
        bail!(
            "data set `{}` is another one now: its frame has SHA-256 {}, the job learned from {}",
            request.uri,
            stored.sha256,
            model.dataset.frame.sha256
        );
    }
    Ok(control.artifacts.get(&stored).await?)
}

/// Makes sure that the artifact store has the forest of a job in both forms. Says whether it had to be grown again.
pub(crate) async fn ensure_forest(control: &Control, access: &DataAccess, job: &Job) -> anyhow::Result<bool> {
    let Some(model) = &job.model else { return Ok(false) };
    let there = control.artifacts.contains(&model.model).await? && control.artifacts.contains(&model.onnx).await?;
    if there {
        return Ok(false);
    }
    let forest = forest(control, access, job).await?;
    let forms = tokio::task::spawn_blocking(move || {
        Ok::<_, regrove_forest::Error>([forest.to_bytes()?, onnx::export(&forest)?])
    });
    for (bytes, known) in forms.await??.into_iter().zip([&model.model, &model.onnx]) {
        let sha256 = artifact::sha256(&bytes);
        if sha256 != known.sha256 {
            bail!("grown anew the forest has SHA-256 {sha256}, the log says {}", known.sha256);
        }
        control.artifacts.put(bytes).await?;
    }
    Ok(true)
}
