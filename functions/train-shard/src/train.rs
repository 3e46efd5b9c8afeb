//! Grows the trees of one shard. Pure but for its length: call it where blocking is allowed.

use regrove_events::event::{ShardRequested, TreeRange};
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{Error, FitOptions, Forest, Frame, RandomForestParams, fit_range};

/// The trees of one shard.
#[derive(Debug)]
pub struct Trained {
    /// Grown on every row, in the native form.
    pub model: Vec<u8>,
    /// The same trees grown without the held-out rows, if any are held out.
    pub holdout: Option<Vec<u8>>,
    /// Nodes of `model`.
    pub n_nodes: u64,
}

/// Grows what a request asks for from the canonical frame's bytes.
///
/// # Errors
/// Parameters or data that no attempt could make a forest of.
pub fn train(frame: &[u8], request: &ShardRequested, params: &RandomForestParams) -> Result<Trained, Error> {
    let frame = Frame::from_bytes(frame)?;
    let forest = grow(&frame, params, request.trees)?;
    let holdout = if request.test_size > 0.0 {
        let (seen, _) = train_test_split_stratified(&frame, request.test_size, params.random_state)?;
        Some(grow(&seen, params, request.trees)?.to_bytes()?)
    } else {
        None
    };
    let n_nodes = forest.trees().iter().map(|tree| tree.node_count() as u64).sum();
    Ok(Trained { model: forest.to_bytes()?, holdout, n_nodes })
}

fn grow(frame: &Frame, params: &RandomForestParams, trees: TreeRange) -> Result<Forest, Error> {
    fit_range(frame, params, trees.from..trees.to, &FitOptions::default())
}
