//! The loops over a block with AVX-512.

#![expect(
    unsafe_code,
    reason = "the processor's own instructions, and unchecked places in loops that checked them before"
)]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_prefetch, _mm_storeu_si128, _mm512_and_si512,
    _mm512_cmplt_epu32_mask, _mm512_cvtepi32_epi8, _mm512_cvtepu8_epi32, _mm512_i32gather_epi32, _mm512_loadu_si512,
    _mm512_mask_cmpeq_epu32_mask, _mm512_mask_cmple_epu32_mask, _mm512_mask_expand_epi32, _mm512_mask_max_epu32,
    _mm512_mask_min_epu32, _mm512_mask_storeu_epi32, _mm512_maskz_compress_epi32, _mm512_maskz_loadu_epi32,
    _mm512_max_epu32, _mm512_mullo_epi32, _mm512_or_si512, _mm512_permutexvar_epi32, _mm512_reduce_max_epu32,
    _mm512_reduce_min_epu32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_setzero_si512, _mm512_srl_epi32,
    _mm512_storeu_si512,
};
use std::ops::Range;

use super::{Division, MARKED_TOGETHER, Span, portable};
use crate::kernel::Packing;
use crate::kernel::avx512::first;
use crate::kernel::keys::Table;

/// Lanes of 32 bits.
const LANES: usize = MARKED_TOGETHER;

pub(super) fn fill(packing: Packing, table: Table<'_>, items: &[u32], span: Span, columns: &mut [u32]) {
    assert!(items.len() == span.end - span.start && table.n_features <= span.n_columns);
    assert!(span.fits(columns), "every key must have a place");
    assert!(i32::try_from(table.ranks.len()).is_ok(), "places must fit a signed number");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { fill_wide(packing, table, items, span, columns) }
}

/// Keys of a cache line.
const LINE: usize = 16;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn fill_wide(packing: Packing, table: Table<'_>, items: &[u32], span: Span, columns: &mut [u32]) {
    let shift = _mm_cvtsi32_si128(packing.shift().cast_signed());
    let low = _mm512_set1_epi32(packing.low().cast_signed());
    let width = _mm512_set1_epi32(i32::try_from(table.n_features).unwrap_or(i32::MAX));
    let n_rows = u32::try_from(table.ranks.len() / table.n_features).unwrap_or(u32::MAX);
    let n_rows = _mm512_set1_epi32(n_rows.cast_signed());
    let n_whole = items.len() / LANES * LANES;
    for at in (0..n_whole).step_by(LANES) {
        for item in items.iter().skip(at + LANES).take(LANES) {
            let row = packing.row(*item) as usize * table.n_features;
            for line in (0..table.n_features).step_by(LINE) {
                _mm_prefetch::<_MM_HINT_T0>(table.ranks.as_ptr().wrapping_add(row + line).cast());
            }
        }
        // SAFETY: `at + 16` is within the items.
        let some = unsafe { _mm512_loadu_si512(items.as_ptr().add(at).cast()) };
        let rows = _mm512_srl_epi32(some, shift);
        assert!(_mm512_cmplt_epu32_mask(rows, n_rows) == u16::MAX, "every row must be in the table");
        let (places, loads) = (_mm512_mullo_epi32(rows, width), _mm512_and_si512(some, low));
        for feature in 0..table.n_features {
            // SAFETY: all rows are in the table, and the feature is below their width; the place in the column is one of the
            // span, as there are as many items.
            unsafe {
                let ranks = _mm512_i32gather_epi32::<4>(places, table.ranks.as_ptr().add(feature).cast());
                let to = columns.as_mut_ptr().add(feature * span.stride + span.start + at).cast();
                _mm512_storeu_si512(to, _mm512_or_si512(ranks, loads));
            }
        }
    }
    let rest = Span { start: span.start + n_whole, ..span };
    portable::fill(packing, table, &items[n_whole..], rest, columns);
}

pub(super) fn range(keys: &[u32]) -> (u32, u32) {
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { range_wide(keys) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn range_wide(keys: &[u32]) -> (u32, u32) {
    let (mut smallest, mut largest) = (_mm512_set1_epi32(-1), _mm512_setzero_si512());
    for at in (0..keys.len()).step_by(LANES) {
        let here = first(keys.len() - at);
        // SAFETY: the mask ends at the last key.
        let some = unsafe { _mm512_maskz_loadu_epi32(here, keys.as_ptr().add(at).cast()) };
        largest = _mm512_max_epu32(largest, some);
        smallest = _mm512_mask_min_epu32(smallest, here, smallest, some);
    }
    (_mm512_reduce_min_epu32(smallest), _mm512_reduce_max_epu32(largest))
}

pub(super) fn find(keys: &[u32], key: u32) -> Option<usize> {
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { find_wide(keys, key) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn find_wide(keys: &[u32], key: u32) -> Option<usize> {
    let key = _mm512_set1_epi32(key.cast_signed());
    for at in (0..keys.len()).step_by(LANES) {
        let here = first(keys.len() - at);
        // SAFETY: the mask ends at the last key.
        let some = unsafe { _mm512_maskz_loadu_epi32(here, keys.as_ptr().add(at).cast()) };
        let equal = _mm512_mask_cmpeq_epu32_mask(here, some, key);
        if equal != 0 {
            return Some(at + equal.trailing_zeros() as usize);
        }
    }
    None
}

pub(super) fn mark(keys: &[u32], last: u32, marks: &mut [u16]) -> (usize, (u32, u32)) {
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { mark_wide(keys, last, marks) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn mark_wide(keys: &[u32], last: u32, marks: &mut [u16]) -> (usize, (u32, u32)) {
    let bound = _mm512_set1_epi32(last.cast_signed());
    let (mut left, mut right) = (_mm512_setzero_si512(), _mm512_set1_epi32(-1));
    let mut n_left = 0;
    for (keys, marks) in keys.chunks(LANES).zip(marks) {
        let here = first(keys.len());
        // SAFETY: the mask ends at the last key.
        let some = unsafe { _mm512_maskz_loadu_epi32(here, keys.as_ptr().cast()) };
        *marks = _mm512_mask_cmple_epu32_mask(here, some, bound);
        left = _mm512_mask_max_epu32(left, *marks, left, some);
        right = _mm512_mask_min_epu32(right, here & !*marks, right, some);
        n_left += marks.count_ones() as usize;
    }
    (n_left, (_mm512_reduce_max_epu32(left), _mm512_reduce_min_epu32(right)))
}

pub(super) fn divide(division: &mut Division, range: Range<usize>, span: Span, columns: &mut [u32]) {
    let n = span.end.saturating_sub(span.start);
    assert!(range.end <= span.n_columns && division.marks.len() == n.div_ceil(LANES));
    assert!(span.fits(columns), "every key must have a place");
    if n > 0 {
        // SAFETY: the level is only chosen where AVX-512 is.
        unsafe { divide_wide(division, range, span, columns) }
    }
}

/// Left rows move to the front where they are, right ones through a spare column, which they fill from its end. Of a node's
/// rows 16 are moved at a time; what is written beyond them was read before, or is written again later.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn divide_wide(division: &mut Division, range: Range<usize>, span: Span, columns: &mut [u32]) {
    let Division { marks, moves, spare, .. } = division;
    let n = span.end - span.start;
    let n_odd = (n - 1) % LANES + 1;
    let (Some(odd), n_whole) = (marks.last().copied(), n - n_odd) else { return };
    moves.resize(marks.len() * LANES, 0);
    for (moves, &marks) in moves.chunks_exact_mut(LANES).zip(&*marks) {
        // SAFETY: 16 bytes.
        unsafe { _mm_storeu_si128(moves.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(order(marks, !marks))) };
    }
    spare.resize((n + LANES).max(spare.len()), 0);
    let (odd_left, odd_right) = (odd, first(n_odd) & !odd);
    let (n_odd_left, odd_order) = (odd.count_ones() as usize, order(odd_left, odd_right));
    for column in range {
        let start = column * span.stride + span.start;
        // SAFETY: `n` places from `start` on are within the columns. What is read begins at a place not before `low`, so that
        // 16 keys written there were read before; the odd ones are written by a mask. As the spare is longer by 16 than the
        // node, and `high` falls by 16 for as many rows at most, it does not fall below the start of the spare, nor does the
        // copy go beyond its end; that ends by a mask where the node ends.
        unsafe {
            let source = columns.as_mut_ptr().add(start);
            let end = spare.as_mut_ptr().add(spare.len());
            let (mut low, mut high) = (source, end);
            for (at, marks) in marks[..n_whole / LANES].iter().enumerate() {
                let order = _mm512_cvtepu8_epi32(_mm_loadu_si128(moves.as_ptr().add(at * LANES).cast()));
                let moved = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(source.add(at * LANES).cast()));
                let n_left = marks.count_ones() as usize;
                _mm512_storeu_si512(low.cast(), moved);
                _mm512_storeu_si512(high.sub(LANES).cast(), moved);
                low = low.add(n_left);
                high = high.sub(LANES - n_left);
            }
            let some = _mm512_maskz_loadu_epi32(first(n_odd), source.add(n_whole).cast());
            let moved = _mm512_permutexvar_epi32(odd_order, some);
            _mm512_mask_storeu_epi32(low.cast(), first(n_odd_left), moved);
            _mm512_storeu_si512(high.sub(LANES).cast(), moved);
            low = low.add(n_odd_left);
            high = high.sub(n_odd - n_odd_left);
            let n_right = usize::try_from(end.offset_from(high)).unwrap_or(0);
            for at in (0..n_right).step_by(LANES) {
                let here = first(n_right - at);
                let some = _mm512_maskz_loadu_epi32(here, high.add(at).cast());
                _mm512_mask_storeu_epi32(low.add(at).cast(), here, some);
            }
        }
    }
}

/// The places of the left lanes, then any, then those of the right ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn order(left: u16, right: u16) -> __m512i {
    let iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let last = !first(LANES - right.count_ones() as usize);
    _mm512_mask_expand_epi32(_mm512_maskz_compress_epi32(left, iota), last, _mm512_maskz_compress_epi32(right, iota))
}
