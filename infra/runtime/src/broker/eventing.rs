//! Brokers, triggers and ping sources at work, and how they change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use regrove_knative::manifest::PingSource;
use tokio_util::sync::CancellationToken;

use super::dispatch::Delivering;
use super::ingress::Broker;
use super::journal::JournalError;
use super::ping;
use super::queue::TriggerSpec;
use super::target::{Target, TargetSpec};
use crate::clock::now;
use crate::status::{PingSourceStatus, TriggerStatus};

/// A ping source as it is planned, and its destination.
#[derive(Debug, Clone)]
pub(crate) struct Ping {
    pub(crate) source: PingSource,
    pub(crate) planned: TargetSpec,
    pub(crate) target: Target,
}

/// What is to be.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// (namespace, name) of the brokers and channels.
    pub(crate) brokers: BTreeSet<(String, String)>,
    pub(crate) triggers: Vec<TriggerSpec>,
    /// Triggers that get no events, and why.
    pub(crate) unready: Vec<TriggerStatus>,
    pub(crate) pings: Vec<Ping>,
}

#[derive(Debug)]
struct Running {
    source: PingSource,
    planned: TargetSpec,
    sink: String,
    stop: CancellationToken,
}

/// Knative Eventing of a runtime.
#[derive(Debug)]
pub(crate) struct Eventing {
    pub(crate) broker: Arc<Broker>,
    delivering: Delivering,
    pings: Mutex<Vec<Running>>,
    unready: Mutex<Vec<TriggerStatus>>,
}

impl Eventing {
    pub(crate) fn new(broker: Arc<Broker>, delivering: Delivering) -> Self {
        Self { broker, delivering, pings: Mutex::default(), unready: Mutex::default() }
    }

    /// Makes everything what it is to be. What is the same goes on undisturbed; what waits for a trigger that is no more
    /// is a dead letter.
    ///
    /// # Errors
    /// The journal cannot be written; events are delivered as they are to be all the same.
    pub(crate) async fn apply(&self, wanted: Wanted) -> Result<(), JournalError> {
        let Wanted { brokers, triggers, unready, pings } = wanted;
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = unready;
        let new = self.broker.topology().change(&brokers, triggers, &self.delivering.metrics);
        // Before anything is delivered, so that nothing is delivered for a trigger that is no more.
        let orphans = self.broker.journal.keep_triggers(self.broker.topology().known()).await;
        for queue in new {
            self.delivering.start(&self.broker, queue);
        }
        self.apply_pings(pings);
        if orphans? > 0 {
            tracing::warn!("events waited for triggers that are no longer in the manifests; they are dead letters");
        }
        Ok(())
    }

    /// The triggers that get no events.
    pub(crate) fn unready(&self) -> Vec<TriggerStatus> {
        self.unready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ping sources and when they send next.
    pub(crate) fn ping_sources(&self) -> Vec<PingSourceStatus> {
        let now = now();
        let running = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |one: &Running| PingSourceStatus {
            source: format!("{}/{}", one.source.metadata.namespace, one.source.metadata.name),
            sink: one.sink.clone(),
            next_at_ms: one.source.schedule.next_after(now).map(jiff::Timestamp::as_millisecond),
        };
        running.iter().map(status).collect()
    }

    fn apply_pings(&self, wanted: Vec<Ping>) {
        let mut running = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |one: &Running, other: &Ping| one.source == other.source && one.planned == other.planned;
        let (kept, gone): (Vec<_>, Vec<_>) =
            running.drain(..).partition(|one| wanted.iter().any(|other| same(one, other)));
        for source in gone {
            source.stop.cancel();
        }
        let new: Vec<Ping> = wanted.into_iter().filter(|other| !kept.iter().any(|one| same(one, other))).collect();
        *running = kept;
        for Ping { source, planned, target } in new {
            let stop = self.delivering.stop.child_token();
            let (broker, sender) = (Arc::clone(&self.broker), Arc::clone(&self.delivering.sender));
            let sink = target.url();
            self.delivering.tasks.spawn(ping::run(source.clone(), target, broker, sender, stop.clone()));
            running.push(Running { source, planned, sink, stop });
        }
    }
}
