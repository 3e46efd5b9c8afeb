//! The local runtime: Knative Serving and Eventing on one machine, without a cluster and without containers.
//!
//! ```no_run
//! # async fn run(application: regrove_knative::manifest::Application) -> Result<(), regrove_runtime::Error> {
//! use regrove_runtime::{Runtime, RuntimeConfig};
//!
//! let mut config = RuntimeConfig::new(application, ".regrove");
//! config.exec.insert("hello".to_owned(), vec!["python3".to_owned(), "hello.py".to_owned()]);
//! let runtime = Runtime::start(config).await?;
//! println!("{}", runtime.service_url("default", "hello"));
//! tokio::signal::ctrl_c().await.ok();
//! runtime.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! * A request to `<service>.<namespace>.localhost` goes through the gateway to the service's activator, which starts a
//!   process when there is none and holds the request until one answers. The autoscaler is Knative's.
//! * An event posted to the ingress is on disk, or in Redis, before it is acknowledged, and is delivered at least once to
//!   every trigger that wants it, across restarts of the runtime, with the trigger's retries and dead letter sink.
//! * A changed template makes a new revision, at the next start or with [`Runtime::reload`]; it gets traffic once it is
//!   ready. Earlier revisions are kept in the home folder and can be named in `spec.traffic`. Brokers, triggers, flows and
//!   sources change at once.
//! * What happens and has happened can be asked at [`Runtime::api_url`].
//! * No process outlives the runtime, however that ends. A process that a function starts by itself is its own to end.
//!
//! What differs from a cluster: services start at zero replicas; a request that waits is looked at by the autoscaler at
//! once; crashed processes are started again after at most 5 s; processes see the environment of the runtime.

mod admin;
mod broker;
mod clock;
mod config;
mod error;
mod events_out;
mod history;
mod home;
mod http_server;
mod metrics;
mod plan;
mod plan_services;
mod resolve;
mod runtime;
mod runtime_event;
mod samples;
mod serving;
mod status;
mod view;

pub use broker::{
    Attempt, DeadLetter, DeliveryRecord, DeliveryState, EventQuery, JournalError, KeptEvent, ReplayError, ReplayFrom,
    ReplayRequest, dead_letters, delivery_records, discard, kept_events, redrive, replay,
};
pub use config::{
    Addresses, CONSOLE_PORT, DOMAIN, EVENT_BYTES_MAX, EVENT_RETENTION, GATEWAY_PORT, INGRESS_PORT, RECORD_PORT,
    RuntimeConfig, SHARED_JOURNAL, SHUTDOWN_GRACE,
};
pub use error::{Error, Fault};
pub use metrics::EventTotals;
pub use runtime::{Killer, Runtime};
pub use runtime_event::{ColdStart, Level, LogLine, RevisionShare, RuntimeEvent, StopReason, Stream, WATCHER_LAG_MAX};
pub use samples::{Sample, ServiceSample};
pub use status::{ColdStartRecord, PingSourceStatus, Reloaded, RevisionStatus, ServiceStatus, Status, TriggerStatus};
