//! Histograms of all features that a node is likely to look at, made in one pass over its rows.

use crate::kernel::Level;
use crate::kernel::keys::{self, CODES, CodeSet, Codes, Lane, TOGETHER};

/// Codes counted for the current node.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Features in the order of `bins`, [`TOGETHER`] to a group.
    features: Vec<Option<usize>>,
    bins: Vec<[[u64; CODES]; TOGETHER]>,
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

    /// Counts the codes of features in the node of these items.
    pub(super) fn count(&mut self, level: Level, codes: Codes<'_>, items: &[u32], shift: u32, features: &[usize]) {
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
            self.features.extend((0..TOGETHER).map(|lane| group.get(lane).copied()));
        }
    }

    /// What was counted of a feature.
    pub(super) fn of(&self, feature: usize) -> Option<Counted<'_>> {
        let at = self.features.iter().position(|other| *other == Some(feature))?;
        let (group, lane) = (at / TOGETHER, at % TOGETHER);
        let places = &self.places[group * self.n_rows..(group + 1) * self.n_rows];
        let bins = &self.bins[group][lane][..CODES >> self.shift];
        Some(Counted { bins, shift: self.shift, codes: Lane { places, lane } })
    }
}
