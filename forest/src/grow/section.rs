//! A node that is small enough for the cache, with codes of its own.

use crate::kernel::keys::{self, Codes};
use crate::kernel::{Level, Packing};

/// Bytes of codes that a section has at most: they stay in a second-level cache.
const BYTES_MAX: usize = 320 << 10;
/// Rows that make a section worth while.
const ROWS_MIN: usize = 256;

/// The node at work in which the current one lies, if there is one. Its rows have numbers `0..n`, in their order.
#[derive(Debug, Default)]
pub(super) struct Section {
    start: usize,
    end: usize,
    /// Items of the frame by number.
    rows: Vec<u32>,
    /// Items with numbers for rows, in the order of the cuts.
    items: Vec<u32>,
    /// Codes by number, row-major.
    codes: Vec<u8>,
}

impl Section {
    /// Ends the section.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Whether the rows at these positions lie in it.
    pub(super) fn holds(&self, start: usize, end: usize) -> bool {
        self.start <= start && end <= self.end
    }

    /// Begins a section of the items of the frame at these positions, if it is of use.
    pub(super) fn begin(&mut self, packing: Packing, start: usize, items: &[u32], codes: Codes<'_>) {
        let width = codes.n_features;
        if items.len() < ROWS_MIN || items.len() * width > BYTES_MAX {
            return;
        }
        (self.start, self.end) = (start, start + items.len());
        self.rows.clear();
        self.rows.extend_from_slice(items);
        self.items.clear();
        self.items.extend((0..).zip(items).map(|(number, item)| packing.item(number, 0) | item & packing.low()));
        self.codes.clear();
        for item in items {
            let row = packing.row(*item) as usize;
            self.codes.extend_from_slice(&codes.bytes[row * width..(row + 1) * width]);
        }
    }

    /// Items by number at positions of the tree.
    pub(super) fn items(&self, start: usize, end: usize) -> &[u32] {
        &self.items[start - self.start..end - self.start]
    }

    /// Codes by number, and items that may be changed.
    pub(super) fn parts(&mut self, start: usize, end: usize) -> (Codes<'_>, &[u32], &mut [u32]) {
        let codes = Codes { bytes: &self.codes, n_features: self.codes.len() / self.rows.len() };
        (codes, &self.rows, &mut self.items[start - self.start..end - self.start])
    }

    /// The item of the frame, of an item by number or already of the frame.
    pub(super) fn item_of_frame(&self, packing: Packing, item: u32, by_number: bool) -> u32 {
        if by_number { self.rows[packing.row(item) as usize] } else { item }
    }

    /// Puts items of the frame in the place of items by number.
    pub(super) fn translate(&self, level: Level, packing: Packing, items: &mut [u32], spare: &mut [u32]) {
        keys::gather(level, packing, &self.rows, items, &mut spare[..items.len()]);
        items.copy_from_slice(&spare[..items.len()]);
    }
}
