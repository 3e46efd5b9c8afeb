//! The cheapest cuts of few keys, found at once.

use super::{Level, Packing};

/// Keys that are looked at, at most.
const KEYS_MAX: usize = 128;
/// Keys of which every pair is compared, at most.
const PAIRS_MAX: usize = 64;

/// How many keys are few.
pub(crate) fn keys_max(level: Level) -> usize {
    if level.compresses() { KEYS_MAX } else { PAIRS_MAX }
}

/// What is to be known of the rows of some keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    /// Weights of both classes on the left of all keys.
    pub(crate) base: (u32, u32),
    /// Weights of both classes in the node.
    pub(crate) total: (u32, u32),
    /// The cost of the best cut so far, infinite if there is none.
    pub(crate) to_beat: f32,
}

/// Cuts that may be the best, in any order; some may be there more than once.
#[derive(Debug)]
pub(crate) struct Cheapest {
    n: usize,
    cost: [f32; KEYS_MAX],
    /// The last key that may be on the left.
    last: [u32; KEYS_MAX],
    /// Weights of both classes on the left.
    first: [u32; KEYS_MAX],
    second: [u32; KEYS_MAX],
    /// The smallest and the largest key.
    pub(crate) range: (u32, u32),
}

impl Default for Cheapest {
    fn default() -> Self {
        let none = [0; KEYS_MAX];
        Self { n: 0, cost: [0.0; KEYS_MAX], last: none, first: none, second: none, range: (0, 0) }
    }
}

impl Cheapest {
    /// The cuts: their costs, the last keys on the left, and the weights there.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = (f32, u32, (u32, u32))> + '_ {
        let lefts = self.first.iter().copied().zip(self.second.iter().copied());
        let cuts = self.cost.iter().zip(&self.last).zip(lefts).take(self.n);
        cuts.map(|((cost, last), left)| (*cost, *last, left))
    }
}

/// The largest cost that may belong to a score at least as good as that of a cut with this cost: float32 rounding contributes
/// five roundings of 2^-24 on either side, the exact arithmetic some 1e-15 times the weight of the node. Costs are 0 or at
/// least about one half.
pub(crate) fn limit(cost: f32) -> f32 {
    const MARGIN: f32 = 4e-6;
    cost + (cost + 1.0) * MARGIN
}

/// All cuts of at most [`keys_max`] keys, one at least, that cost no more than the cheapest of them and the one to beat, as
/// far as estimates can tell. Costs are those of [`super::pair_costs`], infinite where a side is empty.
pub(crate) fn find_cheapest(level: Level, packing: Packing, keys: &[u32], around: Around, out: &mut Cheapest) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::find_cheapest(packing, keys, around, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::find_cheapest(packing, keys, around, out),
        Level::Portable => portable::find_cheapest(packing, keys, around, out),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod network;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! The plain loops as the compiler makes them with AVX2.

    #![expect(unsafe_code, reason = "code that is compiled for instructions which not every processor has")]

    use super::{Around, Cheapest, Packing, portable};
    use crate::kernel::avx2::compiled_again;

    compiled_again! {
        find_cheapest(packing: Packing, keys: &[u32], around: Around, out: &mut Cheapest) -> () = portable::find_cheapest;
    }
}

#[cfg(test)]
mod tests;
