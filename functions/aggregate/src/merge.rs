//! From trained shards to an evaluated forest. Pure but for its length: call it where blocking is allowed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use regrove_events::Artifact;
use regrove_events::event::{CONFUSION_CLASSES_MAX, ConfusionMatrix};
use regrove_events::score::{score_of, usual_metric};
use regrove_forest::model_selection::hold_out;
use regrove_forest::{Forest, Frame, MergeError, Model, RandomForestParams, onnx};
use regrove_store::artifact;

use crate::measure::{Answers, Measured, named};

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

/// The trees of a job so far.
#[derive(Debug)]
pub(crate) struct Grown {
    /// They learned from all rows.
    forest: Forest,
    /// The same trees grown without the held-out rows; `None` when nothing was held out.
    without: Option<Forest>,
    /// Share of rows that was held out.
    test_size: f64,
}

impl Grown {
    /// Reads shards in tree order. The artifact store has compared all bytes with their hashes.
    ///
    /// # Errors
    /// Artifacts that are no shards, or shards that do not follow each other.
    pub(crate) fn read(shards: Vec<Vec<u8>>, holdout: Vec<Vec<u8>>, test_size: f64) -> Result<Self, Error> {
        let without = if holdout.is_empty() { None } else { Some(merged(holdout)?) };
        Ok(Self { forest: merged(shards)?, without, test_size })
    }

    /// How many trees the forest asks for.
    pub(crate) fn n_estimators(&self) -> u32 {
        self.forest.params().n_estimators
    }

    fn without(&self, trees: Option<u32>) -> Result<Option<Cow<'_, Forest>>, regrove_forest::Error> {
        self.without.as_ref().map(|forest| whole(forest, trees)).transpose()
    }

    /// The rows that were held out of a frame.
    fn unseen(&self, frame: &Frame) -> Result<Frame, Error> {
        Ok(hold_out(frame, self.test_size, self.forest.params().random_state)?.1)
    }
}

/// Puts shards together and measures the result: all trees that the forest asks for, or only the first `trees`.
///
/// # Errors
/// Shards that do not make one whole forest, or artifacts that are none.
pub(crate) fn merge(rows: &Rows<'_>, grown: &Grown, trees: Option<u32>) -> Result<Merged, Error> {
    let forest = whole(&grown.forest, trees)?;
    let without = grown.without(trees)?;
    let (mut trained, mut out_of_bag, mut held_out) = (Answers::default(), Answers::default(), Answers::default());
    let mut input_example = None;
    for (part, artifact) in (0..).zip(&rows.frames) {
        let frame = Frame::from_bytes(&(rows.get)(artifact)?)?;
        trained.add(&frame, outputs(&forest, &frame.rows())?);
        if forest.params().bootstrap {
            out_of_bag.add(&frame, forest.oob_part(&frame, part)?.decision_function);
        }
        if let Some(without) = &without {
            let unseen = grown.unseen(&frame)?;
            held_out.add(&unseen, outputs(without, &unseen.rows())?);
        }
        input_example.get_or_insert_with(|| example(&frame));
    }
    let input_example = input_example.unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "they were float32")]
    let row: Vec<f32> = input_example.iter().map(|value| *value as f32).collect();
    let output_example = outputs(&forest, &row)?;
    let n_classes = forest.n_classes();
    let measured = Measured {
        trained: trained.measure(n_classes)?,
        out_of_bag: out_of_bag.measure(n_classes)?,
        held_out: held_out.measure(n_classes)?,
    };
    Ok(Merged {
        native: forest.to_bytes()?,
        onnx: onnx::export(&forest)?,
        n_estimators: forest.params().n_estimators,
        metrics: measured.metrics(),
        feature_importances: forest.feature_importances(),
        confusion_matrix: if n_classes > CONFUSION_CLASSES_MAX { None } else { measured.confusion_matrix() },
        input_example,
        output_example,
    })
}

/// The score of the first `trees`, larger is better, with MLflow's key of the metric; the estimator's usual one if none is
/// named.
///
/// # Errors
/// As [`merge`]; a metric that these rows do not have.
pub(crate) fn score(rows: &Rows<'_>, grown: &Grown, trees: u32, metric: Option<&str>) -> Result<(String, f64), Error> {
    let forest = whole(&grown.forest, Some(trees))?;
    let without = grown.without(Some(trees))?;
    let mut answers = Answers::default();
    for (part, artifact) in (0..).zip(&rows.frames) {
        let frame = Frame::from_bytes(&(rows.get)(artifact)?)?;
        match &without {
            None => answers.add(&frame, forest.oob_part(&frame, part)?.decision_function),
            Some(without) => {
                let unseen = grown.unseen(&frame)?;
                answers.add(&unseen, outputs(without, &unseen.rows())?);
            }
        }
    }
    let metric = metric.unwrap_or_else(|| usual_metric(forest.params().estimator.is_regressor()));
    let measures = answers.measure(forest.n_classes())?;
    let value = measures.and_then(|measures| named(&measures).into_iter().find(|(name, _)| *name == metric));
    let value = value.map(|(_, value)| score_of(metric, value)).filter(|value| value.is_finite());
    let missing = || regrove_forest::Error::Unsupported(format!("the rows that are scored have no `{metric}`"));
    let of = if without.is_some() { "holdout" } else { "oob" };
    Ok((format!("{of}_{metric}"), value.ok_or_else(missing)?))
}

/// Probabilities of a classifier, numbers of a regressor.
fn outputs(forest: &Forest, rows: &[f32]) -> Result<Vec<f64>, regrove_forest::Error> {
    if forest.params().estimator.is_regressor() { forest.predict_values(rows) } else { forest.predict_proba(rows) }
}

fn example(frame: &Frame) -> Vec<f64> {
    let row = |at: usize| (0..frame.n_features()).map(move |feature| frame.column(feature)[at]);
    let complete = (0..frame.n_samples()).find(|&at| row(at).all(|value| !value.is_nan())).unwrap_or(0);
    row(complete).map(|value| if value.is_nan() { 0.0 } else { f64::from(value) }).collect()
}

fn merged(shards: Vec<Vec<u8>>) -> Result<Forest, regrove_forest::Error> {
    let forests = shards
        .into_iter()
        .map(|bytes| Model::from_verified_bytes(Arc::new(bytes)).and_then(|model| model.to_forest()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Forest::merge(forests)?)
}

/// The forest of all its trees, or of the first `trees` of them: the forest that a job with so many would have made.
fn whole(forest: &Forest, trees: Option<u32>) -> Result<Cow<'_, Forest>, regrove_forest::Error> {
    let forest = match trees {
        None => Cow::Borrowed(forest),
        Some(trees) => {
            let params = RandomForestParams { n_estimators: trees, ..forest.params().clone() };
            Cow::Owned(forest.clone().part(0..trees)?.for_params(&params)?)
        }
    };
    if !forest.is_whole() {
        return Err(MergeError::Gap { from: forest.range().end, to: forest.params().n_estimators }.into());
    }
    Ok(forest)
}
