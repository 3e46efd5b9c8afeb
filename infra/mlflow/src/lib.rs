//! MLflow as the record: a typed client of its REST API, and operations on top that are safe to repeat.
//!
//! * [`Client`]: one method per REST call, typed requests and replies, [`Error`] that says what to do.
//! * [`Record`]: what the functions use. Each operation looks before it creates, so a redelivered event, a lost reply
//!   or a killed process never makes a second run or a second version for one job.
//! * [`push`]: copies one record into another MLflow.
//! * [`model_dir`]: the directory that makes a forest a first-class MLflow model.
//!
//! The same client talks to a real MLflow (3.x fully, 2.22 by fallback) and to the embedded record of `regrove-record`.

mod args;
mod artifacts;
mod client;
mod error;
pub mod filter;
pub mod model_dir;
mod models;
mod number;
mod pages;
pub mod push;
pub mod record;
mod registry;
mod runs;
mod wire;

pub use args::{DEFAULT_TRACKING_URI, MlflowArgs, REQUEST_SECONDS_DEFAULT, Secret};
pub use artifacts::{ARTIFACT_BYTES_MAX, ArtifactFile};
pub use client::{Client, REPLY_BYTES_MAX};
pub use error::Error;
pub use model_dir::{Answers, Content, ModelDescription, ModelFile};
pub use record::{Column, ColumnType, Dataset, JobRun, ModelVersionRequest, Record, Selector};
pub use registry::NewModelVersion;
pub use runs::{MetricsPage, NewRun, RunsPage, RunsQuery};
pub use wire::{
    Alias, DatasetInput, DatasetWire, Experiment, LoggedModel, LoggedModelStatus, Metric, ModelOutput, ModelVersion,
    NewLoggedModel, Param, RegisteredModel, Run, RunData, RunInfo, RunInputs, RunOutputs, RunStatus, Tag,
};
