//! A model file in place, without reading it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use memmap2::Mmap;

use super::ModelBytes;

/// Maps a model file into memory for [`super::Model::from_bytes`]: pages are read when a prediction needs them, and
/// processes share them.
///
/// The file must not be changed or cut while it is mapped. Artifacts are written once under the name of their hash
/// and only ever replaced by renaming, which leaves mapped files alone.
///
/// # Errors
///
/// A file that cannot be mapped, such as an empty one on some systems.
#[expect(unsafe_code, reason = "mapping is unsafe because others may change the file; artifacts never change")]
pub fn map(file: &File) -> io::Result<ModelBytes> {
    // SAFETY: the map is read-only and private to this value. Rust asks that the bytes do not change while borrowed:
    // model files are immutable artifacts, named by their hash, as the documentation above demands of the caller.
    let map = unsafe { Mmap::map(file)? };
    Ok(Arc::new(map))
}
