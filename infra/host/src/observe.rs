//! Sees every request: counts it, logs it, makes it a span.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http_body::Body as _;

use crate::metrics::{self, Up};
use crate::otlp::{Exporter, Span};
use crate::payload::PayloadLimits;
use crate::trace::TraceContext;
use crate::{HostArgs, now};

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
    context: Option<TraceContext>,
}

pub(crate) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let _in_flight = Up::new(&metrics::get().in_flight);
    request.extensions_mut().insert(observer.payload);
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let told = observer.access_log || observer.exporter.is_some();
    let seen = (told && !PROBES.contains(&route.as_str())).then(|| see(&observer, &mut request, &method, &route));
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    metrics::get().answered(&method, &route, status, took);
    if let Some(seen) = seen {
        if observer.access_log {
            log(&seen, &response, took);
        }
        if let (Some(exporter), Some(context)) = (&observer.exporter, seen.context.filter(|context| context.sampled)) {
            exporter.export(Span {
                context,
                parent: seen.parent,
                name: format!("{} {}", seen.method, seen.route),
                start: seen.start,
                took,
                status,
                attributes: vec![
                    ("http.request.method", seen.method.to_string()),
                    ("http.route", seen.route),
                    ("url.path", seen.path),
                ],
            });
        }
    }
    response
}

fn see(observer: &Observer, request: &mut Request, method: &Method, route: &str) -> Seen {
    let parent = TraceContext::of(request.headers());
    let span = |exporter: &Exporter| TraceContext::child_of(parent, |trace| exporter.samples(trace));
    let context = observer.exporter.as_ref().map(span);
    if let Some(context) = context {
        // What this request causes belongs below its span.
        request.extensions_mut().insert(context);
    }
    Seen {
        method: method.clone(),
        route: route.to_owned(),
        path: request.uri().path().to_owned(),
        start: now(),
        parent,
        context,
    }
}

fn log(seen: &Seen, response: &Response, took: std::time::Duration) {
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
