//! What one trigger has in memory of its deliveries.
//!
//! A trigger has a window of deliveries in memory; what does not fit stays in the journal until there is room. So a
//! hundred thousand waiting events cost one window, not a hundred thousand tasks.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use regrove_knative::delivery::DeliveryPolicy;
use regrove_knative::filter::Filter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::journal::{Due, Pending};
use super::target::Target;
use crate::clock::now_ms;
use crate::metrics::TriggerMetrics;

/// Deliveries in memory, per trigger: under way, due, or waiting for a retry.
pub(crate) const WINDOW: usize = 1_024;
/// Extension whose values are ordered each for itself.
const PARTITION_KEY: &str = "partitionkey";

/// A trigger, resolved.
#[derive(Debug)]
pub(crate) struct TriggerSpec {
    /// `namespace/name`.
    pub(crate) key: Arc<str>,
    pub(crate) namespace: String,
    pub(crate) broker: String,
    pub(crate) filter: Filter,
    pub(crate) subscriber: Target,
    pub(crate) policy: DeliveryPolicy,
    pub(crate) dead_letter_sink: Option<Target>,
    /// One delivery at a time, in the order of the journal; events with different partition keys do not wait for each
    /// other.
    pub(crate) ordered: bool,
    pub(crate) replies: Replies,
}

/// Where a subscriber's replies go.
#[derive(Debug, Clone)]
pub(crate) enum Replies {
    /// Into this broker or channel of the trigger's namespace, in the same commit as the delivery.
    Stored(String),
    /// To this destination, as part of the delivery: if it does not take one, the whole delivery has failed.
    Sent(Target),
    /// Nowhere.
    Dropped,
}

#[derive(Debug, Default)]
struct Window {
    /// As the trigger is.
    ordered: bool,
    ready: VecDeque<Pending>,
    /// Partition keys of which a delivery is under way or waits for a retry; only of an ordered trigger.
    busy: HashSet<String>,
    /// What was under way when the trigger became an ordered one: nothing overtakes it.
    before_order: HashSet<i64>,
    /// Somebody may have asked for history again.
    replay: bool,
    /// By due time and delivery.
    delayed: BTreeMap<(i64, i64), Pending>,
    /// All deliveries that must not be loaded from the journal: in memory, or settled but not yet written.
    known: HashSet<i64>,
    /// While the journal is asked, what was settled meanwhile: the answer may be older than that.
    settled: Option<HashSet<i64>>,
    /// The journal may hold due deliveries that are not known.
    more: bool,
    /// When the journal will hold some.
    more_at: Option<i64>,
}

/// One trigger's deliveries.
#[derive(Debug)]
pub(crate) struct TriggerQueue {
    /// `namespace/name`.
    pub(crate) key: Arc<str>,
    pub(crate) metrics: TriggerMetrics,
    pub(crate) wake: Notify,
    /// Cancelled when the trigger is no longer in the manifests.
    pub(crate) gone: CancellationToken,
    spec: RwLock<Arc<TriggerSpec>>,
    window: Mutex<Window>,
}

impl TriggerQueue {
    /// Knows nothing yet of what the journal holds.
    pub(crate) fn new(spec: TriggerSpec, metrics: TriggerMetrics) -> Self {
        let window = Window { ordered: spec.ordered, more: true, replay: true, ..Window::default() };
        Self {
            key: Arc::clone(&spec.key),
            metrics,
            wake: Notify::new(),
            gone: CancellationToken::new(),
            spec: RwLock::new(Arc::new(spec)),
            window: Mutex::new(window),
        }
    }

    /// The trigger as it is now.
    pub(crate) fn spec(&self) -> Arc<TriggerSpec> {
        Arc::clone(&self.spec.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the trigger as it is from now on; attempts under way go on as they began.
    pub(crate) fn change(&self, spec: TriggerSpec) {
        let mut window = self.lock();
        if window.ordered != spec.ordered {
            window.ordered = spec.ordered;
            window.forget_waiting();
        }
        *self.spec.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
        drop(window);
        self.wake.notify_one();
    }

    /// Deliveries in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.lock().known.len()
    }

    /// Whether somebody may have asked for history since this was asked last.
    pub(crate) fn take_replay(&self) -> bool {
        std::mem::take(&mut self.lock().replay)
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal may hold what nobody has told of.
    pub(crate) fn look_again(&self) {
        let mut window = self.lock();
        window.more = true;
        window.replay = true;
        drop(window);
        self.wake.notify_one();
    }

    /// Takes over a delivery that is in the journal already.
    pub(crate) fn push(&self, pending: Pending) {
        let mut window = self.lock();
        // Two events that are stored one after the other may come here the other way round.
        if window.ordered || window.more || window.known.len() >= WINDOW {
            window.more = true;
        } else if window.known.insert(pending.seq) {
            window.ready.push_back(pending);
        }
        drop(window);
        self.wake.notify_one();
    }

    /// The next delivery that is due.
    pub(crate) fn pop(&self) -> Option<Pending> {
        let mut window = self.lock();
        let now = now_ms();
        if window.ordered {
            return window.pop_in_order(now);
        }
        while let Some(entry) = window.delayed.first_entry()
            && entry.key().0 <= now
        {
            let pending = entry.remove();
            window.ready.push_back(pending);
        }
        window.ready.pop_front()
    }

    /// Whether the journal should be asked, and for how many at most. Clears the flag first: what is pushed while the
    /// journal answers goes into the window, and what is in both is known, or was settled before the answer is loaded.
    pub(crate) fn wants_more(&self) -> Option<usize> {
        let mut window = self.lock();
        if window.more_at.is_some_and(|at| at <= now_ms()) {
            window.more = true;
            window.more_at = None;
        }
        if !window.more || window.known.len() > WINDOW / 2 {
            return None;
        }
        window.more = false;
        window.settled = Some(HashSet::new());
        Some(WINDOW + window.known.len())
    }

    /// When there will be something to do although nobody wakes.
    pub(crate) fn next_at(&self) -> Option<i64> {
        let window = self.lock();
        let delayed = window.delayed.first_key_value().map(|((at, _), _)| *at);
        [delayed, window.more_at].into_iter().flatten().min()
    }

    /// Takes over what the journal has answered, asked for so many at most.
    pub(crate) fn load(&self, due: Due, asked: usize) {
        let mut window = self.lock();
        let settled = window.settled.take().unwrap_or_default();
        window.more |= due.pending.len() >= asked;
        window.more_at = [window.more_at, due.next_at].into_iter().flatten().min();
        let now = now_ms();
        for pending in due.pending {
            if settled.contains(&pending.seq) || !window.known.insert(pending.seq) {
                continue;
            }
            if window.ordered && pending.due_at > now {
                window.busy.insert(lane(&pending));
                window.delayed.insert((pending.due_at, pending.seq), pending);
            } else {
                window.ready.push_back(pending);
            }
        }
    }

    /// The journal knows how the delivery goes on.
    pub(crate) fn settled(&self, pending: Pending, again_at: Option<i64>) {
        let mut window = self.lock();
        window.before_order.remove(&pending.seq);
        match again_at {
            // What an ordered trigger forgot would be overtaken.
            Some(at) if window.ordered || window.delayed.len() < WINDOW / 2 => {
                if window.ordered {
                    window.busy.insert(lane(&pending));
                }
                window.delayed.insert((at, pending.seq), pending);
            }
            Some(at) => {
                window.forget(pending.seq);
                window.more_at = Some(window.more_at.map_or(at, |other| other.min(at)));
            }
            None => {
                window.forget(pending.seq);
                if window.ordered {
                    window.busy.remove(&lane(&pending));
                }
            }
        }
        drop(window);
        self.wake.notify_one();
    }
}

impl Window {
    /// Leaves a delivery to the journal, which knows how it goes on.
    fn forget(&mut self, seq: i64) {
        self.known.remove(&seq);
        if let Some(settled) = &mut self.settled {
            settled.insert(seq);
        }
    }

    /// Leaves what is not under way to the journal.
    fn forget_waiting(&mut self) {
        let waiting = self.ready.drain(..).chain(std::mem::take(&mut self.delayed).into_values());
        let waiting: Vec<i64> = waiting.map(|pending| pending.seq).collect();
        for seq in waiting {
            self.known.remove(&seq);
        }
        self.busy.clear();
        self.before_order = if self.ordered { self.known.clone() } else { HashSet::new() };
        self.more = true;
    }

    /// The next delivery that is due and that no earlier one of its lane has to go before.
    fn pop_in_order(&mut self, now: i64) -> Option<Pending> {
        if !self.before_order.is_empty() {
            return None;
        }
        if let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            // Its lane is busy with it.
            return Some(entry.remove());
        }
        let first = self.ready.iter().position(|pending| !self.busy.contains(&lane(pending)))?;
        let pending = self.ready.remove(first)?;
        self.busy.insert(lane(&pending));
        Some(pending)
    }
}

/// What orders a delivery among others: the event's partition key. Events without one share a lane.
fn lane(pending: &Pending) -> String {
    pending.event.event.attribute(PARTITION_KEY).unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use regrove_events::CloudEvent;
    use regrove_knative::manifest::TriggerFilter;

    use super::*;
    use crate::broker::journal::StoredEvent;
    use crate::metrics::Metrics;

    fn queue() -> TriggerQueue {
        let spec = TriggerSpec {
            key: "default/all".into(),
            namespace: "default".to_owned(),
            broker: "default".to_owned(),
            filter: Filter::compile(&TriggerFilter::default()).unwrap(),
            subscriber: Target::Http("http://127.0.0.1:1/".parse().unwrap()),
            policy: DeliveryPolicy {
                retry: 0,
                backoff: None,
                timeout: None,
                retry_after_max: None,
                dead_letter_sink: None,
                format: None,
            },
            dead_letter_sink: None,
            ordered: false,
            replies: Replies::Dropped,
        };
        TriggerQueue::new(spec, Metrics::new().trigger("default/all"))
    }

    fn due(seqs: &[i64]) -> Due {
        let event = StoredEvent {
            namespace: "default".to_owned(),
            broker: "default".to_owned(),
            event: CloudEvent::builder("1", "/tests", "com.example.made").build().unwrap(),
            headers: Vec::new(),
        };
        let event = Arc::new(event);
        let pending = |seq: &i64| Pending { seq: *seq, event: Arc::clone(&event), attempt: 0, due_at: 0, dead: None };
        Due { pending: seqs.iter().map(pending).collect(), next_at: None }
    }

    fn popped(queue: &TriggerQueue) -> Vec<Pending> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn seqs(pending: &[Pending]) -> Vec<i64> {
        pending.iter().map(|pending| pending.seq).collect()
    }

    #[test]
    fn what_was_settled_while_the_journal_answered_is_not_delivered_again() {
        let queue = queue();
        let asked = queue.wants_more().unwrap();
        queue.load(due(&[1, 2, 3]), asked);
        let mut under_way = popped(&queue);
        assert_eq!(seqs(&under_way), [1, 2, 3]);
        queue.look_again();
        let asked = queue.wants_more().unwrap();
        // The journal has read its answer by now.
        let answer = due(&[1, 2, 3, 4]);
        queue.settled(under_way.remove(0), None);
        queue.load(answer, asked);
        assert_eq!(seqs(&popped(&queue)), [4], "1 was delivered, 2 and 3 are under way");
        // The journal may have something to do with it later.
        queue.look_again();
        let asked = queue.wants_more().unwrap();
        queue.load(due(&[1]), asked);
        assert_eq!(seqs(&popped(&queue)), [1]);
    }

    #[test]
    fn a_retry_that_was_left_to_the_journal_is_not_taken_from_an_older_answer() {
        let queue = queue();
        let many: Vec<i64> = (1..=i64::try_from(WINDOW / 2).unwrap()).collect();
        let asked = queue.wants_more().unwrap();
        queue.load(due(&many), asked);
        for pending in popped(&queue) {
            queue.settled(pending, Some(i64::MAX));
        }
        queue.look_again();
        let asked = queue.wants_more().unwrap();
        let [more] = <[Pending; 1]>::try_from(due(&[9_999]).pending).unwrap();
        queue.push(more);
        // There is no place for another retry: the journal keeps it.
        queue.settled(popped(&queue).remove(0), Some(i64::MAX - 1));
        queue.load(due(&[9_999]), asked);
        assert_eq!((seqs(&popped(&queue)), queue.next_at()), (Vec::new(), Some(i64::MAX - 1)));
    }
}
