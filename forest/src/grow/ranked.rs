//! Cuts of two classes by Gini impurity with small whole weights, where nodes look at few of the features.
//!
//! A tree keeps one list of its rows; a node is a range of it. Large nodes count codes of the features that they look at,
//! and fetch keys only where codes do not tell enough; smaller ones lie in a [`Block`], which holds their keys side by side.
//! Either way [`Narrow`] finds the few cuts that may be the best, and the score of these is computed as scikit-learn does.

use super::ahead::{Ahead, AheadKeys};
use super::block::Block;
use super::narrow::{Candidate, Narrow, Task, code_shift, first_best, key_shift};
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::ranks::Ranks;
use super::scan::{Limits, Tallies, half_way};
use super::sorted::load;
use super::tally::{Tally, middle};
use super::whole::Key;
use super::{FEATURE_THRESHOLD, Sides, Splitter};
use crate::frame::Frame;
use crate::grow::impurity::Gini;
use crate::kernel::few::{self, Around, Cheapest};
use crate::kernel::{self, Level, Packing, columns, keys};
use crate::random::Xorshift;

/// Outside of blocks, nodes of so many rows are searched by keys at once, larger ones by codes first.
const KEYED_ROWS: usize = 24;
/// A block divides the columns of all features: it pays where nodes look at one of so many at least.
const BLOCK_PARTS: usize = 16;

/// Memory that trees use one after another.
#[derive(Debug, Default)]
pub(super) struct RankedWork {
    /// Items of the tree's rows; a node is a range of it. Rows ascend within every node.
    items: Vec<u32>,
    block: Block,
    /// Keys of the current node by the feature looked at last, outside of blocks.
    keys: Vec<u32>,
    spare: Vec<u32>,
    /// Items of the rows next to a cut.
    near: Vec<u32>,
    ahead: Ahead,
    ahead_keys: AheadKeys,
    narrow: Narrow,
    cheapest: Cheapest,
    /// Sorted values of the current node, where they are needed.
    values: Vec<Key>,
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
    /// The feature whose keys of the current node are at hand, outside of blocks.
    keyed: Option<usize>,
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
        work.items.clear();
        let classes = frame.class_indexes();
        let item = |row: u32| ranks.packing.item(row, classes[row as usize]) | count(row);
        work.items.extend((0..n_samples).map(item).filter(|item| Packing::weight(*item) > 0));
        let n_rows = work.items.len();
        work.keys.resize(n_rows.max(work.keys.len()), 0);
        work.spare.resize(n_rows.max(work.spare.len()), 0);
        // Where nodes come in any order a block would be made again and again.
        let blocks = plan.max_leaf_nodes.is_none() && plan.max_features * BLOCK_PARTS >= frame.n_features();
        Some(Self {
            block_rows: if blocks { Block::rows_max(ranks.level, frame.n_features()) } else { 0 },
            frame,
            plan,
            ranks,
            work,
            min_weight_leaf: plan.min_weight_fraction_leaf * total,
            n_rows,
            start: 0,
            end: 0,
            keyed: None,
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
        let RankedWork { items, ahead, ahead_keys, block, .. } = &mut *self.work;
        let (level, packing, start, end) = (self.ranks.level, self.ranks.packing, self.start, self.end);
        if block.holds(start, end) {
            if features.iter().any(|feature| ahead_keys.of(*feature).is_none()) {
                let shift = |n, range| key_shift(packing, n, range);
                ahead_keys.count(level, |feature| block.keys(feature, start, end), shift, features);
            }
        } else if features.iter().any(|feature| ahead.of(*feature).is_none()) {
            let items = &items[start..end];
            ahead.count(level, self.ranks.codes(), items, code_shift(items.len()), features);
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

    /// What there is to search of a feature.
    fn task(&self, feature: usize, best: Option<Cut>) -> Task<'_> {
        Task {
            level: self.ranks.level,
            packing: self.ranks.packing,
            column: self.ranks.table().column(feature),
            code_step: self.ranks.code_step(feature),
            items: self.items(),
            total: self.total(),
            to_beat: to_beat(best),
        }
    }

    /// Weights of both classes in the node.
    fn total(&self) -> (u32, u32) {
        let counts = &self.tallies.total.counts;
        (whole(counts[0]), whole(counts[1]))
    }

    /// Looks at the cuts that estimates leave over.
    fn search_quickly(&mut self, feature: usize, best: &mut Option<Cut>) -> Found {
        if self.in_block() && self.n() <= few::keys_max(self.ranks.level) {
            return self.search_few(feature, best);
        }
        let mut narrow = std::mem::take(&mut self.work.narrow);
        let found = self.search_many(&mut narrow, feature, best);
        self.work.narrow = narrow;
        found
    }

    /// All cuts between few rows at once.
    fn search_few(&mut self, feature: usize, best: &mut Option<Cut>) -> Found {
        let (level, packing) = (self.ranks.level, self.ranks.packing);
        let around = Around { base: (0, 0), total: self.total(), to_beat: to_beat(*best) };
        let RankedWork { block, cheapest, .. } = &mut *self.work;
        let keys = block.keys(feature, self.start, self.end);
        few::find_cheapest(level, packing, keys, around, cheapest);
        if self.is_constant(feature, self.work.cheapest.range) {
            return Found::Constant;
        }
        let cuts = self.work.cheapest.cuts().map(|(cost, last, left)| Candidate { last, cost, left });
        let winner = first_best(cuts, self.total(), best.as_ref());
        self.take_winner(feature, winner, best)
    }

    /// Whether a node with this smallest and this largest key cannot be cut.
    fn is_constant(&self, feature: usize, (low, high): (u32, u32)) -> bool {
        self.ranks.packing.row(low) == self.ranks.packing.row(high) || self.are_close(feature, low, high)
    }

    /// Codes suffice for large nodes outside of blocks, unless all rows have the same.
    fn search_many(&mut self, narrow: &mut Narrow, feature: usize, best: &mut Option<Cut>) -> Found {
        if self.looks_ahead() {
            self.count(&[feature]);
        }
        if !self.in_block()
            && let Some(counted) = self.work.ahead.of(feature)
            && let Some(candidates) = narrow.search_codes(&self.task(feature, *best), counted)
        {
            return self.choose(feature, candidates, best);
        }
        let counted = self.work.ahead_keys.of(feature);
        let range = counted.map(|counted| counted.range);
        let range = range.unwrap_or_else(|| self.take_keys(feature));
        if self.is_constant(feature, range) {
            return Found::Constant;
        }
        let (task, keys) = (self.task(feature, *best), self.keys(feature));
        let candidates = match self.work.ahead_keys.of(feature) {
            Some(counted) => narrow.search_counted(&task, keys, counted),
            None => narrow.search(&task, keys, range),
        };
        self.choose(feature, candidates, best)
    }

    /// Makes the first best of the candidates the best cut, if it beats that.
    fn choose(&mut self, feature: usize, candidates: &[Candidate], best: &mut Option<Cut>) -> Found {
        let winner = first_best(candidates.iter().copied(), self.total(), best.as_ref());
        self.take_winner(feature, winner, best)
    }

    /// Makes a cut with its score the best one.
    fn take_winner(&mut self, feature: usize, winner: Option<(Candidate, f64)>, best: &mut Option<Cut>) -> Found {
        let Some((winner, score)) = winner else { return Found::Cut };
        if self.ranks.is_close(feature, winner.last) {
            return Found::Close;
        }
        // What else there is to know of it is found out only if no other feature is better.
        *best = Some(Cut { feature, threshold: f64::NAN, missing_go_to_left: false, score });
        self.found = Some((feature, winner.last));
        Found::Cut
    }

    /// Cuts where missing values, constraints, weight limits or values close to each other have a say.
    fn search_slowly(&mut self, feature: usize, bounds: Bounds, best: &mut Option<Cut>) {
        let n = self.n();
        let mut values = std::mem::take(&mut self.work.values);
        values.clear();
        self.tallies.missing.clear();
        for place in 0..n {
            let value = self.frame.column(feature)[self.row(place)];
            let load = load(self.ranks.packing, self.items()[place]);
            if value.is_nan() {
                self.tallies.missing.add(load);
            } else {
                values.push(Key::new(value, load));
            }
        }
        values.sort_unstable();
        let limits = Limits::new(self.plan, self.min_weight_leaf, feature, bounds);
        let at = |place: usize| (values[place].value(), values[place].load());
        if !values.is_empty() {
            self.tallies.search::<Gini>(values.len(), n - values.len(), at, &limits, best);
        }
        self.work.values = values;
    }

    /// Divides the rows by a cut that was found by ranks and fills in what else there is to know of it. Returns how many
    /// rows go left.
    fn apply_found(&mut self, cut: &mut Cut, last: u32) -> usize {
        let (values, n_left) = if self.in_block() {
            self.apply_in_block(cut.feature, last)
        } else {
            self.apply_outside(cut.feature, last)
        };
        cut.threshold = half_way(values.0, values.1);
        cut.missing_go_to_left = n_left > self.n() - n_left;
        n_left
    }

    /// The values of both sides of a cut and how many rows go left, in a block.
    fn apply_in_block(&mut self, feature: usize, last: u32) -> ((f32, f32), usize) {
        let (level, packing) = (self.ranks.level, self.ranks.packing);
        let column = self.frame.column(feature);
        let (n_left, near) = self.work.block.mark_keys(level, feature, last, self.start, self.end);
        self.work.block.divide_items(level, self.start, self.end);
        let [before, after] = near.map(|item| item.map_or(f32::NAN, |item| column[packing.row(item) as usize]));
        ((before, after), n_left)
    }

    /// The same outside of blocks: where codes were counted, the rows next to the cut are enough to tell its values.
    fn apply_outside(&mut self, feature: usize, last: u32) -> ((f32, f32), usize) {
        let (level, packing, n) = (self.ranks.level, self.ranks.packing, self.n());
        let by_codes = self.keyed != Some(feature) && self.work.ahead.of(feature).is_some();
        if !by_codes && self.keyed != Some(feature) {
            self.take_keys(feature);
        }
        let (column, values) = (self.ranks.table().column(feature), self.frame.column(feature));
        let RankedWork { items, keys, spare, ahead, near, .. } = &mut *self.work;
        let items = &mut items[self.start..self.end];
        let Some(counted) = ahead.of(feature).filter(|_| by_codes) else {
            let values = sides(level, packing, &keys[..n], items, last, values);
            return (values, keys::divide(level, &keys[..n], last, items, spare));
        };
        near.resize(n.max(near.len()), 0);
        let code = packing.row(last) / self.ranks.code_step(feature);
        let n_near = keys::choose(level, items, counted.codes, &counted.beside(code), near);
        let (near, keys) = (&near[..n_near], &mut keys[..n_near]);
        keys::gather(level, packing, column, near, keys);
        let values = sides(level, packing, keys, near, last, values);
        (values, keys::divide_codes(level, column, (code, last), counted.codes, items, spare))
    }

    /// Divides the rows by a cut that has its threshold. Returns how many rows go left.
    fn apply_threshold(&mut self, cut: &Cut) -> usize {
        let (column, packing, level) = (self.frame.column(cut.feature), self.ranks.packing, self.ranks.level);
        let goes_left = |item: u32| {
            let value = column[packing.row(item) as usize];
            if value.is_nan() { cut.missing_go_to_left } else { f64::from(value) <= cut.threshold }
        };
        let (in_block, n) = (self.in_block(), self.n());
        let RankedWork { items, block, keys, spare, .. } = &mut *self.work;
        if in_block {
            let n_left = block.mark_items(self.start, self.end, goes_left);
            block.divide_items(level, self.start, self.end);
            return n_left;
        }
        let items = &mut items[self.start..self.end];
        for (key, item) in keys.iter_mut().zip(&*items) {
            *key = u32::from(!goes_left(*item));
        }
        keys::divide(level, &keys[..n], 0, items, spare)
    }
}

/// The values of a feature on both sides of a cut, by keys and items that hold them.
fn sides(level: Level, packing: Packing, keys: &[u32], items: &[u32], last: u32, values: &[f32]) -> (f32, f32) {
    let (_, before, after) = keys::border(level, keys, last);
    let value = |key: u32| {
        let place = keys.iter().position(|other| *other == key);
        place.map_or(f32::NAN, |place| values[packing.row(items[place]) as usize])
    };
    (value(before), value(after))
}

/// What came of the search of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The feature does not vary.
    Constant,
    /// The best cut is known now, of this feature or of one before.
    Cut,
    /// The best cut lies between values that may be too close to be cut apart.
    Close,
}

/// The cost of the best cut so far.
#[expect(clippy::cast_possible_truncation, reason = "an estimate, as the costs are")]
fn to_beat(best: Option<Cut>) -> f32 {
    best.map_or(f32::INFINITY, |best| (-0.5 * best.score) as f32)
}

fn whole(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Splitter for RankedSplitter<'_> {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        (self.keyed, self.found) = (None, None);
        self.work.ahead.clear();
        self.work.ahead_keys.clear();
        let (first, second) = kernel::pair_sums(self.ranks.level, self.items());
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
    }

    fn begin_search(&mut self) {
        if self.n() <= self.block_rows && !self.in_block() {
            let RankedWork { items, block, .. } = &mut *self.work;
            let (level, packing) = (self.ranks.level, self.ranks.packing);
            block.begin(level, packing, self.start, &items[self.start..self.end], self.ranks.table());
        }
    }

    fn search(&mut self, feature: usize, bounds: Bounds, _stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        let limited = self.min_weight_leaf > 0.0 || self.plan.min_samples_leaf > 1;
        if !limited && self.plan.sign(feature) == 0 && !self.ranks.has_missing(feature) {
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
        Sides {
            position: self.start + n_left,
            impurity_left: left.impurity::<Gini>(),
            impurity_right: right.impurity::<Gini>(),
            weight_left: left.weight(),
            weight_right: right.weight(),
            middle: middle(left, right),
        }
    }

    fn divide(&mut self, left: bool, right: bool) {
        if self.in_block() && (left || right) {
            self.work.block.divide_keys(self.ranks.level, self.start, self.end);
        }
    }
}

fn set_sides(total: &Tally, left: &mut Tally, right: &mut Tally, counts: (u64, u64)) {
    left.set_pair(counts.0, counts.1);
    right.set_pair(total.counts[0] - counts.0, total.counts[1] - counts.1);
}
