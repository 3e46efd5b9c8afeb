//! What fuzzing began with, and what it found worth keeping, is read whenever the tests run.

#![expect(clippy::expect_used, reason = "tests: a failure is the answer")]

use std::path::Path;

use regrove_test_support::check_corpus;

#[path = "../fuzz/checks/mlmodel.rs"]
mod mlmodel;
#[path = "../fuzz/checks/request.rs"]
mod request;

/// Beside this crate's tests.
const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

#[test]
fn kept_requests_become_events_or_are_refused() {
    check_corpus(Path::new(FUZZ), "request", |body| request::requests(body) > 0).unwrap();
}

#[test]
fn kept_mlmodels_name_their_onnx_form_or_are_refused() {
    check_corpus(Path::new(FUZZ), "mlmodel", mlmodel::is_described).unwrap();
}
