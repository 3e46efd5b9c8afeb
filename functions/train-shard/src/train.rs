//! Grows the trees of one shard. Pure but for its length: call it where blocking is allowed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use regrove_events::event::{ShardRequested, TreeRange};
use regrove_forest::model_selection::hold_out;
use regrove_forest::{Error, FitOptions, Forest, Frame, Model, RandomForestParams, fit_part, fit_range};

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

/// Trees that an earlier job has grown, and which of them are wanted here.
#[derive(Debug)]
pub struct Piece {
    /// The trees that are wanted of it.
    pub trees: TreeRange,
    /// All of its trees, in the native form.
    pub model: Vec<u8>,
    /// The same trees without the held-out rows.
    pub holdout: Option<Vec<u8>>,
}

/// Grows what a request asks for from the canonical frame's bytes, but for the trees that are there already. The frame is that
/// of the request's part of the rows, if it has one.
///
/// The bytes are the same as if all of them had been grown here. `cancel`, once raised, ends the work after the nodes
/// under way.
///
/// # Errors
/// Parameters or data that no attempt could make a forest of; [`Error::Cancelled`].
pub fn train(
    frame: &[u8],
    request: &ShardRequested,
    params: &RandomForestParams,
    known: &[Piece],
    cancel: &AtomicBool,
) -> Result<Trained, Error> {
    let frame = Frame::from_bytes(frame)?;
    let ground = Ground { frame: &frame, request, params, cancel };
    let forest = ground.grow(known.iter().map(|piece| (piece.trees, &piece.model)))?;
    let holdout = if request.test_size > 0.0 {
        let (seen, _) = hold_out(&frame, request.test_size, params.random_state)?;
        let known = known.iter().filter_map(|piece| Some((piece.trees, piece.holdout.as_ref()?)));
        Some(Ground { frame: &seen, ..ground }.grow(known)?.to_bytes()?)
    } else {
        None
    };
    let n_nodes = forest.trees().iter().map(|tree| tree.node_count() as u64).sum();
    Ok(Trained { model: forest.to_bytes()?, holdout, n_nodes })
}

/// What trees grow on.
#[derive(Clone, Copy)]
struct Ground<'a> {
    frame: &'a Frame,
    request: &'a ShardRequested,
    params: &'a RandomForestParams,
    cancel: &'a AtomicBool,
}

impl Ground<'_> {
    fn grow<'p>(&self, known: impl Iterator<Item = (TreeRange, &'p Vec<u8>)>) -> Result<Forest, Error> {
        let trees = self.request.trees;
        let mut parts = Vec::new();
        let mut from = trees.from;
        for (range, bytes) in known {
            parts.extend(self.gap(from, range.from)?);
            let model = Model::from_verified_bytes(Arc::new(bytes.clone()))?;
            parts.push(model.to_forest()?.part(range.from..range.to)?.for_params(self.params)?);
            from = range.to;
        }
        parts.extend(self.gap(from, trees.to)?);
        Ok(Forest::merge(parts)?)
    }

    /// The trees `from..to`, grown; nothing when there are none.
    fn gap(&self, from: u32, to: u32) -> Result<Option<Forest>, Error> {
        if from >= to {
            return Ok(None);
        }
        let options = FitOptions { progress: None, cancel: Some(self.cancel) };
        let forest = match &self.request.part {
            None => fit_range(self.frame, self.params, from..to, &options),
            Some(_) => fit_part(self.frame, &self.request.dataset.frame.sha256, self.params, from..to, &options),
        };
        forest.map(Some)
    }
}
