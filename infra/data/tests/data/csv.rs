//! CSV as people write it.

use std::collections::BTreeSet;
use std::io::Write as _;

use regrove_data::{ColumnKind, Error, Features, Limits, Table, TargetKind, Wish, features, prepare, survey};
use regrove_events::event::CsvFormat;
use regrove_forest::{Categories, Frame, FrameLimits, Label, Target};

use crate::{Folder, frame, refused, table, wish};

const MIXED: &str = "size,colour,ready,target\n1.5,red,True,a\n,blue,false,b\n3,red,TRUE,a\n4,,,b\n";

#[test]
fn columns_are_what_they_hold() {
    let folder = Folder::new();
    let (frame, prepared) = frame(&folder.write("d.csv", MIXED), &wish("target")).unwrap();
    assert_eq!(prepared.feature_names, ["size", "colour", "ready"]);
    assert_eq!(frame.categories()["colour"], ["blue", "red"], "in ascending order, as OrdinalEncoder has them");
    assert_eq!(frame.column(1)[..3], [1.0, 0.0, 1.0]);
    assert_eq!(frame.column(2)[..3], [1.0, 0.0, 1.0], "truth values are 0 and 1");
    assert!(frame.column(0)[1].is_nan() && frame.column(1)[3].is_nan() && frame.column(2)[3].is_nan());
    assert_eq!(prepared.classes, [(Label::Str("a".to_owned()), 2), (Label::Str("b".to_owned()), 2)]);
}

/// The same bytes as the library's own reader makes, so that a data set has one identity.
#[test]
fn numbers_make_the_frame_that_the_library_makes() {
    let folder = Folder::new();
    let text = "a,b,target\n1,2.5,1\n-3,nan,0\n1e3, 7 ,1\n0.1,,2\n";
    let (frame, _) = frame(&folder.write("d.csv", text), &wish("target")).unwrap();
    let own = Frame::from_csv(text.as_bytes(), "target", &FrameLimits::default()).unwrap();
    assert_eq!(frame.sha256().unwrap(), own.sha256().unwrap());
}

#[test]
fn labels_keep_their_type() {
    let folder = Folder::new();
    let classes = |cells: [&str; 4]| {
        let text = format!("a,y\n1,{}\n2,{}\n3,{}\n4,{}\n", cells[0], cells[1], cells[2], cells[3]);
        let (_, prepared) = frame(&folder.write("d.csv", text), &wish("y")).unwrap();
        serde_json::to_string(&prepared.classes).unwrap()
    };
    assert_eq!(classes(["1", "01", "2.0", "10"]), "[[1,2],[2,1],[10,1]]", "equal numbers are one class");
    assert_eq!(classes(["true", "False", "TRUE", "false"]), "[[false,2],[true,2]]");
    assert_eq!(classes(["0.5", "1", "0.5", "2"]), "[[0.5,2],[1.0,1],[2.0,1]]");
    assert_eq!(classes(["1", "x", "1", "x"]), r#"[["1",2],["x",2]]"#);
}

#[test]
fn numbers_are_a_target_too() {
    let folder = Folder::new();
    let numbers = Wish { kind: TargetKind::Values, ..wish("y") };
    let (frame, prepared) = frame(&folder.write("d.csv", "a,y\n1,0.25\n2,7\n"), &numbers).unwrap();
    assert_eq!(frame.target(), &Target::Values(vec![0.25, 7.0]));
    assert!(prepared.classes.is_empty());
    assert!(refused("a,y\n1,2\n2,much\n", &numbers).contains("row 2, column `y`: \"much\" is not a number"));
    assert!(refused("a,y\n1,2\n2,\n", &numbers).contains("row 2, column `y`: the target is empty"));
    assert!(refused("a,y\n1,2\n2,inf\n", &numbers).contains("row 2, column `y`: inf is infinite"));
}

#[test]
fn the_way_of_writing_is_told() {
    let folder = Folder::new();
    let path = folder.write("d.csv", "1.5;'a;b';-\n2;'it''s';x\n");
    let format = CsvFormat { delimiter: ';', quote: '\'', header: false, missing: Some(vec!["-".to_owned()]) };
    let table = Table::open(&path, &format, &Limits::default()).unwrap();
    assert_eq!(table.names(), ["column_0", "column_1", "column_2"]);
    let seen = survey(&table, &[0, 1, 2], &BTreeSet::new(), &()).unwrap();
    let kinds: Vec<ColumnKind> = seen.columns.iter().map(|column| column.kind).collect();
    assert_eq!((seen.n_rows, kinds), (2, vec![ColumnKind::Float, ColumnKind::Text, ColumnKind::Text]));
    assert_eq!(seen.columns[2].missing, 1);
    let texts: Vec<String> =
        seen.columns[1].values.as_ref().unwrap().iter().map(|(text, _)| text.to_string()).collect();
    assert_eq!(texts, ["a;b", "it's"]);
    for (format, field) in [
        (CsvFormat { delimiter: 'ü', ..CsvFormat::default() }, "csv.delimiter"),
        (CsvFormat { quote: '\n', ..CsvFormat::default() }, "csv.quote"),
    ] {
        let wrong = Table::open(&path, &format, &Limits::default()).unwrap_err();
        assert!(matches!(wrong, Error::Setting { field: named, .. } if named == field), "{wrong}");
    }
}

#[test]
fn compressed_files_are_the_same_data() {
    let folder = Folder::new();
    let (plain, _) = frame(&folder.write("d.csv", MIXED), &wish("target")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(MIXED.as_bytes()).unwrap();
    let zstd = zstd::encode_all(MIXED.as_bytes(), 3).unwrap();
    for content in [gzip.finish().unwrap(), zstd] {
        // The name says nothing: the first bytes do.
        let (unpacked, _) = frame(&folder.write("d.csv", &content), &wish("target")).unwrap();
        assert_eq!(unpacked.sha256().unwrap(), plain.sha256().unwrap());
        let cut = frame(&folder.write("d.csv", &content[..content.len() - 5]), &wish("target"));
        assert!(cut.is_err(), "a file that was cut is refused");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    let folder = Folder::new();
    let table = table(&folder.write("d.csv", "\u{feff}a,b\n1,2\n")).unwrap();
    assert_eq!(table.names(), ["a", "b"]);
}

#[test]
fn columns_are_left_out_or_taken_for_categories() {
    let folder = Folder::new();
    let path = folder.write("d.csv", "id,zip,size,y\nx1,10115,1,0\nx2,80331,2,1\nx3,10115,3,0\n");
    let asked = Wish { drop: vec!["id".to_owned()], categorical: vec!["zip".to_owned()], ..wish("y") };
    let (frame, prepared) = frame(&path, &asked).unwrap();
    assert_eq!(prepared.feature_names, ["zip", "size"]);
    assert_eq!(frame.categories()["zip"], ["10115", "80331"]);
    assert_eq!(frame.column(0), [0.0, 1.0, 0.0]);
    for wrong in [
        Wish { drop: vec!["nobody".to_owned()], ..wish("y") },
        Wish { categorical: vec!["nobody".to_owned()], ..wish("y") },
    ] {
        assert!(crate::frame(&path, &wrong).unwrap_err().to_string().contains("`nobody` is not in the header"));
    }
}

#[test]
fn a_column_of_weights_weighs_rows_and_is_no_feature() {
    let folder = Folder::new();
    let path = folder.write("d.csv", "a,w,b,y\n1,0.1,2,0\n3,0,4,1\n5,3,6,1\n");
    let asked = Wish { sample_weight: Some("w".to_owned()), ..wish("y") };
    let (frame, prepared) = frame(&path, &asked).unwrap();
    assert_eq!(prepared.feature_names, ["a", "b"]);
    // As exact as they are written, not rounded to float32 as features are.
    assert_eq!(frame.sample_weight(), Some(&[0.1, 0.0, 3.0][..]));
    assert_eq!((frame.column(1), frame.class_indexes()), (&[2.0, 4.0, 6.0][..], &[0, 1, 1][..]));
    let regression = Wish { kind: TargetKind::Values, ..asked.clone() };
    let (frame, _) = crate::frame(&path, &regression).unwrap();
    assert_eq!(frame.sample_weight(), Some(&[0.1, 0.0, 3.0][..]));
    for (text, says) in [
        (
            "a,w,y\n1,1,0\n2,-1,1\n",
            "row 2, column `w`: \"-1\" is no sample weight; each must be a finite number of 0 or more",
        ),
        ("a,w,y\n1,1,0\n2,,1\n", "row 2, column `w`: \"\" is no sample weight"),
        ("a,w,y\n1,heavy,0\n2,1,1\n", "row 1, column `w`: \"heavy\" is no sample weight"),
        ("a,w,y\n1,inf,0\n2,1,1\n", "row 1, column `w`: \"inf\" is no sample weight"),
        (
            "a,w,y\n1,0,0\n2,0,1\n",
            "column `w`: the sample weights add up to 0.0, their sum must be a finite number above 0",
        ),
        ("a,w,y\n1,1e308,0\n2,1e308,1\n", "column `w`: the sample weights add up to inf"),
        ("a,v,y\n1,1,0\n2,1,1\n", "column `w` is not in the header: a, v, y"),
        ("w,y\n1,0\n1,1\n", "the data set has no feature column"),
    ] {
        let error = refused(text, &asked);
        assert!(error.contains(says), "{error}");
    }
    let text = "a,w,y\n1,1,0\n2,1,1\n";
    let target = Wish { sample_weight: Some("y".to_owned()), ..wish("y") };
    assert_eq!(refused(text, &target), "`sample_weight`: `y` is the target");
    let dropped = Wish { drop: vec!["w".to_owned()], ..asked };
    assert_eq!(refused(text, &dropped), "`sample_weight`: `w` is left out (`drop`)");
}

#[test]
fn what_cannot_be_learned_from_is_named_by_its_place() {
    for (text, says) in [
        ("a,y\n1,0\n2\n", "line 3 (row 2) has 1 cells, the header has 2"),
        ("a,y\n1,0\n\"2\n2\",1\n3,0,4\n", "line 5 (row 3) has 3 cells"),
        ("a,y\n1,0\noops,1\n", "row 2, column `a`: \"oops\" is not a number, but other cells are"),
        ("a,y\n1,0\n1e39,1\n", "row 2, column `a`: 1e39 is infinite or too large for float32"),
        ("a,y\n1,0\n2,\n", "row 2, column `y`: the target is empty"),
        ("a,y\n1,0\n2,inf\n", "row 2, column `y`: inf is no class among numbers"),
        ("a,a,y\n1,2,0\n", "column name `a` appears more than once"),
        ("a,b\n1,0\n", "column `y` is not in the header: a, b"),
        ("y\n1\n", "no feature column"),
        ("a,y\n", "has no rows"),
        ("", "has no rows"),
        ("\n\n", "has no rows"),
    ] {
        let said = refused(text, &wish("y"));
        assert!(said.contains(says), "`{said}` does not say `{says}`");
    }
    let folder = Folder::new();
    let latin = frame(&folder.write("d.csv", b"a,y\n1,0\n\xe9,1\n"), &wish("y")).unwrap_err().to_string();
    assert!(latin.contains("line 3") && latin.contains("UTF-8"), "{latin}");
}

#[test]
fn limits_have_names() {
    let folder = Folder::new();
    let path = folder.write("d.csv", "a,y\n1,0\n2,1\n3,0\n");
    let open = |limits: Limits| {
        let table = Table::open(&path, &CsvFormat::default(), &limits)?;
        survey(&table, &[0], &BTreeSet::new(), &()).map(drop)
    };
    for (limits, says) in [
        (Limits { rows_max: 2, ..Limits::default() }, "more than 2 rows; raise --data-rows-max"),
        (Limits { bytes_max: 9, ..Limits::default() }, "more than 9 bytes; raise --data-bytes-max"),
        (Limits { columns_max: 1, ..Limits::default() }, "more than 1 columns"),
    ] {
        let said = open(limits).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
    open(Limits { rows_max: 3, bytes_max: 16, columns_max: 2 }).unwrap();
    // A small file that unpacks to a large one.
    let bomb = zstd::encode_all(
        &b"a,y\n".iter().copied().chain(std::iter::repeat_n(b'1', 1 << 22)).collect::<Vec<u8>>()[..],
        3,
    )
    .unwrap();
    let path = folder.write("bomb.csv", bomb);
    let limits = Limits { bytes_max: 1 << 20, ..Limits::default() };
    let table = Table::open(&path, &CsvFormat::default(), &limits).unwrap();
    assert!(survey(&table, &[0], &BTreeSet::new(), &()).is_err());
    let small = Wish { frame_bytes_max: 100, ..wish("y") };
    assert!(refused("a,y\n1,0\n2,1\n", &small).contains("more than 100 bytes as a frame; raise --artifact-bytes-max"));
    // Empty cells take one byte there, and four each in the frame that lies beside it.
    let path = folder.write("empty.csv", format!("{}y\n{}1\n{}0\n", "a,b,c,".replace(',', "1,"), ",,,", ",,,"));
    let frame_of = |bytes_max| {
        let table = Table::open(&path, &CsvFormat::default(), &Limits { bytes_max, ..Limits::default() }).unwrap();
        prepare(&table, &wish("y"), folder.dir.path(), &())
    };
    let bytes = frame_of(1 << 20).unwrap().bytes;
    assert!(bytes > path.metadata().unwrap().len());
    let refused = frame_of(bytes - 1).unwrap_err().to_string();
    assert!(refused.contains("raise --data-bytes-max (REGROVE_DATA_BYTES_MAX)"), "{refused}");
}

#[test]
fn too_many_texts_are_no_categories() {
    use std::fmt::Write as _;
    let mut text = "name,y\n".to_owned();
    for row in 0..=regrove_data::CATEGORIES_MAX {
        writeln!(text, "n{row},{}", row % 2).unwrap();
    }
    let said = refused(&text, &wish("y"));
    assert!(said.contains("more than 10000 distinct texts") && said.contains("drop"), "{said}");
}

#[test]
fn rows_to_predict_are_found_by_name() {
    let folder = Folder::new();
    let names = ["colour".to_owned(), "size".to_owned()];
    let categories: Categories = [("colour".to_owned(), vec!["blue".to_owned(), "red".to_owned()])].into();
    let wanted = Features { names: &names, categories: &categories };
    let read = |text: &str| {
        let mut rows = Vec::new();
        features(&table(&folder.write("p.csv", text))?, wanted, &mut |batch, before| {
            assert_eq!(before * 2, rows.len() as u64);
            rows.extend_from_slice(batch);
            Ok(())
        })?;
        Ok::<_, Error>(rows)
    };
    let rows = read("size,other,colour\n1.5,x,red\n2,y,blue\n,z,\n").unwrap();
    assert_eq!(rows[..4], [1.0, 1.5, 0.0, 2.0]);
    assert!(rows[4].is_nan() && rows[5].is_nan());
    let unknown = read("size,colour\n1,red\n2,mauve\n").unwrap_err().to_string();
    assert!(
        unknown.contains("row 2, column `colour`") && unknown.contains("mauve") && unknown.contains("blue, red"),
        "{unknown}"
    );
    let missing = read("size\n1\n").unwrap_err().to_string();
    assert!(missing.contains("`colour` is not in the header"), "{missing}");
}
