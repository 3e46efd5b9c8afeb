//! Nodes in every form and at every level of instructions answer as plain walks do.

use std::sync::Arc;

use super::Model;
use super::layout::Kind;
use super::nodes::{Form, Node, Packed, Wide, are_sound, feature_bits, fits_packed, leaf};
use super::pack::{BlockTrees, sizes};
use crate::datasets::Synthetic;
use crate::kernel::block::{LEAF, MAX_VALUES};
use crate::kernel::{self, Level, Trees, WideTrees};
use crate::random::RandomState;
use crate::{Estimator, RandomForestParams, fit};

#[test]
fn every_level_predicts_a_grown_forest_from_either_file() {
    for (n_features, n_classes, max_depth, n_estimators) in
        [(6, 2, None, 37), (20, 3, Some(3), 5), (40, 2, None, 300), (5, 2, Some(1), 2)]
    {
        let uri = format!(
            "make_classification?n_samples=700&n_features={n_features}&n_informative=4&n_redundant=1&n_classes={n_classes}&random_state=1"
        );
        let frame = Synthetic::parse(&uri).unwrap().frame().unwrap();
        let params = RandomForestParams { n_estimators, max_depth, ..RandomForestParams::default() };
        let forest = fit(&frame, &params).unwrap();
        let files = [forest.to_bytes().unwrap(), forest.to_serving_bytes().unwrap()];
        let mut rows = frame.rows();
        rows.iter_mut().step_by(7).for_each(|value| *value = f32::NAN);
        for rows in [&rows[..n_features], &rows[..100 * n_features]] {
            let expected = forest.predict_proba(rows).unwrap();
            for file in &files {
                for level in Level::all() {
                    let model = Model::from_bytes(Arc::new(file.clone())).unwrap().with_level(level).unwrap();
                    let mut out = vec![1.0; expected.len()];
                    model.predict_proba_rows(rows, rows.len() / n_features, &mut out).unwrap();
                    assert_eq!(out, expected, "{level}");
                }
            }
        }
    }
}

/// What random trees are made of.
#[derive(Debug, Clone, Copy)]
struct Recipe {
    n_features: u32,
    n_outputs: usize,
    n_values: u32,
    n_trees: u32,
    /// Splits of a tree, at most.
    n_splits: u32,
    /// Each split hangs below the last one.
    chains: bool,
}

/// A tree breadth first, of splits at one of few thresholds that values equal, too.
fn random_tree(stream: &mut RandomState, recipe: Recipe) -> Vec<Node> {
    let n_splits = stream.randint(recipe.n_splits + 1);
    let mut nodes: Vec<Node> = vec![];
    // Whether each node that is known of must be a split; others are leaves or splits as it comes.
    let mut known = 1;
    let mut left = n_splits;
    for at in 0_u32.. {
        if at == known {
            break;
        }
        let last = at + 1 == known;
        let split = left > 0 && (last || !recipe.chains && stream.randint(3) > 0);
        nodes.push(if split {
            left -= 1;
            known += 2;
            Node {
                threshold: grid(stream).to_bits(),
                feature: stream.randint(recipe.n_features),
                missing_right: stream.randint(2) == 1,
                child: known - 2,
                value: 0,
            }
        } else {
            leaf(at, stream.randint(recipe.n_values))
        });
    }
    nodes
}

/// One of 17 numbers, the two zeros and both infinities among them.
fn grid(stream: &mut RandomState) -> f32 {
    let number = f64::from(stream.randint(17)) - 8.0;
    match number.abs() {
        8.0.. => f32::INFINITY.copysign(crate::model_file::round_down(number)),
        7.0.. => 0.0_f32.copysign(crate::model_file::round_down(number)),
        _ => crate::model_file::round_down(number * 0.1),
    }
}

/// The plain walk, with every place checked.
fn expected(trees: &[Vec<Node>], values: &[f64], n_outputs: usize, row: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; n_outputs];
    for nodes in trees {
        let mut node = nodes[0];
        while !node.is_leaf() {
            let value = row[node.feature as usize];
            let right = if value.is_nan() { node.missing_right } else { value > f32::from_bits(node.threshold) };
            node = nodes[node.child as usize + usize::from(right)];
        }
        let value = &values[node.value as usize * n_outputs..][..n_outputs];
        sums.iter_mut().zip(value).for_each(|(sum, part)| *sum += part);
    }
    sums.iter().map(|sum| sum / f64::from(u32::try_from(trees.len()).unwrap())).collect()
}

fn check(seed: u32, recipe: Recipe) {
    let mut stream = RandomState::new(seed);
    let trees: Vec<Vec<Node>> = (0..recipe.n_trees).map(|_| random_tree(&mut stream, recipe)).collect();
    let values: Vec<f64> = (0..recipe.n_values as usize * recipe.n_outputs).map(|_| stream.random_sample()).collect();
    let n_features = recipe.n_features as usize;
    let mut rows: Vec<f32> = (0..300 * n_features).map(|_| grid(&mut stream)).collect();
    for missing in [false, true] {
        if missing {
            rows.iter_mut().step_by(3).for_each(|value| *value = f32::NAN);
        }
        let expected: Vec<f64> =
            rows.chunks(n_features).flat_map(|row| expected(&trees, &values, recipe.n_outputs, row)).collect();
        for weighted in [false, true] {
            let mut blocks = BlockTrees::new(recipe.n_values as usize);
            for nodes in &trees {
                let weights: Vec<f64> = nodes.iter().map(|_| stream.random_sample()).collect();
                blocks.push(nodes, &if weighted { weights } else { sizes(nodes) }).unwrap();
            }
            blocks.finish().unwrap();
            let (n_outputs, values) = (recipe.n_outputs, &values);
            let trees = Trees {
                blocks: &blocks.blocks,
                roots: &blocks.roots,
                rows: &blocks.rows,
                values,
                n_features,
                n_outputs,
            };
            let case = |what: &dyn std::fmt::Display| format!("{what}, seed {seed}, missing {missing}, {recipe:?}");
            for level in Level::all() {
                let sound = |tree| kernel::are_sound_blocks(level, &trees, tree);
                assert!((0..recipe.n_trees as usize).all(sound), "{}", case(&level));
                for n_rows in [1, 31, 32, 255, 256, 257, 300] {
                    let mut out = vec![1.0; n_rows * n_outputs];
                    kernel::predict(level, &trees, &rows[..n_rows * n_features], &mut out, missing);
                    assert_eq!(out, expected[..n_rows * n_outputs], "{n_rows} rows, {}", case(&level));
                }
            }
        }
        let mut roots = vec![0];
        roots.extend(trees.iter().scan(0, |end, nodes| {
            *end += u32::try_from(nodes.len()).unwrap();
            Some(*end)
        }));
        let nodes: Vec<Node> = trees.iter().flatten().copied().collect();
        let case = (&*roots, &*values, &*rows, &*expected);
        check_nodes::<Wide>(&nodes, case, recipe);
        let largest = trees.iter().map(Vec::len).max().unwrap();
        if fits_packed(n_features, largest, recipe.n_values as usize) {
            check_nodes::<Packed>(&nodes, case, recipe);
        }
    }
}

/// Walks through nodes of one form answer as `expected` says. The case is roots, values, rows and answers.
fn check_nodes<N: Form>(
    nodes: &[Node],
    (roots, values, rows, expected): (&[u32], &[f64], &[f32], &[f64]),
    recipe: Recipe,
) {
    let (n_features, n_outputs) = (recipe.n_features as usize, recipe.n_outputs);
    let bits = feature_bits(n_features);
    let nodes: Vec<N> = nodes.iter().map(|node| N::pack(*node, bits)).collect();
    let trees = WideTrees { nodes: &nodes, roots, values, n_features, n_outputs };
    for n_rows in [1, 7, 8, 9, 300] {
        let mut out = vec![1.0; n_rows * n_outputs];
        kernel::predict_wide(&trees, &rows[..n_rows * n_features], &mut out);
        assert_eq!(out, expected[..n_rows * n_outputs], "{n_rows} rows, {}, {recipe:?}", std::any::type_name::<N>());
    }
}

#[test]
fn every_level_and_form_answers_as_a_plain_walk_does() {
    let usual = Recipe { n_features: 20, n_outputs: 2, n_values: 9, n_trees: 13, n_splits: 40, chains: false };
    if cfg!(miri) {
        // Interpreted, one forest takes a minute.
        return check(8, Recipe { n_features: 9, n_trees: 2, n_splits: 9, ..usual });
    }
    // Widths at which features fill registers, or no longer fit them.
    for n_features in [1, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 100] {
        check(n_features, Recipe { n_features, ..usual });
    }
    for n_outputs in [1, 3, 10] {
        check(50, Recipe { n_outputs, ..usual });
    }
    check(60, Recipe { n_trees: 300, n_splits: 3, ..usual });
    check(61, Recipe { n_splits: 0, ..usual });
    check(62, Recipe { n_splits: 500, chains: true, n_trees: 3, ..usual });
    // Memory is fetched ahead.
    check(63, Recipe { n_splits: 9000, n_trees: 20, ..usual });
    // Rows of values come from a table.
    let n_values = u32::try_from(MAX_VALUES).unwrap();
    for n_outputs in [1, 2] {
        check(64, Recipe { n_outputs, n_values, ..usual });
        check(65, Recipe { n_values: n_values + 1, n_outputs, ..usual });
    }
    check(66, Recipe { n_features: 1 << 15, n_trees: 2, ..usual });
}

#[test]
fn a_block_that_points_anywhere_else_is_unsound_at_every_level() {
    let recipe = Recipe { n_features: 20, n_outputs: 1, n_values: 5, n_trees: 1, n_splits: 60, chains: true };
    let mut stream = RandomState::new(3);
    let mut blocks = BlockTrees::new(5);
    let mut nodes = vec![];
    while nodes.len() < 101 {
        nodes = random_tree(&mut stream, recipe);
    }
    for _ in 0..2 {
        blocks.push(&nodes, &sizes(&nodes)).unwrap();
    }
    blocks.finish().unwrap();
    let n_blocks = blocks.roots[1];
    let sound = |blocks: &BlockTrees, n_features, values: &[f64]| {
        let trees = Trees {
            blocks: &blocks.blocks,
            roots: &blocks.roots,
            rows: &blocks.rows,
            values,
            n_features,
            n_outputs: 1,
        };
        let of = |level| kernel::are_sound_blocks(level, &trees, 0);
        assert!(Level::all().into_iter().all(|level| of(level) == of(Level::Portable)));
        of(Level::Portable)
    };
    assert!(sound(&blocks, 20, &[0.0; 5]));
    assert!(!sound(&blocks, 10, &[0.0; 5]) && !sound(&blocks, 20, &[0.0; 2]));
    let goes_on = |exit: &u16| exit & LEAF == 0;
    let exit = blocks.blocks[1].exits.iter().position(goes_on).unwrap();
    let mut changed = |change: &dyn Fn(&mut kernel::block::Block)| {
        let whole = blocks.blocks[1];
        change(&mut blocks.blocks[1]);
        let result = sound(&blocks, 20, &[0.0; 5]);
        blocks.blocks[1] = whole;
        result
    };
    assert!(changed(&|block| block.thresholds[0] = 3.0));
    assert!(!changed(&|block| block.features[2] = 20));
    assert!(!changed(&|block| block.exits[exit] = LEAF | 5), "a value that is not there");
    assert!(changed(&|block| block.exits[exit] = LEAF | 4));
    assert!(!changed(&|block| block.first = 1 - u32::from(block.exits[exit])), "itself");
    assert!(!changed(&|block| block.first = 0), "before itself");
    assert!(!changed(&|block| block.first = n_blocks), "the next tree");
    assert!(!changed(&|block| block.first = u32::MAX));
    assert!(!changed(&|block| block.shape = 23 << 7));
}

#[test]
fn both_forms_keep_every_part_of_a_node() {
    let inner = Node { threshold: 1.5_f32.to_bits(), feature: 19, missing_right: true, child: (1 << 26) - 2, value: 0 };
    let end = leaf(77, (1 << 22) - 1);
    let bits = feature_bits(20);
    assert_eq!(bits, 5);
    for node in [inner, end] {
        let packed = Packed::pack(node, bits).unpack(bits);
        assert_eq!(
            (packed.feature, packed.missing_right, packed.child),
            (node.feature, node.missing_right, node.child)
        );
        assert_eq!(packed.is_leaf(), node.is_leaf());
        let wide = Wide::pack(node, bits).unpack(bits);
        assert_eq!(wide, node);
    }
    assert_eq!(Packed::pack(end, bits).unpack(bits).value, (1 << 22) - 1);
    assert_eq!(Packed::pack(inner, bits).unpack(bits).threshold, inner.threshold);
    assert!(fits_packed(20, 1 << 26, 1 << 22));
    assert!(!fits_packed(20, (1 << 26) + 1, 1) && !fits_packed(20, 3, (1 << 22) + 1) && !fits_packed(1 << 31, 3, 3));
    assert_eq!((feature_bits(1), feature_bits(2), feature_bits(3)), (1, 1, 2));
}

#[test]
fn a_node_that_points_anywhere_else_is_unsound_at_every_level() {
    let inner = Node { threshold: 0.0_f32.to_bits(), feature: 2, missing_right: false, child: 1, value: 0 };
    let good = [inner, leaf(1, 4), leaf(2, 0)];
    let unsound = [
        [Node { child: 0, ..inner }, good[1], good[2]],
        [Node { child: 2, ..inner }, good[1], good[2]],
        [Node { feature: 3, ..inner }, good[1], good[2]],
        [inner, leaf(2, 0), good[2]],
        [inner, leaf(1, 5), good[2]],
        [inner, Node { missing_right: true, ..good[1] }, good[2]],
        [inner, Node { feature: 3, ..good[1] }, good[2]],
    ];
    let bits = feature_bits(3);
    let sound = |nodes: [Node; 3]| {
        let packed = nodes.map(|node| Packed::pack(node, bits));
        let wide = are_sound(&nodes.map(|node| Wide::pack(node, bits)), 3, 5);
        for level in Level::all() {
            assert_eq!(kernel::are_sound(level, &packed, 3, 5), wide, "{level:?} {nodes:?}");
        }
        wide
    };
    assert!(sound(good));
    for nodes in unsound {
        assert!(!sound(nodes), "{nodes:?}");
    }
}

/// A node with two parents would be copied for each of them, and theirs for each of their parents: found by fuzzing.
#[test]
fn nodes_with_two_parents_or_none_are_refused() {
    let uri = "make_classification?n_samples=200&n_features=4&flip_y=0.3&random_state=1";
    let frame = Synthetic::parse(uri).unwrap().frame().unwrap();
    let file = fit(&frame, &RandomForestParams { n_estimators: 1, ..RandomForestParams::default() }).unwrap();
    let file = file.to_bytes().unwrap();
    let model = Model::from_bytes(Arc::new(file.clone())).unwrap();
    let bits = feature_bits(4);
    let packed: Vec<Packed> = model.numbers::<Packed>(Kind::Nodes).to_vec();
    let nodes: Vec<Node> = packed.iter().map(|node| node.unpack(bits)).collect();
    let place = model.sections.0[Kind::Nodes.index()].start;
    let read = |at: usize, node: Node| {
        let mut bytes = file.clone();
        bytes[place + at * 8..][..8].copy_from_slice(bytemuck::bytes_of(&Packed::pack(node, bits)));
        Model::from_verified_bytes(Arc::new(bytes)).map(|_| ()).map_err(|error| error.to_string())
    };
    let first_split = nodes.iter().rposition(|node| !node.is_leaf()).unwrap();
    read(first_split, nodes[first_split]).unwrap();
    let shared = nodes.iter().position(|node| node.is_leaf()).unwrap();
    assert!(shared < nodes[first_split].child as usize, "a node before them");
    let split = Node { threshold: 0.0_f32.to_bits(), feature: 0, child: nodes[first_split].child, ..nodes[shared] };
    let refused = "not a usable model file: the nodes of tree 0 are not breadth first";
    assert_eq!(read(shared, split).unwrap_err(), refused);
    let orphaning = leaf(u32::try_from(first_split).unwrap(), 0);
    assert_eq!(read(first_split, orphaning).unwrap_err(), refused);
}

/// No frame and no import gives such names, and a graph exported from the file could not be read: found by fuzzing.
#[test]
fn features_of_one_name_are_refused() {
    let frame = Synthetic::parse("make_classification?n_samples=50&random_state=1").unwrap().frame().unwrap();
    let file = fit(&frame, &RandomForestParams { n_estimators: 1, ..RandomForestParams::default() }).unwrap();
    let mut file = file.to_bytes().unwrap();
    let [first, second] = [0, 1].map(|feature| format!("{:?}", frame.feature_names()[feature]));
    let at = file.windows(second.len()).position(|text| text == second.as_bytes()).unwrap();
    file[at..][..first.len()].copy_from_slice(first.as_bytes());
    let refused = Model::from_verified_bytes(Arc::new(file)).unwrap_err().to_string();
    assert_eq!(refused, format!("not a usable model file: two features are called `{}`", frame.feature_names()[0]));
}

#[test]
fn classes_shares_that_are_no_numbers_are_refused() {
    let of = |estimator, generator: &str| {
        let frame = Synthetic::parse(&format!("{generator}?n_samples=50&random_state=1")).unwrap().frame().unwrap();
        fit(&frame, &RandomForestParams::of(estimator)).unwrap().to_bytes().unwrap()
    };
    let spoiled = |mut file: Vec<u8>, number: f64| {
        let values = Model::from_bytes(Arc::new(file.clone())).unwrap().sections.0[Kind::Values.index()].start;
        file[values + 8..][..8].copy_from_slice(&number.to_le_bytes());
        Model::from_verified_bytes(Arc::new(file)).map(|_| ()).map_err(|error| error.to_string())
    };
    for number in [f64::NAN, f64::INFINITY] {
        let classes = spoiled(of(Estimator::DecisionTreeClassifier, "make_classification"), number);
        assert_eq!(classes.unwrap_err(), "not a usable model file: the value of a leaf is not finite");
        // scikit-learn's regressors answer infinity where a sum of targets is.
        spoiled(of(Estimator::DecisionTreeRegressor, "make_regression"), number).unwrap();
    }
}

/// What was written of such a forest could not be read: found by fuzzing.
#[test]
fn statistics_with_other_numbers_than_the_nodes_make_no_forest() {
    let frame = Synthetic::parse("make_classification?n_samples=50&random_state=1").unwrap().frame().unwrap();
    let file = fit(&frame, &RandomForestParams { n_estimators: 1, ..RandomForestParams::default() }).unwrap();
    let file = file.to_bytes().unwrap();
    let sound = Model::from_verified_bytes(Arc::new(file.clone())).unwrap();
    sound.to_forest().unwrap();
    let spoiled = |kind: Kind, at: usize| {
        let mut file = file.clone();
        let place = sound.sections.0[kind.index()].start + at * 8;
        file[place..][..8].copy_from_slice(&f64::NAN.to_le_bytes());
        Model::from_verified_bytes(Arc::new(file)).unwrap().to_forest().unwrap_err().to_string()
    };
    let refused = |what: &str| format!("not a usable model file: the {what} is not that of its training statistics");
    assert_eq!(spoiled(Kind::Thresholds, 0), refused("threshold of a node"));
    let leaf = sound.to_forest().unwrap().trees()[0].feature.iter().position(|feature| *feature < 0).unwrap();
    assert_eq!(spoiled(Kind::NodeValues, 2 * leaf), refused("value of a leaf"));
}
