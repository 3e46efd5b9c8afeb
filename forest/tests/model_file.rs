//! The native file: what it keeps, what it refuses, that it stays readable.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use regrove_forest::{
    Error, Estimator, Forest, Frame, FrameLimits, Label, Level, Model, RandomForestParams, Target, fit, model_file,
    onnx,
};

fn iris() -> Frame {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sklearn/iris.csv");
    Frame::from_csv(std::fs::File::open(path).unwrap(), "target", &FrameLimits::default()).unwrap()
}

fn forest(n_estimators: u32) -> Forest {
    fit(&iris(), &RandomForestParams { n_estimators, ..RandomForestParams::default() }).unwrap()
}

fn read(bytes: Vec<u8>) -> Result<Model, Error> {
    Model::from_bytes(Arc::new(bytes))
}

#[test]
fn the_full_file_keeps_the_forest_and_the_serving_file_its_answers() {
    let forest = forest(5);
    let full = read(forest.to_bytes().unwrap()).unwrap();
    assert_eq!(full.to_forest().unwrap(), forest);
    let serving = read(forest.to_serving_bytes().unwrap()).unwrap();
    assert!(serving.as_bytes().len() * 3 < full.as_bytes().len());
    assert!(serving.to_forest().is_err());
    let mut rows = iris().rows();
    rows[17] = f32::NAN;
    let expected = forest.predict_proba(&rows).unwrap();
    for model in [full, serving] {
        let mut proba = vec![0.0; expected.len()];
        model.predict_proba_rows(&rows, 150, &mut proba).unwrap();
        assert_eq!(proba, expected);
        assert_eq!(model.predict_rows(&rows, 150).unwrap(), forest.predict(&rows).unwrap());
        assert_eq!(model.classes(), [Label::Int(0), Label::Int(1), Label::Int(2)]);
        assert_eq!((model.n_trees(), model.is_whole(), model.data_sha256()), (5, true, Some(forest.data_sha256())));
    }
}

#[test]
fn one_row_and_many_rows_give_the_same_bits() {
    let model = read(forest(7).to_serving_bytes().unwrap()).unwrap();
    let rows = iris().rows();
    let mut all = vec![0.0; 450];
    model.predict_proba_rows(&rows, 150, &mut all).unwrap();
    for (row, expected) in rows.chunks_exact(4).zip(all.chunks_exact(3)) {
        let mut one = vec![0.0; 3];
        model.predict_proba_rows(row, 1, &mut one).unwrap();
        assert_eq!(one, expected);
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let model = read(forest(1).to_serving_bytes().unwrap()).unwrap();
    let predict = |rows: &[f32], n_rows, out: usize| {
        model.predict_proba_rows(rows, n_rows, &mut vec![0.0; out]).map_err(|error| error.to_string())
    };
    assert_eq!(predict(&[1.0; 3], 1, 3).unwrap_err(), "rows has length 3, expected 4");
    assert_eq!(predict(&[1.0; 4], 1, 2).unwrap_err(), "out has length 2, expected 3");
    assert_eq!(predict(&[1.0; 4], usize::MAX, 3).unwrap_err(), format!("rows has length 4, expected {}", usize::MAX));
    let error = predict(&[1.0, 1.0, f32::NEG_INFINITY, 1.0], 1, 3).unwrap_err();
    assert_eq!(error, "row 0, feature `f2`: -inf is infinite or too large for float32");
    assert!(predict(&[], 0, 0).is_ok());
}

#[test]
fn a_file_cut_anywhere_or_made_longer_is_refused() {
    let bytes = forest(2).to_bytes().unwrap();
    for len in 0..bytes.len() {
        let error = read(bytes[..len].to_vec()).unwrap_err();
        assert!(matches!(error, Error::ModelFile(_)), "cut at {len}: {error}");
    }
    assert!(read([bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = forest(1).to_serving_bytes().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(matches!(read(changed), Err(Error::ModelFile(_))), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn without_the_hash_a_flipped_bit_gives_an_error_or_an_answer_but_no_panic() {
    let bytes = forest(2).to_bytes().unwrap();
    let rows = iris().rows();
    let mut usable = 0;
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(model) = Model::from_verified_bytes(Arc::new(changed)) {
                let n_rows = rows.len() / model.n_features();
                let mut out = vec![0.0; n_rows * model.n_outputs()];
                let _ = model.predict_proba_rows(&rows[..n_rows * model.n_features()], n_rows, &mut out);
                let _ = model.to_forest().map(|forest| forest.feature_importances());
                usable += 1;
            }
        }
    }
    assert!(usable > 0, "thresholds may change without notice, so some files must be usable");
}

#[test]
fn bytes_at_odd_addresses_are_usable() {
    struct Odd(Vec<u8>);
    impl AsRef<[u8]> for Odd {
        fn as_ref(&self) -> &[u8] {
            &self.0[1..]
        }
    }
    let bytes = forest(2).to_serving_bytes().unwrap();
    let model = Model::from_bytes(Arc::new(Odd([&[0], bytes.as_slice()].concat()))).unwrap();
    assert_eq!(model.as_bytes(), bytes);
    assert_eq!(model.predict_rows(&iris().rows(), 150).unwrap(), forest(2).predict(&iris().rows()).unwrap());
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden").join(name)
}

#[test]
fn a_mapped_file_answers_in_place() {
    for name in ["iris-v1.rgf", "iris-v3.rgf"] {
        let bytes = model_file::map(&std::fs::File::open(golden(name)).unwrap()).unwrap();
        let address = (*bytes).as_ref().as_ptr();
        let model = Model::from_bytes(bytes).unwrap();
        assert_eq!(model.as_bytes().as_ptr(), address, "nothing was copied");
        assert_eq!(model.predict_rows(&iris().rows(), 150).unwrap(), forest(3).predict(&iris().rows()).unwrap());
    }
}

#[test]
fn every_version_stays_readable_and_the_newest_written() {
    let written = forest(3).to_bytes().unwrap();
    for name in ["iris-v1.rgf", "iris-v3.rgf"] {
        let model = read(std::fs::read(golden(name)).unwrap()).unwrap();
        assert_eq!(model.to_forest().unwrap(), forest(3), "{name}");
        for level in Level::all() {
            let model = model.with_level(level).unwrap();
            assert_eq!(model.predict_rows(&iris().rows(), 150).unwrap(), forest(3).predict(&iris().rows()).unwrap());
        }
    }
    assert_eq!(written, std::fs::read(golden("iris-v3.rgf")).unwrap());
}

#[test]
fn an_imported_model_stays_readable_and_written() {
    let bytes = onnx::export(&forest(3)).unwrap();
    let imported = onnx::import(&bytes, &onnx::Limits::default()).unwrap();
    assert_eq!(imported.as_bytes(), std::fs::read(golden("iris-v2.rgf")).unwrap());
    let model = read(std::fs::read(golden("iris-v2.rgf")).unwrap()).unwrap();
    assert_eq!((model.producer(), model.params(), model.n_trees()), (Some("regrove"), None, 3));
    assert_eq!(model.feature_names(), iris().feature_names());
    for level in Level::all() {
        let model = model.with_level(level).unwrap();
        assert_eq!(model.predict_rows(&iris().rows(), 150).unwrap(), forest(3).predict(&iris().rows()).unwrap());
    }
    assert!(model.to_forest().is_err());
}

fn data(name: &str, read: fn(std::fs::File, &str, &FrameLimits) -> Result<Frame, Error>) -> Frame {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sklearn").join(name);
    read(std::fs::File::open(path).unwrap(), "target", &FrameLimits::default()).unwrap()
}

/// Small models of other kinds than iris, and the data they were grown on: numbers, missing values, classes that are words.
fn other_kinds() -> [(&'static str, Forest, Frame); 3] {
    let numbers = data("diabetes.csv", Frame::from_csv_regression);
    let mut columns = iris().columns().to_vec();
    columns.iter_mut().step_by(7).for_each(|value| *value = f32::NAN);
    let holes = Frame::new(iris().feature_names().to_vec(), columns, "target", iris().target().clone()).unwrap();
    let wine = data("wine.csv", Frame::from_csv);
    let names = ["white", "rosé", "red"];
    let labels: Vec<Label> =
        wine.class_indexes().iter().map(|class| Label::Str(names[*class as usize].to_owned())).collect();
    let target = Target::from_labels(&labels);
    let words = Frame::new(wine.feature_names().to_vec(), wine.columns().to_vec(), "colour", target).unwrap();
    [
        ("regressor", numbers, Estimator::RandomForestRegressor),
        ("missing", holes, Estimator::ExtraTreesClassifier),
        ("words", words, Estimator::RandomForestClassifier),
    ]
    .map(|(name, frame, estimator)| {
        let params = RandomForestParams { n_estimators: 2, max_depth: Some(3), ..RandomForestParams::of(estimator) };
        (name, fit(&frame, &params).unwrap(), frame)
    })
}

/// What a model answers for every tenth row of its data, a row per line, each number with all its digits.
fn answers(model: &Model, frame: &Frame) -> String {
    let mut lines = String::new();
    for row in frame.rows().chunks_exact(frame.n_features()).step_by(10) {
        let mut numbers = vec![0.0; model.n_outputs()];
        model.predict_proba_rows(row, 1, &mut numbers).unwrap();
        let label = if model.is_regressor() { String::new() } else { model.label(&numbers).to_string() };
        let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:?}")).collect();
        writeln!(lines, "{label},{}", numbers.join(",")).unwrap();
    }
    lines
}

#[test]
fn files_of_other_kinds_stay_readable_and_written_and_answer_as_ever() {
    for (name, forest, frame) in other_kinds() {
        let file = std::fs::read(golden(&format!("{name}-v3.rgf"))).unwrap();
        let said = std::fs::read_to_string(golden(&format!("{name}-v3.answers.csv"))).unwrap();
        let model = read(file.clone()).unwrap();
        assert_eq!(model.to_forest().unwrap(), forest, "{name}");
        assert_eq!(forest.to_bytes().unwrap(), file, "{name}");
        for level in Level::all() {
            let model = read(file.clone()).unwrap().with_level(level).unwrap();
            assert_eq!(answers(&model, &frame), said, "{name} with {level:?}");
        }
    }
}
