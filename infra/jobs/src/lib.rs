//! What people do with jobs: look at them, ask for them, stop them, try them again, compare them.
//!
//! The one place for it: the `regrove job` commands and the console's job API are thin layers over [`Jobs`]. Who has no
//! access to the log asks a [`Console`], which answers with the same views.
//!
//! * **Looking** is a fold of the event log. [`Jobs::list`] keeps a projection in memory and reads only what is new, so a
//!   long-lived process pays for each event once; a command pays for the log once.
//! * **Asking** never changes the log. It checks what was asked against the job's events and returns the CloudEvent to
//!   emit to the broker: the functions decide what becomes of it. The same wish twice is the same event.
//! * **Times** are arguments: nothing here reads a clock.
//!
//! ```
//! # use std::sync::Arc;
//! # use regrove_events::log::EventLog;
//! use regrove_jobs::{Jobs, Query};
//! # async fn example(log: Arc<dyn EventLog>, now: jiff::Timestamp) -> Result<(), regrove_jobs::Error> {
//! let jobs = Jobs::new(log, "/regrove/console");
//! let page = jobs.list(&Query { limit: 20, ..Query::default() }).await?;
//! let view = jobs.show("my-job", now).await?;
//! let event = jobs.stop("my-job", None, now).await?; // then emit it
//! # Ok(())
//! # }
//! ```
//!
//! What is refused is an [`Error`]; [`Error::kind`] is the last part of its problem type.

mod attempts;
mod compare;
mod console;
mod error;
mod jobs;
mod log_line;
mod query;
mod replay;
mod summary;
mod sweep_view;
mod trace;
mod view;

pub use attempts::{Submitted, retry_base, retry_id, traced};
pub use compare::{Comparison, Difference, MetricDifference, compare};
pub use console::{Console, Followed, Lines, Ordered};
pub use error::Error;
pub use jobs::Jobs;
pub use log_line::{Level, LogLine};
pub use query::{LIMIT_DEFAULT, LIMIT_MAX, Page, Query};
pub use replay::{ReplayStep, steps, waiting_for};
pub use summary::{ModelSummary, Seconds, Summary, best_known};
pub use sweep_view::SweepView;
pub use trace::{Span, SpanStatus, trace, trace_id};
pub use view::{Attempt, JobView, Links, Moment, ShardState, ShardView};
