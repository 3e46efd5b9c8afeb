//! ISO 8601 durations as Knative reads them.
//!
//! The period library behind Knative's API keeps every field as a whole number of tenths: `PT0.25S` is 0.2 s and
//! `PT0.05S` is nothing. Years and months have their Gregorian mean length, days always 24 h.

use jiff::SignedDuration;
use thiserror::Error;

/// Why a text is no ISO 8601 duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeriodError {
    /// Nothing to read.
    #[error("empty text is no ISO 8601 duration; write for example PT0.2S")]
    Empty,
    /// The text does not begin with `P` after its sign.
    #[error("an ISO 8601 duration starts with P, as in PT0.2S")]
    MissingMark,
    /// A number without its designator, a designator without its number, one out of order, or nothing after the mark.
    #[error("not of the form PnYnMnWnDTnHnMnS, at `{0}`")]
    Malformed(String),
    /// Longer than about 292 years.
    #[error("longer than 9223372036 seconds")]
    OutOfRange,
}

/// Designators before and after `T` with their length in seconds, in the only order that is allowed.
const DATE_UNITS: [(char, i64); 4] = [('Y', 31_556_952), ('M', 2_629_746), ('W', 604_800), ('D', 86_400)];
const TIME_UNITS: [(char, i64); 3] = [('H', 3_600), ('M', 60), ('S', 1)];

const NANOS_PER_TENTH: i128 = 100_000_000;

/// Reads an ISO 8601 duration, cut to tenths of each unit.
///
/// # Errors
///
/// [`PeriodError`] when the text is not of the form `[+-]PnYnMnWnDTnHnMnS`, or is longer than 2^63 ns.
pub fn parse_period(text: &str) -> Result<SignedDuration, PeriodError> {
    if text.is_empty() {
        return Err(PeriodError::Empty);
    }
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let body = body.strip_prefix('P').ok_or(PeriodError::MissingMark)?;
    let (date, time) = match body.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (body, None),
    };
    if date.is_empty() && time.is_none_or(str::is_empty) {
        return Err(PeriodError::Malformed(text.to_owned()));
    }
    let date_nanos = read_units(date, &DATE_UNITS)?;
    let time_nanos = read_units(time.unwrap_or_default(), &TIME_UNITS)?;
    let nanos = date_nanos.checked_add(time_nanos).ok_or(PeriodError::OutOfRange)?;
    let nanos = i64::try_from(nanos).map_err(|_| PeriodError::OutOfRange)?;
    Ok(SignedDuration::from_nanos(if negative { -nanos } else { nanos }))
}

/// The sum of `<number><designator>` groups, in nanoseconds.
fn read_units(mut text: &str, units: &[(char, i64)]) -> Result<i128, PeriodError> {
    let malformed = |at: &str| PeriodError::Malformed(at.to_owned());
    let mut remaining = units;
    let mut total: i128 = 0;
    while !text.is_empty() {
        let end = text
            .find(|found: char| !(found.is_ascii_digit() || "+-.,".contains(found)))
            .ok_or_else(|| malformed(text))?;
        let (number, rest) = text.split_at(end);
        let designator = rest.chars().next().ok_or_else(|| malformed(text))?;
        let place = remaining.iter().position(|(unit, _)| *unit == designator).ok_or_else(|| malformed(text))?;
        let (taken, later) = remaining.split_at(place + 1);
        let seconds = taken.last().map_or(0, |(_, seconds)| *seconds);
        let tenths = read_tenths(number).ok_or_else(|| malformed(text))?;
        let nanos = i128::from(tenths)
            .checked_mul(i128::from(seconds))
            .and_then(|product| product.checked_mul(NANOS_PER_TENTH))
            .ok_or(PeriodError::OutOfRange)?;
        total = total.checked_add(nanos).ok_or(PeriodError::OutOfRange)?;
        remaining = later;
        text = &rest[designator.len_utf8()..];
    }
    Ok(total)
}

/// A decimal number in tenths, further digits cut off.
fn read_tenths(number: &str) -> Option<i64> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = match digits.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !fraction.is_none_or(all_digits) {
        return None;
    }
    let tenth = fraction.and_then(|text| text.chars().next()?.to_digit(10)).unwrap_or(0);
    let tenths = whole.parse::<i64>().ok()?.checked_mul(10)?.checked_add(i64::from(tenth))?;
    Some(if negative { -tenths } else { tenths })
}
