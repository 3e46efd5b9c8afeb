//! Shards to a forest: concatenation in index order.

use std::ops::Range;

use super::Forest;
use crate::MergeError;
use crate::params::RandomForestParams;

impl Forest {
    /// Concatenates shards in index order, whatever the order in which they are given. The result covers the union of
    /// the ranges; [`Forest::is_whole`] tells whether that is all of the forest.
    ///
    /// # Errors
    ///
    /// No shard, a gap or an overlap between shards, shards of different parameters, data, classes or features.
    pub fn merge(mut shards: Vec<Forest>) -> Result<Forest, MergeError> {
        shards.sort_by_key(|shard| (shard.range.start, shard.range.end));
        let mut shards = shards.into_iter();
        let mut forest = shards.next().ok_or(MergeError::Empty)?;
        for shard in shards {
            forest.check_same(&shard)?;
            let (end, Range { start, end: shard_end }) = (forest.range.end, shard.range.clone());
            if start > end {
                return Err(MergeError::Gap { from: end, to: start });
            }
            if start < end {
                return Err(MergeError::Overlap { from: start, to: end.min(shard_end) });
            }
            forest.range.end = shard_end;
            forest.trees.extend(shard.trees);
        }
        Ok(forest)
    }

    /// The same trees as part of a forest of another size: tree k does not depend on `n_estimators` or `oob_score`, so a
    /// job with more trees can use those that exist. With `row_parts` it does depend on `n_estimators`.
    ///
    /// # Errors
    ///
    /// Parameters that differ in more, or a forest that is too small for the trees here.
    pub fn for_params(mut self, params: &RandomForestParams) -> Result<Forest, MergeError> {
        let Range { start: from, end: to } = self.range;
        let same = RandomForestParams {
            n_estimators: params.n_estimators,
            oob_score: params.oob_score,
            ..self.params.clone()
        };
        let other_rows = self.params.row_parts.is_some() && self.params.n_estimators != params.n_estimators;
        if same != *params || to > params.n_estimators || other_rows {
            return Err(MergeError::Differs { field: "params", from, to });
        }
        self.params = same;
        Ok(self)
    }

    /// Some of the trees here, as a part of the same forest.
    ///
    /// # Errors
    ///
    /// A range that is empty or not within the trees here.
    pub fn part(mut self, range: Range<u32>) -> Result<Forest, MergeError> {
        if range.is_empty() || range.start < self.range.start || range.end > self.range.end {
            return Err(MergeError::Part { part: range, here: self.range });
        }
        let (skipped, kept) = (range.start - self.range.start, range.end - range.start);
        self.trees = self.trees.into_iter().skip(skipped as usize).take(kept as usize).collect();
        self.range = range;
        Ok(self)
    }

    fn check_same(&self, shard: &Forest) -> Result<(), MergeError> {
        let differences = [
            ("params", self.params != shard.params),
            ("data_sha256", self.data_sha256 != shard.data_sha256),
            ("classes", self.classes != shard.classes),
            ("feature_names", self.feature_names != shard.feature_names),
            ("categories", self.categories != shard.categories),
        ];
        match differences.into_iter().find(|(_, differs)| *differs) {
            Some((field, _)) => Err(MergeError::Differs { field, from: shard.range.start, to: shard.range.end }),
            None => Ok(()),
        }
    }
}
