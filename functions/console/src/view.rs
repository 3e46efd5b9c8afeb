//! What is shown, as data: pages and JSON are made from the same views.

mod event;
mod job;
mod model;

pub(crate) use event::EventView;
pub(crate) use job::{JobAndRun, MlflowView, Series};
pub(crate) use model::{ConfusionView, ModelSummary, ModelView, PointerView, SignatureView, VersionView, switches};
