//! The wall clock of the runtime. Times that are kept are milliseconds since 1970.

use std::cell::RefCell;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    now().as_millisecond()
}

thread_local! {
    /// The second that was written last, and how.
    static WRITTEN: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Now, as a `Date` header has it: RFC 9110, section 5.6.7. Written anew once a second.
pub(crate) fn http_date() -> String {
    let now = now();
    WRITTEN.with_borrow_mut(|(second, text)| {
        if *second != now.as_second() {
            text.clear();
            // A string takes everything that is written.
            if DateTimePrinter::new().print_timestamp_rfc9110(&now, &mut *text).is_ok() {
                *second = now.as_second();
            }
        }
        text.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_fixed_form() {
        let date = http_date();
        assert!(date.len() == "Sun, 06 Nov 1994 08:49:37 GMT".len() && date.ends_with(" GMT"), "{date}");
        let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&date).unwrap();
        assert!((now().as_second() - parsed.as_second()).abs() < 5, "{date}");
    }
}
