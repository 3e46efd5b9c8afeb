//! The loops of growing by ranks in plain Rust.

#![expect(clippy::inline_always, reason = "a wider level compiles these loops again with its own instructions")]

use super::{Bins, CODES, CodeSet, Codes, Column, LOADS, Lane, Lefts, PAIR_SHIFT, TOGETHER};
use crate::kernel::Packing;
use crate::kernel::columns::MARKED_TOGETHER;

#[inline(always)]
pub(in crate::kernel) fn gather(packing: Packing, column: Column<'_>, items: &[u32], out: &mut [u32]) -> (u32, u32) {
    let shift = packing.shift();
    let low = packing.low();
    let (mut smallest, mut largest) = (u32::MAX, 0);
    for (key, &item) in out.iter_mut().zip(items) {
        *key = column.of(item >> shift) | item & low;
        smallest = smallest.min(*key);
        largest = largest.max(*key);
    }
    (smallest, largest)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate with a known error")]
#[inline(always)]
fn float(weight: u32) -> f32 {
    // Signed, since only that conversion is one instruction everywhere.
    weight.cast_signed() as f32
}

/// The cost of a cut with these weights on the left, infinite if a side is empty.
#[inline(always)]
pub(in crate::kernel) fn cost(left: (u32, u32), total: (u32, u32)) -> f32 {
    let (a, b, c, d) = (float(left.0), float(left.1), float(total.0 - left.0), float(total.1 - left.1));
    let (ab, cd) = (a + b, c + d);
    let both = ab * cd;
    let sum = a * b * cd + c * d * ab;
    if both > 0.0 { sum / both } else { f32::INFINITY }
}

#[inline(always)]
pub(in crate::kernel) fn costs(lefts: &Lefts, total: (u32, u32), costs: &mut [f32]) -> f32 {
    let mut least = f32::INFINITY.to_bits();
    for ((cost, &first), &second) in costs.iter_mut().zip(&lefts.first).zip(&lefts.second) {
        *cost = self::cost((first, second), total);
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
fn bin(key: u32, shift: u32) -> usize {
    (key >> shift) as usize % CODES
}

#[inline(always)]
fn load(key: u32) -> u64 {
    LOADS[key as usize % LOADS.len()]
}

#[inline(always)]
pub(in crate::kernel) fn tally_keys(keys: &[u32], shift: u32, bins: &mut Bins) {
    for key in keys {
        bins[bin(*key, shift)] += load(*key);
    }
}

#[inline(always)]
pub(in crate::kernel) fn tally_together(
    [one, two, three, four]: [&[u32]; TOGETHER],
    shifts: [u32; TOGETHER],
    [first, second, third, fourth]: &mut [Bins; TOGETHER],
) {
    for (((one, two), three), four) in one.iter().zip(two).zip(three).zip(four) {
        // A row's class and weight are the same in all of its keys.
        let load = load(*one);
        first[bin(*one, shifts[0])] += load;
        second[bin(*two, shifts[1])] += load;
        third[bin(*three, shifts[2])] += load;
        fourth[bin(*four, shifts[3])] += load;
    }
}

#[inline(always)]
pub(in crate::kernel) fn tally_codes(
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    shift: u32,
    items: &[u32],
    bins: &mut [Bins; TOGETHER],
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
    bins: &mut [Bins; TOGETHER],
    places: &mut [u32],
) {
    for (at, (item, place)) in items.iter().zip(places).enumerate() {
        let start = if codes.in_order { at } else { (item >> PAIR_SHIFT) as usize } * codes.stride;
        let row = &codes.bytes[start..start + codes.stride];
        let load = load(*item);
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
pub(in crate::kernel) fn mark_codes(
    column: Column<'_>,
    (code, last): (u32, u32),
    codes: Lane<'_>,
    items: &[u32],
    marks: &mut [u16],
) -> usize {
    let mut n_left = 0;
    let groups = items.chunks(MARKED_TOGETHER).zip(codes.places.chunks(MARKED_TOGETHER));
    for ((items, places), marks) in groups.zip(marks) {
        *marks = 0;
        for (at, (&item, &place)) in items.iter().zip(places).enumerate() {
            let own = self::code(place, codes.lane);
            let goes_left = own < code || own == code && column.of(item >> PAIR_SHIFT) <= last;
            *marks |= u16::from(goes_left) << at;
        }
        n_left += marks.count_ones() as usize;
    }
    n_left
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
pub(in crate::kernel) fn divide(marks: &[u16], items: &mut [u32], spare: &mut [u32]) -> usize {
    let (mut left, mut right) = (0, 0);
    for at in 0..items.len() {
        let item = items[at];
        items[left] = item;
        spare[right] = item;
        let goes_left = usize::from(marks[at / MARKED_TOGETHER] >> (at % MARKED_TOGETHER) & 1);
        left += goes_left;
        right += 1 - goes_left;
    }
    items[left..left + right].copy_from_slice(&spare[..right]);
    left
}
