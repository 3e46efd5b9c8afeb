//! Follows the log: whoever is loaded is brought to what its pointer says, each name by a task of its own, so that a model
//! whose file comes slowly holds up no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use regrove_events::log::{self, Position, SERVING_PREFIX};
use tokio::sync::mpsc;

use super::{BATCH, Inner, Models, NEWS_WAIT, RETRY_WAIT, Stuck};

/// Names with their tasks. Ends when nobody asks any more.
pub(super) struct Follower {
    models: Weak<Inner>,
    first: String,
    after: Option<Position>,
    /// Wakes the task of a name; what is still unheard stands for all news before it.
    followed: BTreeMap<String, mpsc::Sender<()>>,
}

impl Follower {
    pub(super) fn new(models: &Models, first: &str) -> Self {
        Self { models: Arc::downgrade(&models.0), first: first.to_owned(), after: None, followed: BTreeMap::new() }
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
            self.tell(&self.first.clone());
            return Ok(());
        };
        if !log.wait(seen, NEWS_WAIT).await? {
            return Ok(());
        }
        let entries = log.tail(seen, BATCH).await?;
        for name in entries.iter().filter_map(|entry| entry.stream.strip_prefix(SERVING_PREFIX)) {
            // Names that nobody has asked for are read when somebody does.
            if name == self.first || models.is_known(name) {
                self.tell(name);
            }
        }
        self.after = entries.last().map_or(Some(seen), |entry| Some(entry.position));
        Ok(())
    }

    fn tell(&mut self, name: &str) {
        let news = self.followed.entry(name.to_owned()).or_insert_with(|| {
            let (news, heard) = mpsc::channel(1);
            tokio::spawn(follow(self.models.clone(), name.to_owned(), heard));
            news
        });
        // Full means that the task will look again anyway.
        let _ = news.try_send(());
    }
}

/// Brings a name to what the log says whenever there are news of it. What cannot be served is said in the log and left for
/// the next news; whatever does not answer is asked again.
async fn follow(models: Weak<Inner>, name: String, mut news: mpsc::Receiver<()>) {
    while news.recv().await.is_some() {
        while let Some(inner) = models.upgrade() {
            match Models(inner).update(&name).await {
                Ok(_) | Err(Stuck::Refused(_)) => break,
                Err(error) => tracing::warn!(model = name, %error, "cannot follow the serving pointer"),
            }
            tokio::time::sleep(RETRY_WAIT).await;
        }
    }
}
