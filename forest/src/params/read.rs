//! Reading parameters: what is left out has the estimator's default.

use serde::{Deserialize, Deserializer};

use super::{ClassWeight, Criterion, Estimator, MaxFeatures, RandomForestParams, RowCount, Splitter};

/// The parameters as they are written, each of which may be missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    estimator: Estimator,
    n_estimators: Option<u32>,
    criterion: Option<Criterion>,
    max_depth: Option<u32>,
    min_samples_split: Option<RowCount>,
    min_samples_leaf: Option<RowCount>,
    min_weight_fraction_leaf: Option<f64>,
    /// `null` means all features, which is not the default.
    #[serde(default, deserialize_with = "present")]
    max_features: Option<MaxFeatures>,
    max_leaf_nodes: Option<u32>,
    min_impurity_decrease: Option<f64>,
    bootstrap: Option<bool>,
    oob_score: Option<bool>,
    random_state: Option<u32>,
    max_samples: Option<RowCount>,
    class_weight: Option<ClassWeight>,
    ccp_alpha: Option<f64>,
    monotonic_cst: Option<Vec<i8>>,
    splitter: Option<Splitter>,
    max_bins: Option<u32>,
    row_parts: Option<u32>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MaxFeatures>, D::Error> {
    MaxFeatures::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for RandomForestParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let default = Self::of(written.estimator);
        Ok(Self {
            estimator: written.estimator,
            n_estimators: written.n_estimators.unwrap_or(default.n_estimators),
            criterion: written.criterion.unwrap_or(default.criterion),
            max_depth: written.max_depth,
            min_samples_split: written.min_samples_split.unwrap_or(default.min_samples_split),
            min_samples_leaf: written.min_samples_leaf.unwrap_or(default.min_samples_leaf),
            min_weight_fraction_leaf: written.min_weight_fraction_leaf.unwrap_or(default.min_weight_fraction_leaf),
            max_features: written.max_features.unwrap_or(default.max_features),
            max_leaf_nodes: written.max_leaf_nodes,
            min_impurity_decrease: written.min_impurity_decrease.unwrap_or(default.min_impurity_decrease),
            bootstrap: written.bootstrap.unwrap_or(default.bootstrap),
            oob_score: written.oob_score.unwrap_or(default.oob_score),
            random_state: written.random_state.unwrap_or(default.random_state),
            max_samples: written.max_samples,
            class_weight: written.class_weight,
            ccp_alpha: written.ccp_alpha.unwrap_or(default.ccp_alpha),
            monotonic_cst: written.monotonic_cst,
            splitter: written.splitter.unwrap_or(default.splitter),
            max_bins: written.max_bins.unwrap_or(default.max_bins),
            row_parts: written.row_parts,
        })
    }
}
