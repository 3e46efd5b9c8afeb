//! Asks a shadow what was asked of the served version, and counts whether it says the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::answer::Answer;
use crate::models::{Models, Shadowed, Slot};
use crate::rows::Rows;

/// Comparisons under way; more are skipped and counted, so that a slow shadow never slows what is served.
const UNDER_WAY_MAX: usize = 64;
/// Largest difference of two outputs that count as equal.
const TOLERANCE: f64 = 1e-6;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Compares in the background.
pub(crate) fn compare(models: &Models, shadow: Arc<Slot>, answer: &Answer, rows: Rows) {
    if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= UNDER_WAY_MAX {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        models.metrics().shadowed(shadow.name(), &shadow.version().version, Shadowed::Skipped);
        return;
    }
    let models = models.clone();
    let said = answer.outputs.clone();
    let same_classes = answer.served.model.classes().to_vec();
    let names = answer.served.signature.names().to_vec();
    tokio::spawn(async move {
        let outcome = match models.loaded(&shadow).await {
            Err(_) => Shadowed::Failed,
            Ok(served) => {
                let comparable = served.model.classes() == same_classes && served.signature.names() == names;
                let work = move || comparable.then(|| Answer::of(served, &rows).ok()).flatten();
                match tokio::task::spawn_blocking(work).await {
                    Ok(Some(answer)) if equal(&said, &answer.outputs) => Shadowed::Equal,
                    Ok(Some(_)) => Shadowed::Different,
                    Ok(None) | Err(_) => Shadowed::Failed,
                }
            }
        };
        models.metrics().shadowed(shadow.name(), &shadow.version().version, outcome);
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    });
}

fn equal(left: &[f64], right: &[f64]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| (left - right).abs() <= TOLERANCE)
}
