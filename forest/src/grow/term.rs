//! Sums of single numbers, as regressors have them, and the score of a cut between two of them.

/// A weighted sum of numbers, or one number of it, and its weight.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Term {
    pub(super) sum: f64,
    pub(super) weight: f64,
}

impl Term {
    pub(super) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.sum -= other.sum;
        self.weight -= other.weight;
    }
}

/// What each number brings to a sum.
pub(super) fn terms(numbers: &[f64], weights: Option<&[f64]>) -> Vec<Term> {
    match weights {
        Some(weights) => {
            numbers.iter().zip(weights).map(|(number, &weight)| Term { sum: weight * number, weight }).collect()
        }
        None => numbers.iter().map(|&sum| Term { sum, weight: 1.0 }).collect(),
    }
}

/// Binary digits after the point that terms may have to be taken for exact.
const DIGITS: i32 = 10;

/// Whether no sum of terms, or of their squares, is rounded, so that none depends on an order: where all are whole numbers, or almost,
/// and not too large.
pub(super) fn are_exact(terms: &[Term]) -> bool {
    let scale = 2_f64.powi(DIGITS);
    let most = 2_f64.powi(f64::MANTISSA_DIGITS.cast_signed());
    let is_whole = |number: f64| (number * scale).fract().abs() <= 0.0;
    let (mut sum, mut weight, mut squares) = (0.0, 0.0, 0.0);
    for term in terms.iter().filter(|term| term.weight > 0.0) {
        let number = term.sum / term.weight;
        if !(is_whole(number) && term.weight.fract().abs() <= 0.0) {
            return false;
        }
        sum += term.sum.abs();
        weight += term.weight;
        squares += term.sum.abs() * number.abs();
    }
    !terms.is_empty() && sum * scale < most && squares * scale * scale < most && weight < most
}

/// The best score so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToBeat {
    pub(super) score: f64,
    /// A little less, where rounding is relative; else nothing.
    estimate: f64,
}

impl ToBeat {
    /// What a score may be off by, without and with divisions together: some twelve roundings of 2⁻⁵³.
    const SLACK: f64 = 1e-14;
    /// Scores from here on have no part in them that is rounded as subnormal numbers are.
    const NORMAL: f64 = 1e-200;

    pub(super) fn new(score: f64) -> Self {
        let estimate = if score >= Self::NORMAL { score * (1.0 - Self::SLACK) } else { f64::NEG_INFINITY };
        Self { score, estimate }
    }

    /// Takes the score of a cut, `left² / weight left + right² / weight right` in scikit-learn's rounding, if it is better. Hardly
    /// any is, and that is seen without a division.
    pub(super) fn is_beaten_by(&mut self, left: Term, right: Term) -> bool {
        let (squared_left, squared_right) = (left.sum * left.sum, right.sum * right.sum);
        if squared_left * right.weight + squared_right * left.weight < self.estimate * (left.weight * right.weight) {
            return false;
        }
        let score = squared_left / left.weight + squared_right / right.weight;
        if score > self.score {
            *self = Self::new(score);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomState;

    /// Whatever the size of numbers and weights, what is seen without a division is what the scores say.
    #[test]
    fn no_better_score_is_missed() {
        let mut stream = RandomState::new(5);
        for scale in [0.0, 1e-170, 1e-150, 1e-110, 1e-30, 1.0, 1e30, 1e150, 1e160] {
            let mut drawn = || Term { sum: scale * stream.standard_normal(), weight: 3.0 * stream.random_sample() };
            let (mut fast, mut slow) = (ToBeat::new(f64::NEG_INFINITY), f64::NEG_INFINITY);
            for _ in 0..1000 {
                let (left, right) = (drawn(), drawn());
                let score = left.sum * left.sum / left.weight + right.sum * right.sum / right.weight;
                for _ in 0..2 {
                    assert_eq!(fast.is_beaten_by(left, right), score > slow, "{left:?}, {right:?}");
                    slow = slow.max(score);
                    assert_eq!(fast.score.to_bits(), slow.to_bits());
                }
                // The smallest step up is seen.
                let below = slow.next_down();
                let mut close = ToBeat::new(below);
                assert_eq!(close.is_beaten_by(left, right), score > below);
            }
        }
    }

    #[test]
    fn sums_are_exact_where_numbers_are_whole_and_small() {
        let of = |numbers: &[f64], weights: Option<&[f64]>| are_exact(&terms(numbers, weights));
        assert!(
            of(&[3.0, -2.0, 0.25], None) && of(&[3.0, 0.5], Some(&[2.0, 0.0])) && of(&[0.1, 1.0], Some(&[0.0, 1.0]))
        );
        assert!(!of(&[0.1, 1.0], None) && !of(&[3.0, 0.5], Some(&[2.0, 0.5])) && !of(&[], None));
        // Squares of 2^-20 steps up to 2^33.
        assert!(of(&[65_536.0], None) && !of(&[65_536.0, 65_536.0, 65_536.0], None) && !of(&[1e300], None));
    }
}
