//! Impurity of a set of classes.

/// An impurity measure over whole class counts.
pub(super) trait Impurity {
    /// Impurity of `counts` that sum to `weight` and whose squares sum to `squares`.
    fn of(counts: &[u64], squares: u64, weight: f64) -> f64;

    /// Impurity of class weights that sum to `weight`, each sum formed in the order of the classes.
    fn of_sums(sums: &[f64], weight: f64) -> f64;
}

/// Gini impurity (Breiman et al. 1984).
pub(super) struct Gini;

impl Impurity for Gini {
    #[expect(clippy::cast_precision_loss, reason = "exact: a square sum below 2^53 for nodes of up to 94 million rows")]
    fn of(_counts: &[u64], squares: u64, weight: f64) -> f64 {
        1.0 - squares as f64 / (weight * weight)
    }

    fn of_sums(sums: &[f64], weight: f64) -> f64 {
        let squares = sums.iter().fold(0.0, |squares, sum| squares + sum * sum);
        1.0 - squares / (weight * weight)
    }
}

/// Shannon entropy in bits.
pub(super) struct Entropy;

impl Impurity for Entropy {
    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    fn of(counts: &[u64], _squares: u64, weight: f64) -> f64 {
        entropy(counts.iter().map(|count| *count as f64), weight)
    }

    fn of_sums(sums: &[f64], weight: f64) -> f64 {
        entropy(sums.iter().copied(), weight)
    }
}

fn entropy(counts: impl Iterator<Item = f64>, weight: f64) -> f64 {
    let mut entropy = 0.0;
    for count in counts.filter(|count| *count > 0.0) {
        let part = count / weight;
        entropy -= part * (part.ln() / std::f64::consts::LN_2);
    }
    entropy
}
