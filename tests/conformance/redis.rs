//! The suite of `main.rs` with the broker's journal in Redis: `regrove up` finds `REDIS_URL`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod broker;
mod delivery;
mod format;
mod ingress;
mod subscriber;
mod system;
mod transport;
