//! Spans to a collector: OTLP over HTTP in its JSON form.
//!
//! Written here because the `opentelemetry` crates are 122 dependencies for what is one POST per second; what is sent
//! follows `opentelemetry-proto` 1.x, `trace/v1/trace.proto`, in the JSON mapping of the OTLP specification.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::trace::TraceContext;
use crate::{http_client, metrics};

/// Spans that wait to be exported; more are dropped and counted.
const QUEUE_MAX: usize = 4096;
/// Spans in one request.
const BATCH_MAX: usize = 512;
/// How long spans are collected before they are sent.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How long the collector may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans go. Names and meanings are those of the OpenTelemetry specification.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Tracing")]
pub struct OtlpArgs {
    /// Collector that takes OTLP over HTTP, such as <http://localhost:4318>; no spans are recorded without it
    #[arg(long = "otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<Url>,
    /// Headers for the collector: `name=value,…`
    #[arg(long = "otlp-headers", env = "OTEL_EXPORTER_OTLP_HEADERS", value_name = "LIST", hide_env_values = true)]
    pub headers: Option<String>,
    /// This function's name in traces; the program's name unless set
    #[arg(long = "otlp-service-name", env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub service_name: Option<String>,
    /// Share of new traces that is recorded, 0 to 1; a caller's traces are recorded as the caller says
    #[arg(long = "trace-ratio", env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 1.0, value_name = "SHARE")]
    pub ratio: f64,
}

/// A finished span.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    pub(crate) parent: Option<TraceContext>,
    /// What tracing systems noted beside the parent: W3C's `tracestate`.
    pub(crate) state: Option<String>,
    /// Another span that this one has to do with: the delivery that an overdue request was sent again by.
    pub(crate) link: Option<TraceContext>,
    pub(crate) name: String,
    pub(crate) start: Timestamp,
    pub(crate) took: Duration,
    pub(crate) status: u16,
    pub(crate) attributes: Vec<(&'static str, String)>,
}

enum Message {
    Span(Box<Span>),
    Flush(oneshot::Sender<()>),
}

/// Takes spans and sends them in batches.
#[derive(Debug, Clone)]
pub(crate) struct Exporter {
    queue: mpsc::Sender<Message>,
    ratio: f64,
}

impl Exporter {
    /// An exporter, if there is a collector. Must be called within a runtime.
    pub(crate) fn start(args: &OtlpArgs) -> Option<Self> {
        let mut endpoint = args.endpoint.clone()?;
        let path = format!("{}/v1/traces", endpoint.path().trim_end_matches('/'));
        endpoint.set_path(&path);
        let service = args.service_name.clone().unwrap_or_else(program);
        let (queue, spans) = mpsc::channel(QUEUE_MAX);
        let collector = Collector { endpoint, headers: headers(args.headers.as_deref()), service };
        tokio::spawn(collector.follow(spans));
        Some(Self { queue, ratio: args.ratio })
    }

    /// Whether a new trace is recorded: the same answer for one trace everywhere.
    pub(crate) fn samples(&self, trace_id: u128) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let share = (trace_id >> 64) as f64 / 2_f64.powi(64);
        share < self.ratio
    }

    pub(crate) fn export(&self, span: Span) {
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            metrics::get().spans_dropped.inc();
        }
    }

    /// Returns when everything exported so far was sent or given up.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            flushed.await.unwrap_or_default();
        }
    }
}

/// The program's file name.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "regrove".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// `a=1,b=2` as headers; what is no header is left out and said.
fn headers(list: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for entry in list.unwrap_or_default().split(',').filter(|entry| !entry.trim().is_empty()) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        if let (Ok(name), Ok(value)) = (name.trim().parse::<HeaderName>(), value.trim().parse::<HeaderValue>()) {
            headers.insert(name, value);
        } else {
            tracing::warn!(name = name.trim(), "OTEL_EXPORTER_OTLP_HEADERS: not a header");
        }
    }
    headers
}

struct Collector {
    endpoint: Url,
    headers: HeaderMap,
    service: String,
}

impl Collector {
    async fn follow(self, mut spans: mpsc::Receiver<Message>) {
        let client = match http_client(&self.endpoint, EXPORT_TIMEOUT) {
            Ok(client) => client,
            Err(error) => return tracing::error!(%error, "spans cannot be exported"),
        };
        let mut batch = Vec::new();
        while let Some(first) = spans.recv().await {
            let mut flushed = take(first, &mut batch);
            let until = tokio::time::Instant::now() + BATCH_WAIT;
            while flushed.is_none() && batch.len() < BATCH_MAX {
                match tokio::time::timeout_at(until, spans.recv()).await {
                    Ok(Some(message)) => flushed = take(message, &mut batch),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(&client, std::mem::take(&mut batch)).await;
            if let Some(done) = flushed {
                done.send(()).unwrap_or_default();
            }
        }
    }

    async fn send(&self, client: &reqwest::Client, spans: Vec<Value>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": [attribute("service.name", &self.service)]},
            "scopeSpans": [{"scope": {"name": "regrove", "version": env!("CARGO_PKG_VERSION")}, "spans": spans}],
        }]});
        let sent = client.post(self.endpoint.clone()).headers(self.headers.clone()).json(&body).send().await;
        let Err(refused) = sent.and_then(reqwest::Response::error_for_status) else { return };
        metrics::get().spans_dropped.inc_by(count);
        tracing::warn!(error = %refused, count, "the collector did not take the spans");
    }
}

/// Adds a span to the batch, or gives back who waits for the batch to be sent.
fn take(message: Message, batch: &mut Vec<Value>) -> Option<oneshot::Sender<()>> {
    match message {
        Message::Span(span) => {
            batch.push(encode(&span));
            None
        }
        Message::Flush(done) => Some(done),
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// `SPAN_KIND_SERVER`.
const KIND_SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

fn encode(span: &Span) -> Value {
    let start = span.start.as_nanosecond();
    let end = start + i128::try_from(span.took.as_nanos()).unwrap_or_default();
    let mut attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    attributes.push(json!({"key": "http.response.status_code", "value": {"intValue": span.status.to_string()}}));
    let mut value = json!({
        "traceId": format!("{:032x}", span.context.trace_id),
        "spanId": format!("{:016x}", span.context.span_id),
        "name": span.name,
        "kind": KIND_SERVER,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = format!("{:016x}", parent.span_id).into();
    }
    if let Some(state) = &span.state {
        value["traceState"] = state.as_str().into();
    }
    if let Some(link) = span.link {
        let (trace_id, span_id) = (format!("{:032x}", link.trace_id), format!("{:016x}", link.span_id));
        value["links"] = json!([{"traceId": trace_id, "spanId": span_id}]);
    }
    // As the semantic conventions for HTTP servers have it: what the client did wrong is no error of the server.
    if span.status >= 500 {
        value["status"] = json!({"code": STATUS_ERROR});
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_parent_and_its_link() {
        let context = |span_id: u64| TraceContext { trace_id: 0xabc, span_id, sampled: true };
        let span = |parent: Option<TraceContext>, link: Option<TraceContext>| Span {
            context: context(1),
            parent,
            state: parent.map(|_| "vendor=1".to_owned()),
            link,
            name: "shard-requested".to_owned(),
            start: "2026-11-27T08:00:00Z".parse().unwrap(),
            took: Duration::from_millis(5),
            status: 202,
            attributes: vec![("cloudevents.event_id", "a/shard/0/request/2".to_owned())],
        };
        let bare = encode(&span(None, None));
        assert!(bare.get("parentSpanId").is_none() && bare.get("links").is_none() && bare.get("status").is_none());
        let linked = encode(&span(Some(context(2)), Some(context(3))));
        assert_eq!((&linked["parentSpanId"], &linked["traceState"]), (&json!("0000000000000002"), &json!("vendor=1")));
        assert!(bare.get("traceState").is_none());
        assert_eq!(linked["links"], json!([{"traceId": format!("{:032x}", 0xabc), "spanId": "0000000000000003"}]));
    }
}
