//! From rows to answers: the one path that every protocol takes.

use std::sync::Arc;

use regrove_forest::Label;
use regrove_host::{Caller, Gate, Problem};

use crate::log::PredictionLog;
use crate::models::{Choice, Models, Served, Slot};
use crate::rows::Rows;
use crate::shadow;

/// Bytes of a body from which it is read, answered and written on a thread of its own, so that it does not hold up other
/// requests. Handing over costs some microseconds; of the narrowest rows so many bytes are eight thousand.
const BLOCKING_BYTES: usize = 16 << 10;

/// What a model says of rows.
#[derive(Debug)]
pub struct Answer {
    /// The version that says it.
    pub served: Arc<Served>,
    /// How many rows.
    pub n_rows: usize,
    /// `(n_rows, n_outputs)`: class probabilities, or values.
    pub outputs: Vec<f64>,
}

impl Answer {
    /// Computes it.
    ///
    /// # Errors
    /// 500 when the model refuses what was checked before.
    pub(crate) fn of(served: Arc<Served>, rows: &Rows) -> Result<Self, Problem> {
        let mut outputs = vec![0.0; rows.n_rows * served.model.n_outputs()];
        served
            .model
            .predict_proba_rows(&rows.values, rows.n_rows, &mut outputs)
            .map_err(|error| Problem::internal(&error))?;
        Ok(Self { served, n_rows: rows.n_rows, outputs })
    }

    /// Whether the model tells classes.
    pub(crate) fn is_classifier(&self) -> bool {
        self.served.model.n_classes() > 0
    }

    /// What the columns are called where answers are a table: those of the registered model's signature.
    pub(crate) fn names(&self) -> Vec<String> {
        if !self.is_classifier() {
            return vec!["prediction".to_owned()];
        }
        let probabilities = self.served.model.classes().iter().map(|class| format!("probability_{class}"));
        std::iter::once("label".to_owned()).chain(probabilities).collect()
    }

    /// Each row's outputs.
    pub(crate) fn by_row(&self) -> impl Iterator<Item = &[f64]> {
        self.outputs.chunks_exact(self.served.model.n_outputs())
    }

    /// Each row's most probable class; ties go to the first, as scikit-learn's `argmax` has it.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Label> {
        self.by_row().map(|row| self.served.model.label(row))
    }
}

/// Answers rows from a model, and lets shadow and log know.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) models: Models,
    pub(crate) gate: Gate,
    pub(crate) log: PredictionLog,
}

impl Answering {
    /// Answers a request whose rows have `bytes` bytes: `read` gets them out of it, and `write` what the model says of
    /// them into a response. What is drawn of them belongs to its `caller`.
    ///
    /// # Errors
    /// What `read` finds wrong; 500 when the model fails.
    pub(crate) async fn answer<T, W, R>(
        &self,
        choice: Choice,
        caller: Caller,
        bytes: usize,
        read: R,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: FnOnce(&Answer) -> T,
        R: FnOnce(&Served) -> Result<(Rows, W), Problem> + Send + 'static,
    {
        let Choice { served, shadow } = choice;
        let work = move || {
            let (rows, write) = read(&served)?;
            let answer = Answer::of(served, &rows)?;
            let written = write(&answer);
            Ok::<_, Problem>((answer, rows, written))
        };
        let (answer, rows, written) = if bytes >= BLOCKING_BYTES {
            let turn = self.gate.turn().await;
            let work = move || {
                let _turn = turn;
                work()
            };
            tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))??
        } else {
            work()?
        };
        self.models.metrics().request(&answer.served.name, &answer.served.version.version);
        self.tell(&answer, rows, shadow, &caller);
        Ok(written)
    }

    /// Lets metrics, log and shadow know of rows that were answered.
    pub(crate) fn tell(&self, answer: &Answer, rows: Rows, shadow: Option<Arc<Slot>>, caller: &Caller) {
        self.models.metrics().rows(&answer.served.name, &answer.served.version.version, answer.n_rows);
        self.log.draw(answer, &rows, caller);
        if let Some(shadow) = shadow {
            shadow::compare(&self.models, &self.gate, shadow, answer, rows);
        }
    }
}
