//! The embedded record: a small server that speaks the part of MLflow's REST API which our functions and Python's
//! `mlflow` client need, over one folder on this machine. Functions know one record protocol, with or without a server
//! of MLflow.
//!
//! ```no_run
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let store = regrove_record::Store::open(std::path::Path::new(".regrove/record"))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8989").await?;
//! axum::serve(listener, regrove_record::router(store)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What it keeps: metadata in a SQLite file in WAL mode, artifacts as plain files that appear whole or not at all. A
//! process killed at any instruction loses at most the call that was not answered.
//!
//! What it leaves out: users, permissions, webhooks, traces, evaluation, the web page. It is for one machine.

mod artifacts;
mod error;
mod experiments;
mod logged_models;
mod logging;
mod registry;
mod request;
mod router;
mod run_rows;
mod runs;
mod schema;
mod search;
mod store;
mod tokens;
mod versions;

pub use artifacts::ARTIFACT_BYTES_MAX;
pub use error::OpenError;
pub use request::JSON_BYTES_MAX;
pub use router::{COMPATIBLE_MLFLOW_VERSION, router};
pub use store::Store;
