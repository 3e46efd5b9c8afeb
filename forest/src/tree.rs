//! One tree as node arrays, in scikit-learn's layout.

/// `feature` and `threshold` of a leaf in scikit-learn's arrays.
pub const TREE_UNDEFINED: i32 = -2;
/// Child of a leaf in scikit-learn's arrays.
pub const TREE_LEAF: i32 = -1;

/// A decision tree: parallel arrays, one entry per node; node 0 is the root.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// Seed of this tree: the forest's k-th draw for tree k.
    pub random_state: u32,
    /// Numbers per node in `value`: classes, or 1 for regression.
    pub n_outputs: usize,
    /// Feature compared at a node, −2 at a leaf.
    pub feature: Vec<i32>,
    /// A row goes left when its value ≤ threshold; −2.0 at a leaf.
    pub threshold: Vec<f64>,
    /// Node of the left child, −1 at a leaf.
    pub children_left: Vec<i32>,
    /// Node of the right child, −1 at a leaf.
    pub children_right: Vec<i32>,
    /// Whether a missing value goes left.
    pub missing_go_to_left: Vec<bool>,
    /// Impurity.
    pub impurity: Vec<f64>,
    /// Distinct training rows.
    pub n_node_samples: Vec<u32>,
    /// Weight of the training rows.
    pub weighted_n_node_samples: Vec<f64>,
    /// Class fractions, or the mean: `(node_count, n_outputs)` row-major.
    pub value: Vec<f64>,
}

impl Tree {
    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.feature.len()
    }

    /// Whether a node has no children.
    pub fn is_leaf(&self, node: usize) -> bool {
        self.children_left[node] < 0
    }

    /// Number of leaves.
    pub fn n_leaves(&self) -> usize {
        self.children_left.iter().filter(|child| **child < 0).count()
    }

    /// `value` of one node, `(n_outputs,)`.
    pub fn node_value(&self, node: usize) -> &[f64] {
        &self.value[node * self.n_outputs..(node + 1) * self.n_outputs]
    }
}
