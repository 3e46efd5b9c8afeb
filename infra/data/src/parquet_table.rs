//! Parquet with flat columns.

use std::fs::File;
use std::path::PathBuf;

use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;

use crate::table::Visit;
use crate::{BATCH_ROWS, Error, Limits};

/// A Parquet file.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    path: PathBuf,
    names: Vec<String>,
    types: Vec<DataType>,
    rows: u64,
    bytes: u64,
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Format { format: "Parquet", reason: error.to_string() }
}

impl ParquetTable {
    pub(crate) fn open(path: PathBuf, limits: &Limits) -> Result<Self, Error> {
        let mut table = Self { path, names: Vec::new(), types: Vec::new(), rows: 0, bytes: 0 };
        let builder = table.builder()?;
        let metadata = builder.metadata();
        table.rows = u64::try_from(metadata.file_metadata().num_rows()).map_err(damaged)?;
        limits.check_rows(table.rows)?;
        // What a small file says that it holds.
        let unpacked: i64 = metadata.row_groups().iter().map(RowGroupMetaData::total_byte_size).sum();
        table.bytes = u64::try_from(unpacked).map_err(damaged)?;
        limits.check_bytes(table.bytes)?;
        for field in builder.schema().fields() {
            table.names.push(field.name().clone());
            table.types.push(field.data_type().clone());
        }
        Ok(table)
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
        let file = File::open(&self.path).map_err(|source| Error::io(self.path.display(), source))?;
        // The types of Parquet, not those of whoever wrote it: dictionaries are read as their texts.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(damaged)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn scan(&self, places: &[usize], visit: &mut Visit<'_>) -> Result<(), Error> {
        for &place in places {
            let (name, found) = (&self.names[place], &self.types[place]);
            if found.is_nested() {
                return Err(Error::ColumnType { column: name.clone(), found: format!("nested ({found})") });
            }
        }
        let builder = self.builder()?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), places.iter().copied());
        let reader = builder.with_batch_size(BATCH_ROWS).with_projection(mask).build().map_err(damaged)?;
        // The reader keeps the file's order; the caller has its own.
        let mut order: Vec<usize> = places.to_vec();
        order.sort_unstable();
        let wanted: Vec<usize> = places.iter().filter_map(|place| order.binary_search(place).ok()).collect();
        let mut rows = 0;
        for batch in reader {
            let batch = batch.map_err(damaged)?.project(&wanted).map_err(damaged)?;
            rows += batch.num_rows() as u64;
            let share = u128::from(self.bytes) * u128::from(rows) / u128::from(self.rows.max(1));
            visit(&batch, u64::try_from(share).unwrap_or(u64::MAX))?;
        }
        Ok(())
    }
}
