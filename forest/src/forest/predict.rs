//! Probabilities, labels, out-of-bag estimates and importances from the node arrays.

use rayon::prelude::*;

use super::Forest;
use super::rows::RowSampler;
use crate::Error;
use crate::frame::{Frame, Label, Target};
use crate::numeric::{argmax, pairwise_sum};
use crate::row_parts::{self, RowParts};
use crate::tree::Tree;

/// Rows that one task predicts.
const ROWS_PER_TASK: usize = 256;

/// Out-of-bag estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfBag {
    /// Accuracy, or R² of a regressor, over all rows, as scikit-learn's `oob_score_`: a row that was in every bag counts
    /// as the first class, or as 0.
    pub score: f64,
    /// Class probabilities `(n_samples, n_classes)` row-major, or values `(n_samples,)`; zeros for rows that were in
    /// every bag.
    pub decision_function: Vec<f64>,
    /// Rows that were in every bag.
    pub n_never_out: usize,
}

impl Forest {
    /// Class probabilities of row-major rows: `(n_rows, n_classes)` row-major, scikit-learn's bits. NaN is a missing value.
    ///
    /// # Errors
    ///
    /// A length that is not a multiple of the number of features, an infinite value, a regressor.
    pub fn predict_proba(&self, rows: &[f32]) -> Result<Vec<f64>, Error> {
        if self.params.estimator.is_regressor() {
            return Err(Error::Unsupported("a regressor predicts values, not probabilities".to_owned()));
        }
        self.outputs(rows)
    }

    /// Values of row-major rows, `(n_rows,)`: the mean over the trees, scikit-learn's bits. NaN is a missing value.
    ///
    /// # Errors
    ///
    /// As [`Forest::predict_proba`], and a classifier.
    pub fn predict_values(&self, rows: &[f32]) -> Result<Vec<f64>, Error> {
        if !self.params.estimator.is_regressor() {
            return Err(Error::Unsupported("a classifier predicts probabilities, not values".to_owned()));
        }
        self.outputs(rows)
    }

    /// Outputs of row-major rows: `(n_rows, n_outputs)`, summed in tree order.
    #[expect(clippy::cast_precision_loss, reason = "a number of trees")]
    fn outputs(&self, rows: &[f32]) -> Result<Vec<f64>, Error> {
        let (n_features, n_outputs) = (self.n_features(), self.n_outputs());
        check_rows(rows, &self.feature_names)?;
        let mut outputs = vec![0.0; rows.len() / n_features * n_outputs];
        outputs.par_chunks_mut(ROWS_PER_TASK * n_outputs).zip(rows.par_chunks(ROWS_PER_TASK * n_features)).for_each(
            |(outputs, rows)| {
                for tree in &self.trees {
                    for (row, sums) in rows.chunks_exact(n_features).zip(outputs.chunks_exact_mut(n_outputs)) {
                        add(sums, tree.predict(row));
                    }
                }
                for sum in outputs {
                    *sum /= self.trees.len() as f64;
                }
            },
        );
        Ok(outputs)
    }

    /// Class labels of row-major rows: the first largest probability.
    ///
    /// # Errors
    ///
    /// As [`Forest::predict_proba`].
    pub fn predict(&self, rows: &[f32]) -> Result<Vec<Label>, Error> {
        let proba = self.predict_proba(rows)?;
        Ok(proba.chunks_exact(self.classes.len()).map(|row| self.classes[argmax(row)].clone()).collect())
    }

    /// Out-of-bag estimates; `frame` must be the training data. With `row_parts` a row is out of the bag of every tree that
    /// learned from another part.
    ///
    /// # Errors
    ///
    /// Other data than the training data, a forest without bootstrap.
    pub fn oob(&self, frame: &Frame) -> Result<OutOfBag, Error> {
        if frame.sha256()? != self.data_sha256 {
            return Err(Error::Unsupported("out-of-bag estimates need the very training data".to_owned()));
        }
        let Some(n_parts) = self.params.row_parts else { return self.oob_part(frame, 0) };
        let parts = RowParts::new(frame.n_samples(), n_parts, self.params.random_state)?;
        let n_outputs = self.n_outputs();
        let mut decision_function = vec![0.0; frame.n_samples() * n_outputs];
        let mut n_never_out = 0;
        for part in 0..n_parts {
            let of_part = self.oob_part(&parts.frame(frame, part)?, part)?;
            for (row, values) in parts.rows(part).into_iter().zip(of_part.decision_function.chunks_exact(n_outputs)) {
                decision_function[row * n_outputs..][..n_outputs].copy_from_slice(values);
            }
            n_never_out += of_part.n_never_out;
        }
        Ok(OutOfBag { score: score(frame.target(), &decision_function, n_outputs)?, decision_function, n_never_out })
    }

    /// Out-of-bag estimates of the rows of one part, for those who do not hold the others: `frame` must be
    /// [`RowParts::frame`] of the training data. A forest without `row_parts` has one part, 0.
    ///
    /// # Errors
    ///
    /// A forest without bootstrap, other features than the forest's.
    pub fn oob_part(&self, frame: &Frame, part: u32) -> Result<OutOfBag, Error> {
        if !self.params.bootstrap {
            return Err(Error::Unsupported("out-of-bag estimates need `bootstrap`".to_owned()));
        }
        let (n_samples, n_features, n_outputs) = (frame.n_samples(), frame.n_features(), self.n_outputs());
        if n_features != self.n_features() {
            return Err(Error::Shape { what: "the features", got: n_features, expected: self.n_features() });
        }
        let own = row_parts::trees(&self.params, part);
        let sampler = RowSampler::new(frame, &self.params)?;
        let rows = frame.rows();
        let mut sums = vec![0.0; n_samples * n_outputs];
        let mut n_out = vec![0_u32; n_samples];
        for (index, tree) in self.range.clone().zip(&self.trees) {
            let counts = if own.contains(&index) { sampler.counts(tree.random_state) } else { None };
            let is_out = |row: usize| counts.as_ref().is_none_or(|counts| counts[row] == 0);
            for row in (0..n_samples).filter(|row| is_out(*row)) {
                let value = tree.predict(&rows[row * n_features..(row + 1) * n_features]);
                add(&mut sums[row * n_outputs..(row + 1) * n_outputs], value);
                n_out[row] += 1;
            }
        }
        for (row, n_out) in sums.chunks_exact_mut(n_outputs).zip(&n_out) {
            for sum in row {
                *sum /= f64::from((*n_out).max(1));
            }
        }
        let n_never_out = n_out.iter().filter(|n_out| **n_out == 0).count();
        Ok(OutOfBag { score: score(frame.target(), &sums, n_outputs)?, decision_function: sums, n_never_out })
    }

    /// Mean decrease of impurity per feature, summing to 1, `(n_features,)`; zeros if no tree has a split, or none decreases it,
    /// where scikit-learn's are NaN.
    pub fn feature_importances(&self) -> Vec<f64> {
        if let ([tree], true) = (self.trees.as_slice(), self.params.estimator.is_tree()) {
            return tree.feature_importances(self.n_features());
        }
        let mut sums = vec![0.0; self.n_features()];
        let mut n_trees = 0;
        for tree in self.trees.iter().filter(|tree| tree.node_count() > 1) {
            add(&mut sums, &tree.feature_importances(self.n_features()));
            n_trees += 1;
        }
        if n_trees > 0 {
            let means: Vec<f64> = sums.iter().map(|sum| sum / f64::from(n_trees)).collect();
            let total = pairwise_sum(&means);
            sums = if total.abs() > 0.0 { means.into_iter().map(|mean| mean / total).collect() } else { means };
        }
        sums
    }
}

fn score(target: &Target, predicted: &[f64], n_outputs: usize) -> Result<f64, Error> {
    Ok(match target {
        Target::Classes { indexes, .. } => accuracy(indexes, predicted, n_outputs),
        Target::Values(values) => crate::metrics::regression(values, predicted)?.r2.unwrap_or(f64::NAN),
    })
}

#[expect(clippy::cast_precision_loss, reason = "row counts below 2^53")]
fn accuracy(truth: &[u32], proba: &[f64], n_classes: usize) -> f64 {
    let rows = proba.chunks_exact(n_classes).zip(truth);
    rows.filter(|(row, class)| argmax(row) == **class as usize).count() as f64 / truth.len() as f64
}

fn add(sums: &mut [f64], terms: &[f64]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// Checks that row-major rows fit the features and hold no infinite value; says whether they hold a missing one.
pub(crate) fn check_rows(rows: &[f32], feature_names: &[String]) -> Result<bool, Error> {
    let n_features = feature_names.len();
    if !rows.len().is_multiple_of(n_features) {
        let expected = rows.len().next_multiple_of(n_features);
        return Err(Error::Shape { what: "rows", got: rows.len(), expected });
    }
    // All values at once, without leaving early, is much faster than the search for the place.
    if !rows.iter().fold(false, |odd, value| odd | !value.is_finite()) {
        return Ok(false);
    }
    match rows.iter().position(|value| value.is_infinite()) {
        None => Ok(true),
        Some(at) => Err(Error::NotFinite {
            row: at / n_features,
            feature: feature_names[at % n_features].clone(),
            value: f64::from(rows[at]),
        }),
    }
}

impl Tree {
    /// The leaf that a row reaches, `(n_features,)`. NaN goes where missing values went in training.
    ///
    /// # Panics
    ///
    /// If the row has fewer values than the tree looks at, or the tree has no nodes.
    pub fn apply(&self, row: &[f32]) -> usize {
        let mut node = 0;
        while let Ok(feature) = usize::try_from(self.feature[node]) {
            let value = row[feature];
            let left =
                if value.is_nan() { self.missing_go_to_left[node] } else { f64::from(value) <= self.threshold[node] };
            let child = if left { self.children_left[node] } else { self.children_right[node] };
            node = usize::try_from(child).unwrap_or(0);
        }
        node
    }

    /// Value of the leaf that a row reaches, `(n_outputs,)`.
    ///
    /// # Panics
    ///
    /// As [`Tree::apply`].
    pub fn predict(&self, row: &[f32]) -> &[f64] {
        self.node_value(self.apply(row))
    }

    /// Decrease of impurity per feature, summing to 1, `(n_features,)`; zeros for a tree without splits.
    ///
    /// # Panics
    ///
    /// If the tree looks at a feature beyond `n_features`.
    pub fn feature_importances(&self, n_features: usize) -> Vec<f64> {
        let mut importances = vec![0.0; n_features];
        for (node, &feature) in self.feature.iter().enumerate() {
            let Ok(feature) = usize::try_from(feature) else { continue };
            let mass = |node: usize| self.weighted_n_node_samples[node] * self.impurity[node];
            let child = |child: i32| mass(usize::try_from(child).unwrap_or(node));
            importances[feature] += mass(node) - child(self.children_left[node]) - child(self.children_right[node]);
        }
        let Some(weight) = self.weighted_n_node_samples.first() else { return importances };
        for importance in &mut importances {
            *importance /= weight;
        }
        let total = pairwise_sum(&importances);
        if total > 0.0 {
            for importance in &mut importances {
                *importance /= total;
            }
        }
        importances
    }
}
