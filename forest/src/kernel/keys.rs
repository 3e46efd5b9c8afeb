//! The loops of growing by ranks: a node's keys of one feature, cuts of two classes, and the rows' division.
//!
//! A key is a row's rank among the feature's distinct values, above what the row's item holds below its number: class and
//! weight. [`Packing`] names the bits.

use super::{Level, Packing};

/// Rows whose cuts are told by comparing every pair.
pub(crate) const PAIRS_MAX: usize = 64;

/// Weights of both classes on the left of cuts, place by place.
#[derive(Debug, Default)]
pub(crate) struct Lefts {
    pub(crate) first: Vec<u32>,
    pub(crate) second: Vec<u32>,
}

impl Lefts {
    pub(crate) fn resize(&mut self, n: usize) {
        self.first.resize(n, 0);
        self.second.resize(n, 0);
    }

    pub(crate) fn push(&mut self, left: (u32, u32)) {
        self.first.push(left.0);
        self.second.push(left.1);
    }
}

/// Keys of the items' rows out of a column by row: `column[row] | lower half of the item`. `out` must have the items' length.
/// Returns the smallest and the largest.
pub(crate) fn gather(level: Level, packing: Packing, column: &[u32], items: &[u32], out: &mut [u32]) -> (u32, u32) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::gather(packing, column, items, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::gather(packing, column, items, out),
        Level::Portable => portable::gather(packing, column, items, out),
    }
}

/// Adds each key's weight to the bin `(key - base) >> shift`: the first class in the lower half, the second in the upper.
pub(crate) fn tally(keys: &[u32], base: u32, shift: u32, bins: &mut [u64]) {
    for key in keys {
        let weight = u64::from(Packing::weight(*key));
        bins[(key.wrapping_sub(base) >> shift) as usize] += weight << (32 * (key >> Packing::WEIGHT_BITS & 1));
    }
}

/// Bits below the row of an item of two classes.
pub(super) const PAIR_SHIFT: u32 = Packing::WEIGHT_BITS + 1;

/// What an item of two classes adds to a bin, by its lower bits.
pub(super) const LOADS: [u64; 1 << PAIR_SHIFT] = {
    let mut loads = [0; 1 << PAIR_SHIFT];
    let mut weight = 0;
    while weight <= Packing::MAX_WEIGHT as usize {
        loads[weight] = weight as u64;
        loads[weight + (1 << Packing::WEIGHT_BITS)] = (weight as u64) << 32;
        weight += 1;
    }
    loads
};

/// Bins of one feature's codes.
pub(crate) const CODES: usize = 256;
/// Features whose codes are counted together.
pub(crate) const TOGETHER: usize = 4;

/// One byte per row and feature, row-major, so that the features that a node looks at lie close together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) n_features: usize,
}

/// Adds each item's weight to the bin `code >> shift` of each of the features, as [`tally`] does, and puts the codes into
/// `places`, the first feature's lowest. The items are of two classes; `shift` is 4 at most.
pub(crate) fn tally_codes(
    level: Level,
    codes: Codes<'_>,
    features: [usize; TOGETHER],
    shift: u32,
    items: &[u32],
    bins: &mut [[u64; CODES]; TOGETHER],
    places: &mut [u32],
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::tally_codes(codes, features, shift, items, bins, places),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::tally_codes(codes, features, shift, items, bins, places),
        Level::Portable => portable::tally_codes(codes, features, shift, items, bins, places),
    }
}

/// A set of codes.
pub(crate) type CodeSet = [u32; CODES / 32];

/// Codes of one of the features counted together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) places: &'a [u32],
    /// Its place among them.
    pub(crate) lane: usize,
}

/// The items whose code is in the set, in their order, into `out`, which must have the items' length; returns how many they
/// are.
pub(crate) fn choose(level: Level, items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::choose(items, codes, set, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::choose(items, codes, set, out),
        Level::Portable => portable::choose(items, codes, set, out),
    }
}

/// As [`divide`], by codes: items with a code below `code` go left, and of those that have it the ones whose key, out of
/// `column` by row, is up to `last`. `rows` are items of the frame by the numbers that the items have, if these are not rows.
pub(crate) fn divide_codes(
    level: Level,
    (rows, column): (Option<&[u32]>, &[u32]),
    (code, last): (u32, u32),
    codes: Lane<'_>,
    items: &mut [u32],
    spare: &mut [u32],
) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::divide_codes((rows, column), (code, last), codes, items, spare),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::divide_codes((rows, column), (code, last), codes, items, spare),
        Level::Portable => portable::divide_codes((rows, column), (code, last), codes, items, spare),
    }
}

/// Running sums of bins, beginning with `base`.
pub(crate) fn run(bins: &[u64], base: (u32, u32), lefts: &mut Lefts) {
    lefts.resize(bins.len());
    let (mut first, mut second) = base;
    for ((bin, left_first), left_second) in bins.iter().zip(&mut lefts.first).zip(&mut lefts.second) {
        #[expect(clippy::cast_possible_truncation, reason = "the halves")]
        let (of_first, of_second) = (*bin as u32, (*bin >> 32) as u32);
        first += of_first;
        second += of_second;
        (*left_first, *left_second) = (first, second);
    }
}

/// Weights at the keys up to each key's rank, plus `base`. At most [`PAIRS_MAX`] keys.
pub(crate) fn compare_pairs(level: Level, packing: Packing, keys: &[u32], base: (u32, u32), lefts: &mut Lefts) {
    lefts.resize(keys.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::compare_pairs(packing, keys, base, lefts),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::compare_pairs(packing, keys, base, lefts),
        Level::Portable => portable::compare_pairs(packing, keys, base, lefts),
    }
}

/// The cost of every cut with these weights on the left, as [`super::pair_costs`] has it, infinite where a side is empty.
/// Returns the smallest.
pub(crate) fn costs(level: Level, lefts: &Lefts, total: (u32, u32), costs: &mut Vec<f32>) -> f32 {
    costs.resize(lefts.first.len(), 0.0);
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::costs(lefts, total, costs),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::costs(lefts, total, costs),
        Level::Portable => portable::costs(lefts, total, costs),
    }
}

/// Of every bin, whose end's weights `lefts` holds: a number above 0 if no order of the bin's rows makes a cut between them
/// that costs `limit` or less.
///
/// The cost is a concave function of the two weights on the left, so over the rectangle between a bin's start and its end
/// it is smallest in a corner. Two corners are the edges; the others are looked at here.
pub(crate) fn slacks(
    level: Level,
    lefts: &Lefts,
    base: (u32, u32),
    total: (u32, u32),
    limit: f32,
    slacks: &mut Vec<f32>,
) {
    slacks.resize(lefts.first.len(), 0.0);
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::slacks(lefts, base, total, limit, slacks),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::slacks(lefts, base, total, limit, slacks),
        Level::Portable => portable::slacks(lefts, base, total, limit, slacks),
    }
}

/// The keys `low..=high` in their order into `out`, which must have the keys' length; returns how many they are.
pub(crate) fn within(level: Level, keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::within(keys, low, high, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::within(keys, low, high, out),
        Level::Portable => portable::within(keys, low, high, out),
    }
}

/// The border of a cut: how many keys are up to `last`, the largest of them and the smallest of the others.
pub(crate) fn border(level: Level, keys: &[u32], last: u32) -> (usize, u32, u32) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::border(keys, last),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::border(keys, last),
        Level::Portable => portable::border(keys, last),
    }
}

/// Moves the items whose keys are up to `last` to the front, the others to the back, both in their old order. `spare` must
/// have the items' length at least. Returns how many are in front.
pub(crate) fn divide(level: Level, keys: &[u32], last: u32, items: &mut [u32], spare: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::keys_avx512::divide(keys, last, items, spare),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::keys_avx2::divide(keys, last, items, spare),
        Level::Portable => portable::divide(keys, last, items, spare),
    }
}

pub(super) mod portable {
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
    pub(in crate::kernel) fn slacks(
        lefts: &Lefts,
        base: (u32, u32),
        total: (u32, u32),
        limit: f32,
        slacks: &mut [f32],
    ) {
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
}

#[cfg(test)]
mod tests;
