//! The values of one column of a batch, whatever they are written as.

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// There is none.
    Missing,
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// A truth value.
    Truth(bool),
    /// A text; from CSV it may stand for anything.
    Text(&'a str),
}

/// Some rows of some columns.
#[derive(Debug)]
pub struct Batch {
    n_rows: usize,
    columns: Vec<Cells>,
}

impl Batch {
    pub(crate) fn new(n_rows: usize, columns: Vec<Cells>) -> Self {
        Self { n_rows, columns }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The columns, each with as many cells as there are rows.
    pub fn columns(&self) -> &[Cells] {
        &self.columns
    }
}

/// The values of a column of a batch.
#[derive(Debug)]
pub enum Cells {
    /// Whole numbers.
    Wholes(Vec<Option<i64>>),
    /// Numbers, none of them NaN: that is how pandas writes a missing number.
    Numbers(Vec<Option<f64>>),
    /// Truth values.
    Truths(Vec<Option<bool>>),
    /// Texts; from CSV they may stand for anything.
    Texts(Texts),
}

impl Cells {
    /// The value of a row.
    pub fn get(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Wholes(values) => values[row].map_or(Cell::Missing, Cell::Whole),
            Self::Numbers(values) => values[row].map_or(Cell::Missing, Cell::Number),
            Self::Truths(values) => values[row].map_or(Cell::Missing, Cell::Truth),
            Self::Texts(values) => values.get(row).map_or(Cell::Missing, Cell::Text),
        }
    }

    /// How many values, missing ones included.
    pub fn len(&self) -> usize {
        match self {
            Self::Wholes(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Truths(values) => values.len(),
            Self::Texts(values) => values.ends.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Texts in one piece of memory, some of them missing.
#[derive(Debug, Default)]
pub struct Texts {
    text: String,
    /// Where in `text` each of them ends; with [`MISSING`], that there is none.
    ends: Vec<usize>,
}

/// The highest bit: no text is so long.
const MISSING: usize = 1 << (usize::BITS - 1);

impl Texts {
    pub(crate) fn push(&mut self, text: Option<&str>) {
        self.text.push_str(text.unwrap_or_default());
        self.ends.push(self.text.len() | if text.is_none() { MISSING } else { 0 });
    }

    fn get(&self, row: usize) -> Option<&str> {
        let end = self.ends[row];
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] & !MISSING);
        (end & MISSING == 0).then(|| &self.text[start..end])
    }
}

/// A text that is a number.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A text that is a truth value, in the ways that Python and databases write them.
pub(crate) fn truth_value(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A text without a type as a feature: a number, or a truth value as 1 or 0; `None` for another one.
pub fn text_feature(text: &str) -> Option<f64> {
    number(text).or_else(|| truth_value(text).map(|value| f64::from(u8::from(value))))
}

/// A value as a feature: rounded to float32, as scikit-learn's trees take it. `None` for a text.
pub(crate) fn feature(cell: Cell<'_>, untyped: bool) -> Option<f64> {
    match cell {
        Cell::Missing => Some(f64::NAN),
        #[expect(clippy::cast_precision_loss, reason = "it becomes a float32")]
        Cell::Whole(value) => Some(value as f64),
        Cell::Number(value) => Some(value),
        Cell::Truth(value) => Some(f64::from(u8::from(value))),
        Cell::Text(text) if untyped => text_feature(text),
        Cell::Text(_) => None,
    }
}

/// A value as the text by which categories and classes are told apart; `None` for a missing one.
pub(crate) fn key<'a>(cell: Cell<'a>, buffer: &'a mut String) -> Option<&'a str> {
    use std::fmt::Write as _;
    buffer.clear();
    // Writing to a String cannot fail.
    let written = match cell {
        Cell::Missing => return None,
        Cell::Text(text) => return Some(text),
        Cell::Whole(value) => write!(buffer, "{value}"),
        // The two zeros are one.
        Cell::Number(value) => write!(buffer, "{:?}", value + 0.0),
        Cell::Truth(value) => buffer.write_str(if value { "True" } else { "False" }),
    };
    written.unwrap_or_default();
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_that_were_put_in() {
        let mut texts = Texts::default();
        let given = [None, Some(""), Some("ä"), None, Some("b c"), None];
        for text in given {
            texts.push(text);
        }
        let cells = Cells::Texts(texts);
        assert_eq!((cells.len(), cells.is_empty()), (6, false));
        for (row, text) in given.iter().enumerate() {
            assert_eq!(cells.get(row), text.map_or(Cell::Missing, Cell::Text), "row {row}");
        }
    }
}
