//! Knative manifests: from YAML to typed objects, with every fault named at once.
//!
//! YAML scalars are typed as `kubectl` types them, so `value: 8080` in an `env` is a number and refused with the advice
//! to quote it. Kinds that are not run here are listed, not refused.

mod application;
mod config;
mod container;
mod documents;
mod environment;
mod eventing;
pub(crate) mod fields;
mod filters;
mod flows;
mod metadata;
mod probe;
mod problem;
mod service;
mod settings;
mod sources;

pub use application::Application;
pub use config::{ConfigMap, Secret};
pub use container::{
    Container, DEFAULT_PORT, EnvFrom, EnvFromKind, EnvSource, EnvVar, KeyReference, PortProtocol, RESERVED_PORTS,
    RESERVED_VARIABLES,
};
pub use documents::{SOURCE_BYTES_MAX, Source};
pub use environment::MissingVariable;
pub use eventing::{BROKER_CLASS, Broker, Trigger};
pub use filters::{FILTER_DEPTH_MAX, FilterSpec, TriggerFilter};
pub use flows::{Branch, Parallel, Sequence, Step};
pub use metadata::{DEFAULT_NAMESPACE, Destination, Metadata, Reference};
pub use probe::{Probe, ProbeAction};
pub use problem::{Problem, Problems};
pub use service::{RevisionChoice, RevisionTemplate, Service, TrafficTarget};
pub use settings::{ServingDefaults, Settings};
pub use sources::{PING_EVENT_TYPE, PingData, PingSource, Selection, SinkBinding, Subject};
