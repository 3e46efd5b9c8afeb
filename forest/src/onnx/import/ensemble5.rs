//! `TreeEnsemble` of ai.onnx.ml 5: inner nodes and leaves in arrays of their own, numbered over all trees.

use super::ensemble::{Ensemble, PostTransform, feature, finite, n_targets};
use super::error::{ImportError, Limits};
use super::proto::{Elements, NodeView};
use super::trees::{Mode, Source, Trees};

impl Ensemble {
    /// A `TreeEnsemble`.
    pub(super) fn version5(node: &NodeView<'_>, limits: &Limits) -> Result<Self, ImportError> {
        let n_targets = n_targets(node, limits)?;
        let average = match node.int("aggregate_function")?.unwrap_or(1) {
            0 => true,
            1 => false,
            other => {
                let name = [(2, "MIN"), (3, "MAX")].into_iter().find(|(number, _)| *number == other);
                let name = name.map_or_else(|| other.to_string(), |(_, name)| name.to_owned());
                return node
                    .wrong("aggregate_function", format_args!("{name} cannot be imported, SUM and AVERAGE can"));
            }
        };
        let post_transform = match node.int("post_transform")?.unwrap_or(0) {
            0 => PostTransform::None,
            // The standard says SOFTMAX and LOGISTIC, ONNX Runtime takes each for the other.
            1 | 2 => {
                let reason = "SOFTMAX and LOGISTIC of a TreeEnsemble cannot be imported: ONNX and ONNX Runtime number them \
                              differently";
                return node.wrong("post_transform", reason);
            }
            3 => PostTransform::SoftmaxZero,
            4 => PostTransform::Probit,
            other => return node.wrong("post_transform", format_args!("{other} is unknown")),
        };
        let trees = Arrays::read(node, limits)?.trees(node, n_targets, limits)?;
        Ok(Self { trees, n_targets, average, base_values: Vec::new(), post_transform })
    }
}

struct Arrays {
    roots: Vec<i64>,
    feature_ids: Vec<i64>,
    modes: Vec<i64>,
    splits: Vec<f64>,
    true_ids: Vec<i64>,
    true_leafs: Vec<i64>,
    false_ids: Vec<i64>,
    false_leafs: Vec<i64>,
    missing_true: Vec<i64>,
    /// Members of each [`Mode::Member`] node, in order of the nodes.
    members: Vec<Vec<f64>>,
    targets: Vec<i64>,
    weights: Vec<f64>,
}

impl Arrays {
    fn read(node: &NodeView<'_>, limits: &Limits) -> Result<Self, ImportError> {
        let max = limits.nodes_max;
        let arrays = Self {
            roots: node.ints("tree_roots", limits.trees_max)?,
            feature_ids: node.ints("nodes_featureids", max)?,
            modes: modes(node, max)?,
            splits: numbers(node, "nodes_splits", max)?,
            true_ids: node.ints("nodes_truenodeids", max)?,
            true_leafs: node.ints("nodes_trueleafs", max)?,
            false_ids: node.ints("nodes_falsenodeids", max)?,
            false_leafs: node.ints("nodes_falseleafs", max)?,
            missing_true: node.ints("nodes_missing_value_tracks_true", max)?,
            members: members(&numbers(node, "membership_values", max)?),
            targets: node.ints("leaf_targetids", max)?,
            weights: finite(node, "leaf_weights", numbers(node, "leaf_weights", max)?)?,
        };
        if arrays.roots.is_empty() {
            return node.wrong("tree_roots", "there are no trees");
        }
        let n_nodes = arrays.feature_ids.len();
        let missing = if arrays.missing_true.is_empty() { n_nodes } else { arrays.missing_true.len() };
        let lengths = [
            ("nodes_modes", arrays.modes.len(), n_nodes),
            ("nodes_splits", arrays.splits.len(), n_nodes),
            ("nodes_truenodeids", arrays.true_ids.len(), n_nodes),
            ("nodes_trueleafs", arrays.true_leafs.len(), n_nodes),
            ("nodes_falsenodeids", arrays.false_ids.len(), n_nodes),
            ("nodes_falseleafs", arrays.false_leafs.len(), n_nodes),
            ("nodes_missing_value_tracks_true", missing, n_nodes),
            ("leaf_weights", arrays.weights.len(), arrays.targets.len()),
        ];
        match lengths.into_iter().find(|(_, len, expected)| len != expected) {
            Some((name, len, expected)) => node.wrong(name, format_args!("has {len} elements, expected {expected}")),
            None => Ok(arrays),
        }
    }

    fn trees(&self, node: &NodeView<'_>, n_targets: usize, limits: &Limits) -> Result<Trees, ImportError> {
        let (n_nodes, n_leaves) = (self.feature_ids.len(), self.targets.len());
        let mut trees = Trees::default();
        for (&target, &weight) in self.targets.iter().zip(&self.weights) {
            match u32::try_from(target) {
                Ok(number) if (number as usize) < n_targets => trees.leaves.push(vec![(number, weight)]),
                _ => return node.wrong("leaf_targetids", format_args!("must be in 0..{n_targets}, got {target}")),
            }
        }
        let mut members = self.members.iter();
        for at in 0..n_nodes {
            trees.nodes.push(self.split(node, at, &mut members, limits)?);
        }
        // Leaves follow the inner nodes; one that no node leads to is left out.
        let used = self.used_leaves(n_leaves);
        let mut places = vec![u32::MAX; n_leaves];
        for leaf in (0..n_leaves).filter(|leaf| used[*leaf]) {
            places[leaf] = place(trees.nodes.len());
            trees.nodes.push(Source::Leaf(place(leaf)));
        }
        for (at, source) in trees.nodes[..n_nodes].iter_mut().enumerate() {
            let Source::Split { yes, no, .. } = source else { continue };
            for child in [yes, no] {
                // Marked by `split`: leaves are counted from the end of the inner nodes.
                if let Some(leaf) = (*child as usize).checked_sub(n_nodes) {
                    *child = *places.get(leaf).ok_or(ImportError::Node { tree: 0, node: id(at), reason: NOT_THERE })?;
                }
            }
        }
        trees.ids = (0..trees.nodes.len()).map(id).collect();
        for (tree, root) in self.roots.iter().enumerate() {
            match usize::try_from(*root) {
                Ok(root) if root < n_nodes => trees.roots.push((place(root), id(tree))),
                _ => return node.wrong("tree_roots", format_args!("must be in 0..{n_nodes}, got {root}")),
            }
        }
        Ok(trees)
    }

    fn used_leaves(&self, n_leaves: usize) -> Vec<bool> {
        let mut used = vec![false; n_leaves];
        for (ids, leafs) in [(&self.true_ids, &self.true_leafs), (&self.false_ids, &self.false_leafs)] {
            for (child, _) in ids.iter().zip(leafs).filter(|(_, is_leaf)| **is_leaf != 0) {
                if let Some(used) = usize::try_from(*child).ok().and_then(|leaf| used.get_mut(leaf)) {
                    *used = true;
                }
            }
        }
        used
    }

    /// An inner node; children that are leaves are counted from the end of the inner nodes.
    fn split<'m>(
        &self,
        node: &NodeView<'_>,
        at: usize,
        members: &mut impl Iterator<Item = &'m Vec<f64>>,
        limits: &Limits,
    ) -> Result<Source, ImportError> {
        let (n_nodes, n_leaves) = (self.feature_ids.len(), self.targets.len());
        let child = |child: i64, is_leaf: i64| {
            let (first, n) = if is_leaf == 0 { (0, n_nodes) } else { (n_nodes, n_leaves) };
            let number = usize::try_from(child).ok().filter(|number| *number < n);
            let number = number.ok_or(ImportError::Node { tree: 0, node: id(at), reason: NOT_THERE })?;
            Ok::<u32, ImportError>(place(first + number))
        };
        let ids = (child(self.true_ids[at], self.true_leafs[at])?, child(self.false_ids[at], self.false_leafs[at])?);
        let mode = match self.modes[at] {
            0 => Mode::Leq,
            1 => Mode::Lt,
            2 => Mode::Gte,
            3 => Mode::Gt,
            4 => Mode::Eq,
            5 => Mode::Neq,
            6 => Mode::Member,
            other => return node.wrong("nodes_modes", format_args!("{other} is unknown")),
        };
        let threshold = [self.splits[at]];
        let values = if mode == Mode::Member {
            match members.next() {
                Some(members) => members.as_slice(),
                None => return node.wrong("membership_values", "there are fewer sets than nodes that test for one"),
            }
        } else {
            &threshold
        };
        let missing_true = self.missing_true.get(at).is_some_and(|flag| *flag != 0);
        Ok(mode.split(feature(node, self.feature_ids[at], limits)?, values, ids, missing_true))
    }
}

const NOT_THERE: &str = "a branch leads to a node or leaf that is not there";

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn id(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

/// A tensor attribute of numbers; empty if there is none.
fn numbers(node: &NodeView<'_>, name: &str, max: usize) -> Result<Vec<f64>, ImportError> {
    match node.tensor(name)?.map(|tensor| tensor.elements(max)).transpose()? {
        None => Ok(Vec::new()),
        Some(Elements::Numbers(numbers)) => Ok(numbers),
        Some(_) => node.wrong(name, "must be a tensor of float32 or float64"),
    }
}

fn modes(node: &NodeView<'_>, max: usize) -> Result<Vec<i64>, ImportError> {
    match node.tensor("nodes_modes")?.map(|tensor| tensor.elements(max)).transpose()? {
        Some(Elements::Ints(modes)) => Ok(modes),
        _ => node.wrong("nodes_modes", "must be a tensor of uint8"),
    }
}

/// Sets, each ended by a NaN.
fn members(numbers: &[f64]) -> Vec<Vec<f64>> {
    let mut sets: Vec<Vec<f64>> = numbers.split(|number| number.is_nan()).map(<[f64]>::to_vec).collect();
    if sets.last().is_some_and(Vec::is_empty) {
        sets.pop();
    }
    sets
}
