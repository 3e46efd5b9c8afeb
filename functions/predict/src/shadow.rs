//! Asks a shadow what was asked of the served version, and counts whether it says the same.
//!
//! A shadow never slows what is served: it computes in a turn that nobody else wants at that moment, however few its rows
//! are, and the comparison is skipped when there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use regrove_host::Gate;

use crate::answer::Answer;
use crate::models::{Models, Served, Shadowed, Slot};
use crate::rows::Rows;

/// Comparisons under way, those included whose model is still being fetched: each keeps its rows.
const UNDER_WAY_MAX: usize = 64;
/// Largest difference of two outputs that count as equal.
const TOLERANCE: f64 = 1e-6;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// What was asked of the served version, and what it said.
struct Comparison {
    rows: Rows,
    served: Arc<Served>,
    said: Vec<f64>,
}

/// Compares in the background.
pub(crate) fn compare(models: &Models, gate: &Gate, shadow: Arc<Slot>, answer: &Answer, rows: Rows) {
    if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= UNDER_WAY_MAX {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        models.metrics().shadowed(shadow.name(), &shadow.version().version, Shadowed::Skipped);
        return;
    }
    let (models, gate) = (models.clone(), gate.clone());
    let comparison = Comparison { rows, served: Arc::clone(&answer.served), said: answer.outputs.clone() };
    tokio::spawn(async move {
        let outcome = match models.loaded(&shadow).await {
            Err(_) => Shadowed::Failed,
            Ok(shadow) => comparison.with(shadow, &gate).await,
        };
        models.metrics().shadowed(shadow.name(), &shadow.version().version, outcome);
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    });
}

impl Comparison {
    /// Has the shadow answer, if there is a turn for it. Not taken any earlier: a turn is no place to wait for a store.
    async fn with(self, shadow: Arc<Served>, gate: &Gate) -> Shadowed {
        let Some(turn) = gate.try_turn() else { return Shadowed::Skipped };
        let work = move || {
            let _turn = turn;
            self.run(shadow)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Shadowed::Failed)
    }

    fn run(self, shadow: Arc<Served>) -> Shadowed {
        let same_classes = shadow.model.classes() == self.served.model.classes();
        if !same_classes || shadow.signature.names() != self.served.signature.names() {
            return Shadowed::Failed;
        }
        match Answer::of(shadow, &self.rows) {
            Ok(answer) if equal(&self.said, &answer.outputs) => Shadowed::Equal,
            Ok(_) => Shadowed::Different,
            Err(_) => Shadowed::Failed,
        }
    }
}

fn equal(left: &[f64], right: &[f64]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| (left - right).abs() <= TOLERANCE)
}
