//! `CloudEvents` SQL, version 1: expressions over an event's attributes.
//!
//! Evaluation never stops at an error: it goes on with a value that the specification names and collects the errors.
//! As a filter an expression holds only if its value is `true` and there were none.
//!
//! All cases of the specification's compatibility kit pass. Where the Go SDK that Knative uses differs (`NOT 10`, see
//! `testdata/cesql/go-sdk-results.json`) the kit is followed. Integer overflow, of which the specification says nothing
//! except for `ABS`, is a math error with the value 0; the Go SDK wraps around in silence.

mod evaluate;
mod function;
mod lexer;
mod pattern;
mod syntax;

use std::fmt;

use regrove_events::CloudEvent;
use thiserror::Error;

use syntax::Node;

/// Longest expression, in bytes.
pub const EXPRESSION_LENGTH_MAX: usize = 16 * 1024;

/// Deepest nesting of an expression; a chain of n operators of one precedence is n levels deep.
pub const EXPRESSION_DEPTH_MAX: usize = 128;

/// Why an expression does not parse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("at character {at}: {reason}")]
pub struct ParseError {
    /// Position of the fault, in characters counted from 1.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

/// A value of the language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text; also URIs and timestamps.
    String(String),
    /// A whole number of 32 bits.
    Integer(i32),
    /// A truth value.
    Boolean(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => out.write_str(text),
            Self::Integer(number) => write!(out, "{number}"),
            Self::Boolean(truth) => write!(out, "{truth}"),
        }
    }
}

/// What went wrong at some point of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvaluationError {
    /// Division by zero, or a result outside of 32 bits.
    #[error("math error: {0}")]
    Math(String),
    /// A value that cannot be had as the type that is needed.
    #[error("cast error: {0}")]
    Cast(String),
    /// No function of this name takes this many arguments.
    #[error("missing function: {0}")]
    MissingFunction(String),
    /// A function that cannot work with its arguments.
    #[error("function evaluation error: {0}")]
    Function(String),
    /// An attribute that the event does not have.
    #[error("missing attribute: {0}")]
    MissingAttribute(String),
}

/// The outcome of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The value; after an error a defined one nevertheless.
    pub value: Value,
    /// Errors in the order in which they arose.
    pub errors: Vec<EvaluationError>,
}

/// An expression that parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
}

impl Expression {
    /// Parses an expression of at most [`EXPRESSION_LENGTH_MAX`] bytes and [`EXPRESSION_DEPTH_MAX`] levels.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the place of the first fault.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > EXPRESSION_LENGTH_MAX {
            let reason = format!("longer than {EXPRESSION_LENGTH_MAX} bytes");
            return Err(ParseError { at: 1, reason });
        }
        syntax::parse(text).map(|root| Self { root })
    }

    /// Evaluates the expression over an event.
    pub fn evaluate(&self, event: &CloudEvent) -> Evaluation {
        let mut errors = Vec::new();
        let value = evaluate::evaluate(&self.root, event, &mut errors);
        Evaluation { value, errors }
    }

    /// Whether the expression is true of an event, without any error.
    pub fn holds(&self, event: &CloudEvent) -> bool {
        let Evaluation { value, errors } = self.evaluate(event);
        errors.is_empty() && value == Value::Boolean(true)
    }
}
