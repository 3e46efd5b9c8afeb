//! Training: trees of a range, in parallel.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::Forest;
use super::rows::RowSampler;
use crate::frame::{Frame, Label, Target};
use crate::grow::{self, Cancel, Ground, Plan, Workspace};
use crate::kernel::Level;
use crate::linfa_tree;
use crate::params::{CLASSES_MAX, Estimator, ParamError, RandomForestParams};
use crate::row_parts::{self, RowParts};
use crate::tree::Tree;
use crate::{Error, MergeError, TargetError};

/// What a caller may want to know or do while trees grow.
#[derive(Default, Clone, Copy)]
pub struct FitOptions<'a> {
    /// Called after each tree with the number of trees done so far, from any thread.
    pub progress: Option<&'a (dyn Fn(u32) + Sync)>,
    /// Raised by the caller to stop, for good: the fit then ends with [`Error::Cancelled`], after the nodes in work or, before
    /// the first tree, the columns. linfa's tree is grown to its end.
    pub cancel: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for FitOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitOptions").field("progress", &self.progress.is_some()).field("cancel", &self.cancel).finish()
    }
}

/// Grows all trees.
///
/// # Errors
///
/// As [`fit_range`].
pub fn fit(frame: &Frame, params: &RandomForestParams) -> Result<Forest, Error> {
    fit_range(frame, params, 0..params.n_estimators, &FitOptions::default())
}

/// Grows the trees `range` of the forest that `params` describe: the same trees whatever the partition into ranges and
/// the number of threads. Runs on rayon's current thread pool.
///
/// # Errors
///
/// Parameters out of range, a target that does not fit the estimator (2 to [`CLASSES_MAX`] classes, or numbers), a range that is empty or beyond
/// `n_estimators`, cancellation.
pub fn fit_range(
    frame: &Frame,
    params: &RandomForestParams,
    range: Range<u32>,
    options: &FitOptions<'_>,
) -> Result<Forest, Error> {
    check_range(params, &range)?;
    let crew = Crew::new(range.end - range.start, options);
    let data_sha256 = frame.sha256()?;
    let Some(n_parts) = params.row_parts else {
        return crew.grow(frame, params, range, data_sha256);
    };
    let parts = RowParts::new(frame.n_samples(), n_parts, params.random_state)?;
    let mut shards = Vec::new();
    for part in 0..n_parts {
        let trees = row_parts::trees(params, part);
        let trees = trees.start.max(range.start)..trees.end.min(range.end);
        if !trees.is_empty() {
            shards.push(crew.grow(&parts.frame(frame, part)?, params, trees, data_sha256.clone())?);
        }
    }
    Ok(Forest::merge(shards)?)
}

/// Grows trees that learn from one part of the rows, without the others: the trees that [`fit_range`] grows on the whole
/// frame. `data_sha256` is the whole frame's identity, `part` is [`RowParts::frame`].
///
/// # Errors
///
/// As [`fit_range`]; trees that learn from more than one part.
pub fn fit_part(
    part: &Frame,
    data_sha256: &str,
    params: &RandomForestParams,
    range: Range<u32>,
    options: &FitOptions<'_>,
) -> Result<Forest, Error> {
    check_range(params, &range)?;
    if row_parts::part_of_trees(params, &range).is_none() {
        return Err(refuse_range(&range, "trees of one part of the rows"));
    }
    Crew::new(range.end - range.start, options).grow(part, params, range, data_sha256.to_owned())
}

fn check_range(params: &RandomForestParams, range: &Range<u32>) -> Result<(), Error> {
    params.check()?;
    if range.is_empty() || range.end > params.n_estimators {
        return Err(refuse_range(range, &format!("a non-empty part of 0..{} trees", params.n_estimators)));
    }
    Ok(())
}

fn refuse_range(range: &Range<u32>, allowed: &str) -> Error {
    let value = format!("{}..{}", range.start, range.end);
    ParamError { name: "range", value, allowed: allowed.to_owned() }.into()
}

/// Those who grow the trees of one call, and what they share.
struct Crew<'a> {
    options: &'a FitOptions<'a>,
    n_trees: u32,
    done: AtomicU32,
    workspaces: Workspaces,
}

impl<'a> Crew<'a> {
    fn new(n_trees: u32, options: &'a FitOptions<'a>) -> Self {
        Self { options, n_trees, done: AtomicU32::new(0), workspaces: Workspaces::default() }
    }

    /// Grows trees on a frame, in parallel.
    fn grow(
        &self,
        frame: &Frame,
        params: &RandomForestParams,
        range: Range<u32>,
        data_sha256: String,
    ) -> Result<Forest, Error> {
        check_target(frame, params.estimator)?;
        let trees = if params.estimator == Estimator::LinfaTree {
            vec![linfa_tree::grow(frame, params)?]
        } else {
            self.grow_trees(frame, params, &range)?
        };
        Ok(Forest {
            params: params.clone(),
            classes: frame.classes().to_vec(),
            feature_names: frame.feature_names().to_vec(),
            categories: frame.categories().clone(),
            data_sha256,
            range,
            trees,
        })
    }

    fn grow_trees(&self, frame: &Frame, params: &RandomForestParams, range: &Range<u32>) -> Result<Vec<Tree>, Error> {
        let ground = Ground::new(frame, Plan::new(frame, params)?, Level::best(), Cancel(self.options.cancel));
        let sampler = RowSampler::new(frame, params)?;
        let seeds: Vec<u32> = params.tree_seeds().take(range.end as usize).skip(range.start as usize).collect();
        let trees: Option<Vec<Tree>> = seeds.par_iter().map(|&seed| self.grow_tree(&ground, &sampler, seed)).collect();
        trees.ok_or_else(|| Error::Cancelled { trees_done: self.done.load(Ordering::Relaxed), trees: self.n_trees })
    }

    /// `None` once the caller has cancelled.
    fn grow_tree(&self, ground: &Ground<'_>, sampler: &RowSampler<'_>, seed: u32) -> Option<Tree> {
        let cancel = Cancel(self.options.cancel);
        if cancel.is_raised() {
            return None;
        }
        let mut work = self.workspaces.take();
        let tree = grow::grow(ground, sampler.weights(seed), seed, &mut work);
        self.workspaces.put(work);
        if cancel.is_raised() {
            return None;
        }
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(progress) = self.options.progress {
            progress(done);
        }
        Some(tree)
    }
}

/// Adds trees to a forest until it has `params.n_estimators`: scikit-learn's `warm_start`. The result is the forest that
/// [`fit`] grows with these parameters, without growing again the trees that are there.
///
/// # Errors
///
/// As [`fit_range`]; other data than the forest's, parameters that differ in more than `n_estimators` and `oob_score`, or
/// fewer trees than are there.
pub fn fit_more(
    forest: Forest,
    frame: &Frame,
    params: &RandomForestParams,
    options: &FitOptions<'_>,
) -> Result<Forest, Error> {
    if frame.sha256()? != forest.data_sha256 {
        let range = forest.range();
        return Err(MergeError::Differs { field: "data_sha256", from: range.start, to: range.end }.into());
    }
    let from = forest.range().end;
    let forest = forest.for_params(params)?;
    if from == params.n_estimators {
        return Ok(forest);
    }
    let more = fit_range(frame, params, from..params.n_estimators, options)?;
    Ok(Forest::merge(vec![forest, more])?)
}

/// Grows one tree on all rows, each counted once: scikit-learn's `DecisionTreeClassifier(random_state=…)`, or
/// `DecisionTreeRegressor`, or with an extra-trees estimator `ExtraTreeClassifier` and `ExtraTreeRegressor`, which are also the
/// trees of `splitter="random"`. What concerns only forests (`n_estimators`, `bootstrap`, `max_samples`, `oob_score`) is not
/// looked at.
///
/// # Errors
///
/// Parameters out of range, a target that does not fit the estimator, linfa's tree, which [`fit`] grows.
pub fn fit_tree(frame: &Frame, params: &RandomForestParams, random_state: u32) -> Result<Tree, Error> {
    if params.estimator == Estimator::LinfaTree {
        let allowed = "an estimator of scikit-learn's; `fit` grows linfa's tree".to_owned();
        return Err(ParamError { name: "estimator", value: "linfa-tree".to_owned(), allowed }.into());
    }
    check_target(frame, params.estimator)?;
    let ground = Ground::new(frame, Plan::new(frame, params)?, Level::best(), Cancel::default());
    // Of a tree, not of a forest: they balance classes otherwise.
    let estimator = Estimator::DecisionTreeClassifier;
    let all_rows = RandomForestParams { estimator, bootstrap: false, max_samples: None, ..params.clone() };
    let weights = RowSampler::new(frame, &all_rows)?.weights(random_state);
    Ok(grow::grow(&ground, weights, random_state, &mut Workspace::default()))
}

/// Memory that threads hand from tree to tree; as many as threads were at work at once.
#[derive(Default)]
struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    fn take(&self) -> Workspace {
        // A panic elsewhere leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, work: Workspace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(work);
    }
}

fn check_target(frame: &Frame, estimator: Estimator) -> Result<(), Error> {
    check_row_numbers(frame.n_samples())?;
    match frame.target() {
        Target::Values(_) if !estimator.is_regressor() => Err(TargetError::NotClasses(estimator).into()),
        Target::Values(values) => match values.iter().position(|value| !value.is_finite()) {
            Some(row) => Err(TargetError::NotFinite { row: row + 1, value: values[row] }.into()),
            None => Ok(()),
        },
        Target::Classes { .. } if estimator.is_regressor() => Err(TargetError::NotNumbers(estimator).into()),
        Target::Classes { classes, .. } => Ok(check_classes(classes, frame.n_samples(), estimator)?),
    }
}

/// Numbers with fractions may be classes, if they are few: scikit-learn, which takes none, says of more than half as many classes as
/// rows that they are hardly classes.
fn check_classes(classes: &[Label], n_samples: usize, estimator: Estimator) -> Result<(), TargetError> {
    let has_fraction = |class: &&Label| matches!(class, Label::Float(number) if number.fract().abs() > 0.0);
    if 2 * classes.len() > n_samples
        && let Some(class) = classes.iter().find(has_fraction)
    {
        return Err(TargetError::Continuous { estimator, class: class.clone() });
    }
    match classes {
        [] => Err(TargetError::NoClass),
        [only] => Err(TargetError::OneClass(only.clone())),
        _ if classes.len() > CLASSES_MAX => Err(TargetError::TooManyClasses { estimator, n_classes: classes.len() }),
        _ => Ok(()),
    }
}

/// Whether every row has a number.
fn check_row_numbers(n_samples: usize) -> Result<(), Error> {
    if u32::try_from(n_samples).is_ok() { Ok(()) } else { Err(Error::TooManyRows { n_samples }) }
}

#[cfg(test)]
mod tests {
    use super::check_row_numbers;

    /// Such a frame takes 16 GiB, so only the check is tested.
    #[test]
    fn more_rows_than_an_index_can_number_are_refused() {
        assert!(check_row_numbers(u32::MAX as usize).is_ok());
        let error = check_row_numbers(1 << 32).unwrap_err().to_string();
        assert!(error.starts_with("4294967296 rows;") && error.contains("at most 4294967295"), "{error}");
    }
}
