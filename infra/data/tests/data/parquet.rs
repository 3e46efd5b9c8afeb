//! Parquet as pandas writes it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers of a test"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, NullArray,
    RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use regrove_data::ColumnKind::{Bool, Float, Int, Text};
use regrove_data::{Cell, ColumnKind, Format, Limits, Table, survey};
use regrove_events::event::CsvFormat;

use crate::{Folder, frame, table, wish};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

#[test]
fn columns_have_their_types() {
    let table = table(&testdata("flat.parquet")).unwrap();
    assert_eq!(table.format(), Format::Parquet);
    let places: Vec<usize> = (0..table.names().len()).collect();
    let seen = survey(&table, &places, &["kind".to_owned()].into(), &()).unwrap();
    let found: Vec<(&str, ColumnKind, u64)> =
        seen.columns.iter().map(|column| (column.name.as_str(), column.kind, column.missing)).collect();
    assert_eq!(
        found,
        [
            ("size", Float, 1),
            ("count", Int, 1),
            ("small", Int, 0),
            ("ready", Bool, 0),
            ("colour", Text, 0),
            ("shape", Text, 0),
            ("kind", Float, 0)
        ]
    );
    assert_eq!(serde_json::to_string(&seen.columns[6].values).unwrap(), "[[0.5,6],[1.5,6]]");
    assert_eq!((seen.columns[2].min, seen.columns[2].max, seen.columns[2].mean), (Some(0.0), Some(11.0), Some(5.5)));
}

#[test]
fn row_groups_and_compression_change_nothing() {
    let (one, prepared) = frame(&testdata("flat.parquet"), &wish("kind")).unwrap();
    let (many, _) = frame(&testdata("flat-snappy.parquet"), &wish("kind")).unwrap();
    assert_eq!(one.sha256().unwrap(), many.sha256().unwrap());
    assert_eq!(serde_json::to_string(&prepared.classes).unwrap(), "[[0.5,6],[1.5,6]]", "labels keep their type");
    assert_eq!(prepared.categories["shape"], ["cube", "disc"], "a pandas category is its texts");
    assert_eq!(one.column(3)[..4], [1.0, 0.0, 0.0, 1.0]);
    assert!(one.column(1)[1].is_nan());
}

#[test]
fn nested_columns_are_refused_by_name_and_may_be_left_out() {
    let said = frame(&testdata("nested.parquet"), &wish("target")).unwrap_err().to_string();
    assert!(said.contains("column `point` is nested") && said.contains("drop"), "{said}");
    let mut flat = wish("target");
    flat.drop = vec!["point".to_owned(), "tags".to_owned()];
    let (frame_, _) = frame(&testdata("nested.parquet"), &flat).unwrap();
    assert_eq!(frame_.feature_names(), ["size"]);
    let said = frame(&testdata("dates.parquet"), &wish("target")).unwrap_err().to_string();
    assert!(said.contains("column `day` is of type Date"), "{said}");
}

#[test]
fn damaged_and_large_files_are_refused() {
    let folder = Folder::new();
    let content = std::fs::read(testdata("flat.parquet")).unwrap();
    let cut = table(&folder.write("cut.parquet", &content[..content.len() / 2])).unwrap_err().to_string();
    assert!(cut.contains("not readable as Parquet"), "{cut}");
    let limits = Limits { rows_max: 11, ..Limits::default() };
    let said = Table::open(&testdata("flat.parquet"), &CsvFormat::default(), &limits).unwrap_err().to_string();
    assert!(said.contains("more than 11 rows"), "{said}");
}

/// Every type that arrow writes, some values missing, over several row groups and batches: what arrow was given is read.
#[test]
fn every_flat_type_is_read_as_it_was_written() {
    const ROWS: i64 = 20_000;
    let at = |row: i64, every: i64| (row % every != 0).then_some(row);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new((0..ROWS).map(|row| at(row, 7).map(|row| (row % 255 - 128) as i8)).collect::<Int8Array>())),
        ("i16", Arc::new((0..ROWS).map(|row| at(row, 7).map(|row| (row - 9000) as i16)).collect::<Int16Array>())),
        ("i32", Arc::new((0..ROWS).map(|row| Some(row as i32 * 99_991)).collect::<Int32Array>())),
        ("i64", Arc::new((0..ROWS).map(|row| at(row, 3).map(|row| row << 45)).collect::<Int64Array>())),
        ("u8", Arc::new((0..ROWS).map(|row| at(row, 7).map(|row| row as u8)).collect::<UInt8Array>())),
        ("u16", Arc::new((0..ROWS).map(|row| at(row, 2).map(|row| row as u16)).collect::<UInt16Array>())),
        ("u32", Arc::new((0..ROWS).map(|row| Some(u32::MAX - row as u32)).collect::<UInt32Array>())),
        ("u64", Arc::new((0..ROWS).map(|row| Some((u64::MAX - (row as u64)) << 12)).collect::<UInt64Array>())),
        ("f32", Arc::new((0..ROWS).map(|row| at(row, 5).map(|row| row as f32 / 3.0)).collect::<Float32Array>())),
        (
            "f64",
            Arc::new(
                (0..ROWS)
                    .map(|row| Some(if row % 9 == 0 { f64::NAN } else { row as f64 / 7.0 }))
                    .collect::<Float64Array>(),
            ),
        ),
        ("bool", Arc::new((0..ROWS).map(|row| at(row, 11).map(|row| row % 2 == 0)).collect::<BooleanArray>())),
        (
            "text",
            Arc::new((0..ROWS).map(|row| at(row, 13).map(|row| "ä".repeat(row as usize % 5))).collect::<StringArray>()),
        ),
        ("none", Arc::new(NullArray::new(ROWS as usize))),
    ];
    let folder = Folder::new();
    let path = folder.write("types.parquet", b"");
    let nullable = columns.into_iter().map(|(name, values)| (name, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(7_000)).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(groups)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let table = table(&path).unwrap();
    // In another order than the file's.
    let places: Vec<usize> = (0..table.names().len()).rev().collect();
    let mut row = 0;
    let scanned = table.scan(&places, &mut |cells, _| {
        for inside in 0..cells.n_rows() {
            let read: Vec<Cell<'_>> = cells.columns().iter().rev().map(|column| column.get(inside)).collect();
            let whole = |value: Option<i64>| value.map_or(Cell::Missing, Cell::Whole);
            let number = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Number);
            let text = "ä".repeat(row as usize % 5);
            let expected = [
                whole(at(row, 7).map(|row| row % 255 - 128)),
                whole(at(row, 7).map(|row| row - 9000)),
                whole(Some(row * 99_991)),
                whole(at(row, 3).map(|row| row << 45)),
                whole(at(row, 7).map(|row| row % 256)),
                whole(at(row, 2)),
                whole(Some(i64::from(u32::MAX) - row)),
                number(Some(((u64::MAX - (row as u64)) << 12) as f64)),
                number(at(row, 5).map(|row| f64::from(row as f32 / 3.0))),
                number(at(row, 9).map(|row| row as f64 / 7.0)),
                at(row, 11).map_or(Cell::Missing, |row| Cell::Truth(row % 2 == 0)),
                at(row, 13).map_or(Cell::Missing, |_| Cell::Text(&text)),
                Cell::Missing,
            ];
            assert_eq!(read, expected, "row {row}");
            row += 1;
        }
        Ok(())
    });
    scanned.unwrap();
    assert_eq!(row, ROWS);
}

/// A byte that changed, or an end that is missing, is an error or another value, never a panic.
#[test]
fn damage_is_said() {
    let folder = Folder::new();
    for name in ["flat.parquet", "flat-snappy.parquet"] {
        let content = std::fs::read(testdata(name)).unwrap();
        let mut refused = 0;
        for at in 0..content.len() {
            let mut flipped = content.clone();
            flipped[at] ^= 0x55;
            let path = folder.write("flipped.parquet", &flipped);
            let read = table(&path).and_then(|table| {
                let places: Vec<usize> = (0..table.names().len()).collect();
                table.scan(&places, &mut |_, _| Ok(()))
            });
            refused += usize::from(read.is_err());
        }
        assert!(refused * 8 > content.len(), "{refused} of {} in {name}", content.len());
    }
}
