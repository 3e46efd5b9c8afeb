//! Waiting for something to become true, with a limit; and what is left to chance.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything here may take on a busy machine. Reaching it is a failure, never a measurement.
pub(crate) const DEADLINE: Duration = Duration::from_mins(4);
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

/// The seed of a test's choices: the test's own, or the one that `REGROVE_TEST_SEED` gives to look for others.
pub(crate) fn seed(own: u32) -> u32 {
    let given = std::env::var_os("REGROVE_TEST_SEED");
    let seed = given.map_or(own, |text| text.to_str().and_then(|text| text.parse().ok()).expect("a whole number"));
    eprintln!("REGROVE_TEST_SEED={seed}");
    seed
}
