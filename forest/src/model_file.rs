//! The native model file: checked once, used in place.
//!
//! ```text
//!  0   8  magic "RGFOREST"      8  4  version, u32      12  4  number of sections, u32
//! 16   8  length of the file    24  8  zero             32 32  SHA-256 of bytes 0..32 and 64..
//! 64      per section 24 bytes: kind u32, zero u32, offset u64, length u64
//! ```
//!
//! Sections follow in ascending order of kind, each at a multiple of 64, gaps zero, everything little-endian:
//!
//! | kind | content |
//! | --- | --- |
//! | 1 | what the model is, JSON: parameters, classes, feature names and their categories, data hash, tree range; in version 2 producer, classes, feature names, number of trees, numbers per leaf, steps after the trees |
//! | 2 | first node of each tree, then the number of nodes, u32 |
//! | 3 | nodes, tree by tree, each tree breadth first; 8 bytes each, see below |
//! | 4 | distinct leaf values, `(n_values, n_classes)` float64; in version 2 `(n_values, numbers per leaf)` |
//! | 5–9 | training statistics per node in scikit-learn's order: threshold f64, impurity f64, rows u32, weight f64, value `(n_classes,)` f64 |
//! | 10 | scikit-learn's number of each node of section 3 in its tree, u32 |
//! | 11 | first block of each tree, then the number of blocks, u32 |
//! | 12 | blocks, tree by tree, 64 bytes each, see below |
//! | 13 | by block and exit, the row of a leaf's value in section 4, u32; only if there are more than 32,768 values |
//!
//! A file without 5–10 predicts the same, but cannot be merged or explained. Version 1 has no 11–13. Version 3 has them, and 3
//! only along with 5–10: what predicts are the blocks. Data of more than 32,768 features are written as version 1.
//! Version 2 has 1–4 and holds an ensemble that another program trained: its section 1 says how the trees' sums become answers.
//!
//! A block is seven nodes that hang together, as the kernel steps through them; trees of it lie breadth first. Its bytes: seven
//! float32 thresholds; u32, the block from which exits are counted; eight u16 exits, with the top bit a leaf and the row
//! of its value (0 if section 13 has it), without it a block; seven u16 features, whose top bit sends missing values right;
//! u16, from its lowest bit seven flags of nodes whose children are exchanged, then the number of the shape. Shapes are the
//! trees of seven nodes in which no left subtree is smaller than the right one, by nodes, then by code (preorder, 1 a
//! node, 0 an exit), numbered in ascending order of their codes; nodes and exits of a block are in that order. A node that
//! only fills the block has a NaN as threshold.
//!
//! A node is a u64. The lower half is a float32 threshold; a greater value goes right. The upper half holds, from its
//! lowest bit: the feature in as many bits as the largest feature number takes (at least one), one bit that sends missing values right,
//! and the left child counted from the root of the tree; the right child follows the left one. A leaf is its own child, and its
//! threshold is a NaN whose lowest 22 bits are the row of its value in section 4. Thresholds are rounded down to float32, which
//! decides every float32 value as the float64 threshold does.
//!
//! Where children, features or values do not fit, all nodes take 16 bytes: threshold, feature with the flag as top bit,
//! child, row of the value. Which form a file has follows from its numbers of features and values and its largest tree.

mod layout;
mod map;
pub(crate) mod nodes;
mod pack;
mod read;
mod write;

use std::ops::Range;
use std::sync::Arc;

pub use layout::MAGIC;
pub use map::map;
use nodes::{Form, Packed, Wide};
use serde::{Deserialize, Serialize};
pub(crate) use write::{Packer, round_down};

use crate::Error;
use crate::finish::Finish;
use crate::forest::check_rows;
use crate::frame::{Categories, Label};
use crate::kernel::{self, Level, Trees, WideTrees};
use crate::numeric::argmax;
use crate::params::RandomForestParams;

/// Why bytes are not a usable model file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable model file: {0}")]
pub struct ModelFileError(pub(crate) String);

/// Shared bytes of a model: a vector, a memory map, anything that stays the same while it lives.
pub type ModelBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A forest grown here, or a part of one: section 1 of version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    params: RandomForestParams,
    classes: Vec<Label>,
    feature_names: Vec<String>,
    #[serde(default, skip_serializing_if = "Categories::is_empty")]
    categories: Categories,
    data_sha256: String,
    from: u32,
    to: u32,
}

/// An ensemble that another program trained: section 1 of version 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Imported {
    /// The program that wrote the imported file, as it calls itself.
    pub(crate) producer: String,
    /// None for a regressor.
    pub(crate) classes: Vec<Label>,
    pub(crate) feature_names: Vec<String>,
    pub(crate) n_trees: u32,
    /// Numbers per leaf.
    pub(crate) width: u32,
    pub(crate) finish: Finish,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq)]
enum About {
    Forest(Identity),
    Imported(Imported),
}

/// A model ready to predict, in its native file: a forest grown here or an ensemble imported from ONNX
/// ([`crate::onnx::import()`]). Cloning is cheap.
#[derive(Clone)]
pub struct Model {
    bytes: ModelBytes,
    about: Arc<About>,
    sections: layout::Sections,
    form: layout::NodeForm,
    walked: Walked,
    level: Level,
}

/// What predictions walk through.
#[derive(Clone)]
enum Walked {
    /// The file's own blocks.
    Blocks,
    /// Blocks made from the file's nodes.
    Made(Arc<pack::BlockTrees>),
    /// The file's own nodes, of either form: there are more features than a block can name.
    Nodes,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("about", &self.about).finish_non_exhaustive()
    }
}

impl Model {
    fn forest(&self) -> Option<&Identity> {
        match &*self.about {
            About::Forest(identity) => Some(identity),
            About::Imported(_) => None,
        }
    }

    fn imported(&self) -> Option<&Imported> {
        match &*self.about {
            About::Forest(_) => None,
            About::Imported(imported) => Some(imported),
        }
    }

    /// Parameters of the whole forest; none for an imported model.
    pub fn params(&self) -> Option<&RandomForestParams> {
        self.forest().map(|identity| &identity.params)
    }

    /// The program that wrote the file a model was imported from, as it calls itself; none for a forest grown here.
    pub fn producer(&self) -> Option<&str> {
        self.imported().map(|imported| imported.producer.as_str())
    }

    /// Whether it predicts a number; else classes.
    pub fn is_regressor(&self) -> bool {
        self.classes().is_empty()
    }

    /// Class labels in the order of the probabilities; none for a regressor.
    pub fn classes(&self) -> &[Label] {
        match &*self.about {
            About::Forest(identity) => &identity.classes,
            About::Imported(imported) => &imported.classes,
        }
    }

    /// Number of classes; 0 for a regressor.
    pub fn n_classes(&self) -> usize {
        self.classes().len()
    }

    /// Numbers predicted per row: one per class, or 1.
    pub fn n_outputs(&self) -> usize {
        self.n_classes().max(1)
    }

    /// Numbers per leaf: as many as are predicted, but for imported models.
    pub(crate) fn width(&self) -> usize {
        self.imported().map_or(self.n_outputs(), |imported| imported.width as usize)
    }

    /// The steps after the trees of an imported model.
    pub(crate) fn finish(&self) -> Option<&Finish> {
        self.imported().map(|imported| &imported.finish)
    }

    /// Feature names in column order.
    pub fn feature_names(&self) -> &[String] {
        match &*self.about {
            About::Forest(identity) => &identity.feature_names,
            About::Imported(imported) => &imported.feature_names,
        }
    }

    /// The texts of the features that hold codes: [`crate::Frame::categories`]. An imported model has none.
    pub fn categories(&self) -> &Categories {
        const NONE: &Categories = &Categories::new();
        self.forest().map_or(NONE, |identity| &identity.categories)
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.feature_names().len()
    }

    /// Identity of the training data; none for an imported model.
    pub fn data_sha256(&self) -> Option<&str> {
        self.forest().map(|identity| identity.data_sha256.as_str())
    }

    /// Indexes of these trees in the whole model.
    pub fn range(&self) -> Range<u32> {
        match &*self.about {
            About::Forest(identity) => identity.from..identity.to,
            About::Imported(imported) => 0..imported.n_trees,
        }
    }

    /// Whether all trees of the model are here.
    pub fn is_whole(&self) -> bool {
        self.params().is_none_or(|params| self.range() == (0..params.n_estimators))
    }

    /// Number of trees here.
    pub fn n_trees(&self) -> usize {
        self.range().len()
    }

    /// Number of nodes of all trees.
    pub fn n_nodes(&self) -> usize {
        self.roots().last().map_or(0, |last| *last as usize)
    }

    /// The bytes of the native file.
    pub fn as_bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Class probabilities of row-major rows `(n_rows, n_features)` into `out` `(n_rows, n_classes)`; a regressor gives its
    /// values, `(n_rows,)`. NaN is a missing value. Of a forest grown here, each tree's fractions are summed in tree order and
    /// divided by the number of trees: scikit-learn's bits.
    ///
    /// # Errors
    ///
    /// Lengths that do not fit, an infinite value.
    pub fn predict_proba_rows(&self, rows: &[f32], n_rows: usize, out: &mut [f64]) -> Result<(), Error> {
        let shape = |what, got, width: usize| match n_rows.checked_mul(width) {
            Some(expected) if expected == got => Ok(()),
            expected => Err(Error::Shape { what, got, expected: expected.unwrap_or(usize::MAX) }),
        };
        shape("rows", rows.len(), self.n_features())?;
        shape("out", out.len(), self.n_outputs())?;
        let missing = check_rows(rows, self.feature_names())?;
        match self.imported() {
            None => self.means(rows, out, missing),
            Some(imported) => {
                let width = self.width();
                let mut means = vec![0.0; n_rows.saturating_mul(width)];
                self.means(rows, &mut means, missing);
                imported.finish.apply(&means, width, self.n_trees(), out, self.n_outputs());
            }
        }
        Ok(())
    }

    /// Means over the trees, `(n_rows, width)`, of rows that were checked.
    fn means(&self, rows: &[f32], out: &mut [f64], missing: bool) {
        match self.trees() {
            Some(trees) => kernel::predict(self.level, &trees, rows, out, missing),
            None => match self.form {
                layout::NodeForm::Packed => kernel::predict_wide(&self.wide_trees::<Packed>(), rows, out),
                layout::NodeForm::Wide => kernel::predict_wide(&self.wide_trees::<Wide>(), rows, out),
            },
        }
    }

    /// The same model, but predicting with these instructions instead of the widest ones; `None` if the processor lacks
    /// them. For comparisons: answers are the same.
    pub fn with_level(&self, level: Level) -> Option<Self> {
        (level <= Level::best()).then(|| Self { level, ..self.clone() })
    }

    /// Blocks to walk, unless there are too many features for them.
    fn trees(&self) -> Option<Trees<'_>> {
        let (roots, blocks, rows) = match &self.walked {
            Walked::Blocks => (
                self.numbers(layout::Kind::BlockRoots),
                self.numbers(layout::Kind::Blocks),
                self.numbers(layout::Kind::LeafRows),
            ),
            Walked::Made(made) => (&*made.roots, &*made.blocks, &*made.rows),
            Walked::Nodes => return None,
        };
        let (values, n_features, n_outputs) = (self.values(), self.n_features(), self.width());
        Some(Trees { blocks, roots, rows, values, n_features, n_outputs })
    }

    /// The file's nodes to walk; there are as many features as only nodes can name.
    fn wide_trees<N: Form>(&self) -> WideTrees<'_, N> {
        let nodes = self.numbers(layout::Kind::Nodes);
        let (n_features, n_outputs) = (self.n_features(), self.width());
        WideTrees { nodes, roots: self.roots(), values: self.values(), n_features, n_outputs }
    }

    /// Class labels of row-major rows: the first largest probability.
    ///
    /// # Errors
    ///
    /// As [`Model::predict_proba_rows`], and a regressor.
    pub fn predict_rows(&self, rows: &[f32], n_rows: usize) -> Result<Vec<Label>, Error> {
        if self.is_regressor() {
            return Err(Error::Unsupported("a regressor predicts values, not labels".to_owned()));
        }
        let mut proba = vec![0.0; rows.len() / self.n_features() * self.n_classes()];
        self.predict_proba_rows(rows, n_rows, &mut proba)?;
        Ok(proba.chunks_exact(self.n_classes()).map(|row| self.label(row).clone()).collect())
    }

    /// The label of a row of probabilities, `(n_classes,)`: the first largest.
    ///
    /// # Panics
    ///
    /// If there are more probabilities than classes, or for a regressor.
    pub fn label(&self, proba: &[f64]) -> &Label {
        &self.classes()[argmax(proba)]
    }
}

#[cfg(test)]
mod tests;
