//! The canonical frame of a table, written in place.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use regrove_forest::frame::FrameLayout;
use regrove_forest::params::CLASSES_MAX;
use regrove_forest::{Categories, Label};
use tempfile::NamedTempFile;

use crate::column::{Cell, Cells, feature, key, number};
use crate::error::{names_shown, shown};
use crate::{CATEGORIES_MAX, ColumnKind, ColumnSurvey, Error, Format, Progress, Stage, Survey, Table, survey};

/// The setting that bounds a frame's bytes, as messages call it.
pub const FRAME_LIMIT: &str = "--artifact-bytes-max (REGROVE_ARTIFACT_BYTES_MAX)";

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// To tell classes apart.
    Classes,
    /// To predict a number.
    Values,
}

/// What a frame is to hold.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Column to predict.
    pub target: String,
    /// What is learned.
    pub kind: TargetKind,
    /// Columns that are left out.
    pub drop: Vec<String>,
    /// Columns of numbers or truth values that stand for categories.
    pub categorical: Vec<String>,
    /// Column of what each row weighs; it is no feature.
    pub sample_weight: Option<String>,
    /// Largest frame in bytes.
    pub frame_bytes_max: u64,
}

/// A canonical frame in a file that is gone when this is dropped.
#[derive(Debug)]
pub struct Prepared {
    /// The file.
    pub file: NamedTempFile,
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
    /// Rows.
    pub n_samples: u64,
    /// Feature columns in order.
    pub feature_names: Vec<String>,
    /// Classes in ascending order, with their rows; none for numbers.
    pub classes: Vec<(Label, u64)>,
    /// Texts of the encoded features.
    pub categories: Categories,
}

/// Reads a table twice: to know its columns, then to write them. The file is made in `spool`.
///
/// # Errors
/// A wish that does not fit the table; a cell that is not what its column is, with row and column; a frame that would be
/// too large.
pub fn prepare(table: &Table, wish: &Wish, spool: &Path, progress: &dyn Progress) -> Result<Prepared, Error> {
    if table.names().is_empty() {
        return Err(Error::NoRows);
    }
    let places = features_of(table, wish)?;
    let mut read: Vec<usize> = places.iter().copied().chain([table.place(&wish.target)?]).collect();
    let mut counted: BTreeSet<String> = wish.categorical.iter().cloned().collect();
    if wish.kind == TargetKind::Classes {
        counted.insert(wish.target.clone());
    }
    let seen = survey(table, &read, &counted, progress)?;
    if seen.n_rows == 0 {
        return Err(Error::NoRows);
    }
    let (features, target) = seen.columns.split_at(places.len());
    let encoders = features
        .iter()
        .map(|column| Encoder::of(column, wish.categorical.contains(&column.name), table.format()))
        .collect::<Result<Vec<_>, _>>()?;
    let target = match target {
        [column] => TargetReader::of(column, wish.kind)?,
        _ => return Err(Error::NoFeatures),
    };
    let sample_weight = match &wish.sample_weight {
        Some(name) => {
            read.push(table.place(name)?);
            Some(WeightReader { name: name.clone() })
        }
        None => None,
    };
    let readers = Readers { encoders, target, sample_weight };
    let layout = layout_of(&seen, &readers, wish)?;
    if layout.bytes() > wish.frame_bytes_max {
        return Err(Error::TooLarge { what: "bytes as a frame", max: wish.frame_bytes_max, setting: FRAME_LIMIT });
    }
    // The frame lies beside the data set that it is made of: whoever bounds the one bounds the disk of both.
    table.limits().check_bytes(layout.bytes())?;
    let file = write(table, &read, &readers, &layout, spool, progress)?;
    let sha256 = hash(file.path(), layout.bytes(), progress)?;
    Ok(Prepared {
        file,
        sha256,
        bytes: layout.bytes(),
        n_samples: seen.n_rows,
        feature_names: readers.encoders.iter().map(|encoder| encoder.name.clone()).collect(),
        categories: categories(&readers.encoders),
        classes: readers.target.classes,
    })
}

/// Where the features are: every column but the target, the weights and those that are left out.
fn features_of(table: &Table, wish: &Wish) -> Result<Vec<usize>, Error> {
    for name in wish.drop.iter().chain(&wish.categorical).chain(&wish.sample_weight) {
        table.place(name)?;
    }
    if let Some(weight) = &wish.sample_weight {
        let wrong = |reason: &str| Error::Setting { field: "sample_weight", reason: format!("`{weight}` is {reason}") };
        if *weight == wish.target {
            return Err(wrong("the target"));
        }
        if wish.drop.contains(weight) {
            return Err(wrong("left out (`drop`)"));
        }
    }
    let wanted =
        |name: &String| *name != wish.target && wish.sample_weight.as_ref() != Some(name) && !wish.drop.contains(name);
    let places: Vec<usize> =
        table.names().iter().enumerate().filter(|(_, name)| wanted(name)).map(|(place, _)| place).collect();
    if places.is_empty() { Err(Error::NoFeatures) } else { Ok(places) }
}

/// From the cells of a batch to the parts of a frame: the columns are the features, the target and the weights, if rows have any.
struct Readers {
    encoders: Vec<Encoder>,
    target: TargetReader,
    sample_weight: Option<WeightReader>,
}

fn layout_of(seen: &Survey, readers: &Readers, wish: &Wish) -> Result<FrameLayout, Error> {
    let encoders = &readers.encoders;
    let names: Vec<String> = encoders.iter().map(|encoder| encoder.name.clone()).collect();
    let classes: Vec<Label> = readers.target.classes.iter().map(|(label, _)| label.clone()).collect();
    let classes = (wish.kind == TargetKind::Classes).then_some(classes.as_slice());
    let weighted = readers.sample_weight.is_some();
    FrameLayout::new(seen.n_rows, &names, &wish.target, classes, &categories(encoders), weighted)
        .map_err(|error| Error::Format { format: "a frame", reason: error.to_string() })
}

fn categories(encoders: &[Encoder]) -> Categories {
    let with_codes = encoders.iter().filter_map(|encoder| Some((encoder.name.clone(), encoder.codes.as_ref()?)));
    with_codes.map(|(name, codes)| (name, codes.keys().cloned().collect())).collect()
}

/// From the cells of a feature to float32.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) name: String,
    /// The code of each text, in ascending order of the texts; `None` for numbers.
    pub(crate) codes: Option<BTreeMap<String, f32>>,
    untyped: bool,
}

impl Encoder {
    fn of(column: &ColumnSurvey, categorical: bool, format: Format) -> Result<Self, Error> {
        let name = column.name.clone();
        let untyped = format == Format::Csv;
        if !categorical && column.kind != ColumnKind::Text {
            return Ok(Self { name, codes: None, untyped });
        }
        if let Some((row, cell)) = column.stray.clone().filter(|_| !categorical) {
            return Err(Error::NotNumeric { row, column: name, cell });
        }
        let max = CATEGORIES_MAX as u64;
        let too_many =
            || Error::TooLarge { what: "distinct texts in a column", max, setting: "`drop` to leave it out" };
        if column.values.is_none() || column.labels.len() > CATEGORIES_MAX {
            return Err(too_many());
        }
        Ok(Self::for_texts(name, column.labels.keys().cloned(), untyped))
    }

    /// An encoder for a model's texts.
    pub(crate) fn for_texts(name: String, texts: impl Iterator<Item = String>, untyped: bool) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most CATEGORIES_MAX codes")]
        let codes = texts.enumerate().map(|(code, text)| (text, code as f32)).collect();
        Self { name, codes: Some(codes), untyped }
    }

    /// An encoder for numbers.
    pub(crate) fn for_numbers(name: String, untyped: bool) -> Self {
        Self { name, codes: None, untyped }
    }

    /// The float32 of a cell; `row` counts from 1.
    pub(crate) fn encode(&self, cell: Cell<'_>, row: u64, buffer: &mut String) -> Result<f32, Error> {
        let column = || self.name.clone();
        if let Some(codes) = &self.codes {
            let Some(text) = key(cell, buffer) else { return Ok(f32::NAN) };
            return codes.get(text).copied().ok_or_else(|| Error::UnknownCategory {
                row,
                column: column(),
                cell: shown(text),
                known: names_shown(codes.keys().map(String::as_str)),
            });
        }
        let Some(value) = feature(cell, self.untyped) else {
            let cell = key(cell, buffer).map(shown).unwrap_or_default();
            return Err(Error::NotNumeric { row, column: column(), cell });
        };
        #[expect(clippy::cast_possible_truncation, reason = "scikit-learn's trees train on float32")]
        let narrow = value as f32;
        if narrow.is_infinite() {
            return Err(Error::OutOfRange { row, column: column(), cell: format!("{value:?}") });
        }
        // One bit pattern for all missing values, so that equal data have equal hashes.
        Ok(if narrow.is_nan() { f32::NAN } else { narrow })
    }
}

/// From the cells of the target to class indexes or numbers.
struct TargetReader {
    name: String,
    kind: TargetKind,
    classes: Vec<(Label, u64)>,
    indexes: BTreeMap<String, u32>,
}

impl TargetReader {
    fn of(column: &ColumnSurvey, kind: TargetKind) -> Result<Self, Error> {
        let name = column.name.clone();
        if kind == TargetKind::Values {
            return Ok(Self { name, kind, classes: Vec::new(), indexes: BTreeMap::new() });
        }
        let max = CLASSES_MAX as u64;
        let setting = "a regressor (`estimator`) if the target is a number";
        let too_many = || Error::TooLarge { what: "classes", max, setting };
        let classes = column.values.clone().filter(|values| values.len() <= CLASSES_MAX).ok_or_else(too_many)?;
        let index = |label: &Label| classes.partition_point(|(class, _)| class < label);
        let are_numbers = matches!(column.kind, ColumnKind::Int | ColumnKind::Float);
        // NaN, where it does not stand for a missing value, and the infinities are no classes among numbers.
        let not_a_class = |key: &str| are_numbers && number(key).is_some_and(|number| !number.is_finite());
        let indexes = column
            .labels
            .iter()
            .filter(|(key, _)| !not_a_class(key))
            .map(|(key, label)| (key.clone(), u32::try_from(index(label)).unwrap_or(u32::MAX)))
            .collect();
        Ok(Self { name, kind, classes, indexes })
    }

    /// Appends the bytes of a value.
    fn append(&self, cell: Cell<'_>, row: u64, buffer: &mut String, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let empty = || Error::EmptyTarget { row, column: self.name.clone() };
        match self.kind {
            TargetKind::Classes => {
                let key = key(cell, buffer).ok_or_else(empty)?;
                let no_class = || Error::NotAClass { row, column: self.name.clone(), cell: shown(key) };
                let index = self.indexes.get(key).ok_or_else(no_class)?;
                bytes.extend(index.to_le_bytes());
            }
            TargetKind::Values => {
                let value = feature(cell, true);
                let value = value.filter(|value| !value.is_nan());
                let Some(value) = value else {
                    let Some(cell) = key(cell, buffer).map(shown) else { return Err(empty()) };
                    return Err(Error::NotNumeric { row, column: self.name.clone(), cell });
                };
                if value.is_infinite() {
                    let cell = format!("{value:?}");
                    return Err(Error::OutOfRange { row, column: self.name.clone(), cell });
                }
                bytes.extend(value.to_le_bytes());
            }
        }
        Ok(())
    }
}

/// From the cells of a column to what rows weigh.
struct WeightReader {
    name: String,
}

impl WeightReader {
    /// The weight of a row, which counts from 1.
    fn read(&self, cell: Cell<'_>, row: u64, buffer: &mut String) -> Result<f64, Error> {
        let weight = feature(cell, true).filter(|weight| weight.is_finite() && *weight >= 0.0);
        weight.ok_or_else(|| Error::SampleWeight {
            row,
            column: self.name.clone(),
            cell: key(cell, buffer).map(shown).unwrap_or_default(),
        })
    }
}

/// Writes each batch of each column at its place; gaps stay zero.
fn write(
    table: &Table,
    places: &[usize],
    readers: &Readers,
    layout: &FrameLayout,
    spool: &Path,
    progress: &dyn Progress,
) -> Result<NamedTempFile, Error> {
    let wrong = |source| Error::io(spool.display(), source);
    std::fs::create_dir_all(spool).map_err(wrong)?;
    let file = NamedTempFile::new_in(spool).map_err(wrong)?;
    let out = file.as_file();
    out.set_len(layout.bytes()).map_err(wrong)?;
    out.write_all_at(layout.head(), 0).map_err(wrong)?;
    let target = &readers.target;
    let (mut before, mut total) = (0, 0.0);
    let (mut bytes, mut buffer) = (Vec::new(), String::new());
    table.scan(places, &mut |batch, read| {
        let (features, others) = batch.columns().split_at(readers.encoders.len());
        let [target_cells, weights @ ..] = others else { return Ok(()) };
        for ((feature, encoder), cells) in (0_u64..).zip(&readers.encoders).zip(features) {
            bytes.clear();
            column(encoder, cells, before, &mut buffer, &mut bytes)?;
            out.write_all_at(&bytes, layout.column(feature) + before * 4).map_err(wrong)?;
        }
        bytes.clear();
        for row in 0..target_cells.len() {
            target.append(target_cells.get(row), before + row as u64 + 1, &mut buffer, &mut bytes)?;
        }
        let width = if target.kind == TargetKind::Classes { 4 } else { 8 };
        out.write_all_at(&bytes, layout.target() + before * width).map_err(wrong)?;
        if let (Some(reader), Some(place), [cells]) = (&readers.sample_weight, layout.sample_weight(), weights) {
            bytes.clear();
            for row in 0..cells.len() {
                let weight = reader.read(cells.get(row), before + row as u64 + 1, &mut buffer)?;
                total += weight;
                bytes.extend(weight.to_le_bytes());
            }
            out.write_all_at(&bytes, place + before * 8).map_err(wrong)?;
        }
        before += batch.n_rows() as u64;
        progress.advance(Stage::Prepare, read, Some(table.bytes()));
        Ok(())
    })?;
    match &readers.sample_weight {
        Some(reader) if !(total > 0.0 && total.is_finite()) => {
            Err(Error::NoSampleWeight { column: reader.name.clone(), total })
        }
        _ => Ok(file),
    }
}

fn column(
    encoder: &Encoder,
    cells: &Cells,
    before: u64,
    buffer: &mut String,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    for row in 0..cells.len() {
        let value = encoder.encode(cells.get(row), before + row as u64 + 1, buffer)?;
        bytes.extend(value.to_le_bytes());
    }
    Ok(())
}

/// SHA-256 of a file, 64 lower-case hexadecimal digits.
pub(crate) fn hash(path: &Path, total: u64, progress: &dyn Progress) -> Result<String, Error> {
    regrove_hash::sha256_of_file(path, |done| progress.advance(Stage::Hash, done, Some(total)))
        .map_err(|source| Error::io(path.display(), source))
}
