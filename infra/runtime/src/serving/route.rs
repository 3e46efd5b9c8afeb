//! A service at work: its revisions, and who of them gets a request.
//!
//! Traffic for "the latest revision" moves to a new one when that has become ready, at once or step by step; a revision
//! that never becomes ready gets none. Unlike in Knative a step of a gradual rollout is a percentage of what the latest
//! revision is to get, not of all traffic of the service; with the usual 100 % that is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use http::{Request, Response, StatusCode};
use regrove_knative::manifest::{RevisionChoice, TrafficTarget};
use regrove_knative::rollout::Rollout;

use super::answer::plain;
use super::body::Body;
use super::recent::Recent;
use super::revision::Revision;
use crate::metrics::Metrics;
use crate::runtime_event::RevisionShare;

/// Shares are counted in ten-thousandths: percentages of percentages.
const WHOLE: u32 = 10_000;

/// A revision's share, in [`WHOLE`]s.
type Shares = Vec<(Arc<Revision>, u32)>;

/// What requests are routed by at one moment.
#[derive(Debug, Default)]
struct Assignment {
    cluster_local: bool,
    shares: Shares,
    tags: BTreeMap<String, Shares>,
}

/// What the assignment is made from.
#[derive(Debug, Default)]
struct Control {
    cluster_local: bool,
    traffic: Vec<TrafficTarget>,
    /// Those at work, by name.
    revisions: BTreeMap<String, Arc<Revision>>,
    /// The latest, proven or not.
    newest: String,
    /// What "the latest revision" means now, oldest first; percentages that add up to 100.
    latest: Vec<(String, u32)>,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) namespace: String,
    pub(crate) name: String,
    assignment: RwLock<Arc<Assignment>>,
    control: Mutex<Control>,
    pub(crate) recent: Recent,
}

/// What a service is to look like.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) cluster_local: bool,
    pub(crate) traffic: Vec<TrafficTarget>,
    /// By name.
    pub(crate) revisions: BTreeMap<String, Arc<Revision>>,
    pub(crate) newest: String,
    /// The latest that became ready, or the newest if none has.
    pub(crate) latest_ready: String,
}

impl Route {
    pub(crate) fn new(namespace: &str, name: &str, metrics: &Metrics) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            assignment: RwLock::default(),
            control: Mutex::default(),
            recent: Recent::new(metrics.service(&format!("{namespace}/{name}"))),
        }
    }

    /// `namespace/service`, as events and listings name it.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn assignment(&self) -> Arc<Assignment> {
        Arc::clone(&self.assignment.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the service is in the manifests.
    pub(crate) fn exists(&self) -> bool {
        !self.assignment().shares.is_empty()
    }

    pub(crate) fn is_cluster_local(&self) -> bool {
        self.assignment().cluster_local
    }

    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.assignment().tags.contains_key(tag)
    }

    /// The revisions at work, those without traffic included, by name.
    pub(crate) fn revisions(&self) -> Vec<Arc<Revision>> {
        self.control().revisions.values().cloned().collect()
    }

    pub(crate) fn revision(&self, name: &str) -> Option<Arc<Revision>> {
        self.control().revisions.get(name).cloned()
    }

    /// Who gets which share of the requests to the service's own host.
    pub(crate) fn shares(&self) -> Vec<RevisionShare> {
        let percent = |share: u32| f64::from(share) * 100.0 / f64::from(WHOLE);
        let assignment = self.assignment();
        let share = |(revision, share): &(Arc<Revision>, u32)| RevisionShare {
            revision: revision.spec.revision.clone(),
            percent: percent(*share),
        };
        assignment.shares.iter().filter(|(_, share)| *share > 0).map(share).collect()
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        self.assignment().tags.keys().cloned().collect()
    }

    /// The revision that is to have the next request: that of the tag, or one at random by its share.
    pub(crate) fn next(&self, tag: Option<&str>) -> Option<Arc<Revision>> {
        let assignment = self.assignment();
        let shares = match tag {
            None => &assignment.shares,
            Some(tag) => assignment.tags.get(tag)?,
        };
        choose(shares, || fastrand::u32(..WHOLE)).map(Arc::clone)
    }

    /// What to tell who asks for a service that is gone.
    pub(crate) fn gone(&self) -> String {
        format!("service {} is no longer in the manifests", self.key())
    }

    /// Sends a request to the revision that is to have it.
    pub(crate) async fn serve(&self, tag: Option<&str>, request: Request<Body>) -> Response<Body> {
        match self.next(tag) {
            Some(revision) => {
                let arrived = Instant::now();
                let response = revision.serve(request).await;
                self.recent.note(response.status(), arrived.elapsed());
                response
            }
            None => plain(StatusCode::NOT_FOUND, self.gone()),
        }
    }

    /// Takes the service as it is wanted now; returns the revisions that are out of use and have no replicas. Traffic
    /// that follows the latest revision moves only if that one is ready; then the latest comes back as second.
    pub(crate) fn apply(&self, wanted: Wanted) -> (Vec<Arc<Revision>>, Option<String>) {
        let mut control = self.control();
        control.cluster_local = wanted.cluster_local;
        control.traffic = wanted.traffic;
        control.newest = wanted.newest;
        control.revisions.extend(wanted.revisions);
        let moves_to = match control.latest.last() {
            None => {
                control.latest.push((wanted.latest_ready, 100));
                None
            }
            Some((current, _)) => {
                let moves = *current != wanted.latest_ready && wanted.latest_ready == control.newest;
                moves.then_some(wanted.latest_ready)
            }
        };
        let used = self.assign(&control);
        let idle = |name: &String, revision: &Arc<Revision>| !used.contains(name) && revision.table.counts().is_empty();
        let retired: Vec<String> = control
            .revisions
            .iter()
            .filter(|(name, revision)| idle(name, revision))
            .map(|(name, _)| name.clone())
            .collect();
        (retired.iter().filter_map(|name| control.revisions.remove(name)).collect(), moves_to)
    }

    /// Takes the service out; returns its revisions.
    pub(crate) fn remove(&self) -> Vec<Arc<Revision>> {
        let mut control = self.control();
        let revisions = std::mem::take(&mut *control).revisions;
        self.assign(&control);
        revisions.into_values().collect()
    }

    /// The revision that traffic for the latest revision goes to, or is on its way to.
    pub(crate) fn latest(&self) -> Option<Arc<Revision>> {
        let control = self.control();
        let (name, _) = control.latest.last()?;
        control.revisions.get(name).cloned()
    }

    /// Whether traffic for the latest revision goes, or is on its way, to this one.
    pub(crate) fn leads_to(&self, revision: &str) -> bool {
        self.control().latest.last().is_some_and(|(name, _)| name == revision)
    }

    /// Lets a revision begin as the latest: with everything, or with the first step of a rollout.
    pub(crate) fn begin(&self, revision: &str, rollout: Option<Rollout>) {
        let mut control = self.control();
        if !control.revisions.contains_key(revision) {
            return;
        }
        control.latest.retain(|(name, _)| name != revision);
        let share = rollout.map_or(100, |rollout| rollout.percent(0));
        control.latest.push((revision.to_owned(), 0));
        control.give_last(share);
        self.assign(&control);
    }

    /// Takes one step of a rollout; false when it is complete, or another revision has become the latest.
    pub(crate) fn step(&self, revision: &str, percent: u32) -> bool {
        let mut control = self.control();
        if control.latest.last().is_none_or(|(name, _)| name != revision) {
            return false;
        }
        control.give_last(percent);
        self.assign(&control);
        control.latest.len() > 1
    }

    /// Makes the assignment anew and tells the revisions whether they are reachable; returns the names of those that are.
    fn assign(&self, control: &Control) -> BTreeSet<String> {
        let at_work = |(name, percent): &(String, u32)| Some((Arc::clone(control.revisions.get(name)?), *percent));
        let mut latest: Shares = control.latest.iter().filter_map(at_work).collect();
        if latest.is_empty() {
            latest.extend(control.revisions.get(&control.newest).map(|newest| (Arc::clone(newest), 100)));
        }
        let mut assignment = Assignment { cluster_local: control.cluster_local, ..Assignment::default() };
        for target in &control.traffic {
            let named = match &target.revision {
                RevisionChoice::Named(name) => control.revisions.get(name),
                RevisionChoice::Latest => None,
            };
            let meant = named.map_or_else(|| latest.clone(), |revision| vec![(Arc::clone(revision), 100)]);
            for (revision, percent) in &meant {
                add(&mut assignment.shares, revision, percent * u32::from(target.percent));
            }
            if let Some(tag) = &target.tag {
                let whole = meant.iter().map(|(revision, percent)| (Arc::clone(revision), percent * 100)).collect();
                assignment.tags.insert(tag.clone(), whole);
            }
        }
        let all = assignment.shares.iter().chain(assignment.tags.values().flatten());
        let mut used: BTreeSet<String> = all.map(|(revision, _)| revision.spec.revision.clone()).collect();
        // The newest has yet to prove itself and counts as reachable until then, as a pending one does in Knative.
        used.insert(control.newest.clone());
        *self.assignment.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(assignment);
        for (name, revision) in &control.revisions {
            revision.set_reachable(used.contains(name));
        }
        used
    }
}

impl Control {
    /// Gives the last revision its share of the latest, which the oldest lose first.
    fn give_last(&mut self, percent: u32) {
        let Some((_, last)) = self.latest.last_mut() else {
            return;
        };
        let mut missing = percent.saturating_sub(*last);
        *last = percent.max(*last);
        let others = self.latest.len() - 1;
        for (_, share) in self.latest.iter_mut().take(others) {
            let taken = missing.min(*share);
            *share -= taken;
            missing -= taken;
        }
        let newest = others;
        let mut at = 0;
        self.latest.retain(|(_, share)| {
            at += 1;
            *share > 0 || at > newest
        });
    }
}

fn add(shares: &mut Shares, revision: &Arc<Revision>, share: u32) {
    match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, revision)) {
        Some((_, sum)) => *sum += share,
        None => shares.push((Arc::clone(revision), share)),
    }
}

/// The revision in whose share the number falls that is drawn if there is a choice. Shares that do not add up, because a
/// revision is missing, leave the rest to the last.
fn choose(shares: &Shares, draw: impl FnOnce() -> u32) -> Option<&Arc<Revision>> {
    if let [(only, _)] = shares.as_slice() {
        return Some(only);
    }
    let (mut below, drawn) = (0, draw());
    let found = shares.iter().find(|(_, share)| {
        below += share;
        drawn < below
    });
    found.or(shares.last()).map(|(revision, _)| revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(control: &Control) -> Vec<(&str, u32)> {
        control.latest.iter().map(|(name, share)| (name.as_str(), *share)).collect()
    }

    #[test]
    fn a_rollout_takes_from_the_oldest_first() {
        let mut control = Control { latest: vec![("a".to_owned(), 100), ("b".to_owned(), 0)], ..Control::default() };
        control.give_last(1);
        assert_eq!(latest(&control), [("a", 99), ("b", 1)]);
        control.give_last(60);
        assert_eq!(latest(&control), [("a", 40), ("b", 60)]);
        control.latest.push(("c".to_owned(), 0));
        control.give_last(1);
        assert_eq!(latest(&control), [("a", 39), ("b", 60), ("c", 1)]);
        control.give_last(50);
        assert_eq!(latest(&control), [("b", 50), ("c", 50)]);
        control.give_last(100);
        assert_eq!(latest(&control), [("c", 100)]);
    }
}
