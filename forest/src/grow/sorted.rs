//! Cuts for classes with small whole weights: columns stay sorted from the root to the leaves.
//!
//! A tree takes its rows out of the presorted columns once; every cut then divides all columns, each side keeping its order,
//! so no node sorts anything. A scan first estimates what all cuts of a column cost and computes the score as
//! scikit-learn does only where it may win: the result is the exact best cut, the first of equals.
//!
//! Presorting with stable division goes back to SPRINT (Shafer, Agrawal and Mehta 1996).

use std::marker::PhantomData;

use super::costs::{self, CostWork, Costs};
use super::impurity::Impurity;
use super::node::{Bounds, Cut};
use super::plan::{Plan, RowWeights};
use super::presort::Presort;
use super::scan::{Limits, Tallies, half_way};
use super::tally::{Load, Tally, middle, score};
use super::{FEATURE_THRESHOLD, Sides, Splitter};
use crate::frame::Frame;
use crate::kernel::{self, Level, Packing, RowSet, SECTION_ROWS, Side, Wanted};
use crate::random::Xorshift;

/// Memory that trees use one after another.
#[derive(Debug, Default)]
pub(super) struct SortedWork {
    /// Items of the tree, column-major `(n_features, n_rows)`; a node is the same range of every column.
    columns: Vec<u32>,
    /// The same rows in one more column, in the order of the cuts: divided even where no column is.
    order: Vec<u32>,
    spare: Vec<u32>,
    weights: Vec<u8>,
    sections: Sections,
    /// Empty between cuts.
    set: RowSet,
    /// The same for nodes inside a section.
    section_set: RowSet,
    costs: Vec<f32>,
    cost_work: CostWork,
}

/// Small nodes whose rows have numbers of their own: their sets of rows fit registers. A section is a node of at most
/// [`SECTION_ROWS`] rows whose parent has more, or the root.
#[derive(Debug, Default)]
struct Sections {
    /// First position of the section in which a position lies, [`Sections::NONE`] outside of sections.
    starts: Vec<u32>,
    /// Row of the frame by position of its section's start and number there.
    rows: Vec<u32>,
    /// Number in its section by row of the frame.
    numbers: Vec<u32>,
}

impl Sections {
    const NONE: u32 = u32::MAX;

    fn reset(&mut self, n_rows: usize, n_samples: usize) {
        self.starts.clear();
        self.starts.resize(n_rows, Self::NONE);
        self.rows.resize(n_rows.max(self.rows.len()), 0);
        self.numbers.resize(n_samples.max(self.numbers.len()), 0);
    }

    fn start(&self, position: usize) -> Option<usize> {
        let start = self.starts[position];
        (start != Self::NONE).then_some(start as usize)
    }
}

/// Tells the rows of the frame from the items of one node.
#[derive(Clone, Copy)]
struct Rows<'a> {
    packing: Packing,
    /// Rows by number in the node's section.
    section: Option<&'a [u32]>,
}

impl Rows<'_> {
    fn of(self, item: u32) -> usize {
        let row = self.packing.row(item) as usize;
        self.section.map_or(row, |rows| rows[row] as usize)
    }
}

/// The splitter for classes with small whole weights.
pub(super) struct SortedSplitter<'a, I> {
    frame: &'a Frame,
    plan: &'a Plan,
    presort: &'a Presort,
    work: &'a mut SortedWork,
    min_weight_leaf: f64,
    n_rows: usize,
    start: usize,
    end: usize,
    /// Start of the section of the current node.
    section: Option<usize>,
    tallies: Tallies,
    /// The cut found last by its estimate, and how many rows of the node go left by it.
    found: Option<(Cut, usize)>,
    /// The cut applied last and its first position on the right.
    applied: (usize, usize),
    impurity: PhantomData<I>,
}

impl<'a, I: Impurity + Costs> SortedSplitter<'a, I> {
    /// `None` if the weights are not whole and small.
    pub(super) fn new(
        frame: &'a Frame,
        plan: &'a Plan,
        presort: &'a Presort,
        weights: &RowWeights,
        work: &'a mut SortedWork,
    ) -> Option<Self> {
        let count = weights.whole(Packing::MAX_WEIGHT + 1)?;
        let total = weights.total(frame.n_samples());
        let n_samples = u32::try_from(frame.n_samples()).ok()?;
        #[expect(clippy::cast_precision_loss, reason = "exact: a power of two")]
        if total > costs::MAX_WEIGHT as f64 {
            return None;
        }
        work.weights.clear();
        work.weights.extend((0..n_samples).map(|row| u8::try_from(count(row)).unwrap_or(u8::MAX)));
        let n_rows = work.weights.iter().filter(|weight| **weight > 0).count();
        work.fill(presort, frame.n_features(), n_rows);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^28")]
        I::prepare(&mut work.cost_work, total as usize);
        Some(Self {
            frame,
            plan,
            presort,
            min_weight_leaf: plan.min_weight_fraction_leaf * total,
            n_rows,
            start: 0,
            end: 0,
            section: None,
            tallies: Tallies::new(plan.n_outputs),
            found: None,
            applied: (0, 0),
            work,
            impurity: PhantomData,
        })
    }

    /// Items of the current node in one column.
    fn items(&self, feature: usize) -> &[u32] {
        let first = feature * self.n_rows;
        &self.work.columns[first + self.start..first + self.end]
    }

    fn rows(&self) -> Rows<'_> {
        Rows { packing: self.presort.packing, section: self.section.map(|start| &self.work.sections.rows[start..]) }
    }

    /// Value of a feature in the row of an item.
    fn value(&self, feature: usize, item: u32) -> f32 {
        self.frame.column(feature)[self.rows().of(item)]
    }

    /// Number of rows of the current node that have a value.
    fn n_present(&self, feature: usize) -> usize {
        let items = self.items(feature);
        if !self.presort.column(feature).missing {
            return items.len();
        }
        items.partition_point(|item| !self.value(feature, *item).is_nan())
    }

    /// Cuts where missing values, constraints or weight limits have a say.
    fn search_slowly(&mut self, n_present: usize, limits: &Limits, best: &mut Option<Cut>) {
        let first = limits.feature * self.n_rows;
        let items = &self.work.columns[first + self.start..first + self.end];
        let (column, packing) = (self.frame.column(limits.feature), self.presort.packing);
        let rows = Rows { packing, section: self.section.map(|start| &self.work.sections.rows[start..]) };
        self.tallies.missing.clear();
        for item in &items[n_present..] {
            self.tallies.missing.add(load(packing, *item));
        }
        let at = |place: usize| {
            let item = items[place];
            (column[rows.of(item)], load(packing, item))
        };
        self.tallies.search::<I>(n_present, items.len() - n_present, at, limits, best);
    }

    /// Estimates every cut of a column, then computes the scores of those that may win.
    fn search_quickly(&mut self, feature: usize, best: &mut Option<Cut>) {
        let n = self.end - self.start;
        let (low, high) = (self.plan.min_samples_leaf.max(1) - 1, n.saturating_sub(self.plan.min_samples_leaf.max(1)));
        if low >= high {
            return;
        }
        let first = feature * self.n_rows;
        let items = &self.work.columns[first + self.start..first + self.end];
        let costs = &mut self.work.costs[..n];
        let work = &mut self.work.cost_work;
        I::of_cuts(self.presort.level, self.presort.packing, items, &self.tallies.total, work, costs);
        if self.presort.column(feature).tied {
            self.rule_out_ties(feature, low, high);
        }
        while !self.take_best(feature, low, high, best) {
            self.rule_out_ties(feature, low, high);
        }
    }

    /// Gives cuts between values that are too close an infinite cost.
    fn rule_out_ties(&mut self, feature: usize, low: usize, high: usize) {
        let first = feature * self.n_rows;
        let items = &self.work.columns[first + self.start..first + self.end];
        let (column, packing) = (self.frame.column(feature), self.presort.packing);
        let rows = Rows { packing, section: self.section.map(|start| &self.work.sections.rows[start..]) };
        let value = |item: u32| column[rows.of(item)];
        let mut before = value(items[low]);
        for (cost, &item) in self.work.costs[low..high].iter_mut().zip(&items[low + 1..]) {
            let here = value(item);
            if here <= before + FEATURE_THRESHOLD {
                *cost = f32::INFINITY;
            }
            before = here;
        }
    }

    /// Takes the best of the cuts after the items `low..high` if it beats the best so far. `false`, with nothing done, if
    /// values too close to be cut apart are among the candidates.
    fn take_best(&mut self, feature: usize, low: usize, high: usize, best: &mut Option<Cut>) -> bool {
        let costs = &self.work.costs[low..high];
        let level = self.presort.level;
        let smallest = kernel::smallest(level, costs);
        if smallest.is_infinite() {
            return true;
        }
        #[expect(clippy::cast_possible_truncation, reason = "an estimate, as the costs are")]
        let to_beat = best.map_or(f32::INFINITY, |best| costs::limit((-0.5 * best.score) as f32));
        if smallest > to_beat {
            return true;
        }
        let limit = costs::limit(smallest);
        let first = feature * self.n_rows + self.start;
        let items = &self.work.columns[first..first + (self.end - self.start)];
        let (column, packing) = (self.frame.column(feature), self.presort.packing);
        let rows = Rows { packing, section: self.section.map(|start| &self.work.sections.rows[start..]) };
        let value = |item: u32| column[rows.of(item)];
        let mut winner = *best;
        let mut found = self.found;
        self.tallies.left.clear();
        let mut counted = 0;
        let mut next = kernel::next_within(level, costs, 0, limit);
        while let Some(place) = next {
            next = kernel::next_within(level, costs, place + 1, limit);
            let (at, n) = (low + place + 1, items.len());
            let (before, here) = (value(items[at - 1]), value(items[at]));
            if here <= before + FEATURE_THRESHOLD {
                return false;
            }
            add_all(level, &mut self.tallies.left, packing, &items[counted..at]);
            counted = at;
            self.tallies.right.copy_from(&self.tallies.total);
            self.tallies.right.subtract(&self.tallies.left);
            let score = score::<I>(&self.tallies.left, &self.tallies.right);
            if score > winner.map_or(f64::NEG_INFINITY, |winner| winner.score) {
                let cut = Cut { feature, threshold: half_way(before, here), missing_go_to_left: at > n - at, score };
                (winner, found) = (Some(cut), Some((cut, at)));
            }
        }
        (*best, self.found) = (winner, found);
        true
    }

    /// Brings the rows of the current node into the order of a cut; returns how many go left.
    fn arrange(&mut self, cut: &Cut) -> usize {
        let n_present = self.n_present(cut.feature);
        let items = self.items(cut.feature);
        let n_low = match self.found {
            Some((found, n_low)) if found == *cut => n_low,
            // Values lie far apart in memory, so a search takes its time.
            _ => items[..n_present].partition_point(|item| f64::from(self.value(cut.feature, *item)) <= cut.threshold),
        };
        let first = cut.feature * self.n_rows + self.start;
        let n = self.end - self.start;
        let (items, order) = (&self.work.columns[first..first + n], &mut self.work.order[self.start..self.start + n]);
        if n_present < n && cut.missing_go_to_left {
            let (low, rest) = order.split_at_mut(n_low);
            low.copy_from_slice(&items[..n_low]);
            let (missing, high) = rest.split_at_mut(n - n_present);
            missing.copy_from_slice(&items[n_present..]);
            high.copy_from_slice(&items[n_low..n_present]);
            n_low + n - n_present
        } else {
            order.copy_from_slice(items);
            n_low
        }
    }
}

impl SortedWork {
    /// Takes the rows of a tree out of the presorted columns.
    fn fill(&mut self, presort: &Presort, n_features: usize, n_rows: usize) {
        let n_samples = self.weights.len();
        // The selection of a column may write beyond its end, into the place of the next one.
        self.columns.resize((n_features * n_rows + n_samples).max(self.columns.len()), 0);
        for feature in 0..n_features {
            let out = &mut self.columns[feature * n_rows..feature * n_rows + n_samples];
            kernel::select(presort.level, presort.packing, presort.items(feature), &self.weights, out);
        }
        self.order.clear();
        self.order.extend_from_slice(&self.columns[..n_rows]);
        self.spare.resize(n_rows.max(self.spare.len()), 0);
        self.costs.resize(n_rows.max(self.costs.len()), 0.0);
        self.set.reset(n_samples);
        self.section_set.reset(SECTION_ROWS);
        self.sections.reset(n_rows, n_samples);
        if n_rows <= SECTION_ROWS {
            self.make_section(presort, n_features, n_rows, 0, n_rows);
        }
    }

    /// Gives the rows of a node numbers of their own.
    fn make_section(&mut self, presort: &Presort, n_features: usize, n_rows: usize, start: usize, end: usize) {
        let Sections { starts, rows, numbers } = &mut self.sections;
        let (packing, level) = (presort.packing, presort.level);
        starts[start..end].fill(u32::try_from(start).unwrap_or(Sections::NONE));
        for ((number, item), row) in (0..).zip(&self.order[start..end]).zip(&mut rows[start..end]) {
            *row = packing.row(*item);
            numbers[*row as usize] = number;
        }
        kernel::renumber(level, packing, &mut self.order[start..end], numbers);
        for column in self.columns.chunks_exact_mut(n_rows).take(n_features) {
            kernel::renumber(level, packing, &mut column[start..end], numbers);
        }
    }
}

pub(super) fn load(packing: Packing, item: u32) -> Load {
    Load::new(packing.class(item), Packing::weight(item))
}

/// Adds items to a tally.
fn add_all(level: Level, tally: &mut Tally, packing: Packing, items: &[u32]) {
    if let [first, second] = tally.counts[..] {
        let sums = kernel::pair_sums(level, items);
        tally.set_pair(first + sums.0, second + sums.1);
        return;
    }
    for item in items {
        tally.add(load(packing, *item));
    }
}

impl<I: Impurity + Costs> Splitter for SortedSplitter<'_, I> {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn enter(&mut self, start: usize, end: usize) -> f64 {
        (self.start, self.end) = (start, end);
        self.section = self.work.sections.start(start);
        self.found = None;
        self.tallies.total.clear();
        add_all(self.presort.level, &mut self.tallies.total, self.presort.packing, &self.work.order[start..end]);
        self.tallies.total.weight()
    }

    fn impurity(&self) -> f64 {
        self.tallies.total.impurity::<I>()
    }

    fn push_value(&self, out: &mut Vec<f64>) {
        self.tallies.total.push_fractions(out);
    }

    fn search(&mut self, feature: usize, bounds: Bounds, _stream: &mut Xorshift, best: &mut Option<Cut>) -> bool {
        let n_present = self.n_present(feature);
        let items = self.items(feature);
        let n_missing = items.len() - n_present;
        if n_present == 0 {
            return false;
        }
        let (smallest, largest) = (self.value(feature, items[0]), self.value(feature, items[n_present - 1]));
        if n_missing == 0 && largest <= smallest + FEATURE_THRESHOLD {
            return false;
        }
        let limits = Limits::new(self.plan, self.min_weight_leaf, feature, bounds);
        if n_missing > 0 || limits.sign != 0 || limits.min_weight_leaf > 0.0 {
            self.search_slowly(n_present, &limits, best);
        } else {
            self.search_quickly(feature, best);
        }
        true
    }

    fn apply(&mut self, cut: &mut Cut) -> Sides {
        let n_left = self.arrange(cut);
        let position = self.start + n_left;
        let order = &self.work.order[self.start..position];
        let Tallies { total, left, right, .. } = &mut self.tallies;
        left.clear();
        add_all(self.presort.level, left, self.presort.packing, order);
        right.copy_from(total);
        right.subtract(left);
        self.applied = (cut.feature, position);
        Sides {
            position,
            impurity_left: left.impurity::<I>(),
            impurity_right: right.impurity::<I>(),
            weight_left: left.weight(),
            weight_right: right.weight(),
            middle: middle(left, right),
        }
    }

    fn divide(&mut self, left: Option<usize>, right: Option<usize>) {
        let (left, right) = (left.is_some(), right.is_some());
        if !left && !right {
            return;
        }
        let (start, end, (cut_feature, position)) = (self.start, self.end, self.applied);
        let (packing, level, n_rows) = (self.presort.packing, self.presort.level, self.n_rows);
        let SortedWork { columns, order, spare, set, section_set, .. } = &mut *self.work;
        let set = if self.section.is_some() { section_set } else { set };
        let is_right = end - position < position - start;
        let smaller = if is_right { &order[position..end] } else { &order[start..position] };
        for item in smaller {
            set.insert(packing.row(*item));
        }
        let (side, wanted) = (Side { set, is_right }, Wanted { left, right });
        for (feature, column) in columns.chunks_exact_mut(n_rows).take(self.frame.n_features()).enumerate() {
            // The column of the cut is divided as it stands, unless missing values at its end went left.
            if feature != cut_feature || self.presort.column(feature).missing {
                kernel::partition(level, packing, &mut column[start..end], spare, side, wanted);
            }
        }
        for item in smaller {
            set.forget(packing.row(*item));
        }
        if self.section.is_none() {
            for (wanted, start, end) in [(left, start, position), (right, position, end)] {
                if wanted && end - start <= SECTION_ROWS {
                    self.work.make_section(self.presort, self.frame.n_features(), n_rows, start, end);
                }
            }
        }
    }
}
