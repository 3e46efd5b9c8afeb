//! Answers of JSON lines that go on as long as somebody reads.

use std::convert::Infallible;
use std::future::Future;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces that wait for a slow reader.
const AHEAD_MAX: usize = 16;

/// JSON values, one on each line.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn add(&mut self, value: &impl Serialize) {
        let before = self.0.len();
        match serde_json::to_writer(&mut self.0, value) {
            Ok(()) => self.0.push(b'\n'),
            Err(error) => {
                self.0.truncate(before);
                tracing::error!(%error, "a line was left out");
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// Where further lines go.
#[derive(Debug)]
pub(super) struct Reader(mpsc::Sender<Bytes>);

impl Reader {
    /// Waits until the reader has room; lines for one who has gone are lost.
    pub(super) async fn send(&self, lines: Lines) {
        // The whole task ends when the reader has gone.
        drop(self.0.send(lines.into_bytes()).await);
    }
}

/// An answer of the `first` lines and then of what `tell` sends, until that ends, nobody reads, or `stop`.
pub(super) fn answer<Telling>(first: Lines, stop: CancellationToken, tell: impl FnOnce(Reader) -> Telling) -> Response
where
    Telling: Future<Output = ()> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(AHEAD_MAX);
    let telling = tell(Reader(sender.clone()));
    tokio::spawn(async move {
        drop(sender.send(first.into_bytes()).await);
        tokio::select! {
            () = telling => {}
            () = sender.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    let pieces = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
