//! Sees every request: counts it, logs it, makes it a span.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http_body::Body as _;
use tracing::Instrument as _;

use crate::metrics::{self, Up};
use crate::otlp::{Exporter, Span};
use crate::payload::PayloadLimits;
use crate::trace::TraceContext;
use crate::{HostArgs, Problem, now};

/// Label of requests that no route answers: clients choose their paths, and each label costs memory.
const NO_ROUTE: &str = "none";
/// Asked for all the time by the platform: neither logged nor traced.
const PROBES: [&str; 2] = [crate::serve::HEALTH_PATH, metrics::PATH];

/// What is done with requests beside answering them.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    payload: PayloadLimits,
    access_log: bool,
    exporter: Option<Exporter>,
}

impl Observer {
    pub(crate) fn new(args: &HostArgs, exporter: Option<Exporter>) -> Self {
        Self { payload: args.payload_limits(), access_log: args.access_log, exporter }
    }
}

/// A request as it came.
struct Seen {
    method: Method,
    route: String,
    path: String,
    start: jiff::Timestamp,
    parent: Option<TraceContext>,
    state: Option<String>,
    link: Option<TraceContext>,
    context: Option<TraceContext>,
    event: Vec<(&'static str, String)>,
}

/// Headers of a CloudEvent in binary mode, and the attributes of a span that they become (OpenTelemetry's semantic
/// conventions for CloudEvents).
const EVENT_ATTRIBUTES: [(&str, &str); 4] = [
    ("ce-type", "cloudevents.event_type"),
    ("ce-id", "cloudevents.event_id"),
    ("ce-source", "cloudevents.event_source"),
    ("ce-subject", "cloudevents.event_subject"),
];

pub(crate) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let _in_flight = Up::new(&metrics::get().in_flight);
    request.extensions_mut().insert(observer.payload);
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let told = observer.access_log || observer.exporter.is_some();
    let seen = (told && !PROBES.contains(&route.as_str())).then(|| see(&observer, &mut request, &method, &route));
    let trace = seen.as_ref().map_or_else(|| TraceContext::of(request.headers()), |seen| seen.context.or(seen.parent));
    let answering = async {
        let mut response = next.run(request).await;
        // Here, because this is what the client sees: on the way a problem may be said in another way.
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            problem.log();
        }
        response
    };
    let response = match trace {
        // What is logged meanwhile, however little is logged, says to which trace it belongs.
        Some(trace) => {
            answering.instrument(tracing::error_span!("request", trace_id = format!("{:032x}", trace.trace_id))).await
        }
        None => answering.await,
    };
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    metrics::get().answered(&method, &route, status, took);
    if let Some(seen) = seen {
        if observer.access_log {
            log(&seen, &response, took);
        }
        if let (Some(exporter), Some(context)) = (&observer.exporter, seen.context.filter(|context| context.sampled)) {
            exporter.export(span(seen, context, status, took));
        }
    }
    response
}

/// A request as a span: named after the event that it delivers, else after its route.
fn span(seen: Seen, context: TraceContext, status: u16, took: Duration) -> Span {
    let ty = seen.event.iter().find(|(name, _)| *name == "cloudevents.event_type");
    let name = ty.map(|(_, ty)| ty.strip_prefix(regrove_events::TYPE_PREFIX).unwrap_or(ty).to_owned());
    let mut attributes = vec![
        ("http.request.method", seen.method.to_string()),
        ("http.route", seen.route.clone()),
        ("url.path", seen.path),
    ];
    attributes.extend(seen.event);
    Span {
        context,
        parent: seen.parent,
        state: seen.state,
        link: seen.link,
        name: name.unwrap_or_else(|| format!("{} {}", seen.method, seen.route)),
        start: seen.start,
        took,
        status,
        attributes,
    }
}

fn see(observer: &Observer, request: &mut Request, method: &Method, route: &str) -> Seen {
    let parent = TraceContext::of(request.headers());
    let span = |exporter: &Exporter| TraceContext::child_of(parent, |trace| exporter.samples(trace));
    let context = observer.exporter.as_ref().map(span);
    if let Some(context) = context {
        // What this request causes belongs below its span.
        request.extensions_mut().insert(context);
    }
    let headers = request.headers();
    let event = EVENT_ATTRIBUTES
        .iter()
        .filter_map(|(header, name)| Some((*name, headers.get(*header)?.to_str().ok()?.to_owned())))
        .collect();
    Seen {
        state: parent.and_then(|_| TraceContext::state(headers)),
        link: TraceContext::linked(headers),
        event,
        method: method.clone(),
        route: route.to_owned(),
        path: request.uri().path().to_owned(),
        start: now(),
        parent,
        context,
    }
}

fn log(seen: &Seen, response: &Response, took: Duration) {
    let trace = seen.context.or(seen.parent).map(|context| format!("{:032x}", context.trace_id));
    tracing::info!(
        target: "access",
        method = %seen.method,
        path = seen.path,
        route = seen.route,
        status = response.status().as_u16(),
        seconds = took.as_secs_f64(),
        bytes = response.body().size_hint().exact(),
        trace,
        "answered"
    );
}
