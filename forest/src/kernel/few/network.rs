//! A sorting network in registers: Batcher's (1968), in the form in which all comparators point up.

use std::arch::x86_64::{
    __m512i, _mm512_mask_max_epu32, _mm512_max_epu32, _mm512_min_epu32, _mm512_permutexvar_epi32, _mm512_setr_epi32,
    _mm512_shuffle_epi32, _mm512_shuffle_i32x4,
};

/// Sorts the lanes of all vectors, which are a power of 2.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(super) fn sort<const N: usize>(mut vectors: [__m512i; N]) -> [__m512i; N] {
    for vector in &mut vectors {
        *vector = sort_one(*vector);
    }
    let mut width = 1;
    while width < N {
        for pair in vectors.chunks_exact_mut(2 * width) {
            merge(pair);
        }
        width *= 2;
    }
    vectors
}

/// Puts the smaller of each lane and its partner into the lower lane; `upper` are the lanes above their partners.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn exchange(own: __m512i, partners: __m512i, upper: u16) -> __m512i {
    _mm512_mask_max_epu32(_mm512_min_epu32(own, partners), upper, own, partners)
}

/// The vector with its lanes in the opposite order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn reversed(vector: __m512i) -> __m512i {
    let places = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_permutexvar_epi32(places, vector)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn sort_one(vector: __m512i) -> __m512i {
    let eights = _mm512_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8);
    let twos = exchange(vector, _mm512_shuffle_epi32::<0b10_11_00_01>(vector), 0xAAAA);
    let fours = exchange(twos, _mm512_shuffle_epi32::<0b00_01_10_11>(twos), 0xCCCC);
    let fours = exchange(fours, _mm512_shuffle_epi32::<0b10_11_00_01>(fours), 0xAAAA);
    let eight = exchange(fours, _mm512_permutexvar_epi32(eights, fours), 0xF0F0);
    let eight = settle_four(eight);
    let all = exchange(eight, reversed(eight), 0xFF00);
    settle_four(exchange(all, _mm512_shuffle_i32x4::<0b10_11_00_01>(all, all), 0xF0F0))
}

/// Sorts every four lanes, of which the first two ascend where the last two descend, or the other way round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn settle_four(vector: __m512i) -> __m512i {
    let vector = exchange(vector, _mm512_shuffle_epi32::<0b01_00_11_10>(vector), 0xCCCC);
    exchange(vector, _mm512_shuffle_epi32::<0b10_11_00_01>(vector), 0xAAAA)
}

/// Merges two sorted halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn merge(vectors: &mut [__m512i]) {
    let half = vectors.len() / 2;
    let (low, high) = vectors.split_at_mut(half);
    high.reverse();
    for (low, high) in low.iter_mut().zip(high) {
        let other = reversed(*high);
        (*low, *high) = (_mm512_min_epu32(*low, other), _mm512_max_epu32(*low, other));
    }
    let mut width = half / 2;
    while width > 0 {
        for pair in vectors.chunks_exact_mut(2 * width) {
            let (low, high) = pair.split_at_mut(width);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (_mm512_min_epu32(*low, *high), _mm512_max_epu32(*low, *high));
            }
        }
        width /= 2;
    }
    for vector in vectors {
        let eights = exchange(*vector, _mm512_shuffle_i32x4::<0b01_00_11_10>(*vector, *vector), 0xFF00);
        let fours = exchange(eights, _mm512_shuffle_i32x4::<0b10_11_00_01>(eights, eights), 0xF0F0);
        *vector = settle_four(fours);
    }
}
