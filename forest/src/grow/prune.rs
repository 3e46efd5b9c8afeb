//! Minimal cost-complexity pruning (Breiman et al. 1984, chapter 3): the weakest branch is cut off as long as its
//! cost per leaf is not above `ccp_alpha`.

use std::collections::BTreeSet;

use crate::tree::{TREE_LEAF, TREE_UNDEFINED, Tree};

/// The tree that is left after pruning with `alpha`, nodes numbered depth first.
pub(super) fn prune(tree: Tree, alpha: f64) -> Tree {
    if alpha <= 0.0 {
        return tree;
    }
    let mut branches = Branches::new(&tree);
    while let Some(weakest) = branches.weakest(alpha) {
        branches.cut(&tree, weakest);
    }
    rebuild(&tree, &branches.leaf)
}

/// Costs of the branches below every node, and an order by their strength.
struct Branches {
    parent: Vec<Option<usize>>,
    /// Weighted impurity of each node, as a part of the root's weight.
    cost: Vec<f64>,
    /// Sum of the costs of the leaves below.
    branch_cost: Vec<f64>,
    n_leaves: Vec<u32>,
    leaf: Vec<bool>,
    /// Inner nodes by strength, then by number.
    queue: BTreeSet<(u64, usize)>,
}

impl Branches {
    fn new(tree: &Tree) -> Self {
        let n = tree.node_count();
        let total = tree.weighted_n_node_samples[0];
        let cost: Vec<f64> = tree
            .weighted_n_node_samples
            .iter()
            .zip(&tree.impurity)
            .map(|(weight, impurity)| weight * impurity / total)
            .collect();
        let mut parent = vec![None; n];
        for node in 0..n {
            for child in children(tree, node) {
                parent[child] = Some(node);
            }
        }
        let leaf: Vec<bool> = (0..n).map(|node| tree.is_leaf(node)).collect();
        let mut branches =
            Self { parent, branch_cost: vec![0.0; n], cost, n_leaves: vec![0; n], leaf, queue: BTreeSet::new() };
        // Sums are formed leaf by leaf, as scikit-learn does, so that they round alike.
        for start in (0..n).filter(|node| tree.is_leaf(*node)) {
            branches.branch_cost[start] = branches.cost[start];
            let mut above = branches.parent[start];
            while let Some(node) = above {
                branches.branch_cost[node] += branches.cost[start];
                branches.n_leaves[node] += 1;
                above = branches.parent[node];
            }
        }
        for node in (0..n).filter(|node| !tree.is_leaf(*node)) {
            branches.queue.insert(branches.key(node));
        }
        branches
    }

    /// Cost that a branch saves per leaf.
    fn strength(&self, node: usize) -> f64 {
        (self.cost[node] - self.branch_cost[node]) / (f64::from(self.n_leaves[node]) - 1.0)
    }

    fn key(&self, node: usize) -> (u64, usize) {
        // Adding zero makes one zero of two; flipping bits makes the order of integers that of the numbers.
        let bits = (self.strength(node) + 0.0).to_bits();
        let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
        (ordered, node)
    }

    fn weakest(&self, alpha: f64) -> Option<usize> {
        let (_, node) = *self.queue.first()?;
        (self.strength(node) <= alpha).then_some(node)
    }

    /// Makes an inner node a leaf.
    fn cut(&mut self, tree: &Tree, top: usize) {
        let mut below = vec![top];
        while let Some(node) = below.pop() {
            if !self.leaf[node] {
                self.queue.remove(&self.key(node));
                below.extend(children(tree, node));
            }
        }
        let lost = self.n_leaves[top] - 1;
        let more = self.cost[top] - self.branch_cost[top];
        let mut above = self.parent[top];
        while let Some(node) = above {
            self.queue.remove(&self.key(node));
            self.n_leaves[node] -= lost;
            self.branch_cost[node] += more;
            self.queue.insert(self.key(node));
            above = self.parent[node];
        }
        self.n_leaves[top] = 0;
        self.branch_cost[top] = self.cost[top];
        self.leaf[top] = true;
    }
}

fn children(tree: &Tree, node: usize) -> impl Iterator<Item = usize> {
    [tree.children_left[node], tree.children_right[node]].into_iter().filter_map(|child| usize::try_from(child).ok())
}

/// Copies the nodes from the root down to the given leaves.
fn rebuild(tree: &Tree, leaf: &[bool]) -> Tree {
    let mut out = Tree { random_state: tree.random_state, n_outputs: tree.n_outputs, ..Tree::default() };
    let mut stack = vec![(0, None)];
    while let Some((node, parent)) = stack.pop() {
        let number = i32::try_from(out.node_count()).unwrap_or(i32::MAX);
        match parent {
            Some((parent, true)) => out.children_left[parent] = number,
            Some((parent, false)) => out.children_right[parent] = number,
            None => {}
        }
        let here = out.node_count();
        let ends = leaf[node];
        out.feature.push(if ends { TREE_UNDEFINED } else { tree.feature[node] });
        out.threshold.push(if ends { f64::from(TREE_UNDEFINED) } else { tree.threshold[node] });
        out.missing_go_to_left.push(!ends && tree.missing_go_to_left[node]);
        out.children_left.push(TREE_LEAF);
        out.children_right.push(TREE_LEAF);
        out.impurity.push(tree.impurity[node]);
        out.n_node_samples.push(tree.n_node_samples[node]);
        out.weighted_n_node_samples.push(tree.weighted_n_node_samples[node]);
        out.value.extend_from_slice(tree.node_value(node));
        if !ends {
            let mut sides = children(tree, node);
            let (left, right) = (sides.next(), sides.next());
            stack.extend(right.map(|child| (child, Some((here, false)))));
            stack.extend(left.map(|child| (child, Some((here, true)))));
        }
    }
    out
}
