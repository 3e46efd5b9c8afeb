//! Built-in functions.

use super::evaluate::{to_boolean, to_integer};
use super::{EvaluationError, Value};

/// A function as it is called: known by its name, in any case, and the number of its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Function {
    Length,
    Concat,
    ConcatWithSeparator,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    Abs,
    Int,
    Bool,
    String,
    /// There is none of this name with this many arguments.
    Missing(String),
}

type Outcome = (Value, Option<EvaluationError>);

impl Function {
    pub(super) fn find(name: &str, arguments: usize) -> Self {
        let name = name.to_ascii_uppercase();
        match (name.as_str(), arguments) {
            ("LENGTH", 1) => Self::Length,
            ("CONCAT", _) => Self::Concat,
            ("CONCAT_WS", 1..) => Self::ConcatWithSeparator,
            ("LOWER", 1) => Self::Lower,
            ("UPPER", 1) => Self::Upper,
            ("TRIM", 1) => Self::Trim,
            ("LEFT", 2) => Self::Left,
            ("RIGHT", 2) => Self::Right,
            ("SUBSTRING", 2 | 3) => Self::Substring,
            ("ABS", 1) => Self::Abs,
            ("INT", 1) => Self::Int,
            ("BOOL", 1) => Self::Bool,
            ("STRING", 1) => Self::String,
            _ => Self::Missing(format!("{name} with {arguments} arguments")),
        }
    }

    /// The zero of the function's type.
    pub(super) fn zero(&self) -> Value {
        match self {
            Self::Length | Self::Abs | Self::Int => Value::Integer(0),
            Self::Bool | Self::Missing(_) => Value::Boolean(false),
            Self::Concat
            | Self::ConcatWithSeparator
            | Self::Lower
            | Self::Upper
            | Self::Trim
            | Self::Left
            | Self::Right
            | Self::Substring
            | Self::String => Value::String(String::new()),
        }
    }

    /// Calls the function with as many values as it was found with.
    pub(super) fn call(&self, values: &[Value]) -> Outcome {
        let text = |index: usize| values.get(index).map(ToString::to_string).unwrap_or_default();
        let string = |value: String| (Value::String(value), None);
        match self {
            Self::Length => {
                let length = i32::try_from(text(0).chars().count()).unwrap_or(i32::MAX);
                (Value::Integer(length), None)
            }
            Self::Concat => string(values.iter().map(ToString::to_string).collect()),
            Self::ConcatWithSeparator => {
                let parts: Vec<String> = values.iter().skip(1).map(ToString::to_string).collect();
                string(parts.join(&text(0)))
            }
            Self::Lower => string(text(0).to_lowercase()),
            Self::Upper => string(text(0).to_uppercase()),
            Self::Trim => string(text(0).trim().to_owned()),
            Self::Left | Self::Right => self.with_integers(values, |numbers| self.cut(text(0), numbers)),
            Self::Substring => self.with_integers(values, |numbers| substring(&text(0), numbers)),
            Self::Abs => match values.first().map_or(Ok(0), to_integer) {
                Ok(number) => absolute(number),
                Err(error) => (self.zero(), Some(error)),
            },
            Self::Int => match values.first().map_or(Ok(0), to_integer) {
                Ok(number) => (Value::Integer(number), None),
                Err(error) => (self.zero(), Some(error)),
            },
            Self::Bool => match values.first().map_or(Ok(false), to_boolean) {
                Ok(truth) => (Value::Boolean(truth), None),
                Err(error) => (self.zero(), Some(error)),
            },
            Self::String => string(text(0)),
            Self::Missing(signature) => (self.zero(), Some(EvaluationError::MissingFunction(signature.clone()))),
        }
    }

    /// Casts all values but the first to integers.
    fn with_integers(&self, values: &[Value], call: impl Fn(&[i32]) -> Outcome) -> Outcome {
        match values.iter().skip(1).map(to_integer).collect::<Result<Vec<i32>, _>>() {
            Ok(numbers) => call(&numbers),
            Err(error) => (self.zero(), Some(error)),
        }
    }

    /// LEFT and RIGHT.
    fn cut(&self, text: String, numbers: &[i32]) -> Outcome {
        let wanted = numbers.first().copied().unwrap_or_default();
        let Ok(wanted) = usize::try_from(wanted) else {
            let error = EvaluationError::Function(format!("the length {wanted} is negative"));
            return (Value::String(text), Some(error));
        };
        let spare = text.chars().count().saturating_sub(wanted);
        let kept =
            if *self == Self::Left { text.chars().take(wanted).collect() } else { text.chars().skip(spare).collect() };
        (Value::String(kept), None)
    }
}

fn absolute(number: i32) -> Outcome {
    let error = || EvaluationError::Math(format!("ABS({number}) is out of the range of 32 bits"));
    let value = number.checked_abs();
    (Value::Integer(value.unwrap_or(i32::MAX)), value.is_none().then(error))
}

/// `SUBSTRING(text, position)` and `SUBSTRING(text, position, length)`; positions count from 1, negative ones from the
/// end.
fn substring(text: &str, numbers: &[i32]) -> Outcome {
    let fault = |reason: String| (Value::String(String::new()), Some(EvaluationError::Function(reason)));
    let position = numbers.first().copied().unwrap_or_default();
    let length = match numbers.get(1).map(|length| usize::try_from(*length)) {
        None => usize::MAX,
        Some(Ok(length)) => length,
        Some(Err(_)) => return fault("SUBSTRING: the length is negative".to_owned()),
    };
    let count = text.chars().count();
    let magnitude = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
    if magnitude > count {
        return fault(format!("SUBSTRING: position {position} is outside of a text of {count} characters"));
    }
    let start = match position {
        0 => return (Value::String(String::new()), None),
        1.. => magnitude - 1,
        _ => count - magnitude,
    };
    (Value::String(text.chars().skip(start).take(length).collect()), None)
}
