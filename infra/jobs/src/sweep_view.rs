//! A sweep as people and programs are shown it.

use jiff::Timestamp;
use regrove_events::event::SweepCompleted;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Summary;

/// A sweep and its trials so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SweepView {
    /// Id: the subject of its events.
    pub id: String,
    /// How many combinations it tries.
    pub size: u64,
    /// When it was asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub requested_at: Option<Timestamp>,
    /// When everything had been tried.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// The trials that were asked for, in that order.
    pub trials: Vec<Summary>,
    /// What came of it: the trials with their scores, and the best of them.
    #[schema(value_type = Option<Object>)]
    pub completed: Option<SweepCompleted>,
}

impl SweepView {
    /// The best trial, once everything has been tried.
    pub fn best(&self) -> Option<&Summary> {
        let best = self.completed.as_ref()?.best.as_ref()?;
        self.trials.iter().find(|trial| trial.id == *best)
    }
}
