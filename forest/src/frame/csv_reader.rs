//! CSV in: a header, numbers, and a target column.

use std::io::Read;

use super::{Frame, FrameError, FrameLimits, Label, Target};
use crate::Error;

/// Characters of a cell shown in an error.
const CELL_SHOWN_MAX: usize = 40;
/// Column names shown in an error.
const COLUMNS_SHOWN_MAX: usize = 20;

impl Frame {
    /// Reads CSV with a header; every column but `target` becomes a float32 feature, `target` gives class labels.
    ///
    /// Labels are whole numbers if every cell is one, else texts. An empty cell, `nan` or `NaN` is a missing value.
    ///
    /// # Errors
    ///
    /// A header without the target or with duplicate names, no rows, a ragged row, a cell that is not a number or
    /// not within float32, an empty target, more than `limits` allow; the error names row (from 1) and column.
    pub fn from_csv(reader: impl Read, target: &str, limits: &FrameLimits) -> Result<Self, Error> {
        let table = Table::read(reader, target, limits)?;
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

/// The cells of a CSV file, features as numbers by column, targets as text.
struct Table {
    feature_names: Vec<String>,
    columns: Vec<Vec<f32>>,
    targets: Vec<String>,
}

impl Table {
    fn read(reader: impl Read, target: &str, limits: &FrameLimits) -> Result<Self, FrameError> {
        // One byte more than allowed tells "too large" from "just fits".
        let mut limited = reader.take(limits.bytes_max.saturating_add(1));
        let mut csv = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(&mut limited);
        let header = csv.headers().map_err(|error| csv_error(0, &error))?.clone();
        let target_at = header
            .iter()
            .position(|name| name == target)
            .ok_or_else(|| FrameError::TargetMissing { target: target.to_owned(), columns: names_shown(&header) })?;
        if header.len() > limits.columns_max {
            return Err(FrameError::TooLarge { what: "columns", max: limits.columns_max as u64 });
        }
        let feature_names: Vec<String> =
            header.iter().enumerate().filter(|(at, _)| *at != target_at).map(|(_, name)| name.to_owned()).collect();
        let mut table = Self { columns: vec![Vec::new(); feature_names.len()], feature_names, targets: Vec::new() };
        let mut record = csv::StringRecord::new();
        let mut row = 0;
        while csv.read_record(&mut record).map_err(|error| csv_error(row + 1, &error))? {
            row += 1;
            if row > limits.rows_max {
                return Err(FrameError::TooLarge { what: "rows", max: limits.rows_max as u64 });
            }
            table.push(row, &record, target_at, header.len(), target)?;
        }
        if csv.position().byte() > limits.bytes_max {
            return Err(FrameError::TooLarge { what: "bytes", max: limits.bytes_max });
        }
        Ok(table)
    }

    fn push(
        &mut self,
        row: usize,
        record: &csv::StringRecord,
        target_at: usize,
        width: usize,
        target: &str,
    ) -> Result<(), FrameError> {
        if record.len() != width {
            return Err(FrameError::Ragged { row, got: record.len(), expected: width });
        }
        let mut feature = 0;
        for (at, cell) in record.iter().enumerate() {
            if at == target_at {
                if cell.is_empty() {
                    return Err(FrameError::EmptyTarget { row, column: target.to_owned() });
                }
                self.targets.push(cell.to_owned());
            } else {
                let value = parse_feature(cell, row, &self.feature_names[feature])?;
                self.columns[feature].push(value);
                feature += 1;
            }
        }
        Ok(())
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
