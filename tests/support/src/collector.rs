//! A collector of spans: takes OTLP over HTTP in its JSON form and keeps what it gets.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

/// A span as it was sent, with the service that sent it.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    /// `service.name` of its resource.
    pub service: String,
    /// The span (`opentelemetry.proto.trace.v1.Span`).
    pub span: Value,
}

impl CollectedSpan {
    /// A member that is a text; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.span.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// An attribute that is a text; empty when there is none.
    pub fn attribute(&self, key: &str) -> &str {
        let all = self.span.get("attributes").and_then(Value::as_array);
        let found = all.into_iter().flatten().find(|attribute| attribute.get("key").is_some_and(|known| known == key));
        found.and_then(|attribute| attribute.pointer("/value/stringValue")?.as_str()).unwrap_or_default()
    }
}

/// A collector on a free port of 127.0.0.1; it listens until the test ends.
#[derive(Debug, Clone)]
pub struct SpanCollector {
    endpoint: String,
    spans: Arc<Mutex<Vec<CollectedSpan>>>,
}

impl SpanCollector {
    /// Starts to listen.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start() -> Result<Self> {
        let spans: Arc<Mutex<Vec<CollectedSpan>>> = Arc::default();
        let kept = Arc::clone(&spans);
        let take = move |Json(body): Json<Value>| async move {
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend(spans_of(&body));
            Json(Value::Object(serde_json::Map::new()))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { endpoint, spans })
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans_of(body: &Value) -> Vec<CollectedSpan> {
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut spans = Vec::new();
    for resource in list(body, "resourceSpans") {
        let named =
            CollectedSpan { service: String::new(), span: resource.get("resource").cloned().unwrap_or_default() };
        let service = named.attribute("service.name").to_owned();
        for scope in list(&resource, "scopeSpans") {
            spans
                .extend(list(&scope, "spans").into_iter().map(|span| CollectedSpan { service: service.clone(), span }));
        }
    }
    spans
}
