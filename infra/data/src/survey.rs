//! What the columns of a table are: types, ranges, missing values, classes. One pass.

use std::collections::{BTreeMap, BTreeSet};

use regrove_forest::Label;
use regrove_forest::params::CLASSES_MAX;
use serde::Serialize;

use crate::column::{Cell, Cells, key, number, truth_value};
use crate::error::shown;
use crate::{Error, Format, Progress, Stage, Table};

/// Distinct texts that a feature may have.
pub const CATEGORIES_MAX: usize = 10_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Nothing: all values are missing.
    Empty,
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Truth values.
    Bool,
    /// Texts.
    Text,
}

impl ColumnKind {
    /// Its name on a terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }
}

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnSurvey {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Rows without a value.
    pub missing: u64,
    /// Smallest number.
    pub min: Option<f64>,
    /// Largest number.
    pub max: Option<f64>,
    /// Mean of the numbers.
    pub mean: Option<f64>,
    /// Distinct values and their rows in ascending order, for texts, truth values, and for the target; `None` when there
    /// are too many.
    pub values: Option<Vec<(Label, u64)>>,
    /// The first cell of a column of numbers that is none: its row, from 1, and what stands there.
    pub stray: Option<(u64, String)>,
    /// The text of each distinct value, with the label that it stands for.
    #[serde(skip)]
    pub(crate) labels: BTreeMap<String, Label>,
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// Rows.
    pub n_rows: u64,
    /// The columns that were looked at, in order.
    pub columns: Vec<ColumnSurvey>,
}

impl Survey {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&ColumnSurvey> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Looks at the columns of `places` in one pass. For those of `counted` distinct values are counted whatever they are.
///
/// # Errors
/// What [`Table::scan`] says; a column of a type that cannot be learned from.
pub fn survey(
    table: &Table,
    places: &[usize],
    counted: &BTreeSet<String>,
    progress: &dyn Progress,
) -> Result<Survey, Error> {
    let mut columns: Vec<Watcher> = places
        .iter()
        .map(|&place| &table.names()[place])
        .map(|name| Watcher::new(name, counted.contains(name), table.format() == Format::Csv))
        .collect();
    let mut n_rows = 0;
    table.scan(places, &mut |batch, read| {
        for (watcher, cells) in columns.iter_mut().zip(batch.columns()) {
            watcher.look(cells, n_rows);
        }
        n_rows += batch.n_rows() as u64;
        progress.advance(Stage::Survey, read, Some(table.bytes()));
        Ok(())
    })?;
    Ok(Survey { n_rows, columns: columns.into_iter().map(Watcher::end).collect() })
}

/// What has been seen of one column.
struct Watcher {
    name: String,
    /// Count the distinct values even of numbers.
    counted: bool,
    /// Whether cells are texts that may stand for something else, as in CSV.
    untyped: bool,
    missing: u64,
    numbers: u64,
    fractions: bool,
    truths: u64,
    texts: u64,
    min: f64,
    max: f64,
    sum: f64,
    /// Distinct values and their rows; `None` when there are too many.
    values: Option<BTreeMap<String, u64>>,
    /// The first value that is no number.
    other: Option<(u64, String)>,
}

impl Watcher {
    fn new(name: &str, counted: bool, untyped: bool) -> Self {
        Self {
            name: name.to_owned(),
            counted,
            untyped,
            missing: 0,
            numbers: 0,
            fractions: false,
            truths: 0,
            texts: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            values: Some(BTreeMap::new()),
            other: None,
        }
    }

    /// Looks at the next values; `before` rows have been seen.
    fn look(&mut self, cells: &Cells, before: u64) {
        let mut buffer = String::new();
        for row in 0..cells.len() {
            let cell = cells.get(row);
            let is_number = self.note(cell);
            if cell == Cell::Missing || (is_number && !self.counted) {
                continue;
            }
            let Some(key) = key(cell, &mut buffer) else { continue };
            if !is_number && self.other.is_none() {
                self.other = Some((before + row as u64 + 1, shown(key)));
            }
            self.count(key);
        }
    }

    /// Takes note of a value; says whether it is a number.
    fn note(&mut self, cell: Cell<'_>) -> bool {
        let cell = match cell {
            Cell::Text(text) if self.untyped => match (number(text), truth_value(text)) {
                (Some(value), _) if value.is_nan() => Cell::Missing,
                (Some(value), _) => Cell::Number(value),
                (None, Some(value)) => Cell::Truth(value),
                (None, None) => cell,
            },
            other => other,
        };
        let value = match cell {
            Cell::Missing => {
                self.missing += 1;
                return false;
            }
            Cell::Truth(_) => {
                self.truths += 1;
                return false;
            }
            Cell::Text(_) => {
                self.texts += 1;
                return false;
            }
            #[expect(clippy::cast_precision_loss, reason = "a range for people")]
            Cell::Whole(value) => value as f64,
            Cell::Number(value) => {
                self.fractions |= value.fract() != 0.0 || !value.is_finite();
                value
            }
        };
        self.numbers += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        true
    }

    fn count(&mut self, key: &str) {
        let Some(values) = &mut self.values else { return };
        if let Some(rows) = values.get_mut(key) {
            *rows += 1;
            return;
        }
        if values.len() >= CATEGORIES_MAX.max(CLASSES_MAX) {
            self.values = None;
            return;
        }
        values.insert(key.to_owned(), 1);
    }

    fn kind(&self) -> ColumnKind {
        match (self.numbers, self.truths, self.texts) {
            (0, 0, 0) => ColumnKind::Empty,
            (_, 0, 0) if self.fractions => ColumnKind::Float,
            (_, 0, 0) => ColumnKind::Int,
            (0, _, 0) => ColumnKind::Bool,
            _ => ColumnKind::Text,
        }
    }

    fn end(self) -> ColumnSurvey {
        let kind = self.kind();
        let is_counted = self.counted || matches!(kind, ColumnKind::Bool | ColumnKind::Text);
        let counts = self.values.filter(|_| is_counted);
        let labels = counts.as_ref().map(|counts| labels(counts.keys(), kind, self.untyped)).unwrap_or_default();
        let values = counts.map(|counts| {
            let mut values: BTreeMap<Label, u64> = BTreeMap::new();
            for (key, rows) in counts {
                *values.entry(labels[&key].clone()).or_default() += rows;
            }
            values.into_iter().collect()
        });
        let has_numbers = self.numbers > 0;
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        let mean = has_numbers.then(|| self.sum / self.numbers as f64);
        ColumnSurvey {
            name: self.name,
            kind,
            missing: self.missing,
            min: has_numbers.then_some(self.min),
            max: has_numbers.then_some(self.max),
            mean,
            values,
            stray: self.other.filter(|_| has_numbers),
            labels,
        }
    }
}

/// The labels that distinct values stand for. In CSV all of them together say what they are; elsewhere the column does.
fn labels<'a>(keys: impl Iterator<Item = &'a String>, kind: ColumnKind, untyped: bool) -> BTreeMap<String, Label> {
    let keys: Vec<String> = keys.cloned().collect();
    let labels = if untyped {
        Label::from_cells(&keys)
    } else {
        let typed = |key: &String| match kind {
            ColumnKind::Bool => Label::Bool(key == "True"),
            ColumnKind::Int => key.parse().map_or_else(|_| number_label(key), Label::Int),
            ColumnKind::Float => number_label(key),
            ColumnKind::Text | ColumnKind::Empty => Label::Str(key.clone()),
        };
        keys.iter().map(typed).collect()
    };
    keys.into_iter().zip(labels).collect()
}

fn number_label(key: &str) -> Label {
    key.parse().map_or_else(|_| Label::Str(key.to_owned()), Label::Float)
}
