//! What fuzzing began with, and what it found worth keeping, is read whenever the tests run.

#![expect(clippy::expect_used, reason = "tests: a failure is the answer")]

use std::path::Path;

use regrove_test_support::check_corpus;

#[path = "../fuzz/checks/reply.rs"]
mod reply;

#[test]
fn kept_replies_are_written_as_the_same_or_refused() {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"));
    check_corpus(fuzz, "reply", |body| reply::replies(body) > 0).unwrap();
}
