//! Hyperparameters of a random forest, under scikit-learn's names and defaults.

mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::linfa_tree;
use crate::random::tree_seeds;

/// Largest number of trees that a job may ask for.
pub const N_ESTIMATORS_MAX: u32 = 100_000;

/// Classes that a target may have: each node of a tree holds a number per class, so that a tree with a leaf for each of
/// so many classes takes 1.6 GB (20,000 nodes of 10,000 float64).
pub const CLASSES_MAX: usize = 10_000;

/// A hyperparameter outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{name}` must be {allowed}, got {value}")]
pub struct ParamError {
    /// scikit-learn's name of the parameter.
    pub name: &'static str,
    /// The refused value.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl ParamError {
    /// Weights of which the training rows have no sum that means anything.
    pub(crate) fn no_weight(name: &'static str, total: f64) -> Self {
        let allowed = "weights of which the training rows have a finite sum above 0.0".to_owned();
        Self { name, value: format!("a sum of {total:?}"), allowed }
    }

    /// A weight for a label that no class has.
    pub(crate) fn unknown_class(label: &str, classes: &[String]) -> Self {
        let allowed = format!("a map whose labels are among {}", classes.join(", "));
        Self { name: "class_weight", value: format!("`{label}`"), allowed }
    }
}

/// What is grown, by the name of scikit-learn's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Estimator {
    /// Bootstrap samples, best cuts, classes (Breiman 2001).
    #[default]
    RandomForestClassifier,
    /// Bootstrap samples, best cuts, numbers.
    RandomForestRegressor,
    /// All rows, random cuts, classes (Geurts, Ernst and Wehenkel 2006).
    ExtraTreesClassifier,
    /// All rows, random cuts, numbers.
    ExtraTreesRegressor,
    /// One tree on all rows, best cuts, classes (Breiman et al. 1984). Its seed is `random_state` itself.
    DecisionTreeClassifier,
    /// One tree on all rows, best cuts, numbers.
    DecisionTreeRegressor,
    /// linfa-trees' decision tree: [`crate::linfa_tree`].
    #[serde(rename = "linfa-tree")]
    LinfaTree,
}

impl Estimator {
    /// Whether it predicts numbers.
    pub fn is_regressor(self) -> bool {
        matches!(self, Self::RandomForestRegressor | Self::ExtraTreesRegressor | Self::DecisionTreeRegressor)
    }

    /// The estimator of the same kind that predicts numbers.
    #[must_use]
    pub fn regressor(self) -> Self {
        match self {
            Self::RandomForestClassifier | Self::RandomForestRegressor => Self::RandomForestRegressor,
            Self::ExtraTreesClassifier | Self::ExtraTreesRegressor => Self::ExtraTreesRegressor,
            Self::DecisionTreeClassifier | Self::DecisionTreeRegressor | Self::LinfaTree => Self::DecisionTreeRegressor,
        }
    }

    /// Whether it is a single tree.
    pub fn is_tree(self) -> bool {
        matches!(self, Self::DecisionTreeClassifier | Self::DecisionTreeRegressor | Self::LinfaTree)
    }

    /// Whether cuts are drawn at random.
    pub fn is_extra(self) -> bool {
        matches!(self, Self::ExtraTreesClassifier | Self::ExtraTreesRegressor)
    }
}

/// The measure of a split's quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Gini impurity.
    #[default]
    Gini,
    /// Shannon entropy in bits.
    Entropy,
    /// The same as `entropy`.
    LogLoss,
    /// Variance, for regressors.
    SquaredError,
}

/// How the cut of a feature is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Splitter {
    /// The best cut between any two values: scikit-learn's trees.
    #[default]
    Best,
    /// The best cut between the bins of a histogram over all training rows, of at most `max_bins`: another model than
    /// scikit-learn's forest.
    Hist,
}

/// The largest number of bins of a histogram, and the default.
pub const MAX_BINS: u32 = 255;

/// A number of rows: whole, or as a fraction of the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RowCount {
    /// So many rows.
    Count(u32),
    /// This fraction of the training rows.
    Fraction(f64),
}

/// The features looked at in each split.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaxFeatures {
    /// So many features.
    Count(u32),
    /// `max(1, int(fraction * n_features))` features.
    Fraction(f64),
    /// `sqrt` or `log2` of the number of features.
    Root(FeatureRoot),
    /// All features (`null`).
    #[default]
    All,
}

/// The named forms of `max_features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureRoot {
    /// `max(1, int(sqrt(n_features)))`.
    Sqrt,
    /// `max(1, int(log2(n_features)))`.
    Log2,
}

/// Weights of the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeight {
    /// Inverse class frequency.
    Named(ClassWeightName),
    /// Weight by label, labels written as text; classes not named weigh 1.
    ByLabel(BTreeMap<String, f64>),
}

/// The named forms of `class_weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeightName {
    /// By the frequencies in the whole training set.
    Balanced,
    /// By the frequencies in each tree's bootstrap sample.
    BalancedSubsample,
}

/// Hyperparameters of scikit-learn's forests.
///
/// What is left out when they are read takes scikit-learn's default for the `estimator`. Two differences: `random_state` is always a number (default 0), because a job must be
/// repeatable; and what does not shape the model (`n_jobs`, `verbose`) is not here. `warm_start` is [`crate::forest::fit_more`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RandomForestParams {
    /// What is grown.
    pub estimator: Estimator,
    /// Number of trees, 1 to [`N_ESTIMATORS_MAX`].
    pub n_estimators: u32,
    /// Split quality.
    pub criterion: Criterion,
    /// Largest depth of a leaf, at least 1; `None` for no limit.
    pub max_depth: Option<u32>,
    /// Rows needed to split a node: at least 2, or a fraction in (0, 1].
    pub min_samples_split: RowCount,
    /// Rows needed in a leaf: at least 1, or a fraction in (0, 1).
    pub min_samples_leaf: RowCount,
    /// Fraction of the total weight needed in a leaf, in [0, 0.5].
    pub min_weight_fraction_leaf: f64,
    /// Features looked at in each split.
    pub max_features: MaxFeatures,
    /// Leaves of a tree, at least 2; growth is then best first.
    pub max_leaf_nodes: Option<u32>,
    /// A split must lower the weighted impurity by at least this, 0 or more.
    pub min_impurity_decrease: f64,
    /// Draw each tree's rows with replacement.
    pub bootstrap: bool,
    /// Whether the job reports the out-of-bag score; needs `bootstrap`.
    pub oob_score: bool,
    /// Seed of the forest.
    pub random_state: u32,
    /// Rows drawn per tree: at least 1, or a fraction above 0 of the rows, or of the sum of their class weights, where
    /// there are some; `None` for all.
    pub max_samples: Option<RowCount>,
    /// Class weights.
    pub class_weight: Option<ClassWeight>,
    /// Complexity parameter of minimal cost-complexity pruning, 0 or more.
    pub ccp_alpha: f64,
    /// Per feature −1, 0 or 1: the probability of the second class must fall, may vary, must rise.
    pub monotonic_cst: Option<Vec<i8>>,
    /// How cuts are chosen.
    #[serde(skip_serializing_if = "is_default")]
    pub splitter: Splitter,
    /// Bins per feature with `splitter = "hist"`, 2 to [`MAX_BINS`]. Missing values have one of their own.
    #[serde(skip_serializing_if = "is_all_bins")]
    pub max_bins: u32,
    /// Parts into which the rows are cut, 1 to `n_estimators`; each tree learns from one of them ([`crate::row_parts`]).
    /// `None`: every tree may learn from every row. Not a parameter of scikit-learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_parts: Option<u32>,
}

/// What models did not say before there was a choice stays unsaid, so that their bytes stay the same.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_default(splitter: &Splitter) -> bool {
    *splitter == Splitter::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_all_bins(max_bins: &u32) -> bool {
    *max_bins == MAX_BINS
}

impl Default for RandomForestParams {
    fn default() -> Self {
        Self {
            estimator: Estimator::RandomForestClassifier,
            n_estimators: 100,
            criterion: Criterion::Gini,
            max_depth: None,
            min_samples_split: RowCount::Count(2),
            min_samples_leaf: RowCount::Count(1),
            min_weight_fraction_leaf: 0.0,
            max_features: MaxFeatures::Root(FeatureRoot::Sqrt),
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            bootstrap: true,
            oob_score: false,
            random_state: 0,
            max_samples: None,
            class_weight: None,
            ccp_alpha: 0.0,
            monotonic_cst: None,
            splitter: Splitter::Best,
            max_bins: MAX_BINS,
            row_parts: None,
        }
    }
}

/// Refuses a value that the parameter may never have.
fn refuse(name: &'static str, value: impl std::fmt::Display) -> Result<(), ParamError> {
    refuse_beside(name, value, read::allowed(name))
}

/// Refuses a value that other parameters or the data leave no room for.
fn refuse_beside(name: &'static str, value: impl std::fmt::Display, allowed: &str) -> Result<(), ParamError> {
    Err(ParamError { name, value: value.to_string(), allowed: allowed.to_owned() })
}

impl RandomForestParams {
    /// scikit-learn's defaults for an estimator.
    pub fn of(estimator: Estimator) -> Self {
        let classifier = Self { estimator, bootstrap: !estimator.is_extra(), ..Self::default() };
        if estimator.is_tree() {
            let criterion = if estimator.is_regressor() { Criterion::SquaredError } else { Criterion::Gini };
            let tree =
                Self { criterion, n_estimators: 1, bootstrap: false, max_features: MaxFeatures::All, ..classifier };
            let min_impurity_decrease =
                if estimator == Estimator::LinfaTree { linfa_tree::MIN_IMPURITY_DECREASE } else { 0.0 };
            Self { min_impurity_decrease, ..tree }
        } else if estimator.is_regressor() {
            Self { criterion: Criterion::SquaredError, max_features: MaxFeatures::Fraction(1.0), ..classifier }
        } else {
            classifier
        }
    }

    /// Checks everything that can be checked without data.
    ///
    /// # Errors
    ///
    /// The first parameter outside its range.
    pub fn check(&self) -> Result<(), ParamError> {
        if self.n_estimators == 0 || self.n_estimators > N_ESTIMATORS_MAX {
            return refuse("n_estimators", self.n_estimators);
        }
        if self.max_depth == Some(0) {
            return refuse("max_depth", 0);
        }
        check_rows("min_samples_split", self.min_samples_split, 2, |part| part > 0.0 && part <= 1.0)?;
        check_rows("min_samples_leaf", self.min_samples_leaf, 1, |part| part > 0.0 && part < 1.0)?;
        if let Some(rows) = self.max_samples {
            check_rows("max_samples", rows, 1, |part| part > 0.0 && part <= f64::from(u32::MAX))?;
            if !self.bootstrap {
                return refuse_beside("max_samples", describe(rows), "null when `bootstrap` is false");
            }
        }
        if !(0.0..=0.5).contains(&self.min_weight_fraction_leaf) {
            return refuse("min_weight_fraction_leaf", self.min_weight_fraction_leaf);
        }
        match self.max_features {
            MaxFeatures::Count(0) => return refuse("max_features", 0),
            MaxFeatures::Fraction(part) if !(part > 0.0 && part <= 1.0) => return refuse("max_features", part),
            _ => {}
        }
        if self.max_leaf_nodes.is_some_and(|leaves| leaves < 2) {
            return refuse("max_leaf_nodes", self.max_leaf_nodes.unwrap_or(0));
        }
        self.check_estimator()?;
        self.check_splitter()?;
        if self.row_parts.is_some_and(|parts| parts == 0 || parts > self.n_estimators) {
            let allowed = format!("a whole number in 1..={} (`n_estimators`), or null", self.n_estimators);
            return refuse_beside("row_parts", self.row_parts.unwrap_or(0), &allowed);
        }
        check_at_least_zero("min_impurity_decrease", self.min_impurity_decrease)?;
        check_at_least_zero("ccp_alpha", self.ccp_alpha)?;
        if self.oob_score && !self.bootstrap {
            return refuse_beside("oob_score", true, "false when `bootstrap` is false");
        }
        if let Some(ClassWeight::ByLabel(weights)) = &self.class_weight
            && let Some((label, weight)) = weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0))
        {
            return refuse("class_weight", format!("{label}: {weight}"));
        }
        if let Some(signs) = &self.monotonic_cst
            && let Some(sign) = signs.iter().find(|sign| !(-1..=1).contains(*sign))
        {
            return refuse("monotonic_cst", sign);
        }
        Ok(())
    }
}

impl RandomForestParams {
    fn check_splitter(&self) -> Result<(), ParamError> {
        if self.splitter == Splitter::Hist && self.estimator.is_extra() {
            return refuse_beside(
                "splitter",
                "hist",
                &format!("\"best\" for {:?}, whose cuts are random", self.estimator),
            );
        }
        if !(2..=MAX_BINS).contains(&self.max_bins) {
            return refuse("max_bins", self.max_bins);
        }
        if self.splitter == Splitter::Best && self.max_bins != MAX_BINS {
            return refuse_beside("max_bins", self.max_bins, &format!("{MAX_BINS} unless `splitter` is \"hist\""));
        }
        Ok(())
    }

    /// Seeds of the trees `0..`, in order. A single tree's is the model's own.
    pub(crate) fn tree_seeds(&self) -> impl Iterator<Item = u32> {
        let own = self.estimator.is_tree().then_some(self.random_state);
        own.into_iter().chain(tree_seeds(self.random_state))
    }

    /// Checks what depends on the estimator.
    fn check_estimator(&self) -> Result<(), ParamError> {
        let regressor = self.estimator.is_regressor();
        if regressor != (self.criterion == Criterion::SquaredError) {
            let allowed = if regressor { "squared_error" } else { "gini, entropy or log_loss" };
            return refuse_beside(
                "criterion",
                format!("{:?}", self.criterion),
                &format!("{allowed} for {:?}", self.estimator),
            );
        }
        if self.estimator.is_tree() {
            if self.n_estimators != 1 {
                return refuse_beside("n_estimators", self.n_estimators, &format!("1 for {:?}", self.estimator));
            }
            if self.bootstrap {
                return refuse_beside("bootstrap", true, &format!("false for {:?}", self.estimator));
            }
            if self.class_weight == Some(ClassWeight::Named(ClassWeightName::BalancedSubsample)) {
                return refuse_beside(
                    "class_weight",
                    "balanced_subsample",
                    "\"balanced\", a map or null for a single tree",
                );
            }
        }
        if self.estimator == Estimator::LinfaTree {
            self.check_linfa_tree()?;
        }
        if regressor && self.class_weight.is_some() {
            return refuse_beside("class_weight", "weights", "null for a regressor");
        }
        Ok(())
    }
}

impl RandomForestParams {
    /// What linfa's tree does not know must be as it is when nothing is said.
    fn check_linfa_tree(&self) -> Result<(), ParamError> {
        let usual = Self::of(Estimator::LinfaTree);
        let only = |name: &'static str, same: bool, allowed: &str| {
            if same { Ok(()) } else { refuse_beside(name, "something else", &format!("{allowed} for linfa-tree")) }
        };
        only("max_features", self.max_features == usual.max_features, "null")?;
        only("max_leaf_nodes", self.max_leaf_nodes.is_none(), "null")?;
        only("class_weight", self.class_weight.is_none(), "null")?;
        only("monotonic_cst", self.monotonic_cst.is_none(), "null")?;
        only("splitter", self.splitter == usual.splitter, "\"best\"")?;
        let zero = |value: f64| value.abs() < f64::MIN_POSITIVE;
        only("ccp_alpha", zero(self.ccp_alpha), "0.0")?;
        only("min_weight_fraction_leaf", zero(self.min_weight_fraction_leaf), "0.0")?;
        let whole = |rows: RowCount| matches!(rows, RowCount::Count(_));
        only("min_samples_split", whole(self.min_samples_split), "a whole number of at least 2")?;
        only("min_samples_leaf", whole(self.min_samples_leaf), "a whole number of at least 1")?;
        if self.max_depth.is_some_and(|depth| depth > linfa_tree::MAX_DEPTH) {
            let allowed = format!("a whole number in 1..={} or null for linfa-tree", linfa_tree::MAX_DEPTH);
            return refuse_beside("max_depth", self.max_depth.unwrap_or(0), &allowed);
        }
        if self.min_impurity_decrease < f64::EPSILON {
            return refuse_beside(
                "min_impurity_decrease",
                self.min_impurity_decrease,
                "a number above 0.0 for linfa-tree",
            );
        }
        Ok(())
    }
}

fn describe(rows: RowCount) -> String {
    match rows {
        RowCount::Count(count) => count.to_string(),
        RowCount::Fraction(part) => format!("{part:?}"),
    }
}

fn check_rows(name: &'static str, rows: RowCount, least: u32, fits: impl Fn(f64) -> bool) -> Result<(), ParamError> {
    let good = match rows {
        RowCount::Count(count) => count >= least,
        RowCount::Fraction(part) => fits(part),
    };
    if good {
        return Ok(());
    }
    refuse(name, describe(rows))
}

fn check_at_least_zero(name: &'static str, value: f64) -> Result<(), ParamError> {
    if value >= 0.0 && value.is_finite() { Ok(()) } else { refuse(name, value) }
}
