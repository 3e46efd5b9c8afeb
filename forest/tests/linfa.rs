//! The forest behind linfa's traits.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use linfa::prelude::*;
use linfa::traits::{Fit, Predict};
use ndarray::{Array1, Array2};
use regrove_forest::datasets::{ClassificationParams, make_classification};
use regrove_forest::linfa_traits::{ForestRegression, RandomForest};
use regrove_forest::params::ClassWeight;
use regrove_forest::{Error, Estimator, Forest, Frame, RandomForestParams, Target, fit};

fn params() -> RandomForestParams {
    RandomForestParams { n_estimators: 9, ..RandomForestParams::default() }
}

fn records(n_samples: usize) -> (Array2<f64>, Vec<u32>) {
    let data = make_classification(&ClassificationParams { n_samples, ..ClassificationParams::default() }).unwrap();
    (Array2::from_shape_vec((n_samples, data.n_features), data.x).unwrap(), data.y)
}

#[test]
fn labels_of_any_kind_come_back() {
    let (x, y) = records(120);
    let names: Array1<String> =
        y.iter().map(|class| if *class == 0 { "no".to_owned() } else { "yes".to_owned() }).collect();
    let dataset = Dataset::new(x.clone(), names.clone());
    let model = RandomForest::from(params()).fit(&dataset).unwrap();
    assert_eq!(model.classes(), ["no", "yes"]);
    let predicted: Array1<String> = model.predict(&x);
    let right = predicted.iter().zip(&names).filter(|(one, other)| one == other).count();
    assert!(right >= 115, "{right} of 120 training rows");
    let accuracy = model.predict(&dataset).confusion_matrix(&dataset).unwrap().accuracy();
    assert!(accuracy > 0.95);
}

#[test]
fn float32_and_float64_records_give_the_forest_of_the_frame() {
    let (x, y) = records(80);
    let frame = make_classification(&ClassificationParams { n_samples: 80, ..ClassificationParams::default() })
        .unwrap()
        .into_frame()
        .unwrap();
    let expected = fit(&frame, &params()).unwrap();
    let targets: Array1<usize> = y.iter().map(|class| *class as usize).collect();
    #[expect(clippy::cast_possible_truncation, reason = "what the frame does")]
    let narrow = x.mapv(|value| value as f32);
    let wide = RandomForest::from(params()).fit(&Dataset::new(x, targets.clone())).unwrap();
    let narrow = RandomForest::from(params()).fit(&Dataset::new(narrow, targets)).unwrap();
    assert_eq!(wide.forest().trees(), expected.trees());
    assert_eq!(narrow.forest().trees(), expected.trees());
}

#[test]
fn bad_parameters_do_not_reach_the_fit() {
    let bad = RandomForestParams { n_estimators: 0, ..params() };
    assert!(RandomForest::from(bad.clone()).check().is_err());
    let (x, y) = records(20);
    let targets: Array1<usize> = y.iter().map(|class| *class as usize).collect();
    let error = RandomForest::from(bad).fit(&Dataset::new(x, targets)).unwrap_err();
    assert!(matches!(error, Error::Param(error) if error.name == "n_estimators"));
    // Each of the two takes its own kind.
    let regressor = RandomForestParams::of(Estimator::RandomForestRegressor);
    let error = RandomForest::from(regressor).check().unwrap_err().to_string();
    let allowed = "a classifier; `ForestRegression` takes regressors";
    assert_eq!(error, format!("`estimator` must be {allowed}, got RandomForestRegressor"));
    assert!(ForestRegression::from(params()).check().is_err());
}

/// Every regressor, in both widths, is the one of the frame.
#[test]
fn regressors_give_the_trees_of_the_frame_in_float32_and_float64() {
    let (x, y) = records(90);
    let values: Array1<f64> = y.iter().zip(x.rows()).map(|(class, row)| f64::from(*class) * 3.0 + row[0]).collect();
    let names: Vec<String> = (0..x.ncols()).map(|feature| format!("x{feature}")).collect();
    #[expect(clippy::cast_possible_truncation, reason = "what is fitted are float32 features")]
    let (narrow, narrow_values) = (x.mapv(|value| value as f32), values.mapv(|value| value as f32));
    let columns: Vec<f32> = narrow.columns().into_iter().flat_map(|column| column.to_vec()).collect();
    for estimator in
        [Estimator::DecisionTreeRegressor, Estimator::RandomForestRegressor, Estimator::ExtraTreesRegressor]
    {
        let mut params = RandomForestParams::of(estimator);
        if !estimator.is_tree() {
            params.n_estimators = 7;
        }
        let of = |values: Vec<f64>| {
            let frame = Frame::new(names.clone(), columns.clone(), "y", Target::Values(values)).unwrap();
            fit(&frame, &params).unwrap()
        };
        let expected = of(values.to_vec());
        let model = ForestRegression::from(params.clone()).fit(&Dataset::new(x.clone(), values.clone())).unwrap();
        assert_eq!(model.forest().trees(), expected.trees(), "{estimator:?}");
        let said: Array1<f64> = model.predict(&x);
        let rows: Vec<f32> = narrow.iter().copied().collect();
        assert_eq!(said.to_vec(), expected.predict_values(&rows).unwrap());

        let expected = of(narrow_values.iter().map(|value| f64::from(*value)).collect());
        let dataset = Dataset::new(narrow.clone(), narrow_values.clone());
        let model = ForestRegression::from(params.clone()).fit(&dataset).unwrap();
        assert_eq!(model.forest().trees(), expected.trees(), "{estimator:?}");
        let r2 = model.predict(&dataset).r2(&dataset).unwrap();
        assert!(r2 > 0.6, "{estimator:?}: {r2}");
    }
}

#[test]
fn a_classifier_is_no_regression_and_values_must_be_finite() {
    let error = ForestRegression::from(params()).check().unwrap_err().to_string();
    assert!(error.contains("`estimator` must be DecisionTreeRegressor, RandomForestRegressor"), "{error}");
    let (x, y) = records(20);
    let mut values: Array1<f64> = y.iter().map(|class| f64::from(*class)).collect();
    values[3] = f64::INFINITY;
    let regression = ForestRegression::from(RandomForestParams::of(Estimator::RandomForestRegressor));
    let error = regression.fit(&Dataset::new(x, values)).unwrap_err().to_string();
    assert!(error.contains("row 4") && error.contains("not finite"), "{error}");
}

#[test]
fn weights_of_a_data_set_are_sample_weights() {
    let (x, y) = records(60);
    let targets: Array1<usize> = y.iter().map(|class| *class as usize).collect();
    let values: Array1<f64> = y.iter().map(|class| f64::from(*class)).collect();
    // Every other row weighs nothing: the forest is that of the others, whose numbers are the same trees'.
    let weights: Array1<f32> = (0..60_u8).map(|row| f32::from(row % 2)).collect();
    let odd: Vec<usize> = (0..60).filter(|row| row % 2 == 1).collect();
    let half = x.select(ndarray::Axis(0), &odd);
    let still = RandomForestParams { bootstrap: false, ..params() };
    let forest = RandomForest::from(still.clone());
    let weighted = forest.fit(&Dataset::new(x.clone(), targets.clone()).with_weights(weights.clone())).unwrap();
    let of_half = forest.fit(&Dataset::new(half.clone(), targets.select(ndarray::Axis(0), &odd))).unwrap();
    assert_eq!(weighted.forest().trees(), of_half.forest().trees());
    let estimator = Estimator::RandomForestRegressor;
    let regression =
        ForestRegression::from(RandomForestParams { estimator, bootstrap: false, ..RandomForestParams::of(estimator) });
    let weighted = regression.fit(&Dataset::new(x.clone(), values.clone()).with_weights(weights)).unwrap();
    let of_half = regression.fit(&Dataset::new(half, values.select(ndarray::Axis(0), &odd))).unwrap();
    assert_eq!(weighted.forest().trees(), of_half.forest().trees());
    let refused = |weights: Array1<f32>| forest.fit(&Dataset::new(x.clone(), targets.clone()).with_weights(weights));
    let error = refused(Array1::from_elem(60, -1.0)).unwrap_err().to_string();
    assert_eq!(error, "row 1: the sample weight is -1.0, it must be a finite number of 0.0 or more");
    let error = refused(Array1::zeros(60)).unwrap_err().to_string();
    assert!(
        error.starts_with("`sample_weight` must be weights of which") && error.ends_with("a sum of 0.0"),
        "{error}"
    );
    assert_eq!(refused(Array1::zeros(59)).unwrap_err().to_string(), "sample_weight has length 59, expected 60");
    // What linfa has where nobody gave weights.
    refused(Array1::zeros(0)).unwrap();
}

#[test]
fn class_weights_name_labels_as_they_are_given() {
    let (x, y) = records(100);
    let weighted = |label: &str| {
        let weights = ClassWeight::ByLabel([(label.to_owned(), 5.0)].into());
        RandomForest::from(RandomForestParams { class_weight: Some(weights), bootstrap: false, ..params() })
    };
    let (numbers, names) =
        (y.iter().map(|class| *class as usize + 1), y.iter().map(|class| ["b", "a"][*class as usize]));
    let numbers = Dataset::new(x.clone(), numbers.collect::<Array1<usize>>());
    let names = Dataset::new(x, names.collect::<Array1<&str>>());
    let second_share = |forest: &Forest| forest.trees()[0].node_value(0)[1];
    let second = second_share(weighted("2").fit(&numbers).unwrap().forest());
    assert!(second > 0.75 && second_share(weighted("1").fit(&numbers).unwrap().forest()) < 0.25, "{second}");
    // `b` is the first label of the data, and the second in order.
    assert!(second_share(weighted("b").fit(&names).unwrap().forest()) > 0.75);
    assert!(second_share(weighted("a").fit(&names).unwrap().forest()) < 0.25);
    let error = weighted("0").fit(&numbers).unwrap_err().to_string();
    assert_eq!(error, "`class_weight` must be a map whose labels are among 1, 2, got `0`");
}
