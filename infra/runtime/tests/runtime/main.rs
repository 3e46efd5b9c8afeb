//! The runtime with real processes, over loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod eventing;
mod faults;
mod serving;
mod sink;
mod stage;
