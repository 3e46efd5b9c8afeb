//! What all trees of a fit share where nodes look at few features: every row's rank among the values of each feature.

use rayon::prelude::*;

use super::FEATURE_THRESHOLD;
use crate::frame::Frame;
use crate::kernel::keys::Codes;
use crate::kernel::{Level, Packing};
use crate::pages::Pages;

/// Every row's rank among the distinct values of each feature, NaN last.
#[derive(Debug)]
pub(crate) struct Ranks {
    pub(super) level: Level,
    pub(super) packing: Packing,
    n_rows: usize,
    /// Ranks by row, above the bits that an item holds below its row: column-major `(n_features, n_rows)`.
    keys: Pages<u32>,
    /// Ranks divided by so much that they fit one byte, row-major `(n_rows, n_features)`: most of what is read.
    codes: Pages<u8>,
    columns: Vec<Ranked>,
}

/// What is known of a column.
#[derive(Debug)]
struct Ranked {
    /// Ranks that share a code.
    code_step: u32,
    /// The key of rows without a value, if there are any.
    missing: Option<u32>,
    /// A bit by rank: set if the next value is too close to be cut apart from this one.
    close: Vec<u32>,
}

impl Ranks {
    /// `None` if the frame has not two classes, or too many rows for 32-bit keys.
    pub(crate) fn new(frame: &Frame, level: Level) -> Option<Self> {
        let n_rows = frame.n_samples();
        if frame.classes().len() != 2 {
            return None;
        }
        // One rank more than rows, for those without a value.
        let packing = Packing::new(n_rows + 1, 2)?;
        let mut keys = Pages::zeroed(n_rows * frame.n_features());
        let columns: Vec<Ranked> = keys
            .par_chunks_mut(n_rows)
            .enumerate()
            .map(|(feature, keys)| rank(frame.column(feature), packing, keys))
            .collect();
        let codes = codes(&columns, packing, n_rows, &keys);
        Some(Self { level, packing, n_rows, keys, codes, columns })
    }

    /// Codes of all rows.
    pub(super) fn codes(&self) -> Codes<'_> {
        Codes { bytes: &self.codes, n_features: self.columns.len() }
    }

    /// How many ranks of a feature share a code.
    pub(super) fn code_step(&self, feature: usize) -> u32 {
        self.columns[feature].code_step
    }

    /// Whether the feature has rows without a value.
    pub(super) fn has_missing(&self, feature: usize) -> bool {
        self.columns[feature].missing.is_some()
    }

    /// Ranks of one feature by row, `(n_rows,)`, in the place that they have in keys.
    pub(super) fn keys(&self, feature: usize) -> &[u32] {
        &self.keys[feature * self.n_rows..(feature + 1) * self.n_rows]
    }

    /// Whether a key is that of a row without a value.
    pub(super) fn is_missing(&self, feature: usize, key: u32) -> bool {
        self.columns[feature].missing.is_some_and(|missing| key >= missing)
    }

    /// Whether the feature's next value after a key's rank is too close to be cut apart from it. If not, then no values up to
    /// it and no values beyond it are.
    pub(super) fn is_close(&self, feature: usize, key: u32) -> bool {
        let rank = self.packing.row(key);
        self.columns[feature].close[(rank / 32) as usize] >> (rank % 32) & 1 == 1
    }
}

fn rank(values: &[f32], packing: Packing, keys: &mut [u32]) -> Ranked {
    let order = sorted(values);
    let mut close = vec![0; values.len() / 32 + 1];
    let (mut rank, mut missing) = (0, None);
    let mut before = f32::NAN;
    for (place, pair) in order.iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the row")]
        let row = *pair as u32 as usize;
        let value = values[row];
        if value.is_nan() {
            if missing.is_none() {
                rank += u32::from(place > 0);
                missing = Some(packing.item(rank, 0));
            }
        } else {
            // Two zeros of different signs are one value.
            if value > before {
                close[(rank / 32) as usize] |= u32::from(value <= before + FEATURE_THRESHOLD) << (rank % 32);
                rank += 1;
            }
            before = value;
        }
        keys[row] = packing.item(rank, 0);
    }
    let code_step = rank / (u32::from(u8::MAX) + 1) + 1;
    Ranked { code_step, missing, close }
}

/// Rows whose codes are written together, while they are in the cache.
const ROWS_TOGETHER: usize = 1024;

fn codes(columns: &[Ranked], packing: Packing, n_rows: usize, keys: &[u32]) -> Pages<u8> {
    let n_features = columns.len();
    let mut codes = Pages::zeroed(keys.len());
    codes.par_chunks_mut(ROWS_TOGETHER * n_features).enumerate().for_each(|(part, codes)| {
        for (feature, column) in columns.iter().enumerate() {
            let keys = &keys[feature * n_rows + part * ROWS_TOGETHER..(feature + 1) * n_rows];
            for (code, key) in codes.iter_mut().skip(feature).step_by(n_features).zip(keys) {
                *code = u8::try_from(packing.row(*key) / column.code_step).unwrap_or(u8::MAX);
            }
        }
    });
    codes
}

/// Digits of the sort: three of 11 bits make a value.
const DIGIT_BITS: u32 = 11;

/// Pairs of a value's order, above, and its row, in the order of the values: a radix sort from the lowest digit.
pub(super) fn sorted(values: &[f32]) -> Vec<u64> {
    const DIGITS: usize = 1 << DIGIT_BITS;
    let mut pairs: Vec<u64> = (0..).zip(values).map(|(row, value)| u64::from(ordered(*value)) << 32 | row).collect();
    let mut moved = vec![0; pairs.len()];
    for digit in 0..3 {
        let shift = 32 + digit * DIGIT_BITS;
        #[expect(clippy::cast_possible_truncation, reason = "a digit")]
        let place = |pair: u64| (pair >> shift) as usize & (DIGITS - 1);
        let mut starts = [0_usize; DIGITS];
        for pair in &pairs {
            starts[place(*pair)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            (*start, sum) = (sum, sum + *start);
        }
        for pair in &pairs {
            let start = &mut starts[place(*pair)];
            moved[*start] = *pair;
            *start += 1;
        }
        std::mem::swap(&mut pairs, &mut moved);
    }
    pairs
}

/// Bits whose order as a whole number is the order of the values, NaN last.
fn ordered(value: f32) -> u32 {
    const SIGN: u32 = 1 << 31;
    let bits = value.to_bits();
    if value.is_nan() {
        u32::MAX
    } else if bits & SIGN == 0 {
        bits | SIGN
    } else {
        !bits
    }
}

#[cfg(test)]
mod tests {
    use super::{ordered, sorted};
    use crate::random::RandomState;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "any float32 will do")]
    fn pairs_come_in_the_order_of_their_values_and_rows() {
        let mut stream = RandomState::new(1);
        for n in [0, 1, 2, 100, 5000] {
            let mut values: Vec<f32> = (0..n).map(|_| (stream.standard_normal() * 3.0).round() as f32 / 7.0).collect();
            values.extend([f32::NAN, f32::MAX, f32::MIN, 0.0, -0.0]);
            let mut expected: Vec<u64> =
                (0..).zip(&values).map(|(row, value)| u64::from(ordered(*value)) << 32 | row).collect();
            expected.sort_unstable();
            assert_eq!(sorted(&values), expected);
        }
    }
}
