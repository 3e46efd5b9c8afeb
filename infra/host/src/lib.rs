//! What every function runs on: one router, hosted wherever it finds itself.
//!
//! A function builds an axum [`Router`](axum::Router) and hands it to [`serve`]. The host listens on the socket it was
//! given or on `PORT`, answers `/healthz`, bounds bodies, turns panics into problems, and drains on SIGTERM.
//! [`Received`] reads a CloudEvent, [`Emitter`] says one, [`Problem`] says no.

mod emitter;
mod problem;
mod received;
mod serve;
mod telemetry;

pub use emitter::{EmitError, Emitter, http_client};
pub use problem::Problem;
pub use received::Received;
pub use serve::{Error, HostArgs, now, serve, with_defaults};
pub use telemetry::init as init_telemetry;
