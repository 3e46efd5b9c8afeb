use super::{Division, Span, fill, find, range};
use crate::kernel::keys::Table;
use crate::kernel::tests::sizes;
use crate::kernel::{Level, Packing};
use crate::random::RandomState;

/// A block of random keys with other keys around the node, and the node's place.
fn block(stream: &mut RandomState, n: usize, n_columns: usize) -> (Vec<u32>, Span) {
    let stride = n + 21;
    let span = Span { start: 3, end: 3 + n, stride, n_columns };
    ((0..stride * n_columns).map(|_| stream.randint(u32::MAX)).collect(), span)
}

#[test]
fn every_level_fills_a_block_with_the_keys_of_its_rows() {
    let mut stream = RandomState::new(14);
    for (n, n_features) in [(1, 1), (15, 20), (16, 3), (40, 20), (33, 70)] {
        let n_rows = 50;
        let packing = Packing::new(n_rows, 2).unwrap();
        let ranks: Vec<u32> = (0..n_rows * n_features).map(|_| packing.item(stream.randint(50), 0)).collect();
        let items: Vec<u32> = (0..n).map(|_| packing.item(stream.randint(50), stream.randint(2)) | 3).collect();
        for level in Level::all() {
            let (mut columns, span) = block(&mut stream, n, n_features + 1);
            let before = columns.clone();
            fill(level, packing, Table { ranks: &ranks, n_features }, &items, span, &mut columns);
            for (at, key) in columns.iter().enumerate() {
                let (feature, place) = (at / span.stride, at % span.stride);
                let expected = if feature < n_features && (span.start..span.end).contains(&place) {
                    let item = items[place - span.start];
                    ranks[packing.row(item) as usize * n_features + feature] | item & packing.low()
                } else {
                    before[at]
                };
                assert_eq!(*key, expected, "{level:?} {n} {at}");
            }
        }
    }
}

#[test]
fn every_level_divides_all_columns_alike_and_nothing_else() {
    let mut stream = RandomState::new(15);
    for n in sizes().map(|n| n as usize).filter(|n| *n > 0) {
        let (before, span) = block(&mut stream, n, 4);
        let by = span.of(&before, 1);
        for last in [by[n / 2], 0, u32::MAX] {
            for level in Level::all() {
                let mut division = Division::default();
                let n_left = division.by_keys(level, by, last);
                assert_eq!(n_left, by.iter().filter(|key| **key <= last).count());
                let mut again = Division::default();
                assert_eq!((again.by_place(n, |place| by[place] <= last), &again.marks), (n_left, &division.marks));
                let largest = by.iter().copied().filter(|key| *key <= last).max().unwrap_or(0);
                let smallest = by.iter().copied().filter(|key| *key > last).min().unwrap_or(u32::MAX);
                assert_eq!(division.border(), (largest, smallest));
                let mut after = before.clone();
                division.divide(level, 1..4, span, &mut after);
                let rows = |block: &[u32]| {
                    let row = |place| [1, 2, 3].map(|column| block[column * span.stride + place]);
                    (span.start..span.end).map(row).collect::<Vec<_>>()
                };
                let (mut rows_before, mut rows_after) = (rows(&before), rows(&after));
                assert!(rows_after[..n_left].iter().all(|row| row[0] <= last), "{level:?} {n}");
                assert!(rows_after[n_left..].iter().all(|row| row[0] > last), "{level:?} {n}");
                rows_before.sort_unstable();
                rows_after.sort_unstable();
                assert_eq!(rows_after, rows_before, "{level:?} {n}");
                let outside = |at: &usize| *at < span.stride || !(span.start..span.end).contains(&(at % span.stride));
                assert!((0..after.len()).filter(outside).all(|at| after[at] == before[at]), "{level:?} {n}");
            }
        }
        for level in Level::all() {
            assert_eq!(find(level, by, by[n - 1]), by.iter().position(|key| *key == by[n - 1]));
            assert_eq!(find(level, &by[..n - 1], 7), None);
            assert_eq!(Some(range(level, by)), by.iter().min().copied().zip(by.iter().max().copied()));
        }
    }
}
