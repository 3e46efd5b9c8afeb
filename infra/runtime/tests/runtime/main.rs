//! The runtime with real processes, over loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod abuse;
mod admin;
mod contract;
mod disk;
mod eventing;
mod faults;
mod flows;
mod history;
mod injection;
mod queue;
mod reload;
mod serving;
mod shared;
mod sink;
mod stage;
mod traffic;
mod wire;
