//! Parquet as pandas writes it.

use std::path::{Path, PathBuf};

use regrove_data::ColumnKind::{Bool, Float, Int, Text};
use regrove_data::{ColumnKind, Format, Limits, Table, survey};
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
    assert!(said.contains("column `day` is of type Date32"), "{said}");
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
