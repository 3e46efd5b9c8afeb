//! Rows that belong to an item: tags, parameters, and the parts of a run.

use rusqlite::{OptionalExtension, Row, ToSql, Transaction, params};
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::request::{Pair, put_items};

/// Sets or replaces a key in one of the tables `(owner, key, value)`.
pub(crate) fn put_pair(tx: &Transaction<'_>, table: &str, owner: impl ToSql, pair: &Pair) -> Result<(), Refusal> {
    let sql = format!("INSERT OR REPLACE INTO {table} (owner, key, value) VALUES (?, ?, ?)");
    tx.prepare_cached(&sql)?.execute(params![owner, pair.key, pair.value])?;
    Ok(())
}

/// Removes a key; gives whether it was there.
pub(crate) fn delete_pair(tx: &Transaction<'_>, table: &str, owner: impl ToSql, key: &str) -> Result<bool, Refusal> {
    let sql = format!("DELETE FROM {table} WHERE owner = ? AND key = ?");
    Ok(tx.execute(&sql, params![owner, key])? > 0)
}

/// All pairs of an owner by key, as `{"key", "value"}`.
pub(crate) fn pairs(tx: &Transaction<'_>, table: &str, owner: impl ToSql) -> Result<Vec<Value>, Refusal> {
    let sql = format!("SELECT key, value FROM {table} WHERE owner = ? ORDER BY key");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement
        .query_map([owner], |row| Ok(json!({"key": row.get::<_, String>(0)?, "value": row.get::<_, String>(1)?})))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The row of a run.
pub(crate) struct RunRow {
    pub(crate) run_id: String,
    pub(crate) experiment_id: i64,
    name: String,
    user_id: String,
    status: String,
    start_time: i64,
    end_time: Option<i64>,
    pub(crate) lifecycle: String,
}

impl RunRow {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            run_id: row.get("run_id")?,
            experiment_id: row.get("experiment_id")?,
            name: row.get("name")?,
            user_id: row.get("user_id")?,
            status: row.get("status")?,
            start_time: row.get("start_time")?,
            end_time: row.get("end_time")?,
            lifecycle: row.get("lifecycle")?,
        })
    }

    /// A run that exists, deleted or not.
    pub(crate) fn known(tx: &Transaction<'_>, run_id: &str) -> Result<Self, Refusal> {
        tx.query_row("SELECT * FROM runs WHERE run_id = ?", [run_id], Self::read)
            .optional()?
            .ok_or_else(|| Refusal::not_found(format!("Run with id={run_id} not found")))
    }

    /// A run that can be written to.
    pub(crate) fn active(tx: &Transaction<'_>, run_id: &str) -> Result<Self, Refusal> {
        let run = Self::known(tx, run_id)?;
        if run.lifecycle == "active" {
            return Ok(run);
        }
        Err(Refusal::invalid(format!(
            "The run {run_id} must be in the 'active' state. Current state is {}.",
            run.lifecycle
        )))
    }

    pub(crate) fn artifact_uri(&self) -> String {
        format!("mlflow-artifacts:/{}/{}/artifacts", self.experiment_id, self.run_id)
    }

    pub(crate) fn info(&self) -> Value {
        let mut info = json!({
            "run_uuid": self.run_id,
            "run_id": self.run_id,
            "experiment_id": self.experiment_id.to_string(),
            "run_name": self.name,
            "user_id": self.user_id,
            "status": self.status,
            "start_time": self.start_time,
            "artifact_uri": self.artifact_uri(),
            "lifecycle_stage": self.lifecycle,
        });
        if let (Some(end_time), Some(fields)) = (self.end_time, info.as_object_mut()) {
            fields.insert("end_time".to_owned(), end_time.into());
        }
        info
    }

    /// The run with everything that it logged.
    pub(crate) fn json(&self, tx: &Transaction<'_>) -> Result<Value, Refusal> {
        let mut data = Map::new();
        put_items(&mut data, "metrics", self.last_metrics(tx)?);
        put_items(&mut data, "params", pairs(tx, "run_params", &self.run_id)?);
        put_items(&mut data, "tags", pairs(tx, "run_tags", &self.run_id)?);
        let mut inputs = Map::new();
        put_items(&mut inputs, "dataset_inputs", self.inputs(tx)?);
        let outputs = self.outputs(tx)?;
        let mut run = json!({"info": self.info(), "data": data, "inputs": inputs});
        if let (false, Some(fields)) = (outputs.is_empty(), run.as_object_mut()) {
            fields.insert("outputs".to_owned(), json!({"model_outputs": outputs}));
        }
        Ok(run)
    }

    /// MLflow's last point: the highest step, then time, then value.
    fn last_metrics(&self, tx: &Transaction<'_>) -> Result<Vec<Value>, Refusal> {
        let mut statement = tx.prepare_cached(
            "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY key ORDER BY step DESC, timestamp DESC, value DESC) \
             AS place FROM metrics WHERE run_id = ?) WHERE place = 1 ORDER BY key",
        )?;
        let rows = statement.query_map([&self.run_id], |row| metric(row, false))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn inputs(&self, tx: &Transaction<'_>) -> Result<Vec<Value>, Refusal> {
        let mut statement = tx.prepare_cached("SELECT * FROM run_inputs WHERE run_id = ? ORDER BY name, digest")?;
        let rows = statement.query_map([&self.run_id], |row| {
            let mut dataset = json!({
                "name": row.get::<_, String>("name")?,
                "digest": row.get::<_, String>("digest")?,
                "source_type": row.get::<_, String>("source_type")?,
                "source": row.get::<_, String>("source")?,
            });
            for optional in ["schema", "profile"] {
                let text: Option<String> = row.get(optional)?;
                if let (Some(text), Some(fields)) = (text, dataset.as_object_mut()) {
                    fields.insert(optional.to_owned(), text.into());
                }
            }
            let tags: String = row.get("tags")?;
            let tags: Value = serde_json::from_str(&tags).unwrap_or_default();
            Ok(json!({"tags": tags, "dataset": dataset}))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn outputs(&self, tx: &Transaction<'_>) -> Result<Vec<Value>, Refusal> {
        let mut statement =
            tx.prepare_cached("SELECT model_id, step FROM run_outputs WHERE run_id = ? ORDER BY model_id")?;
        let rows = statement.query_map([&self.run_id], |row| {
            Ok(json!({"model_id": row.get::<_, String>(0)?, "step": row.get::<_, i64>(1)?}))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A row of `metrics`; `full` adds what only a logged model shows.
pub(crate) fn metric(row: &Row<'_>, full: bool) -> rusqlite::Result<Value> {
    let value: f64 = row.get("value")?;
    let value = if row.get("is_nan")? {
        Value::from("NaN")
    } else if value.is_finite() {
        Value::from(value)
    } else {
        Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" })
    };
    let mut point = json!({
        "key": row.get::<_, String>("key")?,
        "value": value,
        "timestamp": row.get::<_, i64>("timestamp")?,
        "step": row.get::<_, i64>("step")?,
    });
    if let (true, Some(fields)) = (full, point.as_object_mut()) {
        for name in ["model_id", "dataset_name", "dataset_digest", "run_id"] {
            let text: String = row.get(name)?;
            if !text.is_empty() {
                fields.insert(name.to_owned(), text.into());
            }
        }
    }
    Ok(point)
}
