//! Draws predictions for the prediction log: events for whoever watches for drift. Off unless a rate is set.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use regrove_events::event::PredictionLogged;
use regrove_events::{CloudEvent, Event};
use regrove_host::{Caller, Emitter, HostArgs, now};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Service;
use crate::answer::Answer;
use crate::rows::Rows;

/// Drawn predictions that wait to be sent; more are dropped and counted.
const QUEUE_MAX: usize = 1024;

/// The share of rows that are drawn, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

/// Why a text is no [`Rate`].
#[derive(Debug, thiserror::Error)]
#[error("the share of rows that are drawn is a number from 0 to 1 (REGROVE_PREDICTION_LOG_RATE)")]
pub struct NotARate;

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        text.trim().parse().ok().filter(|rate| (0.0..=1.0).contains(rate)).map(Self).ok_or(NotARate)
    }
}

impl Rate {
    /// Whether a row is drawn, by its number: with equal chance for each, whatever repeats itself in the requests, such as
    /// a canary that answers every tenth of them.
    fn draws(self, number: u64) -> bool {
        // 53 bits: what a double holds of [0, 1).
        #[expect(clippy::cast_precision_loss, reason = "no more bits than it has")]
        let chance = (scattered(number) >> 11) as f64 * 2_f64.powi(-53);
        chance < self.0
    }
}

/// A number that says nothing about its neighbours. Source: Steele, Lea, Flood, *Fast splittable pseudorandom number
/// generators*, 2014 (`SplitMix64`).
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Where drawn predictions go, and how many are drawn. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PredictionLog(Option<Arc<Log>>);

#[derive(Debug)]
struct Log {
    rate: Rate,
    rows: AtomicU64,
    replica: String,
    queue: mpsc::Sender<CloudEvent>,
    dropped: Counter,
    /// Taken by whoever ends it.
    sending: Mutex<Option<Sending>>,
}

/// The task that sends.
#[derive(Debug)]
struct Sending {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PredictionLog {
    /// No log.
    pub fn off() -> Self {
        dropped();
        Self(None)
    }

    /// A log to the host's sink; none, and no sink is needed, at a rate of 0. Must be called within a runtime.
    ///
    /// # Errors
    /// As [`Emitter::open`].
    pub fn open(rate: Rate, host: &HostArgs) -> Result<Self, regrove_host::Error> {
        if rate.0 <= 0.0 {
            return Ok(Self::off());
        }
        let emitter = Emitter::open(host)?;
        let dropped = dropped();
        let (queue, drawn) = mpsc::channel(QUEUE_MAX);
        let (end, ending) = oneshot::channel();
        let task = tokio::spawn(send(drawn, emitter, ending, dropped.clone()));
        // The start of this replica tells its events from those of the others.
        let replica = format!("predict/{}/{}", std::process::id(), now().as_nanosecond());
        let sending = Mutex::new(Some(Sending { end, task }));
        Ok(Self(Some(Arc::new(Log { rate, rows: AtomicU64::new(0), replica, queue, dropped, sending }))))
    }

    /// To whom a request's drawn rows belong; not looked for when none are drawn.
    pub(crate) fn caller(&self, of: impl FnOnce() -> Caller) -> Caller {
        self.0.as_ref().map(|_| of()).unwrap_or_default()
    }

    /// Draws from an answer.
    pub(crate) fn draw(&self, answer: &Answer, rows: &Rows, caller: &Caller) {
        let Some(log) = &self.0 else { return };
        let n_rows = answer.n_rows as u64;
        let before = log.rows.fetch_add(n_rows, Ordering::Relaxed);
        let width = answer.served.signature.len();
        let all = answer.by_row().zip(rows.values.chunks_exact(width));
        for (number, (outputs, row)) in (before..).zip(all) {
            if log.rate.draws(number) {
                // Room comes first: nothing is made of what there is no room for.
                let logged = log.queue.try_reserve().ok().and_then(|room| {
                    let mut event = logged(answer, outputs, row, &format!("{}/{number}", log.replica), now())?;
                    caller.mark(&mut event).ok()?;
                    room.send(event);
                    Some(())
                });
                if logged.is_none() {
                    log.dropped.inc();
                }
            }
        }
    }

    /// Sends what is queued, within some time. What is left then is dropped and counted, and so is what is drawn later.
    pub async fn end(&self, within: Duration) {
        let Some(log) = &self.0 else { return };
        let sending = log.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Sending { end, mut task }) = sending else { return };
        // Nobody hears it when nothing is left to send.
        let _ = end.send(());
        if tokio::time::timeout(within, &mut task).await.is_err() {
            // One is under way, the others wait behind it.
            let left = 1 + log.queue.max_capacity() - log.queue.capacity();
            task.abort();
            log.dropped.inc_by(left as u64);
            tracing::warn!(left, "drawn predictions were not logged before the end");
        }
    }
}

/// The counter of drawn predictions that were not logged.
fn dropped() -> Counter {
    let dropped = Counter::default();
    let help = "Drawn predictions that were not logged: the sink was too slow or refused them";
    regrove_host::metrics::get().register("prediction_log_dropped", help, dropped.clone());
    dropped
}

/// Sends what is drawn, until it is told to end and the queue is empty.
async fn send(
    mut drawn: mpsc::Receiver<CloudEvent>,
    emitter: Emitter,
    mut ending: oneshot::Receiver<()>,
    dropped: Counter,
) {
    let mut ends = false;
    loop {
        let event = tokio::select! {
            event = drawn.recv() => event,
            _ = &mut ending, if !ends => {
                ends = true;
                drawn.close();
                continue;
            }
        };
        let Some(event) = event else { return };
        if let Err(error) = emitter.emit(&[event]).await {
            dropped.inc();
            tracing::warn!(%error, "a drawn prediction was not logged");
        }
    }
}

fn logged(answer: &Answer, outputs: &[f64], row: &[f32], id: &str, at: Timestamp) -> Option<CloudEvent> {
    let classifier = answer.is_classifier();
    let prediction = if classifier {
        serde_json::to_value(answer.served.model.label(outputs)).unwrap_or_default()
    } else {
        outputs.first().copied().map_or(Value::Null, Value::from)
    };
    let data = PredictionLogged {
        version: answer.served.version.version.clone(),
        columns: answer.served.signature.names().to_vec(),
        features: row.iter().map(|value| (!value.is_nan()).then(|| f64::from(*value))).collect(),
        prediction,
        probabilities: classifier.then(|| outputs.to_vec()),
    };
    Event::PredictionLogged(data).first(id, "/regrove/predict", &answer.served.name, at).ok()
}

/// The caller of an HTTP request, if drawn rows are to say it.
#[derive(Debug, Clone)]
pub(crate) struct Trace(pub(crate) Caller);

impl FromRequestParts<Arc<Service>> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Infallible> {
        Ok(Self(service.answering.log.caller(|| Caller::of(parts))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rate: &str, of: impl Iterator<Item = u64>) -> usize {
        let rate: Rate = rate.parse().unwrap();
        of.filter(|number| rate.draws(*number)).count()
    }

    #[test]
    fn the_share_is_that_of_the_rate() {
        for rate in [0.001_f64, 0.01, 0.25, 0.4, 0.6, 0.75, 0.999] {
            let (expected, deviation) = (1e6 * rate, (1e6 * rate * (1.0 - rate)).sqrt());
            let drawn = f64::from(u32::try_from(drawn(&rate.to_string(), 0..1_000_000)).unwrap());
            assert!((drawn - expected).abs() < 4.0 * deviation, "{rate}: {drawn}");
        }
        assert_eq!((drawn("0", 0..1000), drawn("1", 0..1000)), (0, 1000));
    }

    #[test]
    fn whatever_repeats_itself_is_drawn_at_the_rate() {
        // Every tenth row is the canary's, or the first of its request.
        for first in 0..10 {
            let drawn = drawn("0.1", (first..1_000_000).step_by(10));
            assert!((9_600..10_400).contains(&drawn), "{drawn} of those like {first}");
        }
    }

    #[test]
    fn what_is_no_share_is_no_rate() {
        for wrong in ["", "x", "-0.1", "1.01", "25", "25%", "NaN", "inf", "-inf"] {
            let error = wrong.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("REGROVE_PREDICTION_LOG_RATE") && error.contains("from 0 to 1"), "{wrong}: {error}");
        }
    }
}
