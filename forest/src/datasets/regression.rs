//! scikit-learn's `make_regression`, with the same order of draws.

use super::SyntheticError;
use super::classification::{check_shape, refuse};
use crate::frame::{Frame, Target};
use crate::{Error, random::RandomState};

/// Arguments of `make_regression` under scikit-learn's names and defaults, for one target. `effective_rank` is not among
/// them: it takes LAPACK's singular vectors, which no other program repeats bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct RegressionParams {
    /// Rows.
    pub n_samples: usize,
    /// Features.
    pub n_features: usize,
    /// Features that carry the target; no more than there are.
    pub n_informative: usize,
    /// Added to the target.
    pub bias: f64,
    /// Standard deviation of the noise on the target, 0 or more.
    pub noise: f64,
    /// Shuffle rows and features.
    pub shuffle: bool,
    /// Seed.
    pub random_state: u32,
}

impl Default for RegressionParams {
    fn default() -> Self {
        Self {
            n_samples: 100,
            n_features: 100,
            n_informative: 10,
            bias: 0.0,
            noise: 0.0,
            shuffle: true,
            random_state: 0,
        }
    }
}

impl RegressionParams {
    fn check(&self) -> Result<(), SyntheticError> {
        for (name, value) in [("n_samples", self.n_samples), ("n_features", self.n_features)] {
            if value == 0 {
                return refuse(name, 0, "at least 1");
            }
        }
        check_shape(self.n_samples, self.n_features)?;
        if !self.bias.is_finite() {
            return refuse("bias", self.bias, "a finite number");
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return refuse("noise", self.noise, "a finite number of at least 0.0");
        }
        Ok(())
    }
}

/// Features in float64 as generated, a number per row, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    /// Row-major `(n_samples, n_features)`.
    pub x: Vec<f64>,
    /// Target of each row.
    pub y: Vec<f64>,
    /// Coefficient of each feature in the target: `coef=True`.
    pub coef: Vec<f64>,
}

impl Regression {
    /// The data set as a frame: features `x0`, `x1`, …, target `target`, features rounded to float32.
    ///
    /// # Errors
    ///
    /// Values beyond float32.
    pub fn into_frame(self) -> Result<Frame, Error> {
        let (names, columns) = super::columns(&self.x, self.coef.len());
        Ok(Frame::new(names, columns, "target", Target::Values(self.y))?)
    }
}

/// The data set that scikit-learn makes of these arguments with `coef=True`. Its target is a product of matrix and vector
/// that NumPy leaves to a library; sums are formed in the order of `OpenBLAS` on one thread of an x86-64 with AVX2, which is where
/// NumPy gives these very bits, from two rows on.
///
/// # Errors
///
/// An argument outside its range.
pub fn make_regression(params: &RegressionParams) -> Result<Regression, SyntheticError> {
    params.check()?;
    let (n_samples, n_features) = (params.n_samples, params.n_features);
    let mut stream = RandomState::new(params.random_state);
    let mut x: Vec<f64> = (0..n_samples * n_features).map(|_| stream.standard_normal()).collect();
    let mut coef = vec![0.0; n_features];
    for coefficient in coef.iter_mut().take(params.n_informative) {
        *coefficient = 100.0 * stream.random_sample();
    }
    let mut y = products(&x, &coef);
    for target in &mut y {
        *target += params.bias;
    }
    if params.noise > 0.0 {
        for target in &mut y {
            *target += params.noise * stream.standard_normal();
        }
    }
    if params.shuffle {
        let rows = stream.permutation(n_samples);
        let features = stream.permutation(n_features);
        let value = |row: usize| features.iter().map(move |feature| row * n_features + feature);
        x = rows.iter().flat_map(|row| value(*row)).map(|at| x[at]).collect();
        y = rows.iter().map(|row| y[*row]).collect();
        coef = features.iter().map(|feature| coef[*feature]).collect();
    }
    Ok(Regression { x, y, coef })
}

/// Terms that one round of the kernel adds.
const LANES: usize = 4;
/// Columns that one call of the kernel takes.
const BLOCK: usize = 2048;

/// Products of rows and `coef` as the kernel `dgemv_t` of `OpenBLAS` for Haswell and later sums them: rows in fours with fused
/// multiply-add in four lanes, the last two or three rows without.
pub(super) fn products(x: &[f64], coef: &[f64]) -> Vec<f64> {
    let width = coef.len();
    let n_rows = x.len() / width;
    let in_fours = n_rows - n_rows % LANES;
    let kernel = |row: usize| match (row < in_fours, n_rows % LANES) {
        (true, _) => fused::<LANES>,
        (false, 2) => plain::<2>,
        (false, 3) if row < in_fours + 2 => plain::<2>,
        (false, _) => plain::<LANES>,
    };
    let rest = width - width % LANES;
    let product = |(row, values): (usize, &[f64])| {
        let mut sum = 0.0;
        for (values, coef) in values[..rest].chunks(BLOCK).zip(coef[..rest].chunks(BLOCK)) {
            sum += kernel(row)(values, coef);
        }
        match (&values[rest..], &coef[rest..]) {
            ([x], [c]) => x.mul_add(*c, sum),
            ([x0, x1], [c0, c1]) => sum + x0.mul_add(*c0, x1 * c1),
            ([x0, x1, x2], [c0, c1, c2]) => sum + x2.mul_add(*c2, x0.mul_add(*c0, x1 * c1)),
            _ => sum,
        }
    };
    x.chunks_exact(width).enumerate().map(product).collect()
}

fn fused<const N: usize>(values: &[f64], coef: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; N];
    for (at, (value, coefficient)) in values.iter().zip(coef).enumerate() {
        lanes[at % N] = value.mul_add(*coefficient, lanes[at % N]);
    }
    total(&lanes)
}

fn plain<const N: usize>(values: &[f64], coef: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; N];
    for (at, (value, coefficient)) in values.iter().zip(coef).enumerate() {
        lanes[at % N] += value * coefficient;
    }
    total(&lanes)
}

/// The lanes' sum: the upper half onto the lower, then neighbours.
fn total(lanes: &[f64]) -> f64 {
    match lanes {
        [a, b, c, d] => (a + c) + (b + d),
        lanes => lanes.iter().sum(),
    }
}
