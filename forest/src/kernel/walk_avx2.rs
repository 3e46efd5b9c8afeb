//! Rows through blocks of nodes with AVX2: all nodes of a block are compared at once, with the features of a row in up to
//! four registers.
//!
//! Features are picked by permutations: gathers are slow on many processors, most of all on those where they had to be made
//! safe from spying. A row of more features than fit is read feature by feature.

#![expect(unsafe_code, reason = "the processor's own instructions, with places that were checked")]

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_UNORD_Q, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_blendv_ps,
    _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cmpgt_epi32, _mm256_cvtepu16_epi32, _mm256_loadu_ps, _mm256_maskload_ps,
    _mm256_movemask_ps, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_slli_epi32,
};

use super::block::{Block, NODES};
use super::walk::{self, Lists, Owners, Trees, in_variant};

const LANES: usize = 8;
/// Lanes of a block that are nodes.
const NODE_LANES: u16 = (1 << NODES) - 1;

pub(super) fn predict(trees: &Trees<'_>, rows: &[f32], out: &mut [f64], missing: bool) {
    // Picking from several registers takes longer than loading them: rows one by one would gain nothing.
    walk::predict(trees, rows, out, missing, false, |lists, owners, needs| {
        // SAFETY: the level is only chosen where the processor has these instructions.
        unsafe { in_variant!(needs, walk_avx2(trees, lists, owners)) }
    });
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn walk_avx2<const ALL: bool, const FETCH: bool>(trees: &Trees<'_>, lists: &mut Lists, owners: Owners<'_>) {
    match trees.n_features.div_ceil(LANES) {
        1 => in_registers::<ALL, FETCH, 1>(trees, lists, owners),
        2 => in_registers::<ALL, FETCH, 2>(trees, lists, owners),
        3 => in_registers::<ALL, FETCH, 3>(trees, lists, owners),
        4 => in_registers::<ALL, FETCH, 4>(trees, lists, owners),
        _ => in_memory::<ALL, FETCH>(trees, lists, owners),
    }
}

/// Walks rows of up to `8 * N` features.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn in_registers<const ALL: bool, const FETCH: bool, const N: usize>(
    trees: &Trees<'_>,
    lists: &mut Lists,
    owners: Owners<'_>,
) {
    let width = trees.n_features;
    let n_last = i32::try_from(width - (N - 1) * LANES).unwrap_or(0);
    let last = _mm256_cmpgt_epi32(_mm256_set1_epi32(n_last), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    let load = |row: &[f32]| -> [__m256; N] {
        assert_eq!(row.len(), width, "a row has a value for each feature");
        std::array::from_fn(|register| {
            let from = row.as_ptr().wrapping_add(register * LANES);
            // SAFETY: all registers but the last hold eight values of the row, the last one those that are left.
            unsafe { if register < N - 1 { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, last) } }
        })
    };
    let pick = |row: &[__m256; N], block: &Block| {
        let features = features(block);
        // The lowest three bits choose the lane, the next ones the register: as sign bits they choose between two.
        let lanes = |register: usize| {
            if register < N { _mm256_permutevar8x32_ps(row[register], features) } else { _mm256_setzero_ps() }
        };
        let upper = |low: __m256, high: __m256, sign: __m256i| _mm256_blendv_ps(low, high, _mm256_castsi256_ps(sign));
        let low = match N {
            1 => lanes(0),
            _ => upper(lanes(0), lanes(1), _mm256_slli_epi32::<28>(features)),
        };
        let high = match N {
            1 | 2 => return low,
            3 => lanes(2),
            _ => upper(lanes(2), lanes(3), _mm256_slli_epi32::<28>(features)),
        };
        upper(low, high, _mm256_slli_epi32::<27>(features))
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
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
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

/// Lanes of a block's features; the last is not a node's.
#[inline]
#[target_feature(enable = "avx2")]
fn features(block: &Block) -> __m256i {
    // SAFETY: 16 bytes.
    _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(block.feature_lanes().as_ptr().cast()) })
}

/// The block's shape, in which the bits of values that go right are flipped.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "eight bits")]
fn answers<const ALL: bool>(block: &Block, values: __m256) -> u16 {
    // SAFETY: eight numbers.
    let thresholds = unsafe { _mm256_loadu_ps(block.threshold_lanes().as_ptr()) };
    let mut right = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(values, thresholds));
    if ALL {
        let missing = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
        let to_right = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(features(block))));
        right |= missing & to_right;
    }
    shape(block) ^ right as u16 & NODE_LANES
}

/// The shape, read by itself: the compiler would take it out of the register of features, which costs more.
#[inline]
pub(super) fn shape(block: &Block) -> u16 {
    // SAFETY: a reference is valid to read from.
    unsafe { (&raw const block.shape).read_volatile() }
}

/// Begins to bring a block into the cache; every x86-64 processor can, and any address will do.
#[inline]
pub(super) fn fetch(block: *const Block) {
    // SAFETY: fetching ahead reads nothing that the program sees and never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(block.cast()) };
}
