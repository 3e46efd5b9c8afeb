//! The loops over rows of codes with AVX-512.

#![expect(unsafe_code, reason = "the processor's own instructions, and places that were checked before the loop")]

use std::arch::x86_64::{
    _mm512_loadu_si512, _mm512_mask_storeu_epi32, _mm512_maskz_compress_epi32, _mm512_maskz_loadu_epi32,
    _mm512_set1_epi32, _mm512_storeu_si512, _mm512_test_epi32_mask,
};

use super::{MARKED_TOGETHER, PAD, WORD, n_right};

/// Lanes of 32 bits.
const LANES: usize = 16;

/// As [`super::divide`]: four bytes of a row are moved as one, so that rows are divided as items are. `bits` has for each word
/// of 16 rows the bit of its row.
pub(super) fn divide(marks: &[u16], bits: &[u32], rows: &mut [u8], spare: &mut [u8]) {
    // SAFETY: the level is only chosen where AVX-512 is.
    unsafe { divide_wide(marks, bits, rows, spare) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn divide_wide(marks: &[u16], bits: &[u32], rows: &mut [u8], spare: &mut [u8]) {
    const { assert!(PAD == LANES * WORD && MARKED_TOGETHER == LANES, "a vector fits behind the last row") };
    let n_words = (rows.len() - PAD) / WORD;
    let words_per_row = bits.len() / LANES;
    let bytes_right = n_right(marks, n_words / words_per_row) * words_per_row * WORD;
    assert!(
        marks.len() * bits.len() >= n_words && spare.len() >= bytes_right + PAD,
        "every row must have a mark and a place"
    );
    let (mut at, mut left, mut right) = (0, 0, 0);
    for marks in marks {
        let marks = _mm512_set1_epi32(i32::from(*marks));
        for bits in bits.chunks_exact(LANES).take((n_words - at).div_ceil(LANES)) {
            // SAFETY: `at`, `left` and `right` are below the number of words, and a vector fits behind them all. `left` is not
            // above `at`, so that what is written there was read before, and the last vector of the node is written by a mask.
            unsafe {
                let to_left = _mm512_test_epi32_mask(marks, _mm512_loadu_si512(bits.as_ptr().cast()));
                let front: *mut i32 = rows.as_mut_ptr().add(left * WORD).cast();
                let back: *mut i32 = spare.as_mut_ptr().add(right * WORD).cast();
                let from: *const i32 = rows.as_ptr().add(at * WORD).cast();
                let n_left = if n_words - at >= LANES {
                    let some = _mm512_loadu_si512(from.cast());
                    _mm512_storeu_si512(front.cast(), _mm512_maskz_compress_epi32(to_left, some));
                    _mm512_storeu_si512(back.cast(), _mm512_maskz_compress_epi32(!to_left, some));
                    to_left.count_ones() as usize
                } else {
                    let here = (1 << (n_words - at)) - 1;
                    let some = _mm512_maskz_loadu_epi32(here, from);
                    let n_left = (to_left & here).count_ones() as usize;
                    let written = (1 << n_left) - 1;
                    _mm512_mask_storeu_epi32(front, written, _mm512_maskz_compress_epi32(to_left & here, some));
                    _mm512_storeu_si512(back.cast(), _mm512_maskz_compress_epi32(!to_left & here, some));
                    n_left
                };
                left += n_left;
                right += LANES.min(n_words - at) - n_left;
            }
            at = (at + LANES).min(n_words);
        }
    }
    let left = left * WORD;
    rows[left..left + right * WORD].copy_from_slice(&spare[..right * WORD]);
}
