//! Looking for the best cut of a node by one feature.

use super::{RankedSplitter, RankedWork};
use crate::grow::Splitter;
use crate::grow::impurity::Gini;
use crate::grow::narrow::{Candidate, Narrow, Task, first_best};
use crate::grow::node::{Bounds, Cut};
use crate::grow::scan::Limits;
use crate::grow::sorted::load;
use crate::grow::whole::Key;
use crate::kernel::few::{self, Around};

impl RankedSplitter<'_> {
    /// What there is to search of a feature.
    fn task(&self, feature: usize, best: Option<Cut>) -> Task<'_> {
        Task {
            level: self.ranks.level,
            packing: self.ranks.packing,
            column: self.ranks.table().column(feature),
            code_step: self.ranks.code_step(feature),
            items: self.items(),
            total: self.total(),
            to_beat: to_beat(best).min(self.promised),
        }
    }

    /// Weights of both classes in the node.
    pub(super) fn total(&self) -> (u32, u32) {
        let counts = &self.tallies.total.counts;
        (whole(counts[0]), whole(counts[1]))
    }

    /// The least cost of the cuts between bins of features that were counted by codes. It is a promise only if all of them will
    /// be searched, which is so where none is constant; otherwise infinity.
    pub(super) fn promise(&self, features: &[usize]) -> f32 {
        let mut least = f32::INFINITY;
        for &feature in features {
            let Some(counted) = self.work.ahead.of(feature).filter(|_| self.is_plain(feature)) else {
                return f32::INFINITY;
            };
            let (edges, step) = (counted.edges, self.ranks.code_step(feature) << counted.shift);
            let between = u32::try_from(edges.lefts.first.len().saturating_sub(2)).unwrap_or(u32::MAX);
            if !self.ranks.are_apart(feature, between.saturating_mul(step)) {
                return f32::INFINITY;
            }
            // Bins before it are fewer than all, so that the rank exists.
            let rank = u32::try_from(edges.cheapest + 1).unwrap_or(u32::MAX).saturating_mul(step) - 1;
            if !self.ranks.is_close(feature, self.ranks.packing.item(rank, 0)) {
                least = least.min(edges.least);
            }
        }
        least
    }

    /// Whether nothing but ranks has a say in the cuts of a feature.
    pub(super) fn is_plain(&self, feature: usize) -> bool {
        let limited = self.min_weight_leaf > 0.0 || self.plan.min_samples_leaf > 1;
        !limited && self.plan.sign(feature) == 0 && !self.ranks.has_missing(feature)
    }

    /// Looks at the cuts that estimates leave over.
    pub(super) fn search_quickly(&mut self, feature: usize, best: &mut Option<Cut>) -> Found {
        if self.in_block() && self.n() <= few::keys_max(self.ranks.level) {
            return self.search_few(feature, best);
        }
        let mut narrow = self.work.narrow.take().unwrap_or_default();
        let found = self.search_many(&mut narrow, feature, best);
        self.work.narrow = Some(narrow);
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
    pub(super) fn search_slowly(&mut self, feature: usize, bounds: Bounds, best: &mut Option<Cut>) {
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
}

/// What came of the search of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
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
