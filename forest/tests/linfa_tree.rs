//! linfa-trees' decision tree: as a judge of ours where nothing is a matter of chance, and as an algorithm of its own.

#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_trees::{DecisionTree, SplitQuality, TreeNode};
use ndarray::{Array1, Array2};
use regrove_forest::datasets::Synthetic;
use regrove_forest::{Estimator, Frame, Label, Model, RandomForestParams, Target, Tree, fit, onnx};
use serde_json::{Value, json};

fn frame(n_samples: u32, random_state: u32) -> Frame {
    let uri = format!(
        "make_classification?n_samples={n_samples}&n_features=6&n_informative=4&flip_y=0.2&random_state={random_state}"
    );
    Synthetic::parse(&uri).unwrap().frame().unwrap()
}

fn params(more: &Value) -> RandomForestParams {
    let mut params = json!({"estimator": "linfa-tree"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(params).unwrap()
}

fn records(frame: &Frame) -> Array2<f64> {
    Array2::from_shape_fn((frame.n_samples(), frame.n_features()), |(row, feature)| {
        f64::from(frame.column(feature)[row])
    })
}

#[expect(clippy::cast_possible_truncation, reason = "what forests are asked are float32 numbers")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// linfa's own tree.
fn linfa(frame: &Frame, quality: SplitQuality, max_depth: usize) -> DecisionTree<f64, usize> {
    let targets: Array1<usize> = frame.class_indexes().iter().map(|class| *class as usize).collect();
    let dataset = DatasetBase::new(records(frame), targets);
    DecisionTree::params().max_depth(Some(max_depth)).split_quality(quality).fit(&dataset).unwrap()
}

/// Both trees cut the same rows apart by the same features, as far as linfa's was not pruned.
fn compare(linfa: &TreeNode<f64, usize>, ours: &Tree, at: usize, rows: &[usize], frame: &Frame) -> usize {
    let [Some(left), Some(right)] = linfa.children()[..] else { return 0 };
    let (feature, cut, _) = linfa.split();
    assert_eq!(usize::try_from(ours.feature[at]).unwrap(), feature, "node {at}");
    let column = frame.column(feature);
    let by = |cut: f64| -> (Vec<usize>, Vec<usize>) { rows.iter().partition(|row| f64::from(column[**row]) <= cut) };
    let (below, above) = by(ours.threshold[at]);
    assert_eq!((&below, &above), (&by(cut).0, &by(cut).1), "node {at}");
    let child = |child: i32| usize::try_from(child).unwrap();
    1 + compare(left, ours, child(ours.children_left[at]), &below, frame)
        + compare(right, ours, child(ours.children_right[at]), &above, frame)
}

/// Many rows, few cuts, two classes: no two cuts are as good as each other in linfa's float32, and what it finds is what we
/// must find.
#[test]
fn linfa_judges_our_decision_tree() {
    let mut n_splits = 0;
    for seed in 0..30 {
        for (quality, criterion) in [(SplitQuality::Gini, "gini"), (SplitQuality::Entropy, "entropy")] {
            let frame = frame(1000, seed);
            let params = json!({"estimator": "DecisionTreeClassifier", "max_depth": 2, "criterion": criterion});
            let ours = fit(&frame, &serde_json::from_value(params).unwrap()).unwrap();
            let judge = linfa(&frame, quality, 2);
            let rows: Vec<usize> = (0..frame.n_samples()).collect();
            n_splits += compare(judge.root_node(), &ours.trees()[0], 0, &rows, &frame);
        }
    }
    assert!(n_splits > 120, "{n_splits} cuts were compared");
}

/// What we make of linfa's tree answers as linfa's does, on rows it has seen, on others, and on the cuts themselves.
#[test]
fn the_algorithm_is_linfas() {
    for seed in 0..10 {
        let (train, other) = (frame(301, seed), frame(200, seed + 100));
        let forest = fit(&train, &params(&json!({"max_depth": 3}))).unwrap();
        let judge = linfa(&train, SplitQuality::Gini, 3);
        let tree = &forest.trees()[0];
        assert_eq!(tree.n_leaves(), judge.num_leaves());
        let cuts = judge.iter_nodes().filter(|node| !node.is_leaf()).map(|node| {
            let (feature, cut, _) = node.split();
            let mut row = vec![0.0; 6];
            row[feature] = cut;
            row
        });
        let cuts: Vec<f64> = cuts.flatten().collect();
        let cuts = Array2::from_shape_vec((cuts.len() / 6, 6), cuts).unwrap();
        for rows in [records(&train), records(&other), cuts.mapv(|value| f64::from(narrow(value)))] {
            let said: Array1<usize> = judge.predict(&rows);
            let rows: Vec<f32> = rows.iter().map(|value| narrow(*value)).collect();
            let ours = forest.predict(&rows).unwrap();
            let expected: Vec<Label> = said.iter().map(|class| train.classes()[*class].clone()).collect();
            assert_eq!(ours, expected, "seed {seed}");
        }
        // A leaf's value are the fractions of its rows.
        let rows = train.rows();
        let mut counts = vec![[0.0; 2]; tree.node_count()];
        for (row, class) in rows.chunks_exact(6).zip(train.class_indexes()) {
            counts[tree.apply(row)][*class as usize] += 1.0;
        }
        for node in (0..tree.node_count()).filter(|node| tree.is_leaf(*node)) {
            let total: f64 = counts[node].iter().sum();
            assert_eq!(total.to_bits(), tree.weighted_n_node_samples[node].to_bits());
            assert_eq!(tree.node_value(node), counts[node].map(|count| count / total));
        }
    }
}

#[test]
fn it_is_a_model_as_any_other() {
    let frame = frame(300, 5);
    let forest = fit(&frame, &params(&json!({"min_samples_leaf": 10, "min_impurity_decrease": 0.001}))).unwrap();
    assert_eq!(forest.params().estimator, Estimator::LinfaTree);
    let model = Model::from_bytes(std::sync::Arc::new(forest.to_bytes().unwrap())).unwrap();
    assert_eq!(model.to_forest().unwrap(), forest);
    let rows = frame.rows();
    let expected = forest.predict_proba(&rows).unwrap();
    let answer = |model: &Model| {
        let mut out = vec![0.0; expected.len()];
        model.predict_proba_rows(&rows, frame.n_samples(), &mut out).unwrap();
        out
    };
    assert_eq!(answer(&model), expected);
    let imported = onnx::import(&onnx::export(&forest).unwrap(), &onnx::Limits::default()).unwrap();
    for (ours, theirs) in answer(&imported).iter().zip(&expected) {
        assert!((ours - theirs).abs() < 1e-6);
    }
    let importances: f64 = forest.feature_importances().iter().sum();
    assert!((importances - 1.0).abs() < 1e-12);
    let tree = &forest.trees()[0];
    assert!((0..tree.node_count()).all(|node| tree.n_node_samples[node] >= 10));
}

#[test]
fn weights_of_rows_are_linfas_weights() {
    let plain = frame(200, 1);
    // Leaves so large that none is even: where classes are as many, linfa tosses a coin.
    let params = params(&json!({"max_depth": 3, "min_samples_leaf": 15}));
    let ones = plain.clone().with_sample_weight(vec![1.0; 200]).unwrap();
    let unweighted = fit(&plain, &params).unwrap();
    assert_eq!(fit(&ones, &params).unwrap().trees(), unweighted.trees());
    // The first class weighs so much that its share in the root is what the weights make it.
    let weights: Vec<f64> = plain.class_indexes().iter().map(|class| if *class == 0 { 3.0 } else { 0.5 }).collect();
    let total: f64 = weights.iter().sum();
    let first: f64 = plain.class_indexes().iter().zip(&weights).filter(|(class, _)| **class == 0).map(|(_, w)| w).sum();
    let weighted = fit(&plain.clone().with_sample_weight(weights).unwrap(), &params).unwrap();
    let root = &weighted.trees()[0];
    assert!((root.node_value(0)[0] - first / total).abs() < 1e-12 && root.n_node_samples[0] == 200);
    assert!((root.weighted_n_node_samples[0] - total).abs() < 1e-9);
    assert_ne!(root.threshold, unweighted.trees()[0].threshold, "weights shape cuts");
    // Rows that weigh nothing are not there.
    let weights = (0..200).map(|row| f64::from(u8::from(row < 120))).collect();
    let part = fit(&plain.clone().with_sample_weight(weights).unwrap(), &params).unwrap();
    let first_rows = fit(&plain.take(&(0..120).collect::<Vec<_>>()).unwrap(), &params).unwrap();
    assert_eq!(part.trees(), first_rows.trees());
    let nothing = plain.with_sample_weight(vec![0.0; 200]).unwrap();
    let error = fit(&nothing, &params).unwrap_err().to_string();
    assert!(error.starts_with("`sample_weight` must be weights of which"), "{error}");
}

#[test]
fn what_linfas_tree_does_not_know_is_refused() {
    let frame = frame(60, 1);
    for (more, says) in [
        (json!({"n_estimators": 2}), "`n_estimators` must be 1"),
        (json!({"bootstrap": true}), "`bootstrap` must be false"),
        (json!({"max_features": "sqrt"}), "`max_features` must be null for linfa-tree"),
        (json!({"max_leaf_nodes": 4}), "`max_leaf_nodes` must be null for linfa-tree"),
        (json!({"class_weight": "balanced"}), "`class_weight` must be null for linfa-tree"),
        (json!({"monotonic_cst": [0, 1, 0, 0, 0, 0]}), "`monotonic_cst` must be null for linfa-tree"),
        (json!({"splitter": "hist"}), "`splitter` must be \"best\" for linfa-tree"),
        (json!({"ccp_alpha": 0.1}), "`ccp_alpha` must be 0.0 for linfa-tree"),
        (json!({"min_samples_leaf": 0.1}), "`min_samples_leaf` must be a whole number"),
        (json!({"min_samples_split": 0.1}), "`min_samples_split` must be a whole number"),
        (json!({"max_depth": 201}), "`max_depth` must be a whole number in 1..=200"),
        (json!({"min_impurity_decrease": 0.0}), "`min_impurity_decrease` must be a number above 0.0"),
        (json!({"criterion": "squared_error"}), "`criterion` must be gini"),
    ] {
        let error = fit(&frame, &params(&more)).unwrap_err().to_string();
        assert!(error.contains(says), "`{error}` does not say `{says}`");
    }
    let mut columns = frame.columns().to_vec();
    columns[61] = f32::NAN;
    let target = Target::Classes { classes: frame.classes().to_vec(), indexes: frame.class_indexes().to_vec() };
    let holes = Frame::new(frame.feature_names().to_vec(), columns, "target", target).unwrap();
    let error = fit(&holes, &params(&json!({}))).unwrap_err().to_string();
    assert!(error.contains("row 2") && error.contains("knows no missing values"), "{error}");
}
