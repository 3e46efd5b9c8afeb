//! Synthetic data sets: scikit-learn's, bit for bit where [`make_classification`] and [`make_regression`] say so.

mod classification;
mod regression;
mod uri;

pub use classification::{ClassificationParams, PerFeature, make_classification};
pub use regression::{Regression, RegressionParams, make_regression};
pub use uri::{Synthetic, SyntheticError};

use crate::Error;
use crate::frame::{Frame, Label, Target};

/// Features in float64 as generated, and a class per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Row-major `(n_samples, n_features)`.
    pub x: Vec<f64>,
    /// Class of each row, `0..n_classes`.
    pub y: Vec<u32>,
    /// Number of features.
    pub n_features: usize,
}

impl Classification {
    /// The data set as a frame: features `x0`, `x1`, …, target `target`, values rounded to float32.
    ///
    /// # Errors
    ///
    /// Values beyond float32.
    pub fn into_frame(self) -> Result<Frame, Error> {
        let (names, columns) = columns(&self.x, self.n_features);
        let labels: Vec<Label> = self.y.iter().map(|class| Label::Int(i64::from(*class))).collect();
        Ok(Frame::new(names, columns, "target", Target::from_labels(&labels))?)
    }
}

/// Names and float32 columns of row-major values.
#[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is what scikit-learn's trees train on")]
fn columns(x: &[f64], n_features: usize) -> (Vec<String>, Vec<f32>) {
    let names = (0..n_features).map(|feature| format!("x{feature}")).collect();
    let mut columns = Vec::with_capacity(x.len());
    for feature in 0..n_features {
        columns.extend(x.iter().skip(feature).step_by(n_features).map(|value| *value as f32));
    }
    (names, columns)
}
