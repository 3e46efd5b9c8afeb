//! What comes later: the events of a job, and the lines that functions write about it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use regrove_events::log::Version;
use regrove_events::{CloudEvent, json_format};
use regrove_host::{Path, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::respond::Params;
use crate::runtime::{Line, LineStream};
use crate::{Ports, action};

/// Longest wait for news in milliseconds: a function that is asked to end does not wait longer for those who do.
const WAIT_MS_MAX: u64 = 10_000;

/// Which events of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NewsQuery {
    /// Only events after this many of the job.
    after: Version,
    /// How long to wait for one, in milliseconds: at most 10000, 0 when absent.
    wait_ms: u64,
}

/// The events of a job after those that are known, as a batch of CloudEvents; waits for one. A job that nobody has heard of
/// has none yet.
#[utoipa::path(get, path = "/api/jobs/{id}/news", tag = "jobs",
    params(("id" = String, Path, description = "Job id"), NewsQuery),
    responses((status = 200, description = "The events since, as a batch; empty if none came in time", body = Vec<Object>, content_type = "application/cloudevents-batch+json"),
        (status = 422, description = "invalid-request")))]
pub(crate) async fn job_news(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
    Params(query): Params<NewsQuery>,
) -> Result<Response, Problem> {
    action::check_id(&id)?;
    if query.wait_ms > WAIT_MS_MAX {
        return Err(action::invalid(&format!("`wait_ms` is {}, expected at most {WAIT_MS_MAX}", query.wait_ms)));
    }
    let news = ports.jobs.news(&id, query.after, Duration::from_millis(query.wait_ms)).await;
    let batch = batch(&news.map_err(action::refused)?);
    let kind = HeaderValue::from_static("application/cloudevents-batch+json");
    Ok(([(CONTENT_TYPE, kind)], batch).into_response())
}

/// CloudEvents 1.0, JSON format, section 4.
fn batch(events: &[CloudEvent]) -> Vec<u8> {
    let events: Vec<Vec<u8>> = events.iter().map(json_format::to_vec).collect();
    [b"[".as_slice(), &events.join(&b","[..]), b"]"].concat()
}

/// Lines as server-sent events: `line` with the line as JSON, its number as the id.
pub(super) fn lines(stream: LineStream) -> Response {
    let messages = stream::unfold(stream, |mut stream| async move {
        match stream.next().await {
            Ok(line) => line.map(|line| (Ok(message(&line)), stream)),
            Err(problem) => {
                tracing::warn!(reason = problem.detail, "cannot follow the lines of functions");
                None
            }
        }
    });
    sse(messages)
}

fn message(line: &Line) -> Event {
    let text = serde_json::to_string(line).unwrap_or_default();
    Event::default().event("line").id(line.number.to_string()).data(text)
}

fn sse(messages: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(messages).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}
