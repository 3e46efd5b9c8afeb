//! The forest behind linfa's traits.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use linfa::prelude::*;
use linfa::traits::{Fit, Predict};
use ndarray::{Array1, Array2};
use regrove_forest::datasets::{ClassificationParams, make_classification};
use regrove_forest::linfa_traits::RandomForest;
use regrove_forest::{Error, RandomForestParams, fit};

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
}
