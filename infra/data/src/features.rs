//! Rows for a model to predict, batch by batch.

use regrove_forest::Categories;

use crate::prepare::Encoder;
use crate::{Error, Format, Table};

/// What a model expects of a row.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// Its features in order: found by name, wherever their columns are. Other columns are not looked at.
    pub names: &'a [String],
    /// The texts of its encoded features.
    pub categories: &'a Categories,
}

/// What is done with rows: row-major values, and the number of rows before them.
pub type VisitRows<'a> = dyn FnMut(&[f32], u64) -> Result<(), Error> + 'a;

/// Hands out the rows of a table as a model takes them: row-major `(n_rows, n_features)` float32, at most
/// [`crate::BATCH_ROWS`] rows at a time, with the number of rows before them.
///
/// # Errors
/// A feature that is no column, a cell that is no number, a text that the model has not learned; what `visit` says.
pub fn features(table: &Table, features: Features<'_>, visit: &mut VisitRows<'_>) -> Result<(), Error> {
    let untyped = table.format() == Format::Csv;
    let places = features.names.iter().map(|name| table.place(name)).collect::<Result<Vec<_>, _>>()?;
    let encoders: Vec<Encoder> = features
        .names
        .iter()
        .map(|name| match features.categories.get(name) {
            Some(texts) => Encoder::for_texts(name.clone(), texts.iter().cloned(), untyped),
            None => Encoder::for_numbers(name.clone(), untyped),
        })
        .collect();
    let width = encoders.len();
    let (mut rows, mut buffer, mut before) = (Vec::new(), String::new(), 0);
    table.scan(&places, &mut |batch, _| {
        rows.clear();
        rows.resize(batch.n_rows() * width, 0.0);
        for (at, (encoder, cells)) in encoders.iter().zip(batch.columns()).enumerate() {
            for (row, out) in rows.iter_mut().skip(at).step_by(width).enumerate() {
                *out = encoder.encode(cells.get(row), before + row as u64 + 1, &mut buffer)?;
            }
        }
        visit(&rows, before)?;
        before += batch.n_rows() as u64;
        Ok(())
    })
}
