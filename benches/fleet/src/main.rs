//! A day of a large installation, in virtual time: the real decisions of `aggregate` and `train-shard`, the real fold of a
//! job, the real autoscaler of `train-shard` with its own manifest. Only work and network are simulated: growing a shard
//! takes a drawn time, an answer of the store a fixed one. What it shows is in docs/operations.md, "How far it goes".

#![expect(clippy::print_stdout, reason = "a table is what this command makes")]

mod coordinator;
mod job;
mod sim;
mod workers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use regrove_aggregate::decide::TICK;

use coordinator::count;
use sim::{Outcome, Sim};

/// Jobs, workers and a coordinator, in virtual time.
#[derive(Debug, Clone, Parser)]
#[command(after_help = "Example:\n  bench-fleet --jobs 100000 --workers 1000")]
pub(crate) struct Args {
    /// Jobs that come within the hours
    #[arg(long, default_value_t = 100_000)]
    jobs: u32,
    /// Most replicas of `train-shard`
    #[arg(long, default_value_t = 1_000)]
    workers: u32,
    /// Shards per job
    #[arg(long, default_value_t = 8)]
    shards: u32,
    /// Mean seconds that a shard takes; drawn exponentially
    #[arg(long, default_value_t = 60.0)]
    shard_seconds: f64,
    /// Hours over which jobs come, at random
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Replicas of `aggregate`, as its manifest has them
    #[arg(long, default_value_t = 4)]
    coordinators: u32,
    /// Milliseconds of one question to Redis
    #[arg(long, default_value_t = 0.3)]
    store_ms: f64,
    /// Milliseconds of processor time for reading and hashing a job's data set
    #[arg(long, default_value_t = 200.0)]
    open_ms: f64,
    /// Milliseconds of processor time for putting a forest together and evaluating it
    #[arg(long, default_value_t = 100.0)]
    merge_ms: f64,
    /// Microseconds for which a tick is told the name of one stream
    #[arg(long, default_value_t = 0.5)]
    name_us: f64,
    /// Seconds from a wanted to a ready worker
    #[arg(long, default_value_t = 2.0)]
    cold_start: f64,
    /// Jobs that the log holds already
    #[arg(long, default_value_t = 0)]
    old_jobs: u64,
    /// Seed of all draws
    #[arg(long, default_value_t = 42)]
    seed: u32,
    /// Manifest of `train-shard`, for its autoscaling
    #[arg(long, default_value = "k8s/functions/train-shard.yaml")]
    manifest: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let positive = args.jobs > 0 && args.coordinators > 0 && args.hours > 0.0 && args.shard_seconds > 0.0;
    ensure!(positive, "jobs, coordinators, hours and seconds per shard must be positive");
    let began = Instant::now();
    let outcome = Sim::new(&args)?.run()?;
    print(&args, &outcome, began.elapsed());
    Ok(())
}

fn print(args: &Args, outcome: &Outcome, took: Duration) {
    let Args { jobs, shards, hours, workers, .. } = args;
    println!("{jobs} jobs of {shards} shards in {hours} h, {workers} workers at most; computed in {took:.0?}");
    println!(
        "  jobs         {} done, {} failed, {} open; seconds to the forest p50 {:.0}, p99 {:.0}; {} open at once at most",
        outcome.done,
        outcome.failed,
        outcome.open,
        outcome.job_seconds(0.5),
        outcome.job_seconds(0.99),
        outcome.open_max
    );
    println!(
        "  workers      {:.0} busy on average, {} at most, {:.0} % of their time; {} shards waited at most",
        count(outcome.worker_seconds) / outcome.lasted.as_secs_f64(),
        outcome.ready_max,
        100.0 * count(outcome.worker_seconds) / count(outcome.ready_seconds.max(1)),
        outcome.waiting_max
    );
    println!(
        "  shards       {} asked for again because overdue, {} grown for nothing",
        outcome.asked_again, outcome.wasted
    );
    let coordinator = &outcome.coordinator;
    println!(
        "  decisions    {} events, {:.0?} each (real code, median); events waited p99 {:.3} s",
        coordinator.events(),
        coordinator.event_time(),
        outcome.waited(0.99)
    );
    println!(
        "  ticks        {} looks at open jobs, {:.0?} each (real code, median); the longest tick lasted {:.2?}",
        coordinator.looks(),
        coordinator.look_time(),
        coordinator.tick_longest
    );
    let capacity = outcome.lasted.as_secs_f64() * f64::from(args.coordinators);
    let busy = coordinator.busy.as_secs_f64();
    let per_job = busy / f64::from(args.jobs);
    println!("  coordinator  {:.2} % busy, {:.0} ms of processor time per job", 100.0 * busy / capacity, 1e3 * per_job);
    // A tick that takes longer than the time to the next one never catches up.
    let look = coordinator.look_time() + coordinator.costs.store;
    println!(
        "  its limits   {:.0} jobs a day by its processors, {:.0} jobs open at once by the tick",
        86_400.0 * f64::from(args.coordinators) / per_job,
        TICK.as_secs_f64() / look.as_secs_f64()
    );
}
