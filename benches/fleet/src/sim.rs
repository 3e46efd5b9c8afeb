//! Virtual time: what happens next, until all jobs have ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rand_mt::Mt;
use regrove_aggregate::decide::TICK;

use crate::Args;
use crate::coordinator::{Coordinator, Costs};
use crate::job::{Look, Stream};
use crate::workers::{Task, Workers};

/// How long after the last arrival the simulation gives up.
const PATIENCE: Duration = Duration::from_hours(48);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrival(u32),
    /// The coordinator's answer to a request is out: its shards wait for a worker.
    Opened(Vec<Task>),
    /// A shard is grown.
    Grown {
        task: Task,
        took: Duration,
    },
    /// A second has passed.
    Second,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) done: u32,
    pub(crate) failed: u32,
    /// Jobs that had not ended when the simulation gave up.
    pub(crate) open: usize,
    pub(crate) asked_again: u64,
    /// Shards that were grown although nobody needed them any more.
    pub(crate) wasted: u64,
    /// Virtual time from the first second to the last.
    pub(crate) lasted: Duration,
    pub(crate) worker_seconds: u64,
    pub(crate) ready_seconds: u64,
    pub(crate) ready_max: u32,
    pub(crate) waiting_max: usize,
    pub(crate) open_max: usize,
    pub(crate) coordinator: Coordinator,
    /// Seconds of each job from its request to its forest, sorted.
    seconds: Vec<f32>,
}

impl Outcome {
    /// Seconds from a job's request to its forest, as a quantile.
    pub(crate) fn job_seconds(&self, quantile: f64) -> f32 {
        at_quantile(&self.seconds, quantile)
    }

    /// Seconds for which events waited for a replica of the coordinator, as a quantile.
    pub(crate) fn waited(&self, quantile: f64) -> f32 {
        at_quantile(&self.coordinator.waits, quantile)
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to length")]
fn at_quantile(sorted: &[f32], quantile: f64) -> f32 {
    let place = (sorted.len().saturating_sub(1) as f64 * quantile) as usize;
    sorted.get(place).copied().unwrap_or(f32::NAN)
}

/// A day.
pub(crate) struct Sim<'a> {
    args: &'a Args,
    luck: Mt,
    /// By time, then by the order in which they were planned.
    happenings: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    planned: u64,
    jobs: BTreeMap<u32, Stream>,
    workers: Workers,
    outcome: Outcome,
}

impl<'a> Sim<'a> {
    /// Draws when each job comes.
    ///
    /// # Errors
    /// When the manifest of `train-shard` cannot be read.
    pub(crate) fn new(args: &'a Args) -> anyhow::Result<Self> {
        let manifest = fs::read_to_string(&args.manifest).with_context(|| args.manifest.display().to_string())?;
        let workers = Workers::new(&manifest, args.workers, Duration::from_secs_f64(args.cold_start))?;
        let milliseconds = |number: f64| Duration::from_secs_f64(number / 1e3);
        let costs = Costs {
            store: milliseconds(args.store_ms),
            open: milliseconds(args.open_ms),
            merge: milliseconds(args.merge_ms),
            name: milliseconds(args.name_us / 1e3),
        };
        let outcome = Outcome {
            done: 0,
            failed: 0,
            open: 0,
            asked_again: 0,
            wasted: 0,
            lasted: Duration::ZERO,
            worker_seconds: 0,
            ready_seconds: 0,
            ready_max: 0,
            waiting_max: 0,
            open_max: 0,
            coordinator: Coordinator::new(args.coordinators, costs),
            seconds: Vec::new(),
        };
        let (luck, happenings, jobs) = (Mt::new(args.seed), BinaryHeap::new(), BTreeMap::new());
        let mut sim = Self { args, luck, happenings, planned: 0, jobs, workers, outcome };
        for job in 0..args.jobs {
            let at = Duration::from_secs_f64(sim.draw() * args.hours * 3600.0);
            sim.plan(at, Happening::Arrival(job));
        }
        sim.plan(Duration::ZERO, Happening::Second);
        Ok(sim)
    }

    /// Uniform in [0, 1).
    fn draw(&mut self) -> f64 {
        f64::from(self.luck.next_u32()) / 4_294_967_296.0
    }

    fn plan(&mut self, at: Duration, happening: Happening) {
        self.planned += 1;
        self.happenings.push(Reverse((at, self.planned, happening)));
    }

    /// Runs until every job has ended.
    ///
    /// # Errors
    /// When an event cannot be written or read: a defect.
    pub(crate) fn run(mut self) -> anyhow::Result<Outcome> {
        let limit = Duration::from_secs_f64(self.args.hours * 3600.0) + PATIENCE;
        while let Some(Reverse((now, _, happening))) = self.happenings.pop() {
            self.outcome.lasted = now;
            match happening {
                Happening::Arrival(job) => self.arrive(now, job)?,
                Happening::Opened(tasks) => self.workers.waiting.extend(tasks),
                Happening::Grown { task, took } => self.grown(now, task, took)?,
                Happening::Second => {
                    self.second(now)?;
                    if self.outcome.done + self.outcome.failed == self.args.jobs || now > limit {
                        break;
                    }
                    self.plan(now + Duration::from_secs(1), Happening::Second);
                }
            }
            self.start_work(now)?;
        }
        self.outcome.open = self.jobs.len();
        self.outcome.seconds.sort_by(f32::total_cmp);
        self.outcome.coordinator.waits.sort_by(f32::total_cmp);
        Ok(self.outcome)
    }

    fn arrive(&mut self, now: Duration, job: u32) -> anyhow::Result<()> {
        let mut stream = Stream::new(job, now);
        let shards = self.args.shards;
        let (tasks, said) = self.outcome.coordinator.event(now, || stream.open(now, shards), |_, costs| costs.open);
        self.jobs.insert(job, stream);
        self.plan(said, Happening::Opened(tasks?));
        Ok(())
    }

    /// Workers that are free take what waits.
    fn start_work(&mut self, now: Duration) -> anyhow::Result<()> {
        while let Some(task) = self.workers.take() {
            let Some(stream) = self.jobs.get(&task.job) else { continue };
            if !stream.wants(task)? {
                continue;
            }
            self.workers.busy += 1;
            let took = Duration::from_secs_f64(-self.args.shard_seconds * (1.0 - self.draw()).ln());
            self.plan(now + took, Happening::Grown { task, took });
        }
        Ok(())
    }

    fn grown(&mut self, now: Duration, task: Task, took: Duration) -> anyhow::Result<()> {
        self.workers.busy -= 1;
        let Some(stream) = self.jobs.get_mut(&task.job) else {
            self.outcome.wasted += 1;
            return Ok(());
        };
        if !stream.grown(task, now, took.as_secs_f64())? {
            self.outcome.wasted += 1;
            return Ok(());
        }
        let merge = |whole: &anyhow::Result<bool>, costs: Costs| match whole {
            Ok(true) => costs.merge,
            Ok(false) | Err(_) => Duration::ZERO,
        };
        let (whole, said) = self.outcome.coordinator.event(now, || stream.heard(), merge);
        if whole? {
            self.outcome.seconds.push(said.saturating_sub(stream.began).as_secs_f32());
            self.jobs.remove(&task.job);
            self.outcome.done += 1;
        }
        Ok(())
    }

    fn second(&mut self, now: Duration) -> anyhow::Result<()> {
        self.workers.second(now);
        self.outcome.worker_seconds += u64::from(self.workers.busy);
        self.outcome.ready_seconds += u64::from(self.workers.ready);
        self.outcome.ready_max = self.outcome.ready_max.max(self.workers.ready);
        self.outcome.waiting_max = self.outcome.waiting_max.max(self.workers.waiting.len());
        self.outcome.open_max = self.outcome.open_max.max(self.jobs.len());
        if now.as_secs().is_multiple_of(TICK.as_secs()) { self.tick(now) } else { Ok(()) }
    }

    /// The tick names every stream, and reads those that have not ended.
    fn tick(&mut self, now: Duration) -> anyhow::Result<()> {
        let mut again = Vec::new();
        let mut given_up = Vec::new();
        for (job, stream) in &self.jobs {
            match self.outcome.coordinator.look(|| stream.look(now))? {
                Look::Nothing => {}
                Look::AskAgain(tasks) => again.extend(tasks),
                Look::Failed => given_up.push(*job),
            }
        }
        let open = self.jobs.len();
        let streams = u64::from(self.outcome.done) + u64::from(self.outcome.failed) + open as u64 + self.args.old_jobs;
        self.outcome.coordinator.tick(now, streams, open);
        for job in given_up {
            self.jobs.remove(&job);
            self.outcome.failed += 1;
        }
        for task in again {
            if let Some(stream) = self.jobs.get_mut(&task.job) {
                stream.ask_again(task, now)?;
                self.outcome.asked_again += 1;
                self.workers.waiting.push_back(task);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn run(arguments: &[&str]) -> Outcome {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/functions/train-shard.yaml");
        let first = ["bench-fleet", "--manifest", manifest, "--hours", "1"];
        let args = Args::parse_from(first.iter().chain(arguments));
        Sim::new(&args).unwrap().run().unwrap()
    }

    #[test]
    fn every_job_ends_and_every_shard_is_heard_of_once() {
        let few = ["--jobs", "40", "--shards", "4", "--workers", "20", "--shard-seconds", "20"];
        let outcome = run(&few);
        assert_eq!((outcome.done, outcome.failed, outcome.open), (40, 0, 0));
        assert!(outcome.wasted <= outcome.asked_again, "{outcome:?}");
        assert_eq!(outcome.coordinator.events(), 40 + 40 * 4);
        assert!(outcome.ready_max <= 20 && outcome.job_seconds(0.99) >= outcome.job_seconds(0.5), "{outcome:?}");
    }

    #[test]
    fn too_few_workers_make_shards_overdue_and_then_jobs_fail() {
        let outcome = run(&["--jobs", "20", "--shards", "8", "--workers", "1", "--shard-seconds", "60"]);
        assert!(outcome.asked_again > 0 && outcome.failed > 0 && outcome.waiting_max > 50, "{outcome:?}");
        assert_eq!(outcome.done + outcome.failed, 20);
    }
}
