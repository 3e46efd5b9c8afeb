//! Places and shapes in the file.

use std::ops::Range;

use bytemuck::Pod;

use super::nodes::{Form, Packed, Wide, feature_bits, fits_packed};
use super::{Model, ModelFileError};
use crate::kernel::Trees;

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
    Numbers,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
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
pub(super) struct Sections(pub(super) [Range<usize>; 10]);

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

impl Model {
    /// First node of each tree, then the number of nodes.
    pub(super) fn roots(&self) -> &[u32] {
        self.numbers(Kind::Roots)
    }

    /// Trees in one of the forms of nodes, ready to walk.
    pub(super) fn trees<N: Form>(&self) -> Trees<'_, N> {
        Trees {
            nodes: self.numbers(Kind::Nodes),
            roots: self.roots(),
            values: self.values(),
            feature_bits: feature_bits(self.n_features()),
            n_features: self.n_features(),
            n_outputs: self.n_outputs(),
        }
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
