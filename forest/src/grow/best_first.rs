//! Growth with a heap: the split that improves most comes next, until there are enough leaves.

use super::{Added, Builder, Pending, Splitter};
use crate::tree::{TREE_LEAF, TREE_UNDEFINED};

struct Frontier {
    pending: Pending,
    added: Added,
}

impl Frontier {
    fn improvement(&self) -> f64 {
        self.added.split.map_or(0.0, |split| split.improvement)
    }
}

pub(super) fn grow<S: Splitter>(builder: &mut Builder<'_, S>, max_leaf_nodes: usize) {
    let mut heap = Heap::default();
    let root = Pending::root(builder.splitter.n_rows());
    heap.push(Frontier { pending: root, added: builder.add(&root) });
    let mut splits_left = max_leaf_nodes - 1;
    while let Some(Frontier { pending, added }) = heap.pop().filter(|_| !builder.cancel.is_raised()) {
        let Some(split) = added.split.filter(|_| splits_left > 0) else {
            close(builder, added.node);
            continue;
        };
        splits_left -= 1;
        let (left_bounds, right_bounds) = builder.child_bounds(pending.bounds, &split);
        // Constants are searched anew in every node: nodes do not come in the order of the tree.
        let child = Pending { depth: pending.depth + 1, n_constants: 0, ..pending };
        let left = Pending {
            end: split.sides.position,
            parent: Some((added.node, true)),
            impurity: Some(split.sides.impurity_left),
            bounds: left_bounds,
            ..child
        };
        let right = Pending {
            start: split.sides.position,
            parent: Some((added.node, false)),
            impurity: Some(split.sides.impurity_right),
            bounds: right_bounds,
            ..child
        };
        let left = Frontier { pending: left, added: builder.add(&left) };
        let right = Frontier { pending: right, added: builder.add(&right) };
        heap.push(left);
        heap.push(right);
    }
}

/// Makes a node a leaf for good, although a cut was found for it.
fn close<S: Splitter>(builder: &mut Builder<'_, S>, node: usize) {
    builder.tree.feature[node] = TREE_UNDEFINED;
    builder.tree.threshold[node] = f64::from(TREE_UNDEFINED);
    builder.tree.children_left[node] = TREE_LEAF;
    builder.tree.children_right[node] = TREE_LEAF;
    builder.tree.missing_go_to_left[node] = false;
}

/// A binary max-heap by improvement. Which of two equal improvements comes first decides the tree, so this follows the
/// GNU C++ library's `push_heap` and `pop_heap`, on which scikit-learn relies: the hole sinks to the bottom, then the last
/// item rises from there.
#[derive(Default)]
struct Heap {
    items: Vec<Frontier>,
}

impl Heap {
    fn push(&mut self, item: Frontier) {
        self.items.push(item);
        self.rise(self.items.len() - 1);
    }

    fn rise(&mut self, mut hole: usize) {
        while hole > 0 {
            let parent = (hole - 1) / 2;
            if !self.less(parent, hole) {
                break;
            }
            self.items.swap(parent, hole);
            hole = parent;
        }
    }

    fn pop(&mut self) -> Option<Frontier> {
        if self.items.len() < 2 {
            return self.items.pop();
        }
        let top = self.items.swap_remove(0);
        // The former last item travels down with the hole, always changing places with the larger child.
        let (mut hole, len) = (0, self.items.len());
        while 2 * hole + 2 < len {
            let (left, right) = (2 * hole + 1, 2 * hole + 2);
            let child = if self.less(right, left) { left } else { right };
            self.items.swap(hole, child);
            hole = child;
        }
        if 2 * hole + 1 < len {
            self.items.swap(hole, 2 * hole + 1);
            hole = 2 * hole + 1;
        }
        self.rise(hole);
        Some(top)
    }

    fn less(&self, one: usize, other: usize) -> bool {
        self.items[one].improvement() < self.items[other].improvement()
    }
}
