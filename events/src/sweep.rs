//! A sweep is the fold of its events: one request under many settings, each a job of its own, and the best of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::{SweepCompleted, SweepRequested, SweepTrial, TrainRequested};
use crate::job::said_at;
use crate::score::score_of;
use crate::{CloudEvent, Event};

/// Settings that a sweep may try.
pub const TRIALS_MAX: u64 = 1000;
/// Bytes of JSON that the requests of all trials may have together: 64 MiB.
pub const TRIALS_BYTES_MAX: u64 = 64 << 20;

/// Why a sweep cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// More settings than [`TRIALS_MAX`].
    #[error("the sweep has {trials} combinations, at most {TRIALS_MAX} are tried; name fewer values")]
    TooMany {
        /// The product of the numbers of values.
        trials: u128,
    },
    /// Requests that are longer together than [`TRIALS_BYTES_MAX`].
    #[error(
        "the requests of the {trials} trials have {bytes} bytes together, at most {TRIALS_BYTES_MAX} are made; shorten `train` or the values of `grid`, or name fewer values"
    )]
    TooLong {
        /// How many trials there are.
        trials: u64,
        /// Bytes of all their requests.
        bytes: u64,
    },
    /// Nothing to try.
    #[error("`grid` needs at least one parameter, and each at least one value; `{0}` has none")]
    Empty(String),
    /// No trial will have the metric.
    #[error("`metric` is `{metric}`, the trials have {known}{}", if *held_out { "" } else { "; more with held-out rows (`test_size`)" })]
    Metric {
        /// What was asked for.
        metric: String,
        /// What the first trial has.
        known: String,
        /// Whether rows are held out.
        held_out: bool,
    },
    /// The id is so long that its trials have none.
    #[error("the sweep's id must leave room for `.{TRIALS_MAX}` in 128 characters")]
    Id,
}

/// What a sweep's events add up to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Sweep {
    /// What was asked for.
    pub request: Option<SweepRequested>,
    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
    /// The jobs that were asked for, in that order.
    pub asked: Vec<String>,
    /// What came of it.
    pub completed: Option<SweepCompleted>,
    /// When that was.
    pub ended_at: Option<Timestamp>,
}

/// The state of a sweep after its events so far.
pub fn replay<'a>(history: impl IntoIterator<Item = &'a CloudEvent>) -> Sweep {
    history.into_iter().fold(Sweep::default(), |mut sweep, recorded| {
        let at = said_at(recorded);
        match Event::read(recorded) {
            Ok(Event::SweepRequested(request)) if sweep.request.is_none() => {
                sweep.request = Some(request);
                sweep.requested_at = at;
            }
            Ok(Event::TrainRequested(_)) => sweep.asked.extend(recorded.subject().map(str::to_owned)),
            Ok(Event::SweepCompleted(completed)) if sweep.completed.is_none() => {
                sweep.completed = Some(completed);
                sweep.ended_at = at;
            }
            _ => {}
        }
        sweep
    })
}

/// One setting of a sweep: a job of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its job's id: `SWEEP.N`, N from 1.
    pub job: String,
    /// The settings that were tried.
    pub params: Map<String, Value>,
    /// What is asked for.
    pub request: TrainRequested,
}

impl SweepRequested {
    /// How many settings there are; beyond `u128` its largest number, which 128 parameters of two values would pass.
    pub fn size(&self) -> u128 {
        self.grid.values().fold(1, |size, values| size.saturating_mul(values.len() as u128))
    }

    /// The trials in the order of scikit-learn's `ParameterGrid`: parameters by name, the last one changes fastest.
    ///
    /// # Errors
    /// [`Refused`]. Nothing is made of a grid that is too large.
    pub fn trials(&self, sweep: &str) -> Result<Vec<Trial>, Refused> {
        if let Some((name, _)) = self.grid.iter().find(|(_, values)| values.is_empty()) {
            return Err(Refused::Empty(name.clone()));
        }
        if self.grid.is_empty() {
            return Err(Refused::Empty("grid".to_owned()));
        }
        let trials = self.size();
        if trials > u128::from(TRIALS_MAX) {
            return Err(Refused::TooMany { trials });
        }
        self.check_length()?;
        if crate::event::check_subject(&format!("{sweep}.{TRIALS_MAX}")).is_err() {
            return Err(Refused::Id);
        }
        let mut settings = vec![Map::new()];
        for (name, values) in &self.grid {
            let extend = |known: &Map<String, Value>| {
                let one = |value: &Value| {
                    let mut params = known.clone();
                    params.insert(name.clone(), value.clone());
                    params
                };
                values.iter().map(one).collect::<Vec<_>>()
            };
            settings = settings.iter().flat_map(extend).collect();
        }
        let trials: Vec<Trial> =
            (1_u32..).zip(settings).map(|(number, params)| self.trial(sweep, number, params)).collect();
        self.check_metric(&trials)?;
        Ok(trials)
    }

    /// Every trial has the request for itself, and one value of each parameter. There are no more than [`TRIALS_MAX`].
    fn check_length(&self) -> Result<(), Refused> {
        let length = |json: serde_json::Result<Vec<u8>>| json.map_or(0, |json| json.len() as u64);
        let trials = self.grid.values().map(|values| values.len() as u64).product();
        let values = self.grid.values().map(|values| length(serde_json::to_vec(values)) * trials / values.len() as u64);
        let bytes = trials * length(serde_json::to_vec(&self.train)) + values.sum::<u64>();
        if bytes > TRIALS_BYTES_MAX { Err(Refused::TooLong { trials, bytes }) } else { Ok(()) }
    }

    /// The trials may be of classifiers and of regressors: one that has the metric is enough.
    fn check_metric(&self, trials: &[Trial]) -> Result<(), Refused> {
        let Some(metric) = &self.metric else { return Ok(()) };
        if trials.iter().any(|trial| trial.request.metrics().contains(&metric.as_str())) {
            return Ok(());
        }
        let known = trials.first().map(|trial| trial.request.metrics().join(", ")).unwrap_or_default();
        Err(Refused::Metric { metric: metric.clone(), known, held_out: self.train.test_size > 0.0 })
    }

    fn trial(&self, sweep: &str, number: u32, params: Map<String, Value>) -> Trial {
        let mut request = self.train.clone();
        request.params.extend(params.clone());
        // Only the best one is registered, and only then gets the alias.
        request.model.alias = None;
        request.sweep = Some(SweepTrial { id: sweep.to_owned(), trial: number });
        Trial { job: format!("{sweep}.{number}"), params, request }
    }

    /// A trial's score from its metrics: the metric on rows that were held out, else out of bag, else as it is named. Larger
    /// is better; a loss counts negatively.
    pub fn score(&self, metrics: &BTreeMap<String, f64>) -> Option<f64> {
        let name = self.metric();
        let keys = [format!("holdout_{name}"), format!("oob_{name}"), name.to_owned()];
        let value = keys.iter().find_map(|key| metrics.get(key)).copied().filter(|value| value.is_finite())?;
        Some(score_of(name, value))
    }

    /// What makes a trial the best.
    pub fn metric(&self) -> &str {
        self.metric.as_deref().unwrap_or_else(|| self.train.usual_metric())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{Refused, SweepRequested};
    use crate::event::{DatasetRequest, TrainRequested};

    /// Counted round to 0, they would all be made.
    #[test]
    fn more_combinations_than_can_be_counted_are_refused() {
        for n_params in [127, 128, 200] {
            let grid: BTreeMap<String, Vec<Value>> =
                (0..n_params).map(|param| (format!("p{param}"), vec![Value::Null; 2])).collect();
            let train = TrainRequested::new(DatasetRequest::new("file:///a.csv", "target"));
            let sweep = SweepRequested { train, grid, metric: None };
            let trials = if n_params == 127 { 1 << 127 } else { u128::MAX };
            assert_eq!(sweep.trials("s"), Err(Refused::TooMany { trials }));
        }
    }

    /// A body as large as is taken would be copied for every trial.
    #[test]
    fn long_requests_of_many_trials_are_refused_before_they_are_made() {
        let values = |n: u32| (0..n).map(Value::from).collect::<Vec<_>>();
        let train = |length| TrainRequested::new(DatasetRequest::new("file:///a.csv", "x".repeat(length)));
        let long = Value::from("x".repeat(1 << 20));
        let of = |length, grid: &[(&str, Vec<Value>)]| {
            let grid = grid.iter().map(|(name, values)| ((*name).to_owned(), values.clone())).collect();
            SweepRequested { train: train(length), grid, metric: None }.trials("s").map(|trials| trials.len())
        };
        assert_eq!(of(1 << 20, &[("a", values(50))]), Ok(50));
        assert!(matches!(of(1 << 20, &[("a", values(70))]), Err(Refused::TooLong { trials: 70, bytes: 73_400_000.. })));
        assert_eq!(of(1, &[("a", values(50)), ("b", vec![long.clone()])]), Ok(50));
        assert!(matches!(of(1, &[("a", values(70)), ("b", vec![long])]), Err(Refused::TooLong { trials: 70, .. })));
    }
}
