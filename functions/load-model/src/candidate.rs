//! A version becomes a candidate when its bytes are here, are the registered ones, and make a model.

use std::sync::Arc;

use axum::body::Bytes;
use http::StatusCode;
use regrove_events::event::{self, Artifact, Example, ModelLoaded, ServedVersion};
use regrove_events::log::job_stream;
use regrove_events::{SwitchedBy, job};
use regrove_forest::Model;
use regrove_host::Problem;
use regrove_mlflow::model_dir::NATIVE_FILE;
use regrove_mlflow::record::{BYTES_TAG, JOB_TAG, SHA256_TAG};
use regrove_mlflow::{ModelVersion, Selector};
use regrove_store::artifact::Error;

use crate::request::Wish;
use crate::{Ports, foreign};

/// Fetches and verifies the version that `selector` names.
///
/// # Errors
/// 404 for an unknown model, version or alias; 422 for a version that cannot be served; 503 when MLflow or the store
/// does not answer.
pub(crate) async fn fetch(ports: &Ports, name: &str, selector: &Selector, wish: Wish) -> Result<ModelLoaded, Problem> {
    let version = ports.record.resolve(name, selector).await?;
    let (artifact, bytes, columns) = if let Some(sha256) = version.tag(SHA256_TAG) {
        let (model, bytes) = native(ports, &version, sha256).await?;
        (model, bytes, None)
    } else {
        // Somebody else's: its ONNX form becomes the native one.
        let foreign = foreign::fetch(ports, &version).await?;
        (foreign.model, foreign.bytes, foreign.columns)
    };
    let recorded = example(ports, version.tag(JOB_TAG), &artifact).await?;
    let made = made(named(&version.name, &version.version.to_string()), bytes, recorded).await?;
    let serving = match made.serving {
        // It may be there, and damaged.
        Some(bytes) => Some(ports.control.artifacts.replace(bytes).await?),
        None => None,
    };
    Ok(ModelLoaded {
        uri: version.uri(),
        name: version.name,
        version: version.version.to_string(),
        model: artifact,
        serving,
        previous: None,
        by: wish.by,
        alias: match selector {
            Selector::Alias(alias) => Some(alias.clone()),
            Selector::Latest | Selector::Version(_) => None,
        },
        stage: version.current_stage,
        description: version.description,
        creation_timestamp: version.creation_timestamp,
        columns,
        example: Some(made.example),
        actor: wish.actor,
        reason: wish.reason,
    })
}

/// What is made of a model before it is served.
struct Made {
    /// What of it is needed to serve it, which a forest with its statistics has many times over; none for a model without
    /// any.
    serving: Option<Vec<u8>>,
    /// A row and what the model says of it. Replicas compare with it.
    example: Example,
}

impl Made {
    /// Where no job has recorded anything, the example is a row of zeros and what the model says of it here.
    fn of(model: &Model, recorded: Option<Example>) -> Result<Self, regrove_forest::Error> {
        let serving = if model.has_statistics() { Some(model.to_forest()?.to_serving_bytes()?) } else { None };
        if let Some(example) = recorded {
            return Ok(Self { serving, example });
        }
        let mut output = vec![0.0; model.n_outputs()];
        model.predict_proba_rows(&vec![0.0; model.n_features()], 1, &mut output)?;
        Ok(Self { serving, example: Example { input: vec![0.0; model.n_features()], output } })
    }
}

async fn made(version: String, bytes: Bytes, recorded: Option<Example>) -> Result<Made, Problem> {
    let make = move || {
        let model = checked(&version, bytes, recorded.as_ref())?;
        Made::of(&model, recorded).map_err(|error| unsupported(&version, &error.to_string()))
    };
    tokio::task::spawn_blocking(make).await.map_err(|error| Problem::internal(&error))?
}

/// The model of a version, after the check that every replica makes: what it refuses no pointer may name.
fn checked(version: &str, bytes: Bytes, recorded: Option<&Example>) -> Result<Model, Problem> {
    let model = Model::from_bytes(Arc::new(bytes)).map_err(|error| unsupported(version, &error.to_string()))?;
    let Some(example) = recorded else { return Ok(model) };
    model.check_example(&example.input, &example.output).map_err(|error| {
        let detail = format!("{version} is not served, its self-check fails: {error}");
        Problem::new("self-check-failed", StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    Ok(model)
}

/// Whether replicas will serve a version of these bytes.
///
/// # Errors
/// 422 when they will not.
pub(crate) async fn check(name: &str, version: &ServedVersion, bytes: Bytes) -> Result<(), Problem> {
    let (version, example) = (named(name, &version.version), version.example.clone());
    let check = move || checked(&version, bytes, example.as_ref()).map(|_| ());
    tokio::task::spawn_blocking(check).await.map_err(|error| Problem::internal(&error))?
}

/// A version that nobody wishes to switch to, verified and in the store.
///
/// # Errors
/// As [`fetch`].
pub(crate) async fn version(ports: &Ports, name: &str, selector: &Selector) -> Result<ServedVersion, Problem> {
    let nobody = Wish { by: SwitchedBy::Request, actor: None, reason: None };
    fetch(ports, name, selector, nobody).await.map(|loaded| ServedVersion::from(&loaded))
}

/// What the model said of a row when its job was done: the log knows, as long as the model is the one of that job.
async fn example(ports: &Ports, job: Option<&str>, artifact: &Artifact) -> Result<Option<Example>, Problem> {
    let Some(job) = job.filter(|job| event::check_subject(job).is_ok()) else { return Ok(None) };
    let history = ports.control.log.read(&job_stream(job), 0).await?;
    let Some(aggregated) = job::replay(&history).model else { return Ok(None) };
    let same = aggregated.model.sha256 == artifact.sha256;
    Ok(aggregated.output_example.filter(|_| same).map(|output| Example { input: aggregated.input_example, output }))
}

/// The native form in the artifact store: already there, or copied from MLflow and checked against the version's tag.
async fn native(ports: &Ports, version: &ModelVersion, sha256: &str) -> Result<(Artifact, Bytes), Problem> {
    if let Some(bytes) = version.tag(BYTES_TAG).and_then(|bytes| bytes.parse().ok()) {
        let known = Artifact { sha256: sha256.to_owned(), bytes };
        if ports.control.artifacts.keep(&known).await? {
            match ports.control.artifacts.get(&known).await {
                Ok(bytes) => return Ok((known, bytes)),
                Err(error @ (Error::Missing { .. } | Error::Corrupt { .. })) => {
                    tracing::warn!(model = version.name, version = version.version, %error, "fetched again from MLflow");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let bytes = ports.record.download(version, NATIVE_FILE).await?;
    let stored = ports.control.artifacts.replace(bytes.clone()).await?;
    if stored.sha256 != sha256 {
        let detail = format!(
            "`{NATIVE_FILE}` of {} version {} has SHA-256 {}, its tag `{SHA256_TAG}` says {sha256}",
            version.name, version.version, stored.sha256
        );
        return Err(Problem::new("model-checksum", StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok((stored, bytes))
}

/// A version as details name it.
pub(crate) fn named(name: &str, version: &str) -> String {
    format!("{name} version {version}")
}

/// The version is there, but it is none that can be served.
pub(crate) fn unsupported(version: &str, reason: &str) -> Problem {
    let detail = format!("{version} cannot be served: {reason}");
    Problem::new("model-unsupported", StatusCode::UNPROCESSABLE_ENTITY, detail)
}

#[cfg(test)]
mod tests {
    use regrove_forest::{Frame, Label, RandomForestParams, Target, fit, onnx};

    use super::*;

    /// Asked again, a switch names the same file; and what has no statistics is served as it is.
    #[test]
    fn a_serving_file_is_the_same_every_time_and_has_none_of_its_own() {
        let classes = Target::Classes {
            classes: vec![Label::Int(0), Label::Int(1)],
            indexes: (0..40).map(|row| row % 2).collect(),
        };
        let columns = (0..80_u16).map(|cell| f32::from(cell * 37 % 23)).collect();
        let frame = Frame::new(vec!["a".to_owned(), "b".to_owned()], columns, "target", classes).unwrap();
        let params = RandomForestParams { n_estimators: 3, ..RandomForestParams::default() };
        let whole = fit(&frame, &params).unwrap();
        let written = Bytes::from(whole.to_bytes().unwrap());
        let serving = |bytes: Bytes| Made::of(&Model::from_bytes(Arc::new(bytes)).unwrap(), None).unwrap().serving;
        let small = serving(written.clone()).unwrap();
        assert!(small.len() < written.len());
        assert_eq!(serving(written).unwrap(), small);
        assert_eq!(serving(small.into()), None);
        let imported = onnx::import(&onnx::export(&whole).unwrap(), &onnx::Limits::default()).unwrap();
        assert_eq!(serving(imported.as_bytes().to_vec().into()), None);
    }
}
