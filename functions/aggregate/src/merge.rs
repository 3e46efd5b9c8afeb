//! From trained shards to an evaluated forest. Pure but for its length: call it where blocking is allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use regrove_events::Artifact;
use regrove_events::event::{CONFUSION_CLASSES_MAX, ConfusionMatrix, MeasuredOn};
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{Forest, Frame, MergeError, Model, RandomForestParams, metrics, onnx};
use regrove_store::artifact;

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
    /// Which classes were taken for which.
    pub(crate) confusion_matrix: Option<ConfusionMatrix>,
    /// The first row without missing values; where there is none, the first row with zeros in their place.
    pub(crate) input_example: Vec<f64>,
    /// What the forest says of it.
    pub(crate) output_example: Vec<f64>,
}

/// The rows of a job as they lie in the artifact store: whole, or in the parts of its shards, of which one at a time is in
/// memory.
pub(crate) struct Rows<'a> {
    /// The frames.
    pub(crate) frames: Vec<Artifact>,
    /// Gets the bytes of one.
    pub(crate) get: &'a dyn Fn(&Artifact) -> Result<Bytes, artifact::Error>,
}

/// Why there is no forest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The shards do not make one, ever.
    #[error(transparent)]
    Forest(#[from] regrove_forest::Error),
    /// The rows cannot be got now.
    #[error(transparent)]
    Store(#[from] artifact::Error),
}

/// Shards of a forest in tree order. The artifact store has compared all bytes with their hashes.
#[derive(Debug)]
pub(crate) struct Grown {
    /// The trees.
    pub(crate) shards: Vec<Vec<u8>>,
    /// The same trees grown without the held-out rows; empty when nothing was held out.
    pub(crate) holdout: Vec<Vec<u8>>,
    /// Share of rows that was held out.
    pub(crate) test_size: f64,
}

impl Grown {
    fn without(&self, trees: Option<u32>) -> Result<Option<Forest>, regrove_forest::Error> {
        if self.holdout.is_empty() { Ok(None) } else { whole(&self.holdout, trees).map(Some) }
    }
}

/// Puts shards together and measures the result: all trees that the forest asks for, or only the first `trees`.
///
/// # Errors
/// Shards that do not make one whole forest, or artifacts that are none.
pub(crate) fn merge(rows: &Rows<'_>, grown: &Grown, trees: Option<u32>) -> Result<Merged, Error> {
    let forest = whole(&grown.shards, trees)?;
    let without = grown.without(trees)?;
    let (mut trained, mut out_of_bag, mut held_out) = (Answers::default(), Answers::default(), Answers::default());
    let mut input_example = None;
    for (part, artifact) in (0..).zip(&rows.frames) {
        let frame = Frame::from_bytes(&(rows.get)(artifact)?)?;
        trained.add(&frame, forest.predict_proba(&frame.rows())?);
        if forest.params().bootstrap {
            out_of_bag.add(&frame, forest.oob_part(&frame, part)?.decision_function);
        }
        if let Some(without) = &without {
            let (_, unseen) = train_test_split_stratified(&frame, grown.test_size, forest.params().random_state)?;
            held_out.add(&unseen, without.predict_proba(&unseen.rows())?);
        }
        input_example.get_or_insert_with(|| example(&frame));
    }
    let input_example = input_example.unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "they were float32")]
    let row: Vec<f32> = input_example.iter().map(|value| *value as f32).collect();
    let regressor = forest.params().estimator.is_regressor();
    let output_example = if regressor { forest.predict_values(&row)? } else { forest.predict_proba(&row)? };
    let n_classes = forest.n_classes();
    Ok(Merged {
        native: forest.to_bytes()?,
        onnx: onnx::export(&forest)?,
        n_estimators: forest.params().n_estimators,
        metrics: metrics_of(&trained, &out_of_bag, &held_out, n_classes)?,
        feature_importances: forest.feature_importances(),
        confusion_matrix: confusion_of(&trained, &out_of_bag, &held_out, n_classes)?,
        input_example,
        output_example,
    })
}

/// The score of the first `trees`, larger is better, with MLflow's key of the metric.
///
/// # Errors
/// As [`merge`]; a metric that these rows do not have.
pub(crate) fn score(rows: &Rows<'_>, grown: &Grown, trees: u32, metric: &str) -> Result<(String, f64), Error> {
    let forest = whole(&grown.shards, Some(trees))?;
    let without = grown.without(Some(trees))?;
    let mut answers = Answers::default();
    for (part, artifact) in (0..).zip(&rows.frames) {
        let frame = Frame::from_bytes(&(rows.get)(artifact)?)?;
        match &without {
            None => answers.add(&frame, forest.oob_part(&frame, part)?.decision_function),
            Some(without) => {
                let (_, unseen) = train_test_split_stratified(&frame, grown.test_size, forest.params().random_state)?;
                answers.add(&unseen, without.predict_proba(&unseen.rows())?);
            }
        }
    }
    let measured = answers.measure(forest.n_classes())?;
    let value = measured.and_then(|measured| match metric {
        "accuracy" => Some(measured.accuracy),
        "balanced_accuracy" => Some(measured.balanced_accuracy),
        "f1_macro" => Some(measured.f1_macro),
        "roc_auc" => measured.roc_auc,
        "log_loss" => Some(-measured.log_loss),
        _ => None,
    });
    let value = value.filter(|value| value.is_finite());
    let missing = || regrove_forest::Error::Unsupported(format!("the rows that are scored have no `{metric}`"));
    let of = if without.is_some() { "holdout" } else { "oob" };
    Ok((format!("{of}_{metric}"), value.ok_or_else(missing)?))
}

/// How many trees the forest asks for.
///
/// # Errors
/// Artifacts that are none.
pub(crate) fn n_estimators(grown: &Grown) -> Result<u32, Error> {
    Ok(merged(&grown.shards)?.params().n_estimators)
}

/// True classes, and what a forest says of their rows.
#[derive(Debug, Default)]
struct Answers {
    classes: Vec<u32>,
    proba: Vec<f64>,
}

impl Answers {
    fn add(&mut self, frame: &Frame, proba: Vec<f64>) {
        self.classes.extend(frame.class_indexes());
        self.proba.extend(proba);
    }

    /// `None` where nothing was asked.
    fn measure(&self, n_classes: usize) -> Result<Option<metrics::Classification>, Error> {
        if self.classes.is_empty() {
            return Ok(None);
        }
        Ok(Some(metrics::classification(&self.classes, &self.proba, n_classes)?))
    }
}

/// Metrics by MLflow's key.
fn metrics_of(
    trained: &Answers,
    out_of_bag: &Answers,
    held_out: &Answers,
    n_classes: usize,
) -> Result<BTreeMap<String, f64>, Error> {
    let mut measured = BTreeMap::new();
    if let Some(trained) = trained.measure(n_classes)? {
        measured.insert("accuracy".to_owned(), trained.accuracy);
        measured.insert("log_loss".to_owned(), trained.log_loss);
    }
    if let Some(out_of_bag) = out_of_bag.measure(n_classes)? {
        measured.insert("oob_accuracy".to_owned(), out_of_bag.accuracy);
    }
    if let Some(held) = held_out.measure(n_classes)? {
        measured.insert("holdout_accuracy".to_owned(), held.accuracy);
        measured.insert("holdout_balanced_accuracy".to_owned(), held.balanced_accuracy);
        measured.insert("holdout_log_loss".to_owned(), held.log_loss);
        measured.insert("holdout_f1_macro".to_owned(), held.f1_macro);
        measured.extend(held.roc_auc.map(|auc| ("holdout_roc_auc".to_owned(), auc)));
    }
    measured.retain(|_, value| value.is_finite());
    Ok(measured)
}

/// The confusion matrix of what says most: rows held out, else out of bag, else the training rows.
fn confusion_of(
    trained: &Answers,
    out_of_bag: &Answers,
    held_out: &Answers,
    n_classes: usize,
) -> Result<Option<ConfusionMatrix>, Error> {
    if n_classes > CONFUSION_CLASSES_MAX {
        return Ok(None);
    }
    let all = [(MeasuredOn::Holdout, held_out), (MeasuredOn::Oob, out_of_bag), (MeasuredOn::Training, trained)];
    for (of, answers) in all {
        if let Some(measured) = answers.measure(n_classes)? {
            return Ok(Some(ConfusionMatrix { of, counts: measured.confusion_matrix }));
        }
    }
    Ok(None)
}

fn example(frame: &Frame) -> Vec<f64> {
    let row = |at: usize| (0..frame.n_features()).map(move |feature| frame.column(feature)[at]);
    let complete = (0..frame.n_samples()).find(|&at| row(at).all(|value| !value.is_nan())).unwrap_or(0);
    row(complete).map(|value| if value.is_nan() { 0.0 } else { f64::from(value) }).collect()
}

fn merged(shards: &[Vec<u8>]) -> Result<Forest, regrove_forest::Error> {
    let forests = shards
        .iter()
        .map(|bytes| Model::from_verified_bytes(Arc::new(bytes.clone())).and_then(|model| model.to_forest()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Forest::merge(forests)?)
}

/// The forest of all its trees, or of the first `trees` of them: the forest that a job with so many would have made.
fn whole(shards: &[Vec<u8>], trees: Option<u32>) -> Result<Forest, regrove_forest::Error> {
    let mut forest = merged(shards)?;
    if let Some(trees) = trees {
        let params = RandomForestParams { n_estimators: trees, ..forest.params().clone() };
        forest = forest.part(0..trees)?.for_params(&params)?;
    }
    if !forest.is_whole() {
        return Err(MergeError::Gap { from: forest.range().end, to: forest.params().n_estimators }.into());
    }
    Ok(forest)
}
