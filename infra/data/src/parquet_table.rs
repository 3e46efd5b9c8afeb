//! Parquet with flat columns.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ColumnChunkMetaData;

use crate::pieces::MAGIC;
use crate::table::Visit;
use crate::{BATCH_ROWS, Columns, Error, Limits};

/// Largest footer that is read, in bytes.
const FOOTER_BYTES_MAX: u64 = 256 << 20;
/// Length of the footer and magic, at the very end.
const END_BYTES: u64 = 8;

/// A Parquet file.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    path: PathBuf,
    names: Vec<String>,
    types: Vec<DataType>,
    rows: u64,
    chunks: Vec<Chunk>,
    limits: Limits,
}

/// One column of one row group.
#[derive(Debug)]
struct Chunk {
    /// Place of its column.
    column: usize,
    /// Where it lies in the file.
    bytes: Range<u64>,
    /// Its bytes without compression.
    unpacked: u64,
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Format { format: "Parquet", reason: error.to_string() }
}

impl ParquetTable {
    pub(crate) fn open(path: PathBuf, limits: &Limits) -> Result<Self, Error> {
        let place = path.display().to_string();
        let file = File::open(&path).map_err(|source| Error::io(&place, source))?;
        let total = file.metadata().map_err(|source| Error::io(&place, source))?.len();
        let data_end = total - footer_bytes(&file, total)?;
        let mut table =
            Self { path, names: Vec::new(), types: Vec::new(), rows: 0, chunks: Vec::new(), limits: *limits };
        let builder = table.builder()?;
        let metadata = builder.metadata();
        table.rows = u64::try_from(metadata.file_metadata().num_rows()).map_err(damaged)?;
        limits.check_rows(table.rows)?;
        for group in metadata.row_groups() {
            for (leaf, column) in group.columns().iter().enumerate() {
                table.chunks.push(Chunk {
                    column: builder.parquet_schema().get_column_root_idx(leaf),
                    bytes: chunk_bytes(column, data_end)?,
                    unpacked: u64::try_from(column.uncompressed_size()).map_err(damaged)?,
                });
            }
        }
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

    /// Where the chunks of some columns lie.
    pub(crate) fn chunks(&self, columns: &Columns<'_>) -> Vec<Range<u64>> {
        let wanted = self.chunks.iter().filter(|chunk| columns.hold(&self.names[chunk.column]));
        wanted.map(|chunk| chunk.bytes.clone()).collect()
    }

    pub(crate) fn scan(&self, places: &[usize], visit: &mut Visit<'_>) -> Result<(), Error> {
        for &place in places {
            let (name, found) = (&self.names[place], &self.types[place]);
            if found.is_nested() {
                return Err(Error::ColumnType { column: name.clone(), found: format!("nested ({found})") });
            }
        }
        // What a small file says that it holds.
        let wanted_chunks = self.chunks.iter().filter(|chunk| places.contains(&chunk.column));
        let unpacked = wanted_chunks.fold(0_u64, |sum, chunk| sum.saturating_add(chunk.unpacked));
        self.limits.check_bytes(unpacked)?;
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
            let share = u128::from(unpacked) * u128::from(rows) / u128::from(self.rows.max(1));
            visit(&batch, u64::try_from(share).unwrap_or(u64::MAX))?;
        }
        Ok(())
    }
}

/// How many bytes the footer takes at the end of a file, its length and the magic included.
pub(crate) fn footer_bytes(file: &File, total: u64) -> Result<u64, Error> {
    let mut end = [0; 8];
    if total < MAGIC.len() as u64 + END_BYTES {
        return Err(damaged(format!("it has {total} bytes")));
    }
    file.read_exact_at(&mut end, total - END_BYTES).map_err(damaged)?;
    let [a, b, c, d, magic @ ..] = end;
    if magic != *MAGIC {
        return Err(damaged("it does not end as Parquet does"));
    }
    let footer = u64::from(u32::from_le_bytes([a, b, c, d])) + END_BYTES;
    if footer > total - MAGIC.len() as u64 {
        return Err(damaged(format!("its footer is said to have {footer} bytes, the file has {total}")));
    }
    if footer > FOOTER_BYTES_MAX {
        let setting = "the limit of Parquet footers in the library";
        return Err(Error::TooLarge { what: "bytes of footer", max: FOOTER_BYTES_MAX, setting });
    }
    Ok(footer)
}

/// Where a chunk lies, by what the footer says; what cannot be is refused, since the reader believes it.
fn chunk_bytes(column: &ColumnChunkMetaData, data_end: u64) -> Result<Range<u64>, Error> {
    let name = column.column_path().string();
    let wrong = |reason: String| damaged(format!("column `{name}`: {reason}"));
    if let Some(path) = column.file_path() {
        return Err(wrong(format!("it lies in another file, `{path}`")));
    }
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let place = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    let range = place.and_then(|(start, length)| Some(start..start.checked_add(length)?));
    range.filter(|range| range.start >= MAGIC.len() as u64 && range.end <= data_end).ok_or_else(|| {
        let length = column.compressed_size();
        wrong(format!("{length} bytes from byte {start} on are not between magic and footer"))
    })
}
