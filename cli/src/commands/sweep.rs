//! `regrove train --sweep`: asks for a sweep and follows it.

use std::time::Duration;

use anyhow::bail;
use regrove_events::event::{SweepCompleted, SweepRequested};
use regrove_events::log::job_stream;
use regrove_events::{Job, job};
use serde_json::{Value, json};

use crate::commands::job::{jobs, now, refused};
use crate::output::{Output, table};
use crate::reach::Reach;

/// How long one look at the log waits for news; news end it at once.
const NEWS_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    id: &str,
    wish: &SweepRequested,
    wait: bool,
    reach: &Reach,
    output: &Output,
) -> anyhow::Result<()> {
    let submitted = jobs(reach)?.submit_sweep(id, wish, now()).await.map_err(refused)?;
    reach.emit(&submitted.event).await?;
    if !wait {
        let value = json!({"id": id, "trials": wish.size().to_string(), "state": "requested"});
        return output.result(&value, || {
            format!("{id}: {} trials\nfollow them with: regrove job list --name {id}", wish.size())
        });
    }
    let (completed, best) = follow(id, reach, output).await?;
    output.result(&report(id, &completed, best.as_ref()), || describe(&completed, best.as_ref()))?;
    if completed.best.is_none() {
        bail!("sweep {id} has no best trial: {}", completed.reason.unwrap_or_default());
    }
    Ok(())
}

/// Follows a sweep until its best trial is registered. A line per trial says what came of it.
async fn follow(id: &str, reach: &Reach, output: &Output) -> anyhow::Result<(SweepCompleted, Option<Job>)> {
    let (control, jobs) = (reach.control()?, jobs(reach)?);
    let mut told: Vec<String> = Vec::new();
    loop {
        let head = control.log.head().await?;
        let sweep = match jobs.sweep(id).await {
            Ok(sweep) => sweep,
            Err(regrove_jobs::Error::NotFound { .. }) => {
                control.log.wait(head, NEWS_WAIT).await?;
                continue;
            }
            Err(error) => return Err(refused(error)),
        };
        for trial in &sweep.asked {
            let state = job::replay(&control.log.read(&job_stream(trial), 0).await?);
            if state.state.is_terminal() && !told.contains(trial) {
                told.push(trial.clone());
                output.progress(format_args!("{trial}: {} ({} done)", state.state, told.len()));
            }
        }
        if let Some(completed) = sweep.completed {
            let Some(best) = &completed.best else { return Ok((completed, None)) };
            let job = job::replay(&control.log.read(&job_stream(best), 0).await?);
            if job.registered.is_some() {
                return Ok((completed, Some(job)));
            }
        }
        control.log.wait(head, NEWS_WAIT).await?;
    }
}

fn report(id: &str, completed: &SweepCompleted, best: Option<&Job>) -> Value {
    json!({
        "id": id,
        "best": completed.best,
        "model": best.and_then(|job| job.registered.as_ref()),
        "metrics": best.and_then(|job| job.model.as_ref()).map(|model| &model.metrics),
        "trials": completed.trials,
        "reason": completed.reason,
    })
}

fn describe(completed: &SweepCompleted, best: Option<&Job>) -> String {
    let mut trials: Vec<_> = completed.trials.iter().collect();
    trials.sort_by(|one, other| {
        other.score.unwrap_or(f64::NEG_INFINITY).total_cmp(&one.score.unwrap_or(f64::NEG_INFINITY))
    });
    let rows = trials.into_iter().map(|trial| {
        let params: Vec<String> = trial.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            trial.job.clone(),
            params.join(" "),
            trial.score.map_or_else(|| "–".to_owned(), |score| format!("{score:.4}")),
            if completed.best.as_ref() == Some(&trial.job) { "best" } else { "" }.to_owned(),
        ]
    });
    let uri = best.and_then(|job| job.registered.as_ref()).map_or("nothing registered", |made| made.uri.as_str());
    format!("{}\n{uri}", table(&["trial", "settings", "score", ""], rows))
}
