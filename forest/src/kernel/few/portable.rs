//! The cheapest cuts of few keys in plain Rust.

#![expect(clippy::inline_always, reason = "a wider level compiles these loops again with its own instructions")]

use super::{Around, Cheapest, PAIRS_MAX, limit};
use crate::kernel::Packing;
use crate::kernel::keys::portable::cost;

/// Lanes that are compared at a time.
const LANES: usize = 16;

/// Compares every key with every other.
#[inline(always)]
pub(super) fn find_cheapest(packing: Packing, keys: &[u32], around: Around, out: &mut Cheapest) {
    assert!(keys.len() <= PAIRS_MAX, "more keys than are compared at once");
    out.range = keys.iter().fold((u32::MAX, 0), |(low, high), key| (low.min(*key), high.max(*key)));
    let low = packing.low();
    // 64 weights of at most 15 fit 16 bits: both classes are summed in one number.
    let mut weights = [0; PAIRS_MAX];
    for (weight, key) in weights.iter_mut().zip(keys) {
        *weight = Packing::weight(*key) << (16 * (key >> Packing::WEIGHT_BITS & 1));
    }
    let mut sums = [0_u32; PAIRS_MAX];
    for (sums, lanes) in sums.chunks_exact_mut(LANES).zip(keys.chunks(LANES)) {
        let mut ends = [0; LANES];
        for (end, key) in ends.iter_mut().zip(lanes) {
            *end = key | low;
        }
        for (key, weight) in keys.iter().zip(&weights) {
            for (sum, end) in sums.iter_mut().zip(&ends) {
                *sum += if key <= end { *weight } else { 0 };
            }
        }
    }
    let mut costs = [f32::INFINITY; PAIRS_MAX];
    let left = |sum: u32| (around.base.0 + (sum & 0xFFFF), around.base.1 + (sum >> 16));
    for (cost, sum) in costs.iter_mut().zip(&sums) {
        *cost = self::cost(left(*sum), around.total);
    }
    let costs = &costs[..keys.len()];
    let limit = limit(costs.iter().fold(around.to_beat, |least, cost| least.min(*cost)));
    out.n = 0;
    for ((&cost, sum), key) in costs.iter().zip(&sums).zip(keys) {
        if cost <= limit && cost.is_finite() {
            (out.cost[out.n], out.last[out.n]) = (cost, key | low);
            (out.first[out.n], out.second[out.n]) = left(*sum);
            out.n += 1;
        }
    }
}
