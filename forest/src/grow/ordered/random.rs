//! Cuts drawn at random, as extremely randomised trees have them, in scikit-learn's order of rows.

use super::OrderedSplitter;
use crate::grow::FEATURE_THRESHOLD;
use crate::grow::drawn::{Drawn, range, read, round_down};
use crate::grow::measure::Measure;
use crate::grow::node::{Bounds, Cut};
use crate::grow::term::{Term, ToBeat};
use crate::random::Xorshift;

/// Values that are made bits of together.
const GROUP: usize = 8;
/// Rows that a word has a bit for.
const WORD: usize = u64::BITS as usize;

impl<M: Measure> OrderedSplitter<'_, M> {
    /// Draws a cut between the least and the largest value of the node.
    pub(super) fn search_random(
        &mut self,
        feature: usize,
        bounds: Bounds,
        stream: &mut Xorshift,
        best: &mut Option<Cut>,
    ) -> bool {
        self.partitioned_by = None;
        let node = self.start..self.end;
        let values = &mut self.values[node.clone()];
        read(self.frame.column(feature), &self.rows[node], values);
        let (low, high, n_missing) = range(values);
        if n_missing == values.len() || n_missing == 0 && high <= low + FEATURE_THRESHOLD {
            return false;
        }
        let Drawn { threshold, missing_left } = Drawn::new(stream, low, high, n_missing > 0);
        let position = self.start + self.partition_at_hand(threshold, missing_left.unwrap_or(false));
        self.partitioned_by = Some(feature);
        if self.terms.is_empty() || self.plan.sign(feature) != 0 {
            self.reset();
            self.consider(position, feature, threshold, missing_left, bounds, best);
        } else {
            self.position = position;
            if let Some(score) = self.score_numbers(best.as_ref()) {
                let missing_go_to_left = missing_left.unwrap_or(position - self.start > self.end - position);
                *best = Some(Cut { feature, threshold, missing_go_to_left, score });
            }
        }
        true
    }

    /// The score of the cut that the node's rows are partitioned by, if it is allowed and beats the best one:
    /// [`OrderedSplitter::consider`] where sums are single numbers and no constraint has a say.
    fn score_numbers(&self, best: Option<&Cut>) -> Option<f64> {
        let (low, high) = self.rows[self.start..self.end].split_at(self.position - self.start);
        if low.len().min(high.len()) < self.plan.min_samples_leaf {
            return None;
        }
        let total = Term { sum: self.total.sums[0], weight: self.total.weight };
        let mut left = Term::default();
        if low.len() <= high.len() {
            for row in low {
                left.add(self.terms[*row as usize]);
            }
        } else {
            left = total;
            for row in high.iter().rev() {
                left.remove(self.terms[*row as usize]);
            }
        }
        let right = Term { sum: total.sum - left.sum, weight: total.weight - left.weight };
        if left.weight < self.min_weight_leaf || right.weight < self.min_weight_leaf {
            return None;
        }
        let mut to_beat = ToBeat::new(best.map_or(f64::NEG_INFINITY, |best| best.score));
        to_beat.is_beaten_by(left, right).then_some(to_beat.score)
    }

    /// Moves the rows of the node to the sides of a threshold, in scikit-learn's order, and returns the border.
    pub(super) fn partition(&mut self, feature: usize, threshold: f64, missing_left: bool) -> usize {
        let node = self.start..self.end;
        read(self.frame.column(feature), &self.rows[node.clone()], &mut self.values[node]);
        self.start + self.partition_at_hand(threshold, missing_left)
    }

    /// The same by the values at hand; returns how many rows go left.
    fn partition_at_hand(&mut self, threshold: f64, missing_left: bool) -> usize {
        let limit = round_down(threshold);
        let words = self.values[self.start..self.end].chunks(WORD);
        self.low.clear();
        if missing_left {
            self.low.extend(words.map(|values| word(values, |value| (value <= limit) | value.is_nan())));
        } else {
            self.low.extend(words.map(|values| word(values, |value| value <= limit)));
        }
        partition(&mut self.rows[self.start..self.end], &self.low)
    }
}

/// A bit for each of at most [`WORD`] values.
fn word(values: &[f32], is_set: impl Fn(f32) -> bool) -> u64 {
    let bits =
        |values: &[f32]| values.iter().enumerate().fold(0, |bits, (at, value)| bits | u64::from(is_set(*value)) << at);
    let (groups, rest) = values.as_chunks::<GROUP>();
    groups.iter().rev().fold(bits(rest), |word, group| word << GROUP | bits(group))
}

/// Moves the rows whose bits are set to the front and returns how many they are, as scikit-learn's swaps do, of each other row with
/// the last of those not seen yet.
///
/// Those in the front that have no bit change places with those in the back that have one, last first; and in the back each row
/// without a bit moves one place towards the front, so that the first of the front's is behind them and the others where those were
/// that left.
fn partition(rows: &mut [u32], low: &[u64]) -> usize {
    let n_low = low.iter().map(|word| word.count_ones() as usize).sum();
    let (front, back) = rows.split_at_mut(n_low);
    let [first, ..] = *back else { return n_low };
    back.copy_within(1.., 0);
    let mut to = back.len() - 1;
    // As many rows in the back have a bit as have none in the front.
    let (mut late_at, mut late) = (low.len(), 0_u64);
    for (at, word) in low[..n_low.div_ceil(WORD)].iter().enumerate() {
        let mut early = !word;
        if n_low - at * WORD < WORD {
            early &= (1 << (n_low - at * WORD)) - 1;
        }
        while early != 0 {
            let from = at * WORD + early.trailing_zeros() as usize;
            early &= early - 1;
            while late == 0 {
                late_at -= 1;
                late = low[late_at];
            }
            let bit = late.ilog2() as usize;
            late ^= 1 << bit;
            let place = late_at * WORD + bit - n_low;
            let row = front[from];
            if place == 0 {
                (front[from], back[to]) = (first, row);
                return n_low;
            }
            (front[from], back[to]) = (back[place - 1], row);
            to = place - 1;
        }
    }
    back[to] = first;
    n_low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomState;

    #[test]
    fn rows_are_partitioned_as_by_swaps() {
        let mut stream = RandomState::new(9);
        for n in (1..=2 * WORD + 1).chain([1000]) {
            for _ in 0..100 {
                let share = f64::from(stream.randint(11)) / 10.0;
                let values: Vec<f32> = (0..n).map(|_| f32::from(u8::from(stream.random_sample() >= share))).collect();
                let mut rows: Vec<u32> = (0..).take(n).collect();
                let mut swapped = rows.clone();
                let (mut at, mut end) = (0, n);
                while at < end {
                    if values[swapped[at] as usize] <= 0.0 {
                        at += 1;
                    } else {
                        end -= 1;
                        swapped.swap(at, end);
                    }
                }
                let low: Vec<u64> = values.chunks(WORD).map(|values| word(values, |value| value <= 0.0)).collect();
                assert_eq!((partition(&mut rows, &low), rows), (end, swapped), "{values:?}");
            }
        }
    }
}
