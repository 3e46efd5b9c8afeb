//! Rows through blocks of nodes with AVX-512: as with AVX2, but one permutation picks among 32 features, and the result of
//! a comparison is a mask already.

#![expect(unsafe_code, reason = "the processor's own instructions, with places that were checked")]

use std::arch::x86_64::{
    __m256, __m512, _CMP_GT_OQ, _CMP_UNORD_Q, _mm_loadu_si128, _mm_movepi16_mask, _mm256_cmp_ps_mask,
    _mm256_cvtepu16_epi32, _mm256_loadu_ps, _mm512_castps512_ps256, _mm512_castsi256_si512, _mm512_maskz_loadu_ps,
    _mm512_permutex2var_ps,
};

use super::avx512::first;
use super::block::{Block, NODES};
use super::walk::{self, Lists, Owners, Trees, in_variant};
use super::walk_avx2::shape;

const LANES: usize = 16;
/// Lanes of a block that are nodes.
const NODE_LANES: u8 = (1 << NODES) - 1;
/// Features that lie in two registers.
const IN_REGISTERS: usize = 2 * LANES;

pub(super) fn predict(trees: &Trees<'_>, rows: &[f32], out: &mut [f64], missing: bool) {
    let fits = trees.n_features <= IN_REGISTERS;
    walk::predict(trees, rows, out, missing, fits, |lists, owners, needs| {
        // SAFETY: the level is only chosen where the processor has these instructions.
        unsafe {
            if fits {
                in_variant!(needs, in_registers(trees, lists, owners));
            } else {
                in_variant!(needs, in_memory(trees, lists, owners));
            }
        }
    });
}

/// Walks rows of up to 32 features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn in_registers<const ALL: bool, const FETCH: bool>(trees: &Trees<'_>, lists: &mut Lists, owners: Owners<'_>) {
    let width = trees.n_features;
    assert!(width <= IN_REGISTERS, "registers hold 32 features");
    let (low, high) = (first(width), first(width.saturating_sub(LANES)));
    let load = |row: &[f32]| -> [__m512; 2] {
        assert_eq!(row.len(), width, "a row has a value for each feature");
        // SAFETY: the masks end at the end of the row.
        unsafe {
            [_mm512_maskz_loadu_ps(low, row.as_ptr()), _mm512_maskz_loadu_ps(high, row.as_ptr().wrapping_add(LANES))]
        }
    };
    let pick = |row: &[__m512; 2], block: &Block| {
        // SAFETY: 16 bytes.
        let features = _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(block.feature_lanes().as_ptr().cast()) });
        _mm512_castps512_ps256(_mm512_permutex2var_ps(row[0], _mm512_castsi256_si512(features), row[1]))
    };
    match owners {
        Owners::Trees(roots, row) => {
            let row = load(row);
            lists.walk::<ALL, FETCH>(trees, roots.iter().copied(), |block, _| answers::<ALL>(block, pick(&row, block)));
        }
        Owners::Rows(root, rows) => {
            let roots = std::iter::repeat_n(root, rows.len() / width);
            lists.walk::<ALL, FETCH>(trees, roots, |block, owner| {
                answers::<ALL>(block, pick(&load(&rows[owner * width..][..width]), block))
            });
        }
    }
}

/// Walks rows of any number of features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn in_memory<const ALL: bool, const FETCH: bool>(trees: &Trees<'_>, lists: &mut Lists, owners: Owners<'_>) {
    let width = trees.n_features;
    let pick = |row: &[f32], block: &Block| {
        let values = walk::values(block, row);
        // SAFETY: the array has eight values.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    };
    match owners {
        Owners::Trees(roots, row) => {
            lists.walk::<ALL, FETCH>(trees, roots.iter().copied(), |block, _| answers::<ALL>(block, pick(row, block)));
        }
        Owners::Rows(root, rows) => {
            let roots = std::iter::repeat_n(root, rows.len() / width);
            lists.walk::<ALL, FETCH>(trees, roots, |block, owner| {
                answers::<ALL>(block, pick(&rows[owner * width..][..width], block))
            });
        }
    }
}

/// The block's shape, in which the bits of values that go right are flipped.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn answers<const ALL: bool>(block: &Block, values: __m256) -> u16 {
    // SAFETY: eight numbers.
    let thresholds = unsafe { _mm256_loadu_ps(block.threshold_lanes().as_ptr()) };
    let mut right = _mm256_cmp_ps_mask::<_CMP_GT_OQ>(values, thresholds);
    if ALL {
        // SAFETY: as for the features above; the highest bit of a feature is its flag.
        let to_right = _mm_movepi16_mask(unsafe { _mm_loadu_si128(block.feature_lanes().as_ptr().cast()) });
        right |= _mm256_cmp_ps_mask::<_CMP_UNORD_Q>(values, values) & to_right;
    }
    shape(block) ^ u16::from(right & NODE_LANES)
}
