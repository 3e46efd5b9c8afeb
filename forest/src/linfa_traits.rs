//! The estimators behind linfa's traits: `RandomForest::from(params).fit(&dataset)?.predict(&dataset)` for labels,
//! `ForestRegression::from(params)` for numbers. Which estimator it is, the parameters say.

use std::collections::BTreeMap;
use std::fmt::Display;

use linfa::dataset::{AsSingleTargets, DatasetBase, Label as LinfaLabel};
use linfa::traits::{Fit, PredictInplace};
use linfa::{Float, ParamGuard};
use ndarray::{Array1, ArrayBase, Data, Ix2};

use crate::Error;
use crate::forest::{Forest, fit};
use crate::frame::{Frame, Label, Target};
use crate::numeric::argmax;
use crate::params::{ClassWeight, ParamError, RandomForestParams};

/// Parameters before the check.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomForest(RandomForestValid);

/// Parameters that passed [`RandomForestParams::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct RandomForestValid(RandomForestParams);

impl From<RandomForestParams> for RandomForest {
    fn from(params: RandomForestParams) -> Self {
        Self(RandomForestValid(params))
    }
}

impl ParamGuard for RandomForest {
    type Checked = RandomForestValid;
    type Error = ParamError;

    fn check_ref(&self) -> Result<&RandomForestValid, ParamError> {
        let params = &self.0.0;
        if params.estimator.is_regressor() {
            let allowed = "a classifier; `ForestRegression` takes regressors".to_owned();
            return Err(ParamError { name: "estimator", value: format!("{:?}", params.estimator), allowed });
        }
        params.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<RandomForestValid, ParamError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// A fitted classifier that answers with the labels it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedForest<L> {
    forest: Forest,
    classes: Vec<L>,
}

impl<L> FittedForest<L> {
    /// The forest; its own class labels are the indexes of [`FittedForest::classes`].
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// The labels in ascending order, which is the order of the probabilities.
    pub fn classes(&self) -> &[L] {
        &self.classes
    }
}

impl<F, L, D, T> Fit<ArrayBase<D, Ix2>, T, Error> for RandomForestValid
where
    F: Float,
    L: LinfaLabel + Display,
    D: Data<Elem = F>,
    T: AsSingleTargets<Elem = L>,
{
    type Object = FittedForest<L>;

    /// Weights by label (`class_weight`) name labels as [`Display`] writes them.
    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<FittedForest<L>, Error> {
        let targets = dataset.as_single_targets();
        let mut classes: Vec<L> = targets.iter().cloned().collect();
        classes.sort();
        classes.dedup();
        let index = |label: &L| u32::try_from(classes.partition_point(|class| class < label)).unwrap_or(u32::MAX);
        let target = Target::Classes {
            classes: (0_i64..).take(classes.len()).map(Label::Int).collect(),
            indexes: targets.iter().map(index).collect(),
        };
        let frame = frame(dataset, target)?;
        let params = RandomForestParams { class_weight: self.class_weight(&classes)?, ..self.0.clone() };
        Ok(FittedForest { forest: fit(&frame, &params)?, classes })
    }
}

impl RandomForestValid {
    /// The class weights of a forest whose labels are the indexes of `classes`.
    fn class_weight<L: Display>(&self, classes: &[L]) -> Result<Option<ClassWeight>, ParamError> {
        let Some(ClassWeight::ByLabel(weights)) = &self.0.class_weight else { return Ok(self.0.class_weight.clone()) };
        let names: Vec<String> = classes.iter().map(L::to_string).collect();
        let mut by_index = BTreeMap::new();
        for (label, weight) in weights {
            let Some(index) = names.iter().position(|name| name == label) else {
                return Err(ParamError::unknown_class(label, &names));
            };
            by_index.insert(index.to_string(), *weight);
        }
        Ok(Some(ClassWeight::ByLabel(by_index)))
    }
}

/// Name of the target in the frame made of a data set; unlikely enough to be no feature's name.
const TARGET_NAME: &str = "linfa target";

/// The frame of a data set; its weights, where it has any, are the frame's.
fn frame<F: Float, D: Data<Elem = F>, T>(
    dataset: &DatasetBase<ArrayBase<D, Ix2>, T>,
    target: Target,
) -> Result<Frame, Error> {
    let records = dataset.records();
    let names = match dataset.feature_names() {
        [] => (0..records.ncols()).map(|feature| format!("x{feature}")).collect(),
        names => names.to_vec(),
    };
    let columns = records.columns().into_iter().flat_map(|column| column.iter().map(float).collect::<Vec<_>>());
    let frame = Frame::new(names, columns.collect(), TARGET_NAME, target)?;
    if dataset.weights.is_empty() {
        return Ok(frame);
    }
    Ok(frame.with_sample_weight(dataset.weights.iter().copied().map(f64::from).collect())?)
}

/// A number as float32; what is no number is missing.
fn float<F: Float>(value: &F) -> f32 {
    value.to_f32().unwrap_or(f32::NAN)
}

impl<F: Float, L: LinfaLabel, D: Data<Elem = F>> PredictInplace<ArrayBase<D, Ix2>, Array1<L>> for FittedForest<L> {
    /// Predicts the label of each row. Rows of another width than the training data, or with infinite values, have no
    /// answer; as linfa's trait knows no errors, this then panics as its own models do.
    fn predict_inplace(&self, x: &ArrayBase<D, Ix2>, y: &mut Array1<L>) {
        let proba = answers(&self.forest, x, y.len(), Forest::predict_proba);
        for (label, row) in y.iter_mut().zip(proba.chunks_exact(self.classes.len())) {
            *label = self.classes[argmax(row)].clone();
        }
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<L> {
        Array1::default(x.nrows())
    }
}

/// What a forest says of rows.
#[expect(clippy::panic, reason = "linfa's trait has no way to return an error")]
fn answers<F: Float, D: Data<Elem = F>>(
    forest: &Forest,
    x: &ArrayBase<D, Ix2>,
    n_targets: usize,
    predict: impl Fn(&Forest, &[f32]) -> Result<Vec<f64>, Error>,
) -> Vec<f64> {
    assert_eq!(x.nrows(), n_targets, "the number of rows must match the number of targets");
    assert_eq!(x.ncols(), forest.n_features(), "the number of columns must match the number of features");
    let rows: Vec<f32> = x.iter().map(float).collect();
    match predict(forest, &rows) {
        Ok(answers) => answers,
        Err(error) => panic!("{error}"),
    }
}

/// Parameters of a regressor before the check.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRegression(ForestRegressionValid);

/// Parameters of a regressor that passed [`RandomForestParams::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRegressionValid(RandomForestParams);

impl From<RandomForestParams> for ForestRegression {
    fn from(params: RandomForestParams) -> Self {
        Self(ForestRegressionValid(params))
    }
}

impl ParamGuard for ForestRegression {
    type Checked = ForestRegressionValid;
    type Error = ParamError;

    fn check_ref(&self) -> Result<&ForestRegressionValid, ParamError> {
        let params = &self.0.0;
        if !params.estimator.is_regressor() {
            let allowed = "DecisionTreeRegressor, RandomForestRegressor or ExtraTreesRegressor".to_owned();
            return Err(ParamError { name: "estimator", value: format!("{:?}", params.estimator), allowed });
        }
        params.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<ForestRegressionValid, ParamError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// A fitted regressor.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedRegression(Forest);

impl FittedRegression {
    /// The trees.
    pub fn forest(&self) -> &Forest {
        &self.0
    }
}

impl<F, D, T> Fit<ArrayBase<D, Ix2>, T, Error> for ForestRegressionValid
where
    F: Float,
    D: Data<Elem = F>,
    T: AsSingleTargets<Elem = F>,
{
    type Object = FittedRegression;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<FittedRegression, Error> {
        let values = dataset.as_single_targets().iter().map(|value| value.to_f64().unwrap_or(f64::NAN)).collect();
        let frame = frame(dataset, Target::Values(values))?;
        Ok(FittedRegression(fit(&frame, &self.0)?))
    }
}

impl<F: Float, D: Data<Elem = F>> PredictInplace<ArrayBase<D, Ix2>, Array1<F>> for FittedRegression {
    /// Predicts the value of each row. Panics as [`FittedForest`] does.
    fn predict_inplace(&self, x: &ArrayBase<D, Ix2>, y: &mut Array1<F>) {
        let values = answers(&self.0, x, y.len(), Forest::predict_values);
        for (target, value) in y.iter_mut().zip(values) {
            *target = F::cast(value);
        }
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<F> {
        Array1::zeros(x.nrows())
    }
}
