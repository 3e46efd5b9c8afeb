//! What tests start on this machine: real servers on free ports, gone when the test is over.

mod proxy;
mod redis;

pub use proxy::FaultyProxy;
pub use redis::{RedisOptions, RedisServer};
