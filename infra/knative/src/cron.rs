//! Cron schedules of five fields, in any time zone.
//!
//! The syntax is that of robfig/cron's standard parser, which Knative's `PingSource` uses: minute, hour, day of month,
//! month, day of week; `*`, `?`, lists, ranges, steps, English month and day names; `@hourly` and its like, `@every`
//! with a duration; an optional `CRON_TZ=` or `TZ=` in front.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::go_duration::parse_go_duration;

/// Years searched for the next moment before a schedule counts as one that never comes, such as 30 February.
const SEARCH_YEARS: i16 = 5;

/// Longest schedule text, in bytes.
pub const SCHEDULE_LENGTH_MAX: usize = 1024;

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("expected 5 fields (minute hour day-of-month month day-of-week), found {0}")]
    FieldCount(usize),
    /// A field that is no list of numbers, names, ranges and steps.
    #[error("{field}: `{text}` is neither a number, a name, a range nor a step of {min} to {max}")]
    Field {
        /// Which field.
        field: &'static str,
        /// The part that cannot be read.
        text: String,
        /// Lowest value.
        min: u8,
        /// Highest value.
        max: u8,
    },
    /// An unknown word after `@`.
    #[error("unknown descriptor `{0}`; known are @hourly, @daily, @weekly, @monthly, @yearly and @every")]
    Descriptor(String),
    /// A time zone that the IANA database does not have.
    #[error("unknown time zone `{0}`")]
    TimeZone(String),
    /// Longer than [`SCHEDULE_LENGTH_MAX`].
    #[error("longer than {SCHEDULE_LENGTH_MAX} bytes")]
    TooLong,
}

impl ScheduleError {
    /// Whether the time zone, not the schedule, is at fault.
    pub fn is_time_zone(&self) -> bool {
        matches!(self, Self::TimeZone(_))
    }
}

/// Moments that a schedule names.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// Sets of allowed values, bit n for value n.
    Calendar(Calendar),
    /// A fixed distance from the moment asked about, in whole seconds.
    Every(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether day of month or day of week was `*`: then both must hold, otherwise one is enough.
    both_days: bool,
}

struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: &MONTHS },
    Field { name: "day of week", min: 0, max: 6, names: &WEEKDAYS },
];

/// Descriptors and what they stand for.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Schedule {
    /// Reads a schedule; without a zone, here or in front of the schedule, it is in UTC.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] naming the field or the zone at fault.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        if text.len() > SCHEDULE_LENGTH_MAX {
            return Err(ScheduleError::TooLong);
        }
        let text = text.trim();
        let prefixed = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
        let (own_zone, rest) = match prefixed {
            Some(rest) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                (Some(name), rest.trim())
            }
            None => (zone, text),
        };
        let zone = match own_zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::TimeZone(name.to_owned()))?,
        };
        Ok(Self { rule: Rule::parse(rest)?, zone })
    }

    /// The first moment strictly after `from`; `None` when there is none within five years.
    ///
    /// A local time that a clock change skips is passed over; one that it repeats is taken the first time only.
    pub fn next_after(&self, from: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(distance) => {
                let whole = Timestamp::from_second(from.as_second()).ok()?;
                whole.checked_add(SignedDuration::try_from(*distance).ok()?).ok()
            }
            Rule::Calendar(calendar) => calendar.next_after(from, &self.zone),
        }
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, ScheduleError> {
        if let Some(distance) = text.strip_prefix("@every ") {
            let distance =
                parse_go_duration(distance.trim()).ok_or_else(|| ScheduleError::Descriptor(text.to_owned()))?;
            return Ok(Self::Every(Duration::from_secs(distance.as_secs().max(1))));
        }
        if text.starts_with('@') {
            let known = DESCRIPTORS.iter().find(|(name, _)| *name == text);
            let (_, fields) = known.ok_or_else(|| ScheduleError::Descriptor(text.to_owned()))?;
            return Calendar::parse(fields).map(Self::Calendar);
        }
        Calendar::parse(text).map(Self::Calendar)
    }
}

impl Calendar {
    fn parse(text: &str) -> Result<Self, ScheduleError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(ScheduleError::FieldCount(parts.len()));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let (days, any_day) = days.parse(day)?;
        let (weekdays, any_weekday) = weekdays.parse(weekday)?;
        Ok(Self {
            minutes: minutes.parse(minute)?.0,
            hours: hours.parse(hour)?.0,
            days,
            months: months.parse(month)?.0,
            weekdays,
            both_days: any_day || any_weekday,
        })
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.both_days { day && weekday } else { day || weekday }
    }

    fn next_after(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(from).date();
        let last = start.year().saturating_add(SEARCH_YEARS);
        let mut date = start;
        while date.year() <= last {
            if !has(self.months, date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            if self.has_day(date)
                && let Some(found) = self.first_on(date, from, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The first moment of one day that lies after `from`.
    fn first_on(&self, date: Date, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let hours = (0..24).filter(|hour| has(self.hours, *hour));
        hours
            .flat_map(|hour| (0..60).filter(|minute| has(self.minutes, *minute)).map(move |minute| (hour, minute)))
            .filter_map(|(hour, minute)| first_instant(date.at(hour, minute, 0, 0), zone))
            .find(|moment| *moment > from)
    }
}

/// The instant of a local time: none if the clock skips it, the earlier one if it comes twice.
fn first_instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Gap { .. } => None,
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(local).ok()
        }
    }
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|bit| set & (1 << bit) != 0)
}

impl Field {
    /// The set of allowed values, and whether the field is open (`*` or `?`, without or with a step of 1).
    fn parse(&self, text: &str) -> Result<(u64, bool), ScheduleError> {
        let mut set = 0;
        let mut open = false;
        for part in text.split(',') {
            let (bits, star) = self.parse_part(part).ok_or_else(|| ScheduleError::Field {
                field: self.name,
                text: part.to_owned(),
                min: self.min,
                max: self.max,
            })?;
            set |= bits;
            open |= star;
        }
        Ok((set, open))
    }

    fn parse_part(&self, part: &str) -> Option<(u64, bool)> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u8>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let star = matches!(range, "*" | "?");
        let (first, last) = if star {
            (self.min, self.max)
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first)?, self.value(last)?)
        } else {
            let first = self.value(range)?;
            // `5/15` means from 5 to the end.
            (first, if step.is_some() { self.max } else { first })
        };
        if first > last {
            return None;
        }
        let step = step.unwrap_or(1);
        let bits = (first..=last).step_by(usize::from(step)).fold(0_u64, |bits, value| bits | (1 << value));
        Some((bits, star && step == 1))
    }

    fn value(&self, text: &str) -> Option<u8> {
        let lower = text.to_ascii_lowercase();
        let named = self.names.iter().position(|name| *name == lower);
        let value = match named {
            Some(index) => u8::try_from(index).ok()? + self.min,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.min..=self.max).contains(&value).then_some(value)
    }
}
