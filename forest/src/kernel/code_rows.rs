//! Rows of codes in the order of a node's items, which every cut below it moves with them: so the codes of all nodes there
//! lie one after the other, however far down the tree they are, and memory is read forwards.

use std::ops::Range;

use super::Level;
use super::columns::MARKED_TOGETHER;
use super::keys::{Codes, PAIR_SHIFT};
use crate::pages::Pages;

/// Bytes of a short row, the least there is, and of a longer one. So many are moved at once: what lies behind a row's own
/// bytes is less than a row.
const SHORT: usize = 16;
const LONG: usize = 2 * SHORT;
/// Bytes that are never parted: rows are whole numbers of them.
const WORD: usize = size_of::<u32>();
/// Bytes behind the last row, so that it is moved as the others are, by a vector at most.
pub(crate) const PAD: usize = MARKED_TOGETHER * WORD;

/// Codes of the rows of one node, and of those below it.
#[derive(Debug, Default)]
pub(crate) struct CodeRows {
    /// The node's places among the tree's items.
    node: Range<usize>,
    bytes: Pages<u8>,
    spare: Pages<u8>,
    stride: usize,
    /// For each word of 16 rows the bit of its row.
    bits: Vec<u32>,
}

impl CodeRows {
    /// Bytes from row to row, for so many features.
    pub(crate) fn stride(n_features: usize) -> usize {
        n_features.max(SHORT).next_multiple_of(WORD)
    }

    /// Forgets the node.
    pub(crate) fn clear(&mut self) {
        self.node = 0..0;
    }

    /// Whether the rows at these places are there.
    pub(crate) fn hold(&self, start: usize, end: usize) -> bool {
        self.node.start <= start && end <= self.node.end
    }

    /// Takes the rows of a node's items, of which the first is at place `start`, out of those of the frame, behind which there
    /// are [`PAD`] bytes.
    pub(crate) fn begin(&mut self, codes: Codes<'_>, start: usize, items: &[u32]) {
        self.node = start..start + items.len();
        self.stride = codes.stride;
        let words_per_row = codes.stride / WORD;
        self.bits.clear();
        self.bits.extend((0..MARKED_TOGETHER).flat_map(|row| std::iter::repeat_n(1 << row, words_per_row)));
        self.bytes.make_room(items.len() * codes.stride + PAD);
        match codes.stride.div_ceil(SHORT) {
            1 => select::<SHORT>(codes, items, &mut self.bytes),
            2 => select::<LONG>(codes, items, &mut self.bytes),
            _ => {
                for (row, item) in self.bytes.chunks_exact_mut(codes.stride).zip(items) {
                    row.copy_from_slice(&codes.bytes[(item >> PAIR_SHIFT) as usize * codes.stride..][..codes.stride]);
                }
            }
        }
    }

    /// Codes of the node at these places, if they are there.
    pub(crate) fn codes(&self, start: usize, end: usize) -> Option<Codes<'_>> {
        let places = self.hold(start, end).then(|| self.places(start, end))?;
        Some(Codes { bytes: &self.bytes[places], stride: self.stride, in_order: true })
    }

    fn places(&self, start: usize, end: usize) -> Range<usize> {
        (start - self.node.start) * self.stride..(end - self.node.start) * self.stride
    }

    /// Moves the rows of the node at these places, which are there, whose bits are set to the front, the others to the back, both in their old
    /// order.
    pub(crate) fn divide(&mut self, level: Level, marks: &[u16], start: usize, end: usize) {
        let (stride, places) = (self.stride, self.places(start, end));
        self.spare.make_room(self.bytes.len());
        let rows = &mut self.bytes[places.start..places.end + PAD];
        let spare = &mut self.spare;
        match (level, stride.div_ceil(SHORT)) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) => avx512::divide(marks, &self.bits, rows, spare),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 1) => avx2::divide_short(marks, rows, stride, spare),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 2) => avx2::divide_long(marks, rows, stride, spare),
            (_, 1) => divide::<SHORT>(marks, rows, stride, spare),
            (_, 2) => divide::<LONG>(marks, rows, stride, spare),
            _ => divide_one_by_one(marks, rows, stride, spare),
        }
    }
}

/// How many of `n` rows go right.
#[cfg(target_arch = "x86_64")]
fn n_right(marks: &[u16], n: usize) -> usize {
    let unmarked = |(at, marks): (usize, &u16)| {
        let behind = MARKED_TOGETHER.saturating_sub(n - at);
        (!marks << behind).count_ones() as usize
    };
    (0..n).step_by(MARKED_TOGETHER).zip(marks).map(unmarked).sum()
}

fn select<const BYTES: usize>(codes: Codes<'_>, items: &[u32], out: &mut [u8]) {
    for (at, item) in items.iter().enumerate() {
        let from = &codes.bytes[(item >> PAIR_SHIFT) as usize * codes.stride..][..BYTES];
        out[at * codes.stride..][..BYTES].copy_from_slice(from);
    }
}

/// Every row is written to both sides, and counts on one: what is written beyond the front was read before, or is written
/// again. `rows` and `spare`, which has place for those that go right, have [`PAD`] bytes behind them.
#[expect(clippy::inline_always, reason = "a wider level compiles this loop again with its own instructions")]
#[inline(always)]
fn divide<const BYTES: usize>(marks: &[u16], rows: &mut [u8], stride: usize, spare: &mut [u8]) {
    let (mut from, mut left, mut right) = (0, 0, 0);
    let end = rows.len() - PAD;
    for marks in marks {
        let mut marks = usize::from(*marks);
        let group_end = (from + MARKED_TOGETHER * stride).min(end);
        while from < group_end {
            let mut row = [0; BYTES];
            row.copy_from_slice(&rows[from..from + BYTES]);
            rows[left..left + BYTES].copy_from_slice(&row);
            spare[right..right + BYTES].copy_from_slice(&row);
            let to_left = (marks & 1) * stride;
            left += to_left;
            right += stride - to_left;
            marks >>= 1;
            from += stride;
        }
    }
    rows[left..left + right].copy_from_slice(&spare[..right]);
}

fn divide_one_by_one(marks: &[u16], rows: &mut [u8], stride: usize, spare: &mut [u8]) {
    let (mut left, mut right) = (0, 0);
    for (at, from) in (0..rows.len() - PAD).step_by(stride).enumerate() {
        if marks[at / MARKED_TOGETHER] >> (at % MARKED_TOGETHER) & 1 == 1 {
            rows.copy_within(from..from + stride, left);
            left += stride;
        } else {
            spare[right..right + stride].copy_from_slice(&rows[from..from + stride]);
            right += stride;
        }
    }
    rows[left..left + right].copy_from_slice(&spare[..right]);
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;
