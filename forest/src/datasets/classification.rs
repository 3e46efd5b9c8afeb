//! scikit-learn's `make_classification` (after Guyon 2003, "Design of experiments for the NIPS 2003 variable
//! selection benchmark"), with the same order of draws.

use super::regression::products;
use super::{Classification, SyntheticError};
use crate::frame::COLUMNS_MAX;
use crate::random::RandomState;

/// Float64 values that a synthetic data set, or a matrix on the way to it, may have: 8 GiB.
pub(super) const VALUES_MAX: usize = 1 << 30;
/// Bits of one draw of hypercube vertices.
const HYPERCUBE_BITS: usize = 30;

/// Arguments of `make_classification` under scikit-learn's names and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassificationParams {
    /// Rows.
    pub n_samples: usize,
    /// Features.
    pub n_features: usize,
    /// Features that carry the classes.
    pub n_informative: usize,
    /// Linear combinations of informative features.
    pub n_redundant: usize,
    /// Copies of informative or redundant features.
    pub n_repeated: usize,
    /// Classes.
    pub n_classes: usize,
    /// Gaussian clusters per class.
    pub n_clusters_per_class: usize,
    /// Share of the rows of each class, 0 or more; one fewer than there are classes leaves the rest to the last. `None`:
    /// classes of equal size. Rows beyond a sum of 1 are not there.
    pub weights: Option<Vec<f64>>,
    /// Fraction of rows whose class is drawn anew, in [0, 1].
    pub flip_y: f64,
    /// Half the side of the hypercube, above 0.
    pub class_sep: f64,
    /// Centroids on a hypercube, else on a random polytope.
    pub hypercube: bool,
    /// Added to each feature; drawn from [−`class_sep`, `class_sep`) where it is [`PerFeature::Drawn`].
    pub shift: PerFeature,
    /// What each feature is multiplied by once it is shifted; drawn from [1, 101) where it is [`PerFeature::Drawn`].
    pub scale: PerFeature,
    /// Shuffle rows and features.
    pub shuffle: bool,
    /// Seed.
    pub random_state: u32,
}

/// A number for each feature, in the order before features are shuffled.
#[derive(Debug, Clone, PartialEq)]
pub enum PerFeature {
    /// The same for all.
    Same(f64),
    /// One for each.
    Each(Vec<f64>),
    /// Drawn at random: `None` in scikit-learn.
    Drawn,
}

impl PerFeature {
    fn check(&self, name: &'static str, n_features: usize) -> Result<(), SyntheticError> {
        let numbers = match self {
            Self::Same(number) => std::slice::from_ref(number),
            Self::Each(numbers) if numbers.len() != n_features => {
                return refuse(name, format!("{} numbers", numbers.len()), &format!("one number, or {n_features}"));
            }
            Self::Each(numbers) => numbers,
            Self::Drawn => &[],
        };
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(number) => refuse(name, number, "finite numbers"),
            None => Ok(()),
        }
    }

    fn numbers(&self, n_features: usize, draw: impl FnMut() -> f64) -> Vec<f64> {
        match self {
            Self::Same(number) => vec![*number; n_features],
            Self::Each(numbers) => numbers.clone(),
            Self::Drawn => std::iter::repeat_with(draw).take(n_features).collect(),
        }
    }
}

impl Default for ClassificationParams {
    fn default() -> Self {
        Self {
            n_samples: 100,
            n_features: 20,
            n_informative: 2,
            n_redundant: 2,
            n_repeated: 0,
            n_classes: 2,
            n_clusters_per_class: 2,
            weights: None,
            flip_y: 0.01,
            class_sep: 1.0,
            hypercube: true,
            shift: PerFeature::Same(0.0),
            scale: PerFeature::Same(1.0),
            shuffle: true,
            random_state: 0,
        }
    }
}

impl ClassificationParams {
    fn n_clusters(&self) -> usize {
        self.n_classes.saturating_mul(self.n_clusters_per_class)
    }

    fn check(&self) -> Result<(), SyntheticError> {
        let at_least_one = [
            ("n_samples", self.n_samples),
            ("n_features", self.n_features),
            ("n_informative", self.n_informative),
            ("n_classes", self.n_classes),
            ("n_clusters_per_class", self.n_clusters_per_class),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return refuse(name, 0, "at least 1");
            }
        }
        check_shape(self.n_samples, self.n_features)?;
        let useful = self.n_informative.saturating_add(self.n_redundant).saturating_add(self.n_repeated);
        if useful > self.n_features {
            return refuse(
                "n_features",
                self.n_features,
                &format!("at least n_informative + n_redundant + n_repeated = {useful}"),
            );
        }
        let vertices =
            u32::try_from(self.n_informative).ok().and_then(|bits| 1_usize.checked_shl(bits)).unwrap_or(usize::MAX);
        if self.n_clusters() > vertices {
            return refuse("n_classes", self.n_classes, "at most 2**n_informative / n_clusters_per_class");
        }
        // Matrices that mix features: one a cluster, one for those that are redundant; and the clusters' centroids.
        let mixed = self.n_informative.max(self.n_redundant);
        if self.n_informative.saturating_mul(mixed) > VALUES_MAX {
            let allowed = format!("at most {VALUES_MAX} / max(n_informative, n_redundant)");
            return refuse("n_informative", self.n_informative, &allowed);
        }
        if self.n_clusters().saturating_mul(self.n_informative) > VALUES_MAX {
            let allowed = format!("at most {VALUES_MAX} / (n_informative * n_clusters_per_class)");
            return refuse("n_classes", self.n_classes, &allowed);
        }
        if !(0.0..=1.0).contains(&self.flip_y) {
            return refuse("flip_y", self.flip_y, "in [0.0, 1.0]");
        }
        if !(self.class_sep > 0.0 && self.class_sep.is_finite()) {
            return refuse("class_sep", self.class_sep, "a finite number above 0.0");
        }
        self.shift.check("shift", self.n_features)?;
        self.scale.check("scale", self.n_features)?;
        self.class_shares().map(drop)
    }

    /// Share of the rows of each class.
    #[expect(clippy::cast_precision_loss, reason = "a number of classes far below 2^53")]
    fn class_shares(&self) -> Result<Vec<f64>, SyntheticError> {
        let n_classes = self.n_classes;
        let Some(weights) = &self.weights else { return Ok(vec![1.0 / n_classes as f64; n_classes]) };
        let mut shares = weights.clone();
        if shares.len() + 1 == n_classes {
            shares.push(1.0 - weights.iter().sum::<f64>());
        }
        if shares.len() != n_classes {
            let allowed = format!("one number per class ({n_classes}), or one fewer");
            return refuse("weights", format!("{} numbers", weights.len()), &allowed);
        }
        match shares.iter().find(|share| !(share.is_finite() && **share >= 0.0)) {
            Some(share) if weights.len() < n_classes && weights.iter().all(|weight| *weight >= 0.0) => {
                refuse("weights", share, "at most 1.0 together, where the last class gets the rest")
            }
            Some(share) => refuse("weights", share, "finite numbers of at least 0.0"),
            None => Ok(shares),
        }
    }
}

/// Refuses more values than memory should be asked for, and more columns than a data set may have.
pub(super) fn check_shape(n_samples: usize, n_features: usize) -> Result<(), SyntheticError> {
    if n_features > COLUMNS_MAX {
        return refuse("n_features", n_features, &format!("at most {COLUMNS_MAX}"));
    }
    if n_samples.saturating_mul(n_features) > VALUES_MAX {
        return refuse("n_samples", n_samples, &format!("at most {VALUES_MAX} / n_features"));
    }
    Ok(())
}

pub(super) fn refuse<T>(name: &'static str, value: impl std::fmt::Display, allowed: &str) -> Result<T, SyntheticError> {
    Err(SyntheticError::Range { name, value: value.to_string(), allowed: allowed.to_owned() })
}

/// A random classification problem: scikit-learn's for the same arguments.
///
/// Its features are products of matrices, which NumPy leaves to a library. They are the same bits as with `OpenBLAS` on an x86-64
/// with AVX2 or AVX-512 up to 15 informative features; with more, where clusters have few rows (beyond 384 always), and in a
/// cluster of one row, `OpenBLAS` adds in other orders, and the last bits of a float64 may differ.
///
/// # Errors
///
/// An argument outside its range.
pub fn make_classification(params: &ClassificationParams) -> Result<Classification, SyntheticError> {
    params.check()?;
    let mut stream = RandomState::new(params.random_state);
    let (n, width, informative) = (params.n_samples, params.n_features, params.n_informative);
    let sizes = cluster_sizes(params, &params.class_shares()?);
    let centroids = centroids(params, &mut stream);

    let mut x = vec![0.0; n * width];
    let mut y = vec![0; n];
    for row in x.chunks_exact_mut(width) {
        row[..informative].fill_with(|| stream.standard_normal());
    }
    let mut start = 0;
    for (cluster, size) in sizes.into_iter().enumerate() {
        let stop = n.min(start + size);
        y[start..stop].fill(u32::try_from(cluster % params.n_classes).unwrap_or(u32::MAX));
        let mixing = signed_matrix(informative * informative, &mut stream);
        let centroid = &centroids[cluster * informative..(cluster + 1) * informative];
        for row in x[start * width..stop * width].chunks_exact_mut(width) {
            let mixed = product(&row[..informative], &mixing, informative);
            for (value, (mixed, shift)) in row.iter_mut().zip(mixed.iter().zip(centroid)) {
                *value = mixed + shift;
            }
        }
        start = stop;
    }
    derive_features(params, &mut x, &mut stream);
    flip_labels(params, &mut y, &mut stream);
    let shift = params.shift.numbers(width, || (2.0 * stream.random_sample() - 1.0) * params.class_sep);
    let scale = params.scale.numbers(width, || 1.0 + 100.0 * stream.random_sample());
    for row in x.chunks_exact_mut(width) {
        for (value, (shift, scale)) in row.iter_mut().zip(shift.iter().zip(&scale)) {
            *value = (*value + shift) * scale;
        }
    }
    if params.shuffle {
        (x, y) = shuffled(&x, &y, width, &mut stream);
    }
    Ok(Classification { x, y, n_features: width })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "Python's int() of a count far below 2^53"
)]
fn cluster_sizes(params: &ClassificationParams, class_shares: &[f64]) -> Vec<usize> {
    let rows = |share: &f64| (params.n_samples as f64 * share / params.n_clusters_per_class as f64) as usize;
    let clusters = params.n_clusters();
    let mut sizes: Vec<usize> = class_shares.iter().map(rows).cycle().take(clusters).collect();
    let rest = params.n_samples.saturating_sub(sizes.iter().fold(0, |sum, size| sum.saturating_add(*size)));
    for at in 0..rest {
        sizes[at % clusters] += 1;
    }
    sizes
}

/// Distinct vertices of the hypercube of side `2 * class_sep`, `(n_clusters, n_informative)`.
fn centroids(params: &ClassificationParams, stream: &mut RandomState) -> Vec<f64> {
    let (clusters, bits) = (params.n_clusters(), params.n_informative);
    let mut corners = vec![0_u32; clusters * bits];
    hypercube(clusters, bits, stream, &mut corners, bits);
    let mut centroids: Vec<f64> =
        corners.iter().map(|bit| f64::from(*bit) * (2.0 * params.class_sep) - params.class_sep).collect();
    if !params.hypercube {
        for row in centroids.chunks_exact_mut(bits) {
            let scale = stream.random_sample();
            for value in row {
                *value *= scale;
            }
        }
        let scales: Vec<f64> = (0..bits).map(|_| stream.random_sample()).collect();
        for row in centroids.chunks_exact_mut(bits) {
            for (value, scale) in row.iter_mut().zip(&scales) {
                *value *= scale;
            }
        }
    }
    centroids
}

/// Fills the last `bits` of each row of `width` bits with distinct corners; beyond 30 bits the front is plain random.
fn hypercube(rows: usize, bits: usize, stream: &mut RandomState, corners: &mut [u32], width: usize) {
    let first = width - bits;
    if bits > HYPERCUBE_BITS {
        for row in corners.chunks_exact_mut(width) {
            row[first..width - HYPERCUBE_BITS].fill_with(|| stream.randint(2));
        }
        return hypercube(rows, HYPERCUBE_BITS, stream, corners, width);
    }
    let n_corners = u32::try_from(rows).unwrap_or(u32::MAX);
    let numbers = stream.sample_without_replacement(1 << bits, n_corners);
    for (row, number) in corners.chunks_exact_mut(width).zip(numbers) {
        for (bit, corner) in row[first..].iter_mut().rev().enumerate() {
            *corner = number >> bit & 1;
        }
    }
}

/// Uniform numbers in [−1, 1).
fn signed_matrix(len: usize, stream: &mut RandomState) -> Vec<f64> {
    (0..len).map(|_| 2.0 * stream.random_sample() - 1.0).collect()
}

/// `row · matrix` for a row-major matrix with `width` columns, summed from the first term on with fused
/// multiply-add: the order and rounding of the BLAS kernels that NumPy uses.
fn product(row: &[f64], matrix: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0_f64; width];
    for (value, coefficients) in row.iter().zip(matrix.chunks_exact(width)) {
        for (sum, coefficient) in sums.iter_mut().zip(coefficients) {
            *sum = value.mul_add(*coefficient, *sum);
        }
    }
    sums
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a column index, computed in float64 as scikit-learn does"
)]
fn derive_features(params: &ClassificationParams, x: &mut [f64], stream: &mut RandomState) {
    let (width, informative, redundant) = (params.n_features, params.n_informative, params.n_redundant);
    let combined = informative + redundant;
    if redundant > 0 {
        let mixing = signed_matrix(informative * redundant, stream);
        if redundant == 1 {
            // A matrix times a vector: another kernel, another order of sums.
            let sources: Vec<f64> = x.chunks_exact(width).flat_map(|row| &row[..informative]).copied().collect();
            for (row, mixed) in x.chunks_exact_mut(width).zip(products(&sources, &mixing)) {
                row[informative] = mixed;
            }
        } else {
            for row in x.chunks_exact_mut(width) {
                let mixed = product(&row[..informative], &mixing, redundant);
                row[informative..combined].copy_from_slice(&mixed);
            }
        }
    }
    let sources: Vec<usize> =
        (0..params.n_repeated).map(|_| ((combined - 1) as f64 * stream.random_sample() + 0.5) as usize).collect();
    for row in x.chunks_exact_mut(width) {
        for (at, source) in sources.iter().enumerate() {
            row[combined + at] = row[*source];
        }
    }
    let first_random = combined + params.n_repeated;
    if first_random < width {
        for row in x.chunks_exact_mut(width) {
            row[first_random..].fill_with(|| stream.standard_normal());
        }
    }
}

fn flip_labels(params: &ClassificationParams, y: &mut [u32], stream: &mut RandomState) {
    let flips: Vec<bool> = y.iter().map(|_| stream.random_sample() < params.flip_y).collect();
    let classes = u32::try_from(params.n_classes).unwrap_or(u32::MAX);
    for (class, _) in y.iter_mut().zip(flips).filter(|(_, flip)| *flip) {
        *class = stream.randint(classes);
    }
}

fn shuffled(x: &[f64], y: &[u32], width: usize, stream: &mut RandomState) -> (Vec<f64>, Vec<u32>) {
    let rows = stream.permutation(y.len());
    let features = stream.permutation(width);
    let x = rows.iter().flat_map(|row| features.iter().map(move |feature| x[row * width + feature])).collect();
    (x, rows.iter().map(|row| y[*row]).collect())
}
