//! Histograms of all features that a node is likely to look at, made in one pass over its rows.

use crate::kernel::columns;
use crate::kernel::keys::{self, Bins, CODES, CodeSet, Codes, Lane, Lefts, TOGETHER};
use crate::kernel::{self, Level};

/// Codes counted for the current node.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Features in the order of `bins`, [`TOGETHER`] to a group.
    features: Vec<Option<usize>>,
    bins: Vec<[Bins; TOGETHER]>,
    /// Cuts between the bins, in the same order.
    edges: Vec<Edges>,
    /// Codes by group and row of the node.
    places: Vec<u32>,
    n_rows: usize,
    shift: u32,
}

/// What is known of the codes of one feature in the current node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    /// Weights by code without its `shift` lowest bits.
    pub(super) bins: &'a [u64],
    pub(super) shift: u32,
    pub(super) codes: Lane<'a>,
    pub(super) edges: &'a Edges,
}

/// The cuts between the bins of one feature.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// The first bin that is not empty.
    pub(super) first: usize,
    /// Weights up to the end of each bin from there on; the last one is the node's. Empty if there is only one bin.
    pub(super) lefts: Lefts,
    /// Costs of the cuts after each bin but the last.
    pub(super) costs: Vec<f32>,
    /// The smallest of them.
    pub(super) least: f32,
    /// The bin before the first cut that costs so little.
    pub(super) cheapest: usize,
}

impl Edges {
    fn find(&mut self, level: Level, bins: &[u64], total: (u32, u32)) {
        self.lefts.resize(0);
        let (first, last) = (bins.iter().position(|bin| *bin > 0), bins.iter().rposition(|bin| *bin > 0));
        if let (Some(first), Some(last)) = (first, last)
            && first < last
        {
            self.first = first;
            keys::run(&bins[first..last], (0, 0), &mut self.lefts);
            self.least = keys::costs(level, &self.lefts, total, &mut self.costs);
            let cheapest = kernel::next_within(level, &self.costs, 0, self.least);
            self.cheapest = first + cheapest.unwrap_or(0);
            self.lefts.push(total);
        }
    }

    /// Whether all rows are in the same bin, so that there is no cut between bins.
    pub(super) fn is_one_bin(&self) -> bool {
        self.lefts.first.is_empty()
    }
}

impl Counted<'_> {
    /// The set of a code and the codes next to it on both sides that rows of the node have, or may have.
    pub(super) fn beside(&self, code: u32) -> CodeSet {
        let bin = code as usize >> self.shift;
        let below = self.bins[..bin].iter().rposition(|bin| *bin > 0).unwrap_or(bin);
        let above = self.bins[bin + 1..].iter().position(|bin| *bin > 0).map_or(bin, |above| bin + 1 + above);
        let mut set = CodeSet::default();
        for bin in [below, bin, above] {
            for code in bin << self.shift..(bin + 1) << self.shift {
                set[code / 32] |= 1 << (code % 32);
            }
        }
        set
    }
}

impl Ahead {
    /// Forgets the node before.
    pub(super) fn clear(&mut self) {
        self.features.clear();
    }

    /// Counts the codes of features in the node of these items, which have `total` weight.
    pub(super) fn count(
        &mut self,
        level: Level,
        codes: Codes<'_>,
        (items, total): (&[u32], (u32, u32)),
        shift: u32,
        features: &[usize],
    ) {
        (self.n_rows, self.shift) = (items.len(), shift);
        for group in features.chunks(TOGETHER) {
            let at = self.features.len() / TOGETHER;
            self.bins.resize((at + 1).max(self.bins.len()), [[0; CODES]; TOGETHER]);
            self.places.resize(((at + 1) * items.len()).max(self.places.len()), 0);
            // A group that is not full counts its first feature again.
            let mut together = [group[0]; TOGETHER];
            together[..group.len()].copy_from_slice(group);
            let bins = &mut self.bins[at];
            for bins in &mut *bins {
                bins[..CODES >> shift].fill(0);
            }
            let places = &mut self.places[at * items.len()..(at + 1) * items.len()];
            keys::tally_codes(level, codes, together, shift, items, bins, places);
            self.edges.resize_with(((at + 1) * TOGETHER).max(self.edges.len()), Edges::default);
            for (edges, bins) in self.edges[at * TOGETHER..].iter_mut().zip(&*bins).take(group.len()) {
                edges.find(level, &bins[..CODES >> shift], total);
            }
            self.features.extend((0..TOGETHER).map(|lane| group.get(lane).copied()));
        }
    }

    /// What was counted of a feature.
    pub(super) fn of(&self, feature: usize) -> Option<Counted<'_>> {
        let at = self.features.iter().position(|other| *other == Some(feature))?;
        let (group, lane) = (at / TOGETHER, at % TOGETHER);
        let places = &self.places[group * self.n_rows..(group + 1) * self.n_rows];
        let bins = &self.bins[group][lane][..CODES >> self.shift];
        Some(Counted { bins, shift: self.shift, codes: Lane { places, lane }, edges: &self.edges[at] })
    }
}

/// Keys counted for the current node, which lies in a block.
#[derive(Debug, Default)]
pub(super) struct AheadKeys {
    /// Features in the order of `bins`, with the smallest and the largest key and the lower bits to leave out.
    features: Vec<(usize, (u32, u32), u32)>,
    bins: Vec<[Bins; TOGETHER]>,
}

/// What is known of the keys of one feature in the current node.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountedKeys<'a> {
    /// The smallest and the largest key.
    pub(super) range: (u32, u32),
    pub(super) shift: u32,
    /// Weights by key without its `shift` lowest bits, modulo their number.
    pub(super) bins: &'a Bins,
}

impl AheadKeys {
    /// Forgets the node before.
    pub(super) fn clear(&mut self) {
        self.features.clear();
    }

    /// Counts keys of features, in bins that `shift` tells by the number of keys and their range.
    pub(super) fn count<'a>(
        &mut self,
        level: Level,
        keys: impl Fn(usize) -> &'a [u32],
        shift: impl Fn(usize, (u32, u32)) -> u32,
        features: &[usize],
    ) {
        for group in features.chunks(TOGETHER) {
            // A group that is not full counts its first feature again.
            let together: [usize; TOGETHER] = std::array::from_fn(|lane| *group.get(lane).unwrap_or(&group[0]));
            let (keys, first) = (together.map(&keys), self.features.len());
            for (feature, keys) in together.into_iter().zip(keys) {
                let range = columns::range(level, keys);
                self.features.push((feature, range, shift(keys.len(), range)));
            }
            let shifts = std::array::from_fn(|lane| self.features[first + lane].2);
            let at = first / TOGETHER;
            self.bins.resize((at + 1).max(self.bins.len()), [[0; CODES]; TOGETHER]);
            self.bins[at] = [[0; CODES]; TOGETHER];
            keys::tally_together(level, keys, shifts, &mut self.bins[at]);
        }
    }

    /// What was counted of a feature.
    pub(super) fn of(&self, feature: usize) -> Option<CountedKeys<'_>> {
        let at = self.features.iter().position(|(other, ..)| *other == feature)?;
        let (_, range, shift) = self.features[at];
        Some(CountedKeys { range, shift, bins: &self.bins[at / TOGETHER][at % TOGETHER] })
    }
}
