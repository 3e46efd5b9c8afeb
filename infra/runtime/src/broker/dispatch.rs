//! Delivering what each trigger wants.

use std::sync::{Arc, Weak};
use std::time::Duration;

use regrove_events::CloudEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{Parcel, Sender};
use super::delivery::{Failed, Verdict, judge, retry_at};
use super::ingress::{Broker, TTL, time_to_live};
use super::journal::{JournalError, Next, Outcome, Pending};
use super::queue::{Replies, TriggerQueue, TriggerSpec};
use super::replay::Replayed;
use super::target::{Target, broker_url};
use super::upkeep::KnownTrigger;
use crate::clock::{now, now_ms};
use crate::events_out::EventsOut;
use crate::runtime_event::{RuntimeEvent, millis};

/// Deliveries under way at a time, per trigger.
pub(crate) const CONCURRENT_DELIVERIES_MAX: usize = 100;
/// Wait after the journal failed.
const JOURNAL_PAUSE: Duration = Duration::from_secs(1);

/// All triggers, found by broker.
#[derive(Debug)]
pub(crate) struct Triggers {
    queues: Vec<Arc<TriggerQueue>>,
}

impl Triggers {
    pub(crate) fn new(specs: Vec<TriggerSpec>) -> Self {
        Self { queues: specs.into_iter().map(|spec| Arc::new(TriggerQueue::new(spec))).collect() }
    }

    /// The triggers of a broker that want an event.
    pub(crate) fn wanting<'a>(
        &'a self,
        namespace: &'a str,
        broker: &'a str,
        event: &'a CloudEvent,
    ) -> impl Iterator<Item = &'a Arc<TriggerQueue>> {
        self.queues.iter().filter(move |queue| {
            let spec = &queue.spec;
            spec.namespace == namespace && spec.broker == broker && spec.filter.matches(event)
        })
    }

    /// All of them, for other processes.
    pub(crate) fn known(&self) -> Vec<KnownTrigger> {
        let known = |queue: &Arc<TriggerQueue>| KnownTrigger {
            key: Arc::clone(&queue.spec.key),
            namespace: queue.spec.namespace.clone(),
            broker: queue.spec.broker.clone(),
        };
        self.queues.iter().map(known).collect()
    }

    /// The trigger of this key.
    pub(crate) fn by_key(&self, key: &str) -> Option<&Arc<TriggerQueue>> {
        self.queues.iter().find(|queue| &*queue.spec.key == key)
    }

    /// Has every trigger look into the journal again.
    pub(crate) fn look_again(&self) {
        for queue in &self.queues {
            queue.look_again();
        }
    }

    /// Starts delivering, until `stop`; attempts under way then are in `tasks`.
    pub(crate) fn start(
        &self,
        broker: &Arc<Broker>,
        events: &EventsOut,
        sender: &Arc<Sender>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        for queue in &self.queues {
            let courier = Arc::new(Courier {
                queue: Arc::clone(queue),
                broker: Arc::downgrade(broker),
                events: events.clone(),
                sender: Arc::clone(sender),
            });
            tasks.spawn(courier.run(tasks.clone(), stop.clone()));
        }
    }
}

/// Delivers for one trigger.
struct Courier {
    queue: Arc<TriggerQueue>,
    /// Weak, for the broker holds the triggers.
    broker: Weak<Broker>,
    events: EventsOut,
    sender: Arc<Sender>,
}

impl Courier {
    async fn run(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONCURRENT_DELIVERIES_MAX));
        while !stop.is_cancelled() {
            self.refill().await;
            while !stop.is_cancelled()
                && let Ok(slot) = Arc::clone(&slots).try_acquire_owned()
                && let Some(pending) = self.queue.pop()
            {
                tasks.spawn(Arc::clone(&self).deliver(pending, slot));
            }
            let wait = self.queue.next_at().map(|at| Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0)));
            tokio::select! {
                () = self.queue.wake.notified() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() && slots.available_permits() > 0 => {}
                () = stop.cancelled() => return,
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
        let spec = &self.queue.spec;
        let replayed = self.replay(&broker).await;
        let due = match replayed {
            Ok(()) => broker.journal.due(Arc::clone(&spec.key), now_ms(), limit, spec.ordered).await,
            Err(error) => Err(error),
        };
        match due {
            Ok(due) => self.queue.load(due, limit),
            Err(error) => {
                tracing::error!(trigger = &*spec.key, %error, "waiting events not read");
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
        let queue = Arc::clone(&self.queue);
        let wanted = Box::new(move |event: &CloudEvent| queue.spec.filter.matches(event));
        if broker.journal.replay(Arc::clone(&self.queue.spec.key), wanted).await? == Replayed::InPart {
            self.queue.look_again();
        }
        Ok(())
    }

    async fn deliver(self: Arc<Self>, mut pending: Pending, slot: OwnedSemaphorePermit) {
        let Some(broker) = self.broker.upgrade() else {
            return;
        };
        let spec = &self.queue.spec;
        if spec.dead_letter_sink.is_none() {
            // Its sink is no longer in the manifests: the subscriber gets another chance.
            pending.dead = None;
        }
        let sink = pending.dead.as_ref().and(spec.dead_letter_sink.as_ref());
        let target = sink.unwrap_or(&spec.subscriber);
        let stored = &pending.event;
        let event = outgoing(&pending);
        let started_at = now_ms();
        let parcel = Parcel {
            event: &event,
            headers: &stored.headers,
            namespace: &spec.namespace,
            prefers_reply: sink.is_none(),
            time_to_live: time_to_live(&stored.event).ok().flatten(),
            format: spec.policy.format,
            timeout: spec.policy.timeout,
        };
        let answered = self.sender.send(&broker, target, &parcel).await;
        drop(slot);
        let latency = answered.latency;
        let code = answered.result.as_ref().ok().map(|reply| reply.status.as_u16());
        let verdict = judge(answered, sink.is_none() && spec.replies != Replies::Dropped);
        let decided = self.decide(&broker, &pending, target, verdict);
        let attempt = pending.attempt + 1;
        let outcome = Outcome {
            delivery: pending.seq,
            dead_letter_stage: sink.is_some(),
            attempt,
            started_at,
            destination: target.url(),
            code: decided.failed.as_ref().map_or(code, |failed| failed.code),
            latency,
            error: decided.failed.as_ref().map(|failed| failed.error.clone()),
            next: decided.next,
        };
        let now = now_ms();
        let told = self.tell(&pending, attempt, &outcome, latency, now);
        let (again_at, dead) = match &outcome.next {
            Next::Retry(at) => (Some(*at), pending.dead.clone()),
            Next::DeadLetter(cause) => (Some(now), Some(cause.clone())),
            Next::Delivered(_) | Next::InSink | Next::Dropped(_) => (None, None),
        };
        let attempt = if matches!(outcome.next, Next::DeadLetter(_)) { 0 } else { attempt };
        let reply = match &outcome.next {
            Next::Delivered(Some(reply)) => Some((Arc::clone(&reply.event), reply.triggers.clone())),
            _ => None,
        };
        match broker.journal.settle(outcome).await {
            Ok(deliveries) => {
                if let Some((event, triggers)) = reply {
                    broker.route(&event, &triggers, &deliveries);
                }
                self.events.send(|| told);
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

    fn decide(&self, broker: &Broker, pending: &Pending, target: &Target, verdict: Verdict) -> Decided {
        let spec = &self.queue.spec;
        let failed = match verdict {
            Verdict::Taken if pending.dead.is_some() => return Decided { next: Next::InSink, failed: None },
            Verdict::Taken => return Decided { next: Next::Delivered(None), failed: None },
            Verdict::Replied(reply) => match broker.admit_reply(&pending.event, self.reply_broker(pending), *reply) {
                Ok(reply) => return Decided { next: Next::Delivered(Some(reply)), failed: None },
                Err(refused) => Failed::reply_refused(refused.status(), format!("its reply was refused: {refused}")),
            },
            Verdict::Failed(failed) => failed,
        };
        let destination = if failed.at_reply {
            broker_url(&pending.event.namespace, self.reply_broker(pending))
        } else {
            target.url()
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

    fn reply_broker<'a>(&'a self, pending: &'a Pending) -> &'a str {
        match &self.queue.spec.replies {
            Replies::To(name) => name,
            Replies::Dropped => &pending.event.broker,
        }
    }

    fn tell(&self, pending: &Pending, attempts: u32, outcome: &Outcome, latency: Duration, now: i64) -> RuntimeEvent {
        let trigger = self.queue.spec.key.to_string();
        let (ty, id) = (pending.event.event.ty().to_owned(), pending.event.event.id().to_owned());
        let error = outcome.error.clone().unwrap_or_default();
        let wait = |at: i64| u64::try_from(at - now).unwrap_or(0);
        match &outcome.next {
            Next::Delivered(_) => {
                RuntimeEvent::EventDelivered { trigger, ty, id, attempts, latency_ms: millis(latency) }
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
