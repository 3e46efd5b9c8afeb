//! Rows through trees of nodes, in whichever form their file has them, for data of more features than blocks can name: eight
//! walks at a time hide the time that memory takes.

use super::walk::finish;
use crate::model_file::nodes::{Form, feature_bits};

/// Trees of nodes, on many features, and the values of their leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WideTrees<'a, N> {
    pub(crate) nodes: &'a [N],
    /// First node of each tree, then the number of nodes.
    pub(crate) roots: &'a [u32],
    /// `(n_values, n_outputs)`.
    pub(crate) values: &'a [f64],
    pub(crate) n_features: usize,
    pub(crate) n_outputs: usize,
}

/// Walks at a time.
const LANES: usize = 8;
/// Rows that go through one tree before the next tree comes: their values stay in the nearest cache.
const BLOCK_ROWS: usize = 256;

impl<N> WideTrees<'_, N> {
    fn n_trees(&self) -> usize {
        self.roots.len().saturating_sub(1)
    }

    /// Adds a leaf's value to a row's sums.
    fn add(&self, sums: &mut [f64], value: usize) {
        let value = &self.values[value * self.n_outputs..(value + 1) * self.n_outputs];
        for (sum, part) in sums.iter_mut().zip(value) {
            *sum += part;
        }
    }
}

pub(super) fn predict<N: Form>(trees: &WideTrees<'_, N>, rows: &[f32], out: &mut [f64]) {
    out.fill(0.0);
    let (width, n_outputs) = (trees.n_features, trees.n_outputs);
    if rows.len() < LANES * width {
        for (row, sums) in rows.chunks_exact(width).zip(out.chunks_exact_mut(n_outputs)) {
            one_row(trees, row, sums);
        }
        return;
    }
    for (rows, out) in rows.chunks(BLOCK_ROWS * width).zip(out.chunks_mut(BLOCK_ROWS * n_outputs)) {
        for tree in 0..trees.n_trees() {
            let root = trees.roots[tree] as usize;
            let groups = rows.chunks(LANES * width).zip(out.chunks_mut(LANES * n_outputs));
            for (rows, sums) in groups {
                let n = rows.len() / width;
                // Lanes beyond the last row repeat it.
                let row = |lane: usize| &rows[lane.min(n - 1) * width..][..width];
                let leaves = walk(trees, |_| root, row);
                for (sums, leaf) in sums.chunks_exact_mut(n_outputs).zip(leaves) {
                    trees.add(sums, leaf);
                }
            }
        }
        finish(out, trees.n_trees());
    }
}

fn one_row<N: Form>(trees: &WideTrees<'_, N>, row: &[f32], sums: &mut [f64]) {
    let roots = &trees.roots[..trees.n_trees()];
    for roots in roots.chunks(LANES) {
        let root = |lane: usize| roots[lane.min(roots.len() - 1)] as usize;
        let leaves = walk(trees, root, |_| row);
        for leaf in &leaves[..roots.len()] {
            trees.add(sums, *leaf);
        }
    }
    finish(sums, trees.n_trees());
}

/// Rows of the values of the leaves that the lanes reach.
fn walk<'r, N: Form>(
    trees: &WideTrees<'_, N>,
    root: impl Fn(usize) -> usize,
    row: impl Fn(usize) -> &'r [f32],
) -> [usize; LANES] {
    let feature_bits = feature_bits(trees.n_features);
    let rows: [&[f32]; LANES] = std::array::from_fn(row);
    let roots: [usize; LANES] = std::array::from_fn(root);
    let mut at = [0_u32; LANES];
    let mut values = [0; LANES];
    loop {
        let mut moved = false;
        for lane in 0..LANES {
            let node = trees.nodes[roots[lane] + at[lane] as usize].unpack(feature_bits);
            let value = rows[lane][node.feature as usize];
            // Nothing is greater than a leaf's NaN.
            let right = value > f32::from_bits(node.threshold) || value.is_nan() & node.missing_right;
            let next = node.child + u32::from(right);
            moved |= next != at[lane];
            at[lane] = next;
            values[lane] = node.value as usize;
        }
        if !moved {
            return values;
        }
    }
}
