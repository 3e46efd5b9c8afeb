//! Estimates of what every cut of a sorted column costs, in float32, so that few cuts need scikit-learn's exact arithmetic.
//!
//! The cost of a cut is the sum over its sides of weight times impurity, the negative of its score. It is 0 for two pure
//! sides and otherwise at least about one half, so a relative error bound holds everywhere.

use super::impurity::{Entropy, Gini};
use super::tally::Tally;
pub(super) use crate::kernel::few::limit;
use crate::kernel::{self, Level, Packing};

/// Scratch space of one tree in the making.
#[derive(Debug, Default)]
pub(super) struct CostWork {
    left: Vec<u64>,
    right: Vec<u64>,
    /// `n log2 n` in units of 2^-[`FRACTION_BITS`].
    information: Vec<i64>,
}

/// An impurity whose cuts can be estimated.
pub(super) trait Costs {
    /// The cost of the cut after each item, without the last. `costs` has the length of the items.
    fn of_cuts(level: Level, packing: Packing, items: &[u32], total: &Tally, work: &mut CostWork, costs: &mut [f32]);

    /// Makes the work ready for nodes up to this weight.
    fn prepare(_work: &mut CostWork, _weight: usize) {}
}

impl Costs for Gini {
    fn of_cuts(level: Level, packing: Packing, items: &[u32], total: &Tally, work: &mut CostWork, costs: &mut [f32]) {
        if let [first, second] = total.counts[..] {
            let total = (to_u32(first), to_u32(second));
            kernel::pair_costs(level, items, total, costs);
            return;
        }
        many_gini(packing, items, total, work, costs);
    }
}

/// Sums of squares are kept up to date from row to row.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate with a known error")]
fn many_gini(packing: Packing, items: &[u32], total: &Tally, work: &mut CostWork, costs: &mut [f32]) {
    work.start(total);
    let (mut left_weight, mut left_squares, mut right_squares) = (0, 0, total.squares());
    for (cost, &item) in costs.iter_mut().zip(items) {
        let (class, weight) = (packing.class(item) as usize, u64::from(Packing::weight(item)));
        let (left, right) = (&mut work.left[class], &mut work.right[class]);
        left_squares += weight * (2 * *left + weight);
        right_squares -= weight * (2 * *right - weight);
        *left += weight;
        *right -= weight;
        left_weight += weight;
        let (ab, cd) = (left_weight as f64, (total.total() - left_weight) as f64);
        let pure = (left_squares as f64 * cd + right_squares as f64 * ab) / (ab * cd);
        // Halved, as for two classes.
        *cost = ((total.weight() - pure) * 0.5).max(0.0) as f32;
    }
}

impl Costs for Entropy {
    #[expect(clippy::cast_precision_loss, reason = "an estimate with a known error")]
    fn of_cuts(_level: Level, packing: Packing, items: &[u32], total: &Tally, work: &mut CostWork, costs: &mut [f32]) {
        work.start(total);
        let information = work.information.as_slice();
        let of = |count: u64| information[usize::try_from(count).unwrap_or(usize::MAX)];
        let (mut left_weight, mut classes) = (0, total.counts.iter().map(|count| of(*count)).sum::<i64>());
        for (cost, &item) in costs.iter_mut().zip(items) {
            let (class, weight) = (packing.class(item) as usize, u64::from(Packing::weight(item)));
            let (left, right) = (&mut work.left[class], &mut work.right[class]);
            classes -= of(*left) + of(*right);
            *left += weight;
            *right -= weight;
            classes += of(*left) + of(*right);
            left_weight += weight;
            let sides = of(left_weight) + of(total.total() - left_weight);
            // Halved, as for Gini impurity. Integers: two pure sides give exactly 0.
            *cost = (sides - classes).max(0) as f32 * (0.5 / (1_u64 << FRACTION_BITS) as f32);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "rounded to units far below the margin"
    )]
    fn prepare(work: &mut CostWork, weight: usize) {
        let scale = (1_u64 << FRACTION_BITS) as f64;
        for count in work.information.len()..=weight {
            let count = count as f64;
            work.information.push(if count < 2.0 { 0 } else { (count * count.log2() * scale).round() as i64 });
        }
    }
}

/// Bits after the point: with 2^27 rows `n log2 n` stays below 2^62.
const FRACTION_BITS: u32 = 30;

/// The largest number of classes for which the roundings of `n log2 n` stay below the margin together.
pub(super) const MAX_CLASSES: usize = 4096;

/// The largest weight of a tree for which the estimates hold.
pub(super) const MAX_WEIGHT: u64 = 1 << 27;

impl CostWork {
    fn start(&mut self, total: &Tally) {
        self.left.clear();
        self.left.resize(total.counts.len(), 0);
        self.right.clone_from(&total.counts);
    }
}

fn to_u32(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
