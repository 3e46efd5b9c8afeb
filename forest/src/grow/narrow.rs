//! The cheapest cuts of a node by one feature, found without sorting its rows.
//!
//! A histogram over the ranks gives the costs of the cuts at the bins' edges, and a bound on those inside of each bin, since
//! the cost is a concave function of the two weights on the left (Fayyad and Irani 1992). Only bins that may hold a cut as
//! good as the best are looked into, with a finer histogram or by every cut of their few rows. What is left are
//! the cuts whose estimated cost is the smallest or too close to it to tell: exact arithmetic decides among them.

use super::ahead::{Counted, CountedKeys};
use super::costs;
use super::impurity::Gini;
use super::node::Cut;
use super::tally::pair_score;
use crate::kernel::few::{self, Around, Cheapest};
use crate::kernel::keys::{self, Bins, CODES, CodeSet, Column, Lefts};
use crate::kernel::{Level, Packing, next_within};

/// Rows per bin that a histogram aims at.
const ROWS_PER_BIN: usize = 4;

/// A part has at most one of so many of the bins that it was found among.
const RUN_PARTS: usize = 4;

/// A cut that may be the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Keys up to this one go left.
    pub(super) last: u32,
    pub(super) cost: f32,
    /// Weights of the classes on the left.
    pub(super) left: (u32, u32),
}

/// A range of the ranks of a node, with what lies left of it.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// The smallest key and the largest that its rows may have.
    low: u32,
    high: u32,
    base: (u32, u32),
    /// No cut inside costs less.
    bound: f32,
}

/// Scratch space, and the candidates found.
#[derive(Debug, Default)]
pub(super) struct Narrow {
    /// Bins in their order.
    ordered: Vec<u64>,
    lefts: Lefts,
    costs: Vec<f32>,
    slacks: Vec<f32>,
    /// Parts that are to be looked into.
    parts: Vec<Part>,
    /// Items and keys of the rows in all parts, keys of those in one.
    items: Vec<u32>,
    keys: Vec<u32>,
    inside: Vec<u32>,
    candidates: Vec<Candidate>,
    cheapest: Cheapest,
}

/// What a search is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) level: Level,
    pub(super) packing: Packing,
    /// The feature's ranks by row.
    pub(super) column: Column<'a>,
    /// How many ranks share a code.
    pub(super) code_step: u32,
    /// Items of the node.
    pub(super) items: &'a [u32],
    /// Weights of the classes in the node.
    pub(super) total: (u32, u32),
    /// The cost of the best cut so far, infinite if there is none.
    pub(super) to_beat: f32,
}

/// Lower bits of the codes to leave out, so that a node of `n` rows has a histogram of its size.
pub(super) fn code_shift(n: usize) -> u32 {
    (CODES * ROWS_PER_BIN / n.max(1)).checked_ilog2().unwrap_or(0).min(4)
}

/// Lower bits of keys to leave out, so that `n` of them have a histogram of their number's size.
pub(super) fn key_shift(packing: Packing, n: usize, range: (u32, u32)) -> u32 {
    let wanted = u32::try_from((n / ROWS_PER_BIN).clamp(1, CODES)).unwrap_or(u32::MAX);
    let shift = (u32::BITS - ((range.1 - range.0) / wanted).leading_zeros()).max(packing.shift());
    let fits = ((range.1 >> shift) - (range.0 >> shift)) < u32::try_from(CODES).unwrap_or(u32::MAX);
    shift + u32::from(!fits)
}

/// The candidate with the highest score, the first of equals by rank, if that beats the best so far.
pub(super) fn first_best(
    candidates: impl Iterator<Item = Candidate>,
    total: (u32, u32),
    best: Option<&Cut>,
) -> Option<(Candidate, f64)> {
    let to_beat = best.map_or(f64::NEG_INFINITY, |best| best.score);
    let mut winner: Option<(Candidate, f64)> = None;
    for candidate in candidates {
        let (first, second) = candidate.left;
        let right = (total.0 - first, total.1 - second);
        let score = pair_score::<Gini>((first.into(), second.into()), (right.0.into(), right.1.into()));
        let wins = winner.is_none_or(|(other, best)| score > best || score >= best && candidate.last < other.last);
        if score > to_beat && wins {
            winner = Some((candidate, score));
        }
    }
    winner
}

impl Narrow {
    /// All cuts that cost no more than the cheapest and `to_beat`, as far as estimates can tell, in any order.
    /// `keys` are those of the node, `range` the smallest and the largest.
    pub(super) fn search(&mut self, task: &Task<'_>, keys: &[u32], range: (u32, u32)) -> &[Candidate] {
        self.candidates.clear();
        self.parts.clear();
        let mut least = task.to_beat;
        self.look(task, keys, Part { low: range.0, high: range.1, base: (0, 0), bound: 0.0 }, &mut least);
        self.look_into_parts(task, keys, &mut least);
        self.finish(least)
    }

    /// The same by keys that were counted. `keys` are those of the node.
    pub(super) fn search_counted(&mut self, task: &Task<'_>, keys: &[u32], counted: CountedKeys<'_>) -> &[Candidate] {
        self.candidates.clear();
        self.parts.clear();
        let mut least = task.to_beat;
        let part = Part { low: counted.range.0, high: counted.range.1, base: (0, 0), bound: 0.0 };
        self.weigh(task, part, counted.shift, counted.bins, &mut least);
        self.look_into_parts(task, keys, &mut least);
        self.finish(least)
    }

    /// The same by codes: most cuts are told without keys. `None` if all rows are in one bin.
    pub(super) fn search_codes(&mut self, task: &Task<'_>, counted: Counted<'_>) -> Option<&[Candidate]> {
        self.candidates.clear();
        self.parts.clear();
        let edges = counted.edges;
        if edges.is_one_bin() {
            return None;
        }
        let step = task.code_step << counted.shift;
        // Computed wide, as the end of the last bin may be beyond all keys.
        let start = |bin: usize| ((edges.first + bin) as u64 * u64::from(step)) << task.packing.shift();
        let key = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
        let mut least = task.to_beat;
        self.collect(task, (&edges.lefts, &edges.costs, edges.least), |bin| key(start(bin + 1) - 1), &mut least);
        if step > 1 {
            let (start, end) = (|bin| key(start(bin)), |bin| key(start(bin + 1) - 1));
            self.choose_parts(task, (&edges.lefts, (0, 0)), least, start, end);
            self.take_parts_keys(task, counted);
            let keys = std::mem::take(&mut self.keys);
            self.look_into_parts(task, &keys, &mut least);
            self.keys = keys;
        }
        Some(self.finish(least))
    }

    /// Keys of the rows in all parts.
    fn take_parts_keys(&mut self, task: &Task<'_>, counted: Counted<'_>) {
        self.keys.clear();
        if self.parts.is_empty() {
            return;
        }
        let mut set = CodeSet::default();
        let code = |key: u32| (task.packing.row(key) / task.code_step) as usize;
        for part in &self.parts {
            // The last part may end beyond the last code.
            for code in code(part.low)..=code(part.high).min(CODES - 1) {
                set[code / 32] |= 1 << (code % 32);
            }
        }
        let n = task.items.len();
        self.items.resize(n.max(self.items.len()), 0);
        let n = keys::choose(task.level, task.items, counted.codes, &set, &mut self.items);
        self.keys.resize(n, 0);
        keys::gather(task.level, task.packing, task.column, &self.items[..n], &mut self.keys);
    }

    /// Looks into the parts found so far, and into those that this brings. `keys` are those of their rows at least.
    fn look_into_parts(&mut self, task: &Task<'_>, keys: &[u32], least: &mut f32) {
        self.parts.sort_unstable_by(|one, other| other.bound.total_cmp(&one.bound));
        let mut inside = std::mem::take(&mut self.inside);
        inside.resize(keys.len().max(inside.len()), 0);
        while let Some(part) = self.parts.pop() {
            if part.bound > costs::limit(*least) {
                continue;
            }
            let n = keys::within(task.level, keys, part.low, part.high, &mut inside);
            if n > 1 {
                self.look(task, &inside[..n], part, least);
            }
        }
        self.inside = inside;
    }

    fn finish(&mut self, least: f32) -> &[Candidate] {
        let limit = costs::limit(least);
        self.candidates.retain(|candidate| candidate.cost <= limit);
        &self.candidates
    }

    fn look(&mut self, task: &Task<'_>, keys: &[u32], part: Part, least: &mut f32) {
        if keys.len() <= few::keys_max(task.level) {
            self.take_cheapest(task, keys, part.base, least);
        } else {
            self.count(task, keys, part, least);
        }
    }

    /// Cuts between few rows.
    fn take_cheapest(&mut self, task: &Task<'_>, keys: &[u32], base: (u32, u32), least: &mut f32) {
        let around = Around { base, total: task.total, to_beat: *least };
        few::find_cheapest(task.level, task.packing, keys, around, &mut self.cheapest);
        for (cost, last, left) in self.cheapest.cuts() {
            *least = least.min(cost);
            self.candidates.push(Candidate { last, cost, left });
        }
    }

    /// Cuts between many rows, by a histogram of them.
    fn count(&mut self, task: &Task<'_>, keys: &[u32], part: Part, least: &mut f32) {
        let shift = key_shift(task.packing, keys.len(), (part.low, part.high));
        let mut bins = [0; CODES];
        keys::tally(task.level, keys, shift, &mut bins);
        self.weigh(task, part, shift, &bins, least);
    }

    /// Cuts at the edges of bins; bins that may hold better ones become parts.
    fn weigh(&mut self, task: &Task<'_>, part: Part, shift: u32, bins: &Bins, least: &mut f32) {
        let first = part.low >> shift;
        let n = ((part.high >> shift) - first) as usize + 1;
        self.ordered.clear();
        self.ordered.extend(bins.iter().cycle().skip(first as usize % CODES).take(n));
        keys::run(&self.ordered, part.base, &mut self.lefts);
        let place = |bin: usize| first + u32::try_from(bin).unwrap_or(u32::MAX);
        let start = |bin: usize| (place(bin) << shift).max(part.low);
        let end = |bin: usize| (place(bin) << shift | ((1 << shift) - 1)).min(part.high);
        let (lefts, mut costs) = (std::mem::take(&mut self.lefts), std::mem::take(&mut self.costs));
        let smallest = keys::costs(task.level, &lefts, task.total, &mut costs);
        self.collect(task, (&lefts, &costs, smallest), |bin| end(bin) | task.packing.low(), least);
        if shift > task.packing.shift() {
            self.choose_parts(task, (&lefts, part.base), *least, start, end);
        }
        (self.lefts, self.costs) = (lefts, costs);
    }

    /// Makes parts of the bins in which a cut may be as good as the best. `lefts` holds the weights up to the end of each,
    /// `base` those before the first.
    fn choose_parts(
        &mut self,
        task: &Task<'_>,
        (lefts, base): (&Lefts, (u32, u32)),
        least: f32,
        start: impl Fn(usize) -> u32,
        end: impl Fn(usize) -> u32,
    ) {
        keys::slacks(task.level, lefts, base, task.total, costs::limit(least), &mut self.slacks);
        // Neighbours become one part, but never so many that it were as wide as what it is a part of.
        let bins_max = (lefts.first.len() / RUN_PARTS).max(1);
        let (mut run, mut run_end) = (0, 0);
        let mut next = next_within(task.level, &self.slacks, 0, 0.0);
        while let Some(bin) = next {
            let base = if bin == 0 { base } else { (lefts.first[bin - 1], lefts.second[bin - 1]) };
            let inside = (lefts.first[bin] - base.0, lefts.second[bin] - base.1);
            if inside.0 + inside.1 > 1 {
                let bound = keys::corner_cost(base, inside, task.total);
                if let Some(part) = self.parts.last_mut().filter(|_| run_end == bin && (1..bins_max).contains(&run)) {
                    (part.high, part.bound) = (end(bin), part.bound.min(bound));
                    run += 1;
                } else {
                    self.parts.push(Part { low: start(bin), high: end(bin), base, bound });
                    run = 1;
                }
                run_end = bin + 1;
            }
            next = next_within(task.level, &self.slacks, bin + 1, 0.0);
        }
    }

    /// Makes candidates of the good ones among the cuts with these weights on the left and these costs, of which the smallest is
    /// told. `end` is the last key on the left of each.
    fn collect(
        &mut self,
        task: &Task<'_>,
        (lefts, costs, smallest): (&Lefts, &[f32], f32),
        end: impl Fn(usize) -> u32,
        least: &mut f32,
    ) {
        if smallest > costs::limit(*least) {
            return;
        }
        *least = least.min(smallest);
        let limit = costs::limit(*least);
        let mut next = next_within(task.level, costs, 0, limit);
        while let Some(place) = next {
            let left = (lefts.first[place], lefts.second[place]);
            self.candidates.push(Candidate { last: end(place), cost: costs[place], left });
            next = next_within(task.level, costs, place + 1, limit);
        }
    }
}
