//! The loops of growing by ranks in plain Rust.

#![expect(clippy::inline_always, reason = "a wider level compiles these loops again with its own instructions")]

use super::{CODES, CodeSet, Codes, LOADS, Lane, Lefts, PAIR_SHIFT, PAIRS_MAX, TOGETHER};
use crate::kernel::Packing;

#[inline(always)]
pub(in crate::kernel) fn gather(packing: Packing, column: &[u32], items: &[u32], out: &mut [u32]) -> (u32, u32) {
    let shift = packing.shift();
    let low = packing.low();
    let (mut smallest, mut largest) = (u32::MAX, 0);
    for (key, &item) in out.iter_mut().zip(items) {
        *key = column[(item >> shift) as usize] | item & low;
        smallest = smallest.min(*key);
        largest = largest.max(*key);
    }
    (smallest, largest)
}

/// Lanes that are compared at a time.
const LANES: usize = 16;

#[inline(always)]
pub(in crate::kernel) fn compare_pairs(packing: Packing, keys: &[u32], base: (u32, u32), lefts: &mut Lefts) {
    let low = packing.low();
    // 64 weights of at most 15 fit 16 bits: both classes are summed in one number.
    let mut weights = [0; PAIRS_MAX];
    for (weight, key) in weights.iter_mut().zip(keys) {
        *weight = Packing::weight(*key) << (16 * (key >> Packing::WEIGHT_BITS & 1));
    }
    let out = lefts.first.chunks_mut(LANES).zip(lefts.second.chunks_mut(LANES));
    for (lanes, (first, second)) in keys.chunks(LANES).zip(out) {
        let mut ends = [0; LANES];
        for (end, key) in ends.iter_mut().zip(lanes) {
            *end = key | low;
        }
        let mut sums = [0_u32; LANES];
        for (key, weight) in keys.iter().zip(&weights) {
            for (sum, end) in sums.iter_mut().zip(&ends) {
                *sum += if key <= end { *weight } else { 0 };
            }
        }
        for ((first, second), sum) in first.iter_mut().zip(second).zip(&sums) {
            (*first, *second) = (base.0 + (sum & 0xFFFF), base.1 + (sum >> 16));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate with a known error")]
#[inline(always)]
fn float(weight: u32) -> f32 {
    // Signed, since only that conversion is one instruction everywhere.
    weight.cast_signed() as f32
}

#[inline(always)]
pub(in crate::kernel) fn costs(lefts: &Lefts, total: (u32, u32), costs: &mut [f32]) -> f32 {
    let mut least = f32::INFINITY.to_bits();
    for ((cost, &first), &second) in costs.iter_mut().zip(&lefts.first).zip(&lefts.second) {
        let (a, b, c, d) = (float(first), float(second), float(total.0 - first), float(total.1 - second));
        let (ab, cd) = (a + b, c + d);
        let both = ab * cd;
        let sum = a * b * cd + c * d * ab;
        *cost = if both > 0.0 { sum / both } else { f32::INFINITY };
        // Bits of numbers that are not negative are in the order of the numbers.
        least = least.min(cost.to_bits());
    }
    f32::from_bits(least)
}

#[inline(always)]
pub(in crate::kernel) fn slacks(lefts: &Lefts, base: (u32, u32), total: (u32, u32), limit: f32, slacks: &mut [f32]) {
    let undivided = float(total.0) * float(total.1) / (float(total.0) + float(total.1)) - limit;
    let corner = |first: u32, second: u32| {
        let (a, b, c, d) = (float(first), float(second), float(total.0 - first), float(total.1 - second));
        let (ab, cd) = (a + b, c + d);
        let both = ab * cd;
        let slack = a * b * cd + c * d * ab - limit * both;
        if both > 0.0 { slack } else { undivided }
    };
    let (Some(slack), [first, ..], [second, ..]) = (slacks.first_mut(), &lefts.first[..], &lefts.second[..]) else {
        return;
    };
    *slack = corner(base.0, *second).min(corner(*first, base.1));
    let before = lefts.first.iter().zip(&lefts.second);
    let after = lefts.first[1..].iter().zip(&lefts.second[1..]);
    for ((slack, before), after) in slacks[1..].iter_mut().zip(before).zip(after) {
        *slack = corner(*before.0, *after.1).min(corner(*after.0, *before.1));
    }
}

#[inline(always)]
pub(in crate::kernel) fn tally_codes(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    shift: u32,
    items: &[u32],
    bins: &mut [[u64; CODES]; TOGETHER],
    places: &mut [u32],
) {
    match shift {
        0 => tally::<0>(codes, features, items, bins, places),
        1 => tally::<1>(codes, features, items, bins, places),
        2 => tally::<2>(codes, features, items, bins, places),
        3 => tally::<3>(codes, features, items, bins, places),
        _ => tally::<4>(codes, features, items, bins, places),
    }
}

#[inline(always)]
fn tally<const SHIFT: u32>(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    items: &[u32],
    bins: &mut [[u64; CODES]; TOGETHER],
    places: &mut [u32],
) {
    for (item, place) in items.iter().zip(places) {
        let start = (item >> PAIR_SHIFT) as usize * codes.n_features;
        let row = &codes.bytes[start..start + codes.n_features];
        let load = LOADS[*item as usize % LOADS.len()];
        let mut codes = [0; TOGETHER];
        for ((bins, feature), code) in bins.iter_mut().zip(features).zip(&mut codes) {
            *code = row[feature];
            bins[usize::from(*code >> SHIFT)] += load;
        }
        *place = u32::from_le_bytes(codes);
    }
}

#[inline(always)]
fn code(place: u32, lane: usize) -> u32 {
    place >> (8 * lane) & 0xFF
}

#[inline(always)]
pub(in crate::kernel) fn choose(items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize {
    let mut n = 0;
    for (&item, &place) in items.iter().zip(codes.places) {
        let code = code(place, codes.lane);
        out[n] = item;
        n += (set[code as usize / 32 % set.len()] >> (code % 32) & 1) as usize;
    }
    n
}

#[inline(always)]
pub(in crate::kernel) fn divide_codes(
    (rows, column): (Option<&[u32]>, &[u32]),
    (code, last): (u32, u32),
    codes: Lane<'_>,
    items: &mut [u32],
    spare: &mut [u32],
) -> usize {
    let key = |item: u32| {
        let item = rows.map_or(item, |rows| rows[(item >> PAIR_SHIFT) as usize]);
        column[(item >> PAIR_SHIFT) as usize]
    };
    let (mut left, mut right) = (0, 0);
    for (at, &place) in codes.places.iter().enumerate() {
        let item = items[at];
        items[left] = item;
        spare[right] = item;
        let own = self::code(place, codes.lane);
        let goes_left = own < code || own == code && key(item) <= last;
        left += usize::from(goes_left);
        right += usize::from(!goes_left);
    }
    items[left..left + right].copy_from_slice(&spare[..right]);
    left
}

#[inline(always)]
pub(in crate::kernel) fn within(keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize {
    let mut n = 0;
    for &key in keys {
        out[n] = key;
        n += usize::from(key >= low && key <= high);
    }
    n
}

#[inline(always)]
pub(in crate::kernel) fn border(keys: &[u32], last: u32) -> (usize, u32, u32) {
    let (mut n_left, mut left, mut right) = (0_u32, 0, u32::MAX);
    for &key in keys {
        let goes_left = key <= last;
        n_left += u32::from(goes_left);
        left = left.max(if goes_left { key } else { 0 });
        right = right.min(if goes_left { u32::MAX } else { key });
    }
    (n_left as usize, left, right)
}

#[inline(always)]
pub(in crate::kernel) fn divide(keys: &[u32], last: u32, items: &mut [u32], spare: &mut [u32]) -> usize {
    let (mut left, mut right) = (0, 0);
    for (at, &key) in keys.iter().enumerate() {
        let item = items[at];
        items[left] = item;
        spare[right] = item;
        let goes_left = usize::from(key <= last);
        left += goes_left;
        right += 1 - goes_left;
    }
    items[left..left + right].copy_from_slice(&spare[..right]);
    left
}
