//! Growth with a stack: a node, then its left subtree, then its right one.

use super::{Builder, Pending, Splitter};

pub(super) fn grow<S: Splitter>(builder: &mut Builder<'_, S>) {
    let mut stack = vec![Pending::root(builder.splitter.n_rows())];
    while let Some(pending) = stack.pop().filter(|_| !builder.cancel.is_raised()) {
        let added = builder.add(&pending);
        if let Some(split) = added.split {
            let (left, right) = builder.child_bounds(pending.bounds, &split);
            let child = Pending { depth: pending.depth + 1, n_constants: added.n_constants, ..pending };
            stack.push(Pending {
                start: split.sides.position,
                parent: Some((added.node, false)),
                impurity: Some(split.sides.impurity_right),
                bounds: right,
                ..child
            });
            stack.push(Pending {
                end: split.sides.position,
                parent: Some((added.node, true)),
                impurity: Some(split.sides.impurity_left),
                bounds: left,
                ..child
            });
        }
    }
}
