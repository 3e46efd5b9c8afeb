//! Data sets: files as people have them, places as events name them, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod csv;
mod fetching;
mod memory;
mod parquet;
mod parts;
mod pieces;
mod publishing;
mod results;

use std::path::{Path, PathBuf};

use regrove_data::{Error, Limits, Prepared, Table, TargetKind, Wish, prepare};
use regrove_events::event::CsvFormat;
use regrove_forest::Frame;
use tempfile::TempDir;

/// A folder with one file in it.
#[derive(Debug)]
struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn wish(target: &str) -> Wish {
    Wish {
        target: target.to_owned(),
        kind: TargetKind::Classes,
        drop: Vec::new(),
        categorical: Vec::new(),
        sample_weight: None,
        frame_bytes_max: 1 << 30,
    }
}

fn table(path: &Path) -> Result<Table, Error> {
    Table::open(path, &CsvFormat::default(), &Limits::default())
}

/// The frame of a file, read back, and what was said of it.
fn frame(path: &Path, wish: &Wish) -> Result<(Frame, Prepared), Error> {
    let spool = tempfile::tempdir().unwrap();
    let prepared = prepare(&table(path)?, wish, spool.path(), &())?;
    let bytes = std::fs::read(prepared.file.path()).unwrap();
    assert_eq!(bytes.len() as u64, prepared.bytes);
    assert_eq!(regrove_store::artifact::sha256(&bytes), prepared.sha256);
    let frame = Frame::from_bytes(&bytes).unwrap();
    assert_eq!(frame.to_bytes().unwrap(), bytes, "the bytes that the frame itself would write");
    Ok((frame, prepared))
}

fn refused(text: &str, wish: &Wish) -> String {
    let folder = Folder::new();
    frame(&folder.write("d.csv", text), wish).unwrap_err().to_string()
}
