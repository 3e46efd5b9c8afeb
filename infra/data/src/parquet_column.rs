//! Flat Parquet columns, read as cells.
//!
//! The types are Parquet's own, not those of whoever wrote the file: dictionaries are read as their texts. Source: Parquet's
//! `LogicalTypes.md`.

use std::panic::AssertUnwindSafe;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader as Values, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::file::reader::RowGroupReader;
use parquet::schema::types::Type;

use crate::Error;
use crate::column::{Cells, Texts};
use crate::parquet_table::damaged;

/// How the values of a column are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Numbers, truth values or texts, as they are written.
    Plain,
    /// Whole numbers without a sign.
    Unsigned,
    /// IEEE 754 binary16.
    Half,
    /// Nothing: all are missing.
    Nothing,
}

/// Whether a field of the schema can be learned from.
///
/// # Errors
/// What it is instead.
pub(crate) fn check(field: &Type) -> Result<(), String> {
    if field.is_group() {
        return Err("nested (a group of fields)".to_owned());
    }
    let about = field.get_basic_info();
    if about.has_repetition() && about.repetition() == Repetition::REPEATED {
        return Err("nested (a list)".to_owned());
    }
    meaning(field).map(drop)
}

fn meaning(field: &Type) -> Result<Meaning, String> {
    let about = field.get_basic_info();
    let (physical, logical) = (field.get_physical_type(), about.logical_type_ref());
    let whole = matches!(physical, Physical::INT32 | Physical::INT64);
    Ok(match about.converted_type() {
        _ if logical == Some(&LogicalType::Unknown) => Meaning::Nothing,
        _ if logical == Some(&LogicalType::Float16) => Meaning::Half,
        ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM => Meaning::Plain,
        ConvertedType::INT_8 | ConvertedType::INT_16 | ConvertedType::INT_32 | ConvertedType::INT_64 if whole => {
            Meaning::Plain
        }
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 if whole => {
            Meaning::Unsigned
        }
        ConvertedType::NONE => match (physical, logical) {
            (Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE, None) => Meaning::Plain,
            (_, None) if whole => Meaning::Plain,
            (_, None) => return Err(format!("of type {physical} without a logical one")),
            (_, Some(logical)) => return Err(format!("of type {logical:?}")),
        },
        converted => {
            return Err(logical.map_or(format!("of type {converted}"), |logical| format!("of type {logical:?}")));
        }
    })
}

/// The values of one column of one row group.
pub(crate) struct ColumnReader {
    name: String,
    meaning: Meaning,
    /// Whether values may be missing.
    optional: bool,
    values: Values,
    /// 1 for each value that is there, 0 for each that is not.
    there: Vec<i16>,
}

impl ColumnReader {
    /// The reader of a leaf that [`check`] let pass.
    pub(crate) fn open(group: &dyn RowGroupReader, leaf: usize) -> Result<Self, Error> {
        let column = group.metadata().column(leaf).column_descr_ptr();
        let name = column.name().to_owned();
        let found = |found| Error::ColumnType { column: name.clone(), found };
        let meaning = meaning(column.self_type()).map_err(found)?;
        let values = group.get_column_reader(leaf).map_err(damaged)?;
        Ok(Self { name, meaning, optional: column.max_def_level() > 0, values, there: Vec::new() })
    }

    /// The next `n_rows` cells.
    ///
    /// # Errors
    /// A file that is damaged or has fewer, a text that is not UTF-8.
    pub(crate) fn read(&mut self, n_rows: usize) -> Result<Cells, Error> {
        // The library panics at some of what a damaged page says; after that this reader is not used again.
        std::panic::catch_unwind(AssertUnwindSafe(|| self.cells(n_rows)))
            .unwrap_or_else(|_| Err(damaged(format!("column `{}` cannot be decoded", self.name))))
    }

    fn cells(&mut self, n_rows: usize) -> Result<Cells, Error> {
        let Self { name, meaning, optional, values, there } = self;
        let mut of = Of { name, n_rows, optional: *optional, there };
        Ok(match values {
            Values::BoolColumnReader(values) => Cells::Truths(of.each(values, Some)?),
            Values::Int32ColumnReader(values) if *meaning == Meaning::Unsigned => {
                Cells::Wholes(of.each(values, |value: i32| Some(i64::from(value.cast_unsigned())))?)
            }
            Values::Int32ColumnReader(values) if *meaning == Meaning::Plain => {
                Cells::Wholes(of.each(values, |value: i32| Some(i64::from(value)))?)
            }
            Values::Int64ColumnReader(values) if *meaning == Meaning::Unsigned => {
                // What is beyond i64 is a number like any other.
                #[expect(clippy::cast_precision_loss, reason = "rounded as any number that becomes a float")]
                Cells::Numbers(of.each(values, |value: i64| Some(value.cast_unsigned() as f64))?)
            }
            Values::Int64ColumnReader(values) if *meaning == Meaning::Plain => Cells::Wholes(of.each(values, Some)?),
            Values::FloatColumnReader(values) => {
                Cells::Numbers(of.each(values, |value: f32| Some(f64::from(value)).filter(|value| !value.is_nan()))?)
            }
            Values::DoubleColumnReader(values) => {
                Cells::Numbers(of.each(values, |value: f64| Some(value).filter(|value| !value.is_nan()))?)
            }
            Values::FixedLenByteArrayColumnReader(values) if *meaning == Meaning::Half => {
                Cells::Numbers(of.each(values, |value: FixedLenByteArray| half(value.data()))?)
            }
            Values::ByteArrayColumnReader(values) if *meaning == Meaning::Plain => Cells::Texts(of.texts(values)?),
            // The only other meaning that [`check`] lets pass.
            _ => Cells::Numbers(vec![None; n_rows]),
        })
    }
}

/// What a read is of.
struct Of<'a> {
    name: &'a str,
    n_rows: usize,
    optional: bool,
    there: &'a mut Vec<i16>,
}

impl Of<'_> {
    /// All values that are there, packed; `self.there` tells afterwards which rows they belong to.
    fn packed<T: DataType>(&mut self, values: &mut ColumnReaderImpl<T>) -> Result<Vec<T::T>, Error> {
        let mut packed = Vec::with_capacity(self.n_rows);
        self.there.clear();
        let levels = self.optional.then_some(&mut *self.there);
        let (rows, found, _) = values.read_records(self.n_rows, levels, None, &mut packed).map_err(damaged)?;
        if !self.optional {
            self.there.resize(rows, 1);
        }
        let there = self.there.iter().filter(|level| **level > 0).count();
        if rows != self.n_rows || self.there.len() != rows || there != found || packed.len() != found {
            let wanted = self.n_rows;
            return Err(damaged(format!("column `{}` has {rows} of {wanted} rows, {found} values", self.name)));
        }
        Ok(packed)
    }

    fn each<T: DataType, V>(
        &mut self,
        values: &mut ColumnReaderImpl<T>,
        read: fn(T::T) -> Option<V>,
    ) -> Result<Vec<Option<V>>, Error> {
        let mut packed = self.packed(values)?.into_iter();
        Ok(self.there.iter().map(|level| if *level > 0 { packed.next().and_then(read) } else { None }).collect())
    }

    fn texts<T: DataType<T = ByteArray>>(&mut self, values: &mut ColumnReaderImpl<T>) -> Result<Texts, Error> {
        let packed = self.packed(values)?;
        let (mut packed, mut texts) = (packed.iter(), Texts::default());
        for level in self.there.iter() {
            let bytes = if *level > 0 { packed.next() } else { None };
            let text = bytes.map(|bytes| std::str::from_utf8(bytes.data())).transpose();
            texts.push(text.map_err(|_| damaged(format!("column `{}` has a text that is not UTF-8", self.name)))?);
        }
        Ok(texts)
    }
}

/// IEEE 754 binary16, little-endian; `None` for NaN.
fn half(bytes: &[u8]) -> Option<f64> {
    let bits = u16::from_le_bytes(bytes.try_into().ok()?);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => return None,
        exponent => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    Some(if bits >> 15 == 1 { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_ieee_754_says() {
        for (bits, value) in [
            (0x3c00_u16, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x0400, 6.103_515_625e-5),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(&bits.to_le_bytes()), Some(value), "{bits:#x}");
        }
        assert_eq!(half(&0x7e00_u16.to_le_bytes()), None);
    }
}
