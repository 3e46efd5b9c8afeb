//! ONNX in and out, against ONNX Runtime itself.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failure is the answer")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use regrove_forest::datasets::Synthetic;
use regrove_forest::onnx::{Limits, export, export_model, import};
use regrove_forest::params::Splitter;
use regrove_forest::{Estimator, Forest, Frame, FrameLimits, Label, Model, RandomForestParams, Target, Tree, fit};
use serde::Deserialize;

/// Environments with other versions of ONNX Runtime, beside that of the tests.
const OLDER: [&str; 2] = ["venv-onnxruntime-1.20", "venv-onnxruntime-1.26"];

/// The Python environment of the tests.
fn venv() -> PathBuf {
    let venv = std::env::var_os("REGROVE_TEST_VENV");
    PathBuf::from(venv.expect("REGROVE_TEST_VENV names the Python environment of the tests: run `cargo xtask test`"))
}

/// Runs a script of `tests/python` in an environment.
fn python(venv: &Path, script: &str, args: &[&OsStr]) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let run = Command::new(venv.join("bin/python")).arg(&script).args(args).output().unwrap();
    assert!(run.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&run.stderr));
}

/// A model's rows and what ONNX Runtime answers.
#[derive(Deserialize)]
struct Case {
    n_rows: usize,
    n_features: usize,
    labels: Option<Vec<Label>>,
    numbers: Vec<Vec<Option<f64>>>,
}

impl Case {
    fn read(folder: &Path, name: &str) -> (Self, Vec<f32>) {
        let case: Self = serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        let bytes = std::fs::read(folder.join(format!("{name}.rows"))).unwrap();
        let rows: Vec<f32> = bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
        assert_eq!(rows.len(), case.n_rows * case.n_features, "{name}");
        (case, rows)
    }

    /// Compares a model's answers with ONNX Runtime's: labels, and numbers within 1e-6.
    fn check(&self, name: &str, model: &Model, rows: &[f32]) {
        // Its float32 approximation is that far from itself where terms cancel.
        let tolerance = if name == "hand-probit" { 1e-5 } else { 1e-6 };
        assert_eq!(model.n_features(), self.n_features, "{name}");
        let n_outputs = model.n_outputs();
        let mut numbers = vec![0.0; self.n_rows * n_outputs];
        model.predict_proba_rows(rows, self.n_rows, &mut numbers).unwrap();
        for (row, (got, expected)) in numbers.chunks_exact(n_outputs).zip(&self.numbers).enumerate() {
            assert_eq!(got.len(), expected.len(), "{name}");
            for (got, expected) in got.iter().zip(expected) {
                let close = match expected {
                    Some(expected) => (got - expected).abs() <= tolerance * expected.abs().max(1.0),
                    // It divides by zero where all scores are zero.
                    None => got.is_nan() || name.contains("softmax_zero") && got.abs() < tolerance,
                };
                assert!(close, "row {row} of {name}: {got} for {expected:?}");
            }
        }
        if let Some(labels) = &self.labels {
            assert_eq!(&model.predict_rows(rows, self.n_rows).unwrap(), labels, "{name}");
        } else {
            assert!(model.is_regressor(), "{name}");
        }
    }
}

#[test]
fn imported_models_answer_as_onnx_runtime_does() {
    let folder = tempfile::tempdir().unwrap();
    python(&venv(), "make_onnx_models.py", &[folder.path().as_os_str()]);
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 59, "{names:?}");
    for name in &names {
        let (case, rows) = Case::read(folder.path(), name);
        let bytes = std::fs::read(folder.path().join(format!("{name}.onnx"))).unwrap();
        let model = import(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        case.check(name, &model, &rows);
        if let Ok(bytes) = export_model(&model) {
            let again = import(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            case.check(name, &again, &rows);
        } else {
            assert!(name.contains("probit") || name.contains("softmax_zero"), "{name}");
        }
        // The native file keeps all of it.
        let again = Model::from_bytes(Arc::new(model.as_bytes().to_vec())).unwrap();
        case.check(name, &again, &rows);
    }
}

fn csv(name: &str) -> Frame {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sklearn").join(name);
    Frame::from_csv(std::fs::File::open(path).unwrap(), "target", &FrameLimits::default()).unwrap()
}

/// A data set with holes, classes that are words, and a number in place of the classes.
fn with_holes() -> (Frame, Frame) {
    let uri = "make_classification?n_samples=400&n_features=7&n_informative=5&n_redundant=0&n_classes=3&random_state=5";
    let frame = Synthetic::parse(uri).unwrap().frame().unwrap();
    let mut columns: Vec<f32> = (0..7).flat_map(|feature| frame.column(feature).to_vec()).collect();
    columns.iter_mut().step_by(9).for_each(|value| *value = f32::NAN);
    let names = || frame.feature_names().to_vec();
    let words = ["no", "perhaps", "yes"];
    let labels: Vec<Label> =
        frame.class_indexes().iter().map(|class| Label::Str(words[*class as usize].to_owned())).collect();
    let values =
        frame.column(0).iter().zip(frame.class_indexes()).map(|(x, class)| f64::from(x * x) - f64::from(*class));
    let numbers = Target::Values(values.collect());
    let classes = Frame::new(names(), columns.clone(), "target", Target::from_labels(&labels)).unwrap();
    (classes, Frame::new(names(), columns, "target", numbers).unwrap())
}

/// Nodes of a forest whose thresholds are asked for, evenly over all of them.
const NODES_ASKED: usize = 3000;
/// What float32 has beside ordinary numbers: no value, zeros of both signs, the largest and smallest numbers, denormals.
const ODD_VALUES: [f32; 10] =
    [f32::NAN, 0.0, -0.0, 3.4e38, -3.4e38, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-40];

/// Rows where an answer turns: for each node asked for, a training row that comes by, with the node's feature at its
/// threshold and at the float32 numbers next to it; and training rows with odd values.
fn edges(forest: &Forest, frame: &Frame) -> Vec<f32> {
    let (rows, width) = (frame.rows(), frame.n_features());
    let mut edges = Vec::new();
    let mut push = |row: &[f32], feature: usize, value: f32| {
        edges.extend_from_slice(row);
        let at = edges.len() - width + feature;
        edges[at] = value;
    };
    let step = forest.trees().iter().map(Tree::node_count).sum::<usize>().div_ceil(NODES_ASKED);
    let mut nodes_before = 0;
    for tree in forest.trees() {
        for (node, row) in first_rows(tree, &rows, width).into_iter().enumerate() {
            if let Some(row) = row.filter(|_| !tree.is_leaf(node) && (nodes_before + node).is_multiple_of(step)) {
                #[expect(clippy::cast_possible_truncation, reason = "a neighbour of the threshold will do")]
                let threshold = tree.threshold[node] as f32;
                let feature = usize::try_from(tree.feature[node]).unwrap();
                // A cut between values and no value lies at infinity, which no row may have.
                let near = [threshold.next_down(), threshold, threshold.next_up()];
                for value in near.into_iter().filter(|value| value.is_finite()) {
                    push(row, feature, value);
                }
            }
        }
        nodes_before += tree.node_count();
    }
    for (at, row) in rows.chunks_exact(width).step_by(7).enumerate() {
        for value in ODD_VALUES {
            push(row, at % width, value);
        }
    }
    for value in ODD_VALUES {
        edges.resize(edges.len() + width, value);
    }
    edges
}

/// For each node of a tree the first row that comes by.
fn first_rows<'a>(tree: &Tree, rows: &'a [f32], width: usize) -> Vec<Option<&'a [f32]>> {
    let mut first = vec![None; tree.node_count()];
    for row in rows.chunks_exact(width) {
        let mut node = 0;
        loop {
            first[node].get_or_insert(row);
            if tree.is_leaf(node) {
                break;
            }
            let value = f64::from(row[usize::try_from(tree.feature[node]).unwrap()]);
            let left = if value.is_nan() { tree.missing_go_to_left[node] } else { value <= tree.threshold[node] };
            let children = if left { &tree.children_left } else { &tree.children_right };
            node = usize::try_from(children[node]).unwrap();
        }
    }
    first
}

/// Forests of every kind, and rows to ask them: those they were grown on, and their edges.
fn forests() -> Vec<(&'static str, Forest, Vec<f32>)> {
    let asked = |name, forest: Forest, frame: &Frame| {
        let rows = [frame.rows(), edges(&forest, frame)].concat();
        (name, forest, rows)
    };
    let grow = |name, frame: &Frame, estimator, n_estimators, max_depth| {
        let params = RandomForestParams { n_estimators, max_depth, ..RandomForestParams::of(estimator) };
        asked(name, fit(frame, &params).unwrap(), frame)
    };
    let (words, numbers) = with_holes();
    let seed_job = Synthetic::parse(
        "make_classification?n_samples=2500&n_features=20&n_informative=10&n_redundant=10&random_state=42",
    );
    let seed_job = seed_job.unwrap().frame().unwrap();
    let hist = RandomForestParams { n_estimators: 20, splitter: Splitter::Hist, max_bins: 31, ..Default::default() };
    vec![
        grow("iris", &csv("iris.csv"), Estimator::RandomForestClassifier, 100, None),
        grow("wine", &csv("wine.csv"), Estimator::ExtraTreesClassifier, 64, None),
        grow("breast-cancer", &csv("breast_cancer.csv"), Estimator::RandomForestClassifier, 100, None),
        grow("digits", &csv("digits.csv"), Estimator::RandomForestClassifier, 50, Some(12)),
        grow("seed-job", &seed_job, Estimator::RandomForestClassifier, 75, Some(30)),
        grow("holes", &words, Estimator::RandomForestClassifier, 33, None),
        grow("holes-extra", &words, Estimator::ExtraTreesClassifier, 33, Some(9)),
        grow("regressor", &numbers, Estimator::RandomForestRegressor, 40, None),
        grow("regressor-extra", &numbers, Estimator::ExtraTreesRegressor, 40, Some(7)),
        grow("one-tree", &words, Estimator::RandomForestClassifier, 1, Some(1)),
        asked("hist", fit(&words, &hist).unwrap(), &words),
        asked("linfa-tree", fit(&seed_job, &RandomForestParams::of(Estimator::LinfaTree)).unwrap(), &seed_job),
    ]
}

#[test]
fn exported_forests_are_answered_alike_by_every_onnx_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let forests = forests();
    for (name, forest, rows) in &forests {
        std::fs::write(folder.path().join(format!("{name}.onnx")), export(forest).unwrap()).unwrap();
        let bytes: Vec<u8> = rows.iter().flat_map(|number| number.to_le_bytes()).collect();
        std::fs::write(folder.path().join(format!("{name}.rows")), bytes).unwrap();
    }
    for venv in OLDER.map(|older| venv().with_file_name(older)).into_iter().chain([venv()]) {
        for (name, forest, rows) in &forests {
            let width = forest.n_features().to_string();
            python(&venv, "answer_onnx.py", &[folder.path().as_os_str(), OsStr::new(&width), OsStr::new(name)]);
            let (case, _) = Case::read(folder.path(), name);
            let model = Model::from_bytes(Arc::new(forest.to_serving_bytes().unwrap())).unwrap();
            case.check(&format!("{name} in {}", venv.display()), &model, rows);
            let bytes = std::fs::read(folder.path().join(format!("{name}.onnx"))).unwrap();
            let imported = import(&bytes, &Limits::default()).unwrap();
            assert_eq!(imported.feature_names(), forest.feature_names(), "{name}");
            case.check(name, &imported, rows);
        }
    }
}
