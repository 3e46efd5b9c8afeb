//! `train-shard`: replicas that take one shard each, as many as the autoscaler wants.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::bail;
use regrove_knative::autoscaler::{Autoscaler, EVALUATION_INTERVAL};
use regrove_knative::manifest::{Application, Source};

/// A shard of a job, as it waits or is grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) job: u32,
    pub(crate) shard: u32,
    pub(crate) attempt: u32,
}

/// The replicas and the queue before them.
#[derive(Debug)]
pub(crate) struct Workers {
    autoscaler: Autoscaler,
    cold_start: Duration,
    /// Replicas that are on their way, by the time at which they are ready.
    starting: VecDeque<Duration>,
    pub(crate) ready: u32,
    pub(crate) busy: u32,
    pub(crate) waiting: VecDeque<Task>,
}

impl Workers {
    /// No replica yet. `manifest` is that of the Service; only its upper bound is another.
    pub(crate) fn new(manifest: &str, max_scale: u32, cold_start: Duration) -> anyhow::Result<Self> {
        let application = Application::parse(&[Source { name: "train-shard", text: manifest }])?;
        let [service] = &*application.services else { bail!("the manifest holds no Service, or several") };
        let mut config = service.template.autoscaling.clone();
        config.max_scale = max_scale;
        let autoscaler = Autoscaler::new(config, true, 0, Duration::ZERO);
        let waiting = VecDeque::new();
        Ok(Self { autoscaler, cold_start, starting: VecDeque::new(), ready: 0, busy: 0, waiting })
    }

    /// One second of measuring; at every evaluation the autoscaler decides.
    pub(crate) fn second(&mut self, now: Duration) {
        while self.starting.front().is_some_and(|at| *at <= now) {
            self.starting.pop_front();
            self.ready += 1;
        }
        self.autoscaler.record(now, f64::from(self.busy) + f64::from(length(&self.waiting)), 0.0);
        if !now.as_secs().is_multiple_of(EVALUATION_INTERVAL.as_secs()) {
            return;
        }
        let wanted = self.autoscaler.tick(now, self.ready).replicas;
        for _ in self.ready + length(&self.starting)..wanted {
            self.starting.push_back(now + self.cold_start);
        }
        // Those that are at work end it first.
        self.ready = self.ready.min(wanted.max(self.busy));
    }

    /// The next shard, if somebody is free for it.
    pub(crate) fn take(&mut self) -> Option<Task> {
        (self.busy < self.ready).then(|| self.waiting.pop_front()).flatten()
    }
}

fn length<T>(queue: &VecDeque<T>) -> u32 {
    u32::try_from(queue.len()).unwrap_or(u32::MAX)
}
