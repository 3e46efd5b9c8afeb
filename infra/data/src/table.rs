//! A data set as a table that can be read any number of times, batch by batch.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use regrove_events::event::CsvFormat;

use crate::column::Batch;
use crate::csv_table::CsvTable;
use crate::error::names_shown;
use crate::parquet_table::ParquetTable;
use crate::{DATA_BYTES_MAX, Error, ROWS_MAX};

/// Rows handed out at once.
pub const BATCH_ROWS: usize = 8192;
/// Columns that a data set may have.
pub const COLUMNS_MAX: usize = 100_000;

/// How much is read, so that input cannot exhaust memory or disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes before and after decompression, and of the frame that is made of them.
    pub bytes_max: u64,
    /// Data rows.
    pub rows_max: u64,
    /// Columns, the target included.
    pub columns_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: DATA_BYTES_MAX, rows_max: ROWS_MAX, columns_max: COLUMNS_MAX }
    }
}

impl Limits {
    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), Error> {
        let setting = "--data-bytes-max (REGROVE_DATA_BYTES_MAX)";
        if bytes > self.bytes_max {
            Err(Error::TooLarge { what: "bytes", max: self.bytes_max, setting })
        } else {
            Ok(())
        }
    }

    pub(crate) fn check_rows(&self, rows: u64) -> Result<(), Error> {
        let setting = "--data-rows-max (REGROVE_DATA_ROWS_MAX)";
        if rows > self.rows_max { Err(Error::TooLarge { what: "rows", max: self.rows_max, setting }) } else { Ok(()) }
    }

    /// Checks the names of the columns.
    pub(crate) fn check_names(&self, names: &[String]) -> Result<(), Error> {
        if names.len() > self.columns_max {
            let max = self.columns_max as u64;
            return Err(Error::TooLarge { what: "columns", max, setting: "the limit of columns in the library" });
        }
        let mut seen = std::collections::BTreeSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(name) => Err(Error::DuplicateName(name.clone())),
            None => Ok(()),
        }
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What is done with a batch; the number is that of the bytes of the file that have been read.
pub type Visit<'a> = dyn FnMut(&Batch, u64) -> Result<(), Error> + 'a;

/// A local file as a table.
#[derive(Debug)]
pub struct Table {
    kind: Kind,
    names: Vec<String>,
    bytes: u64,
    limits: Limits,
}

#[derive(Debug)]
enum Kind {
    Csv(CsvTable),
    Parquet(ParquetTable),
}

impl Table {
    /// Opens a file: what it is, is told by its first bytes. `csv` says how CSV is written.
    ///
    /// # Errors
    /// A file that cannot be read, settings that are none, a header with one name twice, nested Parquet columns.
    pub fn open(path: &Path, csv: &CsvFormat, limits: &Limits) -> Result<Self, Error> {
        let bytes = path.metadata().map_err(|source| Error::io(path.display(), source))?.len();
        let (format, compression) = sniff(path)?;
        let path = PathBuf::from(path);
        let kind = match (format, compression) {
            (Format::Parquet, _) => Kind::Parquet(ParquetTable::open(path, limits)?),
            (Format::Csv, compression) => Kind::Csv(CsvTable::open(path, compression, csv, limits)?),
        };
        let names = match &kind {
            Kind::Csv(table) => table.names().to_vec(),
            Kind::Parquet(table) => table.names().to_vec(),
        };
        limits.check_names(&names)?;
        Ok(Self { kind, names, bytes, limits: *limits })
    }

    /// How the file is written.
    pub fn format(&self) -> Format {
        match self.kind {
            Kind::Csv(_) => Format::Csv,
            Kind::Parquet(_) => Format::Parquet,
        }
    }

    /// Names of the columns in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of it is read.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where a column is.
    ///
    /// # Errors
    /// [`Error::ColumnMissing`].
    pub fn place(&self, name: &str) -> Result<usize, Error> {
        self.names.iter().position(|column| column == name).ok_or_else(|| Error::ColumnMissing {
            column: name.to_owned(),
            columns: names_shown(self.names.iter().map(String::as_str)),
        })
    }

    /// Hands out all rows of some columns, in order, at most [`BATCH_ROWS`] at a time: the columns of a batch are those of
    /// `places` in their order. CSV columns are texts, empty where a value is missing. With each batch comes the number
    /// of bytes of the file that have been read.
    ///
    /// # Errors
    /// A file that is cut, damaged, ragged, not UTF-8 or over a limit; what `visit` says.
    pub fn scan(&self, places: &[usize], visit: &mut Visit<'_>) -> Result<(), Error> {
        match &self.kind {
            Kind::Csv(table) => table.scan(places, visit),
            Kind::Parquet(table) => table.scan(places, visit),
        }
    }
}

/// Looks at the first bytes of a file.
fn sniff(path: &Path) -> Result<(Format, Compression), Error> {
    let mut first = Vec::new();
    let mut file = File::open(path).map_err(|source| Error::io(path.display(), source))?;
    file.by_ref().take(4).read_to_end(&mut first).map_err(|source| Error::io(path.display(), source))?;
    Ok(match first.as_slice() {
        b"PAR1" => (Format::Parquet, Compression::None),
        [0x1f, 0x8b, ..] => (Format::Csv, Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => (Format::Csv, Compression::Zstd),
        _ => (Format::Csv, Compression::None),
    })
}
