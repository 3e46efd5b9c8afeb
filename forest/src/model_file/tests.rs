//! Both forms of nodes at every level of instructions answer as the forest itself does.

use std::sync::Arc;

use super::Model;
use super::nodes::{Form, Node, Packed, Wide, are_sound, feature_bits, fits_packed, leaf};
use crate::datasets::Synthetic;
use crate::kernel::{self, Level, Trees};
use crate::{Frame, RandomForestParams, fit};

fn frame(n_features: usize, n_classes: usize) -> Frame {
    let uri = format!(
        "make_classification?n_samples=700&n_features={n_features}&n_informative=4&n_redundant=1&n_classes={n_classes}&random_state=1"
    );
    Synthetic::parse(&uri).unwrap().frame().unwrap()
}

#[test]
fn every_level_and_form_sums_the_same_bits() {
    for (n_features, n_classes, max_depth, n_estimators) in
        [(6, 2, None, 37), (20, 3, Some(3), 5), (40, 2, None, 300), (5, 2, Some(0), 2)]
    {
        let frame = frame(n_features, n_classes);
        let max_depth = max_depth.filter(|depth| *depth > 0);
        let params = RandomForestParams { n_estimators, max_depth, ..RandomForestParams::default() };
        let forest = fit(&frame, &params).unwrap();
        let model = Model::from_bytes(Arc::new(forest.to_bytes().unwrap())).unwrap();
        let mut rows = frame.rows();
        for missing in [false, true] {
            if missing {
                rows.iter_mut().step_by(7).for_each(|value| *value = f32::NAN);
            }
            for n_rows in [1, 7, 8, 9, 63, 64, 65, 255, 256, 257, 700] {
                let rows = &rows[..n_rows * n_features];
                check(&model, rows, &forest.predict_proba(rows).unwrap(), missing);
            }
        }
    }
}

fn check(model: &Model, rows: &[f32], expected: &[f64], missing: bool) {
    let packed: Trees<'_, Packed> = model.trees();
    let mut out = vec![1.0; expected.len()];
    for level in Level::all() {
        kernel::predict(level, &packed, rows, &mut out, missing);
        assert_eq!(out, expected, "{level:?}");
    }
    let bits = packed.feature_bits;
    let wide: Vec<Wide> = packed.nodes.iter().map(|node| Wide::pack(node.unpack(bits), bits)).collect();
    let trees = Trees {
        nodes: wide.as_slice(),
        roots: packed.roots,
        values: packed.values,
        feature_bits: bits,
        n_features: packed.n_features,
        n_outputs: packed.n_outputs,
    };
    kernel::predict_wide(&trees, rows, &mut out);
    assert_eq!(out, expected, "wide");
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
