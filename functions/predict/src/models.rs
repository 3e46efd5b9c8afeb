//! The models that are served: follows the serving pointers in the log, and swaps without dropping a request.

mod cache;
mod follow;
mod metrics;
mod roles;
mod route;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use regrove_events::event::ServedVersion;
use regrove_events::log::serving_stream;
use regrove_events::{Serving, serving};
use regrove_forest::Model;
use regrove_host::Problem;
use regrove_store::Control;
use tokio::sync::mpsc;

pub(crate) use crate::models::cache::Slot;
use crate::models::cache::{Cache, Unserved};
use crate::models::follow::Follower;
pub(crate) use crate::models::metrics::{Metrics, Shadowed};
use crate::models::roles::{Roles, Stuck};
pub use crate::models::route::Choice;
use crate::models::route::Route;
use crate::signature::Signature;

/// How long one wait for news lasts; news end it at once.
const NEWS_WAIT: Duration = Duration::from_secs(20);
/// How long to wait before the store is asked again after it did not answer, or did not have what the pointer names.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// The longest of the pauses between two looks for what the store does not have: each is twice the one before.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(8);
/// Entries of the log read at once.
const BATCH: usize = 1000;

/// A model in memory. A request keeps the one that it began with.
#[derive(Debug)]
pub struct Served {
    /// Registered model name.
    pub name: String,
    /// Which version.
    pub version: ServedVersion,
    /// The model.
    pub model: Model,
    /// Length of the file that it was read from.
    pub bytes: u64,
    /// Its columns.
    pub signature: Signature,
}

impl Served {
    /// What the reference stack's API calls `model_info`.
    pub fn info(&self) -> serde_json::Value {
        let version = &self.version;
        serde_json::json!({
            "name": self.name,
            "version": version.version,
            "stage": version.stage,
            "description": version.description,
            "creation_timestamp": version.creation_timestamp,
        })
    }
}

type Table = Arc<BTreeMap<String, Arc<Route>>>;

/// All models that are asked for, by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Models(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Control,
    cache: Cache,
    /// Replaced as a whole: a request looks at one state.
    table: RwLock<Table>,
    /// The names that are being brought to what the log says; each lock is held by whoever does that.
    changing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Wakes the task that follows a name; what is still unheard stands for all news before it.
    followed: Mutex<BTreeMap<String, mpsc::Sender<()>>>,
    metrics: Metrics,
}

impl Models {
    /// Starts to follow the log. Opens the model `first` at once, others when they are first asked for; keeps models of
    /// at most `bytes_max` bytes in memory, and always the one asked for last. Must be called within a runtime.
    pub fn follow(control: Control, first: &str, bytes_max: u64) -> Self {
        let inner = Inner {
            control,
            cache: Cache::new(bytes_max),
            table: RwLock::default(),
            changing: Mutex::default(),
            followed: Mutex::default(),
            metrics: Metrics::new(),
        };
        let models = Self(Arc::new(inner));
        tokio::spawn(Follower::new(&models, first).run());
        models
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The model that answers a request for a name. Requests with the same `session` get the same version as long as
    /// the canary's share does not shrink.
    ///
    /// # Errors
    /// 503 with `Retry-After` when nothing is loaded under the name, or the store does not answer.
    pub async fn get(&self, name: &str, session: Option<&[u8]>) -> Result<Choice, Problem> {
        let route = self.route(name).await?;
        let slot = route.choose(session);
        if !Arc::ptr_eq(slot, &route.roles.stable) {
            match self.loaded(slot).await {
                // A shadow is compared with the served version only.
                Ok(canary) => return Ok(canary.into()),
                // A canary that is gone must not cost its share of the requests.
                Err(error) => tracing::error!(
                    model = name,
                    error = error.detail,
                    "the canary cannot be loaded, the served version answers"
                ),
            }
        }
        Ok(Choice { served: self.loaded(&route.roles.stable).await?, shadow: route.roles.shadow.clone() })
    }

    /// A version by its number: any that was ever served, canary or shadow under the name.
    ///
    /// # Errors
    /// 404 for a version that was none of these; as [`get`](Self::get).
    pub async fn version(&self, name: &str, version: &str) -> Result<Arc<Served>, Problem> {
        let route = self.route(name).await?;
        let Some(known) = route.serving.known.get(version) else {
            let versions: Vec<&str> = route.serving.known.keys().map(String::as_str).collect();
            let detail = format!("version `{version}` of `{name}` was never loaded; known are {}", versions.join(", "));
            return Err(Problem::new("version-not-loaded", StatusCode::NOT_FOUND, detail));
        };
        self.loaded(&self.0.cache.slot(name, known)).await
    }

    /// The versions in service under a name: the served one first, then canary and shadow.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn versions(&self, name: &str) -> Result<Vec<String>, Problem> {
        let route = self.route(name).await?;
        Ok(route.roles.slots().map(|(slot, _)| slot.version().version.clone()).collect())
    }

    /// Names of the models that this replica has been asked for and can answer.
    pub fn names(&self) -> Vec<String> {
        self.table().keys().cloned().collect()
    }

    /// The model in a slot, from memory or from the store.
    pub(crate) async fn loaded(&self, slot: &Slot) -> Result<Arc<Served>, Problem> {
        self.fetch(slot).await.map_err(|error| {
            unavailable(format!("version {} of `{}` cannot be served: {error}", slot.version().version, slot.name()))
        })
    }

    async fn fetch(&self, slot: &Slot) -> Result<Arc<Served>, Unserved> {
        self.0.cache.get(slot, &self.0.control, &self.0.metrics).await
    }

    fn table(&self) -> Table {
        Arc::clone(&self.0.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn route(&self, name: &str) -> Result<Arc<Route>, Problem> {
        if let Some(route) = self.table().get(name) {
            return Ok(Arc::clone(route));
        }
        if let Err(error) = regrove_events::model_name::check(name) {
            return Err(Problem::new("model-not-found", StatusCode::NOT_FOUND, error.to_string()));
        }
        match self.update(name).await {
            Ok(Some(route)) => {
                if route.roles.may_come {
                    self.tell(name);
                }
                Ok(route)
            }
            Ok(None) => {
                let advice = "train one, or POST /model/load to load-model";
                Err(unavailable(format!("no model is loaded as `{name}`; {advice}")))
            }
            Err(Stuck::Log(error)) => Err(error.into()),
            Err(Stuck::Unreachable(error)) => {
                Err(unavailable(format!("the model `{name}` cannot be fetched: {error}")))
            }
            Err(Stuck::Absent(error) | Stuck::Refused(error)) => {
                Err(unavailable(format!("no version loaded as `{name}` can be served; the newest: {error}")))
            }
        }
    }

    /// The lock of a name. Those that nobody has are forgotten: whoever asks chooses the names.
    fn changing(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        changing.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(changing.entry(name.to_owned()).or_default())
    }

    /// Whether a name is in the table or about to be. In this order: a name leaves the one after it has come into the other.
    fn is_known(&self, name: &str) -> bool {
        let changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = changing.get(name).is_some_and(|lock| Arc::strong_count(lock) > 1);
        drop(changing);
        changes || self.table().contains_key(name)
    }

    /// Brings one name to what the log says. `None` when nothing is served under it.
    async fn update(&self, name: &str) -> Result<Option<Arc<Route>>, Stuck> {
        let inner = &*self.0;
        let lock = self.changing(name);
        let _changing = lock.lock().await;
        let old = self.table().get(name).cloned();
        let (seen, known) = old.as_ref().map_or((0, Serving::default()), |old| (old.seen, old.serving.clone()));
        let news = inner.control.log.read(&serving_stream(name), seen).await?;
        if news.is_empty() && !old.as_ref().is_some_and(|old| old.roles.may_come) {
            return Ok(old);
        }
        let serving = news.iter().fold(known, serving::evolve);
        let seen = seen + news.len() as u64;
        if serving.path.is_empty() {
            return Ok(old);
        }
        // Without news it is only what is missing that is looked for.
        let before = old.as_ref().filter(|_| news.is_empty());
        let held = before.map(|before| &before.roles);
        let roles = Roles::fill(self, name, &serving, old.as_deref(), held).await?;
        if let Some(before) = before.filter(|before| before.roles == roles) {
            return Ok(Some(Arc::clone(before)));
        }
        tracing::info!(model = name, version = roles.stable.version().version, "serving");
        let route = Arc::new(Route::new(seen, serving, roles));
        inner.metrics.routed(name, old.as_deref(), &route);
        let mut table = inner.table.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut table).insert(name.to_owned(), Arc::clone(&route));
        Ok(Some(route))
    }
}

fn unavailable(detail: String) -> Problem {
    Problem::new("model-not-loaded", StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
}
