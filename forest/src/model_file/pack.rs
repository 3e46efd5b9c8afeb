//! Trees of nodes to blocks.

use super::ModelFileError;
use super::nodes::Node;
use crate::kernel::block::{Block, EXITS, LEAF, MAX_BLOCKS, MAX_VALUES, MISSING_RIGHT, NODES, SHAPE_SHIFT, SHAPES};

/// Trees in blocks.
#[derive(Debug, Default)]
pub(super) struct BlockTrees {
    /// First block of each tree; at last, the number of blocks.
    pub(super) roots: Vec<u32>,
    pub(super) blocks: Vec<Block>,
    /// By block and exit, the row of a leaf's value, if there are too many values for exits.
    pub(super) rows: Vec<[u32; EXITS]>,
    has_rows: bool,
}

impl BlockTrees {
    /// No trees yet, whose leaves will have so many values.
    pub(super) fn new(n_values: usize) -> Self {
        Self { has_rows: n_values > MAX_VALUES, ..Self::default() }
    }

    /// Appends a tree. Its nodes, breadth first, are sound. A block is filled with the heaviest nodes below its first one.
    pub(super) fn push(&mut self, nodes: &[Node], weights: &[f64]) -> Result<(), ModelFileError> {
        let start = self.number()?;
        self.roots.push(start);
        // First nodes of blocks.
        let mut heads = vec![0];
        for at in 0.. {
            let Some(head) = heads.get(at) else { break };
            let group = Group::new(nodes, weights, *head);
            self.push_block(start, &group, nodes, &mut heads)?;
        }
        Ok(())
    }

    /// Ends the list of trees.
    pub(super) fn finish(&mut self) -> Result<(), ModelFileError> {
        self.roots.push(self.number()?);
        Ok(())
    }

    fn number(&self) -> Result<u32, ModelFileError> {
        u32::try_from(self.blocks.len())
            .ok()
            .filter(|number| *number as usize <= MAX_BLOCKS)
            .ok_or_else(|| ModelFileError(format!("more than {MAX_BLOCKS} blocks")))
    }

    fn push_block(
        &mut self,
        start: u32,
        group: &Group,
        nodes: &[Node],
        heads: &mut Vec<u32>,
    ) -> Result<(), ModelFileError> {
        self.number()?;
        let n_heads = heads.len();
        let mut block = Block {
            thresholds: [f32::NAN; NODES],
            first: start + u32::try_from(n_heads).unwrap_or(u32::MAX),
            exits: [LEAF; EXITS],
            features: [0; NODES],
            shape: group.shape(),
        };
        let mut rows = [0; EXITS];
        let (mut node, mut exit) = (0, 0);
        // Preorder, by a stack of what comes later.
        let mut later = vec![Child::Part(group.root)];
        while let Some(child) = later.pop() {
            match child {
                Child::Part(part) => {
                    let part = &group.parts[part];
                    if let Some(number) = part.node {
                        let from = nodes[number as usize];
                        block.thresholds[node] = f32::from_bits(from.threshold);
                        // Features of trees that are put into blocks fit.
                        block.features[node] = u16::try_from(from.feature).unwrap_or(0)
                            | if from.missing_right { MISSING_RIGHT } else { 0 };
                    }
                    let [first, second] = part.in_order();
                    block.shape |= u16::from(part.is_exchanged()) << node;
                    later.extend([second, first]);
                    node += 1;
                }
                Child::Node(number) if nodes[number as usize].is_leaf() => {
                    let value = nodes[number as usize].value;
                    rows[exit] = value;
                    block.exits[exit] = LEAF | if self.has_rows { 0 } else { u16::try_from(value).unwrap_or(0) };
                    exit += 1;
                }
                Child::Node(number) => {
                    block.exits[exit] = u16::try_from(heads.len() - n_heads).unwrap_or(0);
                    heads.push(number);
                    exit += 1;
                }
                Child::Nothing => exit += 1,
            }
        }
        self.blocks.push(block);
        if self.has_rows {
            self.rows.push(rows);
        }
        Ok(())
    }
}

/// Numbers of splits in and below each node of a tree: weights, where nothing better is known.
pub(super) fn sizes(nodes: &[Node]) -> Vec<f64> {
    let mut sizes = vec![0.0; nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev().filter(|(_, node)| !node.is_leaf()) {
        let child = node.child as usize;
        sizes[at] = 1.0 + sizes[child] + sizes[child + 1];
    }
    sizes
}

/// Nodes of one block and how they hang together.
struct Group {
    parts: [Part; NODES],
    root: usize,
}

/// A node of a block.
#[derive(Clone, Copy)]
struct Part {
    /// None only fills the block: every value goes to its first child.
    node: Option<u32>,
    children: [Child; 2],
    /// Of the children and of the whole.
    forms: [Form; 2],
    form: Form,
}

/// What a comparison leads to.
#[derive(Clone, Copy)]
enum Child {
    /// A node of the same block, by its place in [`Group::parts`].
    Part(usize),
    /// A leaf, or the first node of another block.
    Node(u32),
    /// What no value comes to.
    Nothing,
}

/// A form of trees, ordered as [`SHAPES`] demands: by nodes, then by the code in preorder, 1 a node and 0 an exit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    n_nodes: u16,
    code: u16,
}

impl Form {
    const EXIT: Self = Self { n_nodes: 0, code: 0 };

    /// A node with these children, the larger one first.
    fn of([one, other]: [Self; 2]) -> Self {
        let (first, second) = if other > one { (other, one) } else { (one, other) };
        let code = (1 << (2 * first.n_nodes + 1) | first.code) << (2 * second.n_nodes + 1) | second.code;
        Self { n_nodes: first.n_nodes + second.n_nodes + 1, code }
    }
}

impl Part {
    const NONE: Self = Self { node: None, children: [Child::Nothing; 2], forms: [Form::EXIT; 2], form: Form::EXIT };

    fn is_exchanged(&self) -> bool {
        self.forms[1] > self.forms[0]
    }

    fn in_order(&self) -> [Child; 2] {
        let [left, right] = self.children;
        if self.is_exchanged() { [right, left] } else { [left, right] }
    }
}

impl Group {
    fn new(nodes: &[Node], weights: &[f64], head: u32) -> Self {
        let mut taken = Vec::with_capacity(NODES);
        let mut open = Vec::with_capacity(EXITS);
        open.push(head);
        while taken.len() < NODES {
            let splits = open.iter().enumerate().filter(|(_, node)| !nodes[**node as usize].is_leaf());
            let heaviest = splits.max_by(|(_, one), (_, other)| {
                weights[**one as usize].total_cmp(&weights[**other as usize]).then(other.cmp(one))
            });
            let Some((at, _)) = heaviest else { break };
            let node = open.swap_remove(at);
            let child = nodes[node as usize].child;
            open.extend([child, child + 1]);
            taken.push(node);
        }
        let mut group = Self { parts: [Part::NONE; NODES], root: 0 };
        // Children come after their parents, so they are complete first.
        for (at, node) in taken.iter().enumerate().rev() {
            let child = nodes[*node as usize].child;
            let children = [child, child + 1].map(|child| match taken.iter().position(|taken| *taken == child) {
                Some(part) => Child::Part(part),
                None => Child::Node(child),
            });
            group.set(at, Some(*node), children);
        }
        // The block is filled up above its first node.
        let mut below = if taken.is_empty() { Child::Node(head) } else { Child::Part(0) };
        for at in taken.len()..NODES {
            group.set(at, None, [below, Child::Nothing]);
            below = Child::Part(at);
            group.root = at;
        }
        group
    }

    fn set(&mut self, at: usize, node: Option<u32>, children: [Child; 2]) {
        let forms = children.map(|child| match child {
            Child::Part(part) => self.parts[part].form,
            Child::Node(_) | Child::Nothing => Form::EXIT,
        });
        self.parts[at] = Part { node, children, forms, form: Form::of(forms) };
    }

    /// The number of the shape, in place.
    fn shape(&self) -> u16 {
        let code = self.parts[self.root].form.code;
        let number = SHAPES.iter().position(|shape| *shape == code).unwrap_or(0);
        u16::try_from(number).unwrap_or(0) << SHAPE_SHIFT
    }
}
