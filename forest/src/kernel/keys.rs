//! The loops of growing by ranks: a node's keys of one feature, cuts of two classes, and the rows' division.
//!
//! A key is a row's rank among the feature's distinct values, above what the row's item holds below its number: class and
//! weight. [`Packing`] names the bits.

use super::{Level, Packing};

/// Weights of both classes on the left of cuts, place by place.
#[derive(Debug, Default)]
pub(crate) struct Lefts {
    pub(crate) first: Vec<u32>,
    pub(crate) second: Vec<u32>,
}

impl Lefts {
    pub(crate) fn resize(&mut self, n: usize) {
        self.first.resize(n, 0);
        self.second.resize(n, 0);
    }

    pub(crate) fn push(&mut self, left: (u32, u32)) {
        self.first.push(left.0);
        self.second.push(left.1);
    }
}

/// Ranks of all rows and features in the place that they have in keys, row-major `(n_rows, n_features)`: fewer than 2³¹.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) ranks: &'a [u32],
    pub(crate) n_features: usize,
}

impl<'a> Table<'a> {
    /// One feature's ranks.
    pub(crate) fn column(self, feature: usize) -> Column<'a> {
        Column { ranks: &self.ranks[feature..], stride: self.n_features }
    }
}

/// One feature's ranks by row: the first, and every `stride`-th after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a> {
    pub(super) ranks: &'a [u32],
    pub(super) stride: usize,
}

impl Column<'_> {
    fn of(self, row: u32) -> u32 {
        self.ranks[row as usize * self.stride]
    }
}

/// Keys of the items' rows: `column[row] | lower half of the item`. `out` must have the items' length. Returns the smallest
/// and the largest.
pub(crate) fn gather(level: Level, packing: Packing, column: Column<'_>, items: &[u32], out: &mut [u32]) -> (u32, u32) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::gather(packing, column, items, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::gather(packing, column, items, out),
        Level::Portable => portable::gather(packing, column, items, out),
    }
}

/// Weights by bin: those of the first class in the lower halves, those of the second in the upper ones.
pub(crate) type Bins = [u64; CODES];

/// Adds each key's weight to the bin `key >> shift`, modulo [`CODES`]. The keys are of two classes.
pub(crate) fn tally(level: Level, keys: &[u32], shift: u32, bins: &mut Bins) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx2 => super::keys_avx2::tally_keys(keys, shift, bins),
        Level::Portable => portable::tally_keys(keys, shift, bins),
    }
}

/// The same for keys of the same rows by different features, each with its shift and bins.
pub(crate) fn tally_together(
    level: Level,
    keys: [&[u32]; TOGETHER],
    shifts: [u32; TOGETHER],
    bins: &mut [Bins; TOGETHER],
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx2 => super::keys_avx2::tally_together(keys, shifts, bins),
        Level::Portable => portable::tally_together(keys, shifts, bins),
    }
}

/// Bits below the row of an item of two classes.
pub(super) const PAIR_SHIFT: u32 = Packing::WEIGHT_BITS + 1;

/// What an item of two classes adds to a bin, by its lower bits.
pub(super) const LOADS: [u64; 1 << PAIR_SHIFT] = {
    let mut loads = [0; 1 << PAIR_SHIFT];
    let mut weight = 0;
    while weight <= Packing::MAX_WEIGHT as usize {
        loads[weight] = weight as u64;
        loads[weight + (1 << Packing::WEIGHT_BITS)] = (weight as u64) << 32;
        weight += 1;
    }
    loads
};

/// Bins of one feature.
pub(crate) const CODES: usize = 256;
/// Features whose codes are counted together.
pub(crate) const TOGETHER: usize = 4;

/// One byte per row and feature, row-major, so that the features that a node looks at lie close together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from row to row, the number of features at least.
    pub(crate) stride: usize,
    /// Whether the rows are those of the items, one after the other, and not those of the frame.
    pub(crate) in_order: bool,
}

/// Adds each item's weight to the bin `code >> shift` of each of the features, and puts the codes into
/// `places`, the first feature's lowest. The items are of two classes; `shift` is 4 at most.
pub(crate) fn tally_codes(
    level: Level,
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    shift: u32,
    items: &[u32],
    bins: &mut [Bins; TOGETHER],
    places: &mut [u32],
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::tally_codes(codes, features, shift, items, bins, places),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::tally_codes(codes, features, shift, items, bins, places),
        Level::Portable => portable::tally_codes(codes, features, shift, items, bins, places),
    }
}

/// A set of codes.
pub(crate) type CodeSet = [u32; CODES / 32];

/// Codes of one of the features counted together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) places: &'a [u32],
    /// Its place among them.
    pub(crate) lane: usize,
}

/// The items whose code is in the set, in their order, into `out`, which must have the items' length; returns how many they
/// are.
pub(crate) fn choose(level: Level, items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::choose(items, codes, set, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::choose(items, codes, set, out),
        Level::Portable => portable::choose(items, codes, set, out),
    }
}

/// Sets a bit for every item with a code below `code`, and for those that have it if their key, out of `column`, is up to
/// `last`. Returns how many bits are set; `marks` has a word for every 16 items.
pub(crate) fn mark_codes(
    level: Level,
    column: Column<'_>,
    cut: (u32, u32),
    codes: Lane<'_>,
    items: &[u32],
    marks: &mut [u16],
) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::mark_codes(column, cut, codes, items, marks),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::mark_codes(column, cut, codes, items, marks),
        Level::Portable => portable::mark_codes(column, cut, codes, items, marks),
    }
}

/// Running sums of bins, beginning with `base`.
pub(crate) fn run(bins: &[u64], base: (u32, u32), lefts: &mut Lefts) {
    lefts.resize(bins.len());
    let (mut first, mut second) = base;
    for ((bin, left_first), left_second) in bins.iter().zip(&mut lefts.first).zip(&mut lefts.second) {
        #[expect(clippy::cast_possible_truncation, reason = "the halves")]
        let (of_first, of_second) = (*bin as u32, (*bin >> 32) as u32);
        first += of_first;
        second += of_second;
        (*left_first, *left_second) = (first, second);
    }
}

/// The cost of every cut with these weights on the left, as [`super::pair_costs`] has it, infinite where a side is empty.
/// Returns the smallest.
pub(crate) fn costs(level: Level, lefts: &Lefts, total: (u32, u32), costs: &mut Vec<f32>) -> f32 {
    costs.resize(lefts.first.len(), 0.0);
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::costs(lefts, total, costs),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::costs(lefts, total, costs),
        Level::Portable => portable::costs(lefts, total, costs),
    }
}

/// Of every bin, whose end's weights `lefts` holds: a number above 0 if no order of the bin's rows makes a cut between them
/// that costs `limit` or less.
///
/// The cost is a concave function of the two weights on the left, so over the rectangle between a bin's start and its end
/// it is smallest in a corner. Two corners are the edges; the others are looked at here.
pub(crate) fn slacks(
    level: Level,
    lefts: &Lefts,
    base: (u32, u32),
    total: (u32, u32),
    limit: f32,
    slacks: &mut Vec<f32>,
) {
    slacks.resize(lefts.first.len(), 0.0);
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::slacks(lefts, base, total, limit, slacks),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::slacks(lefts, base, total, limit, slacks),
        Level::Portable => portable::slacks(lefts, base, total, limit, slacks),
    }
}

/// The least cost of a cut inside of a bin with these weights, before which there are those of `base`.
pub(crate) fn corner_cost(base: (u32, u32), inside: (u32, u32), total: (u32, u32)) -> f32 {
    let first = portable::cost((base.0 + inside.0, base.1), total);
    first.min(portable::cost((base.0, base.1 + inside.1), total))
}

/// The keys `low..=high` in their order into `out`, which must have the keys' length; returns how many they are.
pub(crate) fn within(level: Level, keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::within(keys, low, high, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::within(keys, low, high, out),
        Level::Portable => portable::within(keys, low, high, out),
    }
}

/// The border of a cut: how many keys are up to `last`, the largest of them and the smallest of the others.
pub(crate) fn border(level: Level, keys: &[u32], last: u32) -> (usize, u32, u32) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::border(keys, last),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::border(keys, last),
        Level::Portable => portable::border(keys, last),
    }
}

/// Moves the items whose bits are set to the front, the others to the back, both in their old order. `spare` must have the
/// items' length at least. Returns how many are in front.
pub(crate) fn divide(level: Level, marks: &[u16], items: &mut [u32], spare: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::divide(marks, items, spare),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::divide(marks, items, spare),
        Level::Portable => portable::divide(marks, items, spare),
    }
}

pub(super) mod portable;

#[cfg(test)]
mod tests;
