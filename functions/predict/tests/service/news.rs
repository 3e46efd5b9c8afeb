//! News that come while the replica reads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use regrove_events::CloudEvent;
use regrove_events::log::{Entry, Error, EventLog, Position, Version, serving_stream};
use regrove_predict::models::Models;
use tokio::sync::{oneshot, watch};

use crate::stage::{Kind, NAME, Stage, model, pause};

/// A name that the replica does not open by itself.
const ASKED: &str = "Asked";

/// Gives out what the first read of a stream found only when it is told to, and says how far the follower has come.
#[derive(Debug)]
struct HeldRead {
    log: Arc<dyn EventLog>,
    stream: String,
    /// Taken by the first read: says that it has read, waits to go on.
    hold: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
    /// The newest position given out as news.
    told: watch::Sender<Position>,
    /// The position after which the follower waits for news.
    waits_after: watch::Sender<Option<Position>>,
}

#[async_trait]
impl EventLog for HeldRead {
    async fn append(&self, stream: &str, expected: Version, events: &[CloudEvent]) -> Result<Version, Error> {
        self.log.append(stream, expected, events).await
    }

    async fn read(&self, stream: &str, after: Version) -> Result<Vec<CloudEvent>, Error> {
        let found = self.log.read(stream, after).await;
        let hold = if stream == self.stream { self.hold.lock().unwrap().take() } else { None };
        if let Some((has_read, go_on)) = hold {
            has_read.send(()).unwrap();
            go_on.await.unwrap();
        }
        found
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.log.streams(prefix).await
    }

    async fn tail(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Error> {
        let entries = self.log.tail(after, limit).await?;
        // The last thing before the answer: whoever is woken by it runs when the follower has come to its next wait.
        if let Some(newest) = entries.last() {
            self.told.send_replace(newest.position);
        }
        Ok(entries)
    }

    async fn head(&self) -> Result<Position, Error> {
        self.log.head().await
    }

    async fn wait(&self, after: Position, timeout: Duration) -> Result<bool, Error> {
        self.waits_after.send_replace(Some(after));
        self.log.wait(after, timeout).await
    }
}

// On one thread, so that the follower has looked who is known before this test goes on.
#[tokio::test(flavor = "current_thread")]
async fn a_switch_told_while_its_model_is_read_for_the_first_time_is_followed() {
    let stage = Stage::empty();
    stage.load(ASKED, "1", model(Kind::Numbers, 1).0, None).await;
    let ((has_read, read), (go_on, held)) = (oneshot::channel(), oneshot::channel());
    let (told, waits_after) = (watch::Sender::new(0), watch::Sender::new(None));
    let (mut news, mut dealt_with) = (told.subscribe(), waits_after.subscribe());
    let mut control = stage.control.clone();
    control.log = Arc::new(HeldRead {
        log: Arc::clone(&stage.control.log),
        stream: serving_stream(ASKED),
        hold: Mutex::new(Some((has_read, held))),
        told,
        waits_after,
    });
    let models = Models::follow(control, NAME, 1 << 30);
    dealt_with.wait_for(Option::is_some).await.unwrap();

    let asking = tokio::spawn({
        let models = models.clone();
        async move { models.get(ASKED, None).await.unwrap() }
    });
    read.await.unwrap();
    stage.load(ASKED, "2", model(Kind::Numbers, 2).0, None).await;
    let switch = stage.control.log.head().await.unwrap();
    news.wait_for(|position| *position >= switch).await.unwrap();
    go_on.send(()).unwrap();
    assert_eq!(asking.await.unwrap().served.version.version, "1", "what its read has found");

    // The news are not missed: they will never come again.
    dealt_with.wait_for(|after| after.is_some_and(|after| after >= switch)).await.unwrap();
    while models.get(ASKED, None).await.unwrap().served.version.version != "2" {
        pause().await;
    }
}
