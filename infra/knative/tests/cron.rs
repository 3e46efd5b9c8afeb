//! Schedules of ping sources.

#![expect(clippy::unwrap_used, reason = "a moment that cannot be read fails the test")]

use jiff::Timestamp;
use proptest::prelude::*;
use regrove_knative::cron::{SCHEDULE_LENGTH_MAX, Schedule, ScheduleError};

/// The moments after `from`, as texts.
fn moments(schedule: &str, zone: Option<&str>, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule, zone).unwrap();
    let from: Timestamp = from.parse().unwrap();
    std::iter::successors(schedule.next_after(from), |at| schedule.next_after(*at))
        .take(count)
        .map(|at| at.to_string())
        .collect()
}

#[test]
fn moments_follow_the_fields() {
    for (schedule, from, expected) in [
        ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("* * * * *", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01:00Z"),
        ("*/15 * * * *", "2026-01-01T00:46:00Z", "2026-01-01T01:00:00Z"),
        ("5/20 * * * *", "2026-01-01T00:26:00Z", "2026-01-01T00:45:00Z"),
        ("0 9-17/4 * * *", "2026-01-01T09:00:00Z", "2026-01-01T13:00:00Z"),
        ("0 0 * * Mon-Fri", "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("0 0 1 JAN,jul ?", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        // One of the two days is enough when neither is open.
        ("0 0 13 * 5", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"),
        ("0 0 13 * 5", "2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"),
        ("@daily", "2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"),
        ("@every 90s", "2026-01-01T00:00:00.5Z", "2026-01-01T00:01:30Z"),
        ("CRON_TZ=Europe/Prague 0 8 * * *", "2026-01-01T00:00:00Z", "2026-01-01T07:00:00Z"),
    ] {
        assert_eq!(moments(schedule, None, from, 1), [expected], "{schedule}");
    }
}

#[test]
fn clock_changes_skip_and_repeat_nothing() {
    let zone = Some("Europe/Berlin");
    // On 29 March 2026 there is no 02:30; on 25 October there are two.
    assert_eq!(
        moments("30 2 * * *", zone, "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
    );
    assert_eq!(
        moments("30 2 * * *", zone, "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn schedules_that_never_come_have_no_moment() {
    assert!(moments("0 0 30 2 *", None, "2026-01-01T00:00:00Z", 1).is_empty());
}

#[test]
fn faults_name_the_field() {
    for (schedule, field) in [
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 7", "day of week"),
        ("* * * foo *", "month"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("+1 * * * *", "minute"),
    ] {
        match Schedule::parse(schedule, None) {
            Err(ScheduleError::Field { field: found, .. }) => assert_eq!(found, field, "{schedule}"),
            other => assert!(other.is_err() && field.is_empty(), "{schedule}: {other:?}"),
        }
    }
    assert_eq!(Schedule::parse("* * * *", None), Err(ScheduleError::FieldCount(4)));
    assert_eq!(Schedule::parse("* * * * * *", None), Err(ScheduleError::FieldCount(6)));
    assert!(Schedule::parse("* * * * *", Some("Mars/Olympus")).unwrap_err().is_time_zone());
    assert!(matches!(Schedule::parse("@often", None), Err(ScheduleError::Descriptor(_))));
    assert_eq!(Schedule::parse(&"*".repeat(SCHEDULE_LENGTH_MAX + 1), None), Err(ScheduleError::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = Schedule::parse(&text, None);
    }

    #[test]
    fn the_next_moment_is_later_and_the_first(
        minute in 0..60_u8, hour in 0..24_u8, step in 1..30_u8, from in 0..4_000_000_000_i64,
    ) {
        let from = Timestamp::from_second(from).unwrap();
        let schedule = Schedule::parse(&format!("{minute}/{step} {hour} * * *"), Some("America/New_York")).unwrap();
        let next = schedule.next_after(from).unwrap();
        prop_assert!(next > from);
        prop_assert_eq!(schedule.next_after(next - jiff::SignedDuration::from_nanos(1)), Some(next));
    }
}
