//! One contract for both servers: the embedded record and a real MLflow. Every case of `cases` runs against both, so
//! what our functions and Python's client see is the same with and without MLflow.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "the whole crate is a test; a panic is how it fails"
)]

mod cases;
mod crash;
mod embedded;
mod fixture;
mod kill;
mod proxy;
mod push;
mod python;
mod real;
