//! What a model said, written as CSV or Parquet batch by batch.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use regrove_forest::Label;

use crate::{Error, Format};

/// Values of a row group, which is held in memory until it is whole.
const ROW_GROUP_CELLS: usize = 1 << 20;

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
    /// Made with the first batch, whose labels say of what type their column is.
    Parquet(Option<File>, Option<Box<ArrowWriter<File>>>),
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
            Format::Parquet => Sink::Parquet(Some(file), None),
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
            Sink::Parquet(file, writer) => {
                let arrays: Vec<ArrayRef> = columns.iter().map(ResultColumn::array).collect();
                let field = |(name, array): (&String, &ArrayRef)| Field::new(name, array.data_type().clone(), false);
                let schema = Arc::new(Schema::new(self.names.iter().zip(&arrays).map(field).collect::<Vec<Field>>()));
                let unwritten = |error: parquet::errors::ParquetError| Error::io(self.path.display(), error.into());
                let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
                    .map_err(|error| Error::Format { format: "results", reason: error.to_string() })?;
                if let Some(file) = file.take() {
                    let properties = WriterProperties::builder()
                        .set_compression(Compression::ZSTD(ZstdLevel::default()))
                        .set_max_row_group_row_count(Some((ROW_GROUP_CELLS / self.names.len().max(1)).max(1)))
                        .build();
                    let made = ArrowWriter::try_new(file, schema, Some(properties)).map_err(unwritten)?;
                    *writer = Some(Box::new(made));
                }
                match writer {
                    Some(writer) => writer.write(&batch).map_err(unwritten),
                    None => Ok(()),
                }
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
            Sink::Parquet(_, Some(writer)) => writer.close().map(drop).map_err(|error| wrong(error.into())),
            Sink::Parquet(..) => Err(Error::NoRows),
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

    /// The column of the narrowest type that holds all of it.
    fn array(&self) -> ArrayRef {
        let labels = match self {
            Self::Numbers(numbers) => return Arc::new(Float64Array::from(numbers.to_vec())),
            Self::Labels(labels) => labels,
        };
        match labels.first() {
            Some(Label::Int(_)) => {
                let values = |label: &Label| if let Label::Int(value) = label { Some(*value) } else { None };
                Arc::new(labels.iter().map(values).collect::<Int64Array>())
            }
            Some(Label::Bool(_)) => {
                let values = |label: &Label| if let Label::Bool(value) = label { Some(*value) } else { None };
                Arc::new(labels.iter().map(values).collect::<BooleanArray>())
            }
            Some(Label::Float(_)) => {
                let values = |label: &Label| if let Label::Float(value) = label { Some(*value) } else { None };
                Arc::new(labels.iter().map(values).collect::<Float64Array>())
            }
            Some(Label::Str(_)) | None => Arc::new(StringArray::from_iter_values(labels.iter().map(Label::to_string))),
        }
    }
}
