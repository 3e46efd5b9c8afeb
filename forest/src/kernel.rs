//! The inner loops of training and predicting, in the widest form that the processor knows.
//!
//! Every loop exists in portable Rust; where wider instructions help, a second form gives the same results, bit for bit.
//! Which one runs is decided once, by [`Level::best`]. All code that needs the processor's own instructions, and so all
//! unsafe code of the crate except the mapping of files, is below this module.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod block;
pub(crate) mod code_rows;
pub(crate) mod columns;
pub(crate) mod exchange;
pub(crate) mod few;
pub(crate) mod keys;
#[cfg(target_arch = "x86_64")]
mod keys_avx2;
#[cfg(target_arch = "x86_64")]
mod keys_avx512;
mod portable;
mod walk;
#[cfg(target_arch = "x86_64")]
mod walk_avx2;
#[cfg(target_arch = "x86_64")]
mod walk_avx512;
mod wide;

use std::fmt;

pub(crate) use walk::Trees;
pub(crate) use wide::WideTrees;

use crate::model_file::nodes::{Form, Packed};

/// Instructions that the loops of training and predicting may use. Every level gives the same results, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// What the compiler makes of plain Rust for any processor of the architecture.
    Portable,
    /// AVX2, BMI1, BMI2, LZCNT and POPCNT (most of x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL on top of that (x86-64-v4).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The widest level of this processor.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if avx512::is_here() {
            return Self::Avx512;
        } else if avx2::is_here() {
            return Self::Avx2;
        }
        Self::Portable
    }

    /// All levels that this processor has, the widest last.
    pub fn all() -> Vec<Self> {
        let known = [
            Self::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512,
        ];
        known.into_iter().filter(|level| *level <= Self::best()).collect()
    }

    /// Whether vectors are compressed by a mask in one step, which makes it cheap to divide columns and to order few keys.
    pub(crate) fn compresses(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => true,
            _ => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
        })
    }
}

/// A training row of one tree in 32 bits: row number above, then class, then weight.
///
/// Sorted columns hold such items, so that a scan needs nothing but the column itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    class_bits: u32,
}

impl Packing {
    /// Bits of the weight; a bootstrap draws a row more often than 15 times once in 10^13 rows.
    const WEIGHT_BITS: u32 = 4;
    /// The largest weight.
    pub(crate) const MAX_WEIGHT: u32 = (1 << Self::WEIGHT_BITS) - 1;

    /// `None` if rows and classes do not fit 32 bits together.
    pub(crate) fn new(n_rows: usize, n_classes: usize) -> Option<Self> {
        let bits = |n: usize| usize::BITS - n.saturating_sub(1).leading_zeros();
        let class_bits = bits(n_classes).max(1);
        (bits(n_rows) + class_bits + Self::WEIGHT_BITS <= u32::BITS).then_some(Self { class_bits })
    }

    /// An item of weight 0.
    pub(crate) fn item(self, row: u32, class: u32) -> u32 {
        (row << self.class_bits | class) << Self::WEIGHT_BITS
    }

    pub(crate) fn row(self, item: u32) -> u32 {
        item >> self.shift()
    }

    pub(crate) fn class(self, item: u32) -> u32 {
        item >> Self::WEIGHT_BITS & ((1 << self.class_bits) - 1)
    }

    pub(crate) fn weight(item: u32) -> u32 {
        item & Self::MAX_WEIGHT
    }

    /// Bits below the row number.
    pub(crate) fn shift(self) -> u32 {
        self.class_bits + Self::WEIGHT_BITS
    }

    /// The bits below the row number, all set.
    pub(crate) fn low(self) -> u32 {
        (1 << self.shift()) - 1
    }
}

/// A set of rows.
#[derive(Debug, Default)]
pub(crate) struct RowSet {
    words: Vec<u32>,
}

impl RowSet {
    /// An empty set for rows below `n_rows`.
    pub(crate) fn reset(&mut self, n_rows: usize) {
        self.words.clear();
        self.words.resize(n_rows.div_ceil(32), 0);
    }

    pub(crate) fn insert(&mut self, row: u32) {
        self.words[(row / 32) as usize] |= 1 << (row % 32);
    }

    /// Forgets the whole word in which a row lies.
    pub(crate) fn forget(&mut self, row: u32) {
        self.words[(row / 32) as usize] = 0;
    }
}

/// Rows of a section that is numbered anew, at most: a set of them fits four vector registers.
pub(crate) const SECTION_ROWS: usize = 2048;

/// Which sides of a partition are wanted; the other side's place is then left in any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) left: bool,
    pub(crate) right: bool,
}

/// The items of an order of rows whose weight is not 0, with that weight, into `out` of the same length at least; returns
/// how many they are. `weights` are by row.
pub(crate) fn select(level: Level, packing: Packing, order: &[u32], weights: &[u8], out: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::select(packing, order, weights, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::select(packing, order, weights, out),
        _ => portable::select(packing, order, weights, out),
    }
}

/// A set of rows to go to one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) set: &'a RowSet,
    /// Whether the set goes right, and the others left.
    pub(crate) is_right: bool,
}

/// Moves the items that go left to the front, the others to the back, both in their old order. `spare` must have the
/// column's length at least. Sets made for at most [`SECTION_ROWS`] rows are faster.
pub(crate) fn partition(
    level: Level,
    packing: Packing,
    column: &mut [u32],
    spare: &mut [u32],
    side: Side<'_>,
    wanted: Wanted,
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::partition(packing, column, spare, side, wanted),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::partition(packing, column, spare, side, wanted),
        _ => portable::partition(packing, column, spare, side, wanted),
    }
}

/// Gives the rows of items the numbers that a table, by row, holds for them.
pub(crate) fn renumber(level: Level, packing: Packing, items: &mut [u32], numbers: &[u32]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::renumber(packing, items, numbers),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::renumber(packing, items, numbers),
        _ => portable::renumber(packing, items, numbers),
    }
}

/// The cost of every cut of two classes after each item but the last, in float32: the sides' Gini impurity times their
/// weight, halved. `total` is the weight of the classes; `costs` must have the length of the items.
pub(crate) fn pair_costs(level: Level, items: &[u32], total: (u32, u32), costs: &mut [f32]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::pair_costs(items, total, costs),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::pair_costs(items, total, costs),
        _ => portable::pair_costs(items, total, costs),
    }
}

/// Weights of both classes over items of two classes.
pub(crate) fn pair_sums(level: Level, items: &[u32]) -> (u64, u64) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::pair_sums(items),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::pair_sums(items),
        _ => portable::pair_sums(items),
    }
}

/// The smallest of numbers that are not negative; infinity if there are none.
pub(crate) fn smallest(level: Level, costs: &[f32]) -> f32 {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::smallest(costs),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::smallest(costs),
        _ => portable::smallest(costs),
    }
}

/// The first place from `from` on of a number that is not above the limit.
pub(crate) fn next_within(level: Level, costs: &[f32], from: usize, limit: f32) -> Option<usize> {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::next_within(costs, from, limit),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::next_within(costs, from, limit),
        _ => portable::next_within(costs, from, limit),
    }
}

/// [`crate::model_file::nodes::are_sound`] for packed nodes.
pub(crate) fn are_sound(level: Level, nodes: &[Packed], n_features: usize, n_values: usize) -> bool {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::are_sound(nodes, n_features, n_values),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::are_sound(nodes, n_features, n_values),
        _ => crate::model_file::nodes::are_sound(nodes, n_features, n_values),
    }
}

/// [`Trees::are_sound`].
pub(crate) fn are_sound_blocks(level: Level, trees: &Trees<'_>, tree: usize) -> bool {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx2 => avx2::are_sound_blocks(trees, tree),
        _ => trees.are_sound(tree),
    }
}

/// Outputs of row-major rows `(n_rows, n_features)` into `out` `(n_rows, n_outputs)`: values summed in tree order, divided by
/// the number of trees. `missing` says whether some value may be NaN.
pub(crate) fn predict(level: Level, trees: &Trees<'_>, rows: &[f32], out: &mut [f64], missing: bool) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => walk_avx512::predict(trees, rows, out, missing),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => walk_avx2::predict(trees, rows, out, missing),
        _ => walk::predict_portable(trees, rows, out, missing),
    }
}

/// As [`predict`], for trees of nodes.
pub(crate) fn predict_wide<N: Form>(trees: &WideTrees<'_, N>, rows: &[f32], out: &mut [f64]) {
    wide::predict(trees, rows, out);
}

#[cfg(test)]
mod tests;
