//! Cuts drawn at random, as extremely randomised trees have them.

use crate::frame::Frame;
use crate::random::Xorshift;

/// A cut of a feature drawn at random.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    pub(super) threshold: f64,
    /// Where missing values go, if there are any.
    pub(super) missing_left: Option<bool>,
}

impl Drawn {
    /// Between the least and the largest value of a node.
    pub(super) fn new(stream: &mut Xorshift, low: f32, high: f32, has_missing: bool) -> Self {
        let mut threshold = stream.uniform(f64::from(low), f64::from(high));
        let missing_left = has_missing.then(|| stream.between(0, 2) == 1);
        if threshold >= f64::from(high) {
            threshold = f64::from(low);
        }
        Self { threshold, missing_left }
    }
}

/// Whether a threshold may depend on the order of rows: the least value of a node that has missing values, and zeros of both signs
/// otherwise, is the zero that comes first, and so is the cut. (Without missing values nothing is cut there; and one draw in 2³¹ is
/// the least value itself.)
pub(super) fn needs_order(frame: &Frame) -> bool {
    (0..frame.n_features()).any(|feature| {
        let column = frame.column(feature);
        column.iter().any(|value| value.is_nan())
            && column.iter().any(|value| *value == 0.0 && value.is_sign_negative())
            && column.iter().any(|value| *value == 0.0 && value.is_sign_positive())
    })
}

/// The largest float32 that is not above a number.
pub(super) fn round_down(number: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, then down")]
    let near = number as f32;
    if f64::from(near) > number { near.next_down() } else { near }
}

/// Reads the values of a column beside the rows of a node.
pub(super) fn read(column: &[f32], rows: &[u32], values: &mut [f32]) {
    for (value, row) in values.iter_mut().zip(rows) {
        *value = column[*row as usize];
    }
}

/// The least and the largest of values that are numbers, and how many are none. Of zeros as the least it is the first.
pub(super) fn range(values: &[f32]) -> (f32, f32, usize) {
    let (mut low, high, any_missing) = match values.len() {
        16.. => range_by::<16>(values),
        8.. => range_by::<8>(values),
        4.. => range_by::<4>(values),
        _ => range_by::<1>(values),
    };
    if low == 0.0 {
        low = values.iter().copied().find(|value| *value == 0.0).unwrap_or(low);
    }
    let n_missing = if any_missing { values.iter().filter(|value| value.is_nan()).count() } else { 0 };
    (low, high, n_missing)
}

/// So many values side by side, of at least as many: the last ones are looked at twice if need be.
fn range_by<const LANES: usize>(values: &[f32]) -> (f32, f32, bool) {
    let (mut low, mut high, mut missing) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [false; LANES]);
    let (groups, _) = values.as_chunks::<LANES>();
    for group in groups.iter().chain(values.last_chunk()) {
        for (lane, &value) in group.iter().enumerate() {
            // NaN is neither below nor above.
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] { value } else { high[lane] };
            missing[lane] |= value.is_nan();
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            let (value, other) = (low[lane], low[lane + width]);
            low[lane] = if other < value { other } else { value };
            let (value, other) = (high[lane], high[lane + width]);
            high[lane] = if other > value { other } else { value };
        }
    }
    (low[0], high[0], missing.contains(&true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Label, Target};

    #[test]
    fn the_least_of_zeros_is_the_first_of_them() {
        for first in [0, 1, 17, 40] {
            for sign in [-1.0_f32, 1.0] {
                let mut values = vec![f32::NAN; first];
                values.push(0.0_f32.copysign(sign));
                values.extend([0.0_f32.copysign(-sign); 33]);
                let (low, high, n_missing) = range(&values);
                assert_eq!((low.to_bits(), high, n_missing), (values[first].to_bits(), 0.0, first));
            }
        }
    }

    #[test]
    fn zeros_of_both_signs_matter_beside_missing_values_of_their_column() {
        let of = |column: [f32; 4]| {
            let columns = [column, [f32::NAN, 1.0, 2.0, 3.0], [-0.0, 0.0, -0.0, 0.0]].concat();
            let names = ["a", "b", "c"].map(str::to_owned).to_vec();
            Frame::new(names, columns, "target", Target::from_labels(&[0, 1, 0, 1].map(Label::Int))).unwrap()
        };
        assert!(needs_order(&of([0.0, -0.0, f32::NAN, 1.0])));
        assert!(!needs_order(&of([0.0, 0.0, f32::NAN, -1.0])));
        assert!(!needs_order(&of([0.0, -0.0, 2.0, -1.0])));
    }

    #[test]
    fn numbers_are_rounded_down() {
        let above = 1.0 + f64::from(f32::EPSILON);
        for (number, expected) in
            [(1.0, 1.0), (1.0 - 1e-12, 1.0_f32.next_down()), (1.0 + 1e-12, 1.0), (above, 1.0 + f32::EPSILON)]
        {
            assert_eq!(round_down(number).to_bits(), expected.to_bits(), "{number}");
        }
    }
}
