//! What tests start on this machine: real servers on free ports, gone when the test is over.

mod azurite;
mod collector;
mod corpus;
mod gcs;
mod listening;
mod mlflow;
mod moto;
mod port;
pub mod programs;
mod proxy;
mod redis;

pub use azurite::AzuriteServer;
pub use collector::{CollectedSpan, SpanCollector};
pub use corpus::check_corpus;
pub use gcs::GcsServer;
pub use mlflow::MlflowServer;
pub use moto::MotoServer;
pub use port::Port;
pub use proxy::FaultyProxy;
pub use redis::{RedisOptions, RedisServer};
