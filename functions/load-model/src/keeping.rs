//! A store that forgets artifacts after some days must not forget what is served: MLflow has it for ever, and a replica that
//! starts reads it from the store.

use axum::body::Bytes;
use regrove_events::Serving;
use regrove_events::event::ServedVersion;
use regrove_host::Problem;
use regrove_mlflow::Selector;
use regrove_store::artifact::Error;

use crate::{Ports, candidate};

/// Keeps everything of a model that is in service. What is no longer in MLflow either is told in the log, and keeps nothing
/// else waiting.
///
/// # Errors
/// 503 when MLflow or the store does not answer.
pub(crate) async fn all(ports: &Ports, name: &str, now: &Serving) -> Result<(), Problem> {
    let current = now.current.as_ref().map(ServedVersion::from);
    let beside = now.canary.iter().map(|canary| &canary.version).chain(&now.shadow);
    for version in current.iter().chain(beside) {
        match one(ports, name, version).await {
            Err(problem) if problem.status.is_client_error() => {
                let (version, detail) = (&version.version, &problem.detail);
                tracing::warn!(model = name, version, detail, "served, but neither the store nor MLflow has it");
            }
            done => done?,
        }
    }
    Ok(())
}

/// Has the store keep a version for longer, or fetches it again where it was forgotten.
///
/// # Errors
/// As [`candidate::fetch`].
async fn one(ports: &Ports, name: &str, version: &ServedVersion) -> Result<(), Problem> {
    let mut kept = true;
    for artifact in std::iter::once(&version.model).chain(&version.serving) {
        kept &= ports.control.artifacts.keep(artifact).await?;
    }
    if kept {
        return Ok(());
    }
    again(ports, name, version).await
}

/// Has the store hold every byte of a version before the pointer goes back to it, and makes sure that replicas will serve it.
///
/// # Errors
/// As [`candidate::fetch`].
pub(crate) async fn whole(ports: &Ports, name: &str, version: &ServedVersion) -> Result<(), Problem> {
    one(ports, name, version).await?;
    let bytes = match read(ports, version).await {
        Err(Error::Missing { .. } | Error::Corrupt { .. }) => {
            again(ports, name, version).await?;
            read(ports, version).await?
        }
        read => read?,
    };
    candidate::check(name, version, bytes).await
}

/// The model of a version, after all that replicas may read has been compared with its hash.
async fn read(ports: &Ports, version: &ServedVersion) -> Result<Bytes, Error> {
    if let Some(serving) = &version.serving {
        ports.control.artifacts.get(serving).await?;
    }
    ports.control.artifacts.get(&version.model).await
}

/// Fetches a version from MLflow. One whose number is none was never MLflow's.
async fn again(ports: &Ports, name: &str, version: &ServedVersion) -> Result<(), Problem> {
    let Ok(number) = version.version.parse() else { return Ok(()) };
    candidate::version(ports, name, &Selector::Version(number)).await?;
    tracing::info!(model = name, version = version.version, "fetched again: the store did not have it");
    Ok(())
}
