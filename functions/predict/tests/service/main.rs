//! The function as its clients see it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod absent;
mod bodies;
mod categories;
mod corpus;
mod datasets;
mod events;
mod hostile;
mod invocations;
mod models;
mod names;
mod news;
mod openapi;
mod refusals;
mod stage;
mod stalled;
mod tensors;
