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
    /// journal answers goes into the window, and what is in both is known.
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
        Some(WINDOW + window.known.len())
    }

    /// When there will be something to do although nobody wakes.
    pub(crate) fn next_at(&self) -> Option<i64> {
        let window = self.lock();
        let delayed = window.delayed.first_key_value().map(|((at, _), _)| *at);
        [delayed, window.more_at].into_iter().flatten().min()
    }

    pub(crate) fn load(&self, due: Due, asked: usize) {
        let mut window = self.lock();
        window.more |= due.pending.len() >= asked;
        window.more_at = [window.more_at, due.next_at].into_iter().flatten().min();
        let now = now_ms();
        for pending in due.pending {
            if !window.known.insert(pending.seq) {
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
                window.known.remove(&pending.seq);
                window.more_at = Some(window.more_at.map_or(at, |other| other.min(at)));
            }
            None => {
                window.known.remove(&pending.seq);
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
