//! From a tree and an event to a value.

use regrove_events::CloudEvent;

use super::syntax::{Node, Operator};
use super::{EvaluationError, Value};
use crate::attribute::Attribute;

/// The types of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Integer,
    Boolean,
}

impl Value {
    fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }
}

pub(super) fn to_integer(value: &Value) -> Result<i32, EvaluationError> {
    match value {
        Value::Integer(number) => Ok(*number),
        Value::Boolean(truth) => Ok(i32::from(*truth)),
        Value::String(text) => {
            text.parse().map_err(|_| EvaluationError::Cast(format!("\"{text}\" is no 32 bit integer")))
        }
    }
}

pub(super) fn to_boolean(value: &Value) -> Result<bool, EvaluationError> {
    match value {
        Value::Boolean(truth) => Ok(*truth),
        Value::Integer(number) => Ok(*number != 0),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Value::String(text) => Err(EvaluationError::Cast(format!("\"{text}\" is neither true nor false"))),
    }
}

fn cast(value: &Value, kind: Type) -> Result<Value, EvaluationError> {
    Ok(match kind {
        Type::String => Value::String(value.to_string()),
        Type::Integer => Value::Integer(to_integer(value)?),
        Type::Boolean => Value::Boolean(to_boolean(value)?),
    })
}

/// Evaluates a node. Errors are appended; the value of an operator with a faulty operand is the zero of its type.
pub(super) fn evaluate(node: &Node, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> Value {
    match node {
        Node::Literal(value) => value.clone(),
        Node::Attribute(name) => match Attribute::of(event, name) {
            Some(Attribute::Text(text)) => Value::String(text.into_owned()),
            Some(Attribute::Integer(number)) => Value::Integer(number),
            Some(Attribute::Boolean(truth)) => Value::Boolean(truth),
            None => {
                errors.push(EvaluationError::MissingAttribute(name.clone()));
                Value::Boolean(false)
            }
        },
        Node::Exists(name) => Value::Boolean(Attribute::of(event, name).is_some()),
        Node::Not(operand) => Value::Boolean(not(operand, event, errors)),
        Node::Negate(operand) => Value::Integer(negate(operand, event, errors)),
        Node::Binary(operator, left, right) => binary(*operator, left, right, event, errors),
        Node::Like { operand, negated, pattern } => {
            let found = sound(operand, event, errors);
            Value::Boolean(found.is_some_and(|value| pattern.matches(&value.to_string()) != *negated))
        }
        Node::In { operand, negated, set } => Value::Boolean(is_in(operand, set, *negated, event, errors)),
        Node::Call(function, arguments) => {
            let before = errors.len();
            let values: Vec<Value> = arguments.iter().map(|argument| evaluate(argument, event, errors)).collect();
            if errors.len() > before {
                return function.zero();
            }
            let (value, error) = function.call(&values);
            errors.extend(error);
            value
        }
    }
}

/// The node's value, or `None` if there was an error in it.
fn sound(node: &Node, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> Option<Value> {
    let before = errors.len();
    let value = evaluate(node, event, errors);
    (errors.len() == before).then_some(value)
}

/// Notes the error of a step, if it has one.
fn noted<T>(step: Result<T, EvaluationError>, errors: &mut Vec<EvaluationError>) -> Option<T> {
    step.map_err(|error| errors.push(error)).ok()
}

fn not(operand: &Node, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> bool {
    match sound(operand, event, errors) {
        None => false,
        // The kit wants `NOT 10` to be a cast error with the value `true`, although `BOOL(10)` is no error.
        Some(Value::Integer(number)) => {
            errors.push(EvaluationError::Cast(format!("NOT needs a boolean, got the integer {number}")));
            true
        }
        Some(value) => !noted(to_boolean(&value), errors).unwrap_or(false),
    }
}

fn negate(operand: &Node, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> i32 {
    let number = sound(operand, event, errors).and_then(|value| noted(to_integer(&value), errors));
    number
        .and_then(|number| noted(number.checked_neg().ok_or_else(|| overflow("-", number, None)), errors))
        .unwrap_or(0)
}

fn overflow(symbol: &str, left: i32, right: Option<i32>) -> EvaluationError {
    EvaluationError::Math(match right {
        Some(right) => format!("{left} {symbol} {right} is out of the range of 32 bits"),
        None => format!("{symbol}({left}) is out of the range of 32 bits"),
    })
}

fn is_in(operand: &Node, set: &[Node], negated: bool, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> bool {
    let Some(wanted) = sound(operand, event, errors) else {
        return false;
    };
    let before = errors.len();
    for element in set {
        let member = sound(element, event, errors).and_then(|value| noted(cast(&value, wanted.kind()), errors));
        if errors.len() == before && member.as_ref() == Some(&wanted) {
            return !negated;
        }
    }
    errors.len() == before && negated
}

fn binary(
    operator: Operator,
    left: &Node,
    right: &Node,
    event: &CloudEvent,
    errors: &mut Vec<EvaluationError>,
) -> Value {
    match operator {
        Operator::And | Operator::Or | Operator::Xor => {
            Value::Boolean(logic(operator, left, right, event, errors).unwrap_or(false))
        }
        Operator::Equal | Operator::Unequal => {
            let equal = equals(left, right, event, errors);
            Value::Boolean(equal.is_some_and(|equal| equal == (operator == Operator::Equal)))
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let pair = integers(left, right, event, errors);
            Value::Boolean(pair.is_some_and(|(left, right)| match operator {
                Operator::Less => left < right,
                Operator::LessOrEqual => left <= right,
                Operator::Greater => left > right,
                _ => left >= right,
            }))
        }
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            let pair = integers(left, right, event, errors);
            let result = pair.and_then(|(left, right)| noted(arithmetic(operator, left, right), errors));
            Value::Integer(result.unwrap_or(0))
        }
    }
}

/// AND and OR do not look at the right side when the left decides.
fn logic(
    operator: Operator,
    left: &Node,
    right: &Node,
    event: &CloudEvent,
    errors: &mut Vec<EvaluationError>,
) -> Option<bool> {
    let boolean = |node: &Node, errors: &mut Vec<EvaluationError>| {
        sound(node, event, errors).and_then(|value| noted(to_boolean(&value), errors))
    };
    let first = boolean(left, errors);
    match (operator, first) {
        (Operator::And, Some(false) | None) => return Some(false),
        (Operator::Or, Some(true)) => return Some(true),
        _ => {}
    }
    let second = boolean(right, errors);
    let (first, second) = (first?, second?);
    Some(match operator {
        Operator::And => first && second,
        Operator::Or => first || second,
        _ => first != second,
    })
}

/// The right side's type decides what the left is cast to.
fn equals(left: &Node, right: &Node, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> Option<bool> {
    let left = sound(left, event, errors);
    let right = sound(right, event, errors);
    let (left, right) = (left?, right?);
    let left = noted(cast(&left, right.kind()), errors)?;
    Some(left == right)
}

fn integers(left: &Node, right: &Node, event: &CloudEvent, errors: &mut Vec<EvaluationError>) -> Option<(i32, i32)> {
    let left = sound(left, event, errors).and_then(|value| noted(to_integer(&value), errors));
    let right = sound(right, event, errors).and_then(|value| noted(to_integer(&value), errors));
    Some((left?, right?))
}

fn arithmetic(operator: Operator, left: i32, right: i32) -> Result<i32, EvaluationError> {
    let (symbol, result) = match operator {
        Operator::Add => ("+", left.checked_add(right)),
        Operator::Subtract => ("-", left.checked_sub(right)),
        Operator::Multiply => ("*", left.checked_mul(right)),
        _ if right == 0 => return Err(EvaluationError::Math("division by zero".to_owned())),
        Operator::Divide => ("/", left.checked_div(right)),
        // The remainder of the one overflowing division is zero all the same.
        _ => ("%", Some(left.wrapping_rem(right))),
    };
    result.ok_or_else(|| overflow(symbol, left, Some(right)))
}
