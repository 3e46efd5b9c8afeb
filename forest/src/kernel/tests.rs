use super::{
    Level, Packing, RowSet, SECTION_ROWS, Side, Wanted, next_within, pair_costs, pair_sums, partition, renumber,
    select, smallest,
};
use crate::random::RandomState;

/// Items of distinct rows in random order, some of weight 0.
fn order(stream: &mut RandomState, packing: Packing, n: u32, n_classes: u32) -> (Vec<u32>, Vec<u8>) {
    let mut rows: Vec<u32> = (0..n).collect();
    stream.shuffle(&mut rows);
    let order = rows.into_iter().map(|row| packing.item(row, stream.randint(n_classes))).collect();
    let weights = (0..n).map(|_| u8::try_from(stream.randint(6).saturating_sub(1)).unwrap()).collect();
    (order, weights)
}

/// Numbers of rows about those that are worked on together; the fewest that take every way where Miri interprets them.
pub(super) fn sizes() -> impl Iterator<Item = u32> {
    let all = (0..70).chain([127, 128, 129, 1000, 4099]);
    all.filter(|n| !cfg!(miri) || [0, 1, 15, 16, 17, 35].contains(n))
}

#[test]
fn every_level_selects_partitions_and_measures_alike() {
    let mut stream = RandomState::new(3);
    for n in sizes() {
        let packing = Packing::new(n as usize, 2).unwrap();
        let (order, weights) = order(&mut stream, packing, n, 2);
        let mut items = vec![0; order.len()];
        let len = select(Level::Portable, packing, &order, &weights, &mut items);
        let expected: Vec<u32> = order
            .iter()
            .map(|item| item | u32::from(weights[packing.row(*item) as usize]))
            .filter(|item| Packing::weight(*item) > 0)
            .collect();
        assert_eq!(items[..len], expected);
        let mut set = RowSet::default();
        // The sets of sections have one size, in which the rows may be fewer.
        set.reset(if n < 1000 { SECTION_ROWS } else { n as usize });
        (0..n).filter(|row| row % 3 == 0).for_each(|row| set.insert(row));
        let sums = pair_sums(Level::Portable, &expected);
        let total = (u32::try_from(sums.0).unwrap(), u32::try_from(sums.1).unwrap());
        let measured = measure(&expected, total);
        for level in Level::all() {
            let mut items = vec![0; order.len()];
            assert_eq!(select(level, packing, &order, &weights, &mut items), len);
            assert_eq!(items[..len], expected, "{level:?}, {n} rows");
            check_partition(level, packing, &expected, &set);
            check_renumber(level, packing, &expected, n);
            assert_eq!(pair_sums(level, &expected), sums);
            let mut costs = vec![0.0; len];
            pair_costs(level, &expected, total, &mut costs);
            for (cost, expected) in costs.iter().zip(&measured).take(len.saturating_sub(1)) {
                assert_eq!(cost.to_bits(), expected.to_bits(), "{level:?}, {n} rows");
            }
        }
    }
}

fn check_partition(level: Level, packing: Packing, items: &[u32], set: &RowSet) {
    for set_is_right in [false, true] {
        let goes_left = |item: &u32| packing.row(*item).is_multiple_of(3) != set_is_right;
        let (left, right): (Vec<u32>, Vec<u32>) = items.iter().copied().partition(goes_left);
        for wanted in [Wanted { left: true, right: true }, Wanted { left: true, right: false }] {
            let (mut column, mut spare) = (items.to_vec(), vec![0; items.len()]);
            let side = Side { set, is_right: set_is_right };
            partition(level, packing, &mut column, &mut spare, side, wanted);
            assert_eq!(column[..left.len()], left);
            if wanted.right {
                assert_eq!(column[left.len()..], right);
            }
        }
    }
}

fn check_renumber(level: Level, packing: Packing, items: &[u32], n: u32) {
    let numbers: Vec<u32> = (0..n).rev().collect();
    let mut changed = items.to_vec();
    renumber(level, packing, &mut changed, &numbers);
    for (item, changed) in items.iter().zip(&changed) {
        assert_eq!(packing.row(*changed), n - 1 - packing.row(*item));
        assert_eq!(packing.class(*changed), packing.class(*item));
        assert_eq!(Packing::weight(*changed), Packing::weight(*item));
    }
}

/// Costs by definition, in the order of operations that all levels keep.
fn measure(items: &[u32], total: (u32, u32)) -> Vec<f32> {
    let mut left = (0, 0);
    let cost = |item: &u32| {
        if item >> Packing::WEIGHT_BITS & 1 == 0 {
            left.0 += Packing::weight(*item);
        } else {
            left.1 += Packing::weight(*item);
        }
        super::portable::pair_cost(left, total)
    };
    items.iter().map(cost).collect()
}

#[test]
fn costs_are_those_of_the_impurity() {
    let cost = super::portable::pair_cost((3, 1), (5, 7));
    let gini = |a: f64, b: f64| (a + b) * (1.0 - (a * a + b * b) / ((a + b) * (a + b)));
    assert!((2.0 * f64::from(cost) - gini(3.0, 1.0) - gini(2.0, 6.0)).abs() < 1e-6);
}

#[test]
fn the_smallest_number_and_those_within_a_limit_are_found_anywhere() {
    for level in Level::all() {
        assert!(smallest(level, &[]).is_infinite());
        assert_eq!(next_within(level, &[], 0, 1.0), None);
        for n in [1, 15, 16, 17, 33, 100] {
            for place in 0..n {
                let mut costs = vec![2.0; n];
                costs[place] = 0.5;
                assert_eq!(smallest(level, &costs).to_bits(), 0.5_f32.to_bits());
                assert_eq!(next_within(level, &costs, 0, 0.5), Some(place));
                assert_eq!(next_within(level, &costs, place, 0.5), Some(place));
                assert_eq!(next_within(level, &costs, place + 1, 0.5), None);
            }
        }
    }
}

#[test]
fn items_hold_rows_classes_and_weights_up_to_their_bits() {
    let packing = Packing::new(1 << 24, 16).unwrap();
    let item = packing.item((1 << 24) - 1, 15) | Packing::MAX_WEIGHT;
    assert_eq!((packing.row(item), packing.class(item), Packing::weight(item)), ((1 << 24) - 1, 15, 15));
    assert_eq!(Packing::new((1 << 24) + 1, 16), None);
    assert!(Packing::new(1 << 27, 2).is_some());
}
