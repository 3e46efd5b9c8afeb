//! Bringing the services to what the manifests say: at the start, and whenever they change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regrove_knative::autoscaler::{AutoscalerDefaults, AutoscalingConfig};
use regrove_knative::rollout::Rollout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gateway::Gateway;
use super::revision::{Revision, Surroundings};
use super::route::{Route, Wanted};
use super::scaler::{self, Pace};
use crate::error::Error;
use crate::events_out::EventsOut;
use crate::history::{History, Lineage};
use crate::plan_services::{PlannedRevision, PlannedService};
use crate::runtime_event::RuntimeEvent;

/// All services and what they are made with.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) history: Arc<History>,
    pub(crate) around: Surroundings,
    pub(crate) pace: Pace,
    /// Where scalers and rollouts run, until `stop`.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What became of what was planned.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// New revisions.
    pub(crate) new: Vec<String>,
    /// What is not as the cluster's settings say, because it was made under others.
    pub(crate) unchanged: Vec<String>,
}

/// What following a new revision needs.
#[derive(Debug)]
struct Follow {
    route: Arc<Route>,
    revision: Arc<Revision>,
    lineage: Lineage,
    rollout: Duration,
}

impl Services {
    /// Makes the services what is planned, with these defaults of autoscaling; those that are not planned are taken out.
    ///
    /// # Errors
    /// The revisions cannot be recorded; nothing has changed then.
    pub(crate) fn apply(&self, planned: Vec<PlannedService>, defaults: &AutoscalerDefaults) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        for service in planned.iter().filter(|service| service.is_new) {
            self.history.record(&service.namespace, &service.name, &service.lineage)?;
            applied.new.extend(service.lineage.latest().map(|latest| latest.name.clone()));
        }
        let gone = self.gateway.routes().into_iter().filter(|route| {
            !planned.iter().any(|service| service.namespace == route.namespace && service.name == route.name)
        });
        for route in gone {
            remove(&route);
        }
        for service in planned {
            applied.unchanged.extend(self.apply_one(service, defaults));
        }
        self.gateway.changed();
        Ok(applied)
    }

    /// Returns what does not change although the defaults have.
    fn apply_one(&self, service: PlannedService, defaults: &AutoscalerDefaults) -> Vec<String> {
        let route = self.gateway.route_or_new(&service.namespace, &service.name);
        let newest = service.revisions.last().map(|revision| revision.spec.revision.clone()).unwrap_or_default();
        let ready = service.revisions.iter().rev().find(|revision| revision.ready);
        let ready = ready.map(|revision| revision.spec.revision.clone());
        // One that serves at this moment may be ready although that is not yet recorded.
        let serving = || route.latest().filter(|revision| revision.has_been_ready());
        let latest_ready = ready.or_else(|| Some(serving()?.spec.revision.clone())).unwrap_or_else(|| newest.clone());
        let mut revisions = BTreeMap::new();
        let (mut followed, mut unchanged) = (Vec::new(), Vec::new());
        for planned in service.revisions {
            let name = planned.spec.revision.clone();
            if let Some(known) = route.revision(&name) {
                unchanged.extend(renew(&known, planned, defaults));
                continue;
            }
            // A first revision has nobody to stand in for it, so it need not prove itself before the first request.
            let proves = name == newest && newest != latest_ready;
            let revision = Revision::new(planned.spec, proves, self.around.clone());
            self.tasks.spawn(scaler::run(Arc::clone(&revision), self.pace, self.stop.clone()));
            if !planned.ready {
                followed.push(Arc::clone(&revision));
            }
            revisions.insert(name, revision);
        }
        let wanted = Wanted {
            cluster_local: service.cluster_local,
            traffic: service.traffic,
            revisions,
            newest,
            latest_ready: latest_ready.clone(),
        };
        let (retired, moves_to) = route.apply(wanted);
        for revision in retired {
            revision.retired.cancel();
        }
        for revision in followed {
            let (route, lineage) = (Arc::clone(&route), service.lineage.clone());
            self.follow(Follow { route, revision, lineage, rollout: service.rollout });
        }
        if let Some(revision) = moves_to.and_then(|name| route.revision(&name)) {
            let roll = roll_out(Arc::clone(&route), revision, self.rollout(service.rollout));
            self.run(roll);
        } else {
            tell(&route, &self.around.events);
        }
        unchanged
    }

    fn rollout(&self, duration: Duration) -> Option<Rollout> {
        Rollout::plan(duration.div_f64(self.pace.scale), Duration::ZERO)
    }

    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Waits until the revision is ready, records that, and lets traffic move to it.
    fn follow(&self, follow: Follow) {
        let Follow { route, revision, mut lineage, rollout } = follow;
        let (history, rollout) = (Arc::clone(&self.history), self.rollout(rollout));
        self.run(async move {
            tokio::select! {
                () = revision.ready.cancelled() => {}
                () = revision.retired.cancelled() => return,
            }
            let name = revision.spec.revision.clone();
            // Another revision may have been recorded in the meantime.
            let recorded = {
                let (route, name) = (Arc::clone(&route), name.clone());
                tokio::task::spawn_blocking(move || history.record_ready(&route.namespace, &route.name, &name)).await
            };
            match recorded {
                Ok(Ok(current)) => lineage = current,
                Ok(Err(error)) => {
                    tracing::error!(%error, revision = name, "that it became ready is not recorded");
                    lineage.mark_ready(&name);
                }
                Err(error) => tracing::error!(%error, revision = name, "that it became ready is not recorded"),
            }
            if lineage.latest_ready().is_some_and(|ready| ready.name == name) && !route.leads_to(&name) {
                roll_out(route, revision, rollout).await;
            }
        });
    }
}

/// Gives a revision at work what may change of it: what its processes are made of, such as a command or a `ConfigMap`, and
/// the numbers of the autoscaler. Says what would take a new revision.
fn renew(known: &Revision, planned: PlannedRevision, defaults: &AutoscalerDefaults) -> Option<String> {
    let PlannedRevision { spec, annotations, .. } = planned;
    // Its own concurrency: another default of that is one for new revisions.
    let autoscaling = AutoscalingConfig::resolve(&annotations, known.spec.concurrency, defaults);
    known.set_autoscaling(autoscaling.unwrap_or(spec.autoscaling));
    known.set_run(spec.run);
    let was = &known.spec;
    let stays = was.concurrency != spec.concurrency
        || (was.timeout, was.response_start_timeout, was.idle_timeout)
            != (spec.timeout, spec.response_start_timeout, spec.idle_timeout);
    stays.then(|| {
        format!(
            "Service {}: {} keeps its timeouts and its containerConcurrency; config-defaults hold for the next revision",
            was.service(),
            was.revision
        )
    })
}

fn remove(route: &Route) {
    for revision in route.remove() {
        revision.retired.cancel();
        revision.close(revision.spec.timeout, "the service is no longer in the manifests");
    }
}

async fn roll_out(route: Arc<Route>, revision: Arc<Revision>, rollout: Option<Rollout>) {
    let name = &revision.spec.revision;
    route.begin(name, rollout);
    tell(&route, &revision.events);
    let Some(rollout) = rollout else {
        return;
    };
    for step in 1.. {
        tokio::time::sleep(rollout.step_time()).await;
        let goes_on = route.step(name, rollout.percent(step));
        tell(&route, &revision.events);
        if !goes_on {
            return;
        }
    }
}

fn tell(route: &Route, events: &EventsOut) {
    events.send(|| RuntimeEvent::TrafficAssigned { service: route.key(), shares: route.shares() });
}
