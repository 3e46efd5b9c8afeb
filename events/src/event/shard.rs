//! The parts of a forest, and the data that they are grown on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Artifact;

/// A contiguous range of tree indexes, `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeRange {
    /// First tree.
    pub from: u32,
    /// One past the last tree.
    pub to: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A data set after it was read and hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub uri: String,
    /// Column that is predicted.
    pub target: String,
    /// The canonical frame: its SHA-256 is the data set's hash.
    pub frame: Artifact,
    /// Rows.
    pub n_samples: u64,
    /// Names of the feature columns, in order.
    pub feature_names: Vec<String>,
    /// Class labels in order, each a string, a number or a truth value; none for a regressor.
    pub classes: Vec<Value>,
    /// The texts of the feature columns that hold codes, by name: value k stands for the k-th text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, Vec<String>>,
}

/// Data of `shard-requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRequested {
    /// Which shard: `0..of`.
    pub shard: u32,
    /// How many shards there are.
    pub of: u32,
    /// Trees to grow.
    pub trees: TreeRange,
    /// What to learn from.
    pub dataset: Dataset,
    /// Parameters of the forest.
    pub params: Map<String, Value>,
    /// Share of rows held out for the second, scored forest; 0 for none.
    pub test_size: f64,
    /// 1 for the first request, one more each time that it was overdue.
    pub attempt: u32,
    /// The rows that the trees learn from, where shards divide the rows; all rows of the data set otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<RowPart>,
}

/// A part of a data set's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowPart {
    /// Which part: `0..shards`.
    pub index: u32,
    /// Its rows as a canonical frame.
    pub frame: Artifact,
    /// How many rows.
    pub n_samples: u64,
    /// Classes of the data set that have no row here: these trees never vote for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes_missing: Vec<Value>,
}

/// Data of `shard-trained`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardTrained {
    /// Which shard.
    pub shard: u32,
    /// How many shards there are.
    pub of: u32,
    /// Trees grown.
    pub trees: TreeRange,
    /// The trees, in the native model form.
    pub model: Artifact,
    /// The same trees grown without the held-out rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Artifact>,
    /// Nodes of `model`.
    pub n_nodes: u64,
    /// Wall seconds that growing took.
    pub seconds: f64,
    /// The replica that grew them, as its platform names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// How many of the trees an earlier job had grown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trees_reused: u32,
}

/// Data of `round-evaluated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundEvaluated {
    /// Trees grown so far.
    pub trees: u32,
    /// What was scored, by MLflow's key: `holdout_accuracy`, `oob_accuracy`, …
    pub metric: String,
    /// The score, larger is better: a loss counts negatively.
    pub score: f64,
}
