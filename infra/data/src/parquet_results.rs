//! Results as Parquet: batches are gathered until they are a row group.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use regrove_forest::Label;

use crate::ResultColumn;

/// Values of a row group, which is held in memory until it is whole.
const ROW_GROUP_CELLS: usize = 1 << 20;

/// A file that is being written. Its first batch says of what type the columns are.
pub(crate) struct ParquetResults {
    file: Option<File>,
    writer: Option<SerializedFileWriter<File>>,
    /// Rows that are not written yet.
    gathered: Vec<Values>,
}

/// Values of a column, in the narrowest type that holds all of them.
enum Values {
    Truths(Vec<bool>),
    Wholes(Vec<i64>),
    Numbers(Vec<f64>),
    Texts(Vec<ByteArray>),
}

impl ParquetResults {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Some(file), writer: None, gathered: Vec::new() }
    }

    /// Takes a batch: as many columns as there are names, all of one length.
    pub(crate) fn write(&mut self, names: &[String], columns: &[ResultColumn<'_>]) -> Result<()> {
        if let Some(file) = self.file.take() {
            self.gathered = columns.iter().map(Values::like).collect();
            let fields =
                names.iter().zip(&self.gathered).map(|(name, values)| values.field(name)).collect::<Result<_>>()?;
            let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
            let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
            self.writer = Some(SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build()))?);
        }
        for (values, column) in self.gathered.iter_mut().zip(columns) {
            values.extend(column);
        }
        let cells: usize = self.gathered.iter().map(Values::len).sum();
        if cells >= ROW_GROUP_CELLS { self.flush() } else { Ok(()) }
    }

    /// Writes what is gathered as a row group.
    fn flush(&mut self) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if self.gathered.iter().all(|values| values.len() == 0) {
            return Ok(());
        }
        let mut group = writer.next_row_group()?;
        for values in &mut self.gathered {
            values.write(&mut group)?;
        }
        group.close().map(drop)
    }

    /// Makes the file whole; whether there was any batch.
    pub(crate) fn finish(mut self) -> Result<bool> {
        self.flush()?;
        let Some(writer) = self.writer else { return Ok(false) };
        writer.close().map(|_| true)
    }
}

impl Values {
    /// None yet, of a column's type.
    fn like(column: &ResultColumn<'_>) -> Self {
        match column {
            ResultColumn::Numbers(_) => Self::Numbers(Vec::new()),
            ResultColumn::Labels(labels) => match labels.first() {
                Some(Label::Int(_)) => Self::Wholes(Vec::new()),
                Some(Label::Bool(_)) => Self::Truths(Vec::new()),
                Some(Label::Float(_)) => Self::Numbers(Vec::new()),
                Some(Label::Str(_)) | None => Self::Texts(Vec::new()),
            },
        }
    }

    fn field(&self, name: &str) -> Result<Arc<Type>> {
        let (physical, logical) = match self {
            Self::Truths(_) => (Physical::BOOLEAN, None),
            Self::Wholes(_) => (Physical::INT64, None),
            Self::Numbers(_) => (Physical::DOUBLE, None),
            Self::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED);
        field.with_logical_type(logical).build().map(Arc::new)
    }

    fn len(&self) -> usize {
        match self {
            Self::Truths(values) => values.len(),
            Self::Wholes(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Labels of one file are all of one type.
    fn extend(&mut self, column: &ResultColumn<'_>) {
        let labels = match column {
            ResultColumn::Labels(labels) => *labels,
            ResultColumn::Numbers(numbers) => {
                if let Self::Numbers(values) = self {
                    values.extend_from_slice(numbers);
                }
                return;
            }
        };
        match self {
            Self::Truths(values) => values.extend(labels.iter().map(|label| *label == Label::Bool(true))),
            Self::Wholes(values) => values.extend(labels.iter().filter_map(whole)),
            Self::Numbers(values) => values.extend(labels.iter().filter_map(float)),
            Self::Texts(values) => {
                values.extend(labels.iter().map(|label| ByteArray::from(label.to_string().as_str())));
            }
        }
    }

    /// Writes them as the next column of a row group, and forgets them.
    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<()> {
        match self {
            Self::Truths(values) => next::<BoolType>(group, values),
            Self::Wholes(values) => next::<Int64Type>(group, values),
            Self::Numbers(values) => next::<DoubleType>(group, values),
            Self::Texts(values) => next::<ByteArrayType>(group, values),
        }
    }
}

fn whole(label: &Label) -> Option<i64> {
    if let Label::Int(value) = label { Some(*value) } else { None }
}

fn float(label: &Label) -> Option<f64> {
    if let Label::Float(value) = label { Some(*value) } else { None }
}

fn next<T: DataType>(group: &mut SerializedRowGroupWriter<'_, File>, values: &mut Vec<T::T>) -> Result<()> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, None, None)?;
        column.close()?;
    }
    values.clear();
    Ok(())
}
