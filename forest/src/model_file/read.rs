//! Bytes to a model: every check is made here, once.

use std::sync::Arc;

use super::layout::{
    ALIGNMENT, ENTRY_LEN, HASH, HEADER_LEN, Kind, MAGIC, NodeForm, Sections, VERSION, VERSION_IMPORTED,
    VERSION_OF_NODES, fits_blocks, refuse,
};
use super::nodes::{Form, Node, Packed, Wide, are_sound, feature_bits};
use super::pack::{BlockTrees, sizes};
use super::write::{digest, round_down};
use super::{About, Identity, Imported, Model, ModelBytes, ModelFileError, Walked};
use crate::Error;
use crate::forest::Forest;
use crate::frame::twice;
use crate::kernel::block::{self, Block};
use crate::kernel::{self, Level};
use crate::tree::{TREE_LEAF, TREE_UNDEFINED, Tree};

/// Features that a wide node can name.
const MAX_FEATURES: usize = 1 << 31;

/// Bytes at an address that suits every section.
struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

/// A line of the cache.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

impl Aligned {
    fn copy(bytes: &[u8]) -> Self {
        let mut lines = vec![Line([0; ALIGNMENT]); bytes.len().div_ceil(ALIGNMENT)];
        bytemuck::cast_slice_mut::<Line, u8>(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        Self { lines, len: bytes.len() }
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl Model {
    /// Reads a model file: checks its SHA-256, then every index once. The bytes are used in place if they lie at a
    /// multiple of 64, as memory maps do, and copied otherwise.
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

    /// Reads a model file as [`Model::from_bytes`] does, but without its SHA-256, for bytes that the caller compares
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
        let about = &content[sections.0[Kind::Identity.index()].clone()];
        let about = if word(content, VERSION_AT) == VERSION_IMPORTED {
            serde_json::from_slice(about).map(About::Imported)
        } else {
            serde_json::from_slice(about).map(About::Forest)
        };
        let about = about.map_err(|error| ModelFileError(format!("bad description: {error}")))?;
        let bytes = if content.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            bytes
        } else {
            Arc::new(Aligned::copy(content)) as ModelBytes
        };
        let level = Level::best();
        let (about, form, walked) = (Arc::new(about), NodeForm::Packed, Walked::Nodes);
        let mut model = Self { bytes, about, sections, form, walked, level };
        model.check_about()?;
        model.form = model.check_sizes()?;
        model.check_values()?;
        if model.has(Kind::Nodes) {
            match model.form {
                NodeForm::Packed => model.check_nodes::<Packed>(|nodes, n_features, n_values| {
                    kernel::are_sound(level, nodes, n_features, n_values)
                })?,
                NodeForm::Wide => model.check_nodes::<Wide>(are_sound)?,
            }
        }
        model.walked = if model.has(Kind::Blocks) {
            Walked::Blocks
        } else if fits_blocks(model.n_features()) {
            Walked::Made(Arc::new(match model.form {
                NodeForm::Packed => model.make_blocks::<Packed>()?,
                NodeForm::Wide => model.make_blocks::<Wide>()?,
            }))
        } else {
            Walked::Nodes
        };
        model.check_blocks()?;
        Ok(model)
    }

    fn has(&self, kind: Kind) -> bool {
        !self.sections.0[kind.index()].is_empty()
    }

    /// Whether the file holds nodes, which files written for serving do not need.
    pub(crate) fn has_nodes(&self) -> bool {
        self.has(Kind::Nodes)
    }

    fn check_about(&self) -> Result<(), ModelFileError> {
        match &*self.about {
            About::Forest(identity) => identity.check()?,
            About::Imported(imported) => imported.check()?,
        }
        if self.n_classes() == 1 || self.n_features() == 0 {
            return refuse("it has one class only, or no feature");
        }
        if self.n_features() > MAX_FEATURES {
            return refuse("it has too many features");
        }
        if let Some(name) = twice(self.feature_names().iter().map(String::as_str)) {
            return refuse(format!("two features are called `{name}`"));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<NodeForm, ModelFileError> {
        let size = |kind: Kind| self.sections.0[kind.index()].len();
        let row = self.width() * size_of::<f64>();
        if size(Kind::Roots) != (self.n_trees() + 1) * size_of::<u32>() {
            return refuse("the sections do not fit the description");
        }
        let n_nodes = self.n_nodes();
        let form = NodeForm::of(self.n_features(), self.roots(), size(Kind::Values) / row);
        if size(Kind::Values) % row != 0 || self.has(Kind::Nodes) && size(Kind::Nodes) != n_nodes * form.width() {
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
        let n_blocks = size(Kind::Blocks) / size_of::<Block>();
        let n_rows = if size(Kind::Values) / row > block::MAX_VALUES { n_blocks * block::EXITS } else { 0 };
        if self.has(Kind::Blocks)
            && (size(Kind::Blocks) != n_blocks * size_of::<Block>()
                || size(Kind::BlockRoots) != size(Kind::Roots)
                || size(Kind::LeafRows) != n_rows * size_of::<u32>()
                || self.numbers::<u32>(Kind::BlockRoots).last().map(|last| *last as usize) != Some(n_blocks)
                || !fits_blocks(self.n_features()))
        {
            return refuse("the blocks do not fit the description");
        }
        if self.has_statistics() && statistics.iter().any(|(kind, width)| size(*kind) != n_nodes * width) {
            return refuse("the training statistics do not fit the nodes");
        }
        Ok(form)
    }

    /// Answers are sums of these. Only a regressor may have learned from numbers whose mean is beyond float64.
    fn check_values(&self) -> Result<(), ModelFileError> {
        let bounded = matches!(*self.about, About::Imported(_)) || !self.is_regressor();
        if bounded && !self.values().iter().all(|value| value.is_finite()) {
            return refuse("the value of a leaf is not finite");
        }
        Ok(())
    }

    /// Children lie after their parents inside one tree, so every walk ends; features and values exist; no node has two
    /// parents, so that blocks made of a tree are not more than its nodes.
    fn check_nodes<N: Form>(&self, are_sound: impl Fn(&[N], usize, usize) -> bool) -> Result<(), ModelFileError> {
        let n_values = self.values().len() / self.width();
        if self.roots().first() != Some(&0) {
            return refuse("the trees do not cover the nodes");
        }
        let feature_bits = feature_bits(self.n_features());
        for (at, tree) in self.roots().windows(2).enumerate() {
            let nodes = self.numbers(Kind::Nodes).get(tree[0] as usize..tree[1] as usize).unwrap_or(&[]);
            if nodes.is_empty() {
                return refuse("a tree has no nodes");
            }
            if !are_sound(nodes, self.n_features(), n_values) {
                return refuse(format!("a node of tree {at} points outside its tree, the features or the values"));
            }
            if !is_breadth_first(nodes, feature_bits) {
                return refuse(format!("the nodes of tree {at} are not breadth first"));
            }
        }
        Ok(())
    }

    /// As [`Model::check_nodes`], for what predictions walk through.
    fn check_blocks(&self) -> Result<(), ModelFileError> {
        let Some(trees) = self.trees() else { return Ok(()) };
        if trees.roots.first() != Some(&0) {
            return refuse("the trees do not cover the blocks");
        }
        match (0..self.n_trees()).find(|tree| !kernel::are_sound_blocks(self.level, &trees, *tree)) {
            Some(tree) => refuse(format!("a block of tree {tree} points outside its tree, the features or the values")),
            None => Ok(()),
        }
    }

    /// Blocks of a file that has none.
    fn make_blocks<N: Form>(&self) -> Result<BlockTrees, ModelFileError> {
        let mut blocks = BlockTrees::new(self.values().len() / self.width());
        let feature_bits = feature_bits(self.n_features());
        for tree in self.roots().windows(2) {
            let range = tree[0] as usize..tree[1] as usize;
            let nodes: Vec<Node> =
                self.numbers::<N>(Kind::Nodes)[range.clone()].iter().map(|node| node.unpack(feature_bits)).collect();
            if self.has_statistics() {
                let weights = &self.numbers::<f64>(Kind::Weights)[range.clone()];
                let weight = |number: &u32| weights.get(*number as usize).copied().unwrap_or(0.0);
                blocks.push(&nodes, &self.numbers(Kind::Numbers)[range].iter().map(weight).collect::<Vec<_>>())?;
            } else {
                blocks.push(&nodes, &sizes(&nodes))?;
            }
        }
        blocks.finish()?;
        Ok(blocks)
    }

    /// Whether the file holds training statistics, without which it cannot become a [`Forest`].
    pub fn has_statistics(&self) -> bool {
        self.has(Kind::Numbers)
    }

    /// The forest with all node arrays, for merging and evaluation.
    ///
    /// # Errors
    ///
    /// A file without training statistics, or with others than its nodes'.
    pub fn to_forest(&self) -> Result<Forest, Error> {
        let Some(identity) = self.forest().filter(|_| self.has_statistics()) else {
            return Err(ModelFileError("it holds no training statistics".to_owned()).into());
        };
        let seeds = identity.params.tree_seeds().skip(self.range().start as usize);
        let trees = self.roots().windows(2).zip(seeds).map(|(tree, seed)| {
            let (start, end) = (tree[0] as usize, tree[1] as usize);
            match self.form {
                NodeForm::Packed => self.to_tree::<Packed>(start, end, seed),
                NodeForm::Wide => self.to_tree::<Wide>(start, end, seed),
            }
        });
        Ok(Forest::from_parts(
            identity.params.clone(),
            identity.classes.clone(),
            identity.feature_names.clone(),
            identity.categories.clone(),
            identity.data_sha256.clone(),
            self.range(),
            trees.collect::<Result<_, _>>()?,
        ))
    }

    fn to_tree<N: Form>(&self, start: usize, end: usize, random_state: u32) -> Result<Tree, ModelFileError> {
        let (n_nodes, n_outputs, feature_bits) = (end - start, self.n_outputs(), feature_bits(self.n_features()));
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
        for (node, number) in self.numbers::<N>(Kind::Nodes)[start..end].iter().zip(numbers) {
            let number = *number as usize;
            if seen.get(number) != Some(&false) {
                return refuse(format!("two nodes of a tree have the number {number}, or it is beyond the tree"));
            }
            seen[number] = true;
            let node: Node = node.unpack(feature_bits);
            if node.is_leaf() {
                let value = &self.values()[node.value as usize * n_outputs..][..n_outputs];
                if bytemuck::cast_slice::<f64, u64>(tree.node_value(number)) != bytemuck::cast_slice::<f64, u64>(value)
                {
                    return refuse("the value of a leaf is not that of its training statistics");
                }
            } else {
                // It may be written again, and one that is no number would make a leaf of the node.
                if round_down(tree.threshold[number]).to_bits() != node.threshold {
                    return refuse("the threshold of a node is not that of its training statistics");
                }
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

/// Whether the children of each node that has some follow those of the node before, and all nodes but the root are children.
fn is_breadth_first<N: Form>(nodes: &[N], feature_bits: u32) -> bool {
    let mut next = 1;
    for node in nodes {
        let node: Node = node.unpack(feature_bits);
        if !node.is_leaf() {
            if node.child as usize != next {
                return false;
            }
            next += 2;
        }
    }
    next == nodes.len()
}

impl Identity {
    fn check(&self) -> Result<(), ModelFileError> {
        if let Err(error) = self.params.check() {
            return refuse(error.to_string());
        }
        if self.from >= self.to || self.to > self.params.n_estimators {
            return refuse(format!("it claims trees {}..{} of {}", self.from, self.to, self.params.n_estimators));
        }
        if self.params.estimator.is_regressor() != self.classes.is_empty() {
            return refuse("its classes do not fit its estimator");
        }
        Ok(())
    }
}

impl Imported {
    fn check(&self) -> Result<(), ModelFileError> {
        if self.n_trees == 0 || self.width == 0 {
            return refuse("it has no trees, or leaves without numbers");
        }
        match self.finish.check(self.width as usize) {
            Ok(width) if width == self.classes.len().max(1) => Ok(()),
            Ok(width) => refuse(format!("it gives {width} numbers for {} classes", self.classes.len())),
            Err(reason) => refuse(reason),
        }
    }
}

/// Place of the version.
const VERSION_AT: usize = 8;

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
    let version = word(bytes, VERSION_AT);
    if ![VERSION_OF_NODES, VERSION_IMPORTED, VERSION].contains(&version) {
        return refuse(format!("version {version} is unknown; this reader knows {VERSION_OF_NODES} to {VERSION}"));
    }
    let n_sections = word(bytes, 12) as usize;
    if n_sections > Kind::ALL.len() {
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
    let mut kinds = Vec::new();
    for at in 0..n_sections {
        let entry = HEADER_LEN + at * ENTRY_LEN;
        let (start, len) = (place(bytes, entry + 8)?, place(bytes, entry + 16)?);
        let number = word(bytes, entry);
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u32 == number);
        let stop = start.checked_add(len).filter(|stop| *stop <= bytes.len());
        let in_order = word(bytes, entry + 4) == 0 && start == end.next_multiple_of(ALIGNMENT);
        let after = |kind: &Kind| kinds.last().is_none_or(|last| last < kind);
        let (Some(kind), Some(stop), true) = (kind.filter(after), stop, in_order && len > 0) else {
            return refuse(format!("section {number} is out of place"));
        };
        if bytes[end..start].iter().any(|byte| *byte != 0) {
            return refuse("a gap is not zero");
        }
        kinds.push(kind);
        sections.0[kind.index()] = start..stop;
        end = stop;
    }
    if !Kind::are_complete(&kinds, version) {
        return refuse("sections are missing, or too many for its version");
    }
    if end != bytes.len() {
        return refuse("bytes after the last section");
    }
    Ok(sections)
}
