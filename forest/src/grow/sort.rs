//! Sorting values together with their rows, in the very order that scikit-learn's trees use.
//!
//! Where sums depend on the order of rows, so does the order of equal values. This is introsort (Musser 1997) with the
//! pivot of "Engineering a sort function" (1993) and a three-way partition, as in scikit-learn's `utils/_sorting.pyx` (BSD-3-Clause).

use std::hint::select_unpredictable;

use super::ranks::{ordered, value};

/// Slices up to this length are sorted by insertion.
const INSERTION_MAX: usize = 15;
/// After so many more nodes with equal values than without, those of a size are taken to have some, and go to introsort at once.
const FAILURES_MAX: i8 = 3;
/// Nodes without equal values that make up for as many with some.
const SUCCESSES_MAX: i8 = 4;

/// Sorts nodes' values, and knows for each feature and size of node (by its logarithm) whether values are mostly different.
#[derive(Debug)]
pub(super) struct Sorter {
    /// A value's order, above, and its row.
    pairs: Vec<u64>,
    /// Successes less failures.
    scores: Vec<[i8; usize::BITS as usize]>,
}

impl Sorter {
    pub(super) fn new(n_features: usize) -> Self {
        Self { pairs: Vec::new(), scores: vec![[0; usize::BITS as usize]; n_features] }
    }

    /// Sorts `values` of a feature ascending and moves `rows` alike. The values must not be NaN. Where all are different there
    /// is one order, whatever finds it; equal ones are left in the order in which introsort leaves them.
    pub(super) fn sort(&mut self, feature: usize, values: &mut [f32], rows: &mut [u32]) {
        let Some(log) = values.len().checked_ilog2() else { return };
        let fill = |pairs: &mut Vec<u64>| {
            pairs.clear();
            pairs.extend(
                values.iter().zip(&*rows).map(|(value, row)| u64::from(ordered(*value + 0.0)) << 32 | u64::from(*row)),
            );
        };
        fill(&mut self.pairs);
        let score = &mut self.scores[feature][log as usize];
        if values.len() <= INSERTION_MAX {
            insertion_sort(&mut self.pairs);
        } else if *score <= -FAILURES_MAX {
            introsort(&mut self.pairs, 2 * log);
        } else {
            self.pairs.sort_unstable();
            if self.pairs.windows(2).any(|pair| key(pair[0]) == key(pair[1])) {
                *score -= 1;
                fill(&mut self.pairs);
                introsort(&mut self.pairs, 2 * log);
            } else {
                *score = SUCCESSES_MAX.min(*score + 1);
            }
        }
        for ((value, row), pair) in values.iter_mut().zip(rows).zip(&self.pairs) {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the row")]
            let from = *pair as u32;
            (*value, *row) = (self::value(key(*pair)), from);
        }
    }
}

fn key(pair: u64) -> u32 {
    (pair >> 32) as u32
}

/// Median of the first, the middle and the last key.
fn median(pairs: &[u64]) -> u32 {
    let n = pairs.len();
    let (a, b, c) = (key(pairs[0]), key(pairs[n / 2]), key(pairs[n - 1]));
    a.min(b).max(a.max(b).min(c))
}

/// Sorts the pairs into below, at and above the pivot; returns where the last two parts begin. Which part a key belongs to cannot
/// be guessed, so nothing branches on it.
fn partition(pairs: &mut [u64], pivot: u32) -> (usize, usize) {
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

fn introsort(mut pairs: &mut [u64], mut depth_left: u32) {
    while pairs.len() > INSERTION_MAX {
        if depth_left == 0 {
            heap_sort(pairs);
            return;
        }
        depth_left -= 1;
        let (low, high) = partition(pairs, median(pairs));
        introsort(&mut pairs[..low], depth_left);
        pairs = &mut pairs[high..];
    }
    insertion_sort(pairs);
}

#[cfg(test)]
mod tests {
    use super::{Sorter, introsort, key, ordered};
    use crate::random::RandomState;

    #[test]
    fn values_and_rows_stay_together_in_every_size_and_with_many_ties() {
        let mut stream = RandomState::new(1);
        for n in [0, 1, 2, 15, 16, 17, 100, 1000] {
            for bound in [2, 7, 1_000_000] {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let original: Vec<f32> = (0..n).map(|_| stream.randint(bound) as f32).collect();
                let mut values = original.clone();
                let mut rows: Vec<u32> = (0..n).collect();
                Sorter::new(1).sort(0, &mut values, &mut rows);
                assert!(values.is_sorted());
                let moved: Vec<f32> = rows.iter().map(|row| original[*row as usize]).collect();
                assert_eq!(moved, values);
                rows.sort_unstable();
                assert!(rows.into_iter().eq(0..n));
            }
        }
    }

    #[test]
    fn the_worst_case_for_the_pivot_ends_in_heap_sort() {
        let n = 4096_u16;
        // An organ pipe keeps the median of three at an end of every part. Each value is there twice.
        let pipe: Vec<f32> = (0..n).map(|at| f32::from(at.min(n - at))).collect();
        let pairs =
            || (0..).zip(&pipe).map(|(row, value)| u64::from(ordered(*value)) << 32 | row).collect::<Vec<u64>>();
        let (mut values, mut rows) = (pipe.clone(), (0..u32::from(n)).collect::<Vec<u32>>());
        Sorter::new(1).sort(0, &mut values, &mut rows);
        let mut without_end = pairs();
        introsort(&mut without_end, u32::MAX);
        assert!(values.is_sorted() && without_end.is_sorted_by_key(|pair| key(*pair)));
        // Heap sort, which nothing else calls, leaves ties in another order.
        assert!(!without_end.iter().map(|pair| pair & u64::from(u32::MAX)).eq(rows.into_iter().map(u64::from)));
    }
}
