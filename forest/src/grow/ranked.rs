//! Cuts of two classes by Gini impurity with small whole weights, where nodes look at few of the features.
//!
//! A tree keeps one list of its rows; a node is a range of it. Large nodes count codes of the features that they look at, and
//! fetch keys only where codes do not tell enough. The largest read the codes where they stand in the frame; those below have
//! them moved beside their rows. Smaller ones lie in a [`Block`], which holds their keys side by side.
//! Either way [`Narrow`] finds the few cuts that may be the best, and the score of these is computed as scikit-learn does.

mod apply;
mod search;

use std::ops::Range;

use super::ahead::{Ahead, AheadKeys};
use super::block::Block;
use super::narrow::{Narrow, code_shift, key_shift};
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::ranks::Ranks;
use super::scan::Tallies;
use super::tally::{Tally, middle};
use super::whole::Key;
use super::{FEATURE_THRESHOLD, Sides, Splitter};
use crate::frame::Frame;
use crate::grow::impurity::Gini;
use crate::kernel::code_rows::CodeRows;
use crate::kernel::columns::Division;
use crate::kernel::few::{self, Cheapest};
use crate::kernel::{self, Packing, columns, keys};
use crate::pages::Pages;
use crate::random::Xorshift;
use search::Found;

/// Outside of blocks, nodes of so many rows are searched by keys at once, larger ones by codes first.
const KEYED_ROWS: usize = 24;
/// A block divides the columns of all features: it pays where nodes look at one of so many at least.
const BLOCK_PARTS: usize = 16;
/// Codes of all features move with a node's rows: it pays where nodes look at one of so many at least.
const MOVED_PARTS: usize = 32;

/// Memory that trees use one after another.
#[derive(Debug, Default)]
pub(super) struct RankedWork {
    /// Items of the tree's rows; a node is a range of it. Rows ascend within every node.
    items: Pages<u32>,
    /// Codes of the items' rows, or of some.
    codes: CodeRows,
    block: Block,
    /// Keys of the current node by the feature looked at last, outside of blocks.
    keys: Pages<u32>,
    /// How the current node is divided, outside of blocks.
    division: Division,
    /// Items of the rows next to a cut.
    near: Pages<u32>,
    ahead: Ahead,
    ahead_keys: AheadKeys,
    /// Lent to a search while it goes on.
    narrow: Option<Box<Narrow>>,
    cheapest: Cheapest,
    /// Sorted values of the current node, where they are needed.
    values: Vec<Key>,
    /// Weights of both classes in nodes that are to come, the next one last.
    known: Vec<(Range<usize>, (u64, u64))>,
}

impl RankedWork {
    /// Weights of both classes in a node, if its parent told them. Nodes that come in another order are not known.
    fn take_known(&mut self, node: Range<usize>) -> Option<(u64, u64)> {
        while let Some((known, weights)) = self.known.pop() {
            if known == node {
                return Some(weights);
            }
        }
        None
    }
}

/// The splitter for two classes and few features per node.
pub(super) struct RankedSplitter<'a> {
    frame: &'a Frame,
    plan: &'a Plan,
    ranks: &'a Ranks,
    work: &'a mut RankedWork,
    min_weight_leaf: f64,
    n_rows: usize,
    start: usize,
    end: usize,
    /// Rows of the largest blocks, 0 if there are to be none.
    block_rows: usize,
    /// Rows of the largest nodes whose codes are moved, 0 if there are to be none.
    moved_rows: usize,
    /// The feature whose keys of the current node are at hand, outside of blocks.
    keyed: Option<usize>,
    /// No cut of the current node that costs more will be the best.
    promised: f32,
    tallies: Tallies,
    /// The feature whose best cut was found last without its threshold, and the last key on the left of that.
    found: Option<(usize, u32)>,
}

impl<'a> RankedSplitter<'a> {
    /// `None` if the weights are not whole and small.
    pub(super) fn new(
        frame: &'a Frame,
        plan: &'a Plan,
        ranks: &'a Ranks,
        weights: &RowWeights,
        work: &'a mut RankedWork,
    ) -> Option<Self> {
        let count = weights.whole(Packing::MAX_WEIGHT + 1)?;
        let n_samples = u32::try_from(frame.n_samples()).ok()?;
        let total = weights.total(frame.n_samples());
        #[expect(clippy::cast_precision_loss, reason = "exact: a power of two")]
        if total > super::costs::MAX_WEIGHT as f64 {
            return None;
        }
        work.block.clear();
        work.codes.clear();
        work.known.clear();
        work.items.make_room(frame.n_samples());
        let mut n_rows = 0;
        for (row, class) in (0..n_samples).zip(frame.class_indexes()) {
            // Written over by the next row if this one has no weight.
            work.items[n_rows] = ranks.packing.item(row, *class) | count(row);
            n_rows += usize::from(count(row) > 0);
        }
        work.keys.make_room(frame.n_samples());
        // Where nodes come in any order blocks and codes would be taken again and again.
        let nested = plan.max_leaf_nodes.is_none();
        let blocks = nested && plan.max_features * BLOCK_PARTS >= frame.n_features();
        let moved = plan.max_features * MOVED_PARTS >= frame.n_features();
        Some(Self {
            block_rows: if blocks { Block::rows_max(ranks.level, frame.n_features()) } else { 0 },
            moved_rows: if !moved {
                0
            } else if nested {
                ranks.moved_rows
            } else {
                n_rows
            },
            frame,
            plan,
            ranks,
            work,
            min_weight_leaf: plan.min_weight_fraction_leaf * total,
            n_rows,
            start: 0,
            end: 0,
            keyed: None,
            promised: f32::INFINITY,
            tallies: Tallies::new(2),
            found: None,
        })
    }

    fn n(&self) -> usize {
        self.end - self.start
    }

    /// Whether the current node lies in the block.
    fn in_block(&self) -> bool {
        self.work.block.holds(self.start, self.end)
    }

    /// Items of the current node.
    fn items(&self) -> &[u32] {
        if self.in_block() {
            self.work.block.items(self.start, self.end)
        } else {
            &self.work.items[self.start..self.end]
        }
    }

    /// Row of the frame at a place of the current node.
    fn row(&self, place: usize) -> usize {
        self.ranks.packing.row(self.items()[place]) as usize
    }

    /// Counts the codes of features, or in a block the keys, where that was not done yet.
    fn count(&mut self, features: &[usize]) {
        let total = self.total();
        let RankedWork { items, codes, ahead, ahead_keys, block, .. } = &mut *self.work;
        let (level, packing, start, end) = (self.ranks.level, self.ranks.packing, self.start, self.end);
        if block.holds(start, end) {
            if features.iter().any(|feature| ahead_keys.of(*feature).is_none()) {
                let shift = |n, range| key_shift(packing, n, range);
                ahead_keys.count(level, |feature| block.keys(feature, start, end), shift, features);
            }
        } else if features.iter().any(|feature| ahead.of(*feature).is_none()) {
            let items = &items[start..end];
            let codes = codes.codes(start, end).unwrap_or_else(|| self.ranks.codes());
            ahead.count(level, codes, (items, total), code_shift(items.len()), features);
        }
    }

    /// Has the node's keys of a feature at hand; returns the smallest and the largest.
    fn take_keys(&mut self, feature: usize) -> (u32, u32) {
        let (level, packing) = (self.ranks.level, self.ranks.packing);
        if self.in_block() {
            return columns::range(level, self.keys(feature));
        }
        self.keyed = Some(feature);
        let RankedWork { items, keys, .. } = &mut *self.work;
        let items = &items[self.start..self.end];
        keys::gather(level, packing, self.ranks.table().column(feature), items, &mut keys[..items.len()])
    }

    /// The node's keys of a feature, which are at hand.
    fn keys(&self, feature: usize) -> &[u32] {
        if self.in_block() { self.work.block.keys(feature, self.start, self.end) } else { &self.work.keys[..self.n()] }
    }

    /// Value of a feature in a row that has this key.
    fn value(&self, feature: usize, key: u32) -> Option<f32> {
        let place = self.keys(feature).iter().position(|other| *other == key)?;
        Some(self.frame.column(feature)[self.row(place)])
    }

    /// Whether the values of two keys are too close to be cut apart.
    fn are_close(&self, feature: usize, one: u32, other: u32) -> bool {
        self.ranks.may_be_close(feature, one, other)
            && self.value(feature, one).zip(self.value(feature, other)).is_some_and(|(a, b)| b <= a + FEATURE_THRESHOLD)
    }
}

impl Splitter for RankedSplitter<'_> {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        (self.keyed, self.found) = (None, None);
        self.promised = f32::INFINITY;
        self.work.ahead.clear();
        self.work.ahead_keys.clear();
        let known = self.work.take_known(start..end);
        let (first, second) = known.unwrap_or_else(|| kernel::pair_sums(self.ranks.level, self.items()));
        self.tallies.total.set_pair(first, second);
        self.tallies.total.weight()
    }

    fn impurity(&self) -> f64 {
        self.tallies.total.impurity::<Gini>()
    }

    fn push_value(&self, out: &mut Vec<f64>) {
        self.tallies.total.push_fractions(out);
    }

    fn looks_ahead(&self) -> bool {
        self.n() > if self.in_block() { few::keys_max(self.ranks.level) } else { KEYED_ROWS }
    }

    fn look_ahead(&mut self, features: &[usize]) {
        self.count(features);
        self.promised = self.promise(features);
    }

    fn begin_search(&mut self) {
        if self.in_block() {
            return;
        }
        let (n, start, end) = (self.n(), self.start, self.end);
        let RankedWork { items, codes, block, .. } = &mut *self.work;
        if n <= self.block_rows {
            block.begin(self.ranks.level, self.ranks.packing, start, &items[start..end], self.ranks.table());
        } else if n <= self.moved_rows && !codes.hold(start, end) {
            codes.begin(self.ranks.codes(), start, &items[start..end]);
        }
    }

    fn search(&mut self, feature: usize, bounds: Bounds, _stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        if self.is_plain(feature) {
            match self.search_quickly(feature, best) {
                Found::Constant => return false,
                Found::Cut => return true,
                Found::Close => {}
            }
        }
        let range = self.take_keys(feature);
        let missing = self.ranks.is_missing(feature, range.1);
        if missing && self.ranks.is_missing(feature, range.0) {
            return false;
        }
        let one_rank = self.ranks.packing.row(range.0) == self.ranks.packing.row(range.1);
        if one_rank || !missing && self.are_close(feature, range.0, range.1) {
            return false;
        }
        self.search_slowly(feature, bounds, best);
        true
    }

    fn apply(&mut self, cut: &mut Cut) -> Sides {
        let n_left = match self.found {
            Some((feature, last)) if feature == cut.feature && cut.threshold.is_nan() => self.apply_found(cut, last),
            _ => self.apply_threshold(cut),
        };
        let level = self.ranks.level;
        let (first, second) = kernel::pair_sums(level, &self.items()[..n_left]);
        // Keys and codes no longer stand beside their rows.
        self.keyed = None;
        self.work.ahead.clear();
        self.work.ahead_keys.clear();
        let Tallies { total, left, right, .. } = &mut self.tallies;
        set_sides(total, left, right, (first, second));
        let (position, known) = (self.start + n_left, &mut self.work.known);
        known.push((position..self.end, (right.counts[0], right.counts[1])));
        known.push((self.start..position, (first, second)));
        Sides {
            position,
            impurity_left: left.impurity::<Gini>(),
            impurity_right: right.impurity::<Gini>(),
            weight_left: left.weight(),
            weight_right: right.weight(),
            middle: middle(left, right),
        }
    }

    fn divide(&mut self, left: Option<usize>, right: Option<usize>) {
        let (level, start, end) = (self.ranks.level, self.start, self.end);
        let RankedWork { codes, block, division, .. } = &mut *self.work;
        if block.holds(start, end) {
            if left.or(right).is_some() {
                block.divide_keys(level, start, end);
            }
        } else if codes.hold(start, end) && left.max(right).is_some_and(|largest| largest > self.block_rows) {
            codes.divide(level, division.marks(), start, end);
        }
    }
}

fn set_sides(total: &Tally, left: &mut Tally, right: &mut Tally, counts: (u64, u64)) {
    left.set_pair(counts.0, counts.1);
    right.set_pair(total.counts[0] - counts.0, total.counts[1] - counts.1);
}
