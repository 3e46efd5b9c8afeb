//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor`: trees as parallel arrays, a node named by tree and number.

use std::collections::BTreeMap;

use super::error::{ImportError, Limits};
use super::proto::NodeView;
use super::trees::{Mode, Source, Trees};

/// An ensemble operator, read.
#[derive(Debug, Default)]
pub(super) struct Ensemble {
    pub(super) trees: Trees,
    /// Numbers that a leaf can have.
    pub(super) n_targets: usize,
    /// Whether the trees' mean is taken, not their sum.
    pub(super) average: bool,
    /// Added to each target; empty for nothing.
    pub(super) base_values: Vec<f64>,
    pub(super) post_transform: PostTransform,
}

/// What is done with the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum PostTransform {
    #[default]
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

/// Names of the arrays of leaf weights.
struct WeightNames {
    tree_ids: &'static str,
    node_ids: &'static str,
    targets: &'static str,
    weights: &'static str,
}

const CLASS: WeightNames = WeightNames {
    tree_ids: "class_treeids",
    node_ids: "class_nodeids",
    targets: "class_ids",
    weights: "class_weights",
};
const TARGET: WeightNames = WeightNames {
    tree_ids: "target_treeids",
    node_ids: "target_nodeids",
    targets: "target_ids",
    weights: "target_weights",
};

impl Ensemble {
    /// A `TreeEnsembleClassifier` with `n_classes` classes.
    pub(super) fn classifier(node: &NodeView<'_>, n_classes: usize, limits: &Limits) -> Result<Self, ImportError> {
        Self::read(node, &CLASS, n_classes, false, limits)
    }

    /// A `TreeEnsembleRegressor`.
    pub(super) fn regressor(node: &NodeView<'_>, limits: &Limits) -> Result<Self, ImportError> {
        let n_targets = n_targets(node, limits)?;
        let average = match node.text("aggregate_function")?.unwrap_or("SUM") {
            "SUM" => false,
            "AVERAGE" => true,
            other => {
                return node
                    .wrong("aggregate_function", format_args!("{other} cannot be imported, SUM and AVERAGE can"));
            }
        };
        Self::read(node, &TARGET, n_targets, average, limits)
    }

    fn read(
        node: &NodeView<'_>,
        names: &WeightNames,
        n_targets: usize,
        average: bool,
        limits: &Limits,
    ) -> Result<Self, ImportError> {
        let post_transform = match node.text("post_transform")?.unwrap_or("NONE") {
            "NONE" => PostTransform::None,
            "SOFTMAX" => PostTransform::Softmax,
            "LOGISTIC" => PostTransform::Logistic,
            "SOFTMAX_ZERO" => PostTransform::SoftmaxZero,
            "PROBIT" => PostTransform::Probit,
            other => return node.wrong("post_transform", format_args!("`{other}` is unknown")),
        };
        let base_values = finite(node, "base_values", node.numbers("base_values", limits.outputs_max)?)?;
        let mut arrays = Arrays::read(node, limits)?;
        let mut trees = arrays.trees(node, limits)?;
        arrays.weigh(node, names, n_targets, &mut trees, limits)?;
        Ok(Self { trees, n_targets, average, base_values, post_transform })
    }
}

/// `n_targets`, in its range.
pub(super) fn n_targets(node: &NodeView<'_>, limits: &Limits) -> Result<usize, ImportError> {
    let claimed = node.int("n_targets")?.unwrap_or(0);
    match usize::try_from(claimed) {
        Ok(0) | Err(_) => node.wrong("n_targets", format_args!("must be at least 1, got {claimed}")),
        Ok(n_targets) if n_targets > limits.outputs_max => {
            Err(ImportError::TooMany { what: "numbers per row", max: limits.outputs_max })
        }
        Ok(n_targets) => Ok(n_targets),
    }
}

/// Numbers that can be added up.
pub(super) fn finite(node: &NodeView<'_>, name: &str, numbers: Vec<f64>) -> Result<Vec<f64>, ImportError> {
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => node.wrong(name, format_args!("must be finite, got {number}")),
        None => Ok(numbers),
    }
}

/// A feature number, in its range.
pub(super) fn feature(node: &NodeView<'_>, id: i64, limits: &Limits) -> Result<u32, ImportError> {
    match usize::try_from(id) {
        Ok(feature) if feature >= limits.features_max => {
            Err(ImportError::TooMany { what: "features", max: limits.features_max })
        }
        Ok(feature) => Ok(u32::try_from(feature).unwrap_or(u32::MAX)),
        Err(_) => node.wrong("nodes_featureids", format_args!("must not be negative, got {id}")),
    }
}

/// The arrays of nodes.
struct Arrays<'a> {
    tree_ids: Vec<i64>,
    node_ids: Vec<i64>,
    feature_ids: Vec<i64>,
    values: Vec<f64>,
    modes: Vec<&'a str>,
    true_ids: Vec<i64>,
    false_ids: Vec<i64>,
    missing_true: Vec<i64>,
    /// By tree id: first node, and the nodes' ids and places, sorted.
    by_tree: BTreeMap<i64, Vec<(i64, u32)>>,
}

impl<'a> Arrays<'a> {
    fn read(node: &NodeView<'a>, limits: &Limits) -> Result<Self, ImportError> {
        let max = limits.nodes_max;
        let arrays = Self {
            tree_ids: node.ints("nodes_treeids", max)?,
            node_ids: node.ints("nodes_nodeids", max)?,
            feature_ids: node.ints("nodes_featureids", max)?,
            values: node.numbers("nodes_values", max)?,
            modes: node.texts("nodes_modes", max)?,
            true_ids: node.ints("nodes_truenodeids", max)?,
            false_ids: node.ints("nodes_falsenodeids", max)?,
            missing_true: node.ints("nodes_missing_value_tracks_true", max)?,
            by_tree: BTreeMap::new(),
        };
        let n_nodes = arrays.tree_ids.len();
        if n_nodes == 0 {
            return node.wrong("nodes_treeids", "there are no nodes");
        }
        let lengths = [
            ("nodes_nodeids", arrays.node_ids.len()),
            ("nodes_featureids", arrays.feature_ids.len()),
            ("nodes_values", arrays.values.len()),
            ("nodes_modes", arrays.modes.len()),
            ("nodes_truenodeids", arrays.true_ids.len()),
            ("nodes_falsenodeids", arrays.false_ids.len()),
            (
                "nodes_missing_value_tracks_true",
                if arrays.missing_true.is_empty() { n_nodes } else { arrays.missing_true.len() },
            ),
        ];
        match lengths.into_iter().find(|(_, len)| *len != n_nodes) {
            Some((name, len)) => node.wrong(name, format_args!("has {len} elements, `nodes_treeids` has {n_nodes}")),
            None => Ok(arrays),
        }
    }

    /// The trees, leaves still without weights.
    fn trees(&mut self, node: &NodeView<'_>, limits: &Limits) -> Result<Trees, ImportError> {
        let mut trees = Trees { ids: self.node_ids.clone(), ..Trees::default() };
        self.index(&mut trees, limits)?;
        for at in 0..self.tree_ids.len() {
            let source = match self.modes[at] {
                "LEAF" => {
                    trees.leaves.push(Vec::new());
                    Source::Leaf(u32::try_from(trees.leaves.len() - 1).unwrap_or(u32::MAX))
                }
                mode => self.split(node, at, mode, limits)?,
            };
            trees.nodes.push(source);
        }
        Ok(trees)
    }

    /// Finds the trees, whose nodes lie together, root first.
    fn index(&mut self, trees: &mut Trees, limits: &Limits) -> Result<(), ImportError> {
        let mut start = 0;
        for tree in self.tree_ids.chunk_by(|one, other| one == other) {
            let (id, end) = (tree[0], start + tree.len());
            let wrong = |node, reason| Err(ImportError::Node { tree: id, node, reason });
            if trees.roots.len() >= limits.trees_max {
                return Err(ImportError::TooMany { what: "trees", max: limits.trees_max });
            }
            let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            let mut ids: Vec<(i64, u32)> = (start..end).map(|at| (self.node_ids[at], place(at))).collect();
            ids.sort_unstable();
            if let Some(twice) = ids.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return wrong(twice[0].0, "it is there twice");
            }
            trees.roots.push((place(start), id));
            if self.by_tree.insert(id, ids).is_some() {
                return wrong(self.node_ids[start], "the tree's nodes do not lie together");
            }
            start = end;
        }
        Ok(())
    }

    fn find(&self, tree: i64, node: i64) -> Option<u32> {
        let ids = self.by_tree.get(&tree)?;
        ids.binary_search_by_key(&node, |(id, _)| *id).ok().map(|at| ids[at].1)
    }

    fn split(&self, node: &NodeView<'_>, at: usize, mode: &str, limits: &Limits) -> Result<Source, ImportError> {
        let mode = match mode {
            "BRANCH_LEQ" => Mode::Leq,
            "BRANCH_LT" => Mode::Lt,
            "BRANCH_GTE" => Mode::Gte,
            "BRANCH_GT" => Mode::Gt,
            "BRANCH_EQ" => Mode::Eq,
            "BRANCH_NEQ" => Mode::Neq,
            other => return node.wrong("nodes_modes", format_args!("`{other}` is unknown")),
        };
        let tree = self.tree_ids[at];
        let child =
            |id: i64, reason| self.find(tree, id).ok_or(ImportError::Node { tree, node: self.node_ids[at], reason });
        let ids = (
            child(self.true_ids[at], "its true branch leads to a node that is not there")?,
            child(self.false_ids[at], "its false branch leads to a node that is not there")?,
        );
        let missing_true = self.missing_true.get(at).is_some_and(|flag| *flag != 0);
        Ok(mode.split(feature(node, self.feature_ids[at], limits)?, &[self.values[at]], ids, missing_true))
    }

    /// Gives the leaves their weights. Weights of inner nodes, which old exporters wrote, count for nothing.
    fn weigh(
        &self,
        node: &NodeView<'_>,
        names: &WeightNames,
        n_targets: usize,
        trees: &mut Trees,
        limits: &Limits,
    ) -> Result<(), ImportError> {
        let max = limits.leaf_numbers_max;
        let tree_ids = node.ints(names.tree_ids, max)?;
        let node_ids = node.ints(names.node_ids, max)?;
        let targets = node.ints(names.targets, max)?;
        let weights = finite(node, names.weights, node.numbers(names.weights, max)?)?;
        let lengths =
            [(names.node_ids, node_ids.len()), (names.targets, targets.len()), (names.weights, weights.len())];
        if let Some((name, len)) = lengths.into_iter().find(|(_, len)| *len != tree_ids.len()) {
            return node.wrong(name, format_args!("has {len} elements, `{}` has {}", names.tree_ids, tree_ids.len()));
        }
        for at in 0..tree_ids.len() {
            let (tree, id) = (tree_ids[at], node_ids[at]);
            let Some(place) = self.find(tree, id) else {
                return Err(ImportError::Node { tree, node: id, reason: "it has a weight but is not there" });
            };
            let target = u32::try_from(targets[at]).ok().filter(|target| (*target as usize) < n_targets);
            let Some(target) = target else {
                return node.wrong(names.targets, format_args!("must be in 0..{n_targets}, got {}", targets[at]));
            };
            if let Source::Leaf(number) = trees.nodes[place as usize] {
                trees.leaves[number as usize].push((target, weights[at]));
            }
        }
        Ok(())
    }
}
