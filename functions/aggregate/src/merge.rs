//! From trained shards to an evaluated forest. Pure but for its length: call it where blocking is allowed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use regrove_events::Artifact;
use regrove_events::event::{CONFUSION_CLASSES_MAX, ConfusionMatrix, MeasuredOn};
use regrove_forest::metrics::Classification;
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
        Ok(train_test_split_stratified(frame, self.test_size, self.forest.params().random_state)?.1)
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
        trained.add(&frame, forest.predict_proba(&frame.rows())?);
        if forest.params().bootstrap {
            out_of_bag.add(&frame, forest.oob_part(&frame, part)?.decision_function);
        }
        if let Some(without) = &without {
            let unseen = grown.unseen(&frame)?;
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

/// The score of the first `trees`, larger is better, with MLflow's key of the metric.
///
/// # Errors
/// As [`merge`]; a metric that these rows do not have.
pub(crate) fn score(rows: &Rows<'_>, grown: &Grown, trees: u32, metric: &str) -> Result<(String, f64), Error> {
    let forest = whole(&grown.forest, Some(trees))?;
    let without = grown.without(Some(trees))?;
    let mut answers = Answers::default();
    for (part, artifact) in (0..).zip(&rows.frames) {
        let frame = Frame::from_bytes(&(rows.get)(artifact)?)?;
        match &without {
            None => answers.add(&frame, forest.oob_part(&frame, part)?.decision_function),
            Some(without) => {
                let unseen = grown.unseen(&frame)?;
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
    fn measure(&self, n_classes: usize) -> Result<Option<Classification>, Error> {
        if self.classes.is_empty() {
            return Ok(None);
        }
        Ok(Some(metrics::classification(&self.classes, &self.proba, n_classes)?))
    }
}

/// A forest measured on rows that all its trees know, on those that each tree has not drawn, and on those held out.
struct Measured {
    trained: Option<Classification>,
    out_of_bag: Option<Classification>,
    held_out: Option<Classification>,
}

impl Measured {
    /// Metrics by MLflow's key.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        if let Some(trained) = &self.trained {
            metrics.insert("accuracy".to_owned(), trained.accuracy);
            metrics.insert("log_loss".to_owned(), trained.log_loss);
        }
        if let Some(out_of_bag) = &self.out_of_bag {
            metrics.insert("oob_accuracy".to_owned(), out_of_bag.accuracy);
        }
        if let Some(held) = &self.held_out {
            metrics.insert("holdout_accuracy".to_owned(), held.accuracy);
            metrics.insert("holdout_balanced_accuracy".to_owned(), held.balanced_accuracy);
            metrics.insert("holdout_log_loss".to_owned(), held.log_loss);
            metrics.insert("holdout_f1_macro".to_owned(), held.f1_macro);
            metrics.extend(held.roc_auc.map(|auc| ("holdout_roc_auc".to_owned(), auc)));
        }
        metrics.retain(|_, value| value.is_finite());
        metrics
    }

    /// The confusion matrix of what says most: rows held out, else out of bag, else the training rows.
    fn confusion_matrix(self) -> Option<ConfusionMatrix> {
        let of = |of| move |measured: Classification| ConfusionMatrix { of, counts: measured.confusion_matrix };
        let held_out = self.held_out.map(of(MeasuredOn::Holdout));
        held_out
            .or_else(|| self.out_of_bag.map(of(MeasuredOn::Oob)))
            .or_else(|| self.trained.map(of(MeasuredOn::Training)))
    }
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
