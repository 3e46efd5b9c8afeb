//! Areas under the ROC curve.

use super::{check, mean, ratio};
use crate::Error;

/// How more than two classes become pairs of classes: scikit-learn's `multi_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiClass {
    /// Each class against all others (Fawcett 2006).
    Ovr,
    /// Each class against each other (Hand and Till 2001).
    Ovo,
}

/// How the areas of classes, or of pairs, become one: scikit-learn's `average`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// All count alike.
    Macro,
    /// They count by their rows.
    Weighted,
}

/// The area under the ROC curve from true class indexes `(n,)` and probabilities `(n, n_classes)` row-major: scikit-learn's
/// `roc_auc_score`. Of two classes it is the second's, whatever the other arguments. `None` if a class is absent.
///
/// # Errors
///
/// Lengths that do not fit, zero rows, a class index out of range, a score that is not finite.
pub fn roc_auc(
    y_true: &[u32],
    proba: &[f64],
    n_classes: usize,
    multi_class: MultiClass,
    average: Average,
) -> Result<Option<f64>, Error> {
    check(y_true, proba, n_classes)?;
    Ok(of_classes(y_true, proba, n_classes, multi_class, average))
}

/// [`roc_auc`] of what was checked.
pub(super) fn of_classes(
    y_true: &[u32],
    proba: &[f64],
    n_classes: usize,
    multi_class: MultiClass,
    average: Average,
) -> Option<f64> {
    let rows = || y_true.iter().map(|truth| *truth as usize).zip(proba.chunks_exact(n_classes));
    if n_classes == 2 {
        return binary_auc(rows().map(|(truth, row)| (row[1], truth == 1)).collect());
    }
    let n_rows = |class: usize| rows().filter(|(truth, _)| *truth == class).count() as u64;
    let parts: Option<Vec<(f64, u64)>> = match multi_class {
        MultiClass::Ovr => (0..n_classes)
            .map(|class| {
                let area = binary_auc(rows().map(|(truth, row)| (row[class], truth == class)).collect())?;
                Some((area, n_rows(class)))
            })
            .collect(),
        MultiClass::Ovo => {
            let pairs = (0..n_classes).flat_map(|one| (one + 1..n_classes).map(move |other| (one, other)));
            let of_pair = |(one, other): (usize, usize)| {
                let area = |class: usize| {
                    let pair = rows().filter(|(truth, _)| *truth == one || *truth == other);
                    binary_auc(pair.map(|(truth, row)| (row[class], truth == class)).collect())
                };
                Some((f64::midpoint(area(one)?, area(other)?), n_rows(one) + n_rows(other)))
            };
            pairs.map(of_pair).collect()
        }
    };
    parts.map(|parts| averaged(&parts, average))
}

fn averaged(parts: &[(f64, u64)], average: Average) -> f64 {
    match average {
        Average::Macro => mean(&parts.iter().map(|(area, _)| *area).collect::<Vec<_>>()),
        Average::Weighted => {
            let total: u64 = parts.iter().map(|(_, rows)| rows).sum();
            parts.iter().map(|(area, rows)| area * ratio(*rows, total)).sum()
        }
    }
}

/// The share of (member, other) pairs in which the member scores higher, equal scores counted half (Mann and Whitney 1947).
fn binary_auc(mut scored: Vec<(f64, bool)>) -> Option<f64> {
    // -0.0 becomes 0.0, which it equals, so that the total order keeps no two equal scores apart.
    for (score, _) in &mut scored {
        *score += 0.0;
    }
    scored.sort_by(|one, other| one.0.total_cmp(&other.0));
    // Doubled, so that halves stay whole.
    let (mut members, mut others, mut doubled_wins) = (0_u64, 0_u64, 0_u128);
    for equal in scored.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()) {
        let here = equal.iter().filter(|(_, member)| *member).count() as u64;
        let others_here = equal.len() as u64 - here;
        doubled_wins += u128::from(here) * u128::from(2 * others + others_here);
        members += here;
        others += others_here;
    }
    let pairs = u128::from(members) * u128::from(others);
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
    (pairs > 0).then(|| doubled_wins as f64 / (2 * pairs) as f64)
}
