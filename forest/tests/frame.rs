//! Data sets in: CSV with its errors, the canonical form, synthetic sets by name.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use regrove_forest::datasets::{Synthetic, SyntheticError};
use regrove_forest::frame::{FrameError, FrameLayout, rows_from_csv};
use regrove_forest::{Error, Frame, FrameLimits, Label, Target};

fn read(csv: &str) -> Result<Frame, Error> {
    Frame::from_csv(csv.as_bytes(), "y", &FrameLimits::default())
}

fn refused(csv: &str, limits: &FrameLimits) -> String {
    Frame::from_csv(csv.as_bytes(), "y", limits).unwrap_err().to_string()
}

#[test]
fn columns_labels_and_missing_values() {
    let frame = read("a, y ,b\n1,10,\n-2.5,2,nan\n3e2,10,7\n").unwrap();
    assert_eq!(frame.feature_names(), ["a", "b"]);
    assert_eq!(frame.column(0), [1.0, -2.5, 300.0]);
    assert!(frame.column(1)[0].is_nan() && frame.column(1)[1].is_nan());
    assert_eq!(frame.classes(), [Label::Int(2), Label::Int(10)]);
    assert_eq!(frame.class_indexes(), [1, 0, 1]);
    assert_eq!(frame.rows()[4..], [300.0, 7.0]);
}

#[test]
fn labels_are_numbers_only_if_all_are() {
    let labels = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
        Label::from_cells(&cells)
    };
    assert_eq!(labels(&["1.0", "-3", "2.00"]), [Label::Int(1), Label::Int(-3), Label::Int(2)]);
    assert_eq!(labels(&["1", "x"]), [Label::Str("1".to_owned()), Label::Str("x".to_owned())]);
    assert_eq!(labels(&["1.5", "2."]), [Label::Float(1.5), Label::Float(2.0)]);
    // The two zeros are one class.
    assert_eq!(
        Target::from_labels(&labels(&["-0.0", "0", "0e1", "0.5"])),
        Target::from_labels(&labels(&["0", "0", "0", "0.5"]))
    );
    assert_eq!(labels(&["nan", "x"]), [Label::Str("nan".to_owned()), Label::Str("x".to_owned())]);
    assert_eq!(labels(&["True", "false"]), [Label::Bool(true), Label::Bool(false)]);
    assert_eq!(labels(&["true", "1"]), [Label::Str("true".to_owned()), Label::Str("1".to_owned())]);
    assert_eq!(serde_json::to_string(&labels(&["1", "x"])).unwrap(), r#"["1","x"]"#);
    assert_eq!(serde_json::from_str::<Vec<Label>>(r#"[1,"1"]"#).unwrap(), [Label::Int(1), Label::Str("1".to_owned())]);
    let all = [Label::Bool(true), Label::Int(2), Label::Float(2.0), Label::Str("x".to_owned())];
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(json, r#"[true,2,2.0,"x"]"#);
    assert_eq!(serde_json::from_str::<Vec<Label>>(&json).unwrap(), all);
    assert!(all.is_sorted());
    assert_eq!(all.map(|label| label.to_string()), ["True", "2", "2.0", "x"]);
}

/// As float64 the first two are one number.
#[test]
fn whole_numbers_beyond_64_bits_stay_apart() {
    let cells = ["18446744073709551615", "18446744073709551614", "-9223372036854775809.0"];
    let frame = read(&format!("a,y\n1,{}\n2,{}\n3,{}\n", cells[0], cells[1], cells[2])).unwrap();
    assert_eq!(frame.classes(), [cells[2], cells[1], cells[0]].map(|cell| Label::Str(cell.to_owned())));
    let largest = read("a,y\n1,9223372036854775807\n2,9223372036854775806\n").unwrap();
    assert_eq!(largest.classes(), [Label::Int(i64::MAX - 1), Label::Int(i64::MAX)]);
    let mixed = read("a,y\n1,0.5\n2,+18446744073709551615\n").unwrap();
    assert_eq!(mixed.classes(), [Label::Str("+18446744073709551615".to_owned()), Label::Str("0.5".to_owned())]);
    assert_eq!(read("a,y\n1,1e30\n2,.5\n").unwrap().classes(), [Label::Float(0.5), Label::Float(1e30)]);
}

/// scikit-learn 1.9.1 raises "Input y contains NaN" and "Input y contains infinity".
#[test]
fn a_class_among_numbers_is_a_number() {
    for (csv, row, cell) in [
        ("a,y\n1,nan\n2,1\n", 1, "nan"),
        ("a,y\n1,1.5\n2,inf\n", 2, "inf"),
        ("a,y\n1,1\n2,2\n3,-Infinity\n", 3, "-Infinity"),
        ("a,y\n1,18446744073709551615\n2,NaN\n", 2, "NaN"),
    ] {
        let error = Frame::from_csv(csv.as_bytes(), "y", &FrameLimits::default()).unwrap_err();
        let expected = FrameError::NotAClass { row, column: "y".to_owned(), cell: cell.to_owned() };
        assert!(matches!(&error, Error::Frame(error) if *error == expected), "{error}");
        let message = format!(
            "row {row}, column `y`: {cell} is no class among numbers; leave the row out, or write its class as a number or \
             all classes as texts"
        );
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(read("a,y\nnan,nan\n2,x\n").unwrap().classes().len(), 2, "a text among texts");
}

#[test]
fn bad_csv_is_refused_with_its_place() {
    let limits = FrameLimits::default();
    for (csv, reason) in [
        ("", "column `y` is not in the header: "),
        ("a,y\n", "the data set has no rows"),
        ("y\n1\n", "the data set has no feature column"),
        ("a,b\n1,2\n", "column `y` is not in the header: a, b"),
        ("a,a,y\n1,2,3\n", "column name `a` appears more than once"),
        ("a,y\n1,2\n1,2,3\n", "row 2 has 3 cells, the header has 2"),
        ("a,y\n1,2\n1\n", "row 2 has 1 cells, the header has 2"),
        ("a,y\n1,2\nx,2\n", "row 2, column `a`: \"x\" is not a number"),
        ("a,y\n1e39,2\n", "row 1, column `a`: 1e39 is infinite or too large for float32"),
        ("a,y\n-inf,2\n", "row 1, column `a`: -inf is infinite or too large for float32"),
        ("a,y\n1,\n", "row 1, column `y`: the target is empty"),
    ] {
        assert_eq!(refused(csv, &limits), reason, "{csv:?}");
    }
    let error = Frame::from_csv(&b"a,y\n\xff,1\n"[..], "y", &limits).unwrap_err();
    assert_eq!(error.to_string(), "row 1: not valid UTF-8");
    let error = Frame::from_csv_regression(&b"a,y\n1,2.5\n1,x\n"[..], "y", &limits).unwrap_err();
    assert_eq!(error.to_string(), "row 2, column `y`: \"x\" is not a number");
}

#[test]
fn rows_to_predict_are_found_by_name() {
    let names = ["b".to_owned(), "a".to_owned()];
    let read =
        |csv: &str| rows_from_csv(csv.as_bytes(), &names, &FrameLimits::default()).map_err(|error| error.to_string());
    assert_eq!(read("a,note,b\n1,x,2\n3,,4\n").unwrap(), [2.0, 1.0, 4.0, 3.0]);
    assert!(read("a,b\n1,\n").unwrap()[0].is_nan());
    assert!(read("a,b\n").unwrap().is_empty());
    assert_eq!(read("a,c\n1,2\n").unwrap_err(), "column `b` is not in the header: a, c");
    assert_eq!(read("a,b,b\n1,2,3\n").unwrap_err(), "column name `b` appears more than once");
    assert_eq!(read("a,b\n1,2\n1,z\n").unwrap_err(), "row 2, column `b`: \"z\" is not a number");
    assert_eq!(read("a,b\n1\n").unwrap_err(), "row 1 has 1 cells, the header has 2");
}

#[test]
fn limits_hold() {
    let csv = "a,y\n1,2\n3,4\n";
    let limits = FrameLimits { rows_max: 2, columns_max: 2, bytes_max: csv.len() as u64 };
    assert_eq!(Frame::from_csv(csv.as_bytes(), "y", &limits).unwrap().n_samples(), 2);
    let with = |change: &dyn Fn(&mut FrameLimits)| {
        let mut limits = limits;
        change(&mut limits);
        refused(csv, &limits)
    };
    let hint = "raise the limit or use a smaller set";
    assert_eq!(with(&|limits| limits.rows_max = 1), format!("the data set has more than 1 rows; {hint}"));
    assert_eq!(with(&|limits| limits.columns_max = 1), format!("the data set has more than 1 columns; {hint}"));
    assert_eq!(with(&|limits| limits.bytes_max = 11), format!("the data set has more than 11 bytes; {hint}"));
}

fn small() -> Frame {
    read("a,b,y\n1,2,x\n3,,z\n5,6,x\n").unwrap()
}

#[test]
fn the_canonical_form_keeps_everything_and_never_changes() {
    let frame = small();
    let bytes = frame.to_bytes().unwrap();
    let back = Frame::from_bytes(&bytes).unwrap();
    assert_eq!(back.to_bytes().unwrap(), bytes);
    assert_eq!((back.classes(), back.class_indexes()), (frame.classes(), frame.class_indexes()));
    // Jobs name their data by this hash: it must stay the same in every later version.
    assert_eq!(frame.sha256().unwrap(), "d6ed8564d03dd3da3942f8985fb21218a5acc84fe14d402149fe277bc1f625c6");
    let numbers = Frame::new(vec!["a".to_owned()], vec![1.0, 2.0], "y", Target::Values(vec![0.5, -1.0])).unwrap();
    assert_eq!(Frame::from_bytes(&numbers.to_bytes().unwrap()).unwrap(), numbers);
}

#[test]
fn a_cut_or_longer_canonical_form_is_refused() {
    let bytes = small().to_bytes().unwrap();
    for len in 0..bytes.len() {
        assert!(matches!(Frame::from_bytes(&bytes[..len]), Err(Error::Frame(_))), "cut at {len}");
    }
    assert!(Frame::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn no_flipped_bit_makes_the_reader_panic() {
    let bytes = small().to_bytes().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            // Another frame or an error; either way the caller compares the hash.
            if let Ok(frame) = Frame::from_bytes(&changed) {
                assert_ne!(frame.sha256().unwrap(), small().sha256().unwrap(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn rows_can_be_taken_in_any_order_and_more_than_once() {
    let part = small().take(&[2, 0, 2]).unwrap();
    assert_eq!(part.column(0), [5.0, 1.0, 5.0]);
    assert_eq!(part.class_indexes(), [0, 0, 0]);
    assert_eq!(part.classes().len(), 2);
    assert!(matches!(small().take(&[]), Err(FrameError::NoRows)));
    assert!(matches!(small().take(&[3]), Err(FrameError::Index { index: 3, bound: 3, .. })));
}

#[test]
fn parts_that_do_not_fit_make_no_frame() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let target = || Target::Values(vec![1.0, 2.0]);
    let new =
        |features: &[&str], columns: Vec<f32>, target| Frame::new(names(features), columns, "y", target).unwrap_err();
    assert!(matches!(new(&["a"], vec![1.0], target()), FrameError::Length { got: 1, expected: 2, .. }));
    assert!(matches!(new(&["y"], vec![1.0, 2.0], target()), FrameError::DuplicateName(_)));
    assert!(matches!(new(&["a"], vec![1.0, f32::INFINITY], target()), FrameError::OutOfRange { row: 2, .. }));
    let classes = Target::Classes { classes: vec![Label::Int(0)], indexes: vec![0, 1] };
    assert!(matches!(new(&["a"], vec![1.0, 2.0], classes), FrameError::Index { index: 1, bound: 1, .. }));
}

#[test]
fn a_synthetic_set_is_read_written_and_refused_by_name() {
    let text = "make_classification?n_samples=30&n_features=5&n_informative=3&random_state=7";
    for more in ["", "&weights=0.25&shift=none&scale=1,2,3,4,5", "&weights=0.5,0.75&shift=-0.5&scale=none"] {
        let synthetic = Synthetic::parse(&format!("{text}{more}")).unwrap();
        assert_eq!(Synthetic::parse(&synthetic.to_string()).unwrap(), synthetic);
        assert_eq!(synthetic.frame().unwrap().n_samples(), 30);
    }
    for (text, reason) in [
        ("make_moons?n_samples=3", "unknown generator `make_moons`; known: make_classification, make_regression"),
        ("make_regression?effective_rank=3", "make_regression has no argument `effective_rank`"),
        ("make_classification?rows=3", "make_classification has no argument `rows`"),
        ("make_classification?n_samples=3&n_samples=4", "argument `n_samples` is given twice"),
        ("make_classification?n_samples=x", "`n_samples` must be a whole number, got \"x\""),
        ("make_classification?shuffle=1", "`shuffle` must be true or false, got \"1\""),
        ("make_classification?scale=1,x", "`scale` must be numbers with commas between them, or none, got \"1,x\""),
    ] {
        assert_eq!(Synthetic::parse(text).unwrap_err().to_string(), reason);
    }
    let regression =
        Synthetic::parse("make_regression?n_samples=30&n_features=5&noise=0.5&bias=-2&random_state=7").unwrap();
    assert_eq!(Synthetic::parse(&regression.to_string()).unwrap(), regression);
    assert!(matches!(regression.frame().unwrap().target(), Target::Values(values) if values.len() == 30));
    for text in ["n_samples=0", "n_features=0", "noise=-1", "bias=inf", "n_samples=99999999999"] {
        let synthetic = Synthetic::parse(&format!("make_regression?{text}")).unwrap();
        assert!(matches!(synthetic.frame(), Err(Error::Synthetic(SyntheticError::Range { .. }))), "{text}");
    }
    for text in [
        "n_samples=0",
        "n_features=3&n_informative=4",
        "n_informative=1",
        "flip_y=2",
        "class_sep=0",
        "weights=0.2,0.3,0.5",
        "weights=1.5",
        "weights=0.5,nan",
        "weights=-0.5,1",
        "shift=1,2,3",
        "shift=inf",
        "scale=nan",
        "n_samples=99999999999999",
    ] {
        let synthetic = Synthetic::parse(&format!("make_classification?{text}")).unwrap();
        assert!(matches!(synthetic.frame(), Err(Error::Synthetic(SyntheticError::Range { .. }))), "{text}");
    }
}

#[test]
fn categories_belong_to_the_data() {
    let target = Target::from_labels(&[Label::Int(0), Label::Int(1), Label::Int(0)]);
    let plain = Frame::new(vec!["colour".to_owned()], vec![1.0, f32::NAN, 0.0], "target", target).unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let with = |name: &str, known: &[&str]| plain.clone().with_categories([(name.to_owned(), texts(known))].into());
    let frame = with("colour", &["blue", "red"]).unwrap();
    assert_ne!(frame.sha256().unwrap(), plain.sha256().unwrap(), "other meanings, other data");
    let again = Frame::from_bytes(&frame.to_bytes().unwrap()).unwrap();
    assert_eq!((again.sha256().unwrap(), again.categories()), (frame.sha256().unwrap(), frame.categories()));
    assert_eq!(frame.take(&[1, 0]).unwrap().categories(), frame.categories());
    let params = regrove_forest::RandomForestParams { n_estimators: 2, ..Default::default() };
    let forest = regrove_forest::fit(&frame, &params).unwrap();
    let model = regrove_forest::Model::from_bytes(std::sync::Arc::new(forest.to_bytes().unwrap())).unwrap();
    assert_eq!(model.categories()["colour"], ["blue", "red"]);
    assert_eq!(model.to_forest().unwrap().categories(), frame.categories());
    for (name, known, reason) in [
        ("size", &["blue", "red"][..], "no such feature"),
        ("colour", &["red", "blue"], "ascending"),
        ("colour", &["red", "red"], "distinct"),
        ("colour", &["red"], "not the number of a text"),
    ] {
        let refused = with(name, known).unwrap_err().to_string();
        assert!(refused.contains(reason) && refused.contains(name), "{refused}");
    }
}

#[test]
fn the_layout_is_that_of_the_bytes() {
    let target = Target::from_labels(&[Label::Str("b".to_owned()), Label::Str("a".to_owned())]);
    let names = vec!["x".to_owned(), "y".to_owned()];
    let frame = Frame::new(names.clone(), vec![1.0, 2.0, 3.0, 4.0], "t", target).unwrap();
    let bytes = frame.to_bytes().unwrap();
    let layout =
        |weighted| FrameLayout::new(2, &names, "t", Some(frame.classes()), frame.categories(), weighted).unwrap();
    let (weighted, layout) = (layout(true), layout(false));
    assert_eq!((layout.bytes(), layout.sample_weight()), (bytes.len() as u64, None));
    let at = |place: u64, length: usize| &bytes[usize::try_from(place).unwrap()..][..length];
    assert_eq!(at(0, layout.head().len()), layout.head());
    assert_eq!(at(layout.column(1), 4), 3.0_f32.to_le_bytes());
    assert_eq!(at(layout.target(), 8), [1, 0, 0, 0, 0, 0, 0, 0]);
    let bytes = frame.clone().with_sample_weight(vec![0.5, 2.0]).unwrap().to_bytes().unwrap();
    assert_eq!(weighted.bytes(), bytes.len() as u64);
    let place = usize::try_from(weighted.sample_weight().unwrap()).unwrap();
    assert_eq!(bytes[place..], [0.5_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat());
}

#[test]
fn weights_of_rows_go_along_and_are_part_of_what_a_frame_is() {
    let plain = small();
    let n = plain.n_samples();
    let weights: Vec<f64> = (0_u32..).take(n).map(|row| f64::from(row) / 2.0).collect();
    let frame = plain.clone().with_sample_weight(weights.clone()).unwrap();
    assert_ne!(frame.sha256().unwrap(), plain.sha256().unwrap());
    let bytes = frame.to_bytes().unwrap();
    let read = Frame::from_bytes(&bytes).unwrap();
    assert_eq!(read.sample_weight(), Some(&weights[..]));
    assert!(read.to_bytes().unwrap() == bytes);
    assert_eq!(read.sha256().unwrap(), frame.sha256().unwrap());
    assert_eq!(frame.take(&[1, 0, 1]).unwrap().sample_weight(), Some(&[0.5, 0.0, 0.5][..]));
    assert_eq!(plain.take(&[1]).unwrap().sample_weight(), None);
    for length in 0..bytes.len() {
        assert!(Frame::from_bytes(&bytes[..length]).is_err(), "cut after {length} bytes");
    }
    let with = |weight| plain.clone().with_sample_weight(vec![weight; n]).unwrap_err().to_string();
    for weight in [-0.5, f64::NAN, f64::INFINITY] {
        let says = format!("row 1: the sample weight is {weight:?}, it must be a finite number of 0.0 or more");
        assert_eq!(with(weight), says);
        let mut bytes = bytes.clone();
        let last = bytes.len() - 8;
        bytes[last..].copy_from_slice(&weight.to_le_bytes());
        assert!(Frame::from_bytes(&bytes).unwrap_err().to_string().starts_with(&format!("row {n}: the sample weight")));
    }
    let few = plain.clone().with_sample_weight(vec![1.0; n - 1]).unwrap_err();
    assert!(matches!(few, FrameError::Length { what: "sample_weight", .. }), "{few}");
}

/// Rows that no index type can number, claimed by a few bytes or by a name: refused before memory is asked for.
#[test]
fn claims_of_four_billion_rows_are_refused() {
    let mut bytes = small().to_bytes().unwrap();
    for rows in [1_u64 << 32, 1 << 61, u64::MAX] {
        bytes[16..24].copy_from_slice(&rows.to_le_bytes());
        let error = Frame::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{rows}: {error}");
    }
    for (call, argument) in [
        ("make_classification?n_samples=4294967296", "n_samples"),
        ("make_regression?n_samples=4294967296", "n_samples"),
        ("make_regression?n_samples=1000000000&n_features=4", "n_samples"),
        ("make_regression?n_samples=1&n_features=100001", "n_features"),
        // Matrices of ten thousand million numbers, and as many centroids.
        ("make_classification?n_samples=1&n_features=100000&n_informative=100000&n_redundant=0", "n_informative"),
        ("make_classification?n_samples=1&n_features=100000&n_informative=20000&n_redundant=80000", "n_informative"),
        (
            "make_classification?n_samples=1&n_features=30&n_informative=30&n_redundant=0&n_classes=1073741824\
             &n_clusters_per_class=1",
            "n_classes",
        ),
    ] {
        let error =
            Synthetic::parse(call).map_err(regrove_forest::Error::from).and_then(|set| set.frame()).unwrap_err();
        let named = matches!(&error, Error::Synthetic(SyntheticError::Range { name, .. }) if *name == argument);
        assert!(named, "{call}: {error}");
    }
}
