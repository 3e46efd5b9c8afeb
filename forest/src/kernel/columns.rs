//! The loops over a block: the keys of all features of a node's rows, column beside column, divided together at every cut.
//!
//! A column is a place of `stride` keys; a node is the same range of every column. The order of rows in a node is any, but the
//! same in all columns.

use std::ops::Range;

use super::keys::{self, Column, Lane, Table};
use super::{Level, Packing};

/// A node's place in the columns of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Places from column to column.
    pub(crate) stride: usize,
    pub(crate) n_columns: usize,
}

impl Span {
    /// Whether all its places are in columns of so many keys.
    fn fits(self, columns: &[u32]) -> bool {
        self.end <= self.stride && self.n_columns * self.stride <= columns.len()
    }

    /// The node's keys in one column.
    pub(crate) fn of(self, columns: &[u32], column: usize) -> &[u32] {
        &columns[column * self.stride + self.start..column * self.stride + self.end]
    }

    fn of_mut(self, columns: &mut [u32], column: usize) -> &mut [u32] {
        &mut columns[column * self.stride + self.start..column * self.stride + self.end]
    }
}

/// Fills in the keys of the items' rows, every feature in its column; the items are as many as the span has places.
pub(crate) fn fill(level: Level, packing: Packing, table: Table<'_>, items: &[u32], span: Span, columns: &mut [u32]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::fill(packing, table, items, span, columns),
        _ => portable::fill(packing, table, items, span, columns),
    }
}

/// The smallest and the largest key.
pub(crate) fn range(level: Level, keys: &[u32]) -> (u32, u32) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::range(keys),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::range(keys),
        Level::Portable => portable::range(keys),
    }
}

/// The place of a key.
pub(crate) fn find(level: Level, keys: &[u32], key: u32) -> Option<usize> {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::find(keys, key),
        _ => keys.iter().position(|other| *other == key),
    }
}

/// How a node is divided.
#[derive(Debug, Default)]
pub(crate) struct Division {
    /// A bit by place, set if its row goes left.
    marks: Vec<u16>,
    n_left: usize,
    /// The largest key that goes left and the smallest that goes right, of the node's keys that told them apart.
    border: (u32, u32),
    /// What is worked out of the marks before columns are divided.
    #[cfg(target_arch = "x86_64")]
    moves: Vec<u8>,
    order: Vec<u32>,
    spare: Vec<u32>,
}

/// Rows of one word of marks.
pub(super) const MARKED_TOGETHER: usize = 16;

impl Division {
    /// Sends the rows whose keys are up to `last` left. Returns how many they are.
    pub(crate) fn by_keys(&mut self, level: Level, keys: &[u32], last: u32) -> usize {
        self.marks.resize(keys.len().div_ceil(MARKED_TOGETHER), 0);
        (self.n_left, self.border) = match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::mark(keys, last, &mut self.marks),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::mark(keys, last, &mut self.marks),
            Level::Portable => portable::mark(keys, last, &mut self.marks),
        };
        self.n_left
    }

    /// The largest key on the left and the smallest on the right, 0 and the largest number where there are none, after
    /// [`Division::by_keys`].
    pub(crate) fn border(&self) -> (u32, u32) {
        self.border
    }

    /// Sends the rows at some places of a node of `n` rows left. Returns how many they are.
    pub(crate) fn by_place(&mut self, n: usize, goes_left: impl Fn(usize) -> bool) -> usize {
        self.marks.clear();
        self.marks.resize(n.div_ceil(MARKED_TOGETHER), 0);
        for place in (0..n).filter(|place| goes_left(*place)) {
            self.marks[place / MARKED_TOGETHER] |= 1 << (place % MARKED_TOGETHER);
        }
        self.n_left = self.marks.iter().map(|marks| marks.count_ones() as usize).sum();
        self.n_left
    }

    /// Sends the items' rows left that have a code below the cut's, or the cut's and a key up to its last. Returns how many
    /// they are.
    pub(crate) fn by_codes(
        &mut self,
        level: Level,
        column: Column<'_>,
        cut: (u32, u32),
        codes: Lane<'_>,
        items: &[u32],
    ) -> usize {
        self.marks.resize(items.len().div_ceil(MARKED_TOGETHER), 0);
        self.n_left = keys::mark_codes(level, column, cut, codes, items, &mut self.marks);
        self.n_left
    }

    /// Moves the items of the rows that go left to the front, in their order, as the others are.
    pub(crate) fn divide_items(&mut self, level: Level, items: &mut [u32]) {
        self.spare.resize(items.len().max(self.spare.len()), 0);
        keys::divide(level, &self.marks, items, &mut self.spare);
    }

    /// A bit for every row that goes left, 16 to a word.
    pub(crate) fn marks(&self) -> &[u16] {
        &self.marks
    }

    /// Moves the rows that go left to the front in some of the node's columns. The marks are of this node.
    pub(crate) fn divide(&mut self, level: Level, range: Range<usize>, span: Span, columns: &mut [u32]) {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::divide(self, range, span, columns),
            _ => portable::divide(self, range, span, columns),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(test)]
mod tests;
