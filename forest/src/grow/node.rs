//! A cut, and the bounds that monotonic constraints put on a node's value.

/// A cut of a node's rows by one feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) feature: usize,
    /// Rows with value ≤ threshold go left.
    pub(super) threshold: f64,
    pub(super) missing_go_to_left: bool,
    /// What is to be maximal.
    pub(super) score: f64,
}

/// The interval in which a node's first value must lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl Bounds {
    pub(super) const OPEN: Self = Self { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

    /// Whether the sides' values keep the bounds and the constraint `sign` (−1: left ≥ right, 1: left ≤ right).
    pub(super) fn allow(self, sign: i8, left: f64, right: f64) -> bool {
        let inside = |value: f64| value >= self.lower && value <= self.upper;
        inside(left) && inside(right) && (left - right) * f64::from(sign) <= 0.0
    }

    /// Bounds of the left and the right child of a cut on a feature with constraint `sign`.
    pub(super) fn children(self, sign: i8, middle: f64) -> (Self, Self) {
        match sign {
            0 => (self, self),
            1 => (Self { upper: middle, ..self }, Self { lower: middle, ..self }),
            _ => (Self { lower: middle, ..self }, Self { upper: middle, ..self }),
        }
    }

    /// Pushes a node's value into the bounds; of two class fractions the second follows the first.
    pub(super) fn clip(self, value: &mut [f64]) {
        if let Some(first) = value.first_mut() {
            if *first < self.lower {
                *first = self.lower;
            } else if *first > self.upper {
                *first = self.upper;
            }
        }
        if let [first, second] = value {
            *second = 1.0 - *first;
        }
    }
}
