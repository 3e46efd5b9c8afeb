//! Versions of registered models.

use axum::Json;
use axum::extract::State;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::logged_models::LoggedModel;
use crate::registry::Registered;
use crate::request::{Answer, Ask, Input, Page, Pair, done, put_items, required, whole};
use crate::run_rows::{RunRow, delete_pair, pairs, put_pair};
use crate::search::{Searchable, select};
use crate::store::{Store, now_ms};

const VERSIONS_DEFAULT: i64 = 10_000;
const VERSIONS_MAX: i64 = 200_000;

const VERSIONS: Searchable = Searchable {
    attributes: &[
        ("name", "name"),
        ("version_number", "version"),
        ("run_id", "run_id"),
        ("source_path", "source"),
        ("creation_timestamp", "created"),
        ("last_updated_timestamp", "updated"),
    ],
    owner: "model_versions.id",
    tags: "model_version_tags",
    params: None,
    metrics: false,
    absent_differs: true,
};

#[derive(Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    source: Option<String>,
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    model_id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct One {
    name: Option<String>,
    version: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    version: Option<Value>,
    description: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct TagOf {
    name: Option<String>,
    version: Option<Value>,
    key: Option<String>,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    filter: String,
    #[serde(default, deserialize_with = "whole")]
    max_results: Option<i64>,
    order_by: Option<String>,
    page_token: Option<String>,
}

/// A version number from a JSON number or text.
pub(crate) fn number(version: Option<Value>) -> Result<i64, Refusal> {
    let text = match version {
        None | Some(Value::Null) => return Err(Refusal::missing_parameter("version")),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    text.parse().map_err(|_| Refusal::invalid(format!("Parameter 'version' must be an integer, got '{text}'.")))
}

pub(crate) async fn create(State(store): State<Store>, Input(input): Input<Create>) -> Answer {
    let name = required("name", input.name)?;
    let source = required("source", input.source)?;
    let version = store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            let place = place_of(tx, &source, &input.run_id, &input.model_id)?;
            let now = now_ms();
            // The counter outlives the versions: a number is never given twice.
            let version: i64 = tx.query_row(
                "UPDATE registered_models SET last_version = last_version + 1, updated = ? WHERE name = ? \
                 RETURNING last_version",
                params![now, name],
                |row| row.get(0),
            )?;
            tx.execute(
                "INSERT INTO model_versions (name, version, description, source, run_id, storage, created, updated) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
                params![name, version, input.description, source, place.run_id, place.storage, now],
            )?;
            let id = tx.last_insert_rowid();
            for tag in &input.tags {
                put_pair(tx, "model_version_tags", id, tag)?;
            }
            Version::known(tx, &name, version)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"model_version": version})))
}

struct Place {
    storage: String,
    run_id: String,
}

/// Where the files of a source are. Sources outside a run or logged model are refused: a version must never point at
/// other files of this machine.
fn place_of(tx: &Transaction<'_>, source: &str, run_id: &str, model_id: &str) -> Result<Place, Refusal> {
    let outside = |parameter: &str| {
        Refusal::invalid(format!(
            "Invalid model version source: '{source}'. The {parameter} request parameter must identify the resource \
             that contains the source."
        ))
    };
    if let Some(named) = source.strip_prefix("models:/") {
        if let Some((name, version)) = named.split_once('/') {
            let version = Version::known(tx, name, number(Some(version.into()))?)?;
            return Ok(Place { storage: version.storage, run_id: version.run_id });
        }
        if named != model_id {
            return Err(outside("model_id"));
        }
        let model = LoggedModel::known(tx, model_id)?;
        let run_id = if run_id.is_empty() { model.source_run_id.clone() } else { run_id.to_owned() };
        return Ok(Place { storage: model.artifact_uri(), run_id });
    }
    if !model_id.is_empty() {
        let model = LoggedModel::known(tx, model_id)?;
        if lies_in(source, &model.artifact_uri()) {
            return Ok(Place { storage: source.to_owned(), run_id: model.source_run_id });
        }
        return Err(outside("model_id"));
    }
    if run_id.is_empty() {
        return Err(outside("run_id"));
    }
    let run = RunRow::known(tx, run_id)?;
    if lies_in(source, &run.artifact_uri()) {
        return Ok(Place { storage: source.to_owned(), run_id: run_id.to_owned() });
    }
    Err(outside("run_id"))
}

fn lies_in(source: &str, root: &str) -> bool {
    let Some(rest) = source.strip_prefix(root) else { return false };
    (rest.is_empty() || rest.starts_with('/')) && !rest.split('/').any(|part| part == "..")
}

pub(crate) async fn get(State(store): State<Store>, Ask(ask): Ask<One>) -> Answer {
    let name = required("name", ask.name)?;
    let version = number(ask.version)?;
    let version = store.read(move |tx| Version::known(tx, &name, version)?.json(tx)).await?;
    Ok(Json(json!({"model_version": version})))
}

pub(crate) async fn download_uri(State(store): State<Store>, Ask(ask): Ask<One>) -> Answer {
    let name = required("name", ask.name)?;
    let version = number(ask.version)?;
    let storage = store.read(move |tx| Ok(Version::known(tx, &name, version)?.storage)).await?;
    Ok(Json(json!({"artifact_uri": storage})))
}

pub(crate) async fn update(State(store): State<Store>, Input(input): Input<Update>) -> Answer {
    let name = required("name", input.name)?;
    let version = number(input.version)?;
    let version = store
        .write(move |tx| {
            let id = Version::known(tx, &name, version)?.id;
            tx.execute(
                "UPDATE model_versions SET description = coalesce(?, description), updated = ? WHERE id = ?",
                params![input.description, now_ms(), id],
            )?;
            Version::known(tx, &name, version)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"model_version": version})))
}

pub(crate) async fn delete(State(store): State<Store>, Input(input): Input<One>) -> Answer {
    let name = required("name", input.name)?;
    let version = number(input.version)?;
    store
        .write(move |tx| {
            let id = Version::known(tx, &name, version)?.id;
            tx.execute("DELETE FROM model_versions WHERE id = ?", [id])?;
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn set_tag(State(store): State<Store>, Input(input): Input<TagOf>) -> Answer {
    let name = required("name", input.name)?;
    let version = number(input.version)?;
    let tag = Pair { key: required("key", input.key)?, value: input.value };
    store
        .write(move |tx| {
            let id = Version::known(tx, &name, version)?.id;
            put_pair(tx, "model_version_tags", id, &tag)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn delete_tag(State(store): State<Store>, Input(input): Input<TagOf>) -> Answer {
    let name = required("name", input.name)?;
    let version = number(input.version)?;
    let key = required("key", input.key)?;
    store
        .write(move |tx| {
            let id = Version::known(tx, &name, version)?.id;
            delete_pair(tx, "model_version_tags", id, &key).map(drop)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn search(State(store): State<Store>, Ask(ask): Ask<Search>) -> Answer {
    let page = Page::new(ask.max_results, VERSIONS_DEFAULT, VERSIONS_MAX, ask.page_token.as_deref())?;
    let condition = VERSIONS.filter(&ask.filter)?;
    let orders: Vec<String> = ask.order_by.into_iter().collect();
    let order = VERSIONS.order(&orders, "updated DESC, name, version DESC")?;
    let found = store
        .read(move |tx| {
            let rows = select(tx, "model_versions", condition, order, page, Version::read)?;
            rows.iter().map(|row| row.json(tx)).collect::<Result<Vec<Value>, Refusal>>()
        })
        .await?;
    Ok(Json(page.answer("model_versions", found)))
}

/// The row of a version.
pub(crate) struct Version {
    id: i64,
    name: String,
    number: i64,
    description: String,
    source: String,
    run_id: String,
    storage: String,
    created: i64,
    updated: i64,
}

impl Version {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            number: row.get("version")?,
            description: row.get("description")?,
            source: row.get("source")?,
            run_id: row.get("run_id")?,
            storage: row.get("storage")?,
            created: row.get("created")?,
            updated: row.get("updated")?,
        })
    }

    pub(crate) fn known(tx: &Transaction<'_>, name: &str, version: i64) -> Result<Self, Refusal> {
        tx.query_row("SELECT * FROM model_versions WHERE name = ? AND version = ?", params![name, version], Self::read)
            .optional()?
            .ok_or_else(|| Refusal::not_found(format!("Model Version (name={name}, version={version}) not found")))
    }

    pub(crate) fn json(&self, tx: &Transaction<'_>) -> Result<Value, Refusal> {
        let mut fields = Map::new();
        for (name, text) in [
            ("name", self.name.as_str()),
            ("version", &self.number.to_string()),
            ("current_stage", "None"),
            ("description", &self.description),
            ("source", &self.source),
            ("run_id", &self.run_id),
            ("status", "READY"),
            ("run_link", ""),
        ] {
            fields.insert(name.to_owned(), text.into());
        }
        fields.insert("creation_timestamp".to_owned(), self.created.into());
        fields.insert("last_updated_timestamp".to_owned(), self.updated.into());
        put_items(&mut fields, "tags", pairs(tx, "model_version_tags", self.id)?);
        let mut statement =
            tx.prepare_cached("SELECT alias FROM aliases WHERE name = ? AND version = ? ORDER BY alias")?;
        let aliases =
            statement.query_map(params![self.name, self.number], |row| Ok(row.get::<_, String>(0)?.into()))?;
        put_items(&mut fields, "aliases", aliases.collect::<Result<_, _>>()?);
        Ok(Value::Object(fields))
    }
}
