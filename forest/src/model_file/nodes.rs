//! The two stored forms of a node.
//!
//! Nodes of a tree lie breadth first, so the children of a node are neighbours: one number names both. The first levels of a
//! tree are its first nodes. A leaf is its own child, and its threshold is a NaN, which nothing exceeds: a walk that takes
//! more steps than needed stays where it is.

#![expect(clippy::inline_always, reason = "wider levels compile the check again with their own instructions")]

use bytemuck::{Pod, Zeroable};

/// A node in 8 bytes: the threshold's bits below; above, from the lowest bit, the feature, the flag of missing values, the
/// child. How many bits the feature takes follows from the number of features. A leaf's NaN holds the row of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Packed(pub(crate) u64);

/// A node in 16 bytes, for data or trees that the packed form has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Wide {
    threshold: u32,
    /// The top bit sends missing values right.
    feature: u32,
    child: u32,
    /// In a leaf, the row of its value.
    value: u32,
}

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// Bits of the float32 threshold: a greater value goes right. In a leaf, a NaN.
    pub(crate) threshold: u32,
    pub(crate) feature: u32,
    /// Whether a missing value goes right.
    pub(crate) missing_right: bool,
    /// The left child, counted from the root; the right one follows it. In a leaf, the leaf.
    pub(crate) child: u32,
    /// In a leaf, the row of its value.
    pub(crate) value: u32,
}

impl Node {
    pub(crate) fn is_leaf(self) -> bool {
        f32::from_bits(self.threshold).is_nan()
    }
}

/// A stored form of nodes.
pub(crate) trait Form: Pod {
    fn pack(node: Node, feature_bits: u32) -> Self;

    fn unpack(self, feature_bits: u32) -> Node;
}

/// The NaN whose low bits a packed leaf uses, and the lone threshold of a wide leaf.
const LEAF: u32 = 0x7FC0_0000;
/// Values that a packed leaf can name.
pub(crate) const PACKED_VALUES: u32 = 1 << 22;

impl Form for Packed {
    fn pack(node: Node, feature_bits: u32) -> Self {
        let threshold = if node.is_leaf() { LEAF | node.value } else { node.threshold };
        let above = node.child << (feature_bits + 1) | u32::from(node.missing_right) << feature_bits | node.feature;
        Self(u64::from(above) << 32 | u64::from(threshold))
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    fn unpack(self, feature_bits: u32) -> Node {
        let (threshold, above) = (self.0 as u32, (self.0 >> 32) as u32);
        Node {
            threshold,
            feature: above & ((1 << feature_bits) - 1),
            missing_right: above >> feature_bits & 1 != 0,
            child: above >> (feature_bits + 1),
            value: threshold & (PACKED_VALUES - 1),
        }
    }
}

impl Wide {
    const MISSING_RIGHT: u32 = 1 << 31;
}

impl Form for Wide {
    fn pack(node: Node, _feature_bits: u32) -> Self {
        Self {
            threshold: if node.is_leaf() { LEAF } else { node.threshold },
            feature: node.feature | if node.missing_right { Self::MISSING_RIGHT } else { 0 },
            child: node.child,
            value: node.value,
        }
    }

    fn unpack(self, _feature_bits: u32) -> Node {
        Node {
            threshold: self.threshold,
            feature: self.feature & !Self::MISSING_RIGHT,
            missing_right: self.feature & Self::MISSING_RIGHT != 0,
            child: self.child,
            value: self.value,
        }
    }
}

/// A leaf to pack.
pub(crate) fn leaf(at: u32, value: u32) -> Node {
    Node { threshold: LEAF, feature: 0, missing_right: false, child: at, value }
}

/// Bits that a feature number takes in a packed node.
pub(crate) fn feature_bits(n_features: usize) -> u32 {
    (usize::BITS - n_features.saturating_sub(1).leading_zeros()).max(1)
}

/// Whether packed nodes have room for these features, for trees of up to so many nodes and for so many values.
pub(crate) fn fits_packed(n_features: usize, max_tree: usize, n_values: usize) -> bool {
    let bits = feature_bits(n_features);
    bits < 31 && max_tree <= 1 << (31 - bits) && n_values <= PACKED_VALUES as usize
}

/// Whether every node of one tree is a leaf that is its own child and has a value, or has its children behind it inside the
/// tree. Then every walk ends, and reads nothing that is not there.
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep the loop from checking several nodes at a time")]
#[inline(always)]
pub(crate) fn are_sound<N: Form>(nodes: &[N], n_features: usize, n_values: usize) -> bool {
    let bits = feature_bits(n_features);
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (n_nodes, n_features, n_values) = (clamp(nodes.len()), clamp(n_features), clamp(n_values));
    let mut bad = false;
    for (at, node) in (0_u32..).zip(nodes) {
        let node = node.unpack(bits);
        let leaf = node.is_leaf();
        let own = node.child == at;
        let behind = (node.child > at) & (node.child < n_nodes - 1);
        let as_leaf = own & (node.value < n_values) & !node.missing_right;
        bad |= (node.feature >= n_features) | (leaf & !as_leaf) | (!leaf & !behind);
    }
    !bad
}
