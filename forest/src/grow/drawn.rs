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

/// Numbers compared side by side.
const LANES: usize = 16;

/// The least and the largest of values that are numbers, and how many are none. Of zeros as the least it is the first.
pub(super) fn range(values: &[f32]) -> (f32, f32, usize) {
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut missing = [0_u32; LANES];
    let mut look = |lane: usize, value: f32| {
        // NaN is neither below nor above.
        low[lane] = if value < low[lane] { value } else { low[lane] };
        high[lane] = if value > high[lane] { value } else { high[lane] };
        missing[lane] += u32::from(value.is_nan());
    };
    let (groups, rest) = values.as_chunks::<LANES>();
    for group in groups {
        for (lane, value) in group.iter().enumerate() {
            look(lane, *value);
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        look(lane, *value);
    }
    let mut least = low.into_iter().fold(f32::INFINITY, |least, value| if value < least { value } else { least });
    if least == 0.0 {
        least = values.iter().copied().find(|value| *value == 0.0).unwrap_or(least);
    }
    let most = high.into_iter().fold(f32::NEG_INFINITY, |most, value| if value > most { value } else { most });
    (least, most, missing.iter().sum::<u32>() as usize)
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
