//! The values of one column of a batch, whatever they are written as.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array as _, ArrayRef, StringArray};
use arrow_schema::DataType;

use crate::Error;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    /// There is none.
    Missing,
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// A truth value.
    Truth(bool),
    /// A text; from CSV it may stand for anything.
    Text(&'a str),
}

/// The values of a column of a batch.
pub(crate) enum Cells<'a> {
    Wholes(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Truths(Vec<Option<bool>>),
    Texts(&'a StringArray),
}

impl<'a> Cells<'a> {
    /// # Errors
    /// [`Error::ColumnType`] for a type that cannot be learned from.
    pub(crate) fn of(name: &str, array: &'a ArrayRef) -> Result<Self, Error> {
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Texts(array.as_string()),
            DataType::Boolean => Self::Truths(array.as_boolean().iter().collect()),
            DataType::Int8 => Self::Wholes(wholes::<Int8Type>(array)),
            DataType::Int16 => Self::Wholes(wholes::<Int16Type>(array)),
            DataType::Int32 => Self::Wholes(wholes::<Int32Type>(array)),
            DataType::Int64 => Self::Wholes(wholes::<Int64Type>(array)),
            DataType::UInt8 => Self::Wholes(wholes::<UInt8Type>(array)),
            DataType::UInt16 => Self::Wholes(wholes::<UInt16Type>(array)),
            DataType::UInt32 => Self::Wholes(wholes::<UInt32Type>(array)),
            // What is beyond i64 is a number like any other.
            DataType::UInt64 => Self::Numbers(numbers::<UInt64Type>(array, wide)),
            DataType::Float16 => Self::Numbers(numbers::<Float16Type>(array, f64::from)),
            DataType::Float32 => Self::Numbers(numbers::<Float32Type>(array, f64::from)),
            DataType::Float64 => Self::Numbers(numbers::<Float64Type>(array, f64::from)),
            DataType::Null => Self::Numbers(vec![None; array.len()]),
            other => {
                let nested = if other.is_nested() { "nested " } else { "of type " };
                return Err(Error::ColumnType { column: name.to_owned(), found: format!("{nested}{other}") });
            }
        })
    }

    pub(crate) fn get(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Wholes(values) => values[row].map_or(Cell::Missing, Cell::Whole),
            Self::Numbers(values) => values[row].map_or(Cell::Missing, Cell::Number),
            Self::Truths(values) => values[row].map_or(Cell::Missing, Cell::Truth),
            Self::Texts(values) => {
                if values.is_null(row) {
                    Cell::Missing
                } else {
                    Cell::Text(values.value(row))
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Wholes(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Truths(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }
}

fn wholes<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<Option<i64>>
where
    i64: From<T::Native>,
{
    array.as_primitive::<T>().iter().map(|value| value.map(i64::from)).collect()
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef, read: fn(T::Native) -> f64) -> Vec<Option<f64>> {
    // NaN is how pandas writes a missing number.
    array.as_primitive::<T>().iter().map(|value| value.map(read).filter(|value| !value.is_nan())).collect()
}

#[expect(clippy::cast_precision_loss, reason = "rounded as any number that becomes a float")]
fn wide(value: u64) -> f64 {
    value as f64
}

/// A text that is a number.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A text that is a truth value, in the ways that Python and databases write them.
pub(crate) fn truth_value(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A value as a feature: rounded to float32, as scikit-learn's trees take it. `None` for a text.
pub(crate) fn feature(cell: Cell<'_>, untyped: bool) -> Option<f64> {
    match cell {
        Cell::Missing => Some(f64::NAN),
        #[expect(clippy::cast_precision_loss, reason = "it becomes a float32")]
        Cell::Whole(value) => Some(value as f64),
        Cell::Number(value) => Some(value),
        Cell::Truth(value) => Some(f64::from(u8::from(value))),
        Cell::Text(text) if untyped => {
            number(text).or_else(|| truth_value(text).map(|value| f64::from(u8::from(value))))
        }
        Cell::Text(_) => None,
    }
}

/// A value as the text by which categories and classes are told apart; `None` for a missing one.
pub(crate) fn key<'a>(cell: Cell<'a>, buffer: &'a mut String) -> Option<&'a str> {
    use std::fmt::Write as _;
    buffer.clear();
    // Writing to a String cannot fail.
    let written = match cell {
        Cell::Missing => return None,
        Cell::Text(text) => return Some(text),
        Cell::Whole(value) => write!(buffer, "{value}"),
        Cell::Number(value) => write!(buffer, "{value:?}"),
        Cell::Truth(value) => buffer.write_str(if value { "True" } else { "False" }),
    };
    written.unwrap_or_default();
    Some(buffer)
}
