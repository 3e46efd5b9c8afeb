//! Experiments.

use axum::Json;
use axum::extract::State;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::request::{Answer, Ask, Input, Page, Pair, done, identity, put_items, required, whole};
use crate::run_rows::{pairs, put_pair};
use crate::search::{Searchable, select};
use crate::store::{Store, now_ms};

/// Page sizes of a search.
const EXPERIMENTS_DEFAULT: i64 = 1000;
const EXPERIMENTS_MAX: i64 = 50_000;

const EXPERIMENTS: Searchable = Searchable {
    attributes: &[
        ("name", "name"),
        ("experiment_id", "id"),
        ("creation_time", "created"),
        ("last_update_time", "updated"),
    ],
    owner: "experiments.id",
    tags: "experiment_tags",
    params: None,
    metrics: false,
    absent_differs: true,
};

#[derive(Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(crate) struct ById {
    #[serde(default, deserialize_with = "identity")]
    experiment_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ByName {
    experiment_name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct SetTag {
    #[serde(default, deserialize_with = "identity")]
    experiment_id: Option<String>,
    key: Option<String>,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default, deserialize_with = "whole")]
    max_results: Option<i64>,
    page_token: Option<String>,
    #[serde(default)]
    filter: String,
    #[serde(default)]
    order_by: Vec<String>,
    #[serde(default)]
    view_type: Option<String>,
}

/// `view_type` as a condition on a `lifecycle` column.
pub(crate) fn lifecycle(view_type: Option<&str>, column: &str) -> Result<String, Refusal> {
    match view_type.unwrap_or("ACTIVE_ONLY") {
        "ACTIVE_ONLY" | "" => Ok(format!("{column} = 'active'")),
        "DELETED_ONLY" => Ok(format!("{column} = 'deleted'")),
        "ALL" => Ok("1".to_owned()),
        other => Err(Refusal::invalid(format!("Invalid view_type '{other}'"))),
    }
}

pub(crate) async fn create(State(store): State<Store>, Input(input): Input<Create>) -> Answer {
    let name = required("name", input.name)?;
    let id = store
        .write(move |tx| {
            let now = now_ms();
            let created = tx.execute(
                "INSERT OR IGNORE INTO experiments (name, created, updated) VALUES (?1, ?2, ?2)",
                params![name, now],
            )?;
            if created == 0 {
                return Err(Refusal::exists(format!("Experiment(name={name}) already exists.")));
            }
            let id = tx.last_insert_rowid();
            for tag in &input.tags {
                put_pair(tx, "experiment_tags", id, tag)?;
            }
            Ok(id)
        })
        .await?;
    Ok(Json(json!({"experiment_id": id.to_string()})))
}

pub(crate) async fn get(State(store): State<Store>, Ask(ask): Ask<ById>) -> Answer {
    let id = required("experiment_id", ask.experiment_id)?;
    let experiment = store
        .read(move |tx| {
            let id = known(tx, &id)?;
            let row = tx.query_row("SELECT * FROM experiments WHERE id = ?", [id], Experiment::read)?;
            row.json(tx)
        })
        .await?;
    Ok(Json(json!({"experiment": experiment})))
}

pub(crate) async fn get_by_name(State(store): State<Store>, Ask(ask): Ask<ByName>) -> Answer {
    let name = required("experiment_name", ask.experiment_name)?;
    let experiment = store
        .read(move |tx| {
            let row = tx
                .query_row("SELECT * FROM experiments WHERE name = ?", [&name], Experiment::read)
                .optional()?
                .ok_or_else(|| Refusal::not_found(format!("Could not find experiment with name '{name}'")))?;
            row.json(tx)
        })
        .await?;
    Ok(Json(json!({"experiment": experiment})))
}

pub(crate) async fn search(State(store): State<Store>, Input(input): Input<Search>) -> Answer {
    find(store, input).await
}

pub(crate) async fn search_by_query(State(store): State<Store>, Ask(ask): Ask<Search>) -> Answer {
    find(store, ask).await
}

async fn find(store: Store, input: Search) -> Answer {
    let page = Page::new(input.max_results, EXPERIMENTS_DEFAULT, EXPERIMENTS_MAX, input.page_token.as_deref())?;
    let mut condition = EXPERIMENTS.filter(&input.filter)?;
    condition.and(&lifecycle(input.view_type.as_deref(), "lifecycle")?, []);
    let order = EXPERIMENTS.order(&input.order_by, "updated DESC, id DESC")?;
    let found = store
        .read(move |tx| {
            let rows = select(tx, "experiments", condition, order, page, Experiment::read)?;
            rows.iter().map(|row| row.json(tx)).collect::<Result<Vec<Value>, Refusal>>()
        })
        .await?;
    Ok(Json(page.answer("experiments", found)))
}

pub(crate) async fn set_tag(State(store): State<Store>, Input(input): Input<SetTag>) -> Answer {
    let id = required("experiment_id", input.experiment_id)?;
    let tag = Pair { key: required("key", input.key)?, value: input.value };
    store
        .write(move |tx| {
            let id = known(tx, &id)?;
            put_pair(tx, "experiment_tags", id, &tag)
        })
        .await?;
    Ok(done())
}

pub(crate) async fn delete(State(store): State<Store>, Input(input): Input<ById>) -> Answer {
    set_lifecycle(store, input, "deleted").await
}

pub(crate) async fn restore(State(store): State<Store>, Input(input): Input<ById>) -> Answer {
    set_lifecycle(store, input, "active").await
}

async fn set_lifecycle(store: Store, input: ById, lifecycle: &'static str) -> Answer {
    let id = required("experiment_id", input.experiment_id)?;
    store
        .write(move |tx| {
            let id = known(tx, &id)?;
            let change = params![lifecycle, now_ms(), id];
            tx.execute("UPDATE experiments SET lifecycle = ?, updated = ? WHERE id = ?", change)?;
            tx.execute("UPDATE runs SET lifecycle = ? WHERE experiment_id = ?", params![lifecycle, id])?;
            Ok(())
        })
        .await?;
    Ok(done())
}

/// The number of an experiment that exists.
pub(crate) fn known(tx: &Transaction<'_>, id: &str) -> Result<i64, Refusal> {
    let missing = || Refusal::not_found(format!("No Experiment with id={id} exists"));
    let number: i64 = id.parse().map_err(|_| missing())?;
    let found: Option<i64> =
        tx.query_row("SELECT id FROM experiments WHERE id = ?", [number], |row| row.get(0)).optional()?;
    found.ok_or_else(missing)
}

struct Experiment {
    id: i64,
    name: String,
    lifecycle: String,
    created: i64,
    updated: i64,
}

impl Experiment {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            lifecycle: row.get("lifecycle")?,
            created: row.get("created")?,
            updated: row.get("updated")?,
        })
    }

    fn json(&self, tx: &Transaction<'_>) -> Result<Value, Refusal> {
        let mut fields = Map::new();
        fields.insert("experiment_id".to_owned(), self.id.to_string().into());
        fields.insert("name".to_owned(), self.name.as_str().into());
        fields.insert("artifact_location".to_owned(), format!("mlflow-artifacts:/{}", self.id).into());
        fields.insert("lifecycle_stage".to_owned(), self.lifecycle.as_str().into());
        fields.insert("creation_time".to_owned(), self.created.into());
        fields.insert("last_update_time".to_owned(), self.updated.into());
        put_items(&mut fields, "tags", pairs(tx, "experiment_tags", self.id)?);
        Ok(Value::Object(fields))
    }
}
