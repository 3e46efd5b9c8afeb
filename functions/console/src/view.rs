//! What is shown, as data: pages and JSON are made from the same views.

mod compare;
mod event;
mod job;
mod model;

pub(crate) use compare::{Comparison, Difference};
pub(crate) use event::EventView;
pub(crate) use job::{DatasetView, FailureView, JobSummary, JobView, MlflowView, Moment, Series, ShardView};
pub(crate) use model::{ModelSummary, ModelView, PointerView, SignatureView, VersionView, switches};
