//! The forests behind linfa's traits: `RandomForest::from(params).fit(&dataset)?.predict(&dataset)`.

use linfa::dataset::{AsSingleTargets, DatasetBase, Label as LinfaLabel};
use linfa::traits::{Fit, PredictInplace};
use linfa::{Float, ParamGuard};
use ndarray::{Array1, ArrayBase, Data, Ix2};

use crate::Error;
use crate::forest::{Forest, fit};
use crate::frame::{Frame, Label, Target};
use crate::numeric::argmax;
use crate::params::{ParamError, RandomForestParams};

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
        self.0.0.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<RandomForestValid, ParamError> {
        self.0.0.check()?;
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
    L: LinfaLabel,
    D: Data<Elem = F>,
    T: AsSingleTargets<Elem = L>,
{
    type Object = FittedForest<L>;

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
        let records = dataset.records();
        let names = match dataset.feature_names() {
            [] => (0..records.ncols()).map(|feature| format!("x{feature}")).collect(),
            names => names.to_vec(),
        };
        let columns = records.columns().into_iter().flat_map(|column| column.iter().map(float).collect::<Vec<_>>());
        let frame = Frame::new(names, columns.collect(), TARGET_NAME, target)?;
        Ok(FittedForest { forest: fit(&frame, &self.0)?, classes })
    }
}

/// Name of the target in the frame made of a data set; unlikely enough to be no feature's name.
const TARGET_NAME: &str = "linfa target";

/// A number as float32; what is no number is missing.
fn float<F: Float>(value: &F) -> f32 {
    value.to_f32().unwrap_or(f32::NAN)
}

impl<F: Float, L: LinfaLabel, D: Data<Elem = F>> PredictInplace<ArrayBase<D, Ix2>, Array1<L>> for FittedForest<L> {
    /// Predicts the label of each row. Rows of another width than the training data, or with infinite values, have no
    /// answer; as linfa's trait knows no errors, this then panics as its own models do.
    #[expect(clippy::panic, reason = "linfa's trait has no way to return an error")]
    fn predict_inplace(&self, x: &ArrayBase<D, Ix2>, y: &mut Array1<L>) {
        assert_eq!(x.nrows(), y.len(), "the number of rows must match the number of targets");
        assert_eq!(x.ncols(), self.forest.n_features(), "the number of columns must match the number of features");
        let rows: Vec<f32> = x.iter().map(float).collect();
        match self.forest.predict_proba(&rows) {
            Ok(proba) => {
                for (label, row) in y.iter_mut().zip(proba.chunks_exact(self.classes.len())) {
                    *label = self.classes[argmax(row)].clone();
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<L> {
        Array1::default(x.nrows())
    }
}
