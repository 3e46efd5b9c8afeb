//! A node that is small enough for the cache, with the keys of all its rows and features in columns of its own.
//!
//! Every cut divides all columns, so that the keys of a node lie side by side: what is read there is read once for the whole
//! tree below the block, and no node fetches anything from elsewhere.

use crate::kernel::columns::{self, Division, Span};
use crate::kernel::keys::Table;
use crate::kernel::{Level, Packing};

/// Bytes of keys that a block has at most where vectors divide columns: they stay in a first-level cache.
const BYTES_MAX: usize = 32 << 10;
/// The same where columns are divided key by key: only the smallest nodes do not pay more for that than they gain (measured
/// with AVX2 and with plain code on 80,000 rows of 20 features).
const BYTES_MAX_PLAIN: usize = 3 << 10;
/// Columns are an odd multiple of so many keys long: at powers of two they would evict each other from the cache.
const KEYS_PER_LINE: usize = 16;

/// The block in which the node at work lies, if there is one.
#[derive(Debug, Default)]
pub(super) struct Block {
    start: usize,
    end: usize,
    stride: usize,
    n_features: usize,
    /// Keys by feature and, in the last column, items of the frame.
    columns: Vec<u32>,
    division: Division,
}

impl Block {
    /// Rows that a block may have.
    pub(super) fn rows_max(level: Level, n_features: usize) -> usize {
        let bytes_max = if level.compresses() { BYTES_MAX } else { BYTES_MAX_PLAIN };
        bytes_max / size_of::<u32>() / (n_features + 1)
    }

    /// Ends the block.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Whether the rows at these positions lie in it.
    pub(super) fn holds(&self, start: usize, end: usize) -> bool {
        self.start <= start && end <= self.end
    }

    /// Begins a block of the items of the frame at these positions.
    pub(super) fn begin(&mut self, level: Level, packing: Packing, start: usize, items: &[u32], table: Table<'_>) {
        (self.start, self.end) = (start, start + items.len());
        self.stride = ((items.len() / KEYS_PER_LINE + 1) | 1) * KEYS_PER_LINE;
        self.n_features = table.n_features;
        let len = (table.n_features + 1) * self.stride;
        self.columns.resize(len.max(self.columns.len()), 0);
        let span = self.span(start, self.end);
        columns::fill(level, packing, table, items, span, &mut self.columns);
        let first = table.n_features * self.stride;
        self.columns[first..first + items.len()].copy_from_slice(items);
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let (start, end) = (start - self.start, end - self.start);
        Span { start, end, stride: self.stride, n_columns: self.n_features + 1 }
    }

    /// Keys of a feature in the node at these positions.
    pub(super) fn keys(&self, feature: usize, start: usize, end: usize) -> &[u32] {
        self.span(start, end).of(&self.columns, feature)
    }

    /// Items of the frame of the node at these positions.
    pub(super) fn items(&self, start: usize, end: usize) -> &[u32] {
        self.keys(self.n_features, start, end)
    }

    /// Says that the rows of the node at these positions go left that have a key up to `last`. Returns how many they are, and
    /// the items of a row on either side, next to the cut.
    pub(super) fn mark_keys(
        &mut self,
        level: Level,
        feature: usize,
        last: u32,
        start: usize,
        end: usize,
    ) -> (usize, [Option<u32>; 2]) {
        let span = self.span(start, end);
        let keys = span.of(&self.columns, feature);
        let n_left = self.division.by_keys(level, keys, last);
        let (before, after) = self.division.border();
        let items = span.of(&self.columns, self.n_features);
        (n_left, [before, after].map(|key| columns::find(level, keys, key).map(|place| items[place])))
    }

    /// Says of which items of the node at these positions the rows go left. Returns how many they are.
    pub(super) fn mark_items(&mut self, start: usize, end: usize, goes_left: impl Fn(u32) -> bool) -> usize {
        let items = self.span(start, end).of(&self.columns, self.n_features);
        self.division.by_place(items.len(), |place| goes_left(items[place]))
    }

    /// Moves the items of the marked node to their sides.
    pub(super) fn divide_items(&mut self, level: Level, start: usize, end: usize) {
        let columns = self.n_features..self.n_features + 1;
        self.division.divide(level, columns, self.span(start, end), &mut self.columns);
    }

    /// Moves the keys of the marked node, whose items were moved, to their sides.
    pub(super) fn divide_keys(&mut self, level: Level, start: usize, end: usize) {
        let span = self.span(start, end);
        self.division.divide(level, 0..self.n_features, span, &mut self.columns);
    }
}
