//! The Knative pod autoscaler: from measured load to a number of replicas.

mod annotations;
mod config;
mod defaults;

pub use config::{ANNOTATION_PREFIX, Aggregation, AutoscalingConfig, BurstCapacity, Metric, TARGET_MIN};
pub use defaults::AutoscalerDefaults;
