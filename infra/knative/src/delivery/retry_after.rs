//! The `Retry-After` header, RFC 9110 section 10.2.3.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The three date forms that a recipient must accept, RFC 9110 section 5.6.7.
const DATE_FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// How long the header asks to wait, seen from `now`; a date in the past is no wait.
///
/// `None` for anything but a whole number of seconds without surrounding space or an HTTP date.
pub fn parse_retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = header.parse::<i64>() {
        return u64::try_from(seconds).ok().map(Duration::from_secs);
    }
    let date = DATE_FORMS.iter().find_map(|form| DateTime::strptime(form, header).ok())?;
    let at = TimeZone::UTC.to_timestamp(date).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}
