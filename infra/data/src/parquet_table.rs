//! Parquet with flat columns.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::column::Batch;
use crate::parquet_column::{self, ColumnReader};
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
    /// Of each column the leaf that its values are in, or why it cannot be learned from.
    leaves: Vec<Result<usize, String>>,
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

pub(crate) fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Format { format: "Parquet", reason: error.to_string() }
}

impl ParquetTable {
    pub(crate) fn open(path: PathBuf, limits: &Limits) -> Result<Self, Error> {
        let place = path.display().to_string();
        let file = File::open(&path).map_err(|source| Error::io(&place, source))?;
        let total = file.metadata().map_err(|source| Error::io(&place, source))?.len();
        let data_end = total - footer_bytes(&file, total)?;
        let reader = reader(file)?;
        let metadata = reader.metadata();
        let rows = u64::try_from(metadata.file_metadata().num_rows()).map_err(damaged)?;
        limits.check_rows(rows)?;
        let schema = metadata.file_metadata().schema_descr();
        let mut chunks = Vec::new();
        for group in metadata.row_groups() {
            for (leaf, column) in group.columns().iter().enumerate() {
                chunks.push(Chunk {
                    column: schema.get_column_root_idx(leaf),
                    bytes: chunk_bytes(column, data_end)?,
                    unpacked: u64::try_from(column.uncompressed_size()).map_err(damaged)?,
                });
            }
        }
        let fields = schema.root_schema().get_fields();
        let names = fields.iter().map(|field| field.name().to_owned()).collect();
        let leaves = fields.iter().enumerate().map(|(place, field)| {
            parquet_column::check(field)?;
            let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == place);
            leaf.ok_or_else(|| "without values".to_owned())
        });
        let leaves = leaves.collect();
        Ok(Self { path, names, leaves, rows, chunks, limits: *limits })
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
        let leaf = |&place: &usize| {
            self.leaves[place].clone().map_err(|found| Error::ColumnType { column: self.names[place].clone(), found })
        };
        let leaves = places.iter().map(leaf).collect::<Result<Vec<usize>, Error>>()?;
        // What a small file says that it holds.
        let wanted_chunks = self.chunks.iter().filter(|chunk| places.contains(&chunk.column));
        let unpacked = wanted_chunks.fold(0_u64, |sum, chunk| sum.saturating_add(chunk.unpacked));
        self.limits.check_bytes(unpacked)?;
        let file = File::open(&self.path).map_err(|source| Error::io(self.path.display(), source))?;
        let reader = reader(file)?;
        let mut rows = 0;
        for index in 0..reader.num_row_groups() {
            let group = reader.get_row_group(index).map_err(damaged)?;
            let mut left = usize::try_from(group.metadata().num_rows()).map_err(damaged)?;
            let open = |&leaf: &usize| ColumnReader::open(&*group, leaf);
            let mut columns = leaves.iter().map(open).collect::<Result<Vec<ColumnReader>, Error>>()?;
            while left > 0 {
                let n_rows = left.min(BATCH_ROWS);
                let cells = columns.iter_mut().map(|column| column.read(n_rows)).collect::<Result<_, Error>>()?;
                left -= n_rows;
                rows += n_rows as u64;
                let share = u128::from(unpacked) * u128::from(rows) / u128::from(self.rows.max(1));
                visit(&Batch::new(n_rows, cells), u64::try_from(share).unwrap_or(u64::MAX))?;
            }
        }
        if rows == self.rows {
            return Ok(());
        }
        Err(damaged(format!("it says that it has {} rows, its row groups have {rows}", self.rows)))
    }
}

fn reader(file: File) -> Result<SerializedFileReader<File>, Error> {
    SerializedFileReader::new(file).map_err(damaged)
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
