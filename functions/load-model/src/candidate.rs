//! A version becomes a candidate when its bytes are here, are the registered ones, and make a model.

use std::sync::Arc;

use http::StatusCode;
use regrove_events::SwitchedBy;
use regrove_events::event::{Artifact, ModelLoaded};
use regrove_forest::Model;
use regrove_host::Problem;
use regrove_mlflow::model_dir::NATIVE_FILE;
use regrove_mlflow::record::{BYTES_TAG, SHA256_TAG};
use regrove_mlflow::{ModelVersion, Selector};

use crate::Ports;

/// Fetches and verifies the version that `selector` names.
///
/// # Errors
/// 404 for an unknown model, version or alias; 422 for a version that cannot be served; 503 when MLflow or the store
/// does not answer.
pub(crate) async fn fetch(
    ports: &Ports,
    name: &str,
    selector: &Selector,
    by: SwitchedBy,
) -> Result<ModelLoaded, Problem> {
    let version = ports.record.resolve(name, selector).await?;
    let artifact = artifact(ports, &version).await?;
    let bytes = ports.control.artifacts.get(&artifact).await?;
    tokio::task::spawn_blocking(move || Model::from_bytes(Arc::new(bytes)).map(|_| ()))
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| unsupported(&version, &error.to_string()))?;
    Ok(ModelLoaded {
        uri: format!("models:/{}/{}", version.name, version.version),
        name: version.name,
        version: version.version.to_string(),
        model: artifact,
        previous: None,
        by,
        stage: version.current_stage,
        description: version.description,
        creation_timestamp: version.creation_timestamp,
        example: None,
        actor: None,
        reason: None,
    })
}

/// The native form in the artifact store: already there, or copied from MLflow and checked against the version's tag.
async fn artifact(ports: &Ports, version: &ModelVersion) -> Result<Artifact, Problem> {
    let Some(sha256) = version.tag(SHA256_TAG) else {
        let reason = format!("it has no tag `{SHA256_TAG}`, so it was not registered by Regrove");
        return Err(unsupported(version, &reason));
    };
    if let Some(bytes) = version.tag(BYTES_TAG).and_then(|bytes| bytes.parse().ok()) {
        let known = Artifact { sha256: sha256.to_owned(), bytes };
        if ports.control.artifacts.contains(&known).await? {
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

fn unsupported(version: &ModelVersion, reason: &str) -> Problem {
    let detail = format!("{} version {} cannot be served: {reason}", version.name, version.version);
    Problem::new("model-unsupported", StatusCode::UNPROCESSABLE_ENTITY, detail)
}
