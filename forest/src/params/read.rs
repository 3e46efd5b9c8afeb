//! Reading parameters: what is left out has the estimator's default, and what cannot be read is refused as a value out of
//! range is, with the parameter's name and what it may be.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{ParamError, RandomForestParams};

/// Characters of a refused value that are shown.
const VALUE_SHOWN_MAX: usize = 80;

/// Every parameter, and what it may be.
const ALLOWED: [(&str, &str); 20] = [
    (
        "estimator",
        "RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor, DecisionTreeClassifier, \
         DecisionTreeRegressor or linfa-tree",
    ),
    ("n_estimators", "a whole number in 1..=100000"),
    ("criterion", "gini, entropy or log_loss for a classifier, squared_error for a regressor"),
    ("max_depth", "a whole number of at least 1, or null"),
    ("min_samples_split", "a whole number of at least 2 or a fraction in (0.0, 1.0]"),
    ("min_samples_leaf", "a whole number of at least 1 or a fraction in (0.0, 1.0)"),
    ("min_weight_fraction_leaf", "a number in [0.0, 0.5]"),
    ("max_features", "a whole number of at least 1, a fraction in (0.0, 1.0], \"sqrt\", \"log2\" or null"),
    ("max_leaf_nodes", "a whole number of at least 2, or null"),
    ("min_impurity_decrease", "a finite number of at least 0.0"),
    ("bootstrap", "true or false"),
    ("oob_score", "true or false"),
    ("random_state", "a whole number in 0..=4294967295, or null for 0"),
    ("max_samples", "a whole number in 1..=4294967295, a fraction in (0.0, 4294967295.0] or null"),
    (
        "class_weight",
        "\"balanced\", \"balanced_subsample\", a map from label to a finite weight of at least 0.0, or null",
    ),
    ("ccp_alpha", "a finite number of at least 0.0"),
    ("monotonic_cst", "a list of -1, 0 or 1, or null"),
    ("splitter", "\"best\" or \"hist\""),
    ("max_bins", "a whole number in 2..=255"),
    ("row_parts", "a whole number in 1..=`n_estimators`, or null"),
];

/// Counts that mean the same from the largest number of rows, nodes or features on. scikit-learn takes any.
const WITHOUT_END: [&str; 5] = ["max_depth", "min_samples_split", "min_samples_leaf", "max_features", "max_leaf_nodes"];

/// What a parameter may be.
pub(super) fn allowed(name: &str) -> &'static str {
    ALLOWED.iter().find(|(known, _)| *known == name).map_or("something else", |(_, allowed)| allowed)
}

/// The parameters as they are written, each of which may be missing.
struct Written(BTreeMap<String, Value>);

impl Written {
    /// Takes a parameter out; `None` if it is missing.
    fn take<T: for<'de> Deserialize<'de>>(&mut self, name: &'static str) -> Result<Option<T>, ParamError> {
        let Some(mut value) = self.0.remove(name) else { return Ok(None) };
        if WITHOUT_END.contains(&name) && value.as_u64().is_some_and(|count| count > u32::MAX.into()) {
            value = u32::MAX.into();
        }
        T::deserialize(&value).map(Some).map_err(|_| {
            let value = value.to_string().chars().take(VALUE_SHOWN_MAX).collect();
            ParamError { name, value, allowed: allowed(name).to_owned() }
        })
    }

    /// Takes out every parameter that there is.
    fn take_all(&mut self) -> Result<RandomForestParams, ParamError> {
        let default = RandomForestParams::of(self.take("estimator")?.unwrap_or_default());
        Ok(RandomForestParams {
            estimator: default.estimator,
            n_estimators: self.take("n_estimators")?.unwrap_or(default.n_estimators),
            criterion: self.take("criterion")?.unwrap_or(default.criterion),
            max_depth: self.take("max_depth")?.flatten(),
            min_samples_split: self.take("min_samples_split")?.unwrap_or(default.min_samples_split),
            min_samples_leaf: self.take("min_samples_leaf")?.unwrap_or(default.min_samples_leaf),
            min_weight_fraction_leaf: self
                .take("min_weight_fraction_leaf")?
                .unwrap_or(default.min_weight_fraction_leaf),
            // `null` means all features, which is not the default.
            max_features: self.take("max_features")?.unwrap_or(default.max_features),
            max_leaf_nodes: self.take("max_leaf_nodes")?.flatten(),
            min_impurity_decrease: self.take("min_impurity_decrease")?.unwrap_or(default.min_impurity_decrease),
            bootstrap: self.take("bootstrap")?.unwrap_or(default.bootstrap),
            oob_score: self.take("oob_score")?.unwrap_or(default.oob_score),
            random_state: self.take("random_state")?.flatten().unwrap_or(default.random_state),
            max_samples: self.take("max_samples")?.flatten(),
            class_weight: self.take("class_weight")?.flatten(),
            ccp_alpha: self.take("ccp_alpha")?.unwrap_or(default.ccp_alpha),
            monotonic_cst: self.take("monotonic_cst")?.flatten(),
            splitter: self.take("splitter")?.unwrap_or(default.splitter),
            max_bins: self.take("max_bins")?.unwrap_or(default.max_bins),
            row_parts: self.take("row_parts")?.flatten(),
        })
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut written = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if written.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format_args!("parameter `{name}` is there twice")));
                    }
                }
                Ok(Written(written))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

impl<'de> Deserialize<'de> for RandomForestParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written = Written::deserialize(deserializer)?;
        let params = written.take_all().map_err(D::Error::custom)?;
        match written.0.keys().next() {
            None => Ok(params),
            Some(name) => {
                let names = ALLOWED.map(|(name, _)| name).join(", ");
                Err(D::Error::custom(format_args!("unknown parameter `{name}`: it must be one of {names}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::params::{MAX_BINS, N_ESTIMATORS_MAX, Splitter};

    #[test]
    fn every_parameter_says_what_it_may_be() {
        let all = RandomForestParams {
            splitter: Splitter::Hist,
            max_bins: 7,
            row_parts: Some(1),
            ..RandomForestParams::default()
        };
        let written = serde_json::to_value(all).unwrap();
        let known = ALLOWED.map(|(name, _)| name.to_owned());
        let written: BTreeSet<&String> = written.as_object().unwrap().keys().collect();
        assert_eq!(written, known.iter().collect());
        assert!(allowed("n_estimators").ends_with(&format!("..={N_ESTIMATORS_MAX}")));
        assert!(allowed("max_bins").ends_with(&format!("..={MAX_BINS}")));
        assert!(allowed("random_state").contains(&format!("..={},", u32::MAX)));
    }
}
