//! Server-sent events that say when to look again: the page that is open fetches itself and takes over what changed.
//!
//! A stream ends by itself before a platform would cut it off; browsers come back by themselves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use regrove_events::log::Position;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::Ports;

/// How long one stream lasts: less than the shortest common limit of a request, a minute.
const STREAM_SECONDS: u64 = 50;
/// How long one wait for news lasts.
const NEWS_WAIT: Duration = Duration::from_secs(5);
/// Shortest time between two messages.
const PAUSE: Duration = Duration::from_millis(250);
/// How soon a browser comes back after a stream has ended.
const COME_BACK: Duration = Duration::from_millis(200);

pub(crate) fn routes() -> Router<Arc<Ports>> {
    Router::new().route("/live", get(live))
}

struct Follower {
    ports: Arc<Ports>,
    /// What the browser has been told; `None` at first.
    told: Option<Position>,
    until: Instant,
    /// The process is asked to end: nobody waits for a stream then.
    ending: Option<Signal>,
}

async fn live(State(ports): State<Arc<Ports>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let until = Instant::now() + Duration::from_secs(STREAM_SECONDS);
    let ending = signal(SignalKind::terminate()).ok();
    let messages = stream::unfold(Follower { ports, told: None, until, ending }, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

impl Follower {
    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        let mut ending = self.ending.take()?;
        let event = tokio::select! {
            event = self.news() => event,
            _ = ending.recv() => None,
        };
        self.ending = Some(ending);
        event
    }

    /// `log` with the position of the newest event.
    async fn news(&mut self) -> Option<Event> {
        loop {
            let now = Instant::now();
            if now >= self.until {
                return None;
            }
            match self.look(self.until - now).await {
                Ok(Some(position)) => {
                    self.told = Some(position);
                    let text = position.to_string();
                    return Some(Event::default().event("log").id(&text).data(&text).retry(COME_BACK));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot follow the log");
                    return None;
                }
            }
        }
    }

    async fn look(&self, left: Duration) -> Result<Option<Position>, regrove_events::log::Error> {
        let log = &self.ports.control.log;
        let Some(told) = self.told else { return log.head().await.map(Some) };
        tokio::time::sleep(PAUSE).await;
        log.wait(told, NEWS_WAIT.min(left)).await?;
        let head = log.head().await?;
        Ok((head != told).then_some(head))
    }
}
