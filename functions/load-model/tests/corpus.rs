//! What fuzzing began with, and what it found worth keeping, is read whenever the tests run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failure is the answer")]

use std::path::{Path, PathBuf};

#[path = "../fuzz/checks/mlmodel.rs"]
mod mlmodel;
#[path = "../fuzz/checks/request.rs"]
mod request;

/// The inputs of a folder beside the fuzz targets.
fn inputs(folder: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(target);
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Every seed is taken; of what was kept, some is and some is refused.
fn check(target: &str, is_taken: impl Fn(&[u8]) -> bool) {
    for (path, seed) in inputs("seeds", target) {
        assert!(is_taken(&seed), "{} is refused", path.display());
    }
    let kept = inputs("corpus", target);
    let taken = kept.iter().filter(|(_, input)| is_taken(input)).count();
    assert!(taken > 0 && taken < kept.len(), "{taken} of {} kept inputs of {target}", kept.len());
}

#[test]
fn kept_requests_become_events_or_are_refused() {
    check("request", |body| request::requests(body) > 0);
}

#[test]
fn kept_mlmodels_name_their_onnx_form_or_are_refused() {
    check("mlmodel", mlmodel::is_described);
}
