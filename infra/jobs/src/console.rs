//! The job API of a console, for whoever has no access to the event log.

use std::fmt;
use std::time::Duration;

use regrove_events::event::{SweepRequested, TrainRequested};
use regrove_events::log::Version;
use regrove_events::{CloudEvent, json_format, with_causes};
use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::{Comparison, Error, JobView, Page, Query, ReplayStep, Span, SweepView};

/// How long an answer may take, beside what it was asked to wait.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream may be silent: a console says at least that it is there more often than that.
const SILENCE: Duration = Duration::from_mins(1);

/// A console's job API.
#[derive(Clone)]
pub struct Console {
    base: Url,
    token: Option<String>,
    client: reqwest::Client,
}

impl fmt::Debug for Console {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "[redacted]");
        out.debug_struct("Console").field("base", &self.base.as_str()).field("token", &token).finish_non_exhaustive()
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ordered {
    /// The job or sweep.
    pub id: String,
    /// Its state a moment later.
    pub state: String,
    /// Whether this order made it.
    pub created: bool,
}

/// The ids of events that were said again.
#[derive(Debug, Deserialize)]
struct Said {
    events: Vec<String>,
}

/// Lines of functions as JSON objects with `at_ms`, `service`, `replica` and `text`; `unavailable` says why there are none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Lines {
    /// Oldest first.
    pub lines: Vec<Value>,
    /// Why the console has none.
    pub unavailable: Option<String>,
}

impl Console {
    /// The console at an address, with its `REGROVE_TOKEN` if it has one.
    ///
    /// # Errors
    /// [`Error::Field`] for an address that none can have.
    pub fn new(base: Url, token: Option<String>) -> Result<Self, Error> {
        let reason = |reason: String| Error::Field { field: "console", reason };
        if base.cannot_be_a_base() || base.host().is_none() {
            return Err(reason(format!("`{base}` is no address of a console")));
        }
        let builder = reqwest::Client::builder().no_proxy().read_timeout(SILENCE);
        let client = builder.build().map_err(|error| reason(error.to_string()))?;
        Ok(Self { base, token: token.filter(|token| !token.is_empty()), client })
    }

    /// As [`crate::Jobs::list`].
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`], as all that follow.
    pub async fn list(&self, query: &Query) -> Result<Page, Error> {
        let states: Vec<&str> = query.states.iter().map(|state| state.as_str()).collect();
        let given = [
            ("state", Some(states.join(",")).filter(|states| !states.is_empty())),
            ("name", query.name.clone()),
            ("since", query.since.map(|at| at.to_string())),
            ("until", query.until.map(|at| at.to_string())),
            ("limit", Some(query.limit.to_string())),
            ("after", query.after.clone()),
        ];
        let given: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.ask(self.request(Method::GET, &["jobs"])?.query(&given)).await
    }

    /// As [`crate::Jobs::show`].
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn show(&self, id: &str) -> Result<JobView, Error> {
        self.get(id, "").await
    }

    /// As [`crate::Jobs::steps`].
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn steps(&self, id: &str) -> Result<Vec<ReplayStep>, Error> {
        self.get(id, "steps").await
    }

    /// As [`crate::Jobs::trace`].
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn trace(&self, id: &str) -> Result<Span, Error> {
        self.get(id, "trace").await
    }

    /// As [`crate::Jobs::compare`].
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn compare(&self, left: &str, right: &str) -> Result<Comparison, Error> {
        self.ask(self.request(Method::GET, &["jobs", "compare"])?.query(&[("a", left), ("b", right)])).await
    }

    /// As [`crate::Jobs::news`].
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn news(&self, id: &str, version: Version, wait: Duration) -> Result<Vec<CloudEvent>, Error> {
        let query = [("after", version), ("wait_ms", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))];
        let request = self.request(Method::GET, &["jobs", id, "news"])?.query(&query).timeout(TIMEOUT + wait);
        let bytes = self.send(request).await?.bytes().await.map_err(|error| self.unreachable(error))?;
        json_format::batch_from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    /// Asks for a job.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn submit(&self, id: &str, request: &TrainRequested) -> Result<Ordered, Error> {
        self.order(&["jobs"], &named(id, json!(request))).await
    }

    /// Asks for a sweep.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn submit_sweep(&self, id: &str, request: &SweepRequested) -> Result<Ordered, Error> {
        self.order(&["sweeps"], &named(id, json!(request))).await
    }

    /// As [`crate::Jobs::show_sweep`].
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn show_sweep(&self, id: &str) -> Result<SweepView, Error> {
        self.ask(self.request(Method::GET, &["sweeps", id])?).await
    }

    /// Asks a job, or a sweep with its trials, to stop.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn stop(&self, id: &str, reason: Option<&str>) -> Result<Ordered, Error> {
        self.order(&["jobs", id, "stop"], &json!({"reason": reason})).await
    }

    /// Asks for another attempt at a job.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn retry(&self, id: &str) -> Result<Ordered, Error> {
        self.order(&["jobs", id, "retry"], &json!({})).await
    }

    /// Has the events said again that a job waits for an answer to. Returns their ids.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn say_again(&self, id: &str) -> Result<Vec<String>, Error> {
        let said: Said = self.order(&["jobs", id, "replay"], &json!({"waiting": true})).await?;
        Ok(said.events)
    }

    /// What functions wrote about a job, at least of this level, after the line of this number.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn lines(&self, id: &str, level: &str, after: u64) -> Result<Lines, Error> {
        let query = [("level", level), ("after", &after.to_string()), ("limit", "5000")];
        self.ask(self.request(Method::GET, &["jobs", id, "logs"])?.query(&query)).await
    }

    /// The same and what is written from now on, as server-sent events. Ends after a while: ask again after its last line.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn follow_lines(&self, id: &str, level: &str, after: u64) -> Result<Followed, Error> {
        let query = [("level", level), ("after", &after.to_string()), ("follow", "true")];
        let request = self.request(Method::GET, &["jobs", id, "logs"])?.query(&query);
        let response = self.send(request.header(ACCEPT, "text/event-stream")).await?;
        Ok(Followed { console: self.clone(), response, rest: Vec::new() })
    }

    async fn get<T: DeserializeOwned>(&self, id: &str, part: &str) -> Result<T, Error> {
        let path: Vec<&str> = ["jobs", id, part].into_iter().filter(|part| !part.is_empty()).collect();
        let answer = self.ask(self.request(Method::GET, &path)?).await;
        answer.map_err(|error| match error {
            Error::Refused { status: 404, .. } => Error::NotFound { id: id.to_owned() },
            other => other,
        })
    }

    async fn order<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> Result<T, Error> {
        self.ask(self.request(Method::POST, path)?.json(body)).await
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Error> {
        let mut address = self.base.clone();
        match address.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().push("api").extend(path),
            Err(()) => return Err(Error::Field { field: "console", reason: "it has no path".to_owned() }),
        };
        let request = self.client.request(method, address);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let bytes =
            self.send(request.timeout(TIMEOUT)).await?.bytes().await.map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let member = |name: &str| problem.get(name).and_then(Value::as_str);
        let kind = member("type").and_then(|uri| uri.rsplit(':').next()).unwrap_or_default().to_owned();
        let detail = member("detail").unwrap_or(text.trim()).to_owned();
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(Error::Unreachable { console: self.base.to_string(), reason: format!("{status}: {detail}") })
            }
            _ => Err(Error::Refused { status: status.as_u16(), kind, detail }),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        Error::Unreachable { console: self.base.to_string(), reason: with_causes(&error.without_url()) }
    }

    fn strange(&self, error: &dyn fmt::Display) -> Error {
        Error::Unreachable { console: self.base.to_string(), reason: format!("no answer of a console: {error}") }
    }
}

/// A request under an id.
fn named(id: &str, mut request: Value) -> Value {
    if let Value::Object(members) = &mut request {
        members.insert("id".to_owned(), id.into());
    }
    request
}

/// Lines that come as server-sent events.
#[derive(Debug)]
pub struct Followed {
    console: Console,
    response: Response,
    /// Bytes of a message that is not whole yet.
    rest: Vec<u8>,
}

impl Followed {
    /// The next line; `None` when the stream has ended.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn next(&mut self) -> Result<Option<Value>, Error> {
        loop {
            while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.rest.drain(..end + 2).collect();
                if let Some(data) = data(&message) {
                    return serde_json::from_str(&data).map(Some).map_err(|error| self.console.strange(&error));
                }
            }
            match self.response.chunk().await.map_err(|error| self.console.unreachable(error))? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// The data of a message (WHATWG HTML, server-sent events); none for a comment.
fn data(message: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(message).ok()?;
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    let lines: Vec<&str> = lines.into_iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_data_and_comments_have_none() {
        assert_eq!(data(b"event: line\nid: 3\ndata: {\"a\":1}\n\n").as_deref(), Some("{\"a\":1}"));
        assert_eq!(data(b"data:a\ndata: b\n\n").as_deref(), Some("a\nb"));
        assert_eq!(data(b": still here\n\n"), None);
    }

    #[test]
    fn a_token_is_never_shown() {
        let console = Console::new("http://localhost:8265".parse().unwrap(), Some("a-secret-of-the-test".to_owned()));
        assert!(!format!("{:?}", console.unwrap()).contains("secret"));
        assert!(Console::new("mailto:a@b".parse().unwrap(), None).is_err());
    }
}
