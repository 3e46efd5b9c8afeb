//! Parameters: scikit-learn's names, defaults and ranges.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use regrove_forest::params::{ClassWeight, Criterion, FeatureRoot, MaxFeatures, RowCount};
use regrove_forest::{
    Error, Estimator, FitOptions, Frame, Label, RandomForestParams, Target, TargetError, fit, fit_range,
};
use serde_json::json;

fn read(value: serde_json::Value) -> Result<RandomForestParams, serde_json::Error> {
    serde_json::from_value(value)
}

#[test]
fn defaults_are_scikit_learns_for_each_estimator() {
    assert_eq!(read(json!({})).unwrap(), RandomForestParams::default());
    let regressor = read(json!({"estimator": "ExtraTreesRegressor"})).unwrap();
    assert_eq!(regressor, RandomForestParams::of(Estimator::ExtraTreesRegressor));
    assert_eq!(regressor.criterion, Criterion::SquaredError);
    assert_eq!(regressor.max_features, MaxFeatures::Fraction(1.0));
    assert!(!regressor.bootstrap && RandomForestParams::default().bootstrap);
    assert_eq!(RandomForestParams::default().max_features, MaxFeatures::Root(FeatureRoot::Sqrt));
}

#[test]
fn a_whole_number_is_not_a_fraction_and_null_is_all_features() {
    let params = read(json!({"max_features": 1, "min_samples_leaf": 1.0, "max_samples": 0.5})).unwrap();
    assert_eq!(params.max_features, MaxFeatures::Count(1));
    assert_eq!(params.min_samples_leaf, RowCount::Fraction(1.0));
    assert_eq!(params.max_samples, Some(RowCount::Fraction(0.5)));
    assert_eq!(read(json!({"max_features": null})).unwrap().max_features, MaxFeatures::All);
    assert_eq!(read(json!({"max_features": "log2"})).unwrap().max_features, MaxFeatures::Root(FeatureRoot::Log2));
}

#[test]
fn what_is_written_is_read_again() {
    let text = r#"{"n_estimators":7,"max_features":1.0,"class_weight":{"a":2.0},"monotonic_cst":[1,0],"criterion":"log_loss"}"#;
    let params: RandomForestParams = serde_json::from_str(text).unwrap();
    assert!(
        matches!(&params.class_weight, Some(ClassWeight::ByLabel(weights)) if weights["a"].total_cmp(&2.0).is_eq())
    );
    assert_eq!(read(serde_json::to_value(&params).unwrap()).unwrap(), params);
}

#[test]
fn unknown_names_and_unreadable_values_are_refused_by_name() {
    for (value, part) in [
        (json!({"n_tree": 3}), "unknown field `n_tree`"),
        (json!({"n_jobs": 3}), "unknown field `n_jobs`"),
        (json!({"criterion": "GINI"}), "unknown variant `GINI`"),
        (json!({"max_features": "auto"}), "`max_features` must be"),
        (json!({"class_weight": "even"}), "`class_weight` must be"),
        (json!({"random_state": 4_294_967_296_u64}), "expected u32"),
    ] {
        let error = read(value).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn values_out_of_range_are_refused_with_their_range() {
    let features = "a whole number of at least 1, a fraction in (0.0, 1.0], \"sqrt\", \"log2\" or null";
    for (value, message) in [
        (json!({"n_estimators": 0}), "`n_estimators` must be a whole number in 1..=100000, got 0".to_owned()),
        (
            json!({"n_estimators": 10_000_000}),
            "`n_estimators` must be a whole number in 1..=100000, got 10000000".to_owned(),
        ),
        (json!({"max_depth": 0}), "`max_depth` must be a whole number of at least 1, or null, got 0".to_owned()),
        (json!({"max_features": 0}), format!("`max_features` must be {features}, got 0")),
        (json!({"max_features": 1.5}), format!("`max_features` must be {features}, got 1.5")),
        (json!({"max_features": -1}), format!("`max_features` must be {features}, got -1")),
        (
            json!({"min_samples_split": 1}),
            "`min_samples_split` must be a whole number of at least 2 or a fraction in (0.0, 1.0], got 1".to_owned(),
        ),
        (
            json!({"min_samples_leaf": 1.0}),
            "`min_samples_leaf` must be a whole number of at least 1 or a fraction in (0.0, 1.0), got 1.0".to_owned(),
        ),
        (
            json!({"min_weight_fraction_leaf": 0.6}),
            "`min_weight_fraction_leaf` must be a number in [0.0, 0.5], got 0.6".to_owned(),
        ),
        (
            json!({"max_leaf_nodes": 1}),
            "`max_leaf_nodes` must be a whole number of at least 2, or null, got 1".to_owned(),
        ),
        (json!({"ccp_alpha": -0.1}), "`ccp_alpha` must be a finite number of at least 0.0, got -0.1".to_owned()),
        (
            json!({"bootstrap": false, "oob_score": true}),
            "`oob_score` must be false when `bootstrap` is false, got true".to_owned(),
        ),
        (
            json!({"bootstrap": false, "max_samples": 5}),
            "`max_samples` must be null when `bootstrap` is false, got 5".to_owned(),
        ),
        (json!({"monotonic_cst": [2]}), "`monotonic_cst` must be a list of -1, 0 or 1, got 2".to_owned()),
        (
            json!({"class_weight": {"a": -1.0}}),
            "`class_weight` must be finite weights of at least 0, got a: -1".to_owned(),
        ),
        (
            json!({"criterion": "squared_error"}),
            "`criterion` must be gini, entropy or log_loss for RandomForestClassifier, got SquaredError".to_owned(),
        ),
    ] {
        assert_eq!(read(value).unwrap().check().unwrap_err().to_string(), message);
    }
    let nan = RandomForestParams { max_features: MaxFeatures::Fraction(f64::NAN), ..RandomForestParams::default() };
    assert_eq!(nan.check().unwrap_err().to_string(), format!("`max_features` must be {features}, got NaN"));
}

fn frame(labels: &[i64]) -> Frame {
    let labels: Vec<Label> = labels.iter().map(|label| Label::Int(*label)).collect();
    let mut value = 0.0;
    let column = labels.iter().map(|_| {
        value += 1.0;
        value
    });
    Frame::new(vec!["a".to_owned()], column.collect(), "y", Target::from_labels(&labels)).unwrap()
}

#[test]
fn data_that_cannot_be_learned_are_refused() {
    let message = |frame: &Frame, value: serde_json::Value| fit(frame, &read(value).unwrap()).unwrap_err().to_string();
    let one = frame(&[3, 3]);
    assert_eq!(message(&one, json!({})), "the target has one class only, `3`; a classifier needs two");
    let two = frame(&[0, 1, 1]);
    assert_eq!(
        message(&two, json!({"estimator": "RandomForestRegressor"})),
        "RandomForestRegressor needs numbers as target, not class labels"
    );
    assert_eq!(
        message(&two, json!({"monotonic_cst": [0, 1]})),
        "`monotonic_cst` must be one number per feature (1), got 2 numbers"
    );
    assert_eq!(
        message(&two, json!({"class_weight": {"7": 1.0}})),
        "`class_weight` must be a map whose labels are among 0, 1, got `7`"
    );
    let numbers = Frame::new(vec!["a".to_owned()], vec![1.0], "y", Target::Values(vec![f64::NAN])).unwrap();
    assert_eq!(message(&numbers, json!({"estimator": "RandomForestRegressor"})), "row 1: the target NaN is not finite");
    assert_eq!(message(&numbers, json!({})), "RandomForestClassifier needs class labels as target, not numbers");
    let target = |frame: &Frame, value| match fit(frame, &read(value).unwrap()) {
        Err(Error::Target(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(&one, json!({})), TargetError::OneClass(Label::Int(3)));
    assert_eq!(target(&frame(&[7]), json!({})), TargetError::OneClass(Label::Int(7)), "one row");
    let regressor = Estimator::RandomForestRegressor;
    assert_eq!(target(&two, json!({"estimator": regressor})), TargetError::NotNumbers(regressor));
    assert!(matches!(target(&numbers, json!({"estimator": regressor})), TargetError::NotFinite { row: 1, .. }));
    assert_eq!(target(&numbers, json!({})), TargetError::NotClasses(Estimator::RandomForestClassifier));
    let empty = fit_range(&two, &RandomForestParams::default(), 5..5, &FitOptions::default()).unwrap_err();
    assert_eq!(empty.to_string(), "`range` must be a non-empty part of 0..100 trees, got 5..5");
}

#[test]
fn hard_data_are_learned() {
    let params = |value| read(value).unwrap();
    // One row of each class; constant and all-missing columns; labels with gaps.
    let labels = Target::from_labels(&[Label::Int(-5), Label::Int(70)]);
    let columns = vec![2.0, 2.0, f32::NAN, f32::NAN];
    let stuck = Frame::new(vec!["a".to_owned(), "b".to_owned()], columns, "y", labels).unwrap();
    for splitter in ["best", "hist"] {
        let params = params(json!({"n_estimators": 3, "bootstrap": false, "splitter": splitter}));
        let forest = fit(&stuck, &params).unwrap();
        assert!(forest.trees().iter().all(|tree| tree.node_count() == 1));
        assert_eq!(forest.predict_proba(&[1.0, 2.0]).unwrap(), [0.5, 0.5]);
        assert_eq!(forest.feature_importances(), [0.0, 0.0]);
        let forest = fit(&frame(&[-5, -5, 70, 70]), &params).unwrap();
        assert_eq!(forest.predict(&[1.0, 4.0]).unwrap(), [Label::Int(-5), Label::Int(70)]);
    }
    let forest = fit(&frame(&[-5, -5, 70, 70]), &params(json!({"n_estimators": 3, "bootstrap": false}))).unwrap();
    assert!(forest.predict(&[f32::INFINITY]).unwrap_err().to_string().starts_with("row 0, feature `a`: inf"));
}

/// What scikit-learn makes of a single row, the differential test asks it; here also with bins and constraints.
#[test]
fn regressors_learn_from_one_row() {
    let numbers = Frame::new(vec!["a".to_owned()], vec![1.0], "y", Target::Values(vec![-2.5])).unwrap();
    for more in [json!({}), json!({"splitter": "hist"}), json!({"monotonic_cst": [1]})] {
        let mut params = json!({"estimator": "RandomForestRegressor", "n_estimators": 2});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let forest = fit(&numbers, &read(params).unwrap()).unwrap();
        assert!(forest.trees().iter().all(|tree| tree.node_count() == 1), "{more}");
        assert_eq!(forest.predict_values(&[9.0]).unwrap(), [-2.5], "{more}");
    }
}
