//! The cheapest cuts of few keys with AVX-512: every pair is compared, or a sorting network makes running sums possible.

#![expect(unsafe_code, reason = "the processor's own instructions")]

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _CMP_LE_OQ, _mm_cvtsi32_si128, _mm512_add_epi32, _mm512_add_ps, _mm512_alignr_epi32,
    _mm512_and_si512, _mm512_cmp_ps_mask, _mm512_cmple_epu32_mask, _mm512_cvtepi32_ps, _mm512_mask_add_epi32,
    _mm512_mask_cmp_ps_mask, _mm512_mask_cmpneq_epu32_mask, _mm512_mask_div_ps, _mm512_mask_min_epu32,
    _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_compress_epi32, _mm512_maskz_compress_ps,
    _mm512_maskz_loadu_epi32, _mm512_maskz_mov_epi32, _mm512_max_epu32, _mm512_min_ps, _mm512_mul_ps, _mm512_or_si512,
    _mm512_permutexvar_epi32, _mm512_reduce_max_epu32, _mm512_reduce_min_epu32, _mm512_reduce_min_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sllv_epi32, _mm512_srl_epi32,
    _mm512_srli_epi32, _mm512_storeu_si512, _mm512_sub_epi32,
};

use super::network::sort;
use super::{Around, Cheapest, KEYS_MAX, limit};
use crate::kernel::Packing;
use crate::kernel::avx512::first;

/// Lanes of 32 bits.
const LANES: usize = 16;

pub(super) fn find_cheapest(packing: Packing, keys: &[u32], around: Around, out: &mut Cheapest) {
    assert!(!keys.is_empty() && keys.len() <= KEYS_MAX, "more keys than are looked at at once");
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe {
        match keys.len().div_ceil(LANES) {
            1 => compare::<1>(packing, keys, around, out),
            2 => compare::<2>(packing, keys, around, out),
            3 | 4 => order::<4>(packing, keys, around, out),
            _ => order::<8>(packing, keys, around, out),
        }
    }
}

/// What the keys bring to a sum: the second class's weights in the upper half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn loads(keys: __m512i) -> __m512i {
    let weights = _mm512_and_si512(keys, _mm512_set1_epi32(Packing::MAX_WEIGHT.cast_signed()));
    // The class's bit is the 16s', as is the distance of the second class's half. 128 weights of at most 15 fit it.
    _mm512_sllv_epi32(weights, _mm512_and_si512(keys, _mm512_set1_epi32(1 << Packing::WEIGHT_BITS)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn compare<const N: usize>(packing: Packing, keys: &[u32], around: Around, out: &mut Cheapest) {
    let low = _mm512_set1_epi32(packing.low().cast_signed());
    let here: [u16; N] = std::array::from_fn(|vector| first(keys.len().saturating_sub(vector * LANES)));
    let (mut ends, mut sums) = ([_mm512_setzero_si512(); N], [_mm512_setzero_si512(); N]);
    let mut loads = [[0_u32; LANES]; N];
    let (mut smallest, mut largest) = (_mm512_set1_epi32(-1), _mm512_setzero_si512());
    for (vector, here) in here.iter().enumerate() {
        // SAFETY: the mask ends at the last key, and `loads` has 16 numbers each.
        let some = unsafe {
            let some = _mm512_maskz_loadu_epi32(*here, keys.as_ptr().add(vector * LANES).cast());
            _mm512_storeu_si512(loads[vector].as_mut_ptr().cast(), self::loads(some));
            some
        };
        smallest = _mm512_mask_min_epu32(smallest, *here, smallest, some);
        largest = _mm512_max_epu32(largest, some);
        ends[vector] = _mm512_or_si512(some, low);
    }
    out.range = (_mm512_reduce_min_epu32(smallest), _mm512_reduce_max_epu32(largest));
    for (key, load) in keys.iter().zip(loads.as_flattened()) {
        let (key, load) = (_mm512_set1_epi32(key.cast_signed()), _mm512_set1_epi32(load.cast_signed()));
        for (sum, end) in sums.iter_mut().zip(&ends) {
            *sum = _mm512_mask_add_epi32(*sum, _mm512_cmple_epu32_mask(key, *end), *sum, load);
        }
    }
    choose(&sums, &ends, here, around, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn order<const N: usize>(packing: Packing, keys: &[u32], around: Around, out: &mut Cheapest) {
    let none = _mm512_set1_epi32(-1);
    let mut vectors = [none; N];
    for (vector, keys) in vectors.iter_mut().zip(keys.chunks(LANES)) {
        let here = first(keys.len());
        // SAFETY: the mask ends at the last key. Other lanes are the largest number and stay behind all keys.
        let some = unsafe { _mm512_maskz_loadu_epi32(here, keys.as_ptr().cast()) };
        *vector = _mm512_or_si512(some, _mm512_maskz_mov_epi32(!here, none));
    }
    let sorted = sort(vectors);
    out.range.0 = _mm512_reduce_min_epu32(sorted[0]);
    let shift = _mm_cvtsi32_si128(packing.shift().cast_signed());
    let (zero, last_lane) = (_mm512_setzero_si512(), _mm512_set1_epi32(15));
    let low = _mm512_set1_epi32(packing.low().cast_signed());
    let (mut sums, mut cuts, mut carry) = ([zero; N], [0; N], zero);
    for vector in 0..N {
        let n = keys.len().saturating_sub(vector * LANES);
        let (own, here) = (sorted[vector], first(n));
        let twos = _mm512_maskz_mov_epi32(here, loads(own));
        let twos = _mm512_add_epi32(twos, _mm512_alignr_epi32::<15>(twos, zero));
        let fours = _mm512_add_epi32(twos, _mm512_alignr_epi32::<14>(twos, zero));
        let eights = _mm512_add_epi32(fours, _mm512_alignr_epi32::<12>(fours, zero));
        let all = _mm512_add_epi32(eights, _mm512_alignr_epi32::<8>(eights, zero));
        sums[vector] = _mm512_add_epi32(all, carry);
        carry = _mm512_permutexvar_epi32(last_lane, sums[vector]);
        // The next key of every key: a cut is where its rank is another.
        let next = _mm512_alignr_epi32::<1>(if vector + 1 < N { sorted[vector + 1] } else { none }, own);
        let ranks = (_mm512_srl_epi32(own, shift), _mm512_srl_epi32(next, shift));
        cuts[vector] = _mm512_mask_cmpneq_epu32_mask(here, ranks.0, ranks.1);
        if (1..=LANES).contains(&n) {
            let lane = _mm512_set1_epi32(i32::try_from(n - 1).unwrap_or(0));
            out.range.1 = _mm512_reduce_max_epu32(_mm512_permutexvar_epi32(lane, own));
        }
    }
    choose(&sums, &sorted.map(|keys| _mm512_or_si512(keys, low)), cuts, around, out);
}

/// Costs of the cuts by the sums on their left, of which the cheapest are put out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn choose<const N: usize>(
    sums: &[__m512i; N],
    ends: &[__m512i; N],
    cuts: [u16; N],
    around: Around,
    out: &mut Cheapest,
) {
    let all = |number: u32| _mm512_set1_epi32(number.cast_signed());
    let (mut firsts, mut seconds) = (*sums, *sums);
    let mut costs = [_mm512_setzero_ps(); N];
    let mut least = _mm512_set1_ps(around.to_beat);
    for vector in 0..N {
        let of_first = _mm512_and_si512(sums[vector], all(0xFFFF));
        firsts[vector] = _mm512_add_epi32(all(around.base.0), of_first);
        seconds[vector] = _mm512_add_epi32(all(around.base.1), _mm512_srli_epi32::<16>(sums[vector]));
        costs[vector] =
            cost((firsts[vector], seconds[vector]), (all(around.total.0), all(around.total.1)), cuts[vector]);
        least = _mm512_min_ps(least, costs[vector]);
    }
    let limit = _mm512_set1_ps(limit(_mm512_reduce_min_ps(least)).min(f32::MAX));
    out.n = 0;
    for vector in 0..N {
        let chosen = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(cuts[vector], costs[vector], limit);
        if chosen != 0 {
            let n = chosen.count_ones() as usize;
            assert!(out.n + n <= KEYS_MAX, "no more cuts than keys");
            // SAFETY: `n` numbers, for which there is place in every column.
            unsafe {
                let to = out.cost.as_mut_ptr().add(out.n);
                _mm512_mask_storeu_ps(to, first(n), _mm512_maskz_compress_ps(chosen, costs[vector]));
                for (column, numbers) in [
                    (&mut out.first, firsts[vector]),
                    (&mut out.second, seconds[vector]),
                    (&mut out.last, ends[vector]),
                ] {
                    let to = column.as_mut_ptr().add(out.n).cast();
                    _mm512_mask_storeu_epi32(to, first(n), _mm512_maskz_compress_epi32(chosen, numbers));
                }
            }
            out.n += n;
        }
    }
}

/// [`crate::kernel::keys::portable::cost`] of some lanes, infinite in the others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn cost(left: (__m512i, __m512i), total: (__m512i, __m512i), lanes: u16) -> __m512 {
    let (a, b) = (_mm512_cvtepi32_ps(left.0), _mm512_cvtepi32_ps(left.1));
    let c = _mm512_cvtepi32_ps(_mm512_sub_epi32(total.0, left.0));
    let d = _mm512_cvtepi32_ps(_mm512_sub_epi32(total.1, left.1));
    let (ab, cd) = (_mm512_add_ps(a, b), _mm512_add_ps(c, d));
    let both = _mm512_mul_ps(ab, cd);
    let sum = _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(a, b), cd), _mm512_mul_ps(_mm512_mul_ps(c, d), ab));
    let divided = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(both, _mm512_setzero_ps()) & lanes;
    _mm512_mask_div_ps(_mm512_set1_ps(f32::INFINITY), divided, sum, both)
}
