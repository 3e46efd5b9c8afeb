//! Places and shapes in the file.

use std::ops::Range;

use bytemuck::Pod;

use super::nodes::{Form, Node, Packed, Wide, feature_bits, fits_packed};
use super::{Model, ModelFileError};
use crate::kernel::block;

/// The first bytes of every native file.
pub const MAGIC: [u8; 8] = *b"RGFOREST";
/// The newest version; older ones stay readable.
pub(super) const VERSION: u32 = 3;
/// The version of forests whose files hold no blocks.
pub(super) const VERSION_OF_NODES: u32 = 1;
/// The version of imported ensembles, whose files hold no blocks either.
pub(super) const VERSION_IMPORTED: u32 = 2;
pub(super) const ALIGNMENT: usize = 64;
pub(super) const HEADER_LEN: usize = 64;
pub(super) const HASH: Range<usize> = 32..64;
pub(super) const ENTRY_LEN: usize = 24;

/// Kinds of sections, in their order in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum Kind {
    Identity = 1,
    Roots,
    Nodes,
    Values,
    Thresholds,
    Impurities,
    Rows,
    Weights,
    NodeValues,
    Numbers,
    BlockRoots,
    Blocks,
    LeafRows,
}

/// Kinds of sections.
pub(super) const N_KINDS: usize = 13;

impl Kind {
    pub(super) const ALL: [Self; N_KINDS] = [
        Self::Identity,
        Self::Roots,
        Self::Nodes,
        Self::Values,
        Self::Thresholds,
        Self::Impurities,
        Self::Rows,
        Self::Weights,
        Self::NodeValues,
        Self::Numbers,
        Self::BlockRoots,
        Self::Blocks,
        Self::LeafRows,
    ];
    /// Training statistics.
    pub(super) const STATISTICS: [Self; 6] =
        [Self::Thresholds, Self::Impurities, Self::Rows, Self::Weights, Self::NodeValues, Self::Numbers];

    /// Whether a file may hold sections of just these kinds.
    pub(super) fn are_complete(kinds: &[Self], version: u32) -> bool {
        let has = |kind: &Self| kinds.contains(kind);
        let has_statistics = Self::STATISTICS.iter().all(has);
        let has_blocks = version == VERSION;
        [Self::Identity, Self::Roots, Self::Values].iter().all(has)
            && (has_statistics && version != VERSION_IMPORTED || !Self::STATISTICS.iter().any(has))
            && [Self::BlockRoots, Self::Blocks].iter().all(|kind| has(kind) == has_blocks)
            && (has_blocks || !has(&Self::LeafRows))
            // Blocks are enough to predict, but a forest is made of nodes.
            && has(&Self::Nodes) == (has_statistics || !has_blocks)
    }

    /// Index in [`Sections`].
    pub(super) fn index(self) -> usize {
        self as usize - 1
    }
}

/// Byte ranges of the sections, empty where a section is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sections(pub(super) [Range<usize>; N_KINDS]);

/// How wide nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeForm {
    /// 8 bytes.
    Packed,
    /// 16 bytes.
    Wide,
}

impl NodeForm {
    /// The form of a file of these features, trees and values.
    pub(super) fn of(n_features: usize, roots: &[u32], n_values: usize) -> Self {
        let largest = roots.windows(2).map(|tree| tree[1].saturating_sub(tree[0])).max().unwrap_or(0);
        if fits_packed(n_features, largest as usize, n_values) { Self::Packed } else { Self::Wide }
    }

    /// Bytes per node.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Packed => size_of::<Packed>(),
            Self::Wide => size_of::<Wide>(),
        }
    }
}

/// Whether blocks can hold trees on so many features.
pub(super) fn fits_blocks(n_features: usize) -> bool {
    n_features <= block::MAX_FEATURES
}

impl Model {
    /// First node of each tree, then the number of nodes.
    pub(super) fn roots(&self) -> &[u32] {
        self.numbers(Kind::Roots)
    }

    /// Shows every node: its tree, its place there, itself and, of a leaf, its value. A file without nodes shows none.
    pub(crate) fn each_node<E>(&self, show: impl FnMut(usize, usize, Node, &[f64]) -> Result<(), E>) -> Result<(), E> {
        match self.form {
            NodeForm::Packed => self.each_node_of::<Packed, E>(show),
            NodeForm::Wide => self.each_node_of::<Wide, E>(show),
        }
    }

    fn each_node_of<N: Form, E>(
        &self,
        mut show: impl FnMut(usize, usize, Node, &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (nodes, width, bits) = (self.numbers::<N>(Kind::Nodes), self.width(), feature_bits(self.n_features()));
        for (tree, bounds) in self.roots().windows(2).enumerate() {
            for (at, node) in nodes.get(bounds[0] as usize..bounds[1] as usize).unwrap_or(&[]).iter().enumerate() {
                let node = node.unpack(bits);
                let value = node.value as usize * width;
                let value = if node.is_leaf() { &self.values()[value..value + width] } else { &[] };
                show(tree, at, node, value)?;
            }
        }
        Ok(())
    }

    /// Leaf values, `(n_values, width)`.
    pub(super) fn values(&self) -> &[f64] {
        self.numbers(Kind::Values)
    }

    /// A section's numbers; [`Model::from_bytes`] has made sure that their size and place fit.
    ///
    /// # Panics
    ///
    /// If the section does not hold a whole number of `T`: it is read as what it is not.
    pub(super) fn numbers<T: Pod>(&self, kind: Kind) -> &[T] {
        bytemuck::cast_slice(&self.as_bytes()[self.sections.0[kind.index()].clone()])
    }
}

pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, ModelFileError> {
    Err(ModelFileError(reason.into()))
}
