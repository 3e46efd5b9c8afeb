//! The exchange with AVX-512: eight numbers are compressed or expanded at once.

#![expect(
    unsafe_code,
    reason = "the processor's own instructions, and unchecked places in loops that checked them before"
)]

use std::arch::x86_64::{
    _mm256_mask_compress_epi32, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
    _mm256_sub_epi32, _mm512_cmpge_epu64_mask, _mm512_cmpgt_epu64_mask, _mm512_cmple_epu64_mask, _mm512_loadu_si512,
    _mm512_mask_expand_epi64, _mm512_maskz_compress_epi64, _mm512_permutexvar_epi64, _mm512_set1_epi64,
    _mm512_setr_epi64, _mm512_storeu_si512,
};

use super::Exchange;

/// Lanes of 64 bits.
const LANES: usize = 8;

pub(super) fn late(back: &[u64], last: u64, numbers: &mut [u64], places: &mut [u32]) -> usize {
    let n = back.len();
    assert!(numbers.len() >= n && places.len() >= n, "every number must have a place");
    assert!(i32::try_from(n).is_ok(), "places must fit 32 bits");
    // SAFETY: the level is only chosen where the processor has it.
    unsafe { late_wide(back, last, numbers, places) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn late_wide(back: &[u64], last: u64, numbers: &mut [u64], places: &mut [u32]) -> usize {
    let limit = _mm512_set1_epi64(last.cast_signed());
    let turned = _mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut n = 0;
    let mut end = back.len();
    while end >= LANES {
        // SAFETY: the eight numbers before `end` are within `back`.
        let here = unsafe { _mm512_loadu_si512(back.as_ptr().add(end - LANES).cast()) };
        let here = _mm512_permutexvar_epi64(turned, here);
        let is_late = _mm512_cmple_epu64_mask(here, limit);
        let from = _mm256_sub_epi32(_mm256_set1_epi32(i32::try_from(end - 1).unwrap_or(i32::MAX)), lanes);
        let from = _mm256_mask_compress_epi32(_mm256_setzero_si256(), is_late, from);
        // SAFETY: no more were found than looked at, so eight more are within both, which are as long as `back`.
        unsafe {
            _mm512_storeu_si512(numbers.as_mut_ptr().add(n).cast(), _mm512_maskz_compress_epi64(is_late, here));
            _mm256_storeu_si256(places.as_mut_ptr().add(n).cast(), from);
        }
        n += is_late.count_ones() as usize;
        end -= LANES;
    }
    n + super::late_portable(&back[..end], last, &mut numbers[n..], &mut places[n..])
}

pub(super) fn exchange(front: &mut [u64], with: Exchange<'_>) {
    let n = front.len();
    assert!(with.late.len() >= n && with.early.len() >= n, "every number must have a place");
    // SAFETY: the level is only chosen where the processor has it.
    unsafe { exchange_wide(front, with) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn exchange_wide(front: &mut [u64], with: Exchange<'_>) {
    let Exchange { bounds: (first, last), late, early, found } = with;
    let (low, high) = (_mm512_set1_epi64(first.cast_signed()), _mm512_set1_epi64(last.cast_signed()));
    let (mut n, mut at) = (0, 0);
    while at + LANES <= front.len() {
        // SAFETY: `at + 8` is within the front, and `n <= at`, so that `n + 8` is within `late` and `early`, which are as long.
        let is_from_first = unsafe {
            let own = _mm512_loadu_si512(front.as_ptr().add(at).cast());
            let is_above = _mm512_cmpgt_epu64_mask(own, high);
            _mm512_storeu_si512(early.as_mut_ptr().add(n).cast(), _mm512_maskz_compress_epi64(is_above, own));
            let next = _mm512_loadu_si512(late.as_ptr().add(n).cast());
            let changed = _mm512_mask_expand_epi64(own, is_above, next);
            _mm512_storeu_si512(front.as_mut_ptr().add(at).cast(), changed);
            n += is_above.count_ones() as usize;
            _mm512_cmpge_epu64_mask(changed, low)
        };
        let mut lanes = is_from_first;
        while lanes != 0 {
            found.push(at + lanes.trailing_zeros() as usize);
            lanes &= lanes - 1;
        }
        at += LANES;
    }
    super::exchange_portable(front, Exchange { bounds: (first, last), late, early, found }, at, n);
}
