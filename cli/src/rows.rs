//! Rows of a file for a model to predict.

use std::path::Path;

use regrove_data::{Error, Features, Limits, Table, features};
use regrove_events::event::CsvFormat;

use crate::output::Usage;

/// The model's columns of a CSV or Parquet file as the model takes them: row-major `(n_rows, n_features)`, NaN for a
/// missing value. Columns are found by name, others are ignored.
///
/// # Errors
/// [`Usage`] for a file that is none or does not fit the model, with row and column.
pub(crate) fn read(path: &Path, model: Features<'_>) -> anyhow::Result<Vec<f32>> {
    let wrong = |error: Error| Usage(format!("{}: {error}", path.display()));
    let table = Table::open(path, &CsvFormat::default(), &Limits::default()).map_err(wrong)?;
    let mut rows = Vec::new();
    let keep = &mut |batch: &[f32], _: u64| {
        rows.extend_from_slice(batch);
        Ok(())
    };
    features(&table, model, keep).map_err(wrong)?;
    Ok(rows)
}
