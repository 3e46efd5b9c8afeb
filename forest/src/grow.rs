//! Growing one tree, in scikit-learn's order of draws and nodes.
//!
//! The order of events is what makes two trees equal: [`draw`] says which features a node looks at, a [`Splitter`] finds the
//! best cut among them, [`depth_first`] or [`best_first`] says which node comes next. Learned from scikit-learn's
//! `sklearn/tree` (BSD-3-Clause).

mod ahead;
mod best_first;
mod bins;
mod block;
mod costs;
mod depth_first;
mod draw;
mod drawn;
mod hist;
mod impurity;
mod introsort;
mod kept;
mod measure;
mod narrow;
mod node;
mod ordered;
mod plan;
mod presort;
mod prune;
mod ranked;
mod ranks;
mod scan;
mod sort;
mod sorted;
mod tally;
mod term;
mod whole;

pub(crate) use plan::{Plan, RowWeights};

use std::sync::atomic::{AtomicBool, Ordering};

use crate::frame::Frame;
use crate::kernel::Level;
use crate::params::Criterion;
use crate::random::Xorshift;
use crate::tree::Tree;
use bins::Bins;
use costs::Costs;
use draw::FeatureDraw;
use hist::HistSplitter;
use impurity::{Entropy, Gini, Impurity};
use measure::{Classes, SquaredError};
use node::{Bounds, Cut};
use ordered::OrderedSplitter;
use presort::Presort;
use ranked::{RankedSplitter, RankedWork};
use ranks::Ranks;
use sorted::{SortedSplitter, SortedWork};
use whole::WholeSplitter;

/// Values closer than this count as equal (float32 arithmetic).
const FEATURE_THRESHOLD: f32 = 1e-7;
/// Impurities up to this count as zero.
const IMPURITY_EPSILON: f64 = f64::EPSILON;

/// Finds cuts in the rows of one node after another.
trait Splitter {
    /// Number of training rows of the tree.
    fn n_rows(&self) -> usize;

    /// Makes the rows `start..end` (positions, not row numbers) the current node and returns their weight.
    fn enter(&mut self, start: usize, end: usize) -> f64;

    /// Impurity of the current node.
    fn impurity(&self) -> f64;

    /// Appends the current node's value.
    fn push_value(&self, out: &mut Vec<f64>);

    /// Told that features will be searched in the current node.
    fn begin_search(&mut self) {}

    /// Whether [`Splitter::look_ahead`] is of use in the current node.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// Told the features that will probably be searched in the current node.
    fn look_ahead(&mut self, _features: &[usize]) {}

    /// Looks for a better cut than `best` on one feature. `false` if the feature is constant in this node.
    fn search(&mut self, feature: usize, bounds: Bounds, stream: &mut Xorshift, best: &mut Option<Cut>) -> bool;

    /// Moves the rows of the current node to the sides of the cut, and fills in its threshold where the search left that
    /// to this.
    fn apply(&mut self, cut: &mut Cut) -> Sides;

    /// Makes the sides of the cut applied last ready for [`Splitter::search`], where their number of rows is told. The others
    /// are only entered for their values.
    fn divide(&mut self, _left: Option<usize>, _right: Option<usize>) {}
}

/// The two sides of an applied cut.
#[derive(Debug, Clone, Copy)]
struct Sides {
    /// First position of the right side.
    position: usize,
    impurity_left: f64,
    impurity_right: f64,
    weight_left: f64,
    weight_right: f64,
    /// Half way between the first values of the sides, for monotonic constraints.
    middle: f64,
}

/// Whether the caller has given a fit up, which is for good: whoever sees it leaves its work as it is, and nothing of it is used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cancel<'a>(pub(crate) Option<&'a AtomicBool>);

impl Cancel<'_> {
    pub(crate) fn is_raised(self) -> bool {
        self.0.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// What the trees of one fit share, and nothing else.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) plan: Plan,
    level: Level,
    cancel: Cancel<'a>,
    prepared: Prepared,
    /// Whether cuts may depend on the order of rows, even where sums do not.
    needs_order: bool,
}

/// What is known of the columns before a tree grows.
#[derive(Debug)]
enum Prepared {
    /// Nothing.
    No,
    /// Rows in the order of each column.
    Sorted(Presort),
    /// Each column's ranks in the order of the rows.
    Ranked(Ranks),
    /// Each column's bins in the order of the rows.
    Binned(Bins),
}

/// Nodes that look at more than one feature in this many are served better by columns that stay sorted.
const RANKED_PARTS: usize = 2;

impl<'a> Ground<'a> {
    pub(crate) fn new(frame: &'a Frame, plan: Plan, level: Level, cancel: Cancel<'a>) -> Self {
        if let Some(max_bins) = plan.max_bins {
            let prepared = Prepared::Binned(Bins::new(frame, max_bins, cancel));
            return Self { frame, plan, level, cancel, prepared, needs_order: false };
        }
        let few = plan.max_features * RANKED_PARTS <= frame.n_features();
        let ranked = few && plan.criterion == Criterion::Gini && plan.min_samples_leaf <= 1;
        let prepared = if plan.random_cuts {
            Prepared::No
        } else if let Some(ranks) = ranked.then(|| Ranks::new(frame, level, cancel)).flatten() {
            Prepared::Ranked(ranks)
        } else {
            Presort::new(frame, level, cancel).map_or(Prepared::No, Prepared::Sorted)
        };
        let needs_order = plan.random_cuts && drawn::needs_order(frame);
        Self { frame, plan, level, cancel, prepared, needs_order }
    }
}

/// Memory that trees use one after another.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    sorted: SortedWork,
    ranked: RankedWork,
}

/// Grows the tree of one seed; a part of it once the caller has given up. The weights are let go of before it grows.
pub(crate) fn grow(ground: &Ground<'_>, weights: RowWeights, seed: u32, work: &mut Workspace) -> Tree {
    let (frame, plan) = (ground.frame, &ground.plan);
    match plan.criterion {
        Criterion::Gini => grow_classes::<Gini>(ground, weights, seed, work),
        Criterion::Entropy | Criterion::LogLoss => grow_classes::<Entropy>(ground, weights, seed, work),
        Criterion::SquaredError => {
            if let Prepared::Binned(bins) = &ground.prepared {
                let splitter = HistSplitter::new(frame, plan, bins, &weights, SquaredError::new(frame));
                return grow_with(splitter, ground, weights, seed);
            }
            let splitter = OrderedSplitter::new(ground, &weights, SquaredError::new(frame));
            grow_with(splitter, ground, weights, seed)
        }
    }
}

fn grow_classes<I: Impurity + Costs>(
    ground: &Ground<'_>,
    weights: RowWeights,
    seed: u32,
    work: &mut Workspace,
) -> Tree {
    let (frame, plan) = (ground.frame, &ground.plan);
    match &ground.prepared {
        Prepared::Sorted(presort) => {
            if let Some(splitter) = SortedSplitter::<I>::new(frame, plan, presort, &weights, &mut work.sorted) {
                return grow_with(splitter, ground, weights, seed);
            }
        }
        Prepared::Ranked(ranks) => {
            if let Some(splitter) = RankedSplitter::new(frame, plan, ranks, &weights, &mut work.ranked) {
                return grow_with(splitter, ground, weights, seed);
            }
        }
        Prepared::Binned(bins) => {
            let splitter = HistSplitter::new(frame, plan, bins, &weights, Classes::<I>::new(frame));
            return grow_with(splitter, ground, weights, seed);
        }
        Prepared::No => {}
    }
    if !ground.needs_order
        && let Some(splitter) = WholeSplitter::<I>::new(frame, plan, &weights)
    {
        return grow_with(splitter, ground, weights, seed);
    }
    let measure = Classes::<I>::new(frame);
    grow_with(OrderedSplitter::new(ground, &weights, measure), ground, weights, seed)
}

fn grow_with(splitter: impl Splitter, ground: &Ground<'_>, weights: RowWeights, seed: u32) -> Tree {
    let (frame, plan) = (ground.frame, &ground.plan);
    let (sum, total) = (weights.sum(frame.n_samples()), weights.total(frame.n_samples()));
    // The splitter has what it needs of them. They are as long as a column, for each thread.
    drop(weights);
    let mut builder = Builder {
        splitter,
        plan,
        cancel: ground.cancel,
        total_weight: sum,
        min_weight_leaf: plan.min_weight_fraction_leaf * total,
        draw: FeatureDraw::new(frame.n_features(), plan.max_features),
        likely: Vec::new(),
        stream: Xorshift::of_tree(seed),
        tree: Tree { random_state: seed, n_outputs: plan.n_outputs, ..Tree::default() },
    };
    match plan.max_leaf_nodes {
        None => depth_first::grow(&mut builder),
        Some(leaves) => best_first::grow(&mut builder, leaves),
    }
    prune::prune(builder.tree, plan.ccp_alpha)
}

/// A tree in the making.
struct Builder<'a, S> {
    splitter: S,
    plan: &'a Plan,
    cancel: Cancel<'a>,
    total_weight: f64,
    min_weight_leaf: f64,
    draw: FeatureDraw,
    /// Features that the node in work will probably look at.
    likely: Vec<usize>,
    stream: Xorshift,
    tree: Tree,
}

/// A node that waits for its turn.
#[derive(Debug, Clone, Copy)]
struct Pending {
    start: usize,
    end: usize,
    depth: u32,
    /// Its parent and whether it is the left child; `None` for the root.
    parent: Option<(usize, bool)>,
    /// `None` for the root, whose impurity is yet to be computed.
    impurity: Option<f64>,
    n_constants: usize,
    bounds: Bounds,
}

impl Pending {
    fn root(n_rows: usize) -> Self {
        Self { start: 0, end: n_rows, depth: 0, parent: None, impurity: None, n_constants: 0, bounds: Bounds::OPEN }
    }
}

/// A node added to the tree, with its cut if it has one.
#[derive(Debug, Clone, Copy)]
struct Added {
    node: usize,
    n_constants: usize,
    split: Option<AppliedSplit>,
}

#[derive(Debug, Clone, Copy)]
struct AppliedSplit {
    feature: usize,
    sides: Sides,
    improvement: f64,
}

impl<S: Splitter> Builder<'_, S> {
    /// Adds a node and, unless it must be a leaf, cuts its rows in two.
    fn add(&mut self, pending: &Pending) -> Added {
        let weight = self.splitter.enter(pending.start, pending.end);
        let impurity = pending.impurity.unwrap_or_else(|| self.splitter.impurity());
        let n_rows = pending.end - pending.start;
        let closed = self.is_closed(pending.depth, n_rows, weight, impurity);
        let node = self.tree.node_count();
        self.push_node(pending, impurity, weight, n_rows);
        if closed {
            return Added { node, n_constants: pending.n_constants, split: None };
        }
        let (cut, n_constants) = self.find_cut(pending);
        let split = cut.and_then(|cut| self.split(node, pending, impurity, weight, cut));
        Added { node, n_constants, split }
    }

    /// Whether a node must be a leaf, whatever cuts there are.
    fn is_closed(&self, depth: u32, n_rows: usize, weight: f64, impurity: f64) -> bool {
        depth >= self.plan.max_depth
            || n_rows < self.plan.min_samples_split
            || n_rows < 2 * self.plan.min_samples_leaf
            || weight < 2.0 * self.min_weight_leaf
            || impurity <= IMPURITY_EPSILON
    }

    /// Looks at features in random order until enough were seen.
    fn find_cut(&mut self, pending: &Pending) -> (Option<Cut>, usize) {
        self.splitter.begin_search();
        if self.splitter.looks_ahead() {
            self.draw.preview(pending.n_constants, self.stream.clone(), &mut self.likely);
            self.splitter.look_ahead(&self.likely);
        }
        let mut best = None;
        let mut draws = self.draw.begin(pending.n_constants);
        while let Some(drawn) = draws.next(&mut self.stream) {
            let varied = self.splitter.search(drawn.feature, pending.bounds, &mut self.stream, &mut best);
            draws.seen(drawn, varied);
        }
        (best, draws.finish())
    }

    /// Applies a cut; `None` if it improves too little. The rows are then moved all the same, as nobody asks for them again.
    fn split(
        &mut self,
        node: usize,
        pending: &Pending,
        impurity: f64,
        weight: f64,
        mut cut: Cut,
    ) -> Option<AppliedSplit> {
        let sides = self.splitter.apply(&mut cut);
        let improvement = (weight / self.total_weight)
            * (impurity
                - (sides.weight_right / weight * sides.impurity_right)
                - (sides.weight_left / weight * sides.impurity_left));
        if improvement + IMPURITY_EPSILON < self.plan.min_impurity_decrease {
            return None;
        }
        let depth = pending.depth + 1;
        let (n_left, n_right) = (sides.position - pending.start, pending.end - sides.position);
        let left_closed = self.is_closed(depth, n_left, sides.weight_left, sides.impurity_left);
        let right_closed = self.is_closed(depth, n_right, sides.weight_right, sides.impurity_right);
        self.splitter.divide((!left_closed).then_some(n_left), (!right_closed).then_some(n_right));
        let tree = &mut self.tree;
        tree.feature[node] = i32::try_from(cut.feature).unwrap_or(i32::MAX);
        tree.threshold[node] = cut.threshold;
        tree.missing_go_to_left[node] = cut.missing_go_to_left;
        Some(AppliedSplit { feature: cut.feature, sides, improvement })
    }

    fn push_node(&mut self, pending: &Pending, impurity: f64, weight: f64, n_rows: usize) {
        let tree = &mut self.tree;
        if let Some((parent, is_left)) = pending.parent {
            let siblings = if is_left { &mut tree.children_left } else { &mut tree.children_right };
            siblings[parent] = i32::try_from(tree.feature.len()).unwrap_or(i32::MAX);
        }
        tree.feature.push(crate::tree::TREE_UNDEFINED);
        tree.threshold.push(f64::from(crate::tree::TREE_UNDEFINED));
        tree.children_left.push(crate::tree::TREE_LEAF);
        tree.children_right.push(crate::tree::TREE_LEAF);
        tree.missing_go_to_left.push(false);
        tree.impurity.push(impurity);
        tree.n_node_samples.push(u32::try_from(n_rows).unwrap_or(u32::MAX));
        tree.weighted_n_node_samples.push(weight);
        let first = tree.value.len();
        self.splitter.push_value(&mut tree.value);
        if self.plan.monotonic.is_some() {
            pending.bounds.clip(&mut tree.value[first..]);
        }
    }

    /// Bounds of the two children of a cut.
    fn child_bounds(&self, bounds: Bounds, split: &AppliedSplit) -> (Bounds, Bounds) {
        bounds.children(self.plan.sign(split.feature), split.sides.middle)
    }
}

#[cfg(test)]
mod tests;
