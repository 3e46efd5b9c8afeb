//! What fuzzing began with, and what it found worth keeping, is read whenever the tests run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failure is the answer")]
#![expect(clippy::cast_precision_loss, clippy::indexing_slicing, reason = "checks shared with the fuzz targets")]

use std::path::{Path, PathBuf};

#[path = "../fuzz/checks/frame.rs"]
mod frame;
#[path = "../fuzz/checks/model_file.rs"]
mod model_file;
#[path = "../fuzz/checks/onnx.rs"]
mod onnx;

/// The files of a folder beside the fuzz targets.
fn files(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(target);
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Every seed is something; of what was kept, some is and some is refused.
fn check(target: &str, is_something: impl Fn(&[u8]) -> bool) {
    let read = |path: &PathBuf| is_something(&std::fs::read(path).unwrap());
    for seed in files("seeds", target) {
        assert!(read(&seed), "{} is refused", seed.display());
    }
    let kept = files("corpus", target);
    let sound = kept.iter().filter(|path| read(path)).count();
    assert!(sound > 0 && sound < kept.len(), "{sound} of {} kept inputs of {target}", kept.len());
}

#[test]
fn kept_onnx_models_answer_alike_or_are_refused() {
    check("onnx", onnx::is_sound);
}

#[test]
fn kept_model_files_answer_alike_or_are_refused() {
    check("model_file", model_file::is_sound);
}

#[test]
fn kept_frames_are_written_as_the_same_or_refused() {
    check("frame", |bytes| frame::frames(bytes) > 0);
}
