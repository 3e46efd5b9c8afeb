//! linfa-trees' decision tree as an algorithm that a user may choose ([`crate::Estimator::LinfaTree`]), turned into a
//! [`Tree`], so that everything else works with it.
//!
//! What it does otherwise than scikit-learn's `DecisionTreeClassifier` (linfa-trees 0.8.1): a cut lies half way to the next
//! value of the whole data set; values closer than 1e-5 are not cut apart; `min_impurity_decrease` is not weighted by the
//! node's rows, and 1e-5 when nothing is said; children that say the same are pruned; of equally good cuts the first one wins,
//! so there is no seed. It knows no missing values and takes time proportional to rows × features × nodes.
//!
//! Its sums and ties follow the order of a hash map that differs from run to run: with three or more classes, or with nodes
//! of equally many rows of two classes, **the same job may give another tree**. No other estimator does that.
//!
//! linfa's training sends a value equal to a cut left, its prediction right. Here prediction counts; a leaf's `value` are the
//! fractions of the classes that its training rows have, so its label is linfa's, or where linfa tosses a coin the first class.

use linfa::traits::Fit;
use linfa::{DatasetBase, ParamGuard};
use linfa_trees::{DecisionTree, SplitQuality, TreeNode};
use ndarray::{Array1, Array2};

use crate::Error;
use crate::frame::Frame;
use crate::params::{Criterion, ParamError, RandomForestParams, RowCount};
use crate::tree::{TREE_LEAF, TREE_UNDEFINED, Tree};

/// Deepest tree: linfa's training and this module recurse. No data set that it can learn from in reasonable time needs more.
pub const MAX_DEPTH: u32 = 200;

/// `min_impurity_decrease` when nothing is said, as linfa-trees has it.
pub const MIN_IMPURITY_DECREASE: f64 = 0.00001;

/// Grows linfa's tree. The parameters have been checked, the target has classes.
pub(crate) fn grow(frame: &Frame, params: &RandomForestParams) -> Result<Tree, Error> {
    let weight_of = |row: usize| frame.sample_weight().map_or(1.0, |weights| weights[row]);
    // Rows that weigh nothing would make leaves that say nothing.
    let rows: Vec<usize> = (0..frame.n_samples()).filter(|row| weight_of(*row) > 0.0).collect();
    if rows.is_empty() {
        return Err(ParamError::no_weight("sample_weight", 0.0).into());
    }
    let records = records(frame, &rows)?;
    let targets: Array1<usize> = rows.iter().map(|row| frame.class_indexes()[*row] as usize).collect();
    let mut dataset = DatasetBase::new(records, targets);
    if frame.sample_weight().is_some() {
        dataset = dataset.with_weights(rows.iter().map(|row| narrow(weight_of(*row))).collect());
    }
    let fitted = DecisionTree::<f64, usize>::params()
        .split_quality(if params.criterion == Criterion::Gini { SplitQuality::Gini } else { SplitQuality::Entropy })
        .max_depth(Some(params.max_depth.unwrap_or(MAX_DEPTH) as usize))
        .min_weight_split(weight(params.min_samples_split))
        .min_weight_leaf(weight(params.min_samples_leaf))
        .min_impurity_decrease(params.min_impurity_decrease)
        .check()?
        .fit(&dataset)?;
    let mut copy = Copy { frame, criterion: params.criterion, tree: empty(frame, params.random_state) };
    copy.add(fitted.root_node(), &rows);
    Ok(copy.tree)
}

/// The features of these rows, `(n_rows, n_features)`, in float64, where half way between two float32 numbers is exact.
fn records(frame: &Frame, rows: &[usize]) -> Result<Array2<f64>, Error> {
    let (n_samples, n_features) = (frame.n_samples(), frame.n_features());
    if let Some(at) = frame.columns().iter().position(|value| value.is_nan()) {
        let (row, feature) = (at % n_samples + 1, &frame.feature_names()[at / n_samples]);
        return Err(Error::Unsupported(format!("row {row}, column `{feature}`: linfa-tree knows no missing values")));
    }
    Ok(Array2::from_shape_fn((rows.len(), n_features), |(at, feature)| f64::from(frame.column(feature)[rows[at]])))
}

#[expect(clippy::cast_possible_truncation, reason = "linfa weighs rows in float32")]
fn narrow(weight: f64) -> f32 {
    weight as f32
}

#[expect(clippy::cast_precision_loss, reason = "linfa counts rows in float32")]
fn weight(rows: RowCount) -> f32 {
    match rows {
        RowCount::Count(count) => count as f32,
        // Refused by the check of the parameters.
        RowCount::Fraction(_) => f32::NAN,
    }
}

fn empty(frame: &Frame, random_state: u32) -> Tree {
    Tree { random_state, n_outputs: frame.classes().len(), ..Tree::default() }
}

/// The tree as it is copied, in preorder.
struct Copy<'a> {
    frame: &'a Frame,
    criterion: Criterion,
    tree: Tree,
}

impl Copy<'_> {
    /// Adds a node that the training rows `rows` reached, and those below it. Returns its number.
    fn add(&mut self, node: &TreeNode<f64, usize>, rows: &[usize]) -> usize {
        let number = self.add_leaf(rows);
        if let (false, [Some(left), Some(right)]) = (node.is_leaf(), node.children().as_slice()) {
            let (feature, cut, _) = node.split();
            let column = self.frame.column(feature);
            // As linfa's training divides them, which is what its labels come from.
            let (below, above): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| f64::from(column[**row]) <= cut);
            self.tree.feature[number] = i32::try_from(feature).unwrap_or(TREE_UNDEFINED);
            // As linfa's prediction does: below the cut is left, the cut itself right.
            self.tree.threshold[number] = cut.next_down();
            let children = [self.add(left, &below), self.add(right, &above)];
            let [left, right] = children.map(|child| i32::try_from(child).unwrap_or(TREE_LEAF));
            self.tree.children_left[number] = left;
            self.tree.children_right[number] = right;
        }
        number
    }

    fn add_leaf(&mut self, rows: &[usize]) -> usize {
        let tree = &mut self.tree;
        let number = tree.node_count();
        let mut counts = vec![0.0; tree.n_outputs];
        for row in rows {
            let weight = self.frame.sample_weight().map_or(1.0, |weights| weights[*row]);
            counts[self.frame.class_indexes()[*row] as usize] += weight;
        }
        let weight: f64 = counts.iter().sum();
        let fractions: Vec<f64> = counts.iter().map(|count| if weight > 0.0 { count / weight } else { 0.0 }).collect();
        tree.feature.push(TREE_UNDEFINED);
        tree.threshold.push(f64::from(TREE_UNDEFINED));
        tree.children_left.push(TREE_LEAF);
        tree.children_right.push(TREE_LEAF);
        tree.missing_go_to_left.push(false);
        tree.impurity.push(impurity(self.criterion, &fractions));
        tree.n_node_samples.push(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        tree.weighted_n_node_samples.push(weight);
        tree.value.extend(fractions);
        number
    }
}

fn impurity(criterion: Criterion, fractions: &[f64]) -> f64 {
    match criterion {
        Criterion::Gini => 1.0 - fractions.iter().map(|part| part * part).sum::<f64>(),
        _ => -fractions.iter().filter(|part| **part > 0.0).map(|part| part * part.log2()).sum::<f64>(),
    }
}
