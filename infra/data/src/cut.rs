//! A canonical frame cut into parts of its rows, for workers that hold one part each.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use regrove_forest::frame::FrameLayout;
use regrove_forest::{Categories, Label, RowParts};
use tempfile::{NamedTempFile, TempPath};

use crate::Error;
use crate::prepare::{FRAME_LIMIT, hash};

/// What a canonical frame in a file is, for those who have not read it.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead<'a> {
    /// Rows.
    pub n_samples: u64,
    /// Feature columns in order.
    pub feature_names: &'a [String],
    /// Column to predict.
    pub target: &'a str,
    /// Classes in ascending order; `None` for numbers.
    pub classes: Option<&'a [Label]>,
    /// Texts of the encoded features.
    pub categories: &'a Categories,
    /// Whether rows have weights.
    pub sample_weight: bool,
}

impl FrameHead<'_> {
    fn layout(&self, n_samples: u64) -> Result<FrameLayout, Error> {
        let Self { feature_names, target, classes, categories, sample_weight, .. } = *self;
        FrameLayout::new(n_samples, feature_names, target, classes, categories, sample_weight)
            .map_err(|error| Error::Format { format: "a frame", reason: error.to_string() })
    }
}

/// A part of a frame, itself a canonical frame, in a file that is gone when this is dropped.
#[derive(Debug)]
pub struct CutPart {
    /// The file. It is not held open: there may be more parts than files that a process may open.
    pub path: TempPath,
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
    /// Rows.
    pub n_samples: u64,
    /// Rows of each class, those without any among them; none for numbers.
    pub class_rows: Vec<u64>,
}

/// Cuts the frame in a file: part k has the rows that `parts` gives it, in their order, and all classes. Files are made in
/// `spool`; what is in memory at once is one column, and 4 bytes per row for `parts`.
///
/// # Errors
/// A part larger than `part_bytes_max`, a file that cannot be read or written.
pub fn cut(
    frame: &Path,
    head: &FrameHead<'_>,
    parts: &RowParts,
    part_bytes_max: u64,
    spool: &Path,
) -> Result<Vec<CutPart>, Error> {
    let wrong = |source| Error::io(frame.display(), source);
    let source = File::open(frame).map_err(wrong)?;
    let mut drafts = drafts(head, parts, part_bytes_max, spool)?;
    let layout = head.layout(head.n_samples)?;
    for feature in 0..head.feature_names.len() as u64 {
        let column = read::<4>(&source, layout.column(feature), head.n_samples).map_err(wrong)?;
        deal(&column, parts, &mut drafts, |layout| layout.column(feature))?;
    }
    if head.classes.is_some() {
        let targets = read::<4>(&source, layout.target(), head.n_samples).map_err(wrong)?;
        for (target, part) in targets.iter().zip(parts.part_of()) {
            let class = u32::from_le_bytes(*target) as usize;
            let draft = drafts.get_mut(*part as usize);
            if let Some(rows) = draft.and_then(|draft| draft.class_rows.get_mut(class)) {
                *rows += 1;
            }
        }
        deal(&targets, parts, &mut drafts, FrameLayout::target)?;
    } else {
        let targets = read::<8>(&source, layout.target(), head.n_samples).map_err(wrong)?;
        deal(&targets, parts, &mut drafts, FrameLayout::target)?;
    }
    if let Some(place) = layout.sample_weight() {
        let weights = read::<8>(&source, place, head.n_samples).map_err(wrong)?;
        // Parts have weights where the whole has.
        deal(&weights, parts, &mut drafts, |layout| layout.sample_weight().unwrap_or_else(|| layout.bytes()))?;
    }
    drafts.into_iter().map(Draft::finish).collect()
}

/// A part that is being written.
struct Draft {
    path: TempPath,
    layout: FrameLayout,
    n_samples: u64,
    class_rows: Vec<u64>,
}

impl Draft {
    fn write(&self, bytes: &[u8], place: u64) -> Result<(), Error> {
        let file = OpenOptions::new().write(true).open(&self.path);
        file.and_then(|file| file.write_all_at(bytes, place)).map_err(|source| Error::io(self.path.display(), source))
    }

    fn finish(self) -> Result<CutPart, Error> {
        let bytes = self.layout.bytes();
        let sha256 = hash(&self.path, bytes, &())?;
        Ok(CutPart { path: self.path, sha256, bytes, n_samples: self.n_samples, class_rows: self.class_rows })
    }
}

/// A file of the right length for each part, gaps zero.
fn drafts(head: &FrameHead<'_>, parts: &RowParts, part_bytes_max: u64, spool: &Path) -> Result<Vec<Draft>, Error> {
    let wrong = |source| Error::io(spool.display(), source);
    std::fs::create_dir_all(spool).map_err(wrong)?;
    let mut sizes = vec![0_u64; parts.n_parts() as usize];
    for part in parts.part_of() {
        if let Some(size) = sizes.get_mut(*part as usize) {
            *size += 1;
        }
    }
    let draft = |n_samples: u64| {
        let layout = head.layout(n_samples)?;
        if layout.bytes() > part_bytes_max {
            return Err(Error::TooLarge { what: "bytes as a part", max: part_bytes_max, setting: FRAME_LIMIT });
        }
        let file = NamedTempFile::new_in(spool).map_err(wrong)?;
        file.as_file().set_len(layout.bytes()).map_err(wrong)?;
        file.as_file().write_all_at(layout.head(), 0).map_err(wrong)?;
        let class_rows = vec![0; head.classes.map_or(0, <[Label]>::len)];
        Ok(Draft { path: file.into_temp_path(), layout, n_samples, class_rows })
    };
    sizes.into_iter().map(draft).collect()
}

/// A column of `n` numbers of `WIDTH` bytes.
fn read<const WIDTH: usize>(file: &File, place: u64, n: u64) -> std::io::Result<Vec<[u8; WIDTH]>> {
    let n = usize::try_from(n).map_err(std::io::Error::other)?;
    let mut numbers = vec![[0; WIDTH]; n];
    file.read_exact_at(numbers.as_flattened_mut(), place)?;
    Ok(numbers)
}

/// Writes each part's numbers of a column at their place in the part.
fn deal<const WIDTH: usize>(
    column: &[[u8; WIDTH]],
    parts: &RowParts,
    drafts: &mut [Draft],
    place: impl Fn(&FrameLayout) -> u64,
) -> Result<(), Error> {
    let mut hands: Vec<Vec<[u8; WIDTH]>> = vec![Vec::new(); drafts.len()];
    for (number, part) in column.iter().zip(parts.part_of()) {
        if let Some(hand) = hands.get_mut(*part as usize) {
            hand.push(*number);
        }
    }
    for (draft, hand) in drafts.iter().zip(&hands) {
        draft.write(hand.as_flattened(), place(&draft.layout))?;
    }
    Ok(())
}
