//! Who serves and who waits: the replicas of one revision, their slots, and the queue of requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::balance::Balance;
use super::load::{Load, Taken};
use super::replica::Replica;

/// Requests that may wait per revision, as in Knative's activator.
pub(crate) const QUEUE_DEPTH_MAX: usize = 10_000;

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No process, or one that cannot be reached yet.
    Down,
    /// A process with an inherited socket that has not answered yet.
    Early,
    /// It has answered.
    Ready,
    /// It takes no new requests.
    Draining,
}

/// A replica, and the requests inside it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) replica: Arc<Replica>,
    pub(super) phase: Phase,
    pub(super) in_flight: usize,
}

#[derive(Debug)]
struct Waiter {
    lease: oneshot::Sender<Result<Lease, Refusal>>,
}

/// Why a request gets no replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// [`QUEUE_DEPTH_MAX`] requests are waiting already.
    #[error("pending request queue full")]
    QueueFull,
    /// The revision cannot serve.
    #[error("{0}")]
    Unavailable(String),
}

/// What a request gets.
#[derive(Debug)]
pub(crate) enum Turn {
    /// A slot, now.
    Now(Lease),
    /// A slot, later. `starts` says that the revision is at zero and somebody has to start a replica.
    Later { lease: oneshot::Receiver<Result<Lease, Refusal>>, starts: bool },
}

/// A slot of a replica; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Lease {
    replica: Arc<Replica>,
    table: Arc<Table>,
}

impl Lease {
    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        if let Some(slot) = state.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.replica, &self.replica)) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            if slot.in_flight == 0 && slot.phase == Phase::Draining {
                slot.replica.drained.notify_one();
            }
        }
        self.table.hand_out(state);
    }
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    waiting: VecDeque<Waiter>,
    load: Load,
    balance: Balance,
    started: u64,
}

/// Numbers for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) ready: usize,
    pub(crate) starting: usize,
    pub(crate) draining: usize,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
}

impl Counts {
    /// No replicas and no requests.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The replicas and the queue of one revision.
#[derive(Debug)]
pub(crate) struct Table {
    concurrency: u32,
    state: Mutex<State>,
}

impl Table {
    /// `concurrency` is the revision's `containerConcurrency`, 0 for no limit.
    pub(crate) fn new(concurrency: u32) -> Self {
        let state = State {
            slots: Vec::new(),
            waiting: VecDeque::new(),
            load: Load::new(Instant::now()),
            balance: Balance::default(),
            started: 0,
        };
        Self { concurrency, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot, or a place in the queue.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Turn, Refusal> {
        let mut state = self.lock();
        if state.waiting.is_empty()
            && let Some(replica) = state.pick(self.concurrency)
        {
            return Ok(Turn::Now(Lease { replica, table: Arc::clone(self) }));
        }
        if state.waiting.len() >= QUEUE_DEPTH_MAX {
            state.waiting.retain(|waiter| !waiter.lease.is_closed());
            if state.waiting.len() >= QUEUE_DEPTH_MAX {
                return Err(Refusal::QueueFull);
            }
        }
        let (sender, lease) = oneshot::channel();
        state.waiting.push_back(Waiter { lease: sender });
        let starts = state.slots.iter().all(|slot| slot.phase == Phase::Draining);
        Ok(Turn::Later { lease, starts })
    }

    /// Counts a request from its arrival to its end.
    pub(crate) fn arrive(self: &Arc<Self>) -> Arrival {
        self.lock().load.arrive(Instant::now());
        Arrival { table: Arc::clone(self) }
    }

    /// The load since the last call, and the requests present now.
    pub(crate) fn take_load(&self) -> (Taken, u32) {
        let mut state = self.lock();
        (state.load.take(Instant::now()), state.load.present())
    }

    /// Puts a replica in, unless there are `at_most` that are not draining. `make` gets the replica's number, from 1.
    pub(crate) fn try_add(
        &self,
        at_most: usize,
        make: impl FnOnce(u64) -> Option<Arc<Replica>>,
    ) -> Option<Arc<Replica>> {
        let mut state = self.lock();
        if state.live() >= at_most {
            return None;
        }
        let replica = make(state.started + 1)?;
        state.started += 1;
        state.slots.push(Slot { replica: Arc::clone(&replica), phase: Phase::Down, in_flight: 0 });
        Some(replica)
    }

    /// Takes a replica out.
    pub(crate) fn remove(&self, replica: &Arc<Replica>) {
        self.lock().slots.retain(|slot| !Arc::ptr_eq(&slot.replica, replica));
    }

    /// Says how far a replica is; gives requests out if it can take some. False when it was there already, or drains.
    pub(crate) fn set_phase(self: &Arc<Self>, replica: &Arc<Replica>, phase: Phase) -> bool {
        let mut state = self.lock();
        let Some(slot) = state.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.replica, replica)) else {
            return false;
        };
        if slot.phase == phase || slot.phase == Phase::Draining || (slot.phase == Phase::Ready && phase == Phase::Early)
        {
            return false;
        }
        slot.phase = phase;
        self.hand_out(state);
        true
    }

    /// Marks replicas for draining until `keep` are left, and returns those marked: first those that are not ready,
    /// then the least busy, then the youngest.
    pub(crate) fn drain_down_to(&self, keep: usize) -> Vec<Arc<Replica>> {
        let mut state = self.lock();
        let excess = state.live().saturating_sub(keep);
        let mut live: Vec<&mut Slot> = state.slots.iter_mut().filter(|slot| slot.phase != Phase::Draining).collect();
        live.sort_by_key(|slot| (slot.phase == Phase::Ready, slot.in_flight, std::cmp::Reverse(slot.replica.number)));
        let mut marked = Vec::new();
        for slot in live.into_iter().take(excess) {
            slot.phase = Phase::Draining;
            if slot.in_flight == 0 {
                slot.replica.drained.notify_one();
            }
            marked.push(Arc::clone(&slot.replica));
        }
        marked
    }

    /// Refuses all that wait.
    pub(crate) fn refuse_waiting(&self, refusal: &Refusal) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for waiter in waiting {
            drop(waiter.lease.send(Err(refusal.clone())));
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        let count = |phases: &[Phase]| state.slots.iter().filter(|slot| phases.contains(&slot.phase)).count();
        Counts {
            ready: count(&[Phase::Ready]),
            starting: count(&[Phase::Down, Phase::Early]),
            draining: count(&[Phase::Draining]),
            in_flight: state.slots.iter().map(|slot| slot.in_flight).sum(),
            waiting: state.waiting.iter().filter(|waiter| !waiter.lease.is_closed()).count(),
        }
    }

    /// Gives free slots to those who wait. Takes the guard, because a lease that nobody wants is dropped outside of it.
    fn hand_out(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.waiting.is_empty() {
            return;
        }
        let mut given = Vec::new();
        while !state.waiting.is_empty() {
            let Some(replica) = state.pick(self.concurrency) else {
                break;
            };
            if let Some(waiter) = state.waiting.pop_front() {
                given.push((waiter, Lease { replica, table: Arc::clone(self) }));
            }
        }
        drop(state);
        for (waiter, lease) in given {
            // A waiter that has gone returns its lease by dropping it, which hands out again.
            drop(waiter.lease.send(Ok(lease)));
        }
    }
}

impl State {
    fn live(&self) -> usize {
        self.slots.iter().filter(|slot| slot.phase != Phase::Draining).count()
    }

    /// Chooses a replica with a free slot and takes the slot.
    fn pick(&mut self, concurrency: u32) -> Option<Arc<Replica>> {
        let index = self.balance.choose(&self.slots, concurrency)?;
        let slot = self.slots.get_mut(index)?;
        slot.in_flight += 1;
        Some(Arc::clone(&slot.replica))
    }
}

/// A request that counts as load until this is dropped.
#[derive(Debug)]
pub(crate) struct Arrival {
    table: Arc<Table>,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.table.lock().load.leave(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::super::balance::EARLY_REQUESTS_MAX;
    use super::super::replica::Socket;
    use super::*;

    fn replica(number: u64) -> Arc<Replica> {
        Arc::new(Replica::new("r", number, Socket::default(), None, CancellationToken::new()).unwrap())
    }

    fn table(concurrency: u32, phases: &[Phase]) -> (Arc<Table>, Vec<Arc<Replica>>) {
        let table = Arc::new(Table::new(concurrency));
        let replicas: Vec<_> =
            phases.iter().map(|_| table.try_add(usize::MAX, |number| Some(replica(number))).unwrap()).collect();
        for (replica, phase) in replicas.iter().zip(phases) {
            table.set_phase(replica, *phase);
        }
        (table, replicas)
    }

    fn now(table: &Arc<Table>) -> Option<Lease> {
        match table.enter().unwrap() {
            Turn::Now(lease) => Some(lease),
            Turn::Later { .. } => None,
        }
    }

    #[test]
    fn an_early_replica_takes_what_its_backlog_holds() {
        let (table, replicas) = table(0, &[Phase::Early]);
        let leases: Vec<_> = (0..1000).map_while(|_| now(&table)).collect();
        assert_eq!(leases.len(), EARLY_REQUESTS_MAX);
        table.set_phase(&replicas[0], Phase::Ready);
        assert_eq!(table.counts().waiting, 0, "nobody waits behind a ready replica without a limit");
        assert_eq!(table.counts().in_flight, EARLY_REQUESTS_MAX);
    }

    #[test]
    fn a_freed_slot_goes_to_the_one_who_waited_longest() {
        let (table, _replicas) = table(1, &[Phase::Ready]);
        let running = now(&table).unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| match table.enter().unwrap() {
                Turn::Later { lease, starts } => {
                    assert!(!starts);
                    lease
                }
                Turn::Now(_) => panic!("over the limit"),
            })
            .collect();
        let mut waiting = waiting.into_iter();
        // The first to wait gives up.
        drop(waiting.next());
        drop(running);
        let next = waiting.next().unwrap().try_recv().unwrap().unwrap();
        let mut last = waiting.next().unwrap();
        assert!(last.try_recv().is_err());
        drop(next);
        assert!(last.try_recv().is_ok());
    }

    #[test]
    fn the_queue_has_an_end() {
        let (table, _) = table(1, &[]);
        let mut waiting: Vec<_> = (0..QUEUE_DEPTH_MAX)
            .map(|_| match table.enter().unwrap() {
                Turn::Later { lease, starts } => {
                    assert!(starts, "nobody is starting a replica");
                    lease
                }
                Turn::Now(_) => panic!("there is no replica"),
            })
            .collect();
        assert_eq!(table.enter().unwrap_err(), Refusal::QueueFull);
        waiting.pop();
        assert!(table.enter().is_ok(), "one has gone");
    }

    #[test]
    fn draining_begins_with_the_least_useful() {
        let (table, replicas) = table(1, &[Phase::Ready, Phase::Ready, Phase::Ready, Phase::Down]);
        let busy = now(&table).unwrap();
        assert_eq!(busy.replica().number, 1);
        let numbers = |replicas: Vec<Arc<Replica>>| replicas.iter().map(|replica| replica.number).collect::<Vec<_>>();
        assert_eq!(numbers(table.drain_down_to(2)), [4, 3]);
        assert_eq!(numbers(table.drain_down_to(2)), [0_u64; 0]);
        assert!(!table.set_phase(&replicas[3], Phase::Ready), "it stays draining");
        assert_eq!(numbers(table.drain_down_to(0)), [2, 1]);
        assert!(now(&table).is_none());
        assert_eq!(table.counts().draining, 4);
    }
}
