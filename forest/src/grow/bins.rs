//! What all trees of a fit share with `splitter = "hist"`: every value's bin among at most 255 of its feature.

use rayon::prelude::*;

use super::Cancel;
use super::ranks::sorted;
use super::scan::half_way;
use crate::frame::Frame;

/// The code of rows without a value.
pub(super) const MISSING: u8 = u8::MAX;

/// Every row's bin in each feature. Bins hold about as many rows each; equal values share one.
#[derive(Debug)]
pub(crate) struct Bins {
    n_rows: usize,
    /// Column-major, `(n_features, n_rows)`.
    codes: Vec<u8>,
    /// By feature: half way between the last value of a bin and the first of the next, one fewer than bins.
    thresholds: Vec<Vec<f64>>,
}

impl Bins {
    pub(crate) fn new(frame: &Frame, max_bins: usize, cancel: Cancel<'_>) -> Self {
        let n_rows = frame.n_samples();
        let mut codes = vec![MISSING; n_rows * frame.n_features()];
        let thresholds = codes
            .par_chunks_mut(n_rows)
            .enumerate()
            .take_any_while(|_| !cancel.is_raised())
            .map(|(feature, codes)| fill(frame.column(feature), max_bins, codes))
            .collect();
        Self { n_rows, codes, thresholds }
    }

    /// Bins of one feature by row, `(n_rows,)`.
    pub(super) fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature * self.n_rows..(feature + 1) * self.n_rows]
    }

    /// The threshold between a bin and the next one.
    pub(super) fn threshold(&self, feature: usize, bin: usize) -> f64 {
        self.thresholds[feature].get(bin).copied().unwrap_or(f64::INFINITY)
    }

    /// The last bin whose values are up to a threshold of this feature.
    pub(super) fn bin(&self, feature: usize, threshold: f64) -> usize {
        self.thresholds[feature].partition_point(|other| *other < threshold)
    }
}

/// Fills in the codes of one column and returns its thresholds.
fn fill(values: &[f32], max_bins: usize, codes: &mut [u8]) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the row")]
    let rows: Vec<usize> = sorted(values).iter().map(|pair| *pair as u32 as usize).collect();
    let n_present = rows.iter().position(|row| values[*row].is_nan()).unwrap_or(rows.len());
    let rows = &rows[..n_present];
    let differs = |at: usize| values[rows[at]] > values[rows[at - 1]];
    let n_distinct = (1..rows.len()).filter(|at| differs(*at)).count() + 1;
    let few = n_distinct <= max_bins;
    let mut thresholds = Vec::new();
    for (at, &row) in rows.iter().enumerate() {
        // A bin ends with the value that brings the rows so far to its share of all rows.
        if at > 0 && differs(at) && (few || at * max_bins >= (thresholds.len() + 1) * rows.len()) {
            thresholds.push(half_way(values[rows[at - 1]], values[row]));
        }
        codes[row] = u8::try_from(thresholds.len()).unwrap_or(MISSING - 1);
    }
    thresholds
}

#[cfg(test)]
mod tests {
    use super::{MISSING, fill};

    #[test]
    fn few_values_have_a_bin_each_and_missing_ones_none() {
        let mut codes = [MISSING; 6];
        let thresholds = fill(&[2.0, f32::NAN, -1.0, 2.0, 5.0, 0.0], 4, &mut codes);
        assert_eq!((codes, thresholds), ([2, MISSING, 0, 2, 3, 1], vec![-0.5, 1.0, 3.5]));
        let mut codes = [0; 2];
        assert_eq!((fill(&[f32::NAN; 2], 255, &mut codes), codes), (vec![], [0; 2]));
    }

    #[test]
    fn many_values_fill_bins_alike() {
        let values: Vec<f32> = (0..1000_u16).map(f32::from).collect();
        let mut codes = [0; 1000];
        let thresholds = fill(&values, 10, &mut codes);
        assert_eq!(thresholds, [99.5, 199.5, 299.5, 399.5, 499.5, 599.5, 699.5, 799.5, 899.5]);
        assert_eq!((codes[99], codes[100], codes[999]), (0, 1, 9));
        // One value with most of the rows takes the shares of several bins.
        let tied: Vec<f32> = values.iter().map(|value| value.max(700.0)).collect();
        let thresholds = fill(&tied, 10, &mut codes);
        assert_eq!((codes[0], codes[701], thresholds.len()), (0, 1, codes[999].into()));
        for max_bins in [2, 3, 7, 255] {
            assert!(fill(&values, max_bins, &mut codes).len() < max_bins);
        }
    }
}
