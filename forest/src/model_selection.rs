//! Splitting a data set, and what a model is worth on the parts that it was not trained on.

mod cross_validate;

use std::collections::BTreeMap;

pub use cross_validate::{Fold, Measures, cross_validate, measure};

use crate::frame::{Frame, Target};
use crate::params::ParamError;
use crate::random::RandomState;
use crate::{Error, TargetError};

/// Rows of the two parts of a split, in scikit-learn's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Training rows.
    pub train: Vec<usize>,
    /// Test rows.
    pub test: Vec<usize>,
}

/// Splits into training and test frames with the classes' proportions kept: scikit-learn's
/// `train_test_split(X, y, stratify=y, test_size=…, random_state=…)`, row for row. Returns `(train, test)`.
///
/// # Errors
///
/// As [`stratified_split`].
pub fn train_test_split_stratified(frame: &Frame, test_size: f64, random_state: u32) -> Result<(Frame, Frame), Error> {
    let split = stratified_split(frame.class_indexes(), frame.classes().len(), test_size, random_state)?;
    Ok((frame.take(&split.train)?, frame.take(&split.test)?))
}

/// Splits into training and test frames whatever the target: scikit-learn's
/// `train_test_split(X, y, test_size=…, random_state=…)`, row for row. Returns `(train, test)`.
///
/// # Errors
///
/// `test_size` outside (0, 1), a part without rows.
pub fn train_test_split(frame: &Frame, test_size: f64, random_state: u32) -> Result<(Frame, Frame), Error> {
    let (n_train, n_test) = split_sizes(frame.n_samples(), test_size)?;
    let order = RandomState::new(random_state).permutation(frame.n_samples());
    Ok((frame.take(&order[n_test..n_test + n_train])?, frame.take(&order[..n_test])?))
}

/// Holds rows out for an evaluation: [`train_test_split_stratified`] of classes, [`train_test_split`] of numbers. Returns
/// `(train, test)`.
///
/// # Errors
///
/// As those.
pub fn hold_out(frame: &Frame, test_size: f64, random_state: u32) -> Result<(Frame, Frame), Error> {
    match frame.target() {
        Target::Classes { .. } => train_test_split_stratified(frame, test_size, random_state),
        Target::Values(_) => train_test_split(frame, test_size, random_state),
    }
}

/// How many training and test rows a split of so many rows has: whether there is one.
///
/// # Errors
///
/// As [`train_test_split`].
pub fn split_sizes(n_samples: usize, test_size: f64) -> Result<(usize, usize), Error> {
    let (n_train, n_test) = sizes(n_samples, test_size)?;
    check_parts(n_samples, 1, test_size, (n_train, n_test))?;
    Ok((n_train, n_test))
}

/// Whether each part has so many rows at least.
fn check_parts(
    n_samples: usize,
    least: usize,
    test_size: f64,
    (train, test): (usize, usize),
) -> Result<(), ParamError> {
    if train >= least && test >= least {
        return Ok(());
    }
    let rows = |n: usize| if n == 1 { "1 row".to_owned() } else { format!("{n} rows") };
    let allowed = if n_samples < 2 * least {
        format!("left out, as {} cannot be split into two parts of at least {}", rows(n_samples), rows(least))
    } else {
        // The test part is rounded up.
        let (above, to) = (least - 1, n_samples - least);
        format!(
            "above {above}/{n_samples} and at most {to}/{n_samples}, so that each part has at least {}",
            rows(least)
        )
    };
    Err(ParamError { name: "test_size", value: test_size.to_string(), allowed })
}

/// The rows of [`train_test_split_stratified`] for class indexes, each below `n_classes`.
///
/// # Errors
///
/// `test_size` outside (0, 1), a class with one row only, a part with fewer rows than classes, a class index out of range.
pub fn stratified_split(classes: &[u32], n_classes: usize, test_size: f64, random_state: u32) -> Result<Split, Error> {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (row, &class) in classes.iter().enumerate() {
        if class as usize >= n_classes {
            return Err(Error::Shape { what: "classes", got: n_classes, expected: class as usize + 1 });
        }
        members.entry(class).or_default().push(row);
    }
    let counts: Vec<usize> = members.values().map(Vec::len).collect();
    let (n_train, n_test) = stratified_sizes(&counts, test_size)?;
    let mut stream = RandomState::new(random_state);
    let in_train = share_out(&counts, n_train, &mut stream);
    let left_over: Vec<usize> = counts.iter().zip(&in_train).map(|(count, taken)| count - taken).collect();
    let in_test = share_out(&left_over, n_test, &mut stream);
    let (mut train, mut test) = (Vec::with_capacity(n_train), Vec::with_capacity(n_test));
    for ((rows, n_train), n_test) in members.values().zip(in_train).zip(in_test) {
        let order = stream.permutation(rows.len());
        train.extend(order[..n_train].iter().map(|at| rows[*at]));
        test.extend(order[n_train..n_train + n_test].iter().map(|at| rows[*at]));
    }
    stream.shuffle(&mut train);
    stream.shuffle(&mut test);
    Ok(Split { train, test })
}

/// How many training and test rows a stratified split of classes with so many rows has: whether there is one.
///
/// # Errors
///
/// As [`stratified_split`].
pub fn stratified_sizes(counts: &[usize], test_size: f64) -> Result<(usize, usize), Error> {
    let (n_train, n_test) = sizes(counts.iter().sum(), test_size)?;
    if counts.iter().any(|rows| *rows < 2) {
        return Err(TargetError::LoneRow.into());
    }
    check_parts(counts.iter().sum(), counts.len(), test_size, (n_train, n_test))?;
    Ok((n_train, n_test))
}

/// The parts of a stratified k-fold: row r is tested in part `folds[r]`, below `n_splits`. The parts of scikit-learn's
/// `StratifiedKFold(n_splits, shuffle=…, random_state=…)`; without a seed rows are not shuffled.
///
/// # Errors
///
/// Fewer than two parts, no class with `n_splits` rows.
pub fn stratified_folds(classes: &[u32], n_splits: u32, random_state: Option<u32>) -> Result<Vec<u32>, Error> {
    check_n_splits(n_splits)?;
    // Classes take their turns in the order in which they first appear.
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut places = BTreeMap::new();
    for (row, class) in classes.iter().enumerate() {
        let place = *places.entry(*class).or_insert(members.len());
        if place == members.len() {
            members.push(Vec::new());
        }
        members[place].push(row);
    }
    let parts = n_splits as usize;
    check_n_splits_of(n_splits, members.iter().map(Vec::len).max().unwrap_or(0), "the rows of the largest class")?;
    let mut stream = random_state.map(RandomState::new);
    let mut folds = vec![0; classes.len()];
    let mut dealt = 0;
    for rows in members {
        // Rows sorted by class are dealt to the parts in turn; each part gets its share in one piece.
        let mut shares = vec![0_usize; parts];
        for at in dealt..dealt + rows.len() {
            shares[at % parts] += 1;
        }
        dealt += rows.len();
        let mut hand: Vec<u32> =
            (0..n_splits).zip(shares).flat_map(|(part, share)| std::iter::repeat_n(part, share)).collect();
        if let Some(stream) = &mut stream {
            stream.shuffle(&mut hand);
        }
        for (row, part) in rows.into_iter().zip(hand) {
            folds[row] = part;
        }
    }
    Ok(folds)
}

/// The parts of a k-fold: row r is tested in part `folds[r]`, below `n_splits`. The parts of scikit-learn's
/// `KFold(n_splits, shuffle=…, random_state=…)`; without a seed rows are not shuffled.
///
/// # Errors
///
/// Fewer than two parts, fewer rows than parts.
pub fn folds(n_samples: usize, n_splits: u32, random_state: Option<u32>) -> Result<Vec<u32>, Error> {
    check_n_splits(n_splits)?;
    let parts = n_splits as usize;
    check_n_splits_of(n_splits, n_samples, "the number of rows")?;
    let order = match random_state {
        Some(seed) => RandomState::new(seed).permutation(n_samples),
        None => (0..n_samples).collect(),
    };
    let mut folds = vec![0; n_samples];
    let mut rows = order.into_iter();
    for part in 0..n_splits {
        let size = n_samples / parts + usize::from((part as usize) < n_samples % parts);
        for row in rows.by_ref().take(size) {
            folds[row] = part;
        }
    }
    Ok(folds)
}

fn check_n_splits(n_splits: u32) -> Result<(), ParamError> {
    if n_splits < 2 {
        let allowed = "a whole number of at least 2".to_owned();
        return Err(ParamError { name: "n_splits", value: n_splits.to_string(), allowed });
    }
    Ok(())
}

/// Whether so many parts can be made of that many rows.
fn check_n_splits_of(n_splits: u32, most: usize, what: &str) -> Result<(), ParamError> {
    if n_splits as usize <= most {
        return Ok(());
    }
    let allowed = match most {
        0 | 1 => format!("left out, as {most} is {what}"),
        _ => format!("a whole number in 2..={most}, {what}"),
    };
    Err(ParamError { name: "n_splits", value: n_splits.to_string(), allowed })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a fraction of a row count"
)]
fn sizes(n_samples: usize, test_size: f64) -> Result<(usize, usize), ParamError> {
    if !(test_size > 0.0 && test_size < 1.0) {
        return Err(ParamError {
            name: "test_size",
            value: test_size.to_string(),
            allowed: "in (0.0, 1.0)".to_owned(),
        });
    }
    let n_test = (test_size * n_samples as f64).ceil() as usize;
    Ok((n_samples - n_test.min(n_samples), n_test))
}

/// Shares `n_draws` among classes in proportion to their counts; what is left over after rounding down goes to the
/// largest remainders, ties drawn at random.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "parts of row counts, in float64 as scikit-learn does"
)]
fn share_out(counts: &[usize], n_draws: usize, stream: &mut RandomState) -> Vec<usize> {
    let total = counts.iter().sum::<usize>() as f64;
    let exact: Vec<f64> = counts.iter().map(|count| *count as f64 / total * n_draws as f64).collect();
    let mut shares: Vec<usize> = exact.iter().map(|part| part.floor() as usize).collect();
    let remainders: Vec<f64> = exact.iter().map(|part| part - part.floor()).collect();
    let mut missing = n_draws.saturating_sub(shares.iter().sum());
    let mut values = remainders.clone();
    values.sort_by(|one, other| other.total_cmp(one));
    values.dedup();
    for value in values {
        if missing == 0 {
            break;
        }
        let equal: Vec<usize> =
            (0..counts.len()).filter(|class| remainders[*class].total_cmp(&value).is_eq()).collect();
        let order = stream.permutation(equal.len());
        let n_added = equal.len().min(missing);
        for at in &order[..n_added] {
            shares[equal[*at]] += 1;
        }
        missing -= n_added;
    }
    shares
}
