use super::{
    CODES, CodeSet, Codes, Lane, Lefts, TOGETHER, Table, border, choose, costs, divide, gather, mark_codes, run,
    slacks, tally, tally_codes, tally_together, within,
};
use crate::kernel::tests::sizes;
use crate::kernel::{Level, Packing};
use crate::random::RandomState;

/// A table of one feature.
fn table(column: &[u32]) -> Table<'_> {
    Table { ranks: column, n_features: 1 }
}

/// Keys with ties, of rows whose numbers are their places.
fn keys(stream: &mut RandomState, packing: Packing, n: u32, ranks: u32) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let column: Vec<u32> = (0..n).map(|_| packing.item(stream.randint(ranks), 0)).collect();
    let items: Vec<u32> = (0..n).map(|row| packing.item(row, stream.randint(2)) | (1 + stream.randint(15))).collect();
    let keys = items.iter().zip(&column).map(|(item, rank)| rank | item & packing.low()).collect();
    (column, items, keys)
}

fn weights(packing: Packing, keys: impl Iterator<Item = u32>) -> (u32, u32) {
    keys.fold((0, 0), |(first, second), key| match (packing.class(key), Packing::weight(key)) {
        (0, weight) => (first + weight, second),
        (_, weight) => (first, second + weight),
    })
}

/// A bit by place.
fn marks(set: impl Iterator<Item = bool>) -> u16 {
    set.enumerate().fold(0, |marks, (at, set)| marks | u16::from(set) << at)
}

#[test]
fn every_level_gathers_divides_and_borders_alike() {
    let mut stream = RandomState::new(8);
    for n in sizes().filter(|n| *n > 0) {
        let packing = Packing::new(n as usize + 1, 2).unwrap();
        let (column, items, keys) = keys(&mut stream, packing, n, n.div_ceil(3));
        let last = keys[n as usize / 2];
        let (left, right): (Vec<u32>, Vec<u32>) =
            items.iter().partition(|item| keys[packing.row(**item) as usize] <= last);
        let up_to = |key: &&u32| **key <= last;
        let high = keys.iter().filter(|key| !up_to(key)).min().copied().unwrap_or(u32::MAX);
        for level in Level::all() {
            let mut out = vec![0; items.len()];
            let range = gather(level, packing, table(&column).column(0), &items, &mut out);
            assert_eq!((&out, Some(range)), (&keys, keys.iter().min().copied().zip(keys.iter().max().copied())));
            assert_eq!(
                border(level, &keys, last),
                (left.len(), keys.iter().filter(up_to).max().copied().unwrap(), high)
            );
            let (mut moved, mut spare) = (items.clone(), vec![0; items.len()]);
            let marks: Vec<u16> = keys.chunks(16).map(|keys| marks(keys.iter().map(|key| *key <= last))).collect();
            assert_eq!(divide(level, &marks, &mut moved, &mut spare), left.len());
            assert_eq!((&moved[..left.len()], &moved[left.len()..]), (&left[..], &right[..]));
            let low = last / 2;
            let n = within(level, &keys, low, last, &mut out);
            assert!(out[..n].iter().eq(keys.iter().filter(|key| (low..=last).contains(*key))), "{level:?}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
#[should_panic(expected = "every row must be in the column")]
fn a_row_beyond_the_column_is_refused_where_places_are_not_checked_one_by_one() {
    assert!(
        Level::best() == Level::Avx512,
        "without AVX-512 every row must be in the column by the plain loop's check"
    );
    let packing = Packing::new(17, 2).unwrap();
    gather(Level::best(), packing, table(&[0; 16]).column(0), &[packing.item(16, 0); 16], &mut [0; 16]);
}

#[test]
fn every_level_gathers_any_column_of_a_table() {
    let mut stream = RandomState::new(16);
    let packing = Packing::new(41, 2).unwrap();
    let ranks: Vec<u32> = (0..40 * 3).map(|_| packing.item(stream.randint(40), 0)).collect();
    let items: Vec<u32> = (0..37).map(|_| packing.item(stream.randint(40), stream.randint(2)) | 1).collect();
    for feature in 0..3 {
        for level in Level::all() {
            let mut out = vec![0; items.len()];
            gather(level, packing, Table { ranks: &ranks, n_features: 3 }.column(feature), &items, &mut out);
            let key = |item: &u32| ranks[packing.row(*item) as usize * 3 + feature] | item & packing.low();
            assert!(out.iter().copied().eq(items.iter().map(key)), "{level:?}");
        }
    }
}

#[test]
fn every_level_counts_keys_alone_and_together() {
    let mut stream = RandomState::new(17);
    let packing = Packing::new(3001, 2).unwrap();
    let shift = packing.shift();
    for n in if cfg!(miri) { vec![1, 17] } else { vec![1, 2, 15, 700, 3000] } {
        let (_, items, _) = keys(&mut stream, packing, n, n);
        // Other ranks of the same rows in every column.
        let columns: Vec<Vec<u32>> = (0..u32::try_from(TOGETHER).unwrap())
            .map(|_| items.iter().map(|item| packing.item(stream.randint(3000), 0) | item & packing.low()).collect())
            .collect();
        let shifts = [shift, shift + 4, shift + 7, shift + 12];
        for level in Level::all() {
            let mut together = [[0; CODES]; TOGETHER];
            tally_together(level, std::array::from_fn(|at| &columns[at][..]), shifts, &mut together);
            for ((column, shift), bins) in columns.iter().zip(shifts).zip(&together) {
                let mut alone = [0; CODES];
                tally(level, column, shift, &mut alone);
                assert_eq!(alone, *bins, "{level:?}");
                for (bin, got) in bins.iter().enumerate() {
                    let own = column.iter().copied().filter(|key| (key >> shift) as usize % CODES == bin);
                    let (first, second) = weights(packing, own);
                    assert_eq!(*got, u64::from(second) << 32 | u64::from(first), "{level:?}");
                }
            }
        }
    }
}

/// The edges of bins, and the cuts inside of them, of random keys.
#[test]
fn no_cut_inside_a_bin_is_cheaper_than_its_slack_says() {
    let mut stream = RandomState::new(10);
    for round in 0..if cfg!(miri) { 2 } else { 300 } {
        let n = 20 + round;
        let packing = Packing::new(n as usize + 1, 2).unwrap();
        let (_, _, keys) = keys(&mut stream, packing, n, n);
        let total = weights(packing, keys.iter().copied());
        let (shift, base) = (packing.shift() + 3, (0, 0));
        let mut bins = [0; CODES];
        tally(Level::Portable, &keys, shift, &mut bins);
        let mut edges = Lefts::default();
        run(&bins[..=n as usize / 8], base, &mut edges);
        assert_eq!((edges.first.last(), edges.second.last()), (Some(&total.0), Some(&total.1)));
        let mut every = Lefts::default();
        let mut ranks: Vec<u32> = keys.iter().map(|key| packing.row(*key)).collect();
        ranks.sort_unstable();
        for rank in &ranks {
            let (first, second) = weights(packing, keys.iter().copied().filter(|key| packing.row(*key) <= *rank));
            every.first.push(first);
            every.second.push(second);
        }
        let mut expected = None;
        for level in Level::all() {
            let (mut of_every, mut of_bins) = (Vec::new(), Vec::new());
            let least = costs(level, &every, total, &mut of_every);
            assert_eq!(Some(least.to_bits()), of_every.iter().map(|cost| cost.to_bits()).min());
            let limit = least * (1.0 + 1e-5);
            slacks(level, &edges, base, total, limit, &mut of_bins);
            let exact = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            let results = (exact(&of_every), exact(&of_bins));
            for (rank, cost) in ranks.iter().zip(&of_every) {
                assert!(*cost > limit || of_bins[(rank >> 3) as usize] <= 0.0, "a cheap cut in a bin without slack");
            }
            assert_eq!(*expected.get_or_insert_with(|| results.clone()), results, "{level:?}");
        }
    }
}

#[test]
fn every_level_counts_chooses_and_marks_by_codes() {
    let mut stream = RandomState::new(12);
    let (stride, features) = (7, [5, 0, 3, 0]);
    for n in sizes().filter(|n| (1..=1000).contains(n)) {
        let packing = Packing::new(n as usize + 1, 2).unwrap();
        let (column, items, _) = keys(&mut stream, packing, n, n);
        let bytes: Vec<u8> = (0..n as usize * stride).map(|_| u8::try_from(stream.randint(256)).unwrap()).collect();
        let code = |item: u32, lane: usize| bytes[packing.row(item) as usize * stride + features[lane]];
        // The items' rows are the frame's, so that both ways of finding codes are the same.
        for (level, in_order) in Level::all().into_iter().flat_map(|level| [(level, false), (level, true)]) {
            let codes = Codes { bytes: &bytes, stride, in_order };
            for shift in 0..5 {
                let (mut bins, mut places) = ([[0; CODES]; TOGETHER], vec![0; items.len()]);
                tally_codes(level, codes, features, shift, &items, &mut bins, &mut places);
                for (lane, bins) in bins.iter().enumerate() {
                    for (bin, got) in bins.iter().enumerate().step_by(if cfg!(miri) { 37 } else { 1 }) {
                        let own = items.iter().copied().filter(|item| usize::from(code(*item, lane) >> shift) == bin);
                        let (first, second) = weights(packing, own);
                        assert_eq!(*got, u64::from(second) << 32 | u64::from(first), "{level:?}");
                    }
                    assert!(
                        places.iter().zip(&items).all(|(place, item)| place.to_le_bytes()[lane] == code(*item, lane))
                    );
                    check_lane(level, packing, &column, &items, Lane { places: &places, lane });
                }
            }
        }
    }
}

fn check_lane(level: Level, packing: Packing, column: &[u32], items: &[u32], codes: Lane<'_>) {
    let code = |at: usize| u32::from(codes.places[at].to_le_bytes()[codes.lane]);
    let mut set = CodeSet::default();
    (0..256).filter(|code| code % 5 == 0).for_each(|code| set[code / 32] |= 1 << (code % 32));
    let mut chosen = vec![0; items.len()];
    let n = choose(level, items, codes, &set, &mut chosen);
    let expected: Vec<u32> = (0..items.len()).filter(|at| code(*at) % 5 == 0).map(|at| items[at]).collect();
    assert_eq!(chosen[..n], expected);
    // A row's own code and key are on the left.
    let cut = (code(0), column[packing.row(items[0]) as usize] | packing.low());
    let goes_left = |at: &usize| (code(*at), column[packing.row(items[*at]) as usize] | packing.low()) <= cut;
    let mut found = vec![0; items.len().div_ceil(16)];
    let column = table(column).column(0);
    let n_left = (0..items.len()).filter(|at| goes_left(at)).count();
    assert_eq!(mark_codes(level, column, cut, codes, items, &mut found), n_left);
    let places: Vec<usize> = (0..items.len()).collect();
    assert!(places.chunks(16).map(|places| marks(places.iter().map(goes_left))).eq(found), "{level:?}");
}
