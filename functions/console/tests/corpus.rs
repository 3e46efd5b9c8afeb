//! What fuzzing began with, and what it found worth keeping, is read whenever the tests run.

#![expect(clippy::expect_used, reason = "tests: a failure is the answer")]

use std::path::Path;

use regrove_test_support::check_corpus;

#[path = "../fuzz/checks/wish.rs"]
mod wish;

#[test]
fn kept_wishes_become_events_or_are_refused() {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"));
    check_corpus(fuzz, "wish", |body| wish::wishes(body) > 0).unwrap();
}
