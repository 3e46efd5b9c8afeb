//! Dividing the rows of a node by a cut.

use super::{RankedSplitter, RankedWork};
use crate::grow::node::Cut;
use crate::grow::scan::half_way;
use crate::kernel::{Level, Packing, keys};

impl RankedSplitter<'_> {
    /// Divides the rows by a cut that was found by ranks and fills in what else there is to know of it. Returns how many
    /// rows go left.
    pub(super) fn apply_found(&mut self, cut: &mut Cut, last: u32) -> usize {
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
        let RankedWork { items, keys, division, ahead, near, .. } = &mut *self.work;
        let items = &mut items[self.start..self.end];
        let Some(counted) = ahead.of(feature).filter(|_| by_codes) else {
            let values = sides(level, packing, &keys[..n], items, last, values);
            let n_left = division.by_keys(level, &keys[..n], last);
            division.divide_items(level, items);
            return (values, n_left);
        };
        near.make_room(values.len());
        let code = packing.row(last) / self.ranks.code_step(feature);
        let n_near = keys::choose(level, items, counted.codes, &counted.beside(code), near);
        let (near, keys) = (&near[..n_near], &mut keys[..n_near]);
        keys::gather(level, packing, column, near, keys);
        let values = sides(level, packing, keys, near, last, values);
        let n_left = division.by_codes(level, column, (code, last), counted.codes, items);
        division.divide_items(level, items);
        (values, n_left)
    }

    /// Divides the rows by a cut that has its threshold. Returns how many rows go left.
    pub(super) fn apply_threshold(&mut self, cut: &Cut) -> usize {
        let (column, packing, level) = (self.frame.column(cut.feature), self.ranks.packing, self.ranks.level);
        let goes_left = |item: u32| {
            let value = column[packing.row(item) as usize];
            if value.is_nan() { cut.missing_go_to_left } else { f64::from(value) <= cut.threshold }
        };
        let in_block = self.in_block();
        let RankedWork { items, block, division, .. } = &mut *self.work;
        if in_block {
            let n_left = block.mark_items(self.start, self.end, goes_left);
            block.divide_items(level, self.start, self.end);
            return n_left;
        }
        let items = &mut items[self.start..self.end];
        let n_left = division.by_place(items.len(), |place| goes_left(items[place]));
        division.divide_items(level, items);
        n_left
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
