//! The whole system as its users run it: the `regrove` command, the functions as processes, events over HTTP, a real
//! Redis and a real MLflow. `cargo xtask test` builds and installs what is run here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on says so by panicking, and says what it chose"
)]

mod browser;
mod buckets;
mod clients;
mod commands;
mod console;
mod data_sets;
mod demo;
mod doctor;
mod foreign;
mod forest_files;
mod forest_kinds;
mod grpc;
mod images;
mod jobs;
mod kills;
mod lambda;
mod operations;
mod other_models;
mod outages;
mod own_mlflow;
mod polling;
mod processes;
mod python;
mod readiness;
mod record;
mod regressors;
mod regrove;
mod restoring;
mod scaling;
mod swap;
mod sweeps;
mod through_console;
mod tracing;
mod up;
mod whole_loop;
