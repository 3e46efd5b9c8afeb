//! A sweep asks for its trials, a few at a time, and says which one is the best.

use regrove_events::event::{SweepCompleted, TrainCancelled, TrialResult};
use regrove_events::log::{SWEEP_PREFIX, append_decided, job_stream, sweep_stream};
use regrove_events::sweep::{self, Sweep, Trial};
use regrove_events::{Cause, CloudEvent, Event, Job, JobState, SweepRequested, ids, job};
use regrove_host::{Problem, now};

use crate::{FUNCTION, Ports};

/// Trials under way at once.
pub const TRIALS_AT_ONCE: usize = 4;

/// What a sweep does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Trials to ask for, by their places; none while others are under way.
    Ask(Vec<usize>),
    /// Everything has been tried.
    Complete(SweepCompleted),
}

/// Decides on a sweep from what its trials have come to: a job each, unknown ones not asked for yet.
///
/// Trials that differ in nothing but `n_estimators` share their trees: the largest goes first, the others take its trees.
pub fn decide(request: &SweepRequested, trials: &[Trial], jobs: &[Job], asked: &[String]) -> Next {
    let is_open = |at: usize| asked.contains(&trials[at].job) && !jobs[at].state.is_terminal();
    let is_waiting = |at: usize| !asked.contains(&trials[at].job) && !jobs[at].state.is_terminal();
    if !(0..trials.len()).any(|at| is_open(at) || is_waiting(at)) {
        return Next::Complete(complete(request, trials, jobs));
    }
    let mut open = (0..trials.len()).filter(|&at| is_open(at)).count();
    let mut waiting: Vec<usize> = (0..trials.len()).filter(|&at| is_waiting(at)).collect();
    waiting.sort_by_key(|&at| (std::cmp::Reverse(trees(&trials[at])), at));
    let mut ask: Vec<usize> = Vec::new();
    for at in waiting {
        let same = |other: usize| other != at && kin(&trials[other]) == kin(&trials[at]);
        let held_up = (0..trials.len()).any(|other| same(other) && (is_open(other) || ask.contains(&other)));
        if open < TRIALS_AT_ONCE && !held_up {
            open += 1;
            ask.push(at);
        }
    }
    ask.sort_unstable();
    Next::Ask(ask)
}

fn trees(trial: &Trial) -> u64 {
    trial.request.params.get("n_estimators").and_then(serde_json::Value::as_u64).unwrap_or(100)
}

/// What a trial's trees depend on, as text.
fn kin(trial: &Trial) -> String {
    let mut params = trial.request.params.clone();
    params.remove("n_estimators");
    serde_json::Value::Object(params).to_string()
}

/// The results; among equal scores the first trial is the best.
fn complete(request: &SweepRequested, trials: &[Trial], jobs: &[Job]) -> SweepCompleted {
    let score = |job: &Job| request.score(&job.model.as_ref()?.metrics);
    let results: Vec<TrialResult> = trials
        .iter()
        .zip(jobs)
        .map(|(trial, job)| TrialResult { job: trial.job.clone(), params: trial.params.clone(), score: score(job) })
        .collect();
    let mut best: Option<(&str, f64)> = None;
    for result in &results {
        if let Some(score) = result.score
            && best.is_none_or(|(_, known)| score > known)
        {
            best = Some((&result.job, score));
        }
    }
    let best = best.map(|(job, _)| job.to_owned());
    let reason = best.is_none().then(|| {
        let failure = jobs.iter().find_map(|job| Some(job.failure.as_ref()?.reason.clone()));
        failure.unwrap_or_else(|| format!("no trial has the metric `{}`", request.metric()))
    });
    SweepCompleted { trials: results, best, reason }
}

/// Opens a sweep, or finds it open.
pub(crate) async fn open(
    ports: &Ports,
    id: &str,
    received: &CloudEvent,
    request: &SweepRequested,
) -> Result<Vec<CloudEvent>, Problem> {
    let taken = append_decided(&*ports.control.log, &sweep_stream(id), |history| {
        let known = sweep::replay(history).request;
        Ok::<_, Problem>(match known {
            None => (vec![received.clone()], false),
            Some(known) => (Vec::new(), known != *request),
        })
    })
    .await?;
    if taken {
        let detail = format!("sweep `{id}` exists with other settings; choose another id (the event's subject)");
        return Err(Problem::new("sweep-id-taken", http::StatusCode::UNPROCESSABLE_ENTITY, detail).with("sweep", id));
    }
    advance(ports, id, received).await
}

/// Asks for the next trials, says again those that nobody has heard of, or says what came of all of them.
pub(crate) async fn advance(ports: &Ports, id: &str, received: &CloudEvent) -> Result<Vec<CloudEvent>, Problem> {
    let stream = sweep_stream(id);
    let state = sweep::replay(&ports.control.log.read(&stream, 0).await?);
    let Some(request) = state.request.as_ref().filter(|_| state.completed.is_none()) else {
        return repeat(ports, id, received).await;
    };
    let trials = match request.trials(id) {
        Ok(trials) => trials,
        // One that an older version has opened may be refused by this one: it ends with the reason, and so do its trials.
        Err(refused) => return give_up(ports, id, received, &state, &refused.to_string()).await,
    };
    let mut jobs = Vec::new();
    for trial in &trials {
        jobs.push(job::replay(&ports.control.log.read(&job_stream(&trial.job), 0).await?));
    }
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let events = append_decided(&*ports.control.log, &stream, |history| {
        let state = sweep::replay(history);
        if state.completed.is_some() {
            return Ok::<_, Problem>((Vec::new(), Vec::new()));
        }
        match decide(request, &trials, &jobs, &state.asked) {
            Next::Complete(completed) => {
                let event = Event::SweepCompleted(completed).caused_by(&cause, &ids::sweep_completed(id), id)?;
                Ok((vec![event.clone()], vec![event]))
            }
            Next::Ask(places) => {
                let fresh = places
                    .into_iter()
                    .map(|at| {
                        let Trial { job, request, .. } = &trials[at];
                        Event::TrainRequested(request.clone()).caused_by(&cause, &ids::trial_requested(job), job)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let unheard = |event: &&CloudEvent| {
                    let place = trials.iter().position(|trial| Some(trial.job.as_str()) == event.subject());
                    place.is_some_and(|at| jobs[at].state == JobState::Unknown)
                };
                let lost = history.iter().filter(unheard).cloned();
                let say = lost.chain(fresh.iter().cloned()).collect();
                Ok((fresh, say))
            }
        }
    })
    .await?;
    if events.iter().any(|event| event.id() == ids::sweep_completed(id)) {
        tracing::info!(job = id, "sweep completed");
    }
    Ok(events)
}

/// The end of a sweep, to the delivery that caused it.
async fn repeat(ports: &Ports, id: &str, received: &CloudEvent) -> Result<Vec<CloudEvent>, Problem> {
    let history = ports.control.log.read(&sweep_stream(id), 0).await?;
    let known = history.into_iter().filter(|event| event.id() == ids::sweep_completed(id));
    Ok(known.filter(|event| event.attribute("causationid").is_some_and(|cause| cause == received.id())).collect())
}

async fn end(
    ports: &Ports,
    id: &str,
    received: &CloudEvent,
    completed: SweepCompleted,
) -> Result<Vec<CloudEvent>, Problem> {
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    let event = Event::SweepCompleted(completed).caused_by(&cause, &ids::sweep_completed(id), id)?;
    Ok(vec![regrove_events::log::append_once(&*ports.control.log, &sweep_stream(id), event).await?])
}

/// What a trial's end means for its sweep. `say` is what was said about the trial.
pub(crate) async fn after_trial(
    ports: &Ports,
    job_id: &str,
    received: &CloudEvent,
    mut say: Vec<CloudEvent>,
) -> Result<Vec<CloudEvent>, Problem> {
    if say.is_empty() {
        return Ok(say);
    }
    let state = job::replay(&ports.control.log.read(&job_stream(job_id), 0).await?);
    if let Some(trial) = state.request.and_then(|request| request.sweep).filter(|_| state.state.is_terminal()) {
        say.extend(advance(ports, &trial.id, received).await?);
    }
    Ok(say)
}

/// Stops a sweep: its open trials are cancelled, and there is no best one. `None` when there is no such sweep.
pub(crate) async fn cancel(
    ports: &Ports,
    id: &str,
    received: &CloudEvent,
    reason: Option<&String>,
) -> Result<Option<Vec<CloudEvent>>, Problem> {
    let state = sweep::replay(&ports.control.log.read(&sweep_stream(id), 0).await?);
    if state.request.is_none() {
        return Ok(None);
    }
    let reason = reason.map_or("stopped on request", String::as_str);
    give_up(ports, id, received, &state, reason).await.map(Some)
}

/// Ends a sweep without a best trial, and asks the trials under way to stop.
async fn give_up(
    ports: &Ports,
    id: &str,
    received: &CloudEvent,
    state: &Sweep,
    reason: &str,
) -> Result<Vec<CloudEvent>, Problem> {
    let completed = SweepCompleted { trials: Vec::new(), best: None, reason: Some(reason.to_owned()) };
    let mut say = end(ports, id, received, completed).await?;
    let cause = Cause { function: FUNCTION, event: received, at: now() };
    for job in &state.asked {
        let wish = Event::TrainCancelled(TrainCancelled { reason: Some(reason.to_owned()) });
        say.push(wish.caused_by(&cause, &format!("{job}/cancel"), job)?);
    }
    Ok(say)
}

/// Looks at every open sweep.
pub(crate) async fn tick(ports: &Ports, received: &CloudEvent) -> Result<(), Problem> {
    for stream in ports.control.log.streams(SWEEP_PREFIX).await? {
        let id = stream.strip_prefix(SWEEP_PREFIX).unwrap_or(&stream);
        let say = advance(ports, id, received).await?;
        ports.emitter.emit(&say).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use regrove_events::event::{DatasetRequest, JobFailed, TrainRequested};
    use serde_json::{Value, json};

    use super::*;

    fn request(grid: &Value) -> SweepRequested {
        let train = TrainRequested::new(DatasetRequest::new("synthetic:x", "target"));
        let grid: BTreeMap<String, Vec<Value>> = serde_json::from_value(grid.clone()).unwrap();
        SweepRequested { train, grid, metric: None }
    }

    fn job(state: JobState) -> Job {
        Job { state, ..Job::default() }
    }

    #[test]
    fn the_largest_of_those_that_share_trees_goes_first() {
        let wish = request(&json!({"max_depth": [2, 3, 4, 5, 6], "n_estimators": [10, 20]}));
        let trials = wish.trials("s").unwrap();
        let fresh: Vec<Job> = trials.iter().map(|_| Job::default()).collect();
        let Next::Ask(first) = decide(&wish, &trials, &fresh, &[]) else { panic!("asks") };
        assert_eq!(first.len(), TRIALS_AT_ONCE);
        assert!(first.iter().all(|at| trees(&trials[*at]) == 20), "{first:?}");
        let asked: Vec<String> = first.iter().map(|at| trials[*at].job.clone()).collect();
        assert_eq!(decide(&wish, &trials, &fresh, &asked), Next::Ask(Vec::new()), "all places are taken");
        let mut jobs = fresh.clone();
        jobs[first[0]] = job(JobState::Succeeded);
        let Next::Ask(next) = decide(&wish, &trials, &jobs, &asked) else { panic!("asks") };
        assert_eq!(
            next.iter().map(|at| trees(&trials[*at])).collect::<Vec<_>>(),
            [20],
            "the other depth, then its kin"
        );
    }

    #[test]
    fn the_best_is_the_first_with_the_highest_score() {
        let wish = request(&json!({"max_depth": [2, 3, 4]}));
        let trials = wish.trials("s").unwrap();
        let failure = JobFailed { step: "aggregate".into(), reason: "no rows".into(), problem: "x".into() };
        let failed = Job { failure: Some(failure), ..job(JobState::Failed) };
        let asked: Vec<String> = trials.iter().map(|trial| trial.job.clone()).collect();
        let Next::Complete(done) = decide(&wish, &trials, &vec![failed.clone(); 3], &asked) else { panic!("ends") };
        assert_eq!((done.best, done.reason.as_deref()), (None, Some("no rows")));
        let metrics =
            |value: f64| BTreeMap::from([("holdout_accuracy".to_owned(), value), ("accuracy".to_owned(), 1.0)]);
        assert_eq!(wish.score(&metrics(0.5)), Some(0.5), "what was held out goes before what was learned");
        let loss = SweepRequested { metric: Some("log_loss".to_owned()), ..wish };
        assert_eq!(loss.score(&BTreeMap::from([("oob_log_loss".to_owned(), 0.25)])), Some(-0.25));
        assert_eq!(loss.score(&metrics(0.5)), None);
    }

    #[test]
    fn a_million_combinations_are_counted_and_refused() {
        let values: Vec<u32> = (0..100).collect();
        let wish = request(&json!({"max_depth": values, "max_leaf_nodes": values, "min_samples_leaf": values}));
        assert_eq!(wish.size(), 1_000_000);
        let refused = wish.trials("s").unwrap_err().to_string();
        assert!(refused.contains("1000000 combinations, at most 1000"), "{refused}");
        assert!(request(&json!({})).trials("s").is_err());
        assert!(request(&json!({"max_depth": []})).trials("s").unwrap_err().to_string().contains("max_depth"));
    }

    #[test]
    fn a_metric_that_no_trial_will_have_is_refused() {
        let of = |grid: &Value, metric: &str, test_size: f64| {
            let mut wish = SweepRequested { metric: Some(metric.to_owned()), ..request(grid) };
            wish.train.test_size = test_size;
            wish.trials("s").map(drop).map_err(|refused| refused.to_string())
        };
        let depths = json!({"max_depth": [2, 3]});
        let all = "accuracy, balanced_accuracy, f1_macro, roc_auc, log_loss";
        let unknown = format!("`metric` is `acuracy`, the trials have {all}");
        assert_eq!(of(&depths, "acuracy", 0.2), Err(unknown));
        let unmeasured =
            "`metric` is `f1_macro`, the trials have accuracy, log_loss; more with held-out rows (`test_size`)";
        assert_eq!(of(&depths, "f1_macro", 0.0), Err(unmeasured.to_owned()));
        assert!(of(&depths, "r2_score", 0.2).is_err());
        let regressors = json!({"estimator": ["RandomForestRegressor", "ExtraTreesRegressor"]});
        for (grid, metric, test_size) in
            [(&depths, "f1_macro", 0.2), (&depths, "log_loss", 0.0), (&regressors, "r2_score", 0.0)]
        {
            assert_eq!(of(grid, metric, test_size), Ok(()), "{metric}");
        }
    }

    #[test]
    fn trials_are_numbered_as_a_parameter_grid() {
        let wish = request(&json!({"n_estimators": [1, 2], "max_depth": [8, null]}));
        let trials = wish.trials("s").unwrap();
        let made: Vec<(String, String)> =
            trials.iter().map(|trial| (trial.job.clone(), Value::Object(trial.params.clone()).to_string())).collect();
        let expected = [(1, 8.into(), 1), (2, json!(8), 2), (3, Value::Null, 1), (4, Value::Null, 2)];
        let expected = expected.map(|(at, depth, trees)| {
            (format!("s.{at}"), json!({"max_depth": depth, "n_estimators": trees}).to_string())
        });
        assert_eq!(made, expected);
        assert_eq!(trials[3].request.sweep.as_ref().map(|sweep| sweep.trial), Some(4));
    }
}
