//! Pointers that follow an alias: `models:/NAME@champion` may move in MLflow at any time, and MLflow tells nobody.
//!
//! So whoever loaded a model by its alias is looked after once a minute, and whenever a version of the model is registered.

use regrove_events::{CloudEvent, Serving, SwitchedBy};
use regrove_host::Problem;
use regrove_mlflow::Selector;

use crate::candidate;
use crate::request::Wish;
use crate::{FUNCTION, Ports, switch};

/// Serves the version that the followed alias names now. An alias that is gone, or names what cannot be served, leaves the
/// version in service that it named before.
///
/// # Errors
/// 503 when MLflow or the store does not answer.
pub(crate) async fn follow(ports: &Ports, name: &str, now: &Serving, received: &CloudEvent) -> Result<(), Problem> {
    let (Some(alias), Some(current)) = (now.alias(), &now.current) else { return Ok(()) };
    match moved(ports, name, alias, &current.version, received).await {
        Err(problem) if problem.status.is_client_error() => {
            let (served, detail) = (&current.version, &problem.detail);
            tracing::warn!(model = name, alias, served, detail, "the alias cannot be followed, the version stays");
            Ok(())
        }
        done => done,
    }
}

async fn moved(ports: &Ports, name: &str, alias: &str, served: &str, received: &CloudEvent) -> Result<(), Problem> {
    let selector = Selector::Alias(alias.to_owned());
    let version = ports.record.resolve(name, &selector).await?.version.to_string();
    if version == served {
        return Ok(());
    }
    let reason = Some(format!("alias moved: `{alias}` was version {served} and is {version}"));
    let wish = Wish { by: SwitchedBy::Alias, actor: Some(format!("/regrove/{FUNCTION}")), reason };
    let candidate = candidate::fetch(ports, name, &selector, wish).await?;
    let say = switch(ports, candidate, received).await?;
    ports.emitter.emit(say.as_slice()).await?;
    Ok(())
}
