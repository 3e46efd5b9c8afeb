//! Knative Serving: revisions, their replicas, the activator in front of them, and the gateway in front of all.

pub(crate) mod answer;
mod balance;
pub(crate) mod body;
pub(crate) mod forward;
mod forwarding;
pub(crate) mod front;
pub(crate) mod gateway;
mod grpc_health;
mod load;
pub(crate) mod log_book;
mod output;
pub(crate) mod pool;
mod port;
mod probe;
pub(crate) mod process;
mod recent;
mod replica;
pub(crate) mod revision;
pub(crate) mod route;
pub(crate) mod scaler;
pub(crate) mod services;
pub(crate) mod table;
pub(crate) mod wire;
