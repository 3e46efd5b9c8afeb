//! A synthetic data set by name: `make_classification?n_samples=2500&random_state=42`, or `make_regression?…`.

use std::fmt;
use std::str::FromStr;

use super::{ClassificationParams, PerFeature, RegressionParams, make_classification, make_regression};
use crate::Error;
use crate::frame::Frame;

/// A synthetic data set's description is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntheticError {
    /// No such generator.
    #[error("unknown generator `{0}`; known: make_classification, make_regression")]
    Generator(String),
    /// No such argument.
    #[error("{generator} has no argument `{name}`")]
    Argument {
        /// The generator.
        generator: &'static str,
        /// The argument.
        name: String,
    },
    /// An argument given twice.
    #[error("argument `{0}` is given twice")]
    Repeated(String),
    /// An argument that cannot be read.
    #[error("`{name}` must be {expected}, got {value:?}")]
    Value {
        /// The argument.
        name: String,
        /// Its text.
        value: String,
        /// What can be read.
        expected: &'static str,
    },
    /// An argument outside its range.
    #[error("`{name}` must be {allowed}, got {value}")]
    Range {
        /// The argument.
        name: &'static str,
        /// Its value.
        value: String,
        /// The range.
        allowed: String,
    },
}

/// A synthetic data set that can be made anew anywhere from one line of text.
#[derive(Debug, Clone, PartialEq)]
pub enum Synthetic {
    /// `make_classification` with these arguments.
    Classification(ClassificationParams),
    /// `make_regression` with these arguments.
    Regression(RegressionParams),
}

impl Synthetic {
    /// Reads `make_classification?name=value&…` or `make_regression?…` with scikit-learn's argument names; what is left out
    /// has scikit-learn's default, and `random_state` 0. `weights`, `shift` and `scale` take numbers with commas between them, or
    /// `none`.
    ///
    /// # Errors
    ///
    /// An unknown generator or argument, an argument given twice or unreadable.
    pub fn parse(text: &str) -> Result<Self, SyntheticError> {
        let (generator, query) = text.split_once('?').unwrap_or((text, ""));
        let mut synthetic = match generator {
            CLASSIFICATION => Self::Classification(ClassificationParams::default()),
            REGRESSION => Self::Regression(RegressionParams::default()),
            other => return Err(SyntheticError::Generator(other.to_owned())),
        };
        let mut seen = std::collections::BTreeSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !seen.insert(name) {
                return Err(SyntheticError::Repeated(name.to_owned()));
            }
            match &mut synthetic {
                Self::Classification(params) => set_classification(params, name, value)?,
                Self::Regression(params) => set_regression(params, name, value)?,
            }
        }
        Ok(synthetic)
    }

    /// Rows and features, whether or not there can be so many.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Classification(params) => (params.n_samples, params.n_features),
            Self::Regression(params) => (params.n_samples, params.n_features),
        }
    }

    /// Makes the data set.
    ///
    /// # Errors
    ///
    /// An argument outside its range.
    pub fn frame(&self) -> Result<Frame, Error> {
        match self {
            Self::Classification(params) => make_classification(params)?.into_frame(),
            Self::Regression(params) => make_regression(params)?.into_frame(),
        }
    }
}

impl fmt::Display for Synthetic {
    /// The line of text that [`Synthetic::parse`] reads, all arguments written out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classification(params) => write!(
                f,
                "make_classification?n_samples={}&n_features={}&n_informative={}&n_redundant={}&n_repeated={}&n_classes={}\
                 &n_clusters_per_class={}&weights={}&flip_y={}&class_sep={}&hypercube={}&shift={}&scale={}&shuffle={}\
                 &random_state={}",
                params.n_samples,
                params.n_features,
                params.n_informative,
                params.n_redundant,
                params.n_repeated,
                params.n_classes,
                params.n_clusters_per_class,
                params.weights.as_deref().map_or_else(|| NONE.to_owned(), list),
                params.flip_y,
                params.class_sep,
                params.hypercube,
                params.shift,
                params.scale,
                params.shuffle,
                params.random_state
            ),
            Self::Regression(params) => write!(
                f,
                "make_regression?n_samples={}&n_features={}&n_informative={}&bias={}&noise={}&shuffle={}&random_state={}",
                params.n_samples,
                params.n_features,
                params.n_informative,
                params.bias,
                params.noise,
                params.shuffle,
                params.random_state
            ),
        }
    }
}

impl fmt::Display for PerFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(number) => number.fmt(f),
            Self::Each(numbers) => f.write_str(&list(numbers)),
            Self::Drawn => f.write_str(NONE),
        }
    }
}

fn list(numbers: &[f64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
    numbers.join(",")
}

const CLASSIFICATION: &str = "make_classification";
const REGRESSION: &str = "make_regression";
const WHOLE: &str = "a whole number";
const NUMBER: &str = "a number";
const TRUTH: &str = "true or false";
const NUMBERS: &str = "numbers with commas between them, or none";
/// scikit-learn's `None`.
const NONE: &str = "none";

fn set_regression(params: &mut RegressionParams, name: &str, value: &str) -> Result<(), SyntheticError> {
    match name {
        "n_samples" => params.n_samples = read(name, value, WHOLE)?,
        "n_features" => params.n_features = read(name, value, WHOLE)?,
        "n_informative" => params.n_informative = read(name, value, WHOLE)?,
        "bias" => params.bias = read(name, value, NUMBER)?,
        "noise" => params.noise = read(name, value, NUMBER)?,
        "shuffle" => params.shuffle = read(name, value, TRUTH)?,
        "random_state" => params.random_state = read(name, value, WHOLE)?,
        _ => return Err(SyntheticError::Argument { generator: REGRESSION, name: name.to_owned() }),
    }
    Ok(())
}

fn set_classification(params: &mut ClassificationParams, name: &str, value: &str) -> Result<(), SyntheticError> {
    match name {
        "n_samples" => params.n_samples = read(name, value, WHOLE)?,
        "n_features" => params.n_features = read(name, value, WHOLE)?,
        "n_informative" => params.n_informative = read(name, value, WHOLE)?,
        "n_redundant" => params.n_redundant = read(name, value, WHOLE)?,
        "n_repeated" => params.n_repeated = read(name, value, WHOLE)?,
        "n_classes" => params.n_classes = read(name, value, WHOLE)?,
        "n_clusters_per_class" => params.n_clusters_per_class = read(name, value, WHOLE)?,
        "weights" => params.weights = numbers(name, value)?,
        "flip_y" => params.flip_y = read(name, value, NUMBER)?,
        "class_sep" => params.class_sep = read(name, value, NUMBER)?,
        "hypercube" => params.hypercube = read(name, value, TRUTH)?,
        "shift" => params.shift = per_feature(name, value)?,
        "scale" => params.scale = per_feature(name, value)?,
        "shuffle" => params.shuffle = read(name, value, TRUTH)?,
        "random_state" => params.random_state = read(name, value, WHOLE)?,
        _ => return Err(SyntheticError::Argument { generator: CLASSIFICATION, name: name.to_owned() }),
    }
    Ok(())
}

fn read<T: FromStr>(name: &str, value: &str, expected: &'static str) -> Result<T, SyntheticError> {
    value.parse().map_err(|_| SyntheticError::Value { name: name.to_owned(), value: value.to_owned(), expected })
}

/// Numbers of a list; `None` for `none`.
fn numbers(name: &str, value: &str) -> Result<Option<Vec<f64>>, SyntheticError> {
    let refused = |_| SyntheticError::Value { name: name.to_owned(), value: value.to_owned(), expected: NUMBERS };
    match value {
        NONE => Ok(None),
        list => list.split(',').map(str::parse).collect::<Result<_, _>>().map(Some).map_err(refused),
    }
}

fn per_feature(name: &str, value: &str) -> Result<PerFeature, SyntheticError> {
    Ok(match numbers(name, value)? {
        None => PerFeature::Drawn,
        Some(numbers) => match numbers.as_slice() {
            [number] => PerFeature::Same(*number),
            _ => PerFeature::Each(numbers),
        },
    })
}
