//! What a model said, written as CSV or Parquet batch by batch.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use regrove_forest::Label;

use crate::parquet_results::ParquetResults;
use crate::{Error, Format};

/// A column of a batch of results.
#[derive(Debug, Clone, Copy)]
pub enum ResultColumn<'a> {
    /// Labels, all of one type.
    Labels(&'a [Label]),
    /// Numbers.
    Numbers(&'a [f64]),
}

/// Writes results to a file. [`ResultWriter::finish`] makes it whole.
#[derive(Debug)]
pub struct ResultWriter {
    path: PathBuf,
    names: Vec<String>,
    sink: Sink,
}

enum Sink {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Parquet(Box<ParquetResults>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if matches!(self, Self::Csv(_)) { "Csv" } else { "Parquet" })
    }
}

impl ResultWriter {
    /// Starts a file with these columns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path, format: Format, names: &[String]) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::io(path.display(), source))?;
        let sink = match format {
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(BufWriter::new(file));
                csv.write_record(names).map_err(|error| unwritten(path, &error))?;
                Sink::Csv(Box::new(csv))
            }
            Format::Parquet => Sink::Parquet(Box::new(ParquetResults::new(file))),
        };
        Ok(Self { path: path.to_owned(), names: names.to_vec(), sink })
    }

    /// Writes a batch: as many columns as there are names, all of one length.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for columns that do not fit.
    pub fn write(&mut self, columns: &[ResultColumn<'_>]) -> Result<(), Error> {
        let lengths: Vec<usize> = columns.iter().map(ResultColumn::len).collect();
        if lengths.len() != self.names.len() || lengths.windows(2).any(|pair| pair[0] != pair[1]) {
            let reason = format!("columns of {lengths:?} rows for {} names", self.names.len());
            return Err(Error::Format { format: "results", reason });
        }
        match &mut self.sink {
            Sink::Csv(csv) => {
                for row in 0..lengths.first().copied().unwrap_or(0) {
                    let cells = columns.iter().map(|column| column.text(row));
                    csv.write_record(cells).map_err(|error| unwritten(&self.path, &error))?;
                }
                Ok(())
            }
            Sink::Parquet(results) => {
                results.write(&self.names, columns).map_err(|error| Error::io(self.path.display(), error.into()))
            }
        }
    }

    /// Makes the file whole.
    ///
    /// # Errors
    /// [`Error::Io`]; a Parquet file without a batch.
    pub fn finish(self) -> Result<(), Error> {
        let wrong = |source| Error::io(self.path.display(), source);
        match self.sink {
            Sink::Csv(csv) => {
                let mut out = csv.into_inner().map_err(|error| wrong(error.into_error()))?;
                out.flush().map_err(wrong)
            }
            Sink::Parquet(results) => {
                if results.finish().map_err(|error| wrong(error.into()))? {
                    Ok(())
                } else {
                    Err(Error::NoRows)
                }
            }
        }
    }
}

fn unwritten(path: &Path, error: &csv::Error) -> Error {
    Error::io(path.display(), std::io::Error::other(error.to_string()))
}

impl ResultColumn<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Labels(labels) => labels.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    fn text(&self, row: usize) -> String {
        match self {
            Self::Labels(labels) => labels[row].to_string(),
            Self::Numbers(numbers) => numbers[row].to_string(),
        }
    }
}
