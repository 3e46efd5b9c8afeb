//! What fuzzing began with, and what it found worth keeping, is read whenever the tests run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failure is the answer")]

use std::path::{Path, PathBuf};

#[path = "../fuzz/checks/reply.rs"]
mod reply;

/// The inputs of a folder beside the fuzz target.
fn inputs(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join("reply");
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Every seed is something; of what was kept, some is and some is refused.
#[test]
fn kept_replies_are_written_as_the_same_or_refused() {
    for (path, seed) in inputs("seeds") {
        assert!(reply::replies(&seed) > 0, "{} is refused", path.display());
    }
    let kept = inputs("corpus");
    let taken = kept.iter().filter(|(_, input)| reply::replies(input) > 0).count();
    assert!(taken > 0 && taken < kept.len(), "{taken} of {} kept inputs", kept.len());
}
