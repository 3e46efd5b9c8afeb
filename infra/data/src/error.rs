//! Why a data set cannot be read. Rows count from 1, the header not included; lines count from 1.

/// What is wrong with a data set, with the place and the way to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URI is none, or of a scheme that is not supported.
    #[error("data set `{uri}` is not supported: {reason}; use a file, https, s3, gs or az URI, or synthetic:…")]
    Uri {
        /// The URI.
        uri: String,
        /// Why not.
        reason: String,
    },
    /// The URI names a place that this process may not read from.
    #[error("data set `{uri}` is not allowed: {reason}")]
    NotAllowed {
        /// The URI, or the one that it redirects to.
        uri: String,
        /// The rule, and the setting that changes it.
        reason: String,
    },
    /// There is nothing.
    #[error("data set `{uri}`: {reason}")]
    NotFound {
        /// The URI or path.
        uri: String,
        /// What was said there.
        reason: String,
    },
    /// The environment's settings for a bucket cannot be used.
    #[error("data set `{uri}`: the environment's settings for this bucket cannot be used: {reason}")]
    BucketSettings {
        /// The URI.
        uri: String,
        /// Which setting is missing or wrong.
        reason: String,
    },
    /// A bucket or server does not let this process in.
    #[error("data set `{uri}`: access is denied; {reason}")]
    Denied {
        /// The URI.
        uri: String,
        /// What to look at.
        reason: String,
    },
    /// The place does not answer, or breaks off: another attempt may succeed.
    #[error("data set `{uri}` cannot be fetched now: {reason}")]
    Unavailable {
        /// The URI.
        uri: String,
        /// What was said there.
        reason: String,
    },
    /// The object was replaced while pieces of it were read: another attempt reads the new one.
    #[error("data set `{uri}` was replaced while it was read; ask again")]
    Changed {
        /// The URI.
        uri: String,
    },
    /// A file of this machine cannot be read or written.
    #[error("{place}: {source}")]
    Io {
        /// The file.
        place: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Results cannot be written next to the data set.
    #[error("results cannot be written to `{uri}`: {reason}")]
    NotWritable {
        /// Where they should be.
        uri: String,
        /// Why they cannot.
        reason: String,
    },
    /// Whoever wanted the rows wants no more of them.
    #[error("the reading was stopped")]
    Stopped,
    /// More than a limit allows.
    #[error("the data set has more than {max} {what}; raise {setting} or use less")]
    TooLarge {
        /// `bytes`, `rows`, `columns`, …
        what: &'static str,
        /// The limit.
        max: u64,
        /// What sets it.
        setting: &'static str,
    },
    /// A setting of the reader is wrong.
    #[error("`{field}`: {reason}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What it must be.
        reason: String,
    },
    /// The file is not what it seems to be.
    #[error("not readable as {format}: {reason}")]
    Format {
        /// `CSV` or `Parquet`.
        format: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// A row with more or fewer cells than the header.
    #[error("line {line} (row {row}) has {got} cells, the header has {expected}")]
    Ragged {
        /// Line of the file.
        line: u64,
        /// Data row.
        row: u64,
        /// Its cells.
        got: usize,
        /// Cells of the header.
        expected: usize,
    },
    /// A column that is not there.
    #[error("column `{column}` is not in the header: {columns}")]
    ColumnMissing {
        /// The name asked for.
        column: String,
        /// The names present, shortened.
        columns: String,
    },
    /// Two columns have one name.
    #[error("column name `{0}` appears more than once")]
    DuplicateName(String),
    /// A column of a type that is no number, text or truth value.
    #[error("column `{column}` is {found}; numbers, texts and truth values can be learned from: leave it out (`drop`)")]
    ColumnType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A text in a column of numbers.
    #[error(
        "row {row}, column `{column}`: {cell:?} is not a number, but other cells are; if it stands for a missing \
         value say so (`missing`), if the column holds categories name it (`categorical`)"
    )]
    NotNumeric {
        /// Data row.
        row: u64,
        /// Column.
        column: String,
        /// The cell, shortened.
        cell: String,
    },
    /// A number that is infinite or too large for float32.
    #[error("row {row}, column `{column}`: {cell} is infinite or too large for float32")]
    OutOfRange {
        /// Data row.
        row: u64,
        /// Column.
        column: String,
        /// The number.
        cell: String,
    },
    /// A text that the model has not learned.
    #[error("row {row}, column `{column}`: the model does not know {cell:?}; it knows {known}")]
    UnknownCategory {
        /// Data row.
        row: u64,
        /// Column.
        column: String,
        /// The text, shortened.
        cell: String,
        /// The texts that it knows, shortened.
        known: String,
    },
    /// A row without a target.
    #[error("row {row}, column `{column}`: the target is empty")]
    EmptyTarget {
        /// Data row.
        row: u64,
        /// Target.
        column: String,
    },
    /// A class that is no number among classes that are.
    #[error(
        "row {row}, column `{column}`: {cell} is no class among numbers; leave the row out, or write its class as a number \
         or all classes as texts"
    )]
    NotAClass {
        /// Data row.
        row: u64,
        /// Target.
        column: String,
        /// The cell, shortened.
        cell: String,
    },
    /// A cell that is no weight of a row.
    #[error("row {row}, column `{column}`: {cell:?} is no sample weight; each must be a finite number of 0 or more")]
    SampleWeight {
        /// Data row.
        row: u64,
        /// Column of the weights.
        column: String,
        /// The cell, shortened; empty for a missing value.
        cell: String,
    },
    /// Nothing can be learned from rows that weigh nothing.
    #[error("column `{column}`: the sample weights add up to {total:?}, their sum must be a finite number above 0")]
    NoSampleWeight {
        /// Column of the weights.
        column: String,
        /// Their sum.
        total: f64,
    },
    /// Nothing but a header, or nothing at all.
    #[error("the data set has no rows")]
    NoRows,
    /// No column besides the target.
    #[error("the data set has no feature column")]
    NoFeatures,
}

impl Error {
    /// The last part of the problem's type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Uri { .. } => "dataset-unsupported",
            Self::NotAllowed { .. } => "dataset-not-allowed",
            Self::NotFound { .. } => "dataset-not-found",
            Self::BucketSettings { .. } | Self::Denied { .. } => "dataset-access",
            Self::Stopped | Self::Unavailable { .. } | Self::Changed { .. } => "dataset-unavailable",
            Self::NotWritable { .. } => "dataset-not-writable",
            Self::TooLarge { .. } => "dataset-too-large",
            _ => "dataset-invalid",
        }
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Changed { .. } | Self::Io { .. } | Self::Stopped)
    }

    pub(crate) fn io(place: impl std::fmt::Display, source: std::io::Error) -> Self {
        Self::Io { place: place.to_string(), source }
    }
}

/// Characters of a cell shown in an error.
const CELL_SHOWN_MAX: usize = 40;
/// Names shown in an error.
const NAMES_SHOWN_MAX: usize = 20;

pub(crate) fn shown(cell: &str) -> String {
    cell.chars().take(CELL_SHOWN_MAX).collect()
}

pub(crate) fn names_shown<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let first: Vec<String> = names.by_ref().take(NAMES_SHOWN_MAX).map(shown).collect();
    let more = if names.next().is_some() { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}
