//! What a forest is worth, in MLflow's words.

use std::collections::BTreeMap;

use regrove_events::event::{ConfusionMatrix, MeasuredOn};
use regrove_events::score::{metrics_of_training, usual_metric};
use regrove_forest::frame::Target;
use regrove_forest::model_selection::Measures;
use regrove_forest::{Error, Frame, metrics};

/// The truth of some rows, and what a forest says of them: probabilities of every class, or a number.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    classes: Vec<u32>,
    numbers: Vec<f64>,
    outputs: Vec<f64>,
}

impl Answers {
    pub(crate) fn add(&mut self, frame: &Frame, outputs: Vec<f64>) {
        match frame.target() {
            Target::Classes { indexes, .. } => self.classes.extend(indexes),
            Target::Values(values) => self.numbers.extend(values),
        }
        self.outputs.extend(outputs);
    }

    /// `None` where nothing was asked.
    ///
    /// # Errors
    /// Outputs that are not those of the rows.
    pub(crate) fn measure(&self, n_classes: usize) -> Result<Option<Measures>, Error> {
        if !self.numbers.is_empty() {
            return Ok(Some(Measures::Regression(metrics::regression(&self.numbers, &self.outputs)?)));
        }
        if self.classes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Measures::Classification(metrics::classification(&self.classes, &self.outputs, n_classes)?)))
    }
}

/// Measures by MLflow's names, those of [`regrove_events::score::metrics_of`].
pub(crate) fn named(measures: &Measures) -> Vec<(&'static str, f64)> {
    match measures {
        Measures::Classification(measures) => {
            let always = [
                ("accuracy", measures.accuracy),
                ("balanced_accuracy", measures.balanced_accuracy),
                ("f1_macro", measures.f1_macro),
                ("log_loss", measures.log_loss),
            ];
            always.into_iter().chain(measures.roc_auc.map(|auc| ("roc_auc", auc))).collect()
        }
        Measures::Regression(measures) => {
            let always = [
                ("mean_squared_error", measures.mse),
                ("root_mean_squared_error", measures.mse.sqrt()),
                ("mean_absolute_error", measures.mae),
            ];
            always.into_iter().chain(measures.r2.map(|r2| ("r2_score", r2))).collect()
        }
    }
}

/// A forest measured on rows that all its trees know, on those that each tree has not drawn, and on those held out.
pub(crate) struct Measured {
    pub(crate) trained: Option<Measures>,
    pub(crate) out_of_bag: Option<Measures>,
    pub(crate) held_out: Option<Measures>,
}

impl Measured {
    /// Metrics by MLflow's key: everything of the rows held out, of the others what says how well the rows were learned.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        let mut take = |measures: &Option<Measures>, prefix: &str, wanted: &dyn Fn(&str, bool) -> bool| {
            let Some(measures) = measures else { return };
            let regressor = matches!(measures, Measures::Regression(_));
            let some = named(measures).into_iter().filter(|(name, value)| value.is_finite() && wanted(name, regressor));
            all.extend(some.map(|(name, value)| (format!("{prefix}{name}"), value)));
        };
        take(&self.trained, "", &|name, regressor| metrics_of_training(regressor).contains(&name));
        take(&self.out_of_bag, "oob_", &|name, regressor| name == usual_metric(regressor));
        take(&self.held_out, "holdout_", &|_, _| true);
        all
    }

    /// The confusion matrix of what says most: rows held out, else out of bag, else the training rows. None of a regressor.
    pub(crate) fn confusion_matrix(self) -> Option<ConfusionMatrix> {
        let (of, measures) = [
            (MeasuredOn::Holdout, self.held_out),
            (MeasuredOn::Oob, self.out_of_bag),
            (MeasuredOn::Training, self.trained),
        ]
        .into_iter()
        .find_map(|(of, measures)| Some((of, measures?)))?;
        match measures {
            Measures::Classification(measures) => Some(ConfusionMatrix { of, counts: measures.confusion_matrix }),
            Measures::Regression(_) => None,
        }
    }
}
