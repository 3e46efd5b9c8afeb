//! `aggregate`: replicas with one processor each, whose decisions are real and measured.

use std::time::{Duration, Instant};

/// Questions to the store per event: the history is read, the fact is appended.
const QUESTIONS: u32 = 2;

/// What work that is not simulated costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// One question to the store, during which the processor is free.
    pub(crate) store: Duration,
    /// Processor time for reading and hashing a data set.
    pub(crate) open: Duration,
    /// Processor time for putting a forest together and evaluating it.
    pub(crate) merge: Duration,
    /// What naming one stream costs a tick.
    pub(crate) name: Duration,
}

/// What the coordinator has done and how long it took.
#[derive(Debug)]
pub(crate) struct Coordinator {
    /// When each replica is free again.
    free_at: Vec<Duration>,
    pub(crate) costs: Costs,
    /// Wall times of the real decisions about events.
    decided: Vec<Duration>,
    /// Wall times of the real looks at jobs during ticks.
    looked: Vec<Duration>,
    /// Time in all during which a processor was at work, simulated work included.
    pub(crate) busy: Duration,
    pub(crate) tick_longest: Duration,
    /// Seconds that each event waited for a replica.
    pub(crate) waits: Vec<f32>,
}

impl Coordinator {
    pub(crate) fn new(replicas: u32, costs: Costs) -> Self {
        Self {
            free_at: vec![Duration::ZERO; replicas as usize],
            costs,
            decided: Vec::new(),
            looked: Vec::new(),
            busy: Duration::ZERO,
            tick_longest: Duration::ZERO,
            waits: Vec::new(),
        }
    }

    /// Decides about an event that comes at `now`; `more` says what else the decision costs. Gives when the answer is out.
    pub(crate) fn event<T>(
        &mut self,
        now: Duration,
        decide: impl FnOnce() -> T,
        more: impl FnOnce(&T, Costs) -> Duration,
    ) -> (T, Duration) {
        let began = Instant::now();
        let decision = decide();
        let decided = began.elapsed();
        self.decided.push(decided);
        let work = decided + more(&decision, self.costs);
        let (waited, done) = self.occupy(now, work);
        self.waits.push(waited.as_secs_f32());
        (decision, done + self.costs.store * QUESTIONS)
    }

    /// Looks at one job during a tick.
    pub(crate) fn look<T>(&mut self, decide: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let decision = decide();
        self.looked.push(began.elapsed());
        decision
    }

    /// A tick that has named all streams and looked at `open` jobs, one question after the other. The processor is busy for a
    /// part of that time only.
    pub(crate) fn tick(&mut self, now: Duration, streams: u64, open: usize) {
        let looks = self.looked.get(self.looked.len().saturating_sub(open)..).unwrap_or_default();
        let open = open as u64;
        let work = self.costs.name.mul_f64(count(streams)) + median(looks).mul_f64(count(open));
        self.occupy(now, work);
        self.tick_longest = self.tick_longest.max(work + self.costs.store.mul_f64(count(open)));
    }

    fn occupy(&mut self, now: Duration, work: Duration) -> (Duration, Duration) {
        self.busy += work;
        let Some(first) = self.free_at.iter_mut().min() else { return (Duration::ZERO, now + work) };
        let start = now.max(*first);
        *first = start + work;
        (start.saturating_sub(now), *first)
    }

    /// Events that were decided about.
    pub(crate) fn events(&self) -> usize {
        self.decided.len()
    }

    /// Looks at jobs during ticks.
    pub(crate) fn looks(&self) -> usize {
        self.looked.len()
    }

    /// What one real decision about an event takes.
    pub(crate) fn event_time(&self) -> Duration {
        median(&self.decided)
    }

    /// What one real look at a job takes.
    pub(crate) fn look_time(&self) -> Duration {
        median(&self.looked)
    }
}

/// Other programs of the machine interrupt some of what is timed: those do not count.
fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    let middle = times.len() / 2;
    if times.is_empty() { Duration::ZERO } else { *times.select_nth_unstable(middle).1 }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}
