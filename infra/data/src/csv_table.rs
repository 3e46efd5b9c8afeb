//! CSV: a header, and rows of as many cells (RFC 4180).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regrove_events::event::CsvFormat;

use crate::column::{Batch, Cells, Texts};
use crate::table::{Compression, Visit};
use crate::{BATCH_ROWS, Error, Limits};

/// Cells that stand for a missing value when nothing is said: those of pandas that people write.
const MISSING: [&str; 9] = ["NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"];
/// Bytes read from the file at once.
const BUFFER: usize = 1 << 20;

/// Whether a cell of a CSV file stands for a missing value when nothing is said.
pub fn is_missing(cell: &str) -> bool {
    cell.is_empty() || MISSING.contains(&cell)
}

/// A reader, and how many bytes of the file it has read.
type Opened = (csv::Reader<Box<dyn Read>>, Arc<AtomicU64>);

/// A CSV file.
#[derive(Debug)]
pub(crate) struct CsvTable {
    path: PathBuf,
    compression: Compression,
    delimiter: u8,
    quote: u8,
    header: bool,
    /// Cells that stand for a missing value, if the request names its own.
    missing: Option<BTreeSet<String>>,
    names: Vec<String>,
    limits: Limits,
}

impl CsvTable {
    pub(crate) fn open(
        path: PathBuf,
        compression: Compression,
        format: &CsvFormat,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut table = Self {
            path,
            compression,
            delimiter: ascii("csv.delimiter", format.delimiter)?,
            quote: ascii("csv.quote", format.quote)?,
            header: format.header,
            missing: format.missing.as_ref().map(|own| own.iter().cloned().collect()),
            names: Vec::new(),
            limits: *limits,
        };
        let (mut reader, _) = table.reader()?;
        let mut first = csv::StringRecord::new();
        reader.read_record(&mut first).map_err(|error| damaged(&error))?;
        table.names = if table.header {
            // A byte order mark is no part of the first name.
            first
                .iter()
                .enumerate()
                .map(|(at, name)| if at == 0 { name.trim_start_matches('\u{feff}') } else { name }.to_owned())
                .collect()
        } else {
            (0..first.len()).map(|at| format!("column_{at}")).collect()
        };
        Ok(table)
    }

    fn is_missing(&self, cell: &str) -> bool {
        match &self.missing {
            Some(own) => cell.is_empty() || own.contains(cell),
            None => is_missing(cell),
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// A reader at the first line.
    fn reader(&self) -> Result<Opened, Error> {
        let file = File::open(&self.path).map_err(|source| Error::io(self.path.display(), source))?;
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: BufReader::with_capacity(BUFFER, file), read: Arc::clone(&read) };
        let content: Box<dyn Read> = match self.compression {
            Compression::None => Box::new(counted),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(counted)),
            Compression::Zstd => {
                Box::new(zstd::Decoder::new(counted).map_err(|source| Error::io(self.path.display(), source))?)
            }
        };
        // One byte more than allowed tells "too large" from "just fits".
        let limited: Box<dyn Read> = Box::new(content.take(self.limits.bytes_max.saturating_add(1)));
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .delimiter(self.delimiter)
            .quote(self.quote)
            .buffer_capacity(BUFFER)
            .from_reader(limited);
        Ok((reader, read))
    }

    pub(crate) fn scan(&self, places: &[usize], visit: &mut Visit<'_>) -> Result<(), Error> {
        let (mut reader, read) = self.reader()?;
        let mut record = csv::StringRecord::new();
        if self.header {
            reader.read_record(&mut record).map_err(|error| damaged(&error))?;
        }
        let mut row = 0;
        loop {
            let mut columns: Vec<Texts> = places.iter().map(|_| Texts::default()).collect();
            let mut rows = 0;
            while rows < BATCH_ROWS && reader.read_record(&mut record).map_err(|error| damaged(&error))? {
                self.limits.check_bytes(reader.position().byte())?;
                row += 1;
                rows += 1;
                self.limits.check_rows(row)?;
                if record.len() != self.names.len() {
                    let line = record.position().map_or(row, csv::Position::line);
                    return Err(Error::Ragged { line, row, got: record.len(), expected: self.names.len() });
                }
                for (&place, column) in places.iter().zip(&mut columns) {
                    let cell = &record[place];
                    column.push((!self.is_missing(cell)).then_some(cell));
                }
            }
            self.limits.check_bytes(reader.position().byte())?;
            if rows == 0 {
                return Ok(());
            }
            let batch = Batch::new(rows, columns.into_iter().map(Cells::Texts).collect());
            visit(&batch, read.load(Ordering::Relaxed))?;
        }
    }
}

fn ascii(field: &'static str, character: char) -> Result<u8, Error> {
    match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() && byte != b'\n' && byte != b'\r' => Ok(byte),
        _ => Err(Error::Setting { field, reason: format!("is {character:?}, it must be one ASCII character") }),
    }
}

fn damaged(error: &csv::Error) -> Error {
    let place = error.position().map_or_else(String::new, |position| format!("line {}: ", position.line()));
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => format!("{place}not valid UTF-8; save the file as UTF-8"),
        _ => error.to_string(),
    };
    Error::Format { format: "CSV", reason }
}

/// Counts the bytes that are read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl<R: io::BufRead> io::BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        self.inner.consume(length);
    }
}
