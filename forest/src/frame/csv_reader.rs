//! CSV in: a header, numbers, and a target column.

use std::io::{self, Read};

use super::label::not_finite;
use super::{Frame, FrameError, FrameLimits, Label, Target};
use crate::Error;

/// Characters of a cell shown in an error.
const CELL_SHOWN_MAX: usize = 40;
/// Column names shown in an error.
const COLUMNS_SHOWN_MAX: usize = 20;

impl Frame {
    /// Reads CSV with a header; every column but `target` becomes a float32 feature, `target` gives class labels.
    ///
    /// Labels are of one type, as [`Label::from_cells`] finds it. An empty cell, `nan` or `NaN` is a missing value.
    ///
    /// # Errors
    ///
    /// A header without the target or with duplicate names, no rows, a ragged row, a cell that is not a number or
    /// not within float32, a target that is empty, or NaN or infinite among numbers, more than `limits` allow; the error names row (from 1) and column.
    pub fn from_csv(reader: impl Read, target: &str, limits: &FrameLimits) -> Result<Self, Error> {
        let table = Table::read(reader, target, limits)?;
        if let Some(at) = not_finite(&table.targets) {
            let cell = shown(&table.targets[at]);
            return Err(FrameError::NotAClass { row: at + 1, column: target.to_owned(), cell }.into());
        }
        let labels = Label::from_cells(&table.targets);
        table.into_frame(target, Target::from_labels(&labels))
    }

    /// Reads CSV as [`Frame::from_csv`] does, with numbers as target.
    ///
    /// # Errors
    ///
    /// As [`Frame::from_csv`], and a target that is not a finite number.
    pub fn from_csv_regression(reader: impl Read, target: &str, limits: &FrameLimits) -> Result<Self, Error> {
        let table = Table::read(reader, target, limits)?;
        let parse = |(row, cell): (usize, &String)| match cell.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(FrameError::NotNumeric { row: row + 1, column: target.to_owned(), cell: shown(cell) }),
        };
        let values = table.targets.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        table.into_frame(target, Target::Values(values))
    }
}

/// Reads the rows to predict from CSV with a header: the named features, wherever their columns are, row-major
/// `(n_rows, n_features)`. Other columns are not looked at. An empty cell, `nan` or `NaN` is a missing value.
///
/// # Errors
///
/// As [`Frame::from_csv`], and a feature that is not in the header. No rows are no error.
pub fn rows_from_csv(reader: impl Read, feature_names: &[String], limits: &FrameLimits) -> Result<Vec<f32>, Error> {
    let mut csv = Source::open(reader, limits)?;
    let places = feature_names.iter().map(|name| csv.place(name)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    while let Some(row) = csv.next()? {
        for (place, name) in places.iter().zip(feature_names) {
            rows.push(parse_feature(&csv.record[*place], row, name)?);
        }
    }
    Ok(rows)
}

/// A CSV file row by row, within limits.
struct Source<R> {
    csv: csv::Reader<io::Take<R>>,
    header: csv::StringRecord,
    record: csv::StringRecord,
    row: usize,
    limits: FrameLimits,
}

impl<R: Read> Source<R> {
    fn open(reader: R, limits: &FrameLimits) -> Result<Self, FrameError> {
        // One byte more than allowed tells "too large" from "just fits".
        let limited = reader.take(limits.bytes_max.saturating_add(1));
        let mut csv = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(limited);
        let header = csv.headers().map_err(|error| csv_error(0, &error))?.clone();
        if header.len() > limits.columns_max {
            return Err(FrameError::TooLarge { what: "columns", max: limits.columns_max as u64 });
        }
        Ok(Self { csv, header, record: csv::StringRecord::new(), row: 0, limits: *limits })
    }

    /// Where a column is.
    fn place(&self, name: &str) -> Result<usize, FrameError> {
        let mut places = self.header.iter().enumerate().filter(|(_, column)| *column == name).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(FrameError::DuplicateName(name.to_owned())),
            (None, _) => Err(FrameError::ColumnMissing { column: name.to_owned(), columns: names_shown(&self.header) }),
        }
    }

    /// Reads the next row into `record` and returns its number, from 1.
    fn next(&mut self) -> Result<Option<usize>, FrameError> {
        let more = self.csv.read_record(&mut self.record).map_err(|error| csv_error(self.row + 1, &error))?;
        if self.csv.position().byte() > self.limits.bytes_max {
            return Err(FrameError::TooLarge { what: "bytes", max: self.limits.bytes_max });
        }
        if !more {
            return Ok(None);
        }
        self.row += 1;
        if self.row > self.limits.rows_max {
            return Err(FrameError::TooLarge { what: "rows", max: self.limits.rows_max as u64 });
        }
        if self.record.len() != self.header.len() {
            return Err(FrameError::Ragged { row: self.row, got: self.record.len(), expected: self.header.len() });
        }
        Ok(Some(self.row))
    }
}

/// The cells of a CSV file, features as numbers by column, targets as text.
struct Table {
    feature_names: Vec<String>,
    columns: Vec<Vec<f32>>,
    targets: Vec<String>,
}

impl Table {
    fn read(reader: impl Read, target: &str, limits: &FrameLimits) -> Result<Self, FrameError> {
        let mut csv = Source::open(reader, limits)?;
        let target_at = csv.place(target)?;
        let feature_names: Vec<String> =
            csv.header.iter().enumerate().filter(|(at, _)| *at != target_at).map(|(_, name)| name.to_owned()).collect();
        let mut table = Self { columns: vec![Vec::new(); feature_names.len()], feature_names, targets: Vec::new() };
        while let Some(row) = csv.next()? {
            let target_cell = &csv.record[target_at];
            if target_cell.is_empty() {
                return Err(FrameError::EmptyTarget { row, column: target.to_owned() });
            }
            table.targets.push(target_cell.to_owned());
            let cells = csv.record.iter().enumerate().filter(|(at, _)| *at != target_at).map(|(_, cell)| cell);
            for ((cell, column), name) in cells.zip(&mut table.columns).zip(&table.feature_names) {
                column.push(parse_feature(cell, row, name)?);
            }
        }
        Ok(table)
    }

    fn into_frame(self, target_name: &str, target: Target) -> Result<Frame, Error> {
        let columns = self.columns.concat();
        Ok(Frame::new(self.feature_names, columns, target_name, target)?)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is what scikit-learn's trees train on")]
fn parse_feature(cell: &str, row: usize, column: &str) -> Result<f32, FrameError> {
    if cell.is_empty() {
        return Ok(f32::NAN);
    }
    let value: f64 =
        cell.parse().map_err(|_| FrameError::NotNumeric { row, column: column.to_owned(), cell: shown(cell) })?;
    let value = value as f32;
    if value.is_infinite() {
        return Err(FrameError::OutOfRange { row, column: column.to_owned(), cell: shown(cell) });
    }
    // One bit pattern for all missing values, so that equal data have equal hashes.
    Ok(if value.is_nan() { f32::NAN } else { value })
}

fn csv_error(row: usize, error: &csv::Error) -> FrameError {
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not valid UTF-8".to_owned(),
        _ => error.to_string(),
    };
    FrameError::Csv { row, reason }
}

fn shown(cell: &str) -> String {
    cell.chars().take(CELL_SHOWN_MAX).collect()
}

fn names_shown(header: &csv::StringRecord) -> String {
    let names: Vec<String> = header.iter().take(COLUMNS_SHOWN_MAX).map(shown).collect();
    let more = if header.len() > COLUMNS_SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
