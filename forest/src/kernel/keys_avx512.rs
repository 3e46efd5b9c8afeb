//! The loops of growing by ranks with AVX-512.

#![expect(
    unsafe_code,
    reason = "the processor's own instructions, and unchecked places in loops that checked them before"
)]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_prefetch, _mm256_loadu_si256, _mm512_and_si512,
    _mm512_castsi256_si512, _mm512_cmplt_epu32_mask, _mm512_i32gather_epi32, _mm512_loadu_si512,
    _mm512_mask_cmpeq_epu32_mask, _mm512_mask_cmpgt_epu32_mask, _mm512_mask_cmple_epu32_mask,
    _mm512_mask_cmplt_epu32_mask, _mm512_mask_i32gather_epi32, _mm512_mask_max_epu32, _mm512_mask_min_epu32,
    _mm512_mask_storeu_epi32, _mm512_mask_test_epi32_mask, _mm512_maskz_compress_epi32, _mm512_maskz_loadu_epi32,
    _mm512_max_epu32, _mm512_min_epu32, _mm512_mullo_epi32, _mm512_or_si512, _mm512_permutexvar_epi32,
    _mm512_reduce_max_epu32, _mm512_reduce_min_epu32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_sllv_epi32,
    _mm512_srl_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
};

use super::Packing;
use super::keys::{Bins, CodeSet, Codes, Column, LOADS, Lane, Lefts, PAIR_SHIFT, TOGETHER, portable};

/// Lanes of 32 bits.
const LANES: usize = 16;

/// A mask of the first lanes.
fn first(n: usize) -> u16 {
    if n >= LANES { u16::MAX } else { (1 << n) - 1 }
}

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

pub(super) fn divide(keys: &[u32], last: u32, items: &mut [u32], spare: &mut [u32]) -> usize {
    assert!(items.len() == keys.len() && spare.len() >= keys.len(), "every item must have a key and a place");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { divide_wide(keys, last, items, spare) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn divide_wide(keys: &[u32], last: u32, items: &mut [u32], spare: &mut [u32]) -> usize {
    let bound = _mm512_set1_epi32(last.cast_signed());
    let (mut left, mut right) = (0, 0);
    for at in (0..keys.len()).step_by(LANES) {
        let here = first(keys.len() - at);
        // SAFETY: the mask ends at the last key and the last item; what is written to the front of the items was read
        // before, since `left` is not above `at`; the spare is as long as the items.
        unsafe {
            let some = _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast());
            let of_keys = _mm512_maskz_loadu_epi32(here, keys.as_ptr().add(at).cast());
            let to_left = _mm512_mask_cmple_epu32_mask(here, of_keys, bound);
            let to_right = _mm512_mask_cmpgt_epu32_mask(here, of_keys, bound);
            let (n_left, n_right) = (to_left.count_ones() as usize, to_right.count_ones() as usize);
            let to = items.as_mut_ptr().add(left).cast();
            _mm512_mask_storeu_epi32(to, first(n_left), _mm512_maskz_compress_epi32(to_left, some));
            let to = spare.as_mut_ptr().add(right).cast();
            _mm512_mask_storeu_epi32(to, first(n_right), _mm512_maskz_compress_epi32(to_right, some));
            left += n_left;
            right += n_right;
        }
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
    assert!(features.iter().all(|feature| *feature < codes.n_features), "every feature must have a code");
    match shift {
        0 => tally_ahead::<0>(codes, features, items, bins, places),
        1 => tally_ahead::<1>(codes, features, items, bins, places),
        2 => tally_ahead::<2>(codes, features, items, bins, places),
        3 => tally_ahead::<3>(codes, features, items, bins, places),
        _ => tally_ahead::<4>(codes, features, items, bins, places),
    }
}

/// Items between the one that is counted and the one whose codes are fetched.
const AHEAD: usize = 24;

/// Nodes far down the tree touch a new cache line with every row: it is asked for in time.
fn tally_ahead<const SHIFT: u32>(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    items: &[u32],
    bins: &mut [Bins; TOGETHER],
    places: &mut [u32],
) {
    let (n_rows, width) = (codes.bytes.len() / codes.n_features, codes.n_features);
    let largest = items.iter().fold(0, |largest, item| largest.max(*item));
    assert!((largest >> PAIR_SHIFT) < u32::try_from(n_rows).unwrap_or(u32::MAX), "every row must have codes");
    let columns = features.map(|feature| codes.bytes.as_ptr().wrapping_add(feature));
    let [one, two, three, four] = bins;
    let mut count = |item: u32, place: &mut u32| {
        let start = (item >> PAIR_SHIFT) as usize * width;
        let load = LOADS[item as usize % LOADS.len()];
        // SAFETY: the row's codes are there, as was checked for all rows, and the features are below their number.
        let codes = columns.map(|column| unsafe { *column.add(start) });
        one[usize::from(codes[0] >> SHIFT)] += load;
        two[usize::from(codes[1] >> SHIFT)] += load;
        three[usize::from(codes[2] >> SHIFT)] += load;
        four[usize::from(codes[3] >> SHIFT)] += load;
        *place = u32::from_le_bytes(codes);
    };
    let n_fetched = items.len().saturating_sub(AHEAD);
    let (places, last_places) = places[..items.len()].split_at_mut(n_fetched);
    for (window, place) in items.windows(AHEAD + 1).zip(places) {
        let start = (window[AHEAD] >> PAIR_SHIFT) as usize * width;
        // SAFETY: a hint, which reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(columns[0].wrapping_add(start).cast()) };
        count(window[0], place);
    }
    for (item, place) in items[n_fetched..].iter().zip(last_places) {
        count(*item, place);
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

pub(super) fn divide_codes(
    column: Column<'_>,
    (code, last): (u32, u32),
    codes: Lane<'_>,
    items: &mut [u32],
    spare: &mut [u32],
) -> usize {
    assert!(codes.places.len() == items.len() && spare.len() >= items.len(), "every item must have a code and a place");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { divide_codes_wide(column, (code, last), codes, items, spare) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn divide_codes_wide(
    column: Column<'_>,
    (code, last): (u32, u32),
    codes: Lane<'_>,
    items: &mut [u32],
    spare: &mut [u32],
) -> usize {
    let shift = _mm_cvtsi32_si128(8 * i32::try_from(codes.lane).unwrap_or(0));
    let (code, bound) = (_mm512_set1_epi32(code.cast_signed()), _mm512_set1_epi32(last.cast_signed()));
    let (ranks, stride, end) = (column.ranks.as_ptr().cast(), all(column.stride), all(column.ranks.len()));
    let (mut left, mut right) = (0, 0);
    for at in (0..items.len()).step_by(LANES) {
        let here = first(items.len() - at);
        // SAFETY: the mask ends at the last item, whose number is that of the places; what is written to the front of the
        // items was read before, since `left` is not above `at`; the spare is as long as the items. Of the
        // column, places below its end are read only.
        unsafe {
            let places = _mm512_maskz_loadu_epi32(here, codes.places.as_ptr().add(at).cast());
            let own = _mm512_and_si512(_mm512_srl_epi32(places, shift), _mm512_set1_epi32(0xFF));
            let some = _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast());
            let mut to_left = _mm512_mask_cmplt_epu32_mask(here, own, code);
            let equal = _mm512_mask_cmpeq_epu32_mask(here, own, code);
            if equal != 0 {
                let places = _mm512_mullo_epi32(_mm512_srli_epi32::<PAIR_SHIFT>(some), stride);
                let inside = _mm512_mask_cmplt_epu32_mask(equal, places, end);
                let keys = _mm512_mask_i32gather_epi32::<4>(bound, inside, places, ranks);
                to_left |= _mm512_mask_cmple_epu32_mask(equal, keys, bound);
            }
            let to_right = here & !to_left;
            let (n_left, n_right) = (to_left.count_ones() as usize, to_right.count_ones() as usize);
            let to = items.as_mut_ptr().add(left).cast();
            _mm512_mask_storeu_epi32(to, first(n_left), _mm512_maskz_compress_epi32(to_left, some));
            let to = spare.as_mut_ptr().add(right).cast();
            _mm512_mask_storeu_epi32(to, first(n_right), _mm512_maskz_compress_epi32(to_right, some));
            left += n_left;
            right += n_right;
        }
    }
    items[left..left + right].copy_from_slice(&spare[..right]);
    left
}
