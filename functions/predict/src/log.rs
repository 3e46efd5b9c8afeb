//! Draws predictions for the prediction log: events for whoever watches for drift. Off unless a rate is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use regrove_events::event::PredictionLogged;
use regrove_events::{CloudEvent, Event};
use regrove_host::{Emitter, now};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::answer::Answer;
use crate::models::Metrics;
use crate::rows::Rows;

/// Drawn predictions that wait to be sent; more are dropped and counted.
const QUEUE_MAX: usize = 1024;

/// Where drawn predictions go, and how many are drawn.
#[derive(Debug)]
pub struct PredictionLog {
    queue: Option<mpsc::Sender<CloudEvent>>,
    /// One row in so many is drawn.
    every: u64,
    rows: AtomicU64,
    replica: String,
}

impl PredictionLog {
    /// No log.
    pub fn off() -> Self {
        Self { queue: None, every: 0, rows: AtomicU64::new(0), replica: String::new() }
    }

    /// A log of a share of the rows, 0 to 1, to the emitter's sink. Must be called within a runtime.
    pub fn new(rate: f64, emitter: Arc<Emitter>) -> Self {
        if rate <= 0.0 {
            return Self::off();
        }
        let (queue, mut drawn) = mpsc::channel::<CloudEvent>(QUEUE_MAX);
        tokio::spawn(async move {
            while let Some(event) = drawn.recv().await {
                if let Err(error) = emitter.emit(&[event]).await {
                    tracing::warn!(%error, "a drawn prediction was not logged");
                }
            }
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1")]
        let every = (1.0 / rate).round().max(1.0) as u64;
        // The start of this replica tells its events from those of the others.
        let replica = format!("predict/{}/{}", std::process::id(), now().as_nanosecond());
        Self { queue: Some(queue), every, rows: AtomicU64::new(0), replica }
    }

    /// Draws from an answer.
    pub(crate) fn draw(&self, answer: &Answer, rows: &Rows, metrics: &Metrics) {
        let Some(queue) = &self.queue else { return };
        let before = self.rows.fetch_add(answer.n_rows as u64, Ordering::Relaxed);
        let width = answer.served.signature.len();
        let all = answer.by_row().zip(rows.values.chunks_exact(width));
        for (number, (outputs, row)) in (before..).zip(all) {
            if !number.is_multiple_of(self.every) {
                continue;
            }
            let event = logged(answer, outputs, row, &format!("{}/{number}", self.replica), now());
            if event.is_none_or(|event| queue.try_send(event).is_err()) {
                metrics.log_dropped.inc();
            }
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
