//! What is shown, as data: pages and JSON are made from the same views.

mod event;
mod job;
mod model;

pub(crate) use event::EventView;
pub(crate) use job::{FailureView, JobSummary, JobView, MlflowView, Moment, Series, ShardView};
pub(crate) use model::{ModelSummary, ModelView, PointerView, SignatureView, VersionView, switches};
