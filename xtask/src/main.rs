//! `cargo xtask`: what a developer and CI run to check the whole workspace.

mod browser;
mod containers;
mod debian;
mod disk;
mod libraries;
mod npm;
mod package;
mod pipeline;
mod python;
mod redis;
mod reproduce;
mod sbom;
mod shell;
mod stamp;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Checks and tests the whole workspace; installs what that needs.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:\n  \
        cargo xtask test                                  everything, as CI runs it\n  \
        cargo xtask test --no-check -- -E 'test(codec)'   only the tests whose name contains `codec`\n  \
        cargo xtask test -- -p regrove-forest             the checks, then one crate's tests\n  \
        cargo xtask check                                 formatting, lints, dependencies\n  \
        cargo xtask bench -- --workloads a                fits and predictions beside other programs\n  \
        cargo xtask package images                        what goes into the container images\n  \
        cargo xtask package images --twice                the same, built again elsewhere and compared\n  \
        cargo xtask package lambda                        what goes into the Lambda packages\n  \
        cargo xtask advisories                            known vulnerabilities; needs github.com"
)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what the tests need, then runs every check and every test.
    Test {
        /// Leaves out formatting, lints and the dependency policy.
        #[arg(long)]
        no_check: bool,
        /// Passed on to `cargo nextest run --workspace`.
        #[arg(last = true, value_name = "NEXTEST ARGS")]
        nextest_args: Vec<String>,
    },
    /// Formatting, lints and the dependency policy.
    Check,
    /// Installs what the tests need and runs nothing.
    Setup,
    /// Installs the programs that fits and predictions are measured beside, and measures. See benches/README.md.
    Bench {
        /// Passed on to `bench-forest`.
        #[arg(last = true, value_name = "BENCH ARGS")]
        bench_args: Vec<String>,
    },
    /// Builds the functions as they are shipped.
    Package(package::Package),
    /// Fetches the database of known vulnerabilities and checks Cargo.lock against it.
    Advisories,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let workspace = shell::Workspace::find()?;
    match args.task {
        Task::Test { no_check, nextest_args } => pipeline::test(&workspace, no_check, &nextest_args),
        Task::Check => pipeline::check(&workspace),
        Task::Setup => pipeline::setup(&workspace),
        Task::Bench { bench_args } => pipeline::bench(&workspace, &bench_args),
        Task::Package(wanted) => package::package(&workspace, &wanted),
        Task::Advisories => pipeline::advisories(&workspace),
    }
}
