//! Bytes to a model: every check is made here, once.

use std::sync::Arc;

use super::layout::{ALIGNMENT, ENTRY_LEN, HASH, HEADER_LEN, Kind, MAGIC, NodeForm, Sections, VERSION, refuse};
use super::nodes::{Form, Node, Packed, Wide, are_sound};
use super::write::digest;
use super::{Identity, Model, ModelBytes, ModelFileError};
use crate::Error;
use crate::forest::Forest;
use crate::kernel::{self, Level};
use crate::random::tree_seeds;
use crate::tree::{TREE_LEAF, TREE_UNDEFINED, Tree};

/// Features that a wide node can name.
const MAX_FEATURES: usize = 1 << 31;

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
        let level = Level::best();
        let mut model = Self { bytes, identity: Arc::new(identity), sections, form: NodeForm::Packed, level };
        model.check_identity()?;
        model.form = model.check_sizes()?;
        match model.form {
            NodeForm::Packed => model.check_nodes::<Packed>(|nodes, n_features, n_values| {
                kernel::are_sound(level, nodes, n_features, n_values)
            })?,
            NodeForm::Wide => model.check_nodes::<Wide>(are_sound)?,
        }
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
        if self.n_features() > MAX_FEATURES {
            return refuse("it has too many features");
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<NodeForm, ModelFileError> {
        let size = |kind: Kind| self.sections.0[kind.index()].len();
        let row = self.n_outputs() * size_of::<f64>();
        let n_nodes = self.n_nodes();
        let form = NodeForm::of(self.n_features(), self.roots(), size(Kind::Values) / row);
        if size(Kind::Values) % row != 0
            || size(Kind::Roots) != (self.n_trees() + 1) * size_of::<u32>()
            || size(Kind::Nodes) != n_nodes * form.width()
        {
            return refuse("the sections do not fit the description");
        }
        let statistics = [
            (Kind::Thresholds, 8),
            (Kind::Impurities, 8),
            (Kind::Rows, 4),
            (Kind::Weights, 8),
            (Kind::NodeValues, row),
            (Kind::Numbers, 4),
        ];
        if self.has_statistics() && statistics.iter().any(|(kind, width)| size(*kind) != n_nodes * width) {
            return refuse("the training statistics do not fit the nodes");
        }
        Ok(form)
    }

    /// Children lie after their parents inside one tree, so every walk ends; features and values exist.
    fn check_nodes<N: Form>(&self, are_sound: impl Fn(&[N], usize, usize) -> bool) -> Result<(), ModelFileError> {
        let trees = self.trees::<N>();
        let n_values = trees.values.len() / self.n_outputs();
        if trees.roots.first() != Some(&0) {
            return refuse("the trees do not cover the nodes");
        }
        for (at, tree) in trees.roots.windows(2).enumerate() {
            let nodes = trees.nodes.get(tree[0] as usize..tree[1] as usize).unwrap_or(&[]);
            if nodes.is_empty() {
                return refuse("a tree has no nodes");
            }
            if !are_sound(nodes, self.n_features(), n_values) {
                return refuse(format!("a node of tree {at} points outside its tree, the features or the values"));
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
        let trees = self.roots().windows(2).zip(seeds).map(|(tree, seed)| {
            let (start, end) = (tree[0] as usize, tree[1] as usize);
            match self.form {
                NodeForm::Packed => self.to_tree::<Packed>(start, end, seed),
                NodeForm::Wide => self.to_tree::<Wide>(start, end, seed),
            }
        });
        Ok(Forest::from_parts(
            self.params().clone(),
            self.classes().to_vec(),
            self.feature_names().to_vec(),
            self.categories().clone(),
            self.data_sha256().to_owned(),
            self.range(),
            trees.collect::<Result<_, _>>()?,
        ))
    }

    fn to_tree<N: Form>(&self, start: usize, end: usize, random_state: u32) -> Result<Tree, ModelFileError> {
        let (n_nodes, n_outputs, trees) = (end - start, self.n_outputs(), self.trees::<N>());
        let numbers = &self.numbers::<u32>(Kind::Numbers)[start..end];
        let part = |kind: Kind, width: usize| self.numbers::<f64>(kind)[start * width..end * width].to_vec();
        let mut tree = Tree {
            random_state,
            n_outputs,
            feature: vec![TREE_UNDEFINED; n_nodes],
            threshold: part(Kind::Thresholds, 1),
            children_left: vec![TREE_LEAF; n_nodes],
            children_right: vec![TREE_LEAF; n_nodes],
            missing_go_to_left: vec![false; n_nodes],
            impurity: part(Kind::Impurities, 1),
            n_node_samples: self.numbers::<u32>(Kind::Rows)[start..end].to_vec(),
            weighted_n_node_samples: part(Kind::Weights, 1),
            value: part(Kind::NodeValues, n_outputs),
        };
        let mut seen = vec![false; n_nodes];
        for (node, number) in trees.nodes[start..end].iter().zip(numbers) {
            let number = *number as usize;
            if seen.get(number) != Some(&false) {
                return refuse(format!("two nodes of a tree have the number {number}, or it is beyond the tree"));
            }
            seen[number] = true;
            let node: Node = node.unpack(trees.feature_bits);
            if !node.is_leaf() {
                let child = |child: u32| i32::try_from(numbers[child as usize]).unwrap_or(TREE_LEAF);
                tree.feature[number] = i32::try_from(node.feature).unwrap_or(TREE_UNDEFINED);
                tree.children_left[number] = child(node.child);
                tree.children_right[number] = child(node.child + 1);
                tree.missing_go_to_left[number] = !node.missing_right;
            }
        }
        Ok(tree)
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
