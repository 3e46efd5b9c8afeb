//! What all trees of a fit share where nodes look at few features: every row's rank among the values of each feature.

use rayon::prelude::*;

use super::{Cancel, FEATURE_THRESHOLD};
use crate::frame::Frame;
use crate::kernel::code_rows::{self, CodeRows};
use crate::kernel::keys::{Codes, Table};
use crate::kernel::{Level, Packing};
use crate::pages::Pages;

/// The most rows of a node whose codes are moved. Were those of all moved, from the root on, a thread would need half as much
/// memory again as all codes have, and grow a tree of a million rows no faster, one of ten million by a tenth (measured).
const MOVED_ROWS: usize = 1 << 18;

/// Every row's rank among the distinct values of each feature, NaN last.
#[derive(Debug)]
pub(crate) struct Ranks {
    pub(super) level: Level,
    pub(super) packing: Packing,
    /// Rows of the largest nodes whose codes are moved.
    pub(super) moved_rows: usize,
    /// Ranks above the bits that an item holds below its row, row-major `(n_rows, n_features)`.
    keys: Pages<u32>,
    /// Ranks divided by so much that they fit one byte, row-major `(n_rows, CodeRows::stride(n_features))`: most of what is
    /// read.
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
    /// The most bits set one after another.
    close_run: u32,
}

impl Ranks {
    /// `None` if the frame has not two classes, or too many rows for 32-bit keys, or too many values for signed places, and
    /// once the caller has given up.
    pub(crate) fn new(frame: &Frame, level: Level, cancel: Cancel<'_>) -> Option<Self> {
        let n_rows = frame.n_samples();
        if frame.classes().len() != 2 {
            return None;
        }
        // One rank more than rows, for those without a value.
        let packing = Packing::new(n_rows + 1, 2)?;
        let n_features = frame.n_features();
        i32::try_from(n_rows * n_features).ok()?;
        let mut keys = Pages::zeroed(n_rows * n_features);
        let mut columns = Vec::with_capacity(n_features);
        let mut ranks = Pages::zeroed(n_rows * COLUMNS_TOGETHER.min(n_features));
        for first in (0..n_features).step_by(COLUMNS_TOGETHER) {
            let width = COLUMNS_TOGETHER.min(n_features - first);
            let ranks = &mut ranks[..width * n_rows];
            let by_column = ranks.par_chunks_mut(n_rows).enumerate().take_any_while(|_| !cancel.is_raised());
            columns.par_extend(by_column.map(|(column, ranks)| rank(frame.column(first + column), packing, ranks)));
            if cancel.is_raised() {
                return None;
            }
            spread(ranks, n_rows, (first, n_features), &mut keys);
        }
        let codes = codes(&columns, packing, &keys);
        Some(Self { level, packing, moved_rows: MOVED_ROWS, keys, codes, columns })
    }

    /// Codes of all rows.
    pub(super) fn codes(&self) -> Codes<'_> {
        Codes { bytes: &self.codes, stride: CodeRows::stride(self.columns.len()), in_order: false }
    }

    /// How many ranks of a feature share a code.
    pub(super) fn code_step(&self, feature: usize) -> u32 {
        self.columns[feature].code_step
    }

    /// Whether the feature has rows without a value.
    pub(super) fn has_missing(&self, feature: usize) -> bool {
        self.columns[feature].missing.is_some()
    }

    /// Ranks of all rows.
    pub(super) fn table(&self) -> Table<'_> {
        Table { ranks: &self.keys, n_features: self.columns.len() }
    }

    /// Whether a key is that of a row without a value.
    pub(super) fn is_missing(&self, feature: usize, key: u32) -> bool {
        self.columns[feature].missing.is_some_and(|missing| key >= missing)
    }

    /// Whether the values of two keys, one below the other, may be too close to be cut apart: if not all that lie between are
    /// close to their next ones, then they are not.
    pub(super) fn may_be_close(&self, feature: usize, one: u32, other: u32) -> bool {
        let distance = self.packing.row(other) - self.packing.row(one);
        distance <= self.columns[feature].close_run && self.is_close(feature, one)
    }

    /// Whether two values of a feature between which there are so many ranks are surely far enough from each other to be cut
    /// apart.
    pub(super) fn are_apart(&self, feature: usize, ranks_between: u32) -> bool {
        ranks_between >= self.columns[feature].close_run.max(1)
    }

    /// Whether the feature's next value after a key's rank is too close to be cut apart from it. If not, then no values up to
    /// it and no values beyond it are.
    pub(super) fn is_close(&self, feature: usize, key: u32) -> bool {
        let rank = self.packing.row(key);
        self.columns[feature].close[(rank / 32) as usize] >> (rank % 32) & 1 == 1
    }
}

fn longest_run(bits: &[u32]) -> u32 {
    let (mut run, mut longest) = (0, 0);
    for word in bits {
        if *word == 0 {
            // As almost all are where values lie apart.
            run = 0;
            continue;
        }
        for bit in 0..u32::BITS {
            run = if word >> bit & 1 == 1 { run + 1 } else { 0 };
            longest = longest.max(run);
        }
    }
    longest
}

fn rank(values: &[f32], packing: Packing, keys: &mut [u32]) -> Ranked {
    let order = sorted(values);
    let mut close = vec![0; values.len() / 32 + 1];
    let (mut rank, mut missing) = (0, None);
    let mut before = f32::NAN;
    for (place, pair) in order.iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the row")]
        let row = *pair as u32 as usize;
        let value = value((pair >> 32) as u32);
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
    Ranked { code_step, missing, close_run: longest_run(&close), close }
}

/// Columns that are ranked before their ranks are written to their rows: a cache line is filled in few passes.
const COLUMNS_TOGETHER: usize = 4;
/// Rows that are written together, while they are in the cache.
const ROWS_TOGETHER: usize = 1024;

/// Writes columns of ranks to the rows, from column `first` of `n_features` on.
fn spread(ranks: &[u32], n_rows: usize, (first, n_features): (usize, usize), keys: &mut [u32]) {
    keys.par_chunks_mut(ROWS_TOGETHER * n_features).enumerate().for_each(|(part, keys)| {
        for (row, keys) in keys.chunks_exact_mut(n_features).enumerate() {
            let columns = ranks.chunks_exact(n_rows);
            for (key, column) in keys[first..].iter_mut().zip(columns) {
                *key = column[part * ROWS_TOGETHER + row];
            }
        }
    });
}

fn codes(columns: &[Ranked], packing: Packing, keys: &[u32]) -> Pages<u8> {
    let n_features = columns.len();
    let parts: Vec<u64> = columns.iter().map(|column| (1_u64 << PART_BITS).div_ceil(column.code_step.into())).collect();
    let stride = CodeRows::stride(n_features);
    let mut codes = Pages::zeroed(keys.len() / n_features * stride + code_rows::PAD);
    let rows = codes.par_chunks_mut(ROWS_TOGETHER * stride).zip(keys.par_chunks(ROWS_TOGETHER * n_features));
    rows.for_each(|(codes, keys)| {
        for (codes, keys) in codes.chunks_exact_mut(stride).zip(keys.chunks_exact(n_features)) {
            for ((code, key), part) in codes.iter_mut().zip(keys).zip(&parts) {
                *code = u8::try_from((u64::from(packing.row(*key)) * part) >> PART_BITS).unwrap_or(u8::MAX);
            }
        }
    });
    codes
}

/// Bits after the point of a code step's inverse, by which ranks are multiplied instead of divided. It is too large by less
/// than one unit in the last place for each of the step, of at most 2^20: below 2^27, which every rank is, that makes no
/// difference to the whole part.
const PART_BITS: u32 = 48;

/// Digits of the sort: three of 11 bits make a value.
const DIGITS: usize = 3;
const DIGIT_BITS: usize = 11;
/// Values of a digit.
const DIGIT_VALUES: usize = 1 << DIGIT_BITS;

/// Pairs of a value's order, above, and its row, in the order of the values: a radix sort from the lowest digit.
pub(super) fn sorted(values: &[f32]) -> Pages<u64> {
    let mut counts = vec![[0_usize; DIGIT_VALUES]; DIGITS];
    let (mut pairs, mut moved) = (Pages::zeroed(values.len()), Pages::zeroed(values.len()));
    for ((row, value), pair) in (0..).zip(values).zip(&mut *pairs) {
        *pair = u64::from(ordered(*value)) << 32 | row;
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[place(*pair, digit)] += 1;
        }
    }
    for (digit, counts) in counts.iter_mut().enumerate() {
        if counts.contains(&pairs.len()) {
            continue;
        }
        let mut sum = 0;
        for count in &mut *counts {
            (*count, sum) = (sum, sum + *count);
        }
        for pair in &*pairs {
            let start = &mut counts[place(*pair, digit)];
            moved[*start] = *pair;
            *start += 1;
        }
        std::mem::swap(&mut pairs, &mut moved);
    }
    pairs
}

#[expect(clippy::cast_possible_truncation, reason = "a digit")]
fn place(pair: u64, digit: usize) -> usize {
    (pair >> (32 + digit * DIGIT_BITS)) as usize % DIGIT_VALUES
}

/// The value of an order, or NaN.
pub(super) fn value(order: u32) -> f32 {
    f32::from_bits(if order & SIGN == 0 { !order } else { order & !SIGN })
}

const SIGN: u32 = 1 << 31;

/// Bits whose order as a whole number is the order of the values, NaN last.
pub(super) fn ordered(value: f32) -> u32 {
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
    use super::{ordered, sorted, value};
    use crate::random::RandomState;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "any float32 will do")]
    fn pairs_come_in_the_order_of_their_values_and_rows() {
        let mut stream = RandomState::new(1);
        for n in [0, 1, 2, 100, 5000] {
            let mut values: Vec<f32> = (0..n).map(|_| (stream.standard_normal() * 3.0).round() as f32 / 7.0).collect();
            values.extend([f32::NAN, f32::MAX, f32::MIN, 0.0, -0.0]);
            assert!(
                values.iter().all(|number| value(ordered(*number)).to_bits() == number.to_bits() || number.is_nan())
            );
            assert!(value(ordered(f32::NAN)).is_nan() && value(ordered(-f32::NAN)).is_nan());
            let mut expected: Vec<u64> =
                (0..).zip(&values).map(|(row, value)| u64::from(ordered(*value)) << 32 | row).collect();
            expected.sort_unstable();
            assert_eq!(*sorted(&values), *expected);
        }
    }
}
