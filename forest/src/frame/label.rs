//! Class labels.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A class label as it stood in the data. Truth values sort before whole numbers, those before other numbers, and texts
/// come last, each in their own order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// A truth value.
    Bool(bool),
    /// A whole number; predictions come back as numbers.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// A text.
    Str(String),
}

impl Label {
    /// Labels of text cells, all of one type: truth values if all cells are (`true`, `False`), else whole numbers (`1`,
    /// `-3`, `2.0`), else finite numbers (`0.5`, `2`), else texts. Whole numbers beyond 64 bits are texts: as float64 two of
    /// them could become one class.
    pub fn from_cells(cells: &[String]) -> Vec<Self> {
        let all = |read: fn(&str) -> Option<Self>| cells.iter().map(|cell| read(cell)).collect::<Option<Vec<_>>>();
        all(|cell| truth_value(cell).map(Self::Bool))
            .or_else(|| all(|cell| whole_number(cell).map(Self::Int)))
            .or_else(|| all(|cell| finite_number(cell).map(Self::Float)))
            .unwrap_or_else(|| cells.iter().cloned().map(Self::Str).collect())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) => 1,
            Self::Float(_) => 2,
            Self::Str(_) => 3,
        }
    }
}

fn truth_value(cell: &str) -> Option<bool> {
    match cell {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The cell of a whole number, without zeros after its point.
fn whole_digits(cell: &str) -> Option<&str> {
    match cell.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0') => Some(whole),
        Some(_) => None,
        None => Some(cell),
    }
}

fn whole_number(cell: &str) -> Option<i64> {
    whole_digits(cell)?.parse().ok()
}

/// A number that is finite, unless it is a whole one that 64 bits do not hold.
fn finite_number(cell: &str) -> Option<f64> {
    let number: f64 = cell.parse().ok().filter(|number: &f64| number.is_finite())?;
    let is_whole = whole_digits(cell)
        .map(|digits| digits.strip_prefix(['-', '+']).unwrap_or(digits))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    // The two zeros are one class.
    (!is_whole || whole_number(cell).is_some()).then_some(number + 0.0)
}

/// Where the first cell is that is NaN or infinite while all cells are numbers: a value that is missing or out of range, and
/// no class. Among texts, `nan` may be one.
pub(super) fn not_finite(cells: &[String]) -> Option<usize> {
    let numbers = || cells.iter().map(|cell| cell.parse::<f64>().ok());
    let found = numbers().position(|number| number.is_some_and(|number| !number.is_finite()))?;
    numbers().all(|number| number.is_some()).then_some(found)
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Float(one), Self::Float(other)) => one.total_cmp(other),
            (Self::Str(one), Self::Str(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Label {}

/// As Python writes it, which is how scikit-learn's users know their classes: `True`, `3`, `0.5`, `setosa`.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => "True".fmt(f),
            Self::Bool(false) => "False".fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Str(text) => text.fmt(f),
        }
    }
}
