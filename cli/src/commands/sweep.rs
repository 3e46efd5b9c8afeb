//! `regrove train --sweep`: asks for a sweep and follows it.

use anyhow::{Context as _, bail};
use regrove_events::event::{SweepCompleted, SweepRequested};
use regrove_jobs::{Summary, SweepView};
use serde_json::{Value, json};

use crate::output::{Output, table};
use crate::source::Source;

pub(crate) async fn run(
    id: &str,
    wish: &SweepRequested,
    wait: bool,
    source: &Source,
    output: &Output,
) -> anyhow::Result<()> {
    source.submit_sweep(id, wish).await?;
    if !wait {
        let value = json!({"id": id, "trials": wish.size().to_string(), "state": "requested"});
        return output.result(&value, || {
            format!("{id}: {} trials\nfollow them with: regrove job list --name {id}", wish.size())
        });
    }
    let sweep = follow(id, source, output).await?;
    let completed = sweep.completed.as_ref().context("the sweep has ended without a result")?;
    output.result(&report(id, completed, sweep.best()), || describe(completed, sweep.best()))?;
    if completed.best.is_none() {
        bail!("sweep {id} has no best trial: {}", completed.reason.as_deref().unwrap_or_default());
    }
    Ok(())
}

/// Follows a sweep until its best trial is registered. A line per trial says what came of it.
async fn follow(id: &str, source: &Source, output: &Output) -> anyhow::Result<SweepView> {
    let mut told: Vec<String> = Vec::new();
    loop {
        if let Some(sweep) = source.find_sweep(id).await? {
            for trial in sweep.trials.iter().filter(|trial| trial.state.is_terminal()) {
                if !told.contains(&trial.id) {
                    told.push(trial.id.clone());
                    output.progress(format_args!("{}: {} ({}/{} done)", trial.id, trial.state, told.len(), sweep.size));
                }
            }
            let registered = sweep.best().is_none_or(|best| best.model.is_some());
            if sweep.completed.is_some() && registered {
                return Ok(sweep);
            }
        }
        source.pause().await?;
    }
}

fn report(id: &str, completed: &SweepCompleted, best: Option<&Summary>) -> Value {
    json!({
        "id": id,
        "best": completed.best,
        "model": best.and_then(|job| job.model.as_ref()),
        "metrics": best.map(|job| &job.metrics),
        "trials": completed.trials,
        "reason": completed.reason,
    })
}

fn describe(completed: &SweepCompleted, best: Option<&Summary>) -> String {
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
    let uri = best.and_then(|job| job.model.as_ref()).map_or("nothing registered", |made| made.uri.as_str());
    format!("{}\n{uri}", table(&["trial", "settings", "score", ""], rows))
}
