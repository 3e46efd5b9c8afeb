//! Seven nodes of a tree in one line of the cache.
//!
//! A step through a tree reads one [`Block`], compares all its nodes at once and follows one of its eight exits, so that it
//! decides about three levels of a tree, and waits for memory once. Which exit the comparisons lead to depends on how the
//! nodes hang together: a table answers it. Blocks of several levels in one cache line are those of Kim et al. 2010, "FAST";
//! that a node's answer is a bit and an exit a look-up is from Lucchese et al. 2015, "`QuickScorer`".

#![expect(clippy::inline_always, reason = "each level compiles the loops again with its own instructions")]

use bytemuck::{Pod, Zeroable};

/// Nodes of a block.
pub(crate) const NODES: usize = 7;
/// Exits of a block.
pub(crate) const EXITS: usize = NODES + 1;
/// Features that a block can name.
pub(crate) const MAX_FEATURES: usize = 1 << 15;
/// Values that exits can name without a table of values.
pub(crate) const MAX_VALUES: usize = 1 << 15;
/// Blocks of one model, at most: a place in the table of values is eight times a block's number.
pub(crate) const MAX_BLOCKS: usize = 1 << 29;
/// No block counts its exits from here on: far enough from the largest number that the sum with an exit's place is one.
const FIRST_END: u32 = 1 << 31;
/// The bit of an exit that is a leaf.
pub(crate) const LEAF: u16 = 1 << 15;
/// The bit of a feature whose missing values go right.
pub(crate) const MISSING_RIGHT: u16 = 1 << 15;
/// Bits of the nodes whose answer is turned round; the shape's number is above.
pub(crate) const SHAPE_SHIFT: u32 = 7;

/// Seven nodes, at least the first of a tree of one leaf included. Nodes are in preorder of the block's shape.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Block {
    /// A greater value goes right. A node that is only there to fill the block has a NaN, which nothing exceeds.
    pub(crate) thresholds: [f32; NODES],
    /// The block from which exits are counted.
    pub(crate) first: u32,
    /// Blocks, counted from `first`, or leaves: [`LEAF`] with the row of the value, if there is no table of them.
    pub(crate) exits: [u16; EXITS],
    /// With [`MISSING_RIGHT`].
    pub(crate) features: [u16; NODES],
    /// Number of the shape above, one bit below for each node whose children are exchanged.
    pub(crate) shape: u16,
}

/// How seven nodes may hang together, in preorder, 1 a node and 0 an exit: every tree of seven nodes in which no left
/// subtree is smaller than the right one, by number of nodes, then by this code. A tree of any other form becomes one of
/// them by exchanging children.
pub(crate) const SHAPES: [u16; 23] = [
    0x7264, 0x7864, 0x7870, 0x7898, 0x78C4, 0x7918, 0x7924, 0x7930, 0x7C18, 0x7C24, 0x7C30, 0x7C44, 0x7C48, 0x7C60,
    0x7C84, 0x7C88, 0x7C90, 0x7E04, 0x7E08, 0x7E10, 0x7E20, 0x7E40, 0x7F00,
];

/// Bits of a shape's code.
const SHAPE_BITS: u32 = 15;

/// Entries of [`EXIT_OF`]: the shapes' rounded up to a power of two, so that a mask bounds an index.
const TABLE: usize = 4096;

/// The exit by a block's `shape`, in whose lower bits those of the nodes that send a value right are flipped.
static EXIT_OF: [u8; TABLE] = exit_table();

const fn exit_table() -> [u8; TABLE] {
    let mut table = [0; TABLE];
    let mut shape = 0;
    while shape < SHAPES.len() {
        let mut answers = 0;
        while answers < 1 << SHAPE_SHIFT {
            table[shape << SHAPE_SHIFT | answers] = exit_of(SHAPES[shape], answers);
            answers += 1;
        }
        shape += 1;
    }
    table
}

/// The exit of a shape where bit k of `answers` says that node k goes right.
const fn exit_of(code: u16, answers: usize) -> u8 {
    let (mut at, mut node, mut exit) = (SHAPE_BITS - 1, 0, 0);
    while code >> at & 1 == 1 {
        let right = answers >> node & 1 == 1;
        at -= 1;
        node += 1;
        if right {
            // Skip the left subtree: it ends where it has one exit more than nodes.
            let mut open = 1;
            while open > 0 {
                if code >> at & 1 == 1 {
                    node += 1;
                    open += 1;
                } else {
                    exit += 1;
                    open -= 1;
                }
                at -= 1;
            }
        }
    }
    exit
}

/// Where a block leads, by its shape, in which the bits of nodes that send their values right are flipped.
#[inline(always)]
pub(super) fn exit(answers: u16) -> usize {
    usize::from(EXIT_OF[usize::from(answers) % TABLE]) % EXITS
}

impl Block {
    /// The thresholds and, in the last lane, what lies behind them.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn threshold_lanes(&self) -> &[f32; NODES + 1] {
        let halves: &[[f32; NODES + 1]; 2] = bytemuck::cast_ref(self);
        &halves[0]
    }

    /// The features and, in the last lane, the shape.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn feature_lanes(&self) -> &[u16; NODES + 1] {
        let quarters: &[[u16; NODES + 1]; 4] = bytemuck::cast_ref(self);
        &quarters[3]
    }

    /// Whether features and values exist and other exits are blocks behind this one, which is number `at` of a tree that
    /// ends before number `end`: then every walk ends. `n_values` bounds the rows of values, if exits name them.
    #[inline(always)]
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "whether an exit is a leaf is a coin's toss: no branch foresees it"
    )]
    pub(super) fn is_sound(&self, at: u32, end: u32, n_features: usize, n_values: Option<usize>) -> bool {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (n_features, n_values) = (clamp(n_features), n_values.map_or(u32::MAX, clamp));
        let mut bad = usize::from(self.shape >> SHAPE_SHIFT) >= SHAPES.len();
        for feature in self.features {
            bad |= u32::from(feature & !MISSING_RIGHT) >= n_features;
        }
        // Blocks behind this one, counted from the next. The sum wraps at most for a `first` that no block has.
        let (n_behind, first) = (end - at - 1, self.first.wrapping_sub(at + 1));
        let mut goes_on = false;
        for exit in self.exits {
            let (leaf, place) = (exit & LEAF != 0, u32::from(exit & !LEAF));
            goes_on |= !leaf;
            bad |= (leaf & (place >= n_values)) | (!leaf & (first.wrapping_add(place) >= n_behind));
        }
        !(bad | (goes_on & (self.first >= FIRST_END)))
    }
}

#[cfg(test)]
mod tests {
    use super::{EXITS, NODES, SHAPES, exit_of};

    /// Codes of all trees of so many nodes whose left subtrees are not smaller than the right ones.
    fn codes(n_nodes: usize) -> Vec<u16> {
        let Some(below) = n_nodes.checked_sub(1) else { return vec![0] };
        let mut found = vec![];
        for n_right in 0..=below / 2 {
            let n_left = below - n_right;
            for left in codes(n_left) {
                for right in codes(n_right) {
                    if n_left > n_right || left >= right {
                        found.push((1 << (2 * n_left + 1) | left) << (2 * n_right + 1) | right);
                    }
                }
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn the_shapes_are_all_there_are() {
        assert_eq!(codes(NODES), SHAPES);
    }

    /// Exit by walking a tree that is written out, instead of skipping through its code.
    fn walk(code: u16, answers: usize) -> usize {
        #[derive(Clone)]
        enum Tree {
            Exit(usize),
            Node(usize, Box<[Tree; 2]>),
        }
        fn parse(code: u16, at: &mut u32, nodes: &mut usize, exits: &mut usize) -> Tree {
            let is_node = code >> *at & 1 == 1;
            *at = at.wrapping_sub(1);
            let counter = if is_node { &mut *nodes } else { &mut *exits };
            let number = *counter;
            *counter += 1;
            if !is_node {
                return Tree::Exit(number);
            }
            let left = parse(code, at, nodes, exits);
            Tree::Node(number, Box::new([left, parse(code, at, nodes, exits)]))
        }
        let mut tree = parse(code, &mut 14, &mut 0, &mut 0);
        loop {
            match tree {
                Tree::Exit(exit) => return exit,
                Tree::Node(node, children) => tree = children[answers >> node & 1].clone(),
            }
        }
    }

    #[test]
    fn every_shape_leads_every_answer_to_its_exit() {
        for code in SHAPES {
            let mut seen = [false; EXITS];
            for answers in 0..1 << NODES {
                let exit = usize::from(exit_of(code, answers));
                assert_eq!(exit, walk(code, answers), "{code:x}, {answers:b}");
                seen[exit] = true;
            }
            assert_eq!(seen, [true; EXITS]);
        }
    }
}
