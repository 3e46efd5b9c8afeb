//! The loops of growing by ranks with AVX-512.

#![expect(
    unsafe_code,
    reason = "the processor's own instructions, and unchecked places in loops that checked them before"
)]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_or_si128, _mm_prefetch,
    _mm_shuffle_epi8, _mm256_loadu_si256, _mm512_and_si512, _mm512_castsi256_si512, _mm512_cmplt_epu32_mask,
    _mm512_i32gather_epi32, _mm512_loadu_si512, _mm512_mask_cmpeq_epu32_mask, _mm512_mask_cmple_epu32_mask,
    _mm512_mask_cmplt_epu32_mask, _mm512_mask_i32gather_epi32, _mm512_mask_max_epu32, _mm512_mask_min_epu32,
    _mm512_mask_storeu_epi32, _mm512_mask_test_epi32_mask, _mm512_maskz_compress_epi32, _mm512_maskz_loadu_epi32,
    _mm512_max_epu32, _mm512_min_epu32, _mm512_mullo_epi32, _mm512_or_si512, _mm512_permutexvar_epi32,
    _mm512_reduce_max_epu32, _mm512_reduce_min_epu32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_sllv_epi32,
    _mm512_srl_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
};

use super::Packing;
use super::avx512::first;
use super::keys::{Bins, CodeSet, Codes, Column, LOADS, Lane, Lefts, PAIR_SHIFT, TOGETHER, portable};

/// Lanes of 32 bits.
const LANES: usize = 16;

/// A number in all lanes, the largest that signed places can have if it is beyond them.
#[target_feature(enable = "avx512f")]
fn all(number: usize) -> __m512i {
    _mm512_set1_epi32(i32::try_from(number).unwrap_or(i32::MAX))
}

pub(super) fn gather(packing: Packing, column: Column<'_>, items: &[u32], out: &mut [u32]) -> (u32, u32) {
    assert!(out.len() >= items.len(), "every item must have a place");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { gather_wide(packing, column, items, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn gather_wide(packing: Packing, column: Column<'_>, items: &[u32], out: &mut [u32]) -> (u32, u32) {
    let shift = _mm_cvtsi32_si128(packing.shift().cast_signed());
    let low = _mm512_set1_epi32(packing.low().cast_signed());
    let (ranks, stride, end) = (column.ranks.as_ptr().cast(), all(column.stride), all(column.ranks.len()));
    let (mut smallest, mut largest) = (_mm512_set1_epi32(-1), _mm512_setzero_si512());
    let mut at = 0;
    while at + LANES <= items.len() {
        // SAFETY: `at + 16` is within the items.
        let some = unsafe { _mm512_loadu_si512(items.as_ptr().add(at).cast()) };
        let places = _mm512_mullo_epi32(_mm512_srl_epi32(some, shift), stride);
        assert!(_mm512_cmplt_epu32_mask(places, end) == u16::MAX, "every row must be in the column");
        // SAFETY: all places are below the column's end, as was just checked.
        let ranks = unsafe { _mm512_i32gather_epi32::<4>(places, ranks) };
        let keys = _mm512_or_si512(ranks, _mm512_and_si512(some, low));
        smallest = _mm512_min_epu32(smallest, keys);
        largest = _mm512_max_epu32(largest, keys);
        // SAFETY: `out` is as long as the items.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(at).cast(), keys) };
        at += LANES;
    }
    if at < items.len() {
        let here = first(items.len() - at);
        // SAFETY: the mask ends at the last item.
        let some = unsafe { _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast()) };
        let places = _mm512_mullo_epi32(_mm512_srl_epi32(some, shift), stride);
        assert!(_mm512_mask_cmplt_epu32_mask(here, places, end) == here, "every row must be in the column");
        // SAFETY: all places are below the column's end, as was just checked.
        let ranks = unsafe { _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), here, places, ranks) };
        let keys = _mm512_or_si512(ranks, _mm512_and_si512(some, low));
        smallest = _mm512_mask_min_epu32(smallest, here, smallest, keys);
        largest = _mm512_mask_max_epu32(largest, here, largest, keys);
        // SAFETY: the mask ends at the last place.
        unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr().add(at).cast(), here, keys) };
    }
    (_mm512_reduce_min_epu32(smallest), _mm512_reduce_max_epu32(largest))
}

pub(super) fn costs(lefts: &Lefts, total: (u32, u32), costs: &mut [f32]) -> f32 {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn wide(lefts: &Lefts, total: (u32, u32), costs: &mut [f32]) -> f32 {
        portable::costs(lefts, total, costs)
    }
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { wide(lefts, total, costs) }
}

pub(super) fn slacks(lefts: &Lefts, base: (u32, u32), total: (u32, u32), limit: f32, slacks: &mut [f32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn wide(lefts: &Lefts, base: (u32, u32), total: (u32, u32), limit: f32, slacks: &mut [f32]) {
        portable::slacks(lefts, base, total, limit, slacks);
    }
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { wide(lefts, base, total, limit, slacks) }
}

pub(super) fn border(keys: &[u32], last: u32) -> (usize, u32, u32) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn wide(keys: &[u32], last: u32) -> (usize, u32, u32) {
        portable::border(keys, last)
    }
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { wide(keys, last) }
}

pub(super) fn within(keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize {
    assert!(out.len() >= keys.len(), "every key must have a place");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { within_wide(keys, low, high, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn within_wide(keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize {
    let (low, high) = (_mm512_set1_epi32(low.cast_signed()), _mm512_set1_epi32(high.cast_signed()));
    let mut n = 0;
    for at in (0..keys.len()).step_by(LANES) {
        let here = first(keys.len() - at);
        // SAFETY: the mask ends at the last key.
        let some = unsafe { _mm512_maskz_loadu_epi32(here, keys.as_ptr().add(at).cast()) };
        let inside = _mm512_mask_cmple_epu32_mask(_mm512_mask_cmple_epu32_mask(here, some, high), low, some);
        let count = inside.count_ones() as usize;
        // SAFETY: as many places as keys were seen, and there are as many places as keys.
        unsafe {
            let to = out.as_mut_ptr().add(n).cast();
            _mm512_mask_storeu_epi32(to, first(count), _mm512_maskz_compress_epi32(inside, some));
        }
        n += count;
    }
    n
}

pub(super) fn divide(marks: &[u16], items: &mut [u32], spare: &mut [u32]) -> usize {
    assert!(
        marks.len() * LANES >= items.len() && spare.len() >= items.len(),
        "every item must have a mark and a place"
    );
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { divide_wide(marks, items, spare) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn divide_wide(marks: &[u16], items: &mut [u32], spare: &mut [u32]) -> usize {
    let (mut left, mut right) = (0, 0);
    for (at, marks) in (0..items.len()).step_by(LANES).zip(marks) {
        let here = first(items.len() - at);
        let (to_left, to_right) = (here & marks, here & !marks);
        let (n_left, n_right) = (to_left.count_ones() as usize, to_right.count_ones() as usize);
        // SAFETY: the mask ends at the last item; what is written to the front of the items was read before, since `left` is
        // not above `at`; the spare is as long as the items.
        unsafe {
            let some = _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast());
            let to = items.as_mut_ptr().add(left).cast();
            _mm512_mask_storeu_epi32(to, first(n_left), _mm512_maskz_compress_epi32(to_left, some));
            let to = spare.as_mut_ptr().add(right).cast();
            _mm512_mask_storeu_epi32(to, first(n_right), _mm512_maskz_compress_epi32(to_right, some));
        }
        left += n_left;
        right += n_right;
    }
    items[left..left + right].copy_from_slice(&spare[..right]);
    left
}

pub(super) fn tally_codes(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    shift: u32,
    items: &[u32],
    bins: &mut [Bins; TOGETHER],
    places: &mut [u32],
) {
    assert!(places.len() >= items.len(), "every item must have a place");
    assert!(features.iter().all(|feature| *feature < codes.stride), "every feature must have a code");
    match shift {
        0 => tally::<0>(codes, features, items, bins, places),
        1 => tally::<1>(codes, features, items, bins, places),
        2 => tally::<2>(codes, features, items, bins, places),
        3 => tally::<3>(codes, features, items, bins, places),
        _ => tally::<4>(codes, features, items, bins, places),
    }
}

/// Items between the one that is counted and the one whose codes are fetched.
const AHEAD: usize = 24;

fn tally<const SHIFT: u32>(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    items: &[u32],
    bins: &mut [Bins; TOGETHER],
    places: &mut [u32],
) {
    if codes.in_order && (HALF..=2 * HALF).contains(&codes.stride) {
        // SAFETY: the level is only chosen where AVX-512 is.
        return unsafe { tally_in_order::<SHIFT>(codes, features, items, bins, places) };
    }
    let (n_rows, width) = (codes.bytes.len() / codes.stride, codes.stride);
    let largest = items.iter().fold(0, |largest, item| largest.max(*item));
    let n_needed = if codes.in_order { items.len() } else { (largest >> PAIR_SHIFT) as usize + 1 };
    assert!(n_needed <= n_rows, "every row must have codes");
    let columns = features.map(|feature| codes.bytes.as_ptr().wrapping_add(feature));
    let row = |at: usize, item: u32| if codes.in_order { at } else { (item >> PAIR_SHIFT) as usize };
    for (at, (item, place)) in items.iter().zip(places).enumerate() {
        if let Some(ahead) = items.get(at + AHEAD) {
            // Nodes far down the tree touch a new cache line with every row: it is asked for in time.
            // SAFETY: a hint, which reads nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(columns[0].wrapping_add(row(at + AHEAD, *ahead) * width).cast()) };
        }
        let start = row(at, *item) * width;
        // SAFETY: the row's codes are there, as was checked for all rows, and the features are below their number.
        *place = u32::from_le_bytes(columns.map(|column| unsafe { *column.add(start) }));
        add::<SHIFT>(*item, *place, bins);
    }
}

/// Adds an item's weight to the bins of its codes.
#[inline]
fn add<const SHIFT: u32>(item: u32, place: u32, [one, two, three, four]: &mut [Bins; TOGETHER]) {
    let (load, codes) = (LOADS[item as usize % LOADS.len()], place.to_le_bytes());
    one[usize::from(codes[0] >> SHIFT)] += load;
    two[usize::from(codes[1] >> SHIFT)] += load;
    three[usize::from(codes[2] >> SHIFT)] += load;
    four[usize::from(codes[3] >> SHIFT)] += load;
}

/// Bytes that are read at once: two reads make a row.
const HALF: usize = 16;

/// Of rows of so few bytes the codes wanted are shuffled to their place.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn tally_in_order<const SHIFT: u32>(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    items: &[u32],
    bins: &mut [Bins; TOGETHER],
    places: &mut [u32],
) {
    let stride = codes.stride;
    assert!(
        (HALF..=2 * HALF).contains(&stride) && items.len() * stride <= codes.bytes.len(),
        "every row must have codes"
    );
    // A feature's place in one of the halves, the second of which ends where the row does; none in the other.
    let (mut in_first, mut in_second) = ([-1; HALF], [-1; HALF]);
    for (lane, feature) in features.into_iter().enumerate() {
        let (half, place) =
            if feature < HALF { (&mut in_first, feature) } else { (&mut in_second, feature + HALF - stride) };
        half[lane] = i8::try_from(place).unwrap_or(-1);
    }
    // SAFETY: 16 bytes each.
    let (in_first, in_second) =
        unsafe { (_mm_loadu_si128(in_first.as_ptr().cast()), _mm_loadu_si128(in_second.as_ptr().cast())) };
    let mut row = codes.bytes.as_ptr();
    for (item, place) in items.iter().zip(places) {
        // SAFETY: there are as many rows as items, and both halves lie in their row.
        let halves = unsafe {
            let halves = (_mm_loadu_si128(row.cast()), _mm_loadu_si128(row.add(stride - HALF).cast()));
            row = row.add(stride);
            halves
        };
        let own = _mm_or_si128(_mm_shuffle_epi8(halves.0, in_first), _mm_shuffle_epi8(halves.1, in_second));
        *place = _mm_cvtsi128_si32(own).cast_unsigned();
        add::<SHIFT>(*item, *place, bins);
    }
}

pub(super) fn choose(items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize {
    assert!(codes.places.len() == items.len() && out.len() >= items.len(), "every item must have a code and a place");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { choose_wide(items, codes, set, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn choose_wide(items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize {
    let shift = _mm_cvtsi32_si128(8 * i32::try_from(codes.lane).unwrap_or(0));
    // SAFETY: eight words, and no code is beyond them.
    let set = unsafe { _mm512_castsi256_si512(_mm256_loadu_si256(set.as_ptr().cast())) };
    let mut n = 0;
    for at in (0..items.len()).step_by(LANES) {
        let here = first(items.len() - at);
        // SAFETY: the mask ends at the last item, whose number is that of the places; no more items are written than read.
        unsafe {
            let places = _mm512_maskz_loadu_epi32(here, codes.places.as_ptr().add(at).cast());
            let own = _mm512_and_si512(_mm512_srl_epi32(places, shift), _mm512_set1_epi32(0xFF));
            let words = _mm512_permutexvar_epi32(_mm512_srli_epi32::<5>(own), set);
            let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(own, _mm512_set1_epi32(31)));
            let chosen = _mm512_mask_test_epi32_mask(here, words, bit);
            let some = _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast());
            let count = chosen.count_ones() as usize;
            let to = out.as_mut_ptr().add(n).cast();
            _mm512_mask_storeu_epi32(to, first(count), _mm512_maskz_compress_epi32(chosen, some));
            n += count;
        }
    }
    n
}

pub(super) fn mark_codes(
    column: Column<'_>,
    cut: (u32, u32),
    codes: Lane<'_>,
    items: &[u32],
    marks: &mut [u16],
) -> usize {
    assert!(codes.places.len() == items.len(), "every item must have a code");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { mark_codes_wide(column, cut, codes, items, marks) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn mark_codes_wide(
    column: Column<'_>,
    (code, last): (u32, u32),
    codes: Lane<'_>,
    items: &[u32],
    marks: &mut [u16],
) -> usize {
    let shift = _mm_cvtsi32_si128(8 * i32::try_from(codes.lane).unwrap_or(0));
    let (code, bound) = (_mm512_set1_epi32(code.cast_signed()), _mm512_set1_epi32(last.cast_signed()));
    let (ranks, stride, end) = (column.ranks.as_ptr().cast(), all(column.stride), all(column.ranks.len()));
    let mut n_left = 0;
    for (at, marks) in (0..items.len()).step_by(LANES).zip(marks) {
        let here = first(items.len() - at);
        // SAFETY: the mask ends at the last item, whose number is that of the places. Of the column, places below its end are
        // read only.
        unsafe {
            let places = _mm512_maskz_loadu_epi32(here, codes.places.as_ptr().add(at).cast());
            let own = _mm512_and_si512(_mm512_srl_epi32(places, shift), _mm512_set1_epi32(0xFF));
            *marks = _mm512_mask_cmplt_epu32_mask(here, own, code);
            let equal = _mm512_mask_cmpeq_epu32_mask(here, own, code);
            if equal != 0 {
                let some = _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast());
                let places = _mm512_mullo_epi32(_mm512_srli_epi32::<PAIR_SHIFT>(some), stride);
                let inside = _mm512_mask_cmplt_epu32_mask(equal, places, end);
                let keys = _mm512_mask_i32gather_epi32::<4>(bound, inside, places, ranks);
                *marks |= _mm512_mask_cmple_epu32_mask(equal, keys, bound);
            }
        }
        n_left += marks.count_ones() as usize;
    }
    n_left
}
