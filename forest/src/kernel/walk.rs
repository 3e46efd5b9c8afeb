//! Rows through blocks of nodes: the loops that all levels share.
//!
//! Walks that are in work lie in a list. A pass over it takes every walk one block further and keeps those that go on, so
//! that the processor always has many independent steps to work on and waits for memory for many at a time. One row alone
//! goes through all trees at once in this manner; many rows go through one tree after another. Either way a row's values are
//! added in the order of the trees.
//!
//! Every place is checked when it is read: no claim about the blocks is needed for safety.

#![expect(clippy::inline_always, reason = "each level compiles the loops again with its own instructions")]

use super::block::{self, Block, EXITS, LEAF, MISSING_RIGHT, NODES};
#[cfg(target_arch = "x86_64")]
use super::walk_avx2::fetch;

/// Trees in blocks and the values of their leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trees<'a> {
    pub(crate) blocks: &'a [Block],
    /// First block of each tree, then the number of blocks.
    pub(crate) roots: &'a [u32],
    /// By block and exit, the row of a leaf's value; empty if exits name it themselves.
    pub(crate) rows: &'a [[u32; EXITS]],
    /// `(n_values, n_outputs)`.
    pub(crate) values: &'a [f64],
    pub(crate) n_features: usize,
    pub(crate) n_outputs: usize,
}

impl Trees<'_> {
    fn n_trees(&self) -> usize {
        self.roots.len().saturating_sub(1)
    }

    /// Whether all blocks of a tree are sound, see [`Block::is_sound`]. `tree` must be one of the trees.
    #[inline(always)]
    pub(super) fn are_sound(&self, tree: usize) -> bool {
        let (first, last) = (self.roots[tree], self.roots[tree + 1]);
        let (start, end) = (first as usize, last as usize);
        let n_values = self.values.len() / self.n_outputs;
        let named = self.rows.is_empty().then_some(n_values);
        let blocks = self.blocks.get(start..end).unwrap_or(&[]);
        let rows = self.rows.get(start..end).unwrap_or(&[]).as_flattened();
        !blocks.is_empty()
            && (first..last).zip(blocks).all(|(at, block)| block.is_sound(at, last, self.n_features, named))
            && rows.iter().all(|row| (*row as usize) < n_values)
    }

    /// Adds the value of the leaf at an end of a walk to a row's sums.
    fn add(&self, sums: &mut [f64], end: u32) {
        let row = match self.rows {
            [] => value(end),
            rows => rows.as_flattened()[end as usize] as usize,
        };
        let value = &self.values[row * self.n_outputs..(row + 1) * self.n_outputs];
        for (sum, part) in sums.iter_mut().zip(value) {
            *sum += part;
        }
    }
}

/// The row of values that an exit names.
fn value(exit: u32) -> usize {
    (exit & !u32::from(LEAF)) as usize
}

/// Sums over trees to means.
#[expect(clippy::cast_precision_loss, reason = "a number of trees")]
pub(super) fn finish(sums: &mut [f64], n_trees: usize) {
    let n_trees = n_trees as f64;
    for sum in sums {
        *sum /= n_trees;
    }
}

/// Owners, rows or trees, whose walks are in work together.
const OWNERS: usize = 256;
/// Fewer rows than this go through all trees one by one.
const FEW_ROWS: usize = 32;
/// Blocks from which on the next ones are fetched ahead: fewer stay in the second cache, where that gains nothing.
const MANY_BLOCKS: usize = 8192;

/// Who the walks of a list belong to, at most [`OWNERS`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Owners<'a> {
    /// Trees of these first blocks, through which a row goes.
    Trees(&'a [u32], &'a [f32]),
    /// Rows, which go through the tree of this first block.
    Rows(u32, &'a [f32]),
}

/// What a walk has to look after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Blocks are many: fetch the next ones ahead.
    pub(super) fetch: bool,
    /// Values may be missing, or rows of leaf values are in a table.
    pub(super) all: bool,
}

/// Walks in work, and where each owner's walk ended.
pub(super) struct Lists {
    /// The block at which each walk is.
    blocks: [u32; OWNERS],
    owners: [u8; OWNERS],
    /// By owner, the exit with [`LEAF`] that names the value; if there is a table of values, the place in it.
    ends: [u32; OWNERS],
    /// Owners there are.
    len: usize,
}

impl Lists {
    fn new() -> Self {
        Self { blocks: [0; OWNERS], owners: [0; OWNERS], ends: [0; OWNERS], len: 0 }
    }

    /// Walks owners from their first blocks to their leaves. `answers` compares the nodes of a block with the values of an
    /// owner: the block's shape, in which bits are flipped for values that exceed their thresholds.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an owner is below 256")]
    pub(super) fn walk<const ALL: bool, const FETCH: bool>(
        &mut self,
        trees: &Trees<'_>,
        roots: impl ExactSizeIterator<Item = u32>,
        answers: impl Fn(&Block, usize) -> u16,
    ) {
        self.len = roots.len().min(OWNERS);
        let mut n = 0;
        for (owner, root) in roots.enumerate() {
            n += self.step::<ALL, FETCH>(trees, root, owner as u8, n, &answers);
        }
        while n > 0 {
            let mut kept = 0;
            for at in 0..n.min(OWNERS) {
                kept += self.step::<ALL, FETCH>(trees, self.blocks[at], self.owners[at], kept, &answers);
            }
            n = kept;
        }
    }

    /// Takes a walk one block further and to this place in the lists; returns 0 if it ended there, so that the place is free
    /// again, else 1.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "one of eight exits")]
    fn step<const ALL: bool, const FETCH: bool>(
        &mut self,
        trees: &Trees<'_>,
        place: u32,
        owner: u8,
        to: usize,
        answers: &impl Fn(&Block, usize) -> u16,
    ) -> usize {
        let block = &trees.blocks[place as usize];
        let number = block::exit(answers(block, usize::from(owner)));
        let exit = block.exits[number];
        let next = block.first.wrapping_add(u32::from(exit));
        if FETCH {
            fetch(trees.blocks.as_ptr().wrapping_add(next as usize));
        }
        self.ends[usize::from(owner)] =
            if ALL && !trees.rows.is_empty() { (place * EXITS as u32) | number as u32 } else { u32::from(exit) };
        self.blocks[to % OWNERS] = next;
        self.owners[to % OWNERS] = owner;
        usize::from(exit & LEAF == 0)
    }

    /// Adds the values of all owners, which are rows.
    fn add_rows(&self, trees: &Trees<'_>, sums: &mut [f64]) {
        let ends = &self.ends[..self.len];
        if let (2, []) = (trees.n_outputs, trees.rows) {
            // The most frequent number of classes in one vector.
            let ((sums, _), (values, _)) = (sums.as_chunks_mut::<2>(), trees.values.as_chunks::<2>());
            for (sums, end) in sums.iter_mut().zip(ends) {
                let value = values[value(*end)];
                *sums = [sums[0] + value[0], sums[1] + value[1]];
            }
            return;
        }
        for (sums, end) in sums.chunks_exact_mut(trees.n_outputs).zip(ends) {
            trees.add(sums, *end);
        }
    }

    /// Adds the values of all owners, which are trees.
    fn add_trees(&self, trees: &Trees<'_>, sums: &mut [f64]) {
        let ends = &self.ends[..self.len];
        if let (2, []) = (trees.n_outputs, trees.rows) {
            let (values, _) = trees.values.as_chunks::<2>();
            let mut both = [sums[0], sums[1]];
            for end in ends {
                let value = values[value(*end)];
                both = [both[0] + value[0], both[1] + value[1]];
            }
            sums.copy_from_slice(&both);
            return;
        }
        for end in ends {
            trees.add(sums, *end);
        }
    }
}

/// There is no stable way to ask for memory ahead.
#[cfg(not(target_arch = "x86_64"))]
fn fetch(_: *const Block) {}

/// Means over the trees of row-major rows into `out`. `walk` walks the owners in the lists to their leaves. `in_registers`
/// says that a row which goes through all trees stays in registers: then rows go one by one as long as all blocks stay in
/// the second cache.
pub(super) fn predict(
    trees: &Trees<'_>,
    rows: &[f32],
    out: &mut [f64],
    missing: bool,
    in_registers: bool,
    walk: impl Fn(&mut Lists, Owners<'_>, Needs),
) {
    out.fill(0.0);
    let (width, n_outputs, n_trees) = (trees.n_features, trees.n_outputs, trees.n_trees());
    let needs = Needs { fetch: trees.blocks.len() > MANY_BLOCKS, all: missing || !trees.rows.is_empty() };
    let mut lists = Lists::new();
    if rows.len() < FEW_ROWS * width || in_registers && !needs.fetch {
        for (row, sums) in rows.chunks_exact(width).zip(out.chunks_exact_mut(n_outputs)) {
            for roots in trees.roots[..n_trees].chunks(OWNERS) {
                walk(&mut lists, Owners::Trees(roots, row), needs);
                lists.add_trees(trees, sums);
            }
            finish(sums, n_trees);
        }
        return;
    }
    for (rows, out) in rows.chunks(OWNERS * width).zip(out.chunks_mut(OWNERS * n_outputs)) {
        for root in &trees.roots[..n_trees] {
            walk(&mut lists, Owners::Rows(*root, rows), needs);
            lists.add_rows(trees, out);
        }
        finish(out, n_trees);
    }
}

/// Runs a walk in the variant that its needs ask for.
macro_rules! in_variant {
    ($needs:expr, $walk:ident $arguments:tt) => {
        match ($needs.all, $needs.fetch) {
            (false, false) => $walk::<false, false> $arguments,
            (false, true) => $walk::<false, true> $arguments,
            (true, false) => $walk::<true, false> $arguments,
            (true, true) => $walk::<true, true> $arguments,
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use in_variant;

/// The values of a row that a block's nodes compare; the last place is not a node's.
#[inline(always)]
pub(super) fn values(block: &Block, row: &[f32]) -> [f32; NODES + 1] {
    std::array::from_fn(|node| {
        block.features.get(node).map_or(0.0, |feature| row[usize::from(feature & !MISSING_RIGHT)])
    })
}

#[inline(always)]
fn answers<const ALL: bool>(block: &Block, row: &[f32]) -> u16 {
    let values = values(block, row);
    let nodes = block.thresholds.iter().zip(&block.features).zip(&values).enumerate();
    nodes.fold(block.shape, |answers, (node, ((threshold, feature), value))| {
        let missing = ALL && value.is_nan() && feature & MISSING_RIGHT != 0;
        answers ^ u16::from((value > threshold) | missing) << node
    })
}

/// [`predict`] in plain Rust.
pub(super) fn predict_portable(trees: &Trees<'_>, rows: &[f32], out: &mut [f64], missing: bool) {
    predict(trees, rows, out, missing, false, |lists, owners, needs| {
        in_variant!(needs, walk_portable(trees, lists, owners));
    });
}

fn walk_portable<const ALL: bool, const FETCH: bool>(trees: &Trees<'_>, lists: &mut Lists, owners: Owners<'_>) {
    let width = trees.n_features;
    match owners {
        Owners::Trees(roots, row) => {
            lists.walk::<ALL, FETCH>(trees, roots.iter().copied(), |block, _| answers::<ALL>(block, row));
        }
        Owners::Rows(root, rows) => {
            let roots = std::iter::repeat_n(root, rows.len() / width);
            lists.walk::<ALL, FETCH>(trees, roots, |block, owner| {
                answers::<ALL>(block, &rows[owner * width..][..width])
            });
        }
    }
}
