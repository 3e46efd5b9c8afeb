//! A forest to bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::layout::{
    ALIGNMENT, ENTRY_LEN, HASH, HEADER_LEN, Kind, MAGIC, NodeForm, VERSION, VERSION_IMPORTED, VERSION_OF_NODES,
    fits_blocks,
};
use super::nodes::{Form, Node, Packed, Wide, feature_bits, leaf};
use super::pack::BlockTrees;
use super::{Identity, Imported, ModelFileError};
use crate::Error;
use crate::forest::Forest;
use crate::tree::Tree;

impl Forest {
    /// The native file with training statistics: the shard artifact. See [`crate::model_file`].
    ///
    /// # Errors
    ///
    /// More nodes than 32 bits number.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let (mut sections, numbers) = self.sections()?;
        let all = |numbers: fn(&Tree) -> &[f64]| -> Vec<u8> {
            self.trees().iter().flat_map(|tree| bytemuck::cast_slice::<f64, u8>(numbers(tree))).copied().collect()
        };
        let rows = self.trees().iter().flat_map(|tree| bytemuck::cast_slice::<u32, u8>(&tree.n_node_samples));
        sections.extend([
            (Kind::Thresholds, all(|tree| &tree.threshold)),
            (Kind::Impurities, all(|tree| &tree.impurity)),
            (Kind::Rows, rows.copied().collect()),
            (Kind::Weights, all(|tree| &tree.weighted_n_node_samples)),
            (Kind::NodeValues, all(|tree| &tree.value)),
            (Kind::Numbers, bytemuck::cast_slice(&numbers).to_vec()),
        ]);
        Ok(assemble(version(&sections), sections))
    }

    /// The native file without training statistics: smaller, predicts the same.
    ///
    /// # Errors
    ///
    /// As [`Forest::to_bytes`].
    pub fn to_serving_bytes(&self) -> Result<Vec<u8>, Error> {
        let (mut sections, _) = self.sections()?;
        if sections.iter().any(|(kind, _)| *kind == Kind::Blocks) {
            sections.retain(|(kind, _)| *kind != Kind::Nodes);
        }
        Ok(assemble(version(&sections), sections))
    }

    /// What predictions need, with nodes and blocks, and scikit-learn's number of each node.
    fn sections(&self) -> Result<(Vec<Section>, Vec<u32>), ModelFileError> {
        let identity = Identity {
            params: self.params().clone(),
            classes: self.classes().to_vec(),
            feature_names: self.feature_names().to_vec(),
            categories: self.categories().clone(),
            data_sha256: self.data_sha256().to_owned(),
            from: self.range().start,
            to: self.range().end,
        };
        let mut packer = Packer::default();
        for tree in self.trees() {
            packer.push(tree)?;
        }
        let mut sections = packer.sections(&identity, self.n_features())?;
        if fits_blocks(self.n_features()) {
            let blocks = self.blocks(&packer)?;
            sections.extend([
                (Kind::BlockRoots, bytemuck::cast_slice(&blocks.roots).to_vec()),
                (Kind::Blocks, bytemuck::cast_slice(&blocks.blocks).to_vec()),
            ]);
            if !blocks.rows.is_empty() {
                sections.push((Kind::LeafRows, bytemuck::cast_slice(&blocks.rows).to_vec()));
            }
        }
        Ok((sections, packer.numbers))
    }

    /// The trees in blocks, in which the nodes that most training rows went through are together.
    fn blocks(&self, packer: &Packer) -> Result<BlockTrees, ModelFileError> {
        let mut blocks = BlockTrees::new(packer.places.len());
        for (tree, nodes) in self.trees().iter().zip(packer.roots.windows(2)) {
            let nodes = nodes[0] as usize..nodes[1] as usize;
            let numbers = packer.numbers[nodes.clone()].iter();
            let weights: Vec<f64> = numbers.map(|number| tree.weighted_n_node_samples[*number as usize]).collect();
            blocks.push(&packer.nodes[nodes], &weights)?;
        }
        blocks.finish()?;
        Ok(blocks)
    }
}

type Section = (Kind, Vec<u8>);

/// Turns trees to nodes whose leaves share equal values.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    roots: Vec<u32>,
    nodes: Vec<Node>,
    /// Number of each node in its tree.
    numbers: Vec<u32>,
    values: Vec<f64>,
    /// Row of each distinct value, by the value's bits.
    places: BTreeMap<Vec<u64>, u32>,
}

impl Packer {
    fn node_count(&self) -> Result<u32, ModelFileError> {
        u32::try_from(self.nodes.len()).map_err(|_| ModelFileError("more than 2^32 nodes".to_owned()))
    }

    /// Sections 1 to 4.
    fn sections(&mut self, about: &impl Serialize, n_features: usize) -> Result<Vec<Section>, ModelFileError> {
        let about = serde_json::to_vec(about).map_err(|error| ModelFileError(error.to_string()))?;
        self.roots.push(self.node_count()?);
        let bits = feature_bits(n_features);
        let nodes = match NodeForm::of(n_features, &self.roots, self.places.len()) {
            NodeForm::Packed => self.encode::<Packed>(bits),
            NodeForm::Wide => self.encode::<Wide>(bits),
        };
        Ok(vec![
            (Kind::Identity, about),
            (Kind::Roots, bytemuck::cast_slice(&self.roots).to_vec()),
            (Kind::Nodes, nodes),
            (Kind::Values, bytemuck::cast_slice(&self.values).to_vec()),
        ])
    }

    /// The native file of an imported ensemble, whose trees are all here.
    pub(crate) fn imported_bytes(mut self, imported: &Imported) -> Result<Vec<u8>, ModelFileError> {
        let sections = self.sections(imported, imported.feature_names.len())?;
        Ok(assemble(VERSION_IMPORTED, sections))
    }

    /// Appends a tree whose nodes are breadth first already.
    pub(crate) fn push_nodes(&mut self, nodes: &[Node]) -> Result<(), ModelFileError> {
        self.roots.push(self.node_count()?);
        self.nodes.extend_from_slice(nodes);
        Ok(())
    }

    /// Numbers in distinct leaf values.
    pub(crate) fn n_leaf_numbers(&self) -> usize {
        self.values.len()
    }

    /// Appends a tree breadth first.
    fn push(&mut self, tree: &Tree) -> Result<(), ModelFileError> {
        let root = self.nodes.len();
        self.roots.push(self.node_count()?);
        self.numbers.push(0);
        for at in 0_u32.. {
            let Some(&number) = self.numbers.get(root + at as usize) else { break };
            let node = number as usize;
            let child = |child: i32| u32::try_from(child).ok();
            let packed = match (
                u32::try_from(tree.feature[node]),
                child(tree.children_left[node]),
                child(tree.children_right[node]),
            ) {
                (Ok(feature), Some(left), Some(right)) => {
                    let child = u32::try_from(self.numbers.len() - root)
                        .map_err(|_| ModelFileError("more than 2^32 nodes".to_owned()))?;
                    self.numbers.extend([left, right]);
                    let threshold = round_down(tree.threshold[node]).to_bits();
                    Node { threshold, feature, missing_right: !tree.missing_go_to_left[node], child, value: 0 }
                }
                _ => leaf(at, self.place(tree.node_value(node))?),
            };
            self.nodes.push(packed);
        }
        Ok(())
    }

    fn encode<N: Form>(&self, feature_bits: u32) -> Vec<u8> {
        let nodes: Vec<N> = self.nodes.iter().map(|node| N::pack(*node, feature_bits)).collect();
        bytemuck::cast_slice(&nodes).to_vec()
    }

    /// The row of a leaf's value, which is appended if it is new.
    pub(crate) fn place(&mut self, value: &[f64]) -> Result<u32, ModelFileError> {
        let bits: Vec<u64> = value.iter().map(|number| number.to_bits()).collect();
        let next =
            u32::try_from(self.places.len()).map_err(|_| ModelFileError("more than 2^32 leaf values".to_owned()))?;
        let place = *self.places.entry(bits).or_insert(next);
        if place == next {
            self.values.extend_from_slice(value);
        }
        Ok(place)
    }
}

/// The largest float32 that is not above a threshold: a float32 value is ≤ one exactly if it is ≤ the other.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the point; it is corrected downwards")]
pub(crate) fn round_down(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) > threshold { nearest.next_down() } else { nearest }
}

/// The version of a forest's file.
fn version(sections: &[Section]) -> u32 {
    let has_blocks = sections.iter().any(|(kind, _)| *kind == Kind::Blocks);
    if has_blocks { VERSION } else { VERSION_OF_NODES }
}

fn assemble(version: u32, mut sections: Vec<Section>) -> Vec<u8> {
    sections.sort_by_key(|(kind, _)| *kind);
    let mut places = Vec::with_capacity(sections.len());
    let mut end = HEADER_LEN + sections.len() * ENTRY_LEN;
    for (_, content) in &sections {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + content.len();
        places.push(start);
    }
    let mut bytes = Vec::with_capacity(end);
    bytes.extend(MAGIC);
    bytes.extend(version.to_le_bytes());
    bytes.extend(u32::try_from(sections.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend((end as u64).to_le_bytes());
    bytes.resize(HEADER_LEN, 0);
    for ((kind, content), start) in sections.iter().zip(&places) {
        bytes.extend((*kind as u32).to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((*start as u64).to_le_bytes());
        bytes.extend((content.len() as u64).to_le_bytes());
    }
    for ((_, content), start) in sections.iter().zip(places) {
        bytes.resize(start, 0);
        bytes.extend(content);
    }
    let hash = digest(&bytes);
    bytes[HASH].copy_from_slice(&hash);
    bytes
}

/// SHA-256 of everything but the place of the hash itself.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..HASH.start]);
    hasher.update(&bytes[HASH.end..]);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::round_down;

    #[test]
    fn a_rounded_threshold_decides_every_float_alike() {
        for low in [1.0_f32, -1.0, 0.1, 3.4e38, -2.5e-40, 0.0] {
            let high = low.next_up();
            let middle = f64::from(low) / 2.0 + f64::from(high) / 2.0;
            for threshold in [f64::from(low), middle, f64::from(high)] {
                let rounded = round_down(threshold);
                for value in [low.next_down(), low, high, high.next_up()] {
                    assert_eq!(value <= rounded, f64::from(value) <= threshold, "{value} against {threshold}");
                }
            }
        }
        assert!(round_down(f64::INFINITY).is_infinite());
    }
}
