//! Registered models and aliases.

use axum::Json;
use axum::extract::State;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::request::{Answer, Ask, Input, Page, Pair, done, put_items, required, whole};
use crate::run_rows::{delete_pair, pairs, put_pair};
use crate::search::{Searchable, select};
use crate::store::{Store, now_ms};
use crate::versions::{Version, number};

const MODELS_DEFAULT: i64 = 100;
const MODELS_MAX: i64 = 1000;
const ALIAS_CHARS_MAX: usize = 255;

const MODELS: Searchable = Searchable {
    attributes: &[("name", "name"), ("creation_timestamp", "created"), ("last_updated_timestamp", "updated")],
    owner: "registered_models.name",
    tags: "registered_model_tags",
    params: None,
    metrics: false,
    absent_differs: true,
};

#[derive(Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct ByName {
    name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Rename {
    name: Option<String>,
    new_name: Option<String>,
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

#[derive(Deserialize)]
pub(crate) struct TagOf {
    name: Option<String>,
    key: Option<String>,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
pub(crate) struct AliasOf {
    name: Option<String>,
    alias: Option<String>,
    version: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct Latest {
    name: Option<String>,
    #[serde(default)]
    stages: Vec<String>,
}

/// The rule for names of registered models.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.contains(['/', ':']) {
        return Err(Refusal::invalid(format!("Invalid model name '{name}'. Names cannot contain '/' or ':'.")));
    }
    Ok(())
}

pub(crate) async fn create(State(store): State<Store>, Input(input): Input<Create>) -> Answer {
    let name = required("name", input.name)?;
    check_name(&name)?;
    let model = store
        .write(move |tx| {
            let created = tx.execute(
                "INSERT OR IGNORE INTO registered_models (name, description, created, updated) VALUES (?1, ?2, ?3, ?3)",
                params![name, input.description, now_ms()],
            )?;
            if created == 0 {
                return Err(Refusal::exists(format!("Registered Model (name={name}) already exists.")));
            }
            for tag in &input.tags {
                put_pair(tx, "registered_model_tags", &name, tag)?;
            }
            Registered::known(tx, &name)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"registered_model": model})))
}

pub(crate) async fn get(State(store): State<Store>, Ask(ask): Ask<ByName>) -> Answer {
    let name = required("name", ask.name)?;
    let model = store.read(move |tx| Registered::known(tx, &name)?.json(tx)).await?;
    Ok(Json(json!({"registered_model": model})))
}

pub(crate) async fn update(State(store): State<Store>, Input(input): Input<Update>) -> Answer {
    let name = required("name", input.name)?;
    let model = store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            tx.execute(
                "UPDATE registered_models SET description = coalesce(?, description), updated = ? WHERE name = ?",
                params![input.description, now_ms(), name],
            )?;
            Registered::known(tx, &name)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"registered_model": model})))
}

pub(crate) async fn rename(State(store): State<Store>, Input(input): Input<Rename>) -> Answer {
    let name = required("name", input.name)?;
    let new_name = required("new_name", input.new_name)?;
    check_name(&new_name)?;
    let model = store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            if new_name != name && Registered::known(tx, &new_name).is_ok() {
                return Err(Refusal::exists(format!("Registered Model (name={new_name}) already exists.")));
            }
            let change = params![new_name, now_ms(), name];
            tx.execute("UPDATE registered_models SET name = ?, updated = ? WHERE name = ?", change)?;
            Registered::known(tx, &new_name)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"registered_model": model})))
}

pub(crate) async fn delete(State(store): State<Store>, Input(input): Input<ByName>) -> Answer {
    let name = required("name", input.name)?;
    store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            tx.execute("DELETE FROM registered_models WHERE name = ?", [&name])?;
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn search(State(store): State<Store>, Ask(ask): Ask<Search>) -> Answer {
    let page = Page::new(ask.max_results, MODELS_DEFAULT, MODELS_MAX, ask.page_token.as_deref())?;
    let condition = MODELS.filter(&ask.filter)?;
    let orders: Vec<String> = ask.order_by.into_iter().collect();
    let order = MODELS.order(&orders, "name")?;
    let found = store
        .read(move |tx| {
            let rows = select(tx, "registered_models", condition, order, page, Registered::read)?;
            rows.iter().map(|row| row.json(tx)).collect::<Result<Vec<Value>, Refusal>>()
        })
        .await?;
    Ok(Json(page.answer("registered_models", found)))
}

pub(crate) async fn set_tag(State(store): State<Store>, Input(input): Input<TagOf>) -> Answer {
    let name = required("name", input.name)?;
    let tag = Pair { key: required("key", input.key)?, value: input.value };
    store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            put_pair(tx, "registered_model_tags", &name, &tag)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn delete_tag(State(store): State<Store>, Input(input): Input<TagOf>) -> Answer {
    let name = required("name", input.name)?;
    let key = required("key", input.key)?;
    store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            delete_pair(tx, "registered_model_tags", &name, &key).map(drop)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn latest(State(store): State<Store>, Input(input): Input<Latest>) -> Answer {
    latest_of(store, input).await
}

pub(crate) async fn latest_by_query(State(store): State<Store>, Ask(ask): Ask<ByName>) -> Answer {
    latest_of(store, Latest { name: ask.name, stages: Vec::new() }).await
}

/// Stages are no more set here: every version is in the stage `None`.
async fn latest_of(store: Store, input: Latest) -> Answer {
    let name = required("name", input.name)?;
    let asked = input.stages.is_empty() || input.stages.iter().any(|stage| stage.eq_ignore_ascii_case("none"));
    let versions = store
        .read(move |tx| {
            Registered::known(tx, &name)?;
            if asked { newest(tx, &name) } else { Ok(Vec::new()) }
        })
        .await?;
    let mut fields = Map::new();
    put_items(&mut fields, "model_versions", versions);
    Ok(Json(Value::Object(fields)))
}

pub(crate) async fn set_alias(State(store): State<Store>, Input(input): Input<AliasOf>) -> Answer {
    let name = required("name", input.name)?;
    let alias = required("alias", input.alias)?;
    let version = number(input.version)?;
    check_alias(&alias)?;
    store
        .write(move |tx| {
            Version::known(tx, &name, version)?;
            let row = params![name, alias, version];
            tx.execute("INSERT OR REPLACE INTO aliases (name, alias, version) VALUES (?, ?, ?)", row)?;
            Ok(())
        })
        .await?;
    Ok(done())
}

pub(crate) async fn get_alias(State(store): State<Store>, Ask(ask): Ask<AliasOf>) -> Answer {
    let name = required("name", ask.name)?;
    let alias = required("alias", ask.alias)?;
    let version = store
        .read(move |tx| {
            Registered::known(tx, &name)?;
            let version: Option<i64> = tx
                .query_row("SELECT version FROM aliases WHERE name = ? AND alias = ?", [&name, &alias], |row| {
                    row.get(0)
                })
                .optional()?;
            // 400 and not 404: as MLflow says it.
            let version =
                version.ok_or_else(|| Refusal::invalid(format!("Registered model alias {alias} not found.")))?;
            Version::known(tx, &name, version)?.json(tx)
        })
        .await?;
    Ok(Json(json!({"model_version": version})))
}

/// Clients send it with a body, older ones with a query.
pub(crate) async fn delete_alias(State(store): State<Store>, Input(input): Input<AliasOf>) -> Answer {
    let name = required("name", input.name)?;
    let alias = required("alias", input.alias)?;
    store
        .write(move |tx| {
            Registered::known(tx, &name)?;
            tx.execute("DELETE FROM aliases WHERE name = ? AND alias = ?", [&name, &alias])?;
            Ok(())
        })
        .await?;
    Ok(done())
}

fn check_alias(alias: &str) -> Result<(), Refusal> {
    if alias.eq_ignore_ascii_case("latest") {
        return Err(Refusal::invalid("'latest' alias name (case insensitive) is reserved."));
    }
    let version_like = alias
        .strip_prefix(['v', 'V'])
        .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit()));
    if version_like {
        return Err(Refusal::invalid(format!("Version alias name '{alias}' is reserved.")));
    }
    let allowed = alias.chars().all(|character| character.is_alphanumeric() || "_-.".contains(character));
    if !allowed || alias.chars().count() > ALIAS_CHARS_MAX {
        return Err(Refusal::invalid(format!(
            "Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), dashes (-) and \
             periods (.), up to {ALIAS_CHARS_MAX} characters."
        )));
    }
    Ok(())
}

fn newest(tx: &Transaction<'_>, name: &str) -> Result<Vec<Value>, Refusal> {
    let sql = "SELECT * FROM model_versions WHERE name = ? ORDER BY version DESC LIMIT 1";
    let version = tx.query_row(sql, [name], Version::read).optional()?;
    version.iter().map(|version| version.json(tx)).collect()
}

/// The row of a registered model.
pub(crate) struct Registered {
    name: String,
    description: String,
    created: i64,
    updated: i64,
}

impl Registered {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get("name")?,
            description: row.get("description")?,
            created: row.get("created")?,
            updated: row.get("updated")?,
        })
    }

    pub(crate) fn known(tx: &Transaction<'_>, name: &str) -> Result<Self, Refusal> {
        tx.query_row("SELECT * FROM registered_models WHERE name = ?", [name], Self::read)
            .optional()?
            .ok_or_else(|| Refusal::not_found(format!("Registered Model with name={name} not found")))
    }

    fn json(&self, tx: &Transaction<'_>) -> Result<Value, Refusal> {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), self.name.as_str().into());
        fields.insert("creation_timestamp".to_owned(), self.created.into());
        fields.insert("last_updated_timestamp".to_owned(), self.updated.into());
        fields.insert("description".to_owned(), self.description.as_str().into());
        put_items(&mut fields, "latest_versions", newest(tx, &self.name)?);
        put_items(&mut fields, "tags", pairs(tx, "registered_model_tags", &self.name)?);
        let mut statement = tx.prepare_cached("SELECT alias, version FROM aliases WHERE name = ? ORDER BY alias")?;
        let aliases = statement.query_map([&self.name], |row| {
            Ok(json!({"alias": row.get::<_, String>(0)?, "version": row.get::<_, i64>(1)?.to_string()}))
        })?;
        put_items(&mut fields, "aliases", aliases.collect::<Result<_, _>>()?);
        Ok(Value::Object(fields))
    }
}
