//! The wall clock of the runtime. Times that are kept are milliseconds since 1970.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    now().as_millisecond()
}
