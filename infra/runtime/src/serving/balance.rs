//! Which replica gets the next request.
//!
//! Behaviour of Knative's activator: with a concurrency limit a request takes a slot of a replica or waits; without
//! one it goes to the less busy of two replicas picked at random.

use fastrand::Rng;

use super::table::{Phase, Slot};

/// Requests sent to a replica that inherited its socket before it has answered anything. They wait in the socket's
/// backlog, so the start costs no probe; the rest waits here, so the backlog never overflows.
pub(super) const EARLY_REQUESTS_MAX: usize = 64;

/// From this concurrency limit on requests go round; below it the first replica with a free slot takes them.
const ROUND_ROBIN_FROM: u32 = 4;

/// What choices so far leave for the next.
#[derive(Debug)]
pub(super) struct Balance {
    next: usize,
    random: Rng,
}

impl Default for Balance {
    fn default() -> Self {
        Self { next: 0, random: Rng::with_seed(0) }
    }
}

impl Balance {
    /// The place of a replica with a free slot; `concurrency` is the limit per replica, 0 for none.
    pub(super) fn choose(&mut self, slots: &[Slot], concurrency: u32) -> Option<usize> {
        let limit = if concurrency == 0 { usize::MAX } else { usize::try_from(concurrency).unwrap_or(usize::MAX) };
        let free = |slot: &Slot| match slot.phase {
            Phase::Ready => slot.in_flight < limit,
            Phase::Early => slot.in_flight < limit.min(EARLY_REQUESTS_MAX),
            Phase::Down | Phase::Draining => false,
        };
        if let [only] = slots {
            return free(only).then_some(0);
        }
        let ready = slots.iter().any(|slot| slot.phase == Phase::Ready && free(slot));
        let usable: Vec<usize> = slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| free(slot) && (!ready || slot.phase == Phase::Ready))
            .map(|(index, _)| index)
            .collect();
        match (usable.as_slice(), concurrency) {
            ([], _) => None,
            ([only], _) => Some(*only),
            (several, 0) => self.less_busy_of_two(slots, several),
            ([first, ..], 1..ROUND_ROBIN_FROM) => Some(*first),
            (several, _) => {
                self.next = self.next.wrapping_add(1);
                several.get(self.next % several.len()).copied()
            }
        }
    }

    fn less_busy_of_two(&mut self, slots: &[Slot], several: &[usize]) -> Option<usize> {
        let count = several.len();
        let first = self.random.usize(..count);
        let second = (first + self.random.usize(1..count)) % count;
        let busy = |at: usize| several.get(at).and_then(|&index| slots.get(index)).map_or(0, |slot| slot.in_flight);
        let chosen = if busy(second) < busy(first) { second } else { first };
        several.get(chosen).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::super::replica::{Replica, Socket};
    use super::*;

    /// Numbers, from 1, of the ready replicas that `count` requests get, all of them staying.
    fn spread(concurrency: u32, replicas: u64, count: usize) -> Vec<usize> {
        let replica = |number| Replica::new("r", number, Socket::default(), None, CancellationToken::new()).unwrap();
        let mut slots: Vec<Slot> = (1..=replicas)
            .map(|number| Slot { replica: Arc::new(replica(number)), phase: Phase::Ready, in_flight: 0 })
            .collect();
        let mut balance = Balance::default();
        let next = |_| {
            let at = balance.choose(&slots, concurrency)?;
            slots[at].in_flight += 1;
            Some(at + 1)
        };
        (0..count).map_while(next).collect()
    }

    #[test]
    fn small_limits_fill_one_replica_after_the_other() {
        assert_eq!(spread(2, 3, 9), [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn larger_limits_go_round() {
        let mut first = spread(4, 3, 3);
        first.sort_unstable();
        assert_eq!(first, [1, 2, 3]);
        assert_eq!(spread(4, 3, 20).len(), 12);
    }

    #[test]
    fn without_a_limit_load_is_even() {
        let numbers = spread(0, 2, 100);
        let first = numbers.iter().filter(|number| **number == 1).count();
        assert!((49..=51).contains(&first), "of two always the less busy: {first}");
    }
}
