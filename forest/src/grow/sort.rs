//! Sorting values together with their rows, in the very order that scikit-learn's trees use.
//!
//! Where sums depend on the order of rows, so does the order of equal values: they are left as [`Introsort`] leaves them.

use super::introsort::{self, INSERTION_MAX, Introsort, Known, key};
use super::kept;
use super::ranks::{ordered, value};
use crate::kernel::Level;

/// Ties are many where there is more than one in so many rows: introsort then has to do nearly all that it does for a whole sort.
const TIE_PARTS: usize = 8;
/// After so many more nodes with many ties than without, those of a size go to introsort at once.
const FAILURES_MAX: i8 = 3;
/// Nodes without many ties that make up for as many with them.
const SUCCESSES_MAX: i8 = 4;

/// Sorts nodes' values, and knows for each feature and size of node (by its logarithm) whether there are mostly many ties.
#[derive(Debug)]
pub(super) struct Sorter {
    /// Each value's order, above, and its row, as they came.
    pairs: Vec<u64>,
    /// The same, sorted by value.
    sorted: Vec<u64>,
    /// The values that are there more than once, ascending.
    ties: Vec<u32>,
    introsort: Introsort,
    /// Whether nothing depends on the order of equal values.
    any_order: bool,
    /// Successes less failures.
    scores: Vec<[i8; usize::BITS as usize]>,
}

impl Sorter {
    pub(super) fn new(n_features: usize, level: Level, any_order: bool) -> Self {
        let scores = vec![[0; usize::BITS as usize]; n_features];
        Self {
            pairs: Vec::new(),
            sorted: Vec::new(),
            ties: Vec::new(),
            introsort: Introsort::new(level),
            any_order,
            scores,
        }
    }

    /// Sorts `values` of a feature ascending and moves `rows` alike. The values must not be NaN. Where all are different there
    /// is one order, whatever finds it; equal ones are left, unless any order will do, in the order in which introsort leaves them.
    /// Returns the pairs of values and rows by value, equal ones in any order, where that is of use to [`Sorter::sort_known`].
    pub(super) fn sort(&mut self, feature: usize, values: &mut [f32], rows: &mut [u32]) -> Option<&[u64]> {
        let log = values.len().checked_ilog2()?;
        self.fill(values, rows);
        let score = &mut self.scores[feature][log as usize];
        // Among so many rows some values are equal.
        let is_large = values.len() > kept::ROWS_MAX;
        if is_large && self.any_order {
            self.pairs.sort_unstable();
            unpack(&self.pairs, values, rows);
            return None;
        }
        if values.len() <= INSERTION_MAX || is_large || *score <= -FAILURES_MAX {
            self.introsort.sort(&mut self.pairs, None);
            unpack(&self.pairs, values, rows);
            return None;
        }
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.pairs);
        self.sorted.sort_unstable();
        if self.any_order {
            unpack(&self.sorted, values, rows);
            return Some(&self.sorted);
        }
        let many_ties = find_ties(&self.sorted, &mut self.ties);
        *score = if many_ties { *score - 1 } else { SUCCESSES_MAX.min(*score + 1) };
        if many_ties {
            self.introsort.sort(&mut self.pairs, None);
            unpack(&self.pairs, values, rows);
            return None;
        }
        self.order_ties();
        unpack(&self.sorted, values, rows);
        Some(&self.sorted)
    }

    /// [`Sorter::sort`] of values, read from `column`, whose order is known but for that of equal ones. Returns whether that was of
    /// use.
    pub(super) fn sort_known(&mut self, column: &[f32], known: &[u64], values: &mut [f32], rows: &mut [u32]) -> bool {
        let many_ties = !self.any_order && find_ties(known, &mut self.ties);
        if self.any_order || self.ties.is_empty() {
            unpack(known, values, rows);
            return true;
        }
        for (value, row) in values.iter_mut().zip(&*rows) {
            *value = column[*row as usize];
        }
        self.fill(values, rows);
        if many_ties {
            self.introsort.sort(&mut self.pairs, None);
            unpack(&self.pairs, values, rows);
        } else {
            self.sorted.clear();
            self.sorted.extend_from_slice(known);
            self.order_ties();
            unpack(&self.sorted, values, rows);
        }
        !many_ties
    }

    fn fill(&mut self, values: &[f32], rows: &[u32]) {
        self.pairs.clear();
        self.pairs.extend(
            values.iter().zip(rows).map(|(value, row)| u64::from(ordered(*value + 0.0)) << 32 | u64::from(*row)),
        );
    }

    /// Brings equal values in `sorted` into the order that introsort leaves them in, which is all that it is asked for: parts
    /// without equal values are left as they are.
    fn order_ties(&mut self) {
        if self.ties.is_empty() {
            return;
        }
        self.introsort.sort(&mut self.pairs, Some(Known { sorted: &self.sorted, ties: &self.ties }));
        let mut place = 0;
        for tie in &self.ties {
            place += self.sorted[place..].partition_point(|pair| key(*pair) < *tie);
            let n = self.sorted[place..].iter().take_while(|pair| key(**pair) == *tie).count();
            self.sorted[place..place + n].copy_from_slice(&self.pairs[place..place + n]);
            place += n;
        }
    }
}

/// The values of sorted pairs that are there more than once; returns whether they are many.
fn find_ties(sorted: &[u64], ties: &mut Vec<u32>) -> bool {
    ties.clear();
    for pair in sorted.windows(2) {
        let (before, here) = (key(pair[0]), key(pair[1]));
        if before == here && ties.last() != Some(&here) {
            ties.push(here);
        }
    }
    ties.len() > sorted.len() / TIE_PARTS
}

/// The values and rows of pairs.
pub(super) fn unpack(pairs: &[u64], values: &mut [f32], rows: &mut [u32]) {
    for ((value, row), pair) in values.iter_mut().zip(rows).zip(pairs) {
        (*value, *row) = (self::value(key(*pair)), introsort::row(*pair));
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Sorter};
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
                Sorter::new(1, Level::best(), false).sort(0, &mut values, &mut rows);
                assert!(values.is_sorted());
                let moved: Vec<f32> = rows.iter().map(|row| original[*row as usize]).collect();
                assert_eq!(moved, values);
                rows.sort_unstable();
                assert!(rows.into_iter().eq(0..n));
            }
        }
    }
}
