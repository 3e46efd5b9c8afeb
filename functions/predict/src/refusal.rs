//! Why a request's body is refused: which field, which row, which column, what was expected.

use http::StatusCode;
use regrove_events::json::step;
use regrove_host::Problem;
use serde_json::{Value, json};

/// Faults that one answer lists; the others are not looked for.
const FAULTS_MAX: usize = 16;

/// Why reading stops at once.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The text is no JSON.
    Malformed {
        /// Byte of the body.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// An object has two members of one name.
    Duplicate {
        /// Byte of the body.
        at: usize,
        /// The name.
        name: String,
    },
    /// Lists and objects are nested too deep.
    TooDeep {
        /// Byte of the body.
        at: usize,
        /// The limit.
        max: usize,
    },
    /// Something else.
    Refused(Box<Problem>),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<Stop> for Problem {
    fn from(stop: Stop) -> Self {
        let malformed = |at: usize, detail: String| {
            Self::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail).with("pointer", "").with("byte", at)
        };
        match stop {
            Stop::Malformed { at, expected } => {
                malformed(at, format!("the body is not JSON at byte {at}: expected {expected}"))
            }
            Stop::Duplicate { at, name } => malformed(at, format!("the member `{name}` comes twice in one object")),
            Stop::TooDeep { at, max } => malformed(at, format!("lists and objects are nested deeper than {max}")),
            Stop::Refused(problem) => *problem,
        }
    }
}

/// What is wrong at one place.
#[derive(Debug)]
pub(crate) struct Fault(Box<Place>);

/// The parts of a fault.
#[derive(Debug)]
struct Place {
    /// The last part of the problem's type.
    kind: &'static str,
    /// For people.
    detail: String,
    /// JSON Pointer into the body.
    pointer: String,
    /// Row, from 0.
    row: Option<usize>,
    /// The column's name.
    column: Option<String>,
    /// What was expected.
    expected: String,
}

impl Fault {
    /// Something of another type than expected: 422.
    pub(crate) fn shape(pointer: String, expected: impl Into<String>, got: &str) -> Self {
        let expected = expected.into();
        let place = if pointer.is_empty() { "the body".to_owned() } else { format!("`{pointer}`") };
        let detail = format!("{place} is {got}, expected {expected}");
        Self(Box::new(Place { kind: "invalid-request", detail, pointer, row: None, column: None, expected }))
    }

    /// A value that cannot be used: 400.
    pub(crate) fn value(kind: &'static str, pointer: String, detail: String, expected: impl Into<String>) -> Self {
        Self(Box::new(Place { kind, detail, pointer, row: None, column: None, expected: expected.into() }))
    }

    /// The same at a row and a column.
    pub(crate) fn at(mut self, row: usize, column: Option<&str>) -> Self {
        self.0.row = Some(row);
        self.0.column = column.map(str::to_owned);
        self
    }

    /// A member that is not there.
    pub(crate) fn missing(parent: &str, member: &str, expected: &str) -> Self {
        let of = if parent.is_empty() { String::new() } else { format!(" of `{parent}`") };
        Self::shape(format!("{parent}{}", step(member)), expected, "missing")
            .saying(format!("the member `{member}`{of} is missing"))
    }

    /// The same in other words.
    pub(crate) fn saying(mut self, detail: String) -> Self {
        self.0.detail = detail;
        self
    }

    /// The same with something else expected.
    pub(crate) fn expecting(mut self, expected: String) -> Self {
        self.0.expected = expected;
        self
    }

    fn is_shape(&self) -> bool {
        self.0.kind == "invalid-request"
    }

    fn to_json(&self) -> Value {
        let mut json = json!({"detail": self.0.detail, "pointer": self.0.pointer, "expected": self.0.expected});
        if let Some(row) = self.0.row {
            json["row"] = row.into();
        }
        if let Some(column) = &self.0.column {
            json["column"] = column.as_str().into();
        }
        json
    }
}

/// Which of two faults is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Something of another type than expected.
    Shape,
    /// A value that cannot be used.
    Value,
}

/// All faults that one body has, so that its sender can mend them together.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Whether another fault is told. Shapes go before values, as they do for whoever checks types first.
    pub(crate) fn takes(&self, weight: Weight) -> bool {
        self.0.len() < FAULTS_MAX || (weight == Weight::Shape && !self.0.iter().any(Fault::is_shape))
    }

    /// Notes a fault.
    pub(crate) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// The faults as one problem: 422 if any is one of shape, else 400.
    pub(crate) fn check(mut self) -> Result<(), Problem> {
        self.0.sort_by_key(|fault| !fault.is_shape());
        let Some(first) = self.0.first() else { return Ok(()) };
        let status = if first.is_shape() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        let mut problem = Problem::new(first.0.kind, status, first.0.detail.clone());
        if let Value::Object(members) = first.to_json() {
            problem.members.extend(members.into_iter().filter(|(name, _)| name != "detail"));
        }
        let errors: Vec<Value> = self.0.iter().map(Fault::to_json).collect();
        Err(problem.with("errors", errors))
    }
}

/// One fault as a problem.
impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let mut faults = Faults::default();
        faults.push(fault);
        match faults.check() {
            Err(problem) => problem,
            Ok(()) => Self::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, "the body cannot be used"),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Problem::from(fault).into()
    }
}
