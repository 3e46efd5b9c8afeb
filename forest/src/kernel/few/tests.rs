use super::{Around, Cheapest, find_cheapest, keys_max, limit};
use crate::kernel::keys::portable::cost;
use crate::kernel::{Level, Packing};
use crate::random::RandomState;

/// Keys with ties.
fn keys(stream: &mut RandomState, packing: Packing, n: usize, ranks: u32) -> Vec<u32> {
    (0..n).map(|_| packing.item(stream.randint(ranks), stream.randint(2)) | (1 + stream.randint(15))).collect()
}

fn weights(packing: Packing, keys: impl Iterator<Item = u32>) -> (u32, u32) {
    keys.fold((0, 0), |(first, second), key| match (packing.class(key), Packing::weight(key)) {
        (0, weight) => (first + weight, second),
        (_, weight) => (first, second + weight),
    })
}

/// Every cut that costs no more than the cheapest and the one to beat, by its last key.
fn expected(packing: Packing, keys: &[u32], around: Around) -> Vec<(u32, u32, (u32, u32))> {
    let mut ranks: Vec<u32> = keys.iter().map(|key| key | packing.low()).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let cuts = ranks.into_iter().map(|last| {
        let (first, second) = weights(packing, keys.iter().copied().filter(|key| *key <= last));
        let left = (around.base.0 + first, around.base.1 + second);
        (cost(left, around.total), last, left)
    });
    let mut cuts: Vec<_> = cuts.collect();
    let least = cuts.iter().fold(around.to_beat, |least, cut| least.min(cut.0));
    cuts.retain(|cut| cut.0 <= limit(least) && cut.0.is_finite());
    cuts.into_iter().map(|(cost, last, left)| (last, cost.to_bits(), left)).collect()
}

#[test]
fn every_level_finds_every_cheapest_cut_of_any_number_of_keys() {
    let mut stream = RandomState::new(9);
    let mut out = Cheapest::default();
    let mut seen = 0;
    for level in Level::all() {
        for n in (1..=keys_max(level)).step_by(if cfg!(miri) { 21 } else { 1 }) {
            let packing = Packing::new(n + 1, 2).unwrap();
            for ranks in [n.div_ceil(2), n + 1, 1] {
                let keys = keys(&mut stream, packing, n, u32::try_from(ranks).unwrap());
                let own = weights(packing, keys.iter().copied());
                for (base, more) in [((0, 0), (0, 0)), ((7, 9), (3, 0))] {
                    let total = (base.0 + own.0 + more.0, base.1 + own.1 + more.1);
                    for to_beat in [f32::INFINITY, 20.0, 0.0] {
                        let around = Around { base, total, to_beat };
                        find_cheapest(level, packing, &keys, around, &mut out);
                        let mut got: Vec<_> =
                            out.cuts().map(|(cost, last, left)| (last, cost.to_bits(), left)).collect();
                        got.sort_unstable();
                        got.dedup();
                        assert_eq!(got, expected(packing, &keys, around), "{level:?} {n} {around:?}");
                        seen += got.len();
                        assert_eq!(Some(out.range), keys.iter().min().copied().zip(keys.iter().max().copied()));
                    }
                }
            }
        }
    }
    let least = if cfg!(miri) { 0 } else { 100 * Level::all().len() };
    assert!(seen > least, "hardly any cut was looked for");
}
