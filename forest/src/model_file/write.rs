//! A forest to bytes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::layout::{ALIGNMENT, ENTRY_LEN, HASH, HEADER_LEN, Kind, MAGIC, Node, VERSION};
use super::{Identity, ModelFileError};
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
        let mut sections = self.serving_sections()?;
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
        ]);
        Ok(assemble(&sections))
    }

    /// The native file without training statistics: smaller, predicts the same.
    ///
    /// # Errors
    ///
    /// As [`Forest::to_bytes`].
    pub fn to_serving_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(assemble(&self.serving_sections()?))
    }

    fn serving_sections(&self) -> Result<Vec<(Kind, Vec<u8>)>, ModelFileError> {
        let identity = Identity {
            params: self.params().clone(),
            classes: self.classes().to_vec(),
            feature_names: self.feature_names().to_vec(),
            data_sha256: self.data_sha256().to_owned(),
            from: self.range().start,
            to: self.range().end,
        };
        let identity = serde_json::to_vec(&identity).map_err(|error| ModelFileError(error.to_string()))?;
        let mut packer = Packer::default();
        for tree in self.trees() {
            packer.push(tree)?;
        }
        packer.roots.push(packer.node_count()?);
        Ok(vec![
            (Kind::Identity, identity),
            (Kind::Roots, bytemuck::cast_slice(&packer.roots).to_vec()),
            (Kind::Nodes, bytemuck::cast_slice(&packer.nodes).to_vec()),
            (Kind::Values, bytemuck::cast_slice(&packer.values).to_vec()),
        ])
    }
}

/// Turns trees to nodes whose leaves share equal values.
#[derive(Default)]
struct Packer {
    roots: Vec<u32>,
    nodes: Vec<Node>,
    values: Vec<f64>,
    /// Row of each distinct value, by the value's bits.
    places: BTreeMap<Vec<u64>, u32>,
}

impl Packer {
    fn node_count(&self) -> Result<u32, ModelFileError> {
        u32::try_from(self.nodes.len()).map_err(|_| ModelFileError("more than 2^32 nodes".to_owned()))
    }

    fn push(&mut self, tree: &Tree) -> Result<(), ModelFileError> {
        let root = self.node_count()?;
        self.roots.push(root);
        let child = |child: i32| u32::try_from(child).ok().and_then(|child| root.checked_add(child));
        for node in 0..tree.node_count() {
            let packed = match (
                u32::try_from(tree.feature[node]),
                child(tree.children_left[node]),
                child(tree.children_right[node]),
            ) {
                (Ok(feature), Some(left), Some(right)) => Node {
                    threshold: round_down(tree.threshold[node]),
                    feature: feature | if tree.missing_go_to_left[node] { Node::MISSING_LEFT } else { 0 },
                    left,
                    right,
                },
                _ => Node { threshold: 0.0, feature: Node::LEAF, left: self.place(tree.node_value(node))?, right: 0 },
            };
            self.nodes.push(packed);
        }
        Ok(())
    }

    fn place(&mut self, value: &[f64]) -> Result<u32, ModelFileError> {
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

fn assemble(sections: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let mut places = Vec::with_capacity(sections.len());
    let mut end = HEADER_LEN + sections.len() * ENTRY_LEN;
    for (_, content) in sections {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + content.len();
        places.push(start);
    }
    let mut bytes = Vec::with_capacity(end);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
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
