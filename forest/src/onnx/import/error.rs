//! What an import allows, and why it refuses.

use std::fmt;

/// Bounds of what [`import`](super::import) takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file: 256 MiB.
    pub bytes_max: usize,
    /// Operators, and values between them, in the graph: 10,000.
    pub operators_max: usize,
    /// Features of a row: 2^20.
    pub features_max: usize,
    /// Numbers that the ensemble or a step after it gives per row, so classes too: 65,536.
    pub outputs_max: usize,
    /// Trees: 2^20.
    pub trees_max: usize,
    /// Nodes of all trees, as read and after tests for membership have become comparisons: 2^25.
    pub nodes_max: usize,
    /// Depth of a tree: 10,000.
    pub depth_max: usize,
    /// Nodes made for each node and member read, on average, where paths meet or a test for membership has ranges: 4,096.
    pub expansion_max: usize,
    /// Steps through tests for membership that a path has decided: 2^28.
    pub steps_max: usize,
    /// Numbers in distinct leaf values: 2^27.
    pub leaf_numbers_max: usize,
    /// Numbers in all leaves, equal ones included: 2^30.
    pub leaf_work_max: usize,
    /// Numbers in the graph's constants and lists of columns: 2^22.
    pub numbers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            operators_max: 10_000,
            features_max: 1 << 20,
            outputs_max: 65_536,
            trees_max: 1 << 20,
            nodes_max: 1 << 25,
            depth_max: 10_000,
            expansion_max: 4096,
            steps_max: 1 << 28,
            leaf_numbers_max: 1 << 27,
            leaf_work_max: 1 << 30,
            numbers_max: 1 << 22,
        }
    }
}

/// Why bytes are not an ONNX model that can be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {0}")]
    Malformed(String),
    /// More of something than the [`Limits`] allow.
    #[error("too many {what}: at most {max} are taken in")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// An operator that is no tree ensemble, nor one that exporters put around them.
    #[error("operator `{0}` is not part of a tree ensemble that can be imported")]
    Operator(String),
    /// An attribute of an operator is missing or wrong.
    #[error("attribute `{attribute}` of {operator}: {reason}")]
    Attribute {
        /// The operator's type.
        operator: String,
        /// The attribute.
        attribute: String,
        /// What is wrong.
        reason: String,
    },
    /// A node of a tree is wrong.
    #[error("tree {tree}, node {node}: {reason}")]
    Node {
        /// The tree's id in the file, or its index where trees have none.
        tree: i64,
        /// The node's id in the file.
        node: i64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The graph around the ensemble cannot be understood.
    #[error("the graph: {0}")]
    Graph(String),
}

/// How much more of something may be made.
#[derive(Debug)]
pub(super) struct Budget {
    what: &'static str,
    max: usize,
    left: usize,
}

impl Budget {
    pub(super) fn new(what: &'static str, max: usize) -> Self {
        Self { what, max, left: max }
    }

    pub(super) fn spend(&mut self, n: usize) -> Result<(), ImportError> {
        self.left = self.left.checked_sub(n).ok_or(ImportError::TooMany { what: self.what, max: self.max })?;
        Ok(())
    }
}

pub(super) fn malformed<T>(reason: impl fmt::Display) -> Result<T, ImportError> {
    Err(ImportError::Malformed(reason.to_string()))
}

pub(super) fn graph<T>(reason: impl fmt::Display) -> Result<T, ImportError> {
    Err(ImportError::Graph(reason.to_string()))
}
