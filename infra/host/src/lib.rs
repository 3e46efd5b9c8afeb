//! What every function runs on: one router, hosted wherever it finds itself.
//!
//! A function builds an axum [`Router`](axum::Router) and hands it to [`serve`]. The host listens on the socket it was
//! given or on `PORT`, answers `/healthz` and `/metrics`, bounds bodies, turns panics into problems, logs and traces
//! requests, and drains on SIGTERM. Under AWS Lambda (`AWS_LAMBDA_RUNTIME_API` is set, feature `aws`) the same router
//! answers invocations instead. [`Received`] reads a CloudEvent, [`Payload`] a body, [`JsonBody`] one of a type, [`Path`] what the path names, [`Emitter`] says an event,
//! [`Problem`] says no; [`Gate`] bounds what is taken on, [`openapi`] describes a function to its clients.

mod budget;
#[cfg(target_os = "linux")]
mod code;
mod connections;
mod emitter;
mod fallback;
mod fatal;
mod json_body;
#[cfg(feature = "aws")]
mod lambda;
mod lanes;
mod limits;
pub mod metrics;
mod needs;
mod observe;
pub mod openapi;
mod otlp;
mod path;
mod payload;
mod problem;
mod received;
mod serve;
mod telemetry;
mod trace;

pub use emitter::{EmitError, Emitter, http_client};
pub use fallback::{catch_panics, method_not_allowed, no_such_path};
pub use fatal::Fatal;
pub use json_body::JsonBody;
pub use limits::{Gate, LimitArgs};
pub use needs::Needs;
pub use otlp::OtlpArgs;
pub use path::Path;
pub use payload::{Payload, PayloadLimits};
pub use problem::Problem;
pub use received::Received;
pub use serve::{
    BODIES_BYTES_MAX, BODY_BYTES_MAX, BODY_SECONDS, DRAIN_SECONDS, Error, HostArgs, now, serve, since_start,
    with_defaults,
};
pub use telemetry::init as init_telemetry;
pub use trace::{Caller, LINK as TRACE_LINK, TraceContext};
