//! Which jobs, and how many at once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regrove_events::JobState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Error, Summary};

/// Jobs on a page when nothing is said.
pub const LIMIT_DEFAULT: usize = 50;
/// Most jobs on a page.
pub const LIMIT_MAX: usize = 1000;

/// Which jobs. Everything that is given must fit; nothing given fits all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Any of these states; empty for all.
    pub states: Vec<JobState>,
    /// Part of the job's id, of its data set's name or of its model's name, in any case.
    pub name: Option<String>,
    /// Asked for at this time or later.
    pub since: Option<Timestamp>,
    /// Asked for before this time.
    pub until: Option<Timestamp>,
    /// Jobs on a page: 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// The `next` of the page before.
    pub after: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self { states: Vec::new(), name: None, since: None, until: None, limit: LIMIT_DEFAULT, after: None }
    }
}

/// Jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobList)]
pub struct Page {
    /// The jobs of this page.
    pub jobs: Vec<Summary>,
    /// What to say as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many jobs fit the query on all pages.
    pub total: usize,
    /// How many fit it in each state, whatever states were asked for.
    pub states: BTreeMap<String, usize>,
}

/// A place in the list: newest first, then by id. Its text is what [`Page::next`] holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Larger for older jobs; those without a time come last.
    age: i128,
    id: String,
}

impl Place {
    pub(crate) fn of(job: &Summary) -> Self {
        let age = job.requested_at.map_or(i128::MAX, |at| -at.as_nanosecond());
        Self { age, id: job.id.clone() }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}.{}", self.age, self.id)
    }

    fn parse(text: &str) -> Option<Self> {
        let (age, id) = text.split_once('.')?;
        Some(Self { age: age.parse().ok()?, id: id.to_owned() })
    }
}

impl Query {
    /// States by name, such as `training`, separated by commas.
    ///
    /// # Errors
    /// [`Error::Field`] with the names that exist.
    pub fn states(names: &str) -> Result<Vec<JobState>, Error> {
        let read = |name: &str| {
            JobState::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| {
                let known: Vec<&str> = JobState::ALL.iter().map(|state| state.as_str()).collect();
                Error::Field { field: "state", reason: format!("`{name}` is none of {}", known.join(", ")) }
            })
        };
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(read).collect()
    }

    pub(crate) fn check(&self) -> Result<Option<Place>, Error> {
        if self.limit == 0 || self.limit > LIMIT_MAX {
            let reason = format!("is {}, it must be in 1..={LIMIT_MAX}", self.limit);
            return Err(Error::Field { field: "limit", reason });
        }
        let bad = || Error::Field { field: "after", reason: "is not the `next` of a page".to_owned() };
        self.after.as_deref().map(|text| Place::parse(text).ok_or_else(bad)).transpose()
    }

    /// Whether a job fits everything but the states.
    pub(crate) fn fits(&self, job: &Summary) -> bool {
        let since = self.since.is_none_or(|since| job.requested_at.is_some_and(|at| at >= since));
        let until = self.until.is_none_or(|until| job.requested_at.is_some_and(|at| at < until));
        since && until && self.name.as_ref().is_none_or(|name| named(job, &name.to_lowercase()))
    }

    /// Whether a job is in one of the states.
    pub(crate) fn fits_state(&self, job: &Summary) -> bool {
        self.states.is_empty() || self.states.contains(&job.state)
    }
}

fn named(job: &Summary, part: &str) -> bool {
    let names = [Some(&job.id), job.dataset.as_ref(), job.model_name.as_ref()];
    names.into_iter().flatten().any(|name| name.to_lowercase().contains(part))
}
