//! The data set: named float32 columns and a target.

use std::collections::BTreeMap;
use std::sync::OnceLock;

mod canonical;
mod csv_reader;
mod label;

pub use canonical::FrameLayout;
pub use csv_reader::rows_from_csv;
pub use label::Label;

/// Rows, columns and bytes that a frame may have, so that input cannot exhaust memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Data rows.
    pub rows_max: usize,
    /// Columns, the target included.
    pub columns_max: usize,
    /// Bytes read from the source.
    pub bytes_max: u64,
}

/// Rows accepted by default.
pub const ROWS_MAX: usize = 100_000_000;
/// Columns accepted by default.
pub const COLUMNS_MAX: usize = 100_000;
/// Bytes read by default: 16 GiB.
pub const BYTES_MAX: u64 = 16 << 30;

impl Default for FrameLimits {
    fn default() -> Self {
        Self { rows_max: ROWS_MAX, columns_max: COLUMNS_MAX, bytes_max: BYTES_MAX }
    }
}

/// Why a data set was refused. Rows count from 1, the header not included.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// Nothing but a header, or nothing at all.
    #[error("the data set has no rows")]
    NoRows,
    /// No column besides the target.
    #[error("the data set has no feature column")]
    NoFeatures,
    /// The target or a feature is not among the columns.
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
    /// A row with more or fewer cells than the header.
    #[error("row {row} has {got} cells, the header has {expected}")]
    Ragged {
        /// Data row.
        row: usize,
        /// Its cells.
        got: usize,
        /// Cells of the header.
        expected: usize,
    },
    /// A cell that is not a number.
    #[error("row {row}, column `{column}`: {cell:?} is not a number")]
    NotNumeric {
        /// Data row.
        row: usize,
        /// Column name.
        column: String,
        /// The cell, shortened.
        cell: String,
    },
    /// A number that is infinite or too large for float32.
    #[error("row {row}, column `{column}`: {cell} is infinite or too large for float32")]
    OutOfRange {
        /// Data row.
        row: usize,
        /// Column name.
        column: String,
        /// The cell.
        cell: String,
    },
    /// A row without a target.
    #[error("row {row}, column `{column}`: the target is empty")]
    EmptyTarget {
        /// Data row.
        row: usize,
        /// Target name.
        column: String,
    },
    /// A class that is no number among classes that are.
    #[error(
        "row {row}, column `{column}`: {cell} is no class among numbers; leave the row out, or write its class as a number \
         or all classes as texts"
    )]
    NotAClass {
        /// Data row.
        row: usize,
        /// Target name.
        column: String,
        /// The cell, shortened.
        cell: String,
    },
    /// More than a limit allows.
    #[error("the data set has more than {max} {what}; raise the limit or use a smaller set")]
    TooLarge {
        /// `rows`, `columns` or `bytes`.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Parts that do not fit together.
    #[error("{what} has length {got}, expected {expected}")]
    Length {
        /// The part.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that the other parts ask for.
        expected: usize,
    },
    /// A row index beyond the frame, or a class index beyond the classes.
    #[error("{what} {index} is not below {bound}")]
    Index {
        /// `row` or `class`.
        what: &'static str,
        /// The index.
        index: usize,
        /// Its bound.
        bound: usize,
    },
    /// A weight that no row can have.
    #[error("row {row}: the sample weight is {weight:?}, it must be a finite number of 0.0 or more")]
    SampleWeight {
        /// Data row.
        row: usize,
        /// The weight.
        weight: f64,
    },
    /// Text that is not CSV.
    #[error("row {row}: {reason}")]
    Csv {
        /// Data row, 0 for the header.
        row: usize,
        /// What the reader said.
        reason: String,
    },
    /// Categories that a column cannot have.
    #[error("categories of column `{column}`: {reason}")]
    Categories {
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// Bytes that are not a canonical frame.
    #[error("not a frame file: {0}")]
    Canonical(&'static str),
}

/// What the model learns to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Classes in sorted order, and per row an index into them.
    Classes {
        /// Distinct labels, ascending.
        classes: Vec<Label>,
        /// Class of each row, `0..classes.len()`.
        indexes: Vec<u32>,
    },
    /// A number per row.
    Values(Vec<f64>),
}

impl Target {
    /// Classes of labels as `numpy.unique` gives them.
    pub fn from_labels(labels: &[Label]) -> Self {
        let distinct: std::collections::BTreeSet<&Label> = labels.iter().collect();
        let classes: Vec<Label> = distinct.into_iter().cloned().collect();
        let indexes = labels
            .iter()
            .map(|label| u32::try_from(classes.partition_point(|class| class < label)).unwrap_or(u32::MAX))
            .collect();
        Self::Classes { classes, indexes }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { indexes, .. } => indexes.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The texts of ordinally encoded features by name: value k of the column stands for the k-th text. Texts are distinct and
/// ascending, as scikit-learn's `OrdinalEncoder` orders them; a missing value stays NaN.
pub type Categories = BTreeMap<String, Vec<String>>;

/// A data set: float32 features, column-major, and a target. NaN stands for a missing value.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    feature_names: Vec<String>,
    /// Column-major, `(n_features, n_samples)` read by rows.
    columns: Vec<f32>,
    target: Target,
    target_name: String,
    categories: Categories,
    sample_weight: Option<Vec<f64>>,
    identity: Identity,
}

/// A name that is there more than once.
pub(crate) fn twice<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// What [`Frame::sha256`] found, once it was asked. It follows from the rest of a frame, so that equality leaves it out.
#[derive(Debug, Clone, Default)]
struct Identity(OnceLock<String>);

impl PartialEq for Identity {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Frame {
    /// A frame of column-major features: `columns[j * n_samples + i]` is row i of feature j.
    ///
    /// # Errors
    ///
    /// Zero rows or features, duplicate names, lengths that do not fit, infinite values, class
    /// indexes out of range.
    pub fn new(
        feature_names: Vec<String>,
        columns: Vec<f32>,
        target_name: &str,
        target: Target,
    ) -> Result<Self, FrameError> {
        let n_samples = target.len();
        if n_samples == 0 {
            return Err(FrameError::NoRows);
        }
        if feature_names.is_empty() {
            return Err(FrameError::NoFeatures);
        }
        if let Some(name) = twice(feature_names.iter().map(String::as_str).chain([target_name])) {
            return Err(FrameError::DuplicateName(name.to_owned()));
        }
        let expected = feature_names.len() * n_samples;
        if columns.len() != expected {
            return Err(FrameError::Length { what: "columns", got: columns.len(), expected });
        }
        if let Some(at) = columns.iter().position(|value| value.is_infinite()) {
            let (row, column) = (at % n_samples + 1, feature_names[at / n_samples].clone());
            return Err(FrameError::OutOfRange { row, column, cell: columns[at].to_string() });
        }
        if let Target::Classes { classes, indexes } = &target
            && let Some(&bad) = indexes.iter().find(|&&index| index as usize >= classes.len())
        {
            return Err(FrameError::Index { what: "class", index: bad as usize, bound: classes.len() });
        }
        let target_name = target_name.to_owned();
        Ok(Self {
            feature_names,
            columns,
            target,
            target_name,
            categories: Categories::new(),
            sample_weight: None,
            identity: Identity::default(),
        })
    }

    /// The same frame, some of whose columns hold codes of texts.
    ///
    /// # Errors
    ///
    /// A name that is no feature, texts that are not distinct and ascending, a value that is no code.
    pub fn with_categories(mut self, categories: Categories) -> Result<Self, FrameError> {
        for (name, texts) in &categories {
            let refuse = |reason: &str| FrameError::Categories { column: name.clone(), reason: reason.to_owned() };
            let at = self.feature_names.iter().position(|feature| feature == name);
            let at = at.ok_or_else(|| refuse("there is no such feature"))?;
            if !texts.is_sorted_by(|one, other| one < other) {
                return Err(refuse("the texts are not distinct and ascending"));
            }
            if !self.column(at).iter().all(|value| is_code(*value, texts.len())) {
                return Err(refuse("a value is not the number of a text"));
            }
        }
        self.categories = categories;
        self.identity = Identity::default();
        Ok(self)
    }

    /// The same frame, whose rows weigh so much, `(n_samples,)`: scikit-learn's `sample_weight`. Fits hear of it, measures
    /// count each row once.
    ///
    /// # Errors
    ///
    /// Another number of weights than rows, a weight that is negative or not finite.
    pub fn with_sample_weight(mut self, sample_weight: Vec<f64>) -> Result<Self, FrameError> {
        let (got, expected) = (sample_weight.len(), self.n_samples());
        if got != expected {
            return Err(FrameError::Length { what: "sample_weight", got, expected });
        }
        if let Some(row) = sample_weight.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(FrameError::SampleWeight { row: row + 1, weight: sample_weight[row] });
        }
        self.sample_weight = Some(sample_weight);
        self.identity = Identity::default();
        Ok(self)
    }

    /// What each row weighs, `(n_samples,)`; `None` if nothing was said.
    pub fn sample_weight(&self) -> Option<&[f64]> {
        self.sample_weight.as_deref()
    }

    /// The texts of the features that hold codes.
    pub fn categories(&self) -> &Categories {
        &self.categories
    }

    /// Number of rows.
    pub fn n_samples(&self) -> usize {
        self.target.len()
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.feature_names.len()
    }

    /// Feature names in column order.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// Name of the target column.
    pub fn target_name(&self) -> &str {
        &self.target_name
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Class labels in sorted order; empty for a regression target.
    pub fn classes(&self) -> &[Label] {
        match &self.target {
            Target::Classes { classes, .. } => classes,
            Target::Values(_) => &[],
        }
    }

    /// Class index of each row; empty for a regression target.
    pub fn class_indexes(&self) -> &[u32] {
        match &self.target {
            Target::Classes { indexes, .. } => indexes,
            Target::Values(_) => &[],
        }
    }

    /// Values of one feature, `(n_samples,)`.
    ///
    /// # Panics
    ///
    /// If `feature` is not below `n_features`.
    pub fn column(&self, feature: usize) -> &[f32] {
        let n_samples = self.n_samples();
        &self.columns[feature * n_samples..(feature + 1) * n_samples]
    }

    /// All features, column-major.
    pub fn columns(&self) -> &[f32] {
        &self.columns
    }

    /// All rows, row-major `(n_samples, n_features)`, as the predicting functions take them.
    pub fn rows(&self) -> Vec<f32> {
        let (n_samples, n_features) = (self.n_samples(), self.n_features());
        let mut rows = vec![0.0; self.columns.len()];
        for (feature, column) in self.columns.chunks_exact(n_samples).enumerate() {
            for (row, &value) in column.iter().enumerate() {
                rows[row * n_features + feature] = value;
            }
        }
        rows
    }

    /// The rows of these indexes, in their order; repeats are allowed. Classes are kept, even if none of their rows is.
    ///
    /// # Errors
    ///
    /// No rows, or an index beyond the frame.
    pub fn take(&self, rows: &[usize]) -> Result<Self, FrameError> {
        if rows.is_empty() {
            return Err(FrameError::NoRows);
        }
        let bound = self.n_samples();
        if let Some(&index) = rows.iter().find(|&&row| row >= bound) {
            return Err(FrameError::Index { what: "row", index, bound });
        }
        let columns = self.columns.chunks_exact(bound).flat_map(|column| rows.iter().map(|&row| column[row])).collect();
        let target = match &self.target {
            Target::Classes { classes, indexes } => {
                Target::Classes { classes: classes.clone(), indexes: rows.iter().map(|&row| indexes[row]).collect() }
            }
            Target::Values(values) => Target::Values(rows.iter().map(|&row| values[row]).collect()),
        };
        Ok(Self {
            feature_names: self.feature_names.clone(),
            columns,
            target,
            target_name: self.target_name.clone(),
            categories: self.categories.clone(),
            sample_weight: self.sample_weight.as_ref().map(|weights| rows.iter().map(|&row| weights[row]).collect()),
            identity: Identity::default(),
        })
    }
}

/// Whether a value is missing or one of `0.0 … n − 1`.
#[expect(clippy::cast_precision_loss, reason = "a column has far fewer texts than float32 has whole numbers")]
fn is_code(value: f32, n_texts: usize) -> bool {
    value.is_nan() || value >= 0.0 && value < n_texts as f32 && value.fract().abs() < f32::EPSILON
}
