//! A store that forgets artifacts after some days must not forget what is served: MLflow has it for ever, and a replica that
//! starts reads it from the store.

use regrove_events::Serving;
use regrove_events::event::ServedVersion;
use regrove_host::Problem;
use regrove_mlflow::Selector;

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
pub(crate) async fn one(ports: &Ports, name: &str, version: &ServedVersion) -> Result<(), Problem> {
    let mut kept = true;
    for artifact in std::iter::once(&version.model).chain(&version.serving) {
        kept &= ports.control.artifacts.keep(artifact).await?;
    }
    // A version whose number is none was never MLflow's.
    let Some(number) = version.version.parse().ok().filter(|_| !kept) else { return Ok(()) };
    candidate::version(ports, name, &Selector::Version(number)).await?;
    tracing::info!(model = name, version = version.version, "fetched again: the store had forgotten it");
    Ok(())
}
