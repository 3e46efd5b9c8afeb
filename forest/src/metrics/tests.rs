//! Measures where rounding and the order of scores matter.

#![expect(clippy::cast_precision_loss, reason = "whole numbers below 2^53")]

use super::{Average, MultiClass, classification, regression, roc_auc};
use crate::Error;

/// Probabilities of two classes from the second one's scores.
fn pairs(scores: &[f64]) -> Vec<f64> {
    scores.iter().flat_map(|score| [1.0 - score, *score]).collect()
}

fn area(y_true: &[u32], scores: &[f64]) -> Result<Option<f64>, Error> {
    roc_auc(y_true, &pairs(scores), 2, MultiClass::Ovr, Average::Macro)
}

/// scikit-learn 1.9.1 answers 0.625, too.
#[test]
fn the_two_zeros_are_one_score() {
    for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
        let found = area(&[0, 1, 1, 0], &[zeros[0], zeros[1], 0.5, 0.2]).unwrap();
        assert_eq!(found.map(f64::to_bits), Some(0.625_f64.to_bits()));
    }
}

/// scikit-learn raises "Input contains NaN" and "Input contains infinity".
#[test]
fn scores_without_a_place_are_refused_with_theirs() {
    for (score, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let scores = [0.5, 0.1, score];
        let of_classes = classification(&[0, 1, 1], &pairs(&scores), 2).unwrap_err();
        for error in [of_classes, area(&[0, 1, 1], &scores).unwrap_err()] {
            assert!(matches!(error, Error::Score { row: 2, .. }), "{error}");
        }
        let proba = [0.5, 0.5, 0.0, score, 0.5, 0.5];
        let error = roc_auc(&[0, 1], &proba, 3, MultiClass::Ovo, Average::Weighted).unwrap_err();
        assert_eq!(error.to_string(), format!("row 1, class 0: the score {shown} is not finite"));
    }
}

/// scikit-learn raises "Input contains NaN" and "Input contains infinity"; of a single row it says that there is no R².
#[test]
fn numbers_without_a_measure_are_refused_and_one_row_has_no_r2() {
    for odd in [f64::NAN, f64::INFINITY] {
        for (y_true, y_pred, place) in
            [([odd, 2.0], [2.0, 2.0], "row 0 of `y_true`"), ([2.0; 2], [1.0, odd], "row 1 of `y_pred`")]
        {
            let error = regression(&y_true, &y_pred).unwrap_err();
            assert!(matches!(error, Error::Number { .. }) && error.to_string().starts_with(place), "{error}");
        }
    }
    let one = regression(&[3.0], &[2.5]).unwrap();
    assert_eq!(one.r2, None);
    let written = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<super::Regression>(&written).unwrap(), one);
}

#[test]
fn classes_beyond_counting_are_refused() {
    let error = classification(&[0], &[1.0, 0.0], usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Shape { what: "proba", .. }), "{error}");
}

/// Numbers whose squares' sums are known exactly, far from zero: a plain sum has forgotten the fractions after 10^5 rows.
#[test]
fn numbers_far_from_zero_are_measured_to_the_last_digits() {
    const PARTS: i64 = 4096;
    let n = 100_000_i64;
    let at = |row: i64| (row * 7919 % (2 * PARTS + 1)) - PARTS;
    let off = |row: i64| row * 31 % 1001 - 500;
    let number = |parts: i64| 1e9 + parts as f64 / PARTS as f64;
    let truth: Vec<f64> = (0..n).map(|row| number(at(row))).collect();
    let guess: Vec<f64> = (0..n).map(|row| number(at(row) + off(row))).collect();
    let sum: i64 = (0..n).map(at).sum();
    let spread = ((0..n).map(|row| at(row) * at(row)).sum::<i64>() as f64) - (sum as f64 * sum as f64) / n as f64;
    let residual: i64 = (0..n).map(|row| off(row) * off(row)).sum();
    let absolute: i64 = (0..n).map(|row| off(row).abs()).sum();
    let found = regression(&truth, &guess).unwrap();
    let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-12, "{found}, {expected}");
    close(found.r2.unwrap(), 1.0 - residual as f64 / spread);
    close(found.mse, residual as f64 / (n * PARTS * PARTS) as f64);
    close(found.mae, absolute as f64 / (n * PARTS) as f64);
}
