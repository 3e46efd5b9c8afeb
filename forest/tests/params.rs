//! Parameters: scikit-learn's names, defaults and ranges.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use regrove_forest::params::{CLASSES_MAX, ClassWeight, Criterion, FeatureRoot, MaxFeatures, RowCount};
use regrove_forest::{
    Error, Estimator, FitOptions, Frame, Label, RandomForestParams, Target, TargetError, fit, fit_range, fit_tree,
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
    let whole_or = |least: u8, end: char| format!("a whole number of at least {least} or a fraction in (0.0, 1.0{end}");
    for (name, value, allowed) in [
        ("estimator", json!("x"), "RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier".to_owned()),
        ("n_estimators", json!("abc"), "a whole number in 1..=100000, got".to_owned()),
        ("n_estimators", json!(null), "a whole number in 1..=100000, got".to_owned()),
        ("criterion", json!("GINI"), "gini, entropy or log_loss for a classifier, squared_error for a".to_owned()),
        ("max_depth", json!("abc"), "a whole number of at least 1, or null, got".to_owned()),
        ("max_depth", json!(2.5), "a whole number of at least 1, or null, got".to_owned()),
        ("min_samples_split", json!("abc"), whole_or(2, ']')),
        ("min_samples_leaf", json!([1]), whole_or(1, ')')),
        ("min_weight_fraction_leaf", json!("abc"), "a number in [0.0, 0.5], got".to_owned()),
        ("max_features", json!("auto"), "a whole number of at least 1, a fraction in (0.0, 1.0], \"sqrt\"".to_owned()),
        ("max_leaf_nodes", json!(-7), "a whole number of at least 2, or null, got".to_owned()),
        ("min_impurity_decrease", json!("nan"), "a finite number of at least 0.0, got".to_owned()),
        ("bootstrap", json!(1), "true or false, got".to_owned()),
        ("oob_score", json!("yes"), "true or false, got".to_owned()),
        ("random_state", json!(-1), "a whole number in 0..=4294967295, or null for 0, got".to_owned()),
        ("random_state", json!(4_294_967_296_u64), "a whole number in 0..=4294967295, or null for 0, got".to_owned()),
        (
            "max_samples",
            json!("abc"),
            "a whole number in 1..=4294967295, a fraction in (0.0, 4294967295.0] or null".to_owned(),
        ),
        (
            "class_weight",
            json!("even"),
            "\"balanced\", \"balanced_subsample\", a map from label to a finite".to_owned(),
        ),
        ("class_weight", json!({"a": "x"}), "\"balanced\", \"balanced_subsample\", a map from label".to_owned()),
        ("ccp_alpha", json!("abc"), "a finite number of at least 0.0, got".to_owned()),
        ("monotonic_cst", json!(1), "a list of -1, 0 or 1, or null, got".to_owned()),
        ("splitter", json!("x"), "\"best\" or \"hist\", got".to_owned()),
        ("max_bins", json!("abc"), "a whole number in 2..=255, got".to_owned()),
        ("row_parts", json!(0.5), "a whole number in 1..=`n_estimators`, or null, got".to_owned()),
    ] {
        let error = read(json!({name: value})).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{name}` must be {allowed}")), "{error}");
        assert!(error.ends_with(&format!(", got {value}")), "{error}");
    }
    let long = read(json!({"splitter": "x".repeat(1_000_000)})).unwrap_err().to_string();
    assert!(long.len() < 200, "{} bytes", long.len());
    for name in ["n_tree", "n_jobs"] {
        let error = read(json!({name: 3})).unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown parameter `{name}`: it must be one of estimator, ")), "{error}");
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
        (json!({"monotonic_cst": [2]}), "`monotonic_cst` must be a list of -1, 0 or 1, or null, got 2".to_owned()),
        (
            json!({"class_weight": {"a": -1.0}}),
            "`class_weight` must be \"balanced\", \"balanced_subsample\", a map from label to a finite weight of at least \
             0.0, or null, got a: -1"
                .to_owned(),
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
fn a_parameter_that_is_there_twice_is_refused() {
    let error = serde_json::from_str::<RandomForestParams>(r#"{"n_estimators": 3, "n_estimators": 4}"#).unwrap_err();
    assert!(error.to_string().starts_with("parameter `n_estimators` is there twice"), "{error}");
    let error = serde_json::from_str::<RandomForestParams>("[3]").unwrap_err().to_string();
    assert!(error.contains("an object of parameters"), "{error}");
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

/// scikit-learn 1.9.1 raises "Unknown label type: continuous", also for few of them.
#[test]
fn numbers_with_fractions_are_no_classes_if_they_are_many() {
    let learn = |labels: &[Label], estimator| {
        let columns = (0..u16::try_from(labels.len()).unwrap()).map(f32::from).collect();
        let frame = Frame::new(vec!["a".to_owned()], columns, "y", Target::from_labels(labels)).unwrap();
        fit(&frame, &RandomForestParams { n_estimators: 1, ..RandomForestParams::of(estimator) })
    };
    let classifiers = [
        (Estimator::RandomForestClassifier, "RandomForestRegressor"),
        (Estimator::ExtraTreesClassifier, "ExtraTreesRegressor"),
        (Estimator::DecisionTreeClassifier, "DecisionTreeRegressor"),
        (Estimator::LinfaTree, "DecisionTreeRegressor"),
    ];
    for (estimator, regressor) in classifiers {
        for labels in [
            &[Label::Float(1.0), Label::Float(2.5)][..],
            &[Label::Float(-0.25), Label::Float(0.5), Label::Float(-0.25)],
        ] {
            let error = learn(labels, estimator).unwrap_err();
            assert!(matches!(&error, Error::Target(TargetError::Continuous { .. })), "{error}");
            assert!(error.to_string().contains(&format!("use {regressor} (`estimator`)")), "{error}");
        }
        let whole = learn(&[Label::Float(1.0), Label::Float(2.0)], estimator).unwrap();
        assert_eq!(whole.classes().len(), 2, "whole numbers as float64");
        let few: Vec<Label> = [0.5, 1.5, 0.5, 1.5].map(Label::Float).into();
        assert_eq!(learn(&few, estimator).unwrap().classes(), &few[..2]);
    }
}

#[test]
fn classes_are_bounded() {
    let target = |n_classes: u32| {
        let classes = (0..n_classes).map(|class| Label::Int(class.into())).collect();
        Frame::new(vec!["a".to_owned()], vec![1.0, 2.0], "y", Target::Classes { classes, indexes: vec![0, 1] }).unwrap()
    };
    let params = RandomForestParams { n_estimators: 1, ..RandomForestParams::default() };
    let most = u32::try_from(CLASSES_MAX).unwrap();
    assert_eq!(fit(&target(most), &params).unwrap().classes().len(), CLASSES_MAX);
    assert_eq!(
        fit(&target(most + 1), &params).unwrap_err().to_string(),
        "the target has 10001 classes, at most 10000 can be learned: use RandomForestRegressor (`estimator`) if it is a \
         number, or join classes"
    );
}

#[test]
fn linfas_tree_is_none_of_scikit_learns() {
    let error = fit_tree(&frame(&[0, 1, 1]), &RandomForestParams::of(Estimator::LinfaTree), 0).unwrap_err();
    assert!(matches!(&error, Error::Param(error) if error.name == "estimator"), "{error}");
    assert_eq!(
        error.to_string(),
        "`estimator` must be an estimator of scikit-learn's; `fit` grows linfa's tree, got linfa-tree"
    );
}

/// scikit-learn takes them: no tree is that deep, and no node has so many rows.
#[test]
fn counts_beyond_32_bits_mean_no_more_than_the_largest_one() {
    for name in ["max_depth", "max_leaf_nodes", "max_features", "min_samples_split", "min_samples_leaf"] {
        let largest = read(json!({name: u32::MAX})).unwrap();
        assert_eq!(serde_json::to_value(&largest).unwrap()[name], json!(u32::MAX));
        for beyond in [1 << 32, 99_999_999_999, u64::MAX] {
            assert_eq!(read(json!({name: beyond})).unwrap(), largest, "{name}");
        }
        largest.check().unwrap();
        let forest =
            fit(&frame(&[0, 1, 0, 1]), &RandomForestParams { n_estimators: 1, bootstrap: false, ..largest }).unwrap();
        assert_eq!(forest.trees()[0].node_count() > 1, name.starts_with("max"), "{name}");
    }
    let allowed = "a whole number in 1..=4294967295, a fraction in (0.0, 4294967295.0] or null";
    let error = read(json!({"max_samples": 99_999_999_999_u64})).unwrap().check().unwrap_err();
    assert_eq!(error.to_string(), format!("`max_samples` must be {allowed}, got 99999999999.0"));
}

/// scikit-learn 1.9.1 raises `ValueError` for forests ("probabilities contain NaN", "must contain at least one non-zero
/// number"), and fits the same leaf of `[0.0, 1.0]` where only the first class weighs nothing.
#[test]
fn classes_may_weigh_nothing_but_not_all_of_them() {
    let rows = frame(&[0, 1, 0, 1, 0, 1]);
    for estimator in ["RandomForestClassifier", "ExtraTreesClassifier", "DecisionTreeClassifier"] {
        let weigh = |first: f64, second: f64| {
            let weights = json!({"0": first, "1": second});
            let n_estimators = if estimator.starts_with("Decision") { 1 } else { 9 };
            let params = json!({"estimator": estimator, "n_estimators": n_estimators, "class_weight": weights});
            fit(&rows, &read(params).unwrap())
        };
        for (weights, total) in [((0.0, 0.0), "0.0"), ((f64::MAX, f64::MAX), "inf")] {
            let error = weigh(weights.0, weights.1).unwrap_err();
            assert!(matches!(&error, Error::Param(error) if error.name == "class_weight"), "{estimator}: {error}");
            assert_eq!(
                error.to_string(),
                format!(
                    "`class_weight` must be weights of which the training rows have a finite sum above 0.0, got a sum of \
                     {total}"
                )
            );
        }
        for second in [1.0, 1e-300] {
            let forest = weigh(0.0, second).unwrap();
            assert!(forest.trees().iter().all(|tree| tree.node_count() == 1), "{estimator}");
            assert_eq!(forest.predict_proba(&[1.0, 2.0]).unwrap(), [0.0, 1.0, 0.0, 1.0], "{estimator}");
        }
    }
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
