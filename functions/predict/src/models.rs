//! The models that are served: follows every serving pointer in the log, and swaps without dropping a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use regrove_events::event::ModelLoaded;
use regrove_events::log::{self, Position, SERVING_PREFIX, serving_stream};
use regrove_events::{CloudEvent, Event, serving};
use regrove_forest::Model;
use regrove_host::Problem;
use regrove_store::Control;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long one wait for news lasts; news end it at once.
const NEWS_WAIT: Duration = Duration::from_secs(20);
/// How long to wait before the store is asked again after it did not answer.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Entries of the log read at once.
const BATCH: usize = 1000;
/// How long a request waits for a model that the log has and this replica does not have yet.
const CATCH_UP_WAIT: Duration = Duration::from_secs(2);
/// How long the first request waits for the pointers to be read.
const FIRST_READ_WAIT: Duration = Duration::from_secs(10);

/// A model in service. A request keeps the one that it began with.
#[derive(Debug)]
pub struct Served {
    /// What the pointer says.
    pub loaded: ModelLoaded,
    /// The model.
    pub model: Model,
}

type Table = Arc<BTreeMap<String, Arc<Served>>>;

/// All models in service, by name.
#[derive(Debug, Clone)]
pub struct Models {
    control: Control,
    /// `None` until the pointers have been read for the first time.
    table: watch::Receiver<Option<Table>>,
}

impl Models {
    /// Starts to follow the log. Must be called within a runtime.
    pub fn follow(control: Control) -> Self {
        let (sender, table) = watch::channel(None);
        let models = Self { control: control.clone(), table };
        tokio::spawn(async move {
            let mut follower = Follower { control, table: BTreeMap::new(), sender, after: None };
            // Ends when nobody asks any more.
            while !follower.sender.is_closed() {
                if let Err(error) = follower.step().await {
                    tracing::warn!(%error, "cannot follow the serving pointers");
                    tokio::time::sleep(RETRY_WAIT).await;
                }
            }
        });
        models
    }

    /// The model in service under a name.
    ///
    /// # Errors
    /// 503 with `Retry-After` when nothing is loaded under the name, or the log does not answer.
    pub async fn get(&self, name: &str) -> Result<Arc<Served>, Problem> {
        let mut table = self.table.clone();
        let first_read = timeout(FIRST_READ_WAIT, table.wait_for(Option::is_some)).await;
        let Some(read) = first_read.ok().and_then(Result::ok).map(|table| table.clone()) else {
            return Err(unavailable("the serving pointers could not be read yet".to_owned()));
        };
        if let Some(served) = find(read.as_ref(), name) {
            return Ok(served);
        }
        // Whoever has seen that the model is loaded may be faster than this replica: the log decides.
        let history = self.control.log.read(&serving_stream(name), 0).await?;
        if serving::replay(&history).current.is_none() {
            let advice = "train one, or POST /model/load to load-model";
            return Err(unavailable(format!("no model is loaded as `{name}`; {advice}")));
        }
        let caught_up = timeout(CATCH_UP_WAIT, table.wait_for(|table| find(table.as_ref(), name).is_some())).await;
        caught_up.ok().and_then(Result::ok).and_then(|read| find(read.as_ref(), name)).ok_or_else(|| {
            unavailable(format!("the version loaded as `{name}` cannot be served; the log of predict says why"))
        })
    }
}

fn find(table: Option<&Table>, name: &str) -> Option<Arc<Served>> {
    table.and_then(|table| table.get(name)).cloned()
}

fn unavailable(detail: String) -> Problem {
    Problem::new("model-not-loaded", StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
}

struct Follower {
    control: Control,
    table: BTreeMap<String, Arc<Served>>,
    sender: watch::Sender<Option<Table>>,
    after: Option<Position>,
}

impl Follower {
    /// Reads all pointers the first time, then waits for news and applies them.
    async fn step(&mut self) -> Result<(), log::Error> {
        let Some(after) = self.after else {
            let head = self.control.log.head().await?;
            for stream in self.control.log.streams(SERVING_PREFIX).await? {
                let history = self.control.log.read(&stream, 0).await?;
                if let Some(loaded) = serving::replay(&history).current {
                    self.serve(loaded).await;
                }
            }
            self.publish();
            self.after = Some(head);
            return Ok(());
        };
        if !self.control.log.wait(after, NEWS_WAIT).await? {
            return Ok(());
        }
        for entry in self.control.log.tail(after, BATCH).await? {
            self.after = Some(entry.position);
            if entry.stream.starts_with(SERVING_PREFIX) {
                self.apply(&entry.event).await;
            }
        }
        Ok(())
    }

    async fn apply(&mut self, event: &CloudEvent) {
        if let Ok(Event::ModelLoaded(loaded)) = Event::read(event) {
            self.serve(loaded).await;
            self.publish();
        }
    }

    /// Puts a model into service, or keeps the old one if the new one cannot be.
    async fn serve(&mut self, loaded: ModelLoaded) {
        let name = loaded.name.clone();
        if self.table.get(&name).is_some_and(|served| served.loaded == loaded) {
            return;
        }
        match load(&self.control, loaded).await {
            Ok(served) => {
                tracing::info!(model = name, version = served.loaded.version, "serving");
                self.table.insert(name, Arc::new(served));
            }
            Err(reason) => {
                let kept = self.table.get(&name).map(|served| served.loaded.version.as_str());
                tracing::error!(model = name, %reason, kept, "cannot serve the version, the old one stays");
            }
        }
    }

    fn publish(&self) {
        self.sender.send_replace(Some(Arc::new(self.table.clone())));
    }
}

async fn load(control: &Control, loaded: ModelLoaded) -> Result<Served, String> {
    let bytes = control.artifacts.get(&loaded.model).await.map_err(|error| error.to_string())?;
    // The store has compared the bytes with their address; their indexes are checked here.
    let model = tokio::task::spawn_blocking(move || Model::from_verified_bytes(Arc::new(bytes)))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    Ok(Served { loaded, model })
}
