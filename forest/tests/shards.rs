//! Trees depend on nothing but data, parameters and their index.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use regrove_forest::datasets::Synthetic;
use regrove_forest::inspection::permutation_importance;
use regrove_forest::model_selection::{Measures, measure};
use regrove_forest::{
    Error, FitOptions, Forest, Frame, Label, MergeError, Model, RandomForestParams, Target, fit, fit_more, fit_range,
};

fn frame() -> Frame {
    let uri = "make_classification?n_samples=200&n_features=8&n_informative=4&n_classes=3&random_state=1";
    Synthetic::parse(uri).unwrap().frame().unwrap()
}

fn params() -> RandomForestParams {
    RandomForestParams { n_estimators: 12, random_state: 9, ..RandomForestParams::default() }
}

fn shard(range: std::ops::Range<u32>) -> Forest {
    fit_range(&frame(), &params(), range, &FitOptions::default()).unwrap()
}

#[test]
fn every_partition_and_order_gives_the_same_bytes() {
    let whole = fit(&frame(), &params()).unwrap().to_bytes().unwrap();
    for cuts in [vec![0, 12], vec![0, 1, 12], vec![0, 5, 6, 11, 12], (0..=12).collect()] {
        let mut shards: Vec<Forest> = cuts.windows(2).map(|cut| shard(cut[0]..cut[1])).collect();
        shards.reverse();
        // Through bytes, as shards travel.
        let read = |shard: Forest| Model::from_bytes(Arc::new(shard.to_bytes().unwrap())).unwrap().to_forest().unwrap();
        let merged = Forest::merge(shards.into_iter().map(read).collect()).unwrap();
        assert!(merged.is_whole());
        assert_eq!(merged.to_bytes().unwrap(), whole);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit(&frame(), &params())).unwrap().to_bytes().unwrap()
    };
    let one = bytes(1);
    assert_eq!(bytes(2), one);
    assert_eq!(bytes(7), one);
}

/// Whether or not there are trees to grow.
#[test]
fn a_warm_start_on_other_data_is_refused() {
    let other = frame().take(&(0..150).collect::<Vec<_>>()).unwrap();
    for range in [0..3, 0..12] {
        let error = fit_more(shard(range.clone()), &other, &params(), &FitOptions::default()).unwrap_err();
        let differs = MergeError::Differs { field: "data_sha256", from: 0, to: range.end };
        assert!(matches!(error, Error::Merge(error) if error == differs));
    }
}

/// Measures of a data set in which a class does not occur, whose own classes are not the forest's.
#[test]
fn classes_without_rows_are_no_other_classes() {
    let (whole, forest) = (frame(), fit(&frame(), &params()).unwrap());
    let rows: Vec<usize> = (0..whole.n_samples()).filter(|row| whole.class_indexes()[*row] != 1).collect();
    let with_all = whole.take(&rows).unwrap();
    let renamed = |name: fn(u32) -> i64| {
        let labels: Vec<Label> = with_all.class_indexes().iter().map(|class| Label::Int(name(*class))).collect();
        let columns = with_all.columns().to_vec();
        Frame::new(whole.feature_names().to_vec(), columns, "target", Target::from_labels(&labels)).unwrap()
    };
    let lacking = renamed(i64::from);
    assert_eq!((lacking.classes().len(), with_all.classes().len()), (2, 3));
    let Measures::Classification(measured) = measure(&forest, &lacking).unwrap() else { panic!("no classes") };
    assert_eq!(Measures::Classification(measured.clone()), measure(&forest, &with_all).unwrap());
    assert_eq!((measured.confusion_matrix.len(), measured.roc_auc), (3, None));
    let importances = permutation_importance(&forest, &lacking, 2, 1).unwrap();
    assert_eq!(importances, permutation_importance(&forest, &with_all, 2, 1).unwrap());
    let unknown = renamed(|class| i64::from(class) + 1);
    let error = measure(&forest, &unknown).unwrap_err();
    assert!(matches!(&error, Error::UnknownClass(Label::Int(3))), "{error}");
    assert!(matches!(permutation_importance(&forest, &unknown, 2, 1), Err(Error::UnknownClass(_))));
}

#[test]
fn shards_that_do_not_make_a_forest_are_refused() {
    let merge = |shards| Forest::merge(shards).unwrap_err();
    assert_eq!(merge(vec![]), MergeError::Empty);
    assert_eq!(merge(vec![shard(0..3), shard(5..12)]), MergeError::Gap { from: 3, to: 5 });
    assert_eq!(merge(vec![shard(0..6), shard(4..12)]), MergeError::Overlap { from: 4, to: 6 });
    assert_eq!(merge(vec![shard(0..6), shard(0..6)]), MergeError::Overlap { from: 0, to: 6 });
    let part = shard(3..6).part(5..9).unwrap_err();
    assert_eq!(part.to_string(), "trees 5..9 are not a part of the trees 3..6 that are here");
    let other = RandomForestParams { random_state: 10, ..params() };
    let other = fit_range(&frame(), &other, 6..12, &FitOptions::default()).unwrap();
    assert_eq!(merge(vec![shard(0..6), other]), MergeError::Differs { field: "params", from: 6, to: 12 });
    let data = frame().take(&(0..150).collect::<Vec<_>>()).unwrap();
    let data = fit_range(&data, &params(), 6..12, &FitOptions::default()).unwrap();
    assert_eq!(merge(vec![shard(0..6), data]), MergeError::Differs { field: "data_sha256", from: 6, to: 12 });
}

#[test]
fn trees_can_be_used_again_in_a_larger_forest() {
    let larger = RandomForestParams { n_estimators: 20, oob_score: true, ..params() };
    let old = fit(&frame(), &params()).unwrap().for_params(&larger).unwrap();
    let new = fit_range(&frame(), &larger, 12..20, &FitOptions::default()).unwrap();
    let merged = Forest::merge(vec![new, old]).unwrap();
    assert_eq!(merged, fit(&frame(), &larger).unwrap());
    assert!(merged.for_params(&params()).is_err(), "20 trees do not fit a forest of 12");
    let deeper = RandomForestParams { max_depth: Some(3), ..params() };
    assert!(shard(0..6).for_params(&deeper).is_err());
}

#[test]
fn progress_is_told_and_cancelling_stops() {
    let (calls, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let progress = |done| {
        calls.fetch_add(1, Ordering::Relaxed);
        most.fetch_max(done, Ordering::Relaxed);
    };
    let options = FitOptions { progress: Some(&progress), cancel: None };
    fit_range(&frame(), &params(), 3..12, &options).unwrap();
    assert_eq!((calls.into_inner(), most.into_inner()), (9, 9));

    let cancel = AtomicBool::new(false);
    let stop_at_first = |_| cancel.store(true, Ordering::Relaxed);
    let options = FitOptions { progress: Some(&stop_at_first), cancel: Some(&cancel) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let error = pool.install(|| fit_range(&frame(), &params(), 0..12, &options)).unwrap_err();
    assert!(matches!(error, Error::Cancelled { trees_done: 1, trees: 12 }), "{error}");
}
