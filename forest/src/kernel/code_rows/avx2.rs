//! The loops over rows of codes with AVX2.

#![expect(unsafe_code, reason = "the processor's own instructions, and places that were checked before the loop")]

use std::arch::x86_64::{_mm_loadu_si128, _mm_storeu_si128, _mm256_loadu_si256, _mm256_storeu_si256};

use super::{LONG, MARKED_TOGETHER, PAD, SHORT, n_right};

/// Moves one row to both of two places.
macro_rules! divided {
    ($name:ident, $bytes:expr, $load:ident, $store:ident) => {
        /// As [`super::divide`].
        pub(super) fn $name(marks: &[u16], rows: &mut [u8], stride: usize, spare: &mut [u8]) {
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            fn moved(marks: &[u16], rows: &mut [u8], stride: usize, spare: &mut [u8]) {
                let end = rows.len() - PAD;
                let n_right = n_right(marks, end / stride);
                assert!($bytes <= PAD && spare.len() >= n_right * stride + PAD, "every row must have a place");
                let (mut from, mut left, mut right) = (0, 0, 0);
                for marks in marks {
                    let mut marks = usize::from(*marks);
                    let group_end = (from + MARKED_TOGETHER * stride).min(end);
                    while from < group_end {
                        // SAFETY: there are at least as many bytes behind `end` as a row's are moved; `left` is not beyond
                        // `from`, and `right` not beyond the rows that go right, for which there is place.
                        unsafe {
                            let row = $load(rows.as_ptr().add(from).cast());
                            $store(rows.as_mut_ptr().add(left).cast(), row);
                            $store(spare.as_mut_ptr().add(right).cast(), row);
                        }
                        let to_left = (marks & 1) * stride;
                        left += to_left;
                        right += stride - to_left;
                        marks >>= 1;
                        from += stride;
                    }
                }
                rows[left..left + right].copy_from_slice(&spare[..right]);
            }
            // SAFETY: the level is only chosen where AVX2 is.
            unsafe { moved(marks, rows, stride, spare) }
        }
    };
}

divided!(divide_short, SHORT, _mm_loadu_si128, _mm_storeu_si128);
divided!(divide_long, LONG, _mm256_loadu_si256, _mm256_storeu_si256);
