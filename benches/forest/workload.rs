//! The reference workloads.

use regrove_forest::RandomForestParams;
use regrove_forest::params::{FeatureRoot, MaxFeatures};

/// Synthetic classification with 20 features, 10 informative, 10 redundant, two classes, `random_state` 42.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// 2,500 rows, 75 trees of depth 30, 70 % of the features at each node.
    A,
    /// 100,000 rows, 100 trees, the square root of the features, no depth limit.
    B,
    /// 1,000,000 rows, 20 trees of depth 16, the square root of the features.
    C,
}

impl Workload {
    pub(crate) fn n_rows(self) -> u32 {
        match self {
            Self::A => 2_500,
            Self::B => 100_000,
            Self::C => 1_000_000,
        }
    }

    pub(crate) fn params(self) -> RandomForestParams {
        let (n_estimators, max_depth, max_features) = match self {
            Self::A => (75, Some(30), MaxFeatures::Fraction(0.7)),
            Self::B => (100, None, MaxFeatures::Root(FeatureRoot::Sqrt)),
            Self::C => (20, Some(16), MaxFeatures::Root(FeatureRoot::Sqrt)),
        };
        RandomForestParams { n_estimators, max_depth, max_features, random_state: 42, ..RandomForestParams::default() }
    }

    pub(crate) fn uri(self) -> String {
        format!(
            "make_classification?n_samples={}&n_features=20&n_informative=10&n_redundant=10&n_classes=2&random_state=42",
            self.n_rows()
        )
    }
}
