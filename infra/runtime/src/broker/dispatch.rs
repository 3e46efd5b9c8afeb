//! Delivering what each trigger wants.

use std::sync::{Arc, Weak};
use std::time::Duration;

use regrove_events::CloudEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{Answered, Parcel, Sender};
use super::delivery::{Failed, Verdict, judge, retry_at};
use super::ingress::{Broker, TTL, time_to_live};
use super::journal::{JournalError, NewEvent, Next, Outcome, Pending};
use super::queue::{Replies, TriggerQueue, TriggerSpec};
use super::replay::Replayed;
use super::target::{Target, broker_url};
use crate::clock::{now, now_ms};
use crate::events_out::EventsOut;
use crate::metrics::Metrics;
use crate::runtime_event::{RuntimeEvent, millis};

/// Deliveries under way at a time, per trigger.
pub(crate) const CONCURRENT_DELIVERIES_MAX: usize = 100;
/// Wait after the journal failed.
const JOURNAL_PAUSE: Duration = Duration::from_secs(1);

/// What delivering needs beside the trigger.
#[derive(Debug, Clone)]
pub(crate) struct Delivering {
    pub(crate) events: EventsOut,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sender: Arc<Sender>,
    /// Where attempts run.
    pub(crate) tasks: TaskTracker,
    /// Ends delivering; attempts under way then are in `tasks`.
    pub(crate) stop: CancellationToken,
}

impl Delivering {
    /// Delivers for a trigger until `stop`, or until it is gone.
    pub(crate) fn start(&self, broker: &Arc<Broker>, queue: Arc<TriggerQueue>) {
        let courier = Arc::new(Courier { queue, broker: Arc::downgrade(broker), with: self.clone() });
        self.tasks.spawn(courier.run());
    }
}

/// Delivers for one trigger.
struct Courier {
    queue: Arc<TriggerQueue>,
    /// Weak, for the broker holds the triggers.
    broker: Weak<Broker>,
    with: Delivering,
}

impl Courier {
    async fn run(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(CONCURRENT_DELIVERIES_MAX));
        let (stop, gone) = (self.with.stop.clone(), self.queue.gone.clone());
        while !stop.is_cancelled() && !gone.is_cancelled() {
            self.refill().await;
            while !stop.is_cancelled()
                && let Ok(slot) = Arc::clone(&slots).try_acquire_owned()
                && let Some(pending) = self.queue.pop()
            {
                self.with.tasks.spawn(Arc::clone(&self).deliver(pending, slot));
            }
            let wait = self.queue.next_at().map(|at| Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0)));
            tokio::select! {
                () = self.queue.wake.notified() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() && slots.available_permits() > 0 => {}
                () = stop.cancelled() => return,
                () = gone.cancelled() => return,
            }
        }
    }

    async fn refill(&self) {
        let Some(limit) = self.queue.wants_more() else {
            return;
        };
        let Some(broker) = self.broker.upgrade() else {
            return;
        };
        let key = &self.queue.key;
        let due = match self.replay(&broker).await {
            Ok(()) => broker.journal.due(Arc::clone(key), now_ms(), limit, self.queue.spec().ordered).await,
            Err(error) => Err(error),
        };
        match due {
            Ok(due) => self.queue.load(due, limit),
            Err(error) => {
                tracing::error!(trigger = &**key, %error, "waiting events not read");
                tokio::time::sleep(JOURNAL_PAUSE).await;
                self.queue.look_again();
            }
        }
    }

    /// Makes a part of the history that somebody asked for due again.
    async fn replay(&self, broker: &Broker) -> Result<(), JournalError> {
        if !self.queue.take_replay() {
            return Ok(());
        }
        let spec = self.queue.spec();
        let wanted = Box::new(move |event: &CloudEvent| spec.filter.matches(event));
        if broker.journal.replay(Arc::clone(&self.queue.key), wanted).await? == Replayed::InPart {
            self.queue.look_again();
        }
        Ok(())
    }

    async fn deliver(self: Arc<Self>, mut pending: Pending, slot: OwnedSemaphorePermit) {
        let Some(broker) = self.broker.upgrade() else {
            return;
        };
        let spec = self.queue.spec();
        if spec.dead_letter_sink.is_none() {
            // Its sink is no longer in the manifests: the subscriber gets another chance.
            pending.dead = None;
        }
        let started_at = now_ms();
        let (target, answered) = self.attempt(&broker, &spec, &pending).await;
        drop(slot);
        let latency = answered.latency;
        let code = answered.result.as_ref().ok().map(|reply| reply.status.as_u16());
        let wants_reply = pending.dead.is_none() && !matches!(spec.replies, Replies::Dropped);
        let decided = self.decide(&broker, &spec, &pending, judge(answered, wants_reply)).await;
        let attempt = pending.attempt + 1;
        let outcome = Outcome {
            delivery: pending.seq,
            dead_letter_stage: pending.dead.is_some(),
            attempt,
            started_at,
            destination: target.url(),
            code: decided.failed.as_ref().map_or(code, |failed| failed.code),
            latency,
            error: decided.failed.as_ref().map(|failed| failed.error.clone()),
            next: decided.next,
        };
        let now = now_ms();
        let told = self.tell(&pending, attempt, &outcome, now);
        let (again_at, dead) = match &outcome.next {
            Next::Retry(at) => (Some(*at), pending.dead.clone()),
            Next::DeadLetter(cause) => (Some(now), Some(cause.clone())),
            Next::Delivered(_) | Next::InSink | Next::Dropped(_) => (None, None),
        };
        let attempt = if matches!(outcome.next, Next::DeadLetter(_)) { 0 } else { attempt };
        let reply = match &outcome.next {
            Next::Delivered(Some(reply)) => Some(reply.clone()),
            _ => None,
        };
        match broker.journal.settle(outcome).await {
            Ok(deliveries) => {
                if let Some(reply) = reply {
                    broker.route(&reply, &deliveries);
                }
                self.count(&told, latency);
                self.with.events.send(|| told);
                self.queue.settled(Pending { attempt, dead, ..pending }, again_at);
            }
            Err(error) => {
                // Nothing of the attempt was written, so it is made again: at least once.
                tracing::error!(trigger = &*spec.key, %error, "outcome of a delivery not written");
                let at = now + i64::try_from(JOURNAL_PAUSE.as_millis()).unwrap_or_default();
                self.queue.settled(pending, Some(at));
            }
        }
    }

    /// Sends the event to the subscriber, or to the dead letter sink if that is next.
    async fn attempt<'a>(
        &self,
        broker: &Arc<Broker>,
        spec: &'a TriggerSpec,
        pending: &Pending,
    ) -> (&'a Target, Answered) {
        let sink = pending.dead.as_ref().and(spec.dead_letter_sink.as_ref());
        let target = sink.unwrap_or(&spec.subscriber);
        let event = outgoing(pending);
        let parcel = Parcel {
            event: &event,
            headers: &pending.event.headers,
            namespace: &spec.namespace,
            prefers_reply: sink.is_none(),
            time_to_live: time_to_live(&pending.event.event).ok().flatten(),
            format: spec.policy.format,
            timeout: spec.policy.timeout,
        };
        (target, self.with.sender.send(broker, target, &parcel).await)
    }

    async fn decide(&self, broker: &Arc<Broker>, spec: &TriggerSpec, pending: &Pending, verdict: Verdict) -> Decided {
        let (failed, destination) = match verdict {
            Verdict::Taken if pending.dead.is_some() => return Decided { next: Next::InSink, failed: None },
            Verdict::Taken => return Decided { next: Next::Delivered(None), failed: None },
            Verdict::Replied(reply) => match self.pass_on(broker, spec, pending, *reply).await {
                Ok(stored) => return Decided { next: Next::Delivered(stored), failed: None },
                Err(failed) => failed,
            },
            Verdict::Failed(failed) => (failed, spec.subscriber.url()),
        };
        let next = match (retry_at(&spec.policy, pending.attempt + 1, &failed, now()), &pending.dead) {
            (Some(at), _) => Next::Retry(at),
            (None, None) if spec.dead_letter_sink.is_some() => Next::DeadLetter(failed.cause(destination)),
            (None, None) => Next::Dropped(failed.cause(destination)),
            // The first cause is what the reader wants to know.
            (None, Some(cause)) => Next::Dropped(cause.clone()),
        };
        Decided { next, failed: Some(failed) }
    }

    /// Brings a reply to where the trigger wants it. One that is to be stored comes back for the journal; of one that is
    /// not taken, why and by whom.
    async fn pass_on(
        &self,
        broker: &Arc<Broker>,
        spec: &TriggerSpec,
        pending: &Pending,
        reply: CloudEvent,
    ) -> Result<Option<NewEvent>, (Failed, String)> {
        let cause = &pending.event;
        let target = match &spec.replies {
            Replies::Dropped => return Ok(None),
            Replies::Stored(name) => {
                return broker.admit_reply(cause, name, reply).map(Some).map_err(|refused| {
                    let error = format!("its reply was refused: {refused}");
                    (Failed::reply_refused(refused.status(), error), broker_url(&cause.namespace, name))
                });
            }
            Replies::Sent(target) => target,
        };
        let parcel = Parcel {
            event: &reply,
            headers: &cause.headers,
            namespace: &spec.namespace,
            prefers_reply: false,
            time_to_live: time_to_live(&cause.event).ok().flatten(),
            format: spec.policy.format,
            timeout: spec.policy.timeout,
        };
        match judge(self.with.sender.send(broker, target, &parcel).await, false) {
            Verdict::Taken | Verdict::Replied(_) => Ok(None),
            Verdict::Failed(failed) => {
                let error = format!("its reply to {}: {}", target.url(), failed.error);
                Err((Failed { error, ..failed }, target.url()))
            }
        }
    }

    fn tell(&self, pending: &Pending, attempts: u32, outcome: &Outcome, now: i64) -> RuntimeEvent {
        let trigger = self.queue.key.to_string();
        let (ty, id) = (pending.event.event.ty().to_owned(), pending.event.event.id().to_owned());
        let error = outcome.error.clone().unwrap_or_default();
        let wait = |at: i64| u64::try_from(at - now).unwrap_or(0);
        match &outcome.next {
            Next::Delivered(_) => {
                RuntimeEvent::EventDelivered { trigger, ty, id, attempts, latency_ms: millis(outcome.latency) }
            }
            Next::Retry(at) => {
                RuntimeEvent::EventRetried { trigger, ty, id, attempts, code: outcome.code, error, wait_ms: wait(*at) }
            }
            Next::DeadLetter(_) => {
                tracing::warn!(trigger, ty, id, error, "event goes to the dead letter sink");
                RuntimeEvent::EventRetried { trigger, ty, id, attempts, code: outcome.code, error, wait_ms: 0 }
            }
            Next::InSink => {
                let error = pending.dead.as_ref().map(|cause| cause.error.clone()).unwrap_or_default();
                RuntimeEvent::EventDead { trigger, ty, id, in_sink: true, error }
            }
            Next::Dropped(cause) => {
                tracing::error!(trigger, ty, id, error = cause.error, "event dropped: nobody takes it");
                RuntimeEvent::EventDead { trigger, ty, id, in_sink: false, error: cause.error.clone() }
            }
        }
    }

    /// Counts what was told of an attempt that is in the journal.
    fn count(&self, told: &RuntimeEvent, latency: Duration) {
        let (totals, metrics) = (&self.with.metrics, &self.queue.metrics);
        metrics.seconds.observe(latency.as_secs_f64());
        match told {
            RuntimeEvent::EventDelivered { .. } => {
                totals.note_delivered();
                metrics.delivered.inc();
            }
            RuntimeEvent::EventRetried { .. } => {
                totals.note_failed();
                metrics.retried.inc();
            }
            RuntimeEvent::EventDead { in_sink: true, .. } => {
                totals.note_dead();
                metrics.in_sink.inc();
            }
            RuntimeEvent::EventDead { in_sink: false, .. } => {
                totals.note_failed();
                totals.note_dead();
                metrics.dropped.inc();
            }
            _ => {}
        }
    }
}

struct Decided {
    next: Next,
    failed: Option<Failed>,
}

/// The event as it is sent: without its time to live to a subscriber, with the cause to a dead letter sink.
fn outgoing(pending: &Pending) -> CloudEvent {
    let mut event = pending.event.event.clone();
    let Some(cause) = &pending.dead else {
        event.remove_extension(TTL);
        return event;
    };
    let pairs = [
        (regrove_knative::delivery::ERROR_DESTINATION, cause.destination.clone().into()),
        (regrove_knative::delivery::ERROR_CODE, regrove_events::AttributeValue::from(i32::from(cause.code))),
        (regrove_knative::delivery::ERROR_DATA, cause.data.clone().into()),
    ];
    for (name, value) in pairs {
        // These names are valid extension names.
        drop(event.set_extension(name, value));
    }
    event
}
