//! Bytes to a model: every check is made here, once.

use std::sync::Arc;

use super::layout::{ALIGNMENT, ENTRY_LEN, HASH, HEADER_LEN, Kind, MAGIC, Node, Sections, VERSION, refuse};
use super::write::digest;
use super::{Identity, Model, ModelBytes, ModelFileError};
use crate::Error;
use crate::forest::Forest;
use crate::random::tree_seeds;
use crate::tree::{TREE_LEAF, TREE_UNDEFINED, Tree};

/// Bytes at an address that suits every section's numbers.
struct Aligned {
    words: Vec<u64>,
    len: usize,
}

impl Aligned {
    fn copy(bytes: &[u8]) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, len: bytes.len() }
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}

impl Model {
    /// Reads a model file: checks its SHA-256, then every index once. The bytes are used in place if they lie at a
    /// multiple of 8, as memory maps and large allocations do, and copied otherwise.
    ///
    /// # Errors
    ///
    /// Bytes that are cut, changed, or of another kind or version.
    pub fn from_bytes(bytes: ModelBytes) -> Result<Self, Error> {
        let sections = read_header((*bytes).as_ref())?;
        let content = (*bytes).as_ref();
        if digest(content) != content[HASH] {
            return Err(ModelFileError("the SHA-256 does not fit: the file was changed".to_owned()).into());
        }
        Self::from_sections(bytes, sections)
    }

    /// Reads a model file as [`Model::from_bytes`] does, but without its SHA-256, for bytes that were already compared
    /// with a content address. Wrong bytes may give wrong answers or an error, never undefined behaviour.
    ///
    /// # Errors
    ///
    /// As [`Model::from_bytes`].
    pub fn from_verified_bytes(bytes: ModelBytes) -> Result<Self, Error> {
        let sections = read_header((*bytes).as_ref())?;
        Self::from_sections(bytes, sections)
    }

    fn from_sections(bytes: ModelBytes, sections: Sections) -> Result<Self, Error> {
        let content = (*bytes).as_ref();
        let identity: Identity = serde_json::from_slice(&content[sections.0[Kind::Identity.index()].clone()])
            .map_err(|error| ModelFileError(format!("bad description: {error}")))?;
        let bytes = if content.as_ptr().addr().is_multiple_of(8) {
            bytes
        } else {
            Arc::new(Aligned::copy(content)) as ModelBytes
        };
        let model = Self { bytes, identity: Arc::new(identity), sections };
        model.check_identity()?;
        model.check_sizes()?;
        model.check_nodes()?;
        Ok(model)
    }

    fn check_identity(&self) -> Result<(), ModelFileError> {
        if let Err(error) = self.params().check() {
            return refuse(error.to_string());
        }
        let range = self.range();
        if range.is_empty() || range.end > self.params().n_estimators {
            return refuse(format!("it claims trees {}..{} of {}", range.start, range.end, self.params().n_estimators));
        }
        if self.params().estimator.is_regressor() != self.classes().is_empty()
            || self.n_classes() == 1
            || self.n_features() == 0
        {
            return refuse("its classes do not fit its estimator, or it has no feature");
        }
        if self.n_features() >= Node::LEAF as usize {
            return refuse("it has too many features");
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), ModelFileError> {
        let size = |kind: Kind| self.sections.0[kind.index()].len();
        let n_nodes = size(Kind::Nodes) / size_of::<Node>();
        let row = self.n_outputs() * size_of::<f64>();
        if size(Kind::Nodes) % size_of::<Node>() != 0
            || size(Kind::Values) % row != 0
            || size(Kind::Roots) != (self.n_trees() + 1) * size_of::<u32>()
        {
            return refuse("the sections do not fit the description");
        }
        let statistics = [
            (Kind::Thresholds, 8),
            (Kind::Impurities, 8),
            (Kind::Rows, 4),
            (Kind::Weights, 8),
            (Kind::NodeValues, row),
        ];
        if self.has_statistics() && statistics.iter().any(|(kind, width)| size(*kind) != n_nodes * width) {
            return refuse("the training statistics do not fit the nodes");
        }
        Ok(())
    }

    /// Children lie after their parents inside one tree, so every walk ends; features and values exist.
    fn check_nodes(&self) -> Result<(), ModelFileError> {
        let (roots, nodes) = (self.roots(), self.nodes());
        let (n_features, n_values) = (self.n_features(), self.values().len() / self.n_outputs());
        if roots.first() != Some(&0) || roots.last().is_none_or(|last| *last as usize != nodes.len()) {
            return refuse("the trees do not cover the nodes");
        }
        for tree in roots.windows(2) {
            let (start, end) = (tree[0] as usize, tree[1] as usize);
            if start >= end || end > nodes.len() {
                return refuse("a tree has no nodes");
            }
            for (at, node) in nodes[start..end].iter().enumerate() {
                let inside = |child: u32| child as usize > start + at && (child as usize) < end;
                let good = if node.is_leaf() {
                    (node.left as usize) < n_values
                } else {
                    node.feature() < n_features && inside(node.left) && inside(node.right) && !node.threshold.is_nan()
                };
                if !good {
                    return refuse(format!("node {} points outside its tree, the features or the values", start + at));
                }
            }
        }
        Ok(())
    }

    /// Whether the file holds training statistics, without which it cannot become a [`Forest`].
    pub fn has_statistics(&self) -> bool {
        Kind::ALL[Kind::NEEDED..].iter().any(|kind| !self.sections.0[kind.index()].is_empty())
    }

    /// The forest with all node arrays, for merging and evaluation.
    ///
    /// # Errors
    ///
    /// A file without training statistics.
    pub fn to_forest(&self) -> Result<Forest, Error> {
        if !self.has_statistics() {
            return Err(ModelFileError("it holds no training statistics".to_owned()).into());
        }
        let seeds = tree_seeds(self.params().random_state).skip(self.range().start as usize);
        let trees = self
            .roots()
            .windows(2)
            .zip(seeds)
            .map(|(tree, seed)| self.to_tree(tree[0] as usize, tree[1] as usize, seed));
        Ok(Forest::from_parts(
            self.params().clone(),
            self.classes().to_vec(),
            self.feature_names().to_vec(),
            self.data_sha256().to_owned(),
            self.range(),
            trees.collect(),
        ))
    }

    fn to_tree(&self, start: usize, end: usize, random_state: u32) -> Tree {
        let n_outputs = self.n_outputs();
        let nodes = &self.nodes()[start..end];
        let child = |node: &Node, child: u32| {
            if node.is_leaf() { TREE_LEAF } else { i32::try_from(child as usize - start).unwrap_or(TREE_LEAF) }
        };
        let feature = |node: &Node| {
            if node.is_leaf() { TREE_UNDEFINED } else { i32::try_from(node.feature()).unwrap_or(TREE_UNDEFINED) }
        };
        let part = |kind: Kind, width: usize| self.numbers::<f64>(kind)[start * width..end * width].to_vec();
        Tree {
            random_state,
            n_outputs,
            feature: nodes.iter().map(feature).collect(),
            threshold: part(Kind::Thresholds, 1),
            children_left: nodes.iter().map(|node| child(node, node.left)).collect(),
            children_right: nodes.iter().map(|node| child(node, node.right)).collect(),
            missing_go_to_left: nodes.iter().map(|node| node.missing_go_to_left()).collect(),
            impurity: part(Kind::Impurities, 1),
            n_node_samples: self.numbers::<u32>(Kind::Rows)[start..end].to_vec(),
            weighted_n_node_samples: part(Kind::Weights, 1),
            value: part(Kind::NodeValues, n_outputs),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn place(bytes: &[u8], at: usize) -> Result<usize, ModelFileError> {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    usize::try_from(u64::from_le_bytes(word)).map_err(|_| ModelFileError("an impossible length".to_owned()))
}

/// Reads header and section table; afterwards every section lies inside the bytes, aligned, in order.
fn read_header(bytes: &[u8]) -> Result<Sections, ModelFileError> {
    if bytes.len() < HEADER_LEN || bytes[..8] != MAGIC {
        return refuse("the magic number is missing");
    }
    if word(bytes, 8) != VERSION {
        return refuse(format!("version {} is unknown; this reader knows {VERSION}", word(bytes, 8)));
    }
    let n_sections = word(bytes, 12) as usize;
    if n_sections != Kind::NEEDED && n_sections != Kind::ALL.len() {
        return refuse(format!("it claims {n_sections} sections"));
    }
    if place(bytes, 16)? != bytes.len() || place(bytes, 24)? != 0 {
        return refuse(format!("it claims another length than its {} bytes", bytes.len()));
    }
    let mut end = HEADER_LEN + n_sections * ENTRY_LEN;
    if bytes.len() < end {
        return refuse("cut short");
    }
    let mut sections = Sections::default();
    for (at, kind) in Kind::ALL.iter().take(n_sections).enumerate() {
        let entry = HEADER_LEN + at * ENTRY_LEN;
        let (start, len) = (place(bytes, entry + 8)?, place(bytes, entry + 16)?);
        let stop = start.checked_add(len).filter(|stop| *stop <= bytes.len());
        let in_order = word(bytes, entry) == *kind as u32
            && word(bytes, entry + 4) == 0
            && start == end.next_multiple_of(ALIGNMENT);
        let Some(stop) = stop.filter(|_| in_order) else {
            return refuse(format!("section {} is out of place", *kind as u32));
        };
        if bytes[end..start].iter().any(|byte| *byte != 0) {
            return refuse("a gap is not zero");
        }
        sections.0[kind.index()] = start..stop;
        end = stop;
    }
    if end != bytes.len() {
        return refuse("bytes after the last section");
    }
    Ok(sections)
}
