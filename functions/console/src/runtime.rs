//! What only the local runtime knows: replicas, cold starts, deliveries, dead letters, logs (`docs/runtime-api.md`).
//!
//! A cluster has no such thing; what is shown then says so.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode};
use regrove_host::{Problem, http_client};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;
use utoipa::ToSchema;

/// How long the runtime may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long one stream of lines lasts: less than the shortest common limit of a request, a minute.
const STREAM_TIME: Duration = Duration::from_secs(50);
/// Why nothing is known without it.
pub(crate) const ABSENT: &str =
    "this console does not run under `regrove up`, so it cannot ask the runtime; in a cluster, ask Knative";

/// One revision of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Revision {
    /// Its name, such as `predict-00001`.
    #[serde(rename = "revision")]
    pub(crate) name: String,
    /// Its share of the requests in percent.
    pub(crate) percent: f64,
    /// Replicas that serve.
    pub(crate) ready: u64,
    /// Replicas on their way.
    pub(crate) starting: u64,
    /// Replicas that end their last requests.
    pub(crate) draining: u64,
}

/// Where the time of a start from zero went, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ColdStart {
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// `namespace/service`.
    pub(crate) service: String,
    /// The replica.
    pub(crate) replica: String,
    /// From the request to the decision to start a process.
    pub(crate) queue_ms: f64,
    /// Fork and exec.
    pub(crate) spawn_ms: f64,
    /// From there to the first answer of the process.
    pub(crate) ready_ms: f64,
    /// From there to the first byte for the request that waited.
    pub(crate) first_byte_ms: f64,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Service {
    /// `namespace/service`.
    #[serde(rename = "service")]
    pub(crate) key: String,
    /// Public URL, if others may reach it.
    pub(crate) url: Option<String>,
    /// Replicas that serve.
    pub(crate) ready: u64,
    /// Replicas on their way.
    pub(crate) starting: u64,
    /// Replicas that end their last requests.
    pub(crate) draining: u64,
    /// Requests inside replicas.
    pub(crate) in_flight: u64,
    /// Requests that wait for a replica.
    pub(crate) waiting: u64,
    /// Requests answered since the runtime started.
    pub(crate) requests: u64,
    /// Those of them that were answered with 5xx.
    pub(crate) failures: u64,
    /// Median time to the first byte of the latest answers, in milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// Its 99th percentile.
    pub(crate) p99_ms: Option<f64>,
    /// Starts from zero that a request waited for.
    pub(crate) cold_starts: u64,
    /// Revisions at work.
    pub(crate) revisions: Vec<Revision>,
}

impl Service {
    /// The service without its namespace.
    pub(crate) fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }
}

/// Events since the runtime started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventTotals {
    /// Taken by a broker.
    pub(crate) accepted: u64,
    /// Refused by the ingress.
    pub(crate) refused: u64,
    /// Taken by a subscriber, one per trigger.
    pub(crate) delivered: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Deliveries given up.
    pub(crate) dead: u64,
}

/// The runtime at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// When it was started, in milliseconds since 1970.
    pub(crate) started_at_ms: i64,
    /// Its functions.
    pub(crate) services: Vec<Service>,
    /// Events since it started.
    pub(crate) events: EventTotals,
}

/// One function at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ServiceSample {
    /// `namespace/service`.
    pub(crate) service: String,
    /// Replicas that serve.
    pub(crate) ready: u64,
    /// Requests answered since the runtime started.
    pub(crate) requests: u64,
    /// The 99th percentile of the time to the first byte of the latest answers, in milliseconds.
    pub(crate) p99_ms: Option<f64>,
}

/// The runtime at one moment. Until the next sample nothing changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Sample {
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// Its functions.
    pub(crate) services: Vec<ServiceSample>,
}

/// A line that a function wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Line {
    /// Counted over all functions.
    pub(crate) number: u64,
    /// When it was read, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// Its level, if it names one.
    pub(crate) level: Option<String>,
    /// `namespace/service`.
    pub(crate) service: String,
    /// The replica.
    pub(crate) replica: String,
    /// The line.
    pub(crate) text: String,
}

/// An event that a subscriber did not take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// Its number, for redrive and discard.
    pub(crate) id: i64,
    /// `namespace/trigger`.
    pub(crate) trigger: String,
    /// The event, as JSON.
    #[schema(value_type = Object)]
    pub(crate) event: Value,
    /// Whether the dead letter sink took it.
    pub(crate) in_sink: bool,
    /// Last status code.
    pub(crate) code: Option<u16>,
    /// What went wrong last.
    pub(crate) error: Option<String>,
    /// When it was given up, in milliseconds since 1970.
    pub(crate) ended_at_ms: i64,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Attempt {
    /// When it began, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// Whether it was at the dead letter sink.
    pub(crate) dead_letter: bool,
    /// URL that was called.
    pub(crate) destination: String,
    /// Status code, if there was an answer.
    pub(crate) code: Option<u16>,
    /// How long it took, in microseconds.
    pub(crate) latency_us: i64,
    /// What went wrong.
    pub(crate) error: Option<String>,
}

/// One event's delivery to one trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Delivery {
    /// `namespace/trigger`.
    pub(crate) trigger: String,
    /// `pending`, `delivered`, `in-sink`, `dropped` or `redriven`.
    pub(crate) state: String,
    /// When the broker took the event, in milliseconds since 1970.
    pub(crate) accepted_at_ms: i64,
    /// All attempts, in order.
    pub(crate) attempts: Vec<Attempt>,
}

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LineQuery<'a> {
    /// Only of this function, `namespace/service` or the service alone.
    pub(crate) service: &'a str,
    /// Only about this job.
    pub(crate) job: &'a str,
    /// At least this level.
    pub(crate) level: &'a str,
    /// Only those that contain this.
    pub(crate) text: &'a str,
    /// Only after the line of this number.
    pub(crate) after: u64,
    /// How many at most.
    pub(crate) limit: usize,
}

impl LineQuery<'_> {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let given = [("service", self.service), ("job", self.job), ("level", self.level), ("text", self.text)];
        let given = given.into_iter().filter(|(_, value)| !value.is_empty());
        let numbers = [("after", self.after.to_string()), ("limit", self.limit.to_string())];
        given.map(|(name, value)| (name, value.to_owned())).chain(numbers).collect()
    }
}

/// The runtime, if there is one to ask.
#[derive(Debug)]
pub(crate) struct Runtime {
    base: Option<Url>,
    client: OnceLock<reqwest::Client>,
}

impl Runtime {
    pub(crate) fn new(base: Option<Url>) -> Self {
        Self { base, client: OnceLock::new() }
    }

    /// Whether there is one to ask.
    pub(crate) fn is_known(&self) -> bool {
        self.base.is_some()
    }

    pub(crate) async fn status(&self) -> Result<Status, Problem> {
        self.get("status", &[]).await
    }

    /// Samples of the last `seconds`, oldest first.
    pub(crate) async fn history(&self, seconds: u32) -> Result<Vec<Sample>, Problem> {
        self.get("history", &[("seconds", seconds.to_string())]).await
    }

    /// The latest starts from zero of one service, by its name with its namespace, or of all, oldest first.
    pub(crate) async fn cold_starts(&self, service: Option<&str>, limit: usize) -> Result<Vec<ColdStart>, Problem> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(service.map(|service| ("service", service.to_owned())));
        self.get("cold-starts", &query).await
    }

    /// The newest dead letters first.
    pub(crate) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Problem> {
        self.get("dead-letters", &[("limit", limit.to_string())]).await
    }

    /// The deliveries of the event of this id.
    pub(crate) async fn deliveries(&self, event: &str) -> Result<Vec<Delivery>, Problem> {
        self.get("deliveries", &[("event", event.to_owned())]).await
    }

    /// Lines, oldest first.
    pub(crate) async fn lines(&self, query: &LineQuery<'_>) -> Result<Vec<Line>, Problem> {
        self.get("logs", &query.pairs()).await
    }

    /// Lines, oldest first, and those that are written from now on, for [`STREAM_TIME`] at most.
    pub(crate) async fn follow_lines(&self, query: &LineQuery<'_>) -> Result<LineStream, Problem> {
        let mut pairs = query.pairs();
        pairs.push(("follow", "true".to_owned()));
        let base = self.base()?;
        let client = http_client(base, STREAM_TIME).map_err(unreachable)?;
        let request = client.get(address(base, "logs")).query(&pairs);
        Ok(LineStream { response: answered(request).await?, rest: Vec::new(), until: Instant::now() + STREAM_TIME })
    }

    /// Has dead letters delivered again, or lets go of them. `verb` is `redrive` or `discard`; no numbers mean all.
    pub(crate) async fn settle(&self, verb: &str, ids: &[i64]) -> Result<Value, Problem> {
        let body = if ids.is_empty() { json!({"all": true}) } else { json!({"ids": ids}) };
        self.ask(Method::POST, &format!("dead-letters/{verb}"), &[], Some(&body)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Problem> {
        self.ask(Method::GET, path, query, None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<T, Problem> {
        let base = self.base()?;
        let client = if let Some(client) = self.client.get() {
            client
        } else {
            let client = http_client(base, TIMEOUT).map_err(unreachable)?;
            self.client.get_or_init(|| client)
        };
        let mut request = client.request(method, address(base, path)).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let text = answered(request).await?.text().await.map_err(unreachable)?;
        serde_json::from_str(&text).map_err(|error| Problem::internal(&error))
    }

    fn base(&self) -> Result<&Url, Problem> {
        self.base.as_ref().ok_or_else(|| Problem::new("runtime-absent", StatusCode::NOT_IMPLEMENTED, ABSENT))
    }
}

fn address(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}

fn unreachable(error: reqwest::Error) -> Problem {
    Problem::unavailable("the runtime", &error.without_url())
}

/// The answer, unless it is a refusal.
async fn answered(request: reqwest::RequestBuilder) -> Result<reqwest::Response, Problem> {
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.map_err(unreachable)?;
    let problem: Value = serde_json::from_str(&text).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or(&text);
    Err(Problem::new("function-refused", status, format!("the runtime: {detail}")))
}

/// Lines as they are written.
#[derive(Debug)]
pub(crate) struct LineStream {
    response: reqwest::Response,
    /// Bytes of a line that is not whole yet.
    rest: Vec<u8>,
    until: Instant,
}

impl LineStream {
    /// The next line; `None` when the stream is over.
    ///
    /// # Errors
    /// 503 when the runtime has gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, Problem> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| Problem::internal(&error));
            }
            match tokio::time::timeout_at(self.until, self.response.chunk()).await {
                Ok(Ok(Some(piece))) => self.rest.extend_from_slice(&piece),
                Err(_) | Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) if error.is_timeout() => return Ok(None),
                Ok(Err(error)) => return Err(unreachable(error)),
            }
        }
    }
}
