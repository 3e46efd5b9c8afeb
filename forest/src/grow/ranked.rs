//! Cuts of two classes by Gini impurity with small whole weights, where nodes look at few of the features.
//!
//! A tree keeps one list of its rows; a node is a range of it. For each feature looked at, the node's rows are translated to
//! codes or keys, and [`Narrow`] finds the few cuts that may be the best; the score of these is computed as scikit-learn
//! does. So a feature that a node does not look at costs it nothing.

use super::ahead::Ahead;
use super::narrow::{Candidate, Narrow, Task, code_shift};
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::ranks::Ranks;
use super::scan::{Limits, Tallies, half_way};
use super::section::Section;
use super::sorted::load;
use super::tally::{Tally, middle, score};
use super::whole::Key;
use super::{FEATURE_THRESHOLD, Sides, Splitter};
use crate::frame::Frame;
use crate::grow::impurity::Gini;
use crate::kernel::keys;
use crate::kernel::{self, Level, Packing};
use crate::random::Xorshift;

/// Nodes of so many rows are searched by keys at once, larger ones by codes first.
const KEYED_ROWS: usize = 24;

/// Memory that trees use one after another.
#[derive(Debug, Default)]
pub(super) struct RankedWork {
    /// Items of the tree's rows; a node is a range of it. Rows ascend within every node.
    items: Vec<u32>,
    section: Section,
    /// Keys of the current node by the feature looked at last.
    keys: Vec<u32>,
    spare: Vec<u32>,
    /// Items of the rows next to a cut.
    near: Vec<u32>,
    ahead: Ahead,
    narrow: Narrow,
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
    /// The feature whose keys of the current node are at hand.
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
        work.section.clear();
        work.items.clear();
        let classes = frame.class_indexes();
        let item = |row: u32| ranks.packing.item(row, classes[row as usize]) | count(row);
        work.items.extend((0..n_samples).map(item).filter(|item| Packing::weight(*item) > 0));
        let n_rows = work.items.len();
        work.keys.resize(n_rows.max(work.keys.len()), 0);
        work.spare.resize(n_rows.max(work.spare.len()), 0);
        Some(Self {
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

    /// Whether the current node lies in the section.
    fn in_section(&self) -> bool {
        self.work.section.holds(self.start, self.end)
    }

    /// Items of the current node, with numbers of the section for rows if it lies in it.
    fn items(&self) -> &[u32] {
        if self.in_section() {
            self.work.section.items(self.start, self.end)
        } else {
            &self.work.items[self.start..self.end]
        }
    }

    /// Makes the current node a section. Not where nodes come in any order: it would be made again and again.
    fn begin_section(&mut self) {
        if !self.in_section() && self.plan.max_leaf_nodes.is_none() {
            let RankedWork { items, section, .. } = &mut *self.work;
            let items = &items[self.start..self.end];
            section.begin(self.ranks.packing, self.start, items, self.ranks.codes());
        }
    }

    /// Items of the frame of the current node.
    fn of_frame(&mut self) -> &[u32] {
        let RankedWork { items, section, near, spare, .. } = &mut *self.work;
        if !section.holds(self.start, self.end) {
            return &items[self.start..self.end];
        }
        near.clear();
        near.extend_from_slice(section.items(self.start, self.end));
        section.translate(self.ranks.level, self.ranks.packing, near, spare);
        near
    }

    /// Row of the frame at a place of the current node.
    fn row(&self, place: usize) -> usize {
        let packing = self.ranks.packing;
        packing.row(self.work.section.item_of_frame(packing, self.items()[place], self.in_section())) as usize
    }

    /// Counts the codes of features where that was not done yet.
    fn count_codes(&mut self, features: &[usize]) {
        let RankedWork { items, section, ahead, .. } = &mut *self.work;
        if features.iter().all(|feature| ahead.of(*feature).is_some()) {
            return;
        }
        let (codes, items) = if section.holds(self.start, self.end) {
            let (codes, _, items) = section.parts(self.start, self.end);
            (codes, &*items)
        } else {
            (self.ranks.codes(), &items[self.start..self.end])
        };
        ahead.count(self.ranks.level, codes, items, code_shift(items.len()), features);
    }

    /// Translates the node's rows to keys of a feature; returns the smallest and the largest.
    fn take_keys(&mut self, feature: usize) -> (u32, u32) {
        self.keyed = Some(feature);
        let mut keys = std::mem::take(&mut self.work.keys);
        let (level, packing, column) = (self.ranks.level, self.ranks.packing, self.ranks.keys(feature));
        let items = self.of_frame();
        let range = keys::gather(level, packing, column, items, &mut keys[..items.len()]);
        self.work.keys = keys;
        range
    }

    /// Value of a feature in a row that has this key.
    fn value(&self, feature: usize, key: u32) -> Option<f32> {
        let place = self.work.keys[..self.n()].iter().position(|other| *other == key)?;
        Some(self.frame.column(feature)[self.row(place)])
    }

    /// Whether the values of two keys are too close to be cut apart.
    fn are_close(&self, feature: usize, one: u32, other: u32) -> bool {
        self.ranks.is_close(feature, one)
            && self.value(feature, one).zip(self.value(feature, other)).is_some_and(|(a, b)| b <= a + FEATURE_THRESHOLD)
    }

    /// What there is to search of a feature.
    fn task(&self, feature: usize, best: Option<Cut>) -> Task<'_> {
        let counts = &self.tallies.total.counts;
        Task {
            level: self.ranks.level,
            packing: self.ranks.packing,
            column: self.ranks.keys(feature),
            code_step: self.ranks.code_step(feature),
            items: self.items(),
            section: self.in_section().then_some(&self.work.section),
            total: (whole(counts[0]), whole(counts[1])),
            #[expect(clippy::cast_possible_truncation, reason = "an estimate, as the costs are")]
            to_beat: best.map_or(f32::INFINITY, |best| (-0.5 * best.score) as f32),
        }
    }

    /// Looks at the cuts that estimates leave over. Codes suffice for large nodes, unless all rows have the same.
    fn search_quickly(&mut self, feature: usize, best: &mut Option<Cut>) -> Found {
        let mut narrow = std::mem::take(&mut self.work.narrow);
        let found = self.search_with(&mut narrow, feature, best);
        self.work.narrow = narrow;
        found
    }

    fn search_with(&mut self, narrow: &mut Narrow, feature: usize, best: &mut Option<Cut>) -> Found {
        if self.n() > KEYED_ROWS {
            self.count_codes(&[feature]);
            if let Some(counted) = self.work.ahead.of(feature)
                && let Some(candidates) = narrow.search_codes(&self.task(feature, *best), counted)
            {
                return self.choose(feature, candidates, best);
            }
        }
        let range = self.take_keys(feature);
        let one_rank = self.ranks.packing.row(range.0) == self.ranks.packing.row(range.1);
        if one_rank || self.are_close(feature, range.0, range.1) {
            return Found::Constant;
        }
        let candidates = narrow.search(&self.task(feature, *best), &self.work.keys[..self.n()], range);
        self.choose(feature, candidates, best)
    }

    /// The first best of the candidates, if it beats the best so far.
    fn choose(&mut self, feature: usize, candidates: &[Candidate], best: &mut Option<Cut>) -> Found {
        let mut winner = None;
        let mut score_to_beat = best.map_or(f64::NEG_INFINITY, |best| best.score);
        let Tallies { total, left, right, .. } = &mut self.tallies;
        for candidate in candidates {
            let (first, second) = candidate.left;
            left.set_pair(first.into(), second.into());
            right.set_pair(total.counts[0] - u64::from(first), total.counts[1] - u64::from(second));
            let score = score::<Gini>(left, right);
            if score > score_to_beat {
                (score_to_beat, winner) = (score, Some(candidate));
            }
        }
        let Some(winner) = winner else { return Found::Cut };
        if self.ranks.is_close(feature, winner.last) {
            return Found::Close;
        }
        // What else there is to know of it is found out only if no other feature is better.
        *best = Some(Cut { feature, threshold: f64::NAN, missing_go_to_left: false, score: score_to_beat });
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
            let load = load(self.ranks.packing, self.work.keys[place]);
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
        let (level, packing, n) = (self.ranks.level, self.ranks.packing, self.n());
        let by_codes = self.keyed != Some(cut.feature) && self.work.ahead.of(cut.feature).is_some();
        if !by_codes && self.keyed != Some(cut.feature) {
            self.take_keys(cut.feature);
        }
        let (in_section, column) = (self.in_section(), self.ranks.keys(cut.feature));
        let values = self.frame.column(cut.feature);
        let RankedWork { items, section, keys, spare, ahead, near, .. } = &mut *self.work;
        near.resize(n.max(near.len()), 0);
        let counted = ahead.of(cut.feature).filter(|_| by_codes);
        let code = packing.row(last) / self.ranks.code_step(cut.feature);
        // The rows next to the cut are enough to tell its values, where they are known.
        let own: &[u32] = if in_section { section.items(self.start, self.end) } else { &items[self.start..self.end] };
        let n_near = if let Some(counted) = counted {
            keys::choose(level, own, counted.codes, &counted.beside(code), near)
        } else {
            near[..n].copy_from_slice(own);
            n
        };
        let near = &mut near[..n_near];
        if in_section {
            section.translate(level, packing, near, spare);
        }
        if by_codes {
            keys::gather(level, packing, column, near, &mut keys[..n_near]);
        }
        let (before, after) = sides(level, packing, &keys[..n_near], near, last, values);
        let (rows, items) = if in_section {
            let (_, rows, items) = section.parts(self.start, self.end);
            (Some(rows), items)
        } else {
            (None, &mut items[self.start..self.end])
        };
        let n_left = match counted {
            Some(counted) => keys::divide_codes(level, (rows, column), (code, last), counted.codes, items, spare),
            None => keys::divide(level, &keys[..n], last, items, spare),
        };
        cut.threshold = half_way(before, after);
        cut.missing_go_to_left = n_left > n - n_left;
        n_left
    }

    /// Divides the rows by a cut that has its threshold. Returns how many rows go left.
    fn apply_threshold(&mut self, cut: &Cut) -> usize {
        let column = self.frame.column(cut.feature);
        for place in 0..self.n() {
            let value = column[self.row(place)];
            let goes_left = if value.is_nan() { cut.missing_go_to_left } else { f64::from(value) <= cut.threshold };
            self.work.keys[place] = u32::from(!goes_left);
        }
        let (n, in_section) = (self.n(), self.in_section());
        let RankedWork { items, section, keys, spare, .. } = &mut *self.work;
        let items = if in_section { section.parts(self.start, self.end).2 } else { &mut items[self.start..self.end] };
        keys::divide(self.ranks.level, &keys[..n], 0, items, spare)
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
        self.n() > KEYED_ROWS
    }

    fn look_ahead(&mut self, features: &[usize]) {
        self.begin_section();
        self.count_codes(features);
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
}

fn set_sides(total: &Tally, left: &mut Tally, right: &mut Tally, counts: (u64, u64)) {
    left.set_pair(counts.0, counts.1);
    right.set_pair(total.counts[0] - counts.0, total.counts[1] - counts.1);
}
