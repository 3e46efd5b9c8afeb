//! Models in memory, the least recently used ones dropped when they take too much of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use axum::body::Bytes;
use regrove_events::event::{Artifact, ServedVersion};
use regrove_forest::Model;
use regrove_store::Control;

use super::{Metrics, Served};
use crate::signature::Signature;

/// A place for one version's model.
#[derive(Debug)]
pub(crate) struct Slot {
    name: String,
    version: ServedVersion,
    served: RwLock<Option<Arc<Served>>>,
    /// Held by whoever fetches the model.
    fetching: tokio::sync::Mutex<()>,
    used: AtomicU64,
}

impl Slot {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn version(&self) -> &ServedVersion {
        &self.version
    }

    /// Bytes of the file that its model was read from; none when it is not in memory.
    fn bytes(&self) -> u64 {
        self.get().map_or(0, |served| served.bytes)
    }

    fn get(&self) -> Option<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, served: Option<Arc<Served>>) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
    }
}

type Key = (String, String, String);

/// All slots.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Mutex<BTreeMap<Key, Arc<Slot>>>,
    bytes_max: u64,
    clock: AtomicU64,
}

impl Cache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { slots: Mutex::default(), bytes_max, clock: AtomicU64::new(0) }
    }

    /// The slot of a version; a new one is empty. What is said of a version may change (its example, its description), and
    /// then another slot takes the place of the one that was made by what is no longer said.
    pub(super) fn slot(&self, name: &str, version: &ServedVersion) -> Arc<Slot> {
        let key = (name.to_owned(), version.version.clone(), version.model.sha256.clone());
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(&key) {
            // Those that are empty and that no route holds would stay for ever.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.get().is_some());
        }
        match slots.get(&key) {
            Some(slot) if slot.version == *version => Arc::clone(slot),
            _ => {
                let slot = Arc::new(Slot {
                    name: name.to_owned(),
                    version: version.clone(),
                    served: RwLock::default(),
                    fetching: tokio::sync::Mutex::default(),
                    used: AtomicU64::new(0),
                });
                slots.insert(key, Arc::clone(&slot));
                slot
            }
        }
    }

    /// The slot's model, fetched and checked when it is not in memory.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub(super) async fn get(&self, slot: &Slot, control: &Control, metrics: &Metrics) -> Result<Arc<Served>, Unserved> {
        slot.used.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        if let Some(served) = slot.get() {
            return Ok(served);
        }
        let _fetching = slot.fetching.lock().await;
        if let Some(served) = slot.get() {
            return Ok(served);
        }
        let begun = Instant::now();
        let served = Arc::new(fetch(slot, control).await?);
        metrics.loaded(begun.elapsed());
        slot.set(Some(Arc::clone(&served)));
        metrics.memory(self.make_room(slot));
        Ok(served)
    }

    /// Drops what was not used for the longest time, never the slot that has just been filled. Requests under way keep
    /// what they have. Returns how many bytes and models stay.
    fn make_room(&self, filled: &Slot) -> (u64, usize) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut full: Vec<&Arc<Slot>> = slots.values().filter(|slot| slot.get().is_some()).collect();
        full.sort_unstable_by_key(|slot| slot.used.load(Ordering::Relaxed));
        let mut bytes: u64 = full.iter().map(|slot| slot.bytes()).sum();
        let mut count = full.len();
        for slot in full.into_iter().filter(|slot| !std::ptr::eq(&raw const ***slot, filled)) {
            if bytes <= self.bytes_max {
                break;
            }
            bytes -= slot.bytes();
            slot.set(None);
            tracing::info!(model = slot.name, version = slot.version.version, "dropped from memory");
            count -= 1;
        }
        (bytes, count)
    }
}

/// Why a version is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unserved {
    /// The store does not answer, whatever it is asked for: later it may.
    #[error("{0}")]
    Unreachable(String),
    /// Its file is missing, damaged or cannot be read: somebody may put it back.
    #[error("{0}")]
    Absent(String),
    /// It never will be.
    #[error("{0}")]
    Refused(String),
}

async fn fetch(slot: &Slot, control: &Control) -> Result<Served, Unserved> {
    let version = &slot.version;
    let (model, file) = match &version.serving {
        None => (read(&version.model, version, control).await?, &version.model),
        // The smaller file can be made of the whole one again, and has no more to say.
        Some(serving) => match read(serving, version, control).await {
            Err(Unserved::Absent(reason) | Unserved::Refused(reason)) => {
                tracing::warn!(model = slot.name, version = version.version, reason, "the whole model is read instead");
                (read(&version.model, version, control).await?, &version.model)
            }
            read => (read?, serving),
        },
    };
    let bytes = file.bytes;
    let columns = slot.version.columns.as_deref().filter(|columns| columns.len() == model.n_features());
    let names = columns.unwrap_or(model.feature_names());
    let signature = Signature::new(names).with_categories(model.categories());
    Ok(Served { name: slot.name.clone(), version: slot.version.clone(), model, bytes, signature })
}

/// The model in a file, checked.
async fn read(file: &Artifact, version: &ServedVersion, control: &Control) -> Result<Model, Unserved> {
    use regrove_store::artifact::Error;
    let example = version.example.clone();
    // The store compares the bytes with their address meanwhile; every index is checked here.
    let build = move |bytes: Bytes| {
        let model = Model::from_verified_bytes(Arc::new(bytes)).map_err(|error| error.to_string())?;
        if let Some(example) = example {
            let checked = model.check_example(&example.input, &example.output);
            checked.map_err(|error| format!("self-check: {error}"))?;
        }
        Ok::<_, String>(model)
    };
    let made = control.artifacts.get_built(file, build).await.map_err(|error| match &error {
        Error::Store { .. } => Unserved::Unreachable(error.to_string()),
        Error::Missing { .. } | Error::Corrupt { .. } | Error::File { .. } => Unserved::Absent(error.to_string()),
        _ => Unserved::Refused(error.to_string()),
    })?;
    made.map_err(Unserved::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: &str, bytes: u64) -> ServedVersion {
        ServedVersion {
            version: number.to_owned(),
            uri: format!("models:/m/{number}"),
            model: Artifact { sha256: number.repeat(64), bytes },
            serving: None,
            stage: String::new(),
            description: String::new(),
            creation_timestamp: 0,
            columns: None,
            example: None,
        }
    }

    fn fill(cache: &Cache, number: &str, bytes: u64, model: &Model) -> Arc<Slot> {
        let slot = cache.slot("m", &version(number, bytes));
        slot.used.store(cache.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let signature = Signature::new(model.feature_names());
        let served = Served { name: "m".into(), version: slot.version.clone(), model: model.clone(), bytes, signature };
        slot.set(Some(Arc::new(served)));
        cache.make_room(&slot);
        slot
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_newest_always_stays() {
        let model = crate::testing::model(2);
        let cache = Cache::new(100);
        let first = fill(&cache, "1", 40, &model);
        let second = fill(&cache, "2", 40, &model);
        first.used.store(cache.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let third = fill(&cache, "3", 40, &model);
        assert!(first.get().is_some() && second.get().is_none() && third.get().is_some());
        let large = fill(&cache, "4", 1000, &model);
        assert!(first.get().is_none() && third.get().is_none() && large.get().is_some());
        drop((first, second));
        let fifth = cache.slot("m", &version("5", 1));
        let versions: Vec<String> = cache.slots.lock().unwrap().keys().map(|key| key.1.clone()).collect();
        assert_eq!(versions, ["3", "4", "5"], "what is empty and unused is forgotten");
        assert!(third.get().is_none() && fifth.get().is_none());
    }
}
