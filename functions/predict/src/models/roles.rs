//! Finds a model for each role that a serving pointer gives: the served version, a canary, a shadow.

use std::sync::Arc;

use regrove_events::event::ServedVersion;
use regrove_events::{Serving, log};

use super::Models;
use super::cache::{Slot, Unserved};
use super::route::Route;

/// The role of the version that answers.
const SERVED: &str = "served";
/// The role of the version that answers a share of the requests.
const CANARY: &str = "canary";
/// The role of the version that is only compared.
const SHADOW: &str = "shadow";

/// Who plays which role.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) stable: Arc<Slot>,
    /// With its share in percent.
    pub(super) canary: Option<(Arc<Slot>, u8)>,
    pub(super) shadow: Option<Arc<Slot>>,
    /// What the pointer names and this replica cannot serve: role and version.
    pub(super) lacks: Vec<(&'static str, String)>,
    /// Whether something is missing that somebody may put back: it is to be looked for again.
    pub(super) may_come: bool,
}

/// Why a name cannot be brought to what the log says.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stuck {
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The store of the models does not answer.
    #[error("the artifact store: {0}")]
    Unreachable(String),
    /// None of its versions can be served, as long as nobody puts back what is missing.
    #[error("no version can be served: {0}")]
    Absent(String),
    /// None of its versions can be served.
    #[error("no version can be served: {0}")]
    Refused(String),
}

impl Roles {
    /// As many of the roles as can be filled; who is among `held` is not tried again. The served version is the one that the
    /// pointer names, else the newest before it that can be served, else the one that was served so far.
    pub(super) async fn fill(
        models: &Models,
        name: &str,
        serving: &Serving,
        old: Option<&Route>,
        held: Option<&Self>,
    ) -> Result<Self, Stuck> {
        let mut search = Search { models, name, held, lacks: Vec::new(), may_come: false, newest: None };
        let stable = search.stable(serving, old).await?;
        let canary = match &serving.canary {
            Some(canary) => search.slot(&canary.version, CANARY).await?.map(|slot| (slot, canary.percent)),
            None => None,
        };
        let shadow = match &serving.shadow {
            Some(shadow) => search.slot(shadow, SHADOW).await?,
            None => None,
        };
        let Search { lacks, may_come, .. } = search;
        Ok(Self { stable, canary, shadow, lacks, may_come })
    }

    /// The slots with their roles: the served one first.
    pub(super) fn slots(&self) -> impl Iterator<Item = (&Slot, &'static str)> {
        let canary = self.canary.iter().map(|(slot, _)| (&**slot, CANARY));
        std::iter::once((&*self.stable, SERVED)).chain(canary).chain(self.shadow.iter().map(|slot| (&**slot, SHADOW)))
    }
}

/// The same slots, and the same missing.
impl PartialEq for Roles {
    fn eq(&self, other: &Self) -> bool {
        let slots = self.slots().map(|(slot, role)| (&raw const *slot, role));
        slots.eq(other.slots().map(|(slot, role)| (&raw const *slot, role)))
            && self.canary.as_ref().map(|(_, percent)| percent) == other.canary.as_ref().map(|(_, percent)| percent)
            && (&self.lacks, self.may_come) == (&other.lacks, other.may_come)
    }
}

/// What was found so far.
struct Search<'a> {
    models: &'a Models,
    name: &'a str,
    held: Option<&'a Roles>,
    lacks: Vec<(&'static str, String)>,
    may_come: bool,
    /// Why the version that was looked for first cannot be served.
    newest: Option<String>,
}

impl Search<'_> {
    /// The slot of a version, if it can be served.
    async fn slot(&mut self, version: &ServedVersion, role: &'static str) -> Result<Option<Arc<Slot>>, Stuck> {
        let slot = self.models.0.cache.slot(self.name, version);
        if self.held.is_some_and(|held| held.slots().any(|(held, _)| std::ptr::eq(held, &raw const *slot))) {
            return Ok(Some(slot));
        }
        let (error, may_come) = match self.models.fetch(&slot).await {
            Ok(_) => return Ok(Some(slot)),
            Err(Unserved::Unreachable(error)) => return Err(Stuck::Unreachable(error)),
            Err(Unserved::Absent(error)) => (error, true),
            Err(Unserved::Refused(error)) => (error, false),
        };
        let version = &version.version;
        self.models.0.metrics.refused(self.name, version);
        tracing::error!(model = self.name, version, role, will_retry = may_come, %error, "cannot serve the version");
        self.lacks.push((role, version.clone()));
        self.may_come |= may_come;
        self.newest.get_or_insert(error);
        Ok(None)
    }

    /// The slot that answers.
    async fn stable(&mut self, serving: &Serving, old: Option<&Route>) -> Result<Arc<Slot>, Stuck> {
        let mut found = None;
        for loaded in serving.path.iter().rev() {
            found = self.slot(&ServedVersion::from(loaded), SERVED).await?;
            if found.is_some() {
                break;
            }
        }
        // Those before the one that the pointer names are only a help.
        self.lacks.truncate(1);
        found.or_else(|| old.map(|old| Arc::clone(&old.roles.stable))).ok_or_else(|| {
            let newest = self.newest.take().unwrap_or_default();
            if self.may_come { Stuck::Absent(newest) } else { Stuck::Refused(newest) }
        })
    }
}
