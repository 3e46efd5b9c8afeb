//! Forests for more rows than one worker holds: the rows are cut into parts, and each tree learns from one part.
//!
//! This is another model than scikit-learn's, whose trees may draw every row. Row `permutation[i]` of
//! `RandomState(random_state).permutation(n_samples)` belongs to the part in whose range `i` lies; ranges are cut as evenly as
//! whole numbers allow, the longer ones first. Trees are shared out the same way, in index order, so that merging the
//! parts' trees is concatenation. Within a part rows keep their order; a tree has the seed that its index has in
//! any forest, and whatever counts rows (`max_samples`, `min_samples_leaf` as a fraction, balanced class weights) counts
//! those of its part. A class without rows in a part is unknown to that part's trees: they give it probability 0.
//!
//! So the forest follows from (data, parameters, seed, number of parts), and with one part it is scikit-learn's.

use std::ops::Range;

use crate::Error;
use crate::frame::Frame;
use crate::params::{ParamError, RandomForestParams};
use crate::random::RandomState;

/// The part of every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowParts {
    n_parts: u32,
    part_of: Vec<u32>,
}

impl RowParts {
    /// Shares `n_samples` rows out.
    ///
    /// # Errors
    ///
    /// No part, or more parts than rows.
    pub fn new(n_samples: usize, n_parts: u32, random_state: u32) -> Result<Self, ParamError> {
        if n_parts == 0 || n_parts as usize > n_samples {
            let allowed = format!("a whole number in 1..={n_samples}, the number of rows");
            return Err(ParamError { name: "row_parts", value: n_parts.to_string(), allowed });
        }
        let order = RandomState::new(random_state).permutation(n_samples);
        let mut part_of = vec![0; n_samples];
        for part in 0..n_parts {
            for &row in &order[share(n_samples, n_parts, part)] {
                part_of[row] = part;
            }
        }
        Ok(Self { n_parts, part_of })
    }

    /// How many parts there are.
    pub fn n_parts(&self) -> u32 {
        self.n_parts
    }

    /// The part of each row, `(n_samples,)`, each in `0..n_parts`.
    pub fn part_of(&self) -> &[u32] {
        &self.part_of
    }

    /// The rows of a part, ascending; none for a part that there is not.
    pub fn rows(&self, part: u32) -> Vec<usize> {
        self.part_of.iter().enumerate().filter(|(_, of)| **of == part).map(|(row, _)| row).collect()
    }

    /// The frame of a part: its rows in their order, all classes.
    ///
    /// # Errors
    ///
    /// Another frame than the one these parts are of; a part that there is not.
    pub fn frame(&self, frame: &Frame, part: u32) -> Result<Frame, Error> {
        if frame.n_samples() != self.part_of.len() {
            let (got, expected) = (frame.n_samples(), self.part_of.len());
            return Err(Error::Shape { what: "the frame", got, expected });
        }
        Ok(frame.take(&self.rows(part))?)
    }
}

/// The trees that learn from a part.
pub fn trees(params: &RandomForestParams, part: u32) -> Range<u32> {
    let n_parts = params.row_parts.unwrap_or(1);
    let Range { start, end } = share(params.n_estimators as usize, n_parts, part);
    // They are within a u32 number of trees.
    let narrow = |tree: usize| u32::try_from(tree).unwrap_or(u32::MAX);
    narrow(start)..narrow(end)
}

/// The part that all trees of `range` learn from; `None` if they learn from several.
pub fn part_of_trees(params: &RandomForestParams, range: &Range<u32>) -> Option<u32> {
    let mut parts = 0..params.row_parts.unwrap_or(1);
    parts.find(|part| {
        let trees = trees(params, *part);
        trees.start <= range.start && range.end <= trees.end
    })
}

/// The places of a share of `n` things in `n_parts`: lengths differ by at most one, the longer ones come first.
fn share(n: usize, n_parts: u32, part: u32) -> Range<usize> {
    let (n_parts, part) = ((n_parts as usize).max(1), part as usize);
    let (each, longer) = (n / n_parts, n % n_parts);
    let start = |part: usize| part * each + part.min(longer);
    start(part).min(n)..start(part + 1).min(n)
}
