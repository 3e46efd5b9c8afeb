//! The training loops with AVX-512.

#![expect(
    unsafe_code,
    reason = "the processor's own instructions, and unchecked places in loops that checked them before"
)]

use std::arch::x86_64::{
    __m512i, __mmask16, _CMP_LE_OQ, _mm_cvtsi32_si128, _mm512_add_epi32, _mm512_add_ps, _mm512_alignr_epi32,
    _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_div_ps, _mm512_i32gather_epi32, _mm512_loadu_si512,
    _mm512_mask_blend_epi32, _mm512_mask_cmp_ps_mask, _mm512_mask_cmplt_epu32_mask, _mm512_mask_i32gather_epi32,
    _mm512_mask_slli_epi32, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_mask_test_epi32_mask,
    _mm512_maskz_compress_epi32, _mm512_maskz_loadu_epi32, _mm512_maskz_loadu_ps, _mm512_min_epu32, _mm512_mul_ps,
    _mm512_or_si512, _mm512_permutex2var_epi32, _mm512_permutexvar_epi32, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_sll_epi32, _mm512_slli_epi32, _mm512_sllv_epi32, _mm512_srl_epi32, _mm512_srli_epi32,
    _mm512_srlv_epi32, _mm512_storeu_si512, _mm512_sub_epi32, _mm512_test_epi32_mask,
};

use super::{Packing, SECTION_ROWS, Side, Wanted};
use crate::model_file::nodes::Packed;

/// Lanes of 32 bits.
const LANES: usize = 16;
/// Words of a set of the rows of a section.
const SECTION_WORDS: usize = SECTION_ROWS / 32;

/// Whether the processor has what these loops need.
pub(super) fn is_here() -> bool {
    super::avx2::is_here()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

pub(super) fn select(packing: Packing, order: &[u32], weights: &[u8], out: &mut [u32]) -> usize {
    assert!(out.len() >= order.len(), "every item must have a place");
    // Four bytes are read at each weight, so the last three are left to the plain loop.
    let Some(last) = weights.len().checked_sub(4) else { return super::portable::select(packing, order, weights, out) };
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { select_wide(packing, order, weights, last, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn select_wide(packing: Packing, order: &[u32], weights: &[u8], last: usize, out: &mut [u32]) -> usize {
    let shift = _mm_cvtsi32_si128(packing.shift().cast_signed());
    let mut len = 0;
    let mut at = 0;
    let last_row = _mm512_set1_epi32(i32::try_from(last).unwrap_or(i32::MAX));
    while at + LANES <= order.len() {
        // SAFETY: `at + 16` is within the order.
        let items = unsafe { _mm512_loadu_si512(order.as_ptr().add(at).cast()) };
        let rows = _mm512_srl_epi32(items, shift);
        // A row beyond `last` reads from there and shifts its byte down.
        let from = _mm512_min_epu32(rows, last_row);
        let excess = _mm512_slli_epi32::<3>(_mm512_min_epu32(_mm512_sub_epi32(rows, from), _mm512_set1_epi32(4)));
        // SAFETY: four bytes at most at `last`, which is four before the end of the weights.
        let words = unsafe { _mm512_i32gather_epi32::<1>(from, weights.as_ptr().cast()) };
        let weight = _mm512_and_si512(_mm512_srlv_epi32(words, excess), _mm512_set1_epi32(0xFF));
        let kept = _mm512_test_epi32_mask(weight, weight);
        let items = _mm512_maskz_compress_epi32(kept, _mm512_or_si512(items, weight));
        // SAFETY: `len <= at`, so 16 more items are within `out`, which is as long as the order.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(len).cast(), items) };
        len += kept.count_ones() as usize;
        at += LANES;
    }
    len + super::portable::select(packing, &order[at..], weights, &mut out[len..])
}

pub(super) fn partition(packing: Packing, column: &mut [u32], spare: &mut [u32], side: Side<'_>, wanted: Wanted) {
    assert!(spare.len() >= column.len(), "every item must have a place");
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { partition_wide(packing, column, spare, side, wanted) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn partition_wide(packing: Packing, column: &mut [u32], spare: &mut [u32], side: Side<'_>, wanted: Wanted) {
    let words = side.set.words.as_slice();
    if let Ok(words) = <&[u32; SECTION_WORDS]>::try_from(words) {
        let words = Section::load(words);
        divide(packing, column, spare, side.is_right, wanted, |rows, here| words.bits(rows, here));
    } else {
        divide(packing, column, spare, side.is_right, wanted, |rows, here| bits(words, rows, here));
    }
}

/// A set of the rows of a section in registers.
struct Section([__m512i; 4]);

impl Section {
    #[target_feature(enable = "avx512f")]
    fn load(words: &[u32; SECTION_WORDS]) -> Self {
        // SAFETY: four times 16 words.
        unsafe {
            let from = words.as_ptr();
            Self([
                _mm512_loadu_si512(from.cast()),
                _mm512_loadu_si512(from.add(LANES).cast()),
                _mm512_loadu_si512(from.add(2 * LANES).cast()),
                _mm512_loadu_si512(from.add(3 * LANES).cast()),
            ])
        }
    }

    /// Lanes whose rows are in the set.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn bits(&self, rows: __m512i, here: __mmask16) -> __mmask16 {
        let places = _mm512_srli_epi32::<5>(rows);
        let low = _mm512_permutex2var_epi32(self.0[0], places, self.0[1]);
        let upper = _mm512_test_epi32_mask(places, _mm512_set1_epi32(32));
        let words = _mm512_mask_blend_epi32(upper, low, _mm512_permutex2var_epi32(self.0[2], places, self.0[3]));
        let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(rows, _mm512_set1_epi32(31)));
        _mm512_mask_test_epi32_mask(here, words, bit)
    }
}

/// Lanes whose rows are in a set of any size.
#[inline]
#[target_feature(enable = "avx512f")]
fn bits(words: &[u32], rows: __m512i, here: __mmask16) -> __mmask16 {
    let n_words = _mm512_set1_epi32(i32::try_from(words.len()).unwrap_or(i32::MAX));
    let places = _mm512_srli_epi32::<5>(rows);
    let inside = _mm512_mask_cmplt_epu32_mask(here, places, n_words);
    // SAFETY: only places below the number of words are read.
    let found =
        unsafe { _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), inside, places, words.as_ptr().cast()) };
    let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(rows, _mm512_set1_epi32(31)));
    _mm512_test_epi32_mask(found, bit)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn divide(
    packing: Packing,
    column: &mut [u32],
    spare: &mut [u32],
    set_is_right: bool,
    wanted: Wanted,
    in_set: impl Fn(__m512i, __mmask16) -> __mmask16,
) {
    let n = column.len();
    let shift = _mm_cvtsi32_si128(packing.shift().cast_signed());
    let flip = if set_is_right { u16::MAX } else { 0 };
    let (mut left, mut right) = (0, 0);
    let mut at = 0;
    while n - at >= LANES {
        // SAFETY: `at + 16` is within the column.
        let items = unsafe { _mm512_loadu_si512(column.as_ptr().add(at).cast()) };
        let to_left = in_set(_mm512_srl_epi32(items, shift), u16::MAX) ^ flip;
        let n_left = to_left.count_ones() as usize;
        // SAFETY: `left <= at` and `right <= at`, so 16 more are within the column, whose items up to `at + 16` are
        // read already, and within the spare, which is as long.
        unsafe {
            _mm512_storeu_si512(column.as_mut_ptr().add(left).cast(), _mm512_maskz_compress_epi32(to_left, items));
            _mm512_storeu_si512(spare.as_mut_ptr().add(right).cast(), _mm512_maskz_compress_epi32(!to_left, items));
        }
        left += n_left;
        right += LANES - n_left;
        at += LANES;
    }
    let here = first(n - at);
    // SAFETY: the mask ends at the column's end.
    let items = unsafe { _mm512_maskz_loadu_epi32(here, column.as_ptr().add(at).cast()) };
    let to_left = (in_set(_mm512_srl_epi32(items, shift), here) ^ flip) & here;
    let to_right = !to_left & here;
    let (n_left, n_right) = (to_left.count_ones() as usize, to_right.count_ones() as usize);
    // SAFETY: the left items end at the first right one at the latest; the right ones are put behind all left ones, whose
    // number and theirs are `n` together; as many are in the spare as are copied, in whole vectors as far as they go.
    unsafe {
        let to = column.as_mut_ptr();
        _mm512_mask_storeu_epi32(to.add(left).cast(), first(n_left), _mm512_maskz_compress_epi32(to_left, items));
        left += n_left;
        if wanted.right {
            let mut copied = 0;
            while copied < right {
                let mask = first(right - copied);
                let items = _mm512_maskz_loadu_epi32(mask, spare.as_ptr().add(copied).cast());
                _mm512_mask_storeu_epi32(to.add(left + copied).cast(), mask, items);
                copied += LANES;
            }
            let rights = _mm512_maskz_compress_epi32(to_right, items);
            _mm512_mask_storeu_epi32(to.add(left + right).cast(), first(n_right), rights);
        }
    }
}

pub(super) fn renumber(packing: Packing, items: &mut [u32], numbers: &[u32]) {
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { renumber_wide(packing, items, numbers) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn renumber_wide(packing: Packing, items: &mut [u32], numbers: &[u32]) {
    let shift = _mm_cvtsi32_si128(packing.shift().cast_signed());
    let low = _mm512_set1_epi32((1 << packing.shift()) - 1);
    let n_numbers = _mm512_set1_epi32(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
    for at in (0..items.len()).step_by(LANES) {
        let here = first(items.len() - at);
        // SAFETY: the mask ends at the end of the items.
        let old = unsafe { _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast()) };
        let rows = _mm512_srl_epi32(old, shift);
        let inside = _mm512_mask_cmplt_epu32_mask(here, rows, n_numbers);
        // SAFETY: only places below the number of entries are read.
        let new =
            unsafe { _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), inside, rows, numbers.as_ptr().cast()) };
        let new = _mm512_or_si512(_mm512_sll_epi32(new, shift), _mm512_and_si512(old, low));
        // SAFETY: as for reading.
        unsafe { _mm512_mask_storeu_epi32(items.as_mut_ptr().add(at).cast(), here, new) };
    }
}

/// A mask of the first lanes.
pub(super) fn first(n: usize) -> __mmask16 {
    if n >= LANES { u16::MAX } else { (1 << n) - 1 }
}

pub(super) fn pair_costs(items: &[u32], total: (u32, u32), costs: &mut [f32]) {
    assert!(costs.len() >= items.len(), "every item must have a cost");
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { pair_costs_wide(items, total, costs) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn pair_costs_wide(items: &[u32], total: (u32, u32), costs: &mut [f32]) {
    let n = items.len();
    let (total_first, total_second) =
        (_mm512_set1_epi32(total.0.cast_signed()), _mm512_set1_epi32(total.1.cast_signed()));
    let max_weight = _mm512_set1_epi32(Packing::MAX_WEIGHT.cast_signed());
    let class = _mm512_set1_epi32(1 << Packing::WEIGHT_BITS);
    let last = _mm512_set1_epi32(15);
    let (mut carry_first, mut carry_second) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let mut at = 0;
    while at < n {
        let here = first(n - at);
        // SAFETY: the mask ends at the end of the items.
        let items = unsafe { _mm512_maskz_loadu_epi32(here, items.as_ptr().add(at).cast()) };
        let weights = _mm512_and_si512(items, max_weight);
        let in_second = _mm512_test_epi32_mask(items, class);
        // Sums of 16 weights of at most 15 fit 16 bits: both classes are summed in one vector.
        let both = _mm512_mask_slli_epi32::<16>(weights, in_second, weights);
        let both = running(both);
        let first = _mm512_add_epi32(carry_first, _mm512_and_si512(both, _mm512_set1_epi32(0xFFFF)));
        let second = _mm512_add_epi32(carry_second, _mm512_srli_epi32::<16>(both));
        carry_first = _mm512_permutexvar_epi32(last, first);
        carry_second = _mm512_permutexvar_epi32(last, second);
        let left = (_mm512_cvtepi32_ps(first), _mm512_cvtepi32_ps(second));
        let right = (
            _mm512_cvtepi32_ps(_mm512_sub_epi32(total_first, first)),
            _mm512_cvtepi32_ps(_mm512_sub_epi32(total_second, second)),
        );
        let (all_left, all_right) = (_mm512_add_ps(left.0, left.1), _mm512_add_ps(right.0, right.1));
        let of_left = _mm512_mul_ps(_mm512_mul_ps(left.0, left.1), all_right);
        let of_right = _mm512_mul_ps(_mm512_mul_ps(right.0, right.1), all_left);
        let cost = _mm512_div_ps(_mm512_add_ps(of_left, of_right), _mm512_mul_ps(all_left, all_right));
        // SAFETY: there are at least as many costs as items.
        unsafe { _mm512_mask_storeu_ps(costs.as_mut_ptr().add(at), here, cost) };
        at += LANES;
    }
}

/// Running sums over the lanes.
#[target_feature(enable = "avx512f")]
fn running(values: __m512i) -> __m512i {
    let zero = _mm512_setzero_si512();
    let values = _mm512_add_epi32(values, _mm512_alignr_epi32::<15>(values, zero));
    let values = _mm512_add_epi32(values, _mm512_alignr_epi32::<14>(values, zero));
    let values = _mm512_add_epi32(values, _mm512_alignr_epi32::<12>(values, zero));
    _mm512_add_epi32(values, _mm512_alignr_epi32::<8>(values, zero))
}

pub(super) fn pair_sums(items: &[u32]) -> (u64, u64) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn wide(items: &[u32]) -> (u64, u64) {
        super::portable::pair_sums(items)
    }
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { wide(items) }
}

pub(super) fn smallest(costs: &[f32]) -> f32 {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn wide(costs: &[f32]) -> f32 {
        super::portable::smallest(costs)
    }
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { wide(costs) }
}

pub(super) fn next_within(costs: &[f32], from: usize, limit: f32) -> Option<usize> {
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { next_within_wide(costs, from, limit) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn next_within_wide(costs: &[f32], from: usize, limit: f32) -> Option<usize> {
    let limit = _mm512_set1_ps(limit);
    for at in (from..costs.len()).step_by(LANES) {
        let here = first(costs.len() - at);
        // SAFETY: the mask ends at the last cost.
        let some = unsafe { _mm512_maskz_loadu_ps(here, costs.as_ptr().add(at)) };
        let within = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(here, some, limit);
        if within != 0 {
            return Some(at + within.trailing_zeros() as usize);
        }
    }
    None
}

pub(super) fn are_sound(nodes: &[Packed], n_features: usize, n_values: usize) -> bool {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn wide(nodes: &[Packed], n_features: usize, n_values: usize) -> bool {
        crate::model_file::nodes::are_sound(nodes, n_features, n_values)
    }
    // SAFETY: the level is only chosen where `is_here`.
    unsafe { wide(nodes, n_features, n_values) }
}
