//! Rows through trees of packed nodes with AVX-512: sixteen walks at a time, those that ended make room for others.
//!
//! A batch goes through one tree at a time. The first five levels of a tree are its first 31 nodes, which stay in
//! registers; below, the walks that go on are kept in a dense list, level by level. One row alone goes through all trees at
//! once in the same manner, its features in registers if they fit.
//!
//! Places read are clamped to what is there, so that no claim about the nodes is needed for safety.

#![expect(unsafe_code, reason = "the processor's own instructions, with places that are clamped")]

use std::arch::x86_64::{
    __m128i, __m512, __m512i, __mmask16, _CMP_GT_OQ, _CMP_UNORD_Q, _mm_cvtsi32_si128, _mm512_add_epi32,
    _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_extracti64x4_epi64, _mm512_i32gather_epi32, _mm512_i32gather_epi64, _mm512_i32gather_ps, _mm512_loadu_si512,
    _mm512_mask_add_epi32, _mm512_maskz_compress_epi32, _mm512_maskz_loadu_epi64, _mm512_maskz_loadu_ps,
    _mm512_min_epu32, _mm512_mullo_epi32, _mm512_permutex2var_epi32, _mm512_permutex2var_ps, _mm512_set1_epi32,
    _mm512_setr_epi32, _mm512_setzero_si512, _mm512_srl_epi32, _mm512_storeu_si512, _mm512_test_epi32_mask,
};

use super::walk::{BLOCK_ROWS, Trees};
use crate::model_file::nodes::{PACKED_VALUES, Packed};

const LANES: usize = 16;
/// Groups of lanes whose first levels are walked together.
const GROUPS: usize = 4;
/// Nodes whose thresholds and other halves lie in two registers each.
const TOP_NODES: usize = 32;
/// Levels of a breadth-first tree within its first 31 nodes.
const TOP_LEVELS: usize = 5;
/// Features of a row that lie in two registers.
const FEATURES_IN_REGISTERS: usize = 32;
/// Fewer rows than this go through all trees one by one.
const FEW_ROWS: usize = 8;

pub(super) fn predict(trees: &Trees<'_, Packed>, rows: &[f32], out: &mut [f64], missing: bool) {
    out.fill(0.0);
    let (width, n_outputs) = (trees.n_features, trees.n_outputs);
    if trees.nodes.is_empty()
        || width == 0
        || i32::try_from(trees.nodes.len()).is_err()
        || i32::try_from(BLOCK_ROWS * width).is_err()
    {
        super::walk::predict(trees, rows, out);
        return;
    }
    let mut lists = Lists::new();
    if rows.len() < FEW_ROWS * width {
        for (row, sums) in rows.chunks_exact(width).zip(out.chunks_exact_mut(n_outputs)) {
            for roots in trees.roots[..trees.n_trees()].chunks(OWNERS) {
                // SAFETY: the level is only chosen where the processor has these instructions.
                unsafe {
                    if missing {
                        one_row::<true>(trees, roots, row, &mut lists);
                    } else {
                        one_row::<false>(trees, roots, row, &mut lists);
                    }
                }
                let mut by_tree = [0_usize; OWNERS];
                for (tree, value) in lists.results() {
                    by_tree[tree] = value;
                }
                for value in &by_tree[..roots.len()] {
                    trees.add(sums, *value);
                }
            }
            trees.finish(sums);
        }
        return;
    }
    for (rows, out) in rows.chunks(BLOCK_ROWS * width).zip(out.chunks_mut(BLOCK_ROWS * n_outputs)) {
        for tree in trees.roots.windows(2) {
            let nodes = trees.nodes.get(tree[0] as usize..tree[1] as usize).unwrap_or(&[]);
            let Some(last) = nodes.len().checked_sub(1) else { continue };
            // SAFETY: the level is only chosen where the processor has these instructions.
            unsafe {
                if missing {
                    batch::<true>(trees, nodes, last, rows, &mut lists);
                } else {
                    batch::<false>(trees, nodes, last, rows, &mut lists);
                }
            }
            add_results(trees, &lists, out);
        }
        trees.finish(out);
    }
}

fn add_results(trees: &Trees<'_, Packed>, lists: &Lists, out: &mut [f64]) {
    if let 2 = trees.n_outputs {
        // The most frequent number of classes in one vector.
        let ((sums, _), (values, _)) = (out.as_chunks_mut::<2>(), trees.values.as_chunks::<2>());
        for (row, value) in lists.results() {
            let (sums, value) = (&mut sums[row], &values[value]);
            *sums = [sums[0] + value[0], sums[1] + value[1]];
        }
        return;
    }
    for (row, value) in lists.results() {
        trees.add(&mut out[row * trees.n_outputs..(row + 1) * trees.n_outputs], value);
    }
}

/// Owners, rows or trees, whose walks are in work together.
const OWNERS: usize = BLOCK_ROWS;
/// Room for them and one group of lanes behind the last.
const ROOM: usize = OWNERS + LANES;

/// Walks in work and walks that ended.
struct Lists {
    /// Node of each walk, counted from the root.
    nodes: [u32; ROOM],
    /// Row or tree of each walk.
    owners: [u32; ROOM],
    /// Owners of the walks that ended, in the order of their ends.
    ended: [u32; ROOM],
    /// Row of the value of each of them.
    values: [u32; ROOM],
    n_ended: usize,
}

impl Lists {
    fn new() -> Self {
        Self { nodes: [0; ROOM], owners: [0; ROOM], ended: [0; ROOM], values: [0; ROOM], n_ended: 0 }
    }

    /// Owners that have ended with the rows of their values.
    fn results(&self) -> impl Iterator<Item = (usize, usize)> {
        self.ended.iter().zip(&self.values).take(self.n_ended).map(|(owner, value)| (*owner as usize, *value as usize))
    }
}

/// Lanes of a node's parts.
struct Parts {
    threshold: __m512,
    above: __m512i,
}

/// How the upper half of a node is read.
#[derive(Clone, Copy)]
struct Fields {
    feature: __m512i,
    missing: __m512i,
    last_feature: __m512i,
    child_shift: __m128i,
}

impl Fields {
    #[target_feature(enable = "avx512f")]
    fn new(trees: &Trees<'_, Packed>) -> Self {
        let bits = trees.feature_bits;
        Self {
            feature: _mm512_set1_epi32((1 << bits) - 1),
            missing: _mm512_set1_epi32((1_u32 << bits).cast_signed()),
            last_feature: _mm512_set1_epi32(i32::try_from(trees.n_features - 1).unwrap_or(0)),
            child_shift: _mm_cvtsi32_si128((bits + 1).cast_signed()),
        }
    }

    #[target_feature(enable = "avx512f")]
    fn features(self, parts: &Parts) -> __m512i {
        _mm512_min_epu32(_mm512_and_si512(parts.above, self.feature), self.last_feature)
    }

    /// The next node of each lane.
    #[target_feature(enable = "avx512f")]
    fn next<const MISSING: bool>(self, parts: &Parts, value: __m512) -> __m512i {
        let mut right = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, parts.threshold);
        if MISSING {
            right |=
                _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value) & _mm512_test_epi32_mask(parts.above, self.missing);
        }
        let child = _mm512_srl_epi32(parts.above, self.child_shift);
        _mm512_mask_add_epi32(child, right, child, _mm512_set1_epi32(1))
    }
}

/// Lanes with the even and the odd 32-bit halves of two vectors of nodes.
#[target_feature(enable = "avx512f")]
fn split(low: __m512i, high: __m512i) -> Parts {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    Parts {
        threshold: _mm512_castsi512_ps(_mm512_permutex2var_epi32(low, even, high)),
        above: _mm512_permutex2var_epi32(low, odd, high),
    }
}

/// The nodes of these places, clamped to `last`.
///
/// # Safety
///
/// `last` must be a place of `nodes` below 2^31.
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn gather_nodes(nodes: &[Packed], places: __m512i, last: __m512i) -> Parts {
    let places = _mm512_min_epu32(places, last);
    // SAFETY: the places are at most `last`.
    unsafe {
        let low = _mm512_i32gather_epi64::<8>(_mm512_castsi512_si256(places), nodes.as_ptr().cast());
        let high = _mm512_i32gather_epi64::<8>(_mm512_extracti64x4_epi64::<1>(places), nodes.as_ptr().cast());
        split(low, high)
    }
}

fn first(n: usize) -> __mmask16 {
    if n >= LANES { u16::MAX } else { (1 << n) - 1 }
}

/// Lane numbers.
#[target_feature(enable = "avx512f")]
fn lanes() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

/// The first nodes of a tree in registers: thresholds and upper halves.
struct Top {
    thresholds: [__m512; 2],
    above: [__m512i; 2],
}

impl Top {
    #[target_feature(enable = "avx512f,avx512dq")]
    fn load(nodes: &[Packed]) -> Self {
        let nodes = &nodes[..nodes.len().min(TOP_NODES)];
        let part = |from: usize| {
            let here = nodes.len().saturating_sub(from);
            let mask = if here >= 8 { u8::MAX } else { (1 << here) - 1 };
            // SAFETY: the mask ends at the last node.
            unsafe { _mm512_maskz_loadu_epi64(mask, nodes.as_ptr().wrapping_add(from).cast()) }
        };
        let (low, high) = (split(part(0), part(8)), split(part(16), part(24)));
        Self { thresholds: [low.threshold, high.threshold], above: [low.above, high.above] }
    }

    #[target_feature(enable = "avx512f")]
    fn parts(&self, places: __m512i) -> Parts {
        Parts {
            threshold: _mm512_permutex2var_ps(self.thresholds[0], places, self.thresholds[1]),
            above: _mm512_permutex2var_epi32(self.above[0], places, self.above[1]),
        }
    }
}

/// Walks a block of rows, at most [`OWNERS`], through one tree.
#[target_feature(enable = "avx512f,avx512dq,popcnt")]
fn batch<const MISSING: bool>(
    trees: &Trees<'_, Packed>,
    nodes: &[Packed],
    last: usize,
    rows: &[f32],
    lists: &mut Lists,
) {
    let width = trees.n_features;
    let n_rows = rows.len() / width;
    let fields = Fields::new(trees);
    let top = Top::load(nodes);
    let last = _mm512_set1_epi32(i32::try_from(last).unwrap_or(0));
    let width_lanes = i32::try_from(width).unwrap_or(0);
    let last_start = _mm512_set1_epi32(i32::try_from((n_rows - 1) * width).unwrap_or(0));
    for from in (0..n_rows).step_by(LANES * GROUPS) {
        let mut starts = [_mm512_setzero_si512(); GROUPS];
        for (group, starts) in starts.iter_mut().enumerate() {
            let row = i32::try_from(from + group * LANES).unwrap_or(0);
            let owners = _mm512_add_epi32(_mm512_set1_epi32(row), lanes());
            let start = _mm512_mullo_epi32(owners, _mm512_set1_epi32(width_lanes));
            *starts = _mm512_min_epu32(start, last_start);
            // SAFETY: lists are as long as the block, rounded up to whole groups.
            unsafe { _mm512_storeu_si512(lists.owners[from + group * LANES..][..LANES].as_mut_ptr().cast(), owners) };
        }
        let mut at = [_mm512_setzero_si512(); GROUPS];
        for _ in 0..TOP_LEVELS {
            for (at, starts) in at.iter_mut().zip(&starts) {
                let parts = top.parts(*at);
                let places = _mm512_add_epi32(*starts, fields.features(&parts));
                // SAFETY: a row's start and a feature are within the rows.
                let value = unsafe { _mm512_i32gather_ps::<4>(places, rows.as_ptr()) };
                *at = fields.next::<MISSING>(&parts, value);
            }
        }
        for (group, at) in at.iter().enumerate() {
            let to = &mut lists.nodes[from + group * LANES..][..LANES];
            // SAFETY: the slice has 16 places.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *at) };
        }
    }
    let starts_of = |owners: __m512i| {
        let start = _mm512_mullo_epi32(owners, _mm512_set1_epi32(width_lanes));
        _mm512_min_epu32(start, last_start)
    };
    lists.n_ended = 0;
    let mut n = n_rows;
    while n > 0 {
        let mut kept = 0;
        for from in (0..n).step_by(LANES) {
            let here = first(n - from);
            // SAFETY: lists have room for 16 entries from any entry on.
            let (at, owners) = unsafe {
                (
                    _mm512_loadu_si512(lists.nodes[from..from + LANES].as_ptr().cast()),
                    _mm512_loadu_si512(lists.owners[from..from + LANES].as_ptr().cast()),
                )
            };
            // SAFETY: `last` is the last of these nodes.
            let parts = unsafe { gather_nodes(nodes, at, last) };
            let places = _mm512_add_epi32(starts_of(owners), fields.features(&parts));
            // SAFETY: a row's start and a feature are within the rows.
            let value = unsafe { _mm512_i32gather_ps::<4>(places, rows.as_ptr()) };
            let next = fields.next::<MISSING>(&parts, value);
            kept = lists.sort_out(here, &parts, next, owners, kept);
        }
        n = kept;
    }
}

impl Lists {
    /// Notes the values of the lanes that have reached leaves and keeps the others from `kept` on; returns the new end.
    #[target_feature(enable = "avx512f,popcnt")]
    fn sort_out(&mut self, here: __mmask16, parts: &Parts, next: __m512i, owners: __m512i, kept: usize) -> usize {
        let ended = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(parts.threshold, parts.threshold) & here;
        let going = !ended & here;
        let value = _mm512_and_si512(
            _mm512_castps_si512(parts.threshold),
            _mm512_set1_epi32((PACKED_VALUES - 1).cast_signed()),
        );
        let to = self.n_ended..self.n_ended + LANES;
        // SAFETY: the slices have 16 places.
        unsafe {
            let (values, owners) =
                (_mm512_maskz_compress_epi32(ended, value), _mm512_maskz_compress_epi32(ended, owners));
            _mm512_storeu_si512(self.values[to.clone()].as_mut_ptr().cast(), values);
            _mm512_storeu_si512(self.ended[to].as_mut_ptr().cast(), owners);
        }
        self.n_ended += ended.count_ones() as usize;
        let (nodes, owners) = (_mm512_maskz_compress_epi32(going, next), _mm512_maskz_compress_epi32(going, owners));
        // SAFETY: the slices have 16 places. What they overwrite beyond the kept lanes was read before.
        unsafe {
            _mm512_storeu_si512(self.nodes[kept..kept + LANES].as_mut_ptr().cast(), nodes);
            _mm512_storeu_si512(self.owners[kept..kept + LANES].as_mut_ptr().cast(), owners);
        }
        kept + going.count_ones() as usize
    }
}

/// Walks one row through trees, at most [`OWNERS`].
#[target_feature(enable = "avx512f,avx512dq,popcnt")]
fn one_row<const MISSING: bool>(trees: &Trees<'_, Packed>, roots: &[u32], row: &[f32], lists: &mut Lists) {
    lists.n_ended = 0;
    let fields = Fields::new(trees);
    let in_registers = row.len() <= FEATURES_IN_REGISTERS;
    let n_low = row.len().min(LANES);
    // SAFETY: the masks end at the row's end.
    let features = unsafe {
        [
            _mm512_maskz_loadu_ps(first(n_low), row.as_ptr()),
            _mm512_maskz_loadu_ps(first(row.len() - n_low), row.as_ptr().wrapping_add(n_low)),
        ]
    };
    let last = _mm512_set1_epi32(i32::try_from(trees.nodes.len() - 1).unwrap_or(0));
    let last_tree = _mm512_set1_epi32(i32::try_from(roots.len() - 1).unwrap_or(0));
    for (tree, owner) in (0..).zip(&mut lists.owners[..roots.len()]) {
        *owner = tree;
    }
    lists.nodes[..roots.len()].fill(0);
    let mut n = roots.len();
    while n > 0 {
        let mut kept = 0;
        for from in (0..n).step_by(LANES) {
            let here = first(n - from);
            // SAFETY: the slices have 16 places.
            let (at, owners) = unsafe {
                (
                    _mm512_loadu_si512(lists.nodes[from..from + LANES].as_ptr().cast()),
                    _mm512_loadu_si512(lists.owners[from..from + LANES].as_ptr().cast()),
                )
            };
            // SAFETY: trees are clamped to those that are there.
            let root =
                unsafe { _mm512_i32gather_epi32::<4>(_mm512_min_epu32(owners, last_tree), roots.as_ptr().cast()) };
            // SAFETY: `last` is the last of all nodes.
            let parts = unsafe { gather_nodes(trees.nodes, _mm512_add_epi32(root, at), last) };
            let places = fields.features(&parts);
            let value = if in_registers {
                _mm512_permutex2var_ps(features[0], places, features[1])
            } else {
                // SAFETY: features are clamped to those of the row.
                unsafe { _mm512_i32gather_ps::<4>(places, row.as_ptr()) }
            };
            let next = fields.next::<MISSING>(&parts, value);
            kept = lists.sort_out(here, &parts, next, owners, kept);
        }
        n = kept;
    }
}
