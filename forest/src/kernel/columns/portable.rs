//! The loops over a block in plain Rust.

#![expect(clippy::inline_always, reason = "a wider level compiles these loops again with its own instructions")]

use std::ops::Range;

use super::{Division, MARKED_TOGETHER, Span};
use crate::kernel::Packing;
use crate::kernel::keys::Table;

pub(super) fn fill(packing: Packing, table: Table<'_>, items: &[u32], span: Span, columns: &mut [u32]) {
    assert!(span.fits(columns), "every key must have a place");
    for (place, &item) in (span.start..span.end).zip(items) {
        let row = packing.row(item) as usize * table.n_features;
        let ranks = &table.ranks[row..row + table.n_features];
        for (rank, column) in ranks.iter().zip(columns.chunks_exact_mut(span.stride)) {
            column[place] = rank | item & packing.low();
        }
    }
}

#[inline(always)]
pub(super) fn range(keys: &[u32]) -> (u32, u32) {
    keys.iter().fold((u32::MAX, 0), |(smallest, largest), key| (smallest.min(*key), largest.max(*key)))
}

#[inline(always)]
pub(super) fn mark(keys: &[u32], last: u32, marks: &mut [u16]) -> (usize, (u32, u32)) {
    let (mut n_left, mut left, mut right) = (0, 0, u32::MAX);
    for (keys, marks) in keys.chunks(MARKED_TOGETHER).zip(marks) {
        *marks = 0;
        for (at, &key) in keys.iter().enumerate() {
            let goes_left = key <= last;
            *marks |= u16::from(goes_left) << at;
            left = left.max(if goes_left { key } else { 0 });
            right = right.min(if goes_left { u32::MAX } else { key });
        }
        n_left += marks.count_ones() as usize;
    }
    (n_left, (left, right))
}

pub(super) fn divide(division: &mut Division, range: Range<usize>, span: Span, columns: &mut [u32]) {
    assert!(span.fits(columns), "every key must have a place");
    let Division { marks, order, spare, n_left, .. } = division;
    let n = span.end - span.start;
    order.resize(n, 0);
    let (mut left, mut right) = (0, *n_left);
    for place in 0..n {
        let goes_left = usize::from(marks[place / MARKED_TOGETHER] >> (place % MARKED_TOGETHER) & 1);
        order[if goes_left == 1 { left } else { right }] = u32::try_from(place).unwrap_or(u32::MAX);
        left += goes_left;
        right += 1 - goes_left;
    }
    for column in range {
        let keys = span.of_mut(columns, column);
        spare.clear();
        spare.extend(order.iter().map(|place| keys[*place as usize]));
        keys.copy_from_slice(spare);
    }
}
