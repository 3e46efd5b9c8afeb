//! `console` shows what happens and takes orders: a web page and a job API over the event log.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/jobs`, `/events`, `/models`, … | pages for people; each has a JSON twin (`Accept: application/json`, or `.json`) |
//! | `/api/…` | the job API, described at `/openapi.json`; `/docs` is a page to read and try it |
//! | `/live` | server-sent events: when to look again |
//!
//! Everything shown is a fold of the log, besides what only MLflow or the local runtime knows; a page that cannot ask them
//! says so. Orders become events: the console changes nothing itself.

mod access;
mod action;
mod api;
mod chart;
mod index;
mod live;
mod page;
mod ports;
mod respond;
mod runtime;
mod view;
pub mod wish;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

pub use access::{AccessArgs, TOKEN_CHARS_MIN, Token};
pub use api::openapi;
pub use ports::{OpenError, Ports, ReachArgs};

/// This function's name, as it stands in the source of its events.
pub const FUNCTION: &str = "console";

/// The function as a service.
pub fn router(ports: Ports) -> Router {
    let ports = Arc::new(ports);
    let guarded = page::routes()
        .nest("/api", api::routes())
        .merge(live::routes())
        .layer(from_fn_with_state(Arc::clone(&ports), access::guard));
    guarded
        .merge(access::routes())
        .merge(page::asset_routes())
        .merge(api::document_routes())
        .layer(from_fn(respond::problems_as_pages))
        .layer(from_fn(access::harden))
        .with_state(ports)
}
