//! The console as a service: over its router, with a real log and a broker that keeps what it is told.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a panic is how they fail")]

mod access;
mod jobs;
mod pages;
mod world;
