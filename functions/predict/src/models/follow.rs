//! Follows the log: whoever is loaded is brought to what its pointer says, each name by a task of its own, so that a model
//! whose file comes slowly holds up no other.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use regrove_events::log::{self, Position, SERVING_PREFIX};
use tokio::sync::mpsc;

use super::{BATCH, Inner, Models, NEWS_WAIT, RETRY_WAIT, RETRY_WAIT_MAX, Stuck};

/// Passes on what the log says. Ends when nobody asks any more.
pub(super) struct Follower {
    models: Weak<Inner>,
    first: String,
    after: Option<Position>,
}

impl Follower {
    pub(super) fn new(models: &Models, first: &str) -> Self {
        Self { models: Arc::downgrade(&models.0), first: first.to_owned(), after: None }
    }

    pub(super) async fn run(mut self) {
        while let Some(inner) = self.models.upgrade() {
            if let Err(error) = self.step(&Models(inner)).await {
                tracing::warn!(%error, "cannot follow the serving pointers");
                tokio::time::sleep(RETRY_WAIT).await;
            }
        }
    }

    /// Has the first model opened, then waits for news and passes them on.
    async fn step(&mut self, models: &Models) -> Result<(), log::Error> {
        let log = Arc::clone(&models.0.control.log);
        let Some(seen) = self.after else {
            self.after = Some(log.head().await?);
            models.tell(&self.first);
            return Ok(());
        };
        if !log.wait(seen, NEWS_WAIT).await? {
            return Ok(());
        }
        let entries = log.tail(seen, BATCH).await?;
        for name in entries.iter().filter_map(|entry| entry.stream.strip_prefix(SERVING_PREFIX)) {
            // Names that nobody has asked for are read when somebody does.
            if name == self.first || models.is_known(name) {
                models.tell(name);
            }
        }
        self.after = entries.last().map_or(Some(seen), |entry| Some(entry.position));
        Ok(())
    }
}

impl Models {
    /// Has a name brought to what the log says, by the task that follows it.
    pub(super) fn tell(&self, name: &str) {
        let mut followed = self.0.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let news = followed.entry(name.to_owned()).or_insert_with(|| {
            let (news, heard) = mpsc::channel(1);
            tokio::spawn(follow(Arc::downgrade(&self.0), name.to_owned(), heard));
            news
        });
        // Full means that the task will look again anyway.
        let _ = news.try_send(());
    }
}

/// Brings a name to what the log says whenever there are news of it. What does not answer is asked again, and so is, with
/// longer and longer pauses, what is missing or damaged: somebody may put it back. What is there and cannot be served is said in
/// the log and left for the next news.
async fn follow(models: Weak<Inner>, name: String, mut news: mpsc::Receiver<()>) {
    let mut pause = None;
    loop {
        let heard = match pause {
            None => Ok(news.recv().await),
            Some(pause) => tokio::time::timeout(pause, news.recv()).await,
        };
        if heard == Ok(None) {
            return;
        }
        let Some(inner) = models.upgrade() else { return };
        let longer = || {
            let before = pause.filter(|_| heard.is_err());
            before.map_or(RETRY_WAIT, |before: Duration| (before * 2).min(RETRY_WAIT_MAX))
        };
        pause = match Models(inner).update(&name).await {
            Ok(route) => route.filter(|route| route.roles.may_come).map(|_| longer()),
            Err(Stuck::Refused(_)) => None,
            Err(Stuck::Absent(_)) => Some(longer()),
            Err(error) => {
                tracing::warn!(model = name, %error, "cannot follow the serving pointer");
                Some(RETRY_WAIT)
            }
        };
    }
}
