//! What all trees of a fit share: every column's rows in the order of their values.

use rayon::prelude::*;

use super::costs::MAX_CLASSES;
use super::ranks::sorted;
use super::{Cancel, FEATURE_THRESHOLD};
use crate::frame::Frame;
use crate::kernel::{Level, Packing};

/// Columns of which more than one pair of neighbours in this many is equal are compared value by value.
const TIE_PARTS: usize = 64;

/// Every column's rows in the order of their values, rows without a value last.
#[derive(Debug)]
pub(crate) struct Presort {
    pub(super) level: Level,
    pub(super) packing: Packing,
    n_rows: usize,
    /// Items of weight 0, column-major `(n_features, n_rows)`.
    items: Vec<u32>,
    columns: Vec<Column>,
}

/// What is known of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Whether some row has no value.
    pub(super) missing: bool,
    /// Whether many neighbours are too close to be cut apart.
    pub(super) tied: bool,
}

impl Presort {
    /// `None` if the frame has no classes or thousands, or too many rows and classes for 32-bit items.
    pub(crate) fn new(frame: &Frame, level: Level, cancel: Cancel<'_>) -> Option<Self> {
        let n_rows = frame.n_samples();
        if frame.classes().is_empty() || frame.classes().len() > MAX_CLASSES {
            return None;
        }
        let packing = Packing::new(n_rows, frame.classes().len())?;
        let mut items = vec![0; n_rows * frame.n_features()];
        let columns = items
            .par_chunks_mut(n_rows)
            .enumerate()
            .take_any_while(|_| !cancel.is_raised())
            .map(|(feature, items)| sort(frame.column(feature), frame.class_indexes(), packing, items))
            .collect();
        Some(Self { level, packing, n_rows, items, columns })
    }

    /// Items of one feature, `(n_rows,)`.
    pub(super) fn items(&self, feature: usize) -> &[u32] {
        &self.items[feature * self.n_rows..(feature + 1) * self.n_rows]
    }

    pub(super) fn column(&self, feature: usize) -> Column {
        self.columns[feature]
    }
}

fn sort(values: &[f32], classes: &[u32], packing: Packing, items: &mut [u32]) -> Column {
    let mut missing = false;
    let mut n_close = 0;
    let mut before = f32::NEG_INFINITY;
    for (item, pair) in items.iter_mut().zip(&*sorted(values)) {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the row")]
        let row = *pair as u32;
        let value = values[row as usize];
        missing |= value.is_nan();
        n_close += usize::from(!value.is_nan() && value <= before + FEATURE_THRESHOLD);
        before = value;
        *item = packing.item(row, classes[row as usize]);
    }
    Column { missing, tied: n_close * TIE_PARTS > values.len() }
}
