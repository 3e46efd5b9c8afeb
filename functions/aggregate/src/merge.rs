//! From trained shards to an evaluated forest. Pure but for its length: call it where blocking is allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{Error, Forest, Frame, MergeError, Model, metrics, onnx};

/// A whole forest, ready to be registered.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The native form.
    pub(crate) native: Vec<u8>,
    /// The ONNX form.
    pub(crate) onnx: Vec<u8>,
    /// Number of trees.
    pub(crate) n_estimators: u32,
    /// Metrics by MLflow's key.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Mean decrease in impurity, `(n_features,)`.
    pub(crate) feature_importances: Vec<f64>,
    /// The first row without missing values; where there is none, the first row with zeros in their place.
    pub(crate) input_example: Vec<f64>,
    /// What the forest says of it.
    pub(crate) output_example: Vec<f64>,
}

/// Puts shards together in tree order and measures the result.
///
/// `holdout` holds the same trees grown without the held-out rows; empty when nothing was held out. The artifact store
/// has compared all bytes with their hashes.
///
/// # Errors
/// Shards that do not make one whole forest, or artifacts that are none.
pub(crate) fn merge(
    frame: &Frame,
    shards: Vec<Vec<u8>>,
    holdout: Vec<Vec<u8>>,
    test_size: f64,
) -> Result<Merged, Error> {
    let forest = whole(shards)?;
    let mut measured = BTreeMap::new();
    let trained = measure(&forest, frame)?;
    measured.insert("accuracy".to_owned(), trained.accuracy);
    measured.insert("log_loss".to_owned(), trained.log_loss);
    if forest.params().bootstrap {
        measured.insert("oob_accuracy".to_owned(), forest.oob(frame)?.score);
    }
    if !holdout.is_empty() {
        let (_, held_out) = train_test_split_stratified(frame, test_size, forest.params().random_state)?;
        let held = measure(&whole(holdout)?, &held_out)?;
        measured.insert("holdout_accuracy".to_owned(), held.accuracy);
        measured.insert("holdout_balanced_accuracy".to_owned(), held.balanced_accuracy);
        measured.insert("holdout_log_loss".to_owned(), held.log_loss);
        measured.insert("holdout_f1_macro".to_owned(), held.f1_macro);
        measured.extend(held.roc_auc.map(|auc| ("holdout_roc_auc".to_owned(), auc)));
    }
    measured.retain(|_, value| value.is_finite());
    let input_example = example(frame);
    #[expect(clippy::cast_possible_truncation, reason = "they were float32")]
    let row: Vec<f32> = input_example.iter().map(|value| *value as f32).collect();
    let regressor = forest.params().estimator.is_regressor();
    let output_example = if regressor { forest.predict_values(&row)? } else { forest.predict_proba(&row)? };
    Ok(Merged {
        native: forest.to_bytes()?,
        onnx: onnx::export(&forest)?,
        n_estimators: forest.params().n_estimators,
        metrics: measured,
        feature_importances: forest.feature_importances(),
        input_example,
        output_example,
    })
}

fn example(frame: &Frame) -> Vec<f64> {
    let row = |at: usize| (0..frame.n_features()).map(move |feature| frame.column(feature)[at]);
    let complete = (0..frame.n_samples()).find(|&at| row(at).all(|value| !value.is_nan())).unwrap_or(0);
    row(complete).map(|value| if value.is_nan() { 0.0 } else { f64::from(value) }).collect()
}

fn whole(shards: Vec<Vec<u8>>) -> Result<Forest, Error> {
    let forests = shards
        .into_iter()
        .map(|bytes| Model::from_verified_bytes(Arc::new(bytes)).and_then(|model| model.to_forest()))
        .collect::<Result<Vec<_>, _>>()?;
    let forest = Forest::merge(forests)?;
    if !forest.is_whole() {
        return Err(MergeError::Gap { from: forest.range().end, to: forest.params().n_estimators }.into());
    }
    Ok(forest)
}

fn measure(forest: &Forest, frame: &Frame) -> Result<metrics::Classification, Error> {
    let proba = forest.predict_proba(&frame.rows())?;
    metrics::classification(frame.class_indexes(), &proba, frame.classes().len())
}
