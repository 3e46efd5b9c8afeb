//! What the peers get: trees in scikit-learn's arrays, the ONNX file, the rows and our answers. `peers/trees.py` reads it.

use std::fs;
use std::path::Path;

use anyhow::Result;
use regrove_forest::{Forest, Tree, onnx};
use serde_json::json;
use tempfile::TempDir;

use super::ours::Ours;

/// Writes the folder, which is removed when dropped.
pub(crate) fn write(forest: &Forest, ours: &Ours) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let n_nodes: Vec<usize> = forest.trees().iter().map(Tree::node_count).collect();
    let shape = json!({"n_features": forest.n_features(), "n_classes": forest.n_classes(), "n_nodes": n_nodes});
    fs::write(path.join("shape.json"), shape.to_string())?;
    let array = |name: &str, bytes: &dyn Fn(&Tree) -> Vec<u8>| {
        fs::write(path.join(name), forest.trees().iter().flat_map(bytes).collect::<Vec<u8>>())
    };
    array("left_child", &|tree| little(&tree.children_left, i32::to_le_bytes))?;
    array("right_child", &|tree| little(&tree.children_right, i32::to_le_bytes))?;
    array("feature", &|tree| little(&tree.feature, i32::to_le_bytes))?;
    array("threshold", &|tree| little(&tree.threshold, f64::to_le_bytes))?;
    array("impurity", &|tree| little(&tree.impurity, f64::to_le_bytes))?;
    array("n_node_samples", &|tree| little(&tree.n_node_samples, u32::to_le_bytes))?;
    array("weighted_n_node_samples", &|tree| little(&tree.weighted_n_node_samples, f64::to_le_bytes))?;
    array("missing_go_to_left", &|tree| tree.missing_go_to_left.iter().map(|left| u8::from(*left)).collect())?;
    array("value", &|tree| little(&tree.value, f64::to_le_bytes))?;
    write_answers(path, ours)?;
    fs::write(path.join("model.onnx"), onnx::export(forest)?)?;
    Ok(folder)
}

fn write_answers(path: &Path, ours: &Ours) -> Result<()> {
    fs::write(path.join("rows"), little(&ours.rows, f32::to_le_bytes))?;
    let mut answers = ours.models.iter().map(|(_, model)| ours.proba(model));
    let first = answers.next().transpose()?.unwrap_or_default();
    for other in answers {
        anyhow::ensure!(other? == first, "levels of instructions give different answers");
    }
    fs::write(path.join("proba"), little(&first, f64::to_le_bytes))?;
    Ok(())
}

fn little<T: Copy, const N: usize>(numbers: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| bytes(*number)).collect()
}
