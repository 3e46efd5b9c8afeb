//! The reference workloads.

use regrove_forest::params::{FeatureRoot, MaxFeatures};
use regrove_forest::{Estimator, RandomForestParams};

/// Synthetic data with 20 features, 10 of them informative, `random_state` 42: of two classes, the other 10 features redundant, or
/// of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// 2,500 rows, 75 trees of depth 30, 70 % of the features at each node.
    A,
    /// 5,000 rows, 75 trees of depth 30, all features at each node.
    A450,
    /// 100,000 rows, 100 trees, the square root of the features, no depth limit.
    B,
    /// 1,000,000 rows, 20 trees of depth 16, the square root of the features.
    C,
    /// 100,000 rows of numbers, 20 trees, all features at each node, no depth limit: a regressor as it is by default.
    R,
    /// `B` with extremely randomised trees: all rows, and cuts drawn at random.
    Bx,
    /// `R` with extremely randomised trees.
    Rx,
}

impl Workload {
    pub(crate) fn n_rows(self) -> u32 {
        match self {
            Self::A => 2_500,
            Self::A450 => 5_000,
            Self::B | Self::R | Self::Bx | Self::Rx => 100_000,
            Self::C => 1_000_000,
        }
    }

    /// Whether other programs grow all of its trees.
    pub(crate) fn is_small(self) -> bool {
        matches!(self, Self::A | Self::A450)
    }

    pub(crate) fn params(self) -> RandomForestParams {
        let (n_estimators, max_depth, max_features) = match self {
            Self::A => (75, Some(30), MaxFeatures::Fraction(0.7)),
            Self::A450 => (75, Some(30), MaxFeatures::All),
            Self::B | Self::Bx => (100, None, MaxFeatures::Root(FeatureRoot::Sqrt)),
            Self::C => (20, Some(16), MaxFeatures::Root(FeatureRoot::Sqrt)),
            Self::R | Self::Rx => (20, None, MaxFeatures::All),
        };
        RandomForestParams {
            n_estimators,
            max_depth,
            max_features,
            random_state: 42,
            ..RandomForestParams::of(self.estimator())
        }
    }

    fn estimator(self) -> Estimator {
        match self {
            Self::A | Self::A450 | Self::B | Self::C => Estimator::RandomForestClassifier,
            Self::R => Estimator::RandomForestRegressor,
            Self::Bx => Estimator::ExtraTreesClassifier,
            Self::Rx => Estimator::ExtraTreesRegressor,
        }
    }

    pub(crate) fn uri(self) -> String {
        let size = format!("n_samples={}&n_features=20&n_informative=10&random_state=42", self.n_rows());
        if self.estimator().is_regressor() {
            format!("make_regression?{size}")
        } else {
            format!("make_classification?{size}&n_redundant=10&n_classes=2")
        }
    }
}
