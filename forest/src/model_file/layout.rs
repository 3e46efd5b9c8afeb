//! Places and shapes in the file.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::{Model, ModelFileError};

pub(super) const MAGIC: [u8; 8] = *b"RGFOREST";
/// Version written; older ones stay readable.
pub(super) const VERSION: u32 = 1;
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
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Identity,
        Self::Roots,
        Self::Nodes,
        Self::Values,
        Self::Thresholds,
        Self::Impurities,
        Self::Rows,
        Self::Weights,
        Self::NodeValues,
    ];
    /// Sections that every file has.
    pub(super) const NEEDED: usize = 4;

    /// Index in [`Sections`].
    pub(super) fn index(self) -> usize {
        self as usize - 1
    }
}

/// Byte ranges of the sections, empty where a section is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sections(pub(super) [Range<usize>; 9]);

/// A node as stored.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Node {
    /// A value ≤ threshold goes left.
    pub(super) threshold: f32,
    /// Feature in the lower 31 bits, all ones in a leaf; the top bit sends missing values left.
    pub(super) feature: u32,
    /// Left child, counted from the first node of the file; in a leaf, the row of its value.
    pub(super) left: u32,
    /// Right child; 0 in a leaf.
    pub(super) right: u32,
}

impl Node {
    pub(super) const MISSING_LEFT: u32 = 1 << 31;
    pub(super) const LEAF: u32 = Self::MISSING_LEFT - 1;

    /// Whether the node has no children.
    pub fn is_leaf(self) -> bool {
        self.feature & Self::LEAF == Self::LEAF
    }

    /// The feature compared; of no meaning in a leaf.
    pub fn feature(self) -> usize {
        (self.feature & Self::LEAF) as usize
    }

    /// Whether a missing value goes left.
    pub fn missing_go_to_left(self) -> bool {
        self.feature & Self::MISSING_LEFT != 0
    }
}

impl Model {
    /// First node of each tree, then the number of nodes.
    pub(super) fn roots(&self) -> &[u32] {
        self.numbers(Kind::Roots)
    }

    /// Nodes of all trees.
    pub fn nodes(&self) -> &[Node] {
        self.numbers(Kind::Nodes)
    }

    /// Leaf values, `(n_values, n_classes)`.
    pub(super) fn values(&self) -> &[f64] {
        self.numbers(Kind::Values)
    }

    /// A section's numbers; [`Model::from_bytes`] has made sure that their size and place fit.
    pub(super) fn numbers<T: Pod>(&self, kind: Kind) -> &[T] {
        bytemuck::try_cast_slice(&self.as_bytes()[self.sections.0[kind.index()].clone()]).unwrap_or(&[])
    }
}

pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, ModelFileError> {
    Err(ModelFileError(reason.into()))
}
