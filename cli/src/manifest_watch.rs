//! Notices when manifests change, by looking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::manifests::Texts;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Manifests as they are, or why they cannot be read.
type Look = Result<Texts, String>;

/// Looks at manifests again and again.
#[derive(Debug)]
pub(crate) struct ManifestWatch {
    from: Option<PathBuf>,
    /// What the caller knows.
    told: Look,
    /// What the last look saw.
    seen: Look,
    looks: Interval,
}

impl ManifestWatch {
    /// Watches the manifests of which `taken` is the present state.
    pub(crate) fn new(from: Option<&Path>, taken: Texts) -> Self {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { from: from.map(Path::to_owned), told: Ok(taken.clone()), seen: Ok(taken), looks }
    }

    /// Returns the manifests once they differ from what was returned before, and were the same at two looks: an editor
    /// may still be writing. Dropping the future loses nothing.
    pub(crate) async fn changed(&mut self) -> Look {
        loop {
            self.looks.tick().await;
            let from = self.from.clone();
            let read = move || Texts::read(from.as_deref()).map_err(|error| format!("{error:#}"));
            let Ok(now) = tokio::task::spawn_blocking(read).await else {
                continue;
            };
            let settled = now == self.seen;
            self.seen = now;
            if settled && self.seen != self.told {
                self.told.clone_from(&self.seen);
                return self.seen.clone();
            }
        }
    }
}
