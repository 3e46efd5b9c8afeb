//! A frame in a file, cut into parts of its rows.

use regrove_data::{CutPart, Error, FrameHead, TargetKind, Wish, cut, prepare};
use regrove_forest::{Frame, Label, RowParts};

use crate::{Folder, table, wish};

/// 41 rows: a number, a text, what they weigh, and a target; class `c` has one row only.
fn csv() -> String {
    let row = |row: usize| {
        let class = if row == 20 { "c" } else { ["a", "b"][row % 2] };
        format!("{},{},0.{row},{class}\n", row * row, ["red", "blue", ""][row % 3])
    };
    format!("x,colour,w,y\n{}", (0..41).map(row).collect::<String>())
}

fn cut_file(
    folder: &Folder,
    (target, kind): (&str, TargetKind),
    n_parts: u32,
    bytes_max: u64,
) -> Result<(Frame, Vec<CutPart>), Error> {
    // Where the target is a number rows weigh 1.
    let sample_weight = (kind == TargetKind::Classes).then(|| "w".to_owned());
    let wish = Wish { kind, sample_weight, ..wish(target) };
    let prepared = prepare(&table(&folder.write("d.csv", csv())).unwrap(), &wish, folder.dir.path(), &()).unwrap();
    let classes: Vec<Label> = prepared.classes.iter().map(|(label, _)| label.clone()).collect();
    let head = FrameHead {
        n_samples: prepared.n_samples,
        feature_names: &prepared.feature_names,
        target,
        classes: (kind == TargetKind::Classes).then_some(&classes),
        categories: &prepared.categories,
        sample_weight: wish.sample_weight.is_some(),
    };
    let rows = RowParts::new(41, n_parts, 7).unwrap();
    let frame = Frame::from_bytes(&std::fs::read(prepared.file.path()).unwrap()).unwrap();
    let parts = cut(prepared.file.path(), &head, &rows, bytes_max, &folder.dir.path().join("parts"))?;
    Ok((frame, parts))
}

#[test]
fn a_part_is_the_frame_of_its_rows() {
    let folder = Folder::new();
    for (target, kind) in [("y", TargetKind::Classes), ("x", TargetKind::Values)] {
        for n_parts in [1, 2, 5, 41] {
            let (frame, parts) =
                cut_file(&folder, (target, kind), n_parts, 1 << 20).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(parts.len(), n_parts as usize);
            let rows = RowParts::new(41, n_parts, 7).unwrap();
            for (index, part) in (0..).zip(&parts) {
                let bytes = std::fs::read(&part.path).unwrap();
                let expected = rows.frame(&frame, index).unwrap();
                assert_eq!(expected.sample_weight().is_some(), kind == TargetKind::Classes);
                assert_eq!(bytes, expected.to_bytes().unwrap(), "part {index} of {n_parts}");
                assert_eq!((part.n_samples, part.bytes), (expected.n_samples() as u64, bytes.len() as u64));
                assert_eq!(part.sha256, expected.sha256().unwrap());
                let count =
                    |class: u32| expected.class_indexes().iter().filter(|index| **index == class).count() as u64;
                let counts: Vec<u64> = (0..).take(expected.classes().len()).map(count).collect();
                assert_eq!(part.class_rows, counts);
            }
        }
    }
    let (_, parts) = cut_file(&folder, ("y", TargetKind::Classes), 5, 1 << 20).unwrap();
    assert_eq!(parts.iter().filter(|part| part.class_rows[2] == 0).count(), 4, "class c is in one part only");
}

#[test]
fn a_part_that_is_too_large_is_refused() {
    let error = cut_file(&Folder::new(), ("y", TargetKind::Classes), 2, 100).unwrap_err().to_string();
    assert!(error.contains("more than 100 bytes as a part") && error.contains("REGROVE_ARTIFACT_BYTES_MAX"), "{error}");
}
