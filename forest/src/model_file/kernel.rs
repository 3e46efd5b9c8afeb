//! Predicting from the stored nodes.

use super::Model;
use super::layout::Node;

/// Rows that go through one tree before the next tree comes: their values stay in the nearest cache.
const BLOCK_ROWS: usize = 64;

/// Probabilities of checked rows into an `out` of fitting length.
#[expect(clippy::cast_precision_loss, reason = "a number of trees")]
pub(super) fn predict_proba(model: &Model, rows: &[f32], out: &mut [f64]) {
    let (n_features, n_outputs) = (model.n_features(), model.n_outputs());
    let (roots, nodes, values) = (model.roots(), model.nodes(), model.values());
    let n_trees = model.n_trees();
    out.fill(0.0);
    let blocks = rows.chunks(BLOCK_ROWS * n_features).zip(out.chunks_mut(BLOCK_ROWS * n_outputs));
    for (rows, out) in blocks {
        for root in &roots[..n_trees] {
            for (row, sums) in rows.chunks_exact(n_features).zip(out.chunks_exact_mut(n_outputs)) {
                let value = leaf(nodes, *root, row) * n_outputs;
                for (sum, part) in sums.iter_mut().zip(&values[value..value + n_outputs]) {
                    *sum += part;
                }
            }
        }
        for sum in out {
            *sum /= n_trees as f64;
        }
    }
}

/// Row of the value of the leaf that a row reaches.
fn leaf(nodes: &[Node], root: u32, row: &[f32]) -> usize {
    let mut node = nodes[root as usize];
    while !node.is_leaf() {
        let value = row[node.feature()];
        // A comparison with NaN is false; the flag then decides.
        let left = value <= node.threshold || value.is_nan() && node.missing_go_to_left();
        node = nodes[if left { node.left } else { node.right } as usize];
    }
    node.left as usize
}
