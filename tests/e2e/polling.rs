//! Waiting for something to become true, with a limit.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything here may take on a busy machine. Reaching it is a failure, never a measurement.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// Time between two looks, so that looking does not hold up what is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
///
/// # Panics
/// When there is nothing after [`DEADLINE`].
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same, for threads.
///
/// # Errors
/// When there is nothing after `limit`.
pub(crate) fn until_blocking<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if started.elapsed() >= limit {
            return Err(format!("waited {limit:?} in vain"));
        }
        std::thread::sleep(PAUSE);
    }
}
