//! The loops in plain Rust.

#![expect(clippy::inline_always, reason = "a wider level compiles these loops again with its own instructions")]

use super::{Packing, Side, Wanted};

#[inline(always)]
pub(super) fn select(packing: Packing, order: &[u32], weights: &[u8], out: &mut [u32]) -> usize {
    let mut len = 0;
    for &item in order {
        let weight = weights[packing.row(item) as usize];
        out[len] = item | u32::from(weight);
        len += usize::from(weight != 0);
    }
    len
}

#[inline(always)]
pub(super) fn partition(packing: Packing, column: &mut [u32], spare: &mut [u32], side: Side<'_>, wanted: Wanted) {
    let words = side.set.words.as_slice();
    let (mut left, mut right) = (0, 0);
    for at in 0..column.len() {
        let item = column[at];
        let row = packing.row(item);
        let to_left = (words[(row / 32) as usize] >> (row % 32) & 1) ^ u32::from(side.is_right);
        column[left] = item;
        spare[right] = item;
        left += to_left as usize;
        right += 1 - to_left as usize;
    }
    if wanted.right {
        column[left..].copy_from_slice(&spare[..right]);
    }
}

#[inline(always)]
pub(super) fn renumber(packing: Packing, items: &mut [u32], numbers: &[u32]) {
    let shift = packing.shift();
    for item in items {
        *item = numbers[packing.row(*item) as usize] << shift | *item & ((1 << shift) - 1);
    }
}

/// The cost of a cut with these class weights on the left.
#[expect(clippy::cast_precision_loss, reason = "an estimate with a known error")]
#[inline(always)]
pub(super) fn pair_cost(left: (u32, u32), total: (u32, u32)) -> f32 {
    // Signed, since only that conversion is one instruction everywhere.
    let float = |weight: u32| weight.cast_signed() as f32;
    let (a, b, c, d) = (float(left.0), float(left.1), float(total.0 - left.0), float(total.1 - left.1));
    let (ab, cd) = (a + b, c + d);
    (a * b * cd + c * d * ab) / (ab * cd)
}

/// Items whose costs are computed together.
const BLOCK: usize = 64;

#[inline(always)]
pub(super) fn pair_costs(items: &[u32], total: (u32, u32), costs: &mut [f32]) {
    let (mut first, mut second) = (0, 0);
    let mut sums = [(0, 0); BLOCK];
    for (items, costs) in items.chunks(BLOCK).zip(costs.chunks_mut(BLOCK)) {
        for (sums, &item) in sums.iter_mut().zip(items) {
            let weight = Packing::weight(item);
            let in_second = weight & (item >> Packing::WEIGHT_BITS & 1).wrapping_neg();
            first += weight - in_second;
            second += in_second;
            *sums = (first, second);
        }
        for (cost, sums) in costs.iter_mut().zip(&sums) {
            *cost = pair_cost(*sums, total);
        }
    }
}

#[inline(always)]
pub(super) fn pair_sums(items: &[u32]) -> (u64, u64) {
    let (mut all, mut second) = (0, 0);
    // Sums of so few weights fit 32 bits.
    for items in items.chunks(1 << 20) {
        let (mut part_all, mut part_second) = (0_u32, 0_u32);
        for &item in items {
            let weight = Packing::weight(item);
            part_all += weight;
            part_second += weight & (item >> Packing::WEIGHT_BITS & 1).wrapping_neg();
        }
        all += u64::from(part_all);
        second += u64::from(part_second);
    }
    (all - second, second)
}

#[inline(always)]
pub(super) fn smallest(costs: &[f32]) -> f32 {
    // Bits of numbers that are not negative are in the order of the numbers.
    f32::from_bits(costs.iter().fold(f32::INFINITY.to_bits(), |least, cost| least.min(cost.to_bits())))
}

/// Numbers compared at a time.
const CHUNK: usize = 32;

#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "branches would keep the loop from comparing several numbers at a time"
)]
pub(super) fn next_within(costs: &[f32], from: usize, limit: f32) -> Option<usize> {
    let mut at = from;
    for chunk in costs.get(from..)?.chunks(CHUNK) {
        if chunk.iter().fold(false, |found, cost| found | (*cost <= limit)) {
            return chunk.iter().position(|cost| *cost <= limit).map(|place| at + place);
        }
        at += chunk.len();
    }
    None
}
