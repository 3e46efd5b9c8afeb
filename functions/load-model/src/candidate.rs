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

use crate::{Ports, foreign};

/// Who wants a version to be served, and why.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// An event, or a person.
    pub(crate) by: SwitchedBy,
    /// Who, as they call themselves.
    pub(crate) actor: Option<String>,
    /// Why.
    pub(crate) reason: Option<String>,
}

/// Fetches and verifies the version that `selector` names.
///
/// # Errors
/// 404 for an unknown model, version or alias; 422 for a version that cannot be served; 503 when MLflow or the store
/// does not answer.
pub(crate) async fn fetch(ports: &Ports, name: &str, selector: &Selector, wish: Wish) -> Result<ModelLoaded, Problem> {
    let version = ports.record.resolve(name, selector).await?;
    let (artifact, columns) = match version.tag(SHA256_TAG) {
        Some(sha256) => (artifact(ports, &version, sha256).await?, None),
        // Somebody else's: its ONNX form becomes the native one.
        None => foreign::fetch(ports, &version).await.map(|foreign| (foreign.model, foreign.columns))?,
    };
    let bytes = ports.control.artifacts.get(&artifact).await?;
    let made = tokio::task::spawn_blocking(move || Made::of(bytes))
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| unsupported(&version, &error.to_string()))?;
    let serving = match made.serving {
        Some(bytes) => Some(ports.control.artifacts.put(bytes).await?),
        None => None,
    };
    let example = example(ports, version.tag(JOB_TAG), &artifact).await?.unwrap_or(made.example);
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
        example: Some(example),
        actor: wish.actor,
        reason: wish.reason,
    })
}

/// What is made of a model before it is served.
struct Made {
    /// What of it is needed to serve it, which a forest with its statistics has many times over; none for a model without
    /// any.
    serving: Option<Vec<u8>>,
    /// What it says here of a row of zeros. Replicas compare with it where no job has recorded anything.
    example: Example,
}

impl Made {
    fn of(bytes: Bytes) -> Result<Self, regrove_forest::Error> {
        let model = Model::from_bytes(Arc::new(bytes))?;
        let serving = if model.has_statistics() { Some(model.to_forest()?.to_serving_bytes()?) } else { None };
        let mut output = vec![0.0; model.n_outputs()];
        model.predict_proba_rows(&vec![0.0; model.n_features()], 1, &mut output)?;
        Ok(Self { serving, example: Example { input: vec![0.0; model.n_features()], output } })
    }
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
async fn artifact(ports: &Ports, version: &ModelVersion, sha256: &str) -> Result<Artifact, Problem> {
    if let Some(bytes) = version.tag(BYTES_TAG).and_then(|bytes| bytes.parse().ok()) {
        let known = Artifact { sha256: sha256.to_owned(), bytes };
        if ports.control.artifacts.keep(&known).await? {
            return Ok(known);
        }
    }
    let stored = ports.control.artifacts.put(ports.record.download(version, NATIVE_FILE).await?).await?;
    if stored.sha256 != sha256 {
        let detail = format!(
            "`{NATIVE_FILE}` of {} version {} has SHA-256 {}, its tag `{SHA256_TAG}` says {sha256}",
            version.name, version.version, stored.sha256
        );
        return Err(Problem::new("model-checksum", StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(stored)
}

/// The version is there, but it is none that can be served.
pub(crate) fn unsupported(version: &ModelVersion, reason: &str) -> Problem {
    let detail = format!("{} version {} cannot be served: {reason}", version.name, version.version);
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
        let serving = |bytes: Bytes| Made::of(bytes).unwrap().serving;
        let small = serving(written.clone()).unwrap();
        assert!(small.len() < written.len());
        assert_eq!(serving(written).unwrap(), small);
        assert_eq!(serving(small.into()), None);
        let imported = onnx::import(&onnx::export(&whole).unwrap(), &onnx::Limits::default()).unwrap();
        assert_eq!(serving(imported.as_bytes().to_vec().into()), None);
    }
}
