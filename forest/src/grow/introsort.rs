//! Introsort in scikit-learn's steps, so that equal keys end in its order.
//!
//! Introsort (Musser 1997) with the pivot of "Engineering a sort function" (1993) and a three-way partition, as in scikit-learn's
//! `utils/_sorting.pyx` (BSD-3-Clause). What a partition comes to is found without its swaps: [`Introsort::partition_by_parts`].

use std::collections::VecDeque;
use std::hint::select_unpredictable;

use super::kept::ROWS_MAX;
use crate::kernel::Level;
use crate::kernel::exchange::{self, Exchange};

/// Slices up to this length are sorted by insertion.
pub(super) const INSERTION_MAX: usize = 15;
/// Slices up to this length are partitioned swap by swap.
const SWAPS_MAX: usize = 24;
/// So are those of which more than one pair in so many is at the pivot.
const EQUAL_PARTS: usize = 16;
/// Pairs that are looked at to tell whether many are at the pivot.
const SAMPLE: usize = 8;

/// The key of a pair: its upper half.
pub(super) fn key(pair: u64) -> u32 {
    (pair >> 32) as u32
}

/// The row of a pair: its lower half.
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
pub(super) fn row(pair: u64) -> u32 {
    pair as u32
}

/// What is known of pairs before they are sorted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The same pairs, ascending by key.
    pub(super) sorted: &'a [u64],
    /// The keys of more than one pair, ascending.
    pub(super) ties: &'a [u32],
}

/// Sorts pairs by their keys.
#[derive(Debug)]
pub(super) struct Introsort {
    level: Level,
    /// Pairs at or below the pivot that lie where those above it will be, from the end on.
    late: Vec<u64>,
    /// Where in that part each of them is.
    places: Vec<u32>,
    /// Pairs above the pivot that lie where the others will be.
    early: Vec<u64>,
    /// Where among the others those at the pivot are.
    equal: Vec<usize>,
    queue: VecDeque<u64>,
}

impl Introsort {
    pub(super) fn new(level: Level) -> Self {
        let (late, places, early) = (Vec::new(), Vec::new(), Vec::new());
        Self { level, late, places, early, equal: Vec::new(), queue: VecDeque::new() }
    }

    /// Sorts pairs; where something is `known` of them, only so far that the places of ties are what they would be.
    pub(super) fn sort(&mut self, pairs: &mut [u64], known: Option<Known<'_>>) {
        if let Some(log) = pairs.len().checked_ilog2() {
            self.sort_within(pairs, 2 * log, known);
        }
    }

    /// As many partitions in one another as `depth_left` says; then heap sort.
    fn sort_within(&mut self, mut pairs: &mut [u64], mut depth_left: u32, mut known: Option<Known<'_>>) {
        while pairs.len() > INSERTION_MAX {
            if known.is_some_and(|known| known.ties.is_empty()) {
                return;
            }
            if depth_left == 0 {
                heap_sort(pairs);
                return;
            }
            depth_left -= 1;
            let pivot = median(pairs);
            let (low, high) = self.partition(pairs, pivot, known.map(|known| known.sorted));
            let below = known.map(|Known { sorted, ties }| Known {
                sorted: &sorted[..low],
                ties: &ties[..ties.partition_point(|tie| *tie < pivot)],
            });
            self.sort_within(&mut pairs[..low], depth_left, below);
            pairs = &mut pairs[high..];
            known = known.map(|Known { sorted, ties }| Known {
                sorted: &sorted[high..],
                ties: &ties[ties.partition_point(|tie| *tie <= pivot)..],
            });
        }
        match known {
            Some(known) => place_ties(pairs, known),
            None => insertion_sort(pairs),
        }
    }

    fn partition(&mut self, pairs: &mut [u64], pivot: u32, sorted: Option<&[u64]>) -> (usize, usize) {
        // Parts of the largest nodes would take as much memory again.
        if !(SWAPS_MAX + 1..=ROWS_MAX).contains(&pairs.len()) {
            return partition_by_swaps(pairs, pivot);
        }
        let (first, last) = bounds(pivot);
        let low = |pair: &u64| *pair < first;
        let not_above = |pair: &u64| *pair <= last;
        let (low, high) = match sorted {
            Some(sorted) => (sorted.partition_point(low), sorted.partition_point(not_above)),
            // A sample tells whether it is worth counting.
            None if has_many(pairs, pivot) => return partition_by_swaps(pairs, pivot),
            None => {
                (pairs.iter().filter(|pair| low(pair)).count(), pairs.iter().filter(|pair| not_above(pair)).count())
            }
        };
        if (high - low) * EQUAL_PARTS > pairs.len() {
            return partition_by_swaps(pairs, pivot);
        }
        self.partition_by_parts(pairs, pivot, high);
        (low, high)
    }

    /// What [`partition_by_swaps`] comes to, in passes whose steps do not wait for one another; `n_low` pairs are at or below the
    /// pivot.
    ///
    /// The swaps take the next pair from the front, or after one above the pivot from the back, which goes to the end of what is
    /// left. So the pairs at or below the pivot are taken as they stand in the front, but for those above it, in whose stead are
    /// those from the back, last first. In the back each pair above the pivot moves one place towards the front; where one at or
    /// below it was, and at the end, is one from the front. Pairs at the pivot wait in a queue between the parts: each one below
    /// that comes puts the first of them to its end.
    fn partition_by_parts(&mut self, pairs: &mut [u64], pivot: u32, n_low: usize) {
        let room = pairs.len();
        if self.late.len() < room {
            self.late.resize(room, 0);
            self.places.resize(room, 0);
            self.early.resize(room + 1, 0);
        }
        let bounds = bounds(pivot);
        let (front, back) = pairs.split_at_mut(n_low);
        let n_moved = exchange::late(self.level, back, bounds.1, &mut self.late, &mut self.places);
        self.equal.clear();
        let with = Exchange { bounds, late: &self.late, early: &mut self.early, found: &mut self.equal };
        exchange::exchange(self.level, front, with);
        self.place_equal(front);
        let [next, ..] = *back else { return };
        self.early[n_moved] = next;
        back.copy_within(1.., 0);
        for (place, pair) in self.places[..n_moved].iter().zip(&self.early[1..]) {
            if let Some(before) = place.checked_sub(1) {
                back[before as usize] = *pair;
            }
        }
        if let [.., end] = back {
            *end = self.early[0];
        }
    }

    /// Puts the pairs at the pivot behind those below it, in the order of their queue.
    fn place_equal(&mut self, front: &mut [u64]) {
        self.queue.clear();
        let (mut to, mut from) = (0, 0);
        for &at in &self.equal {
            let pair = front[at];
            front.copy_within(from..at, to);
            to += at - from;
            rotate(&mut self.queue, at - from);
            self.queue.push_back(pair);
            from = at + 1;
        }
        let n_after = front.len() - from;
        front.copy_within(from.., to);
        rotate(&mut self.queue, n_after);
        for (slot, pair) in front[to + n_after..].iter_mut().zip(&self.queue) {
            *slot = *pair;
        }
    }
}

/// Whether many pairs have a key, by a sample that leaves out those of which the pivot is one.
fn has_many(pairs: &[u64], pivot: u32) -> bool {
    let step = pairs.len() / SAMPLE;
    pairs.iter().skip(step / 3).step_by(step).filter(|pair| key(**pair) == pivot).count() > 1
}

/// The least and the largest pair of a key.
fn bounds(key: u32) -> (u64, u64) {
    (u64::from(key) << 32, u64::from(key) << 32 | u64::from(u32::MAX))
}

/// Puts the first of a queue to its end, so many times.
fn rotate(queue: &mut VecDeque<u64>, times: usize) {
    if queue.len() > 1 {
        queue.rotate_left(times % queue.len());
    }
}

/// Median of the first, the middle and the last key.
fn median(pairs: &[u64]) -> u32 {
    let n = pairs.len();
    let (a, b, c) = (key(pairs[0]), key(pairs[n / 2]), key(pairs[n - 1]));
    a.min(b).max(a.max(b).min(c))
}

/// Sorts the pairs into below, at and above the pivot; returns where the last two parts begin. Which part a key belongs to cannot
/// be guessed, so nothing branches on it.
fn partition_by_swaps(pairs: &mut [u64], pivot: u32) -> (usize, usize) {
    let (mut at, mut low, mut high) = (0, 0, pairs.len());
    while at < high {
        let key = key(pairs[at]);
        let (below, above) = (key < pivot, key > pivot);
        high -= usize::from(above);
        pairs.swap(at, select_unpredictable(above, high, select_unpredictable(below, low, at)));
        low += usize::from(below);
        at += usize::from(!above);
    }
    (low, high)
}

/// What [`insertion_sort`] does to the few pairs whose keys are ties: it leaves equal ones in the order in which they came.
fn place_ties(pairs: &mut [u64], known: Known<'_>) {
    let mut came = [0; INSERTION_MAX];
    let came = &mut came[..pairs.len()];
    came.copy_from_slice(pairs);
    for tie in known.ties {
        let start = known.sorted.iter().take_while(|pair| key(**pair) < *tie).count();
        let equal = came.iter().filter(|pair| key(**pair) == *tie);
        for (place, pair) in pairs[start..].iter_mut().zip(equal) {
            *place = *pair;
        }
    }
}

fn insertion_sort(pairs: &mut [u64]) {
    for from in 1..pairs.len() {
        let pair = pairs[from];
        let mut to = from;
        while to > 0 && key(pairs[to - 1]) > key(pair) {
            pairs[to] = pairs[to - 1];
            to -= 1;
        }
        pairs[to] = pair;
    }
}

fn heap_sort(pairs: &mut [u64]) {
    let n = pairs.len();
    for start in (0..=(n - 2) / 2).rev() {
        sift_down(pairs, start, n);
    }
    for end in (1..n).rev() {
        pairs.swap(0, end);
        sift_down(pairs, 0, end);
    }
}

fn sift_down(pairs: &mut [u64], mut root: usize, end: usize) {
    loop {
        let child = 2 * root + 1;
        let mut largest = root;
        if child < end && key(pairs[largest]) < key(pairs[child]) {
            largest = child;
        }
        if child + 1 < end && key(pairs[largest]) < key(pairs[child + 1]) {
            largest = child + 1;
        }
        if largest == root {
            return;
        }
        pairs.swap(root, largest);
        root = largest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomState;

    /// Pairs of keys below `bound`.
    fn pairs(stream: &mut RandomState, n: u32, bound: u32) -> Vec<u64> {
        (0..n).map(|row| u64::from(stream.randint(bound)) << 32 | u64::from(row)).collect()
    }

    #[test]
    fn a_partition_is_what_its_swaps_come_to() {
        let mut stream = RandomState::new(3);
        let levels = Level::all();
        for n in (1..80).chain([1000, 997]) {
            for bound in [1, 2, 3, 5, 20, 1_000_000] {
                for _ in 0..8 {
                    let given = pairs(&mut stream, n, bound);
                    let pivots = [median(&given), key(given[0]), bound / 2, 0, bound];
                    for pivot in pivots {
                        let mut swapped = given.clone();
                        let (_, n_low) = partition_by_swaps(&mut swapped, pivot);
                        for level in &levels {
                            let mut passed = given.clone();
                            Introsort::new(*level).partition_by_parts(&mut passed, pivot, n_low);
                            assert_eq!(passed, swapped, "{level:?}, {n} keys below {bound}, pivot {pivot}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_worst_case_for_the_pivot_ends_in_heap_sort() {
        let n = 4096_u32;
        // An organ pipe keeps the median of three at an end of every part. Each key is there twice.
        let pipe: Vec<u64> = (0..n).map(|at| u64::from(at.min(n - at)) << 32 | u64::from(at)).collect();
        let (mut sorted, mut without_end) = (pipe.clone(), pipe);
        Introsort::new(Level::best()).sort(&mut sorted, None);
        Introsort::new(Level::best()).sort_within(&mut without_end, u32::MAX, None);
        for pairs in [&sorted, &without_end] {
            assert!(pairs.is_sorted_by_key(|pair| key(*pair)));
        }
        // Heap sort, which nothing else calls, leaves ties in another order.
        assert_ne!(sorted, without_end);
    }

    /// Equal keys are where they would be, if nothing else is asked for.
    #[test]
    fn the_places_of_ties_are_those_of_the_whole_sort() {
        let mut stream = RandomState::new(4);
        for (n, bound) in [(40, 200), (300, 10_000), (5000, 100_000), (5000, 2000)] {
            let given = pairs(&mut stream, n, bound);
            let (mut whole, mut part, mut sorted) = (given.clone(), given.clone(), given);
            Introsort::new(Level::best()).sort(&mut whole, None);
            let mut ties: Vec<u32> =
                whole.windows(2).filter(|pair| key(pair[0]) == key(pair[1])).map(|pair| key(pair[0])).collect();
            ties.dedup();
            assert!(!ties.is_empty());
            sorted.sort_unstable();
            Introsort::new(Level::best()).sort(&mut part, Some(Known { sorted: &sorted, ties: &ties }));
            for (sorted, found) in whole.iter().zip(&part).filter(|(sorted, _)| ties.contains(&key(**sorted))) {
                assert_eq!(found, sorted, "{n} keys below {bound}");
            }
        }
    }
}
