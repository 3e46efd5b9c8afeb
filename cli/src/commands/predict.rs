//! `regrove predict`: asks the served model.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use crate::output::{Output, Usage, table};
use crate::reach::Reach;

/// Ask the served model for predictions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  regrove predict --features '[[1, 2, 3, 4]]'\n  regrove predict --data rows.csv --model breast-cancer"
)]
pub(crate) struct Args {
    /// Rows as JSON: a list of lists of numbers, null for a missing value
    #[arg(long, value_name = "JSON", required_unless_present = "data", conflicts_with = "data")]
    features: Option<String>,
    /// Rows as a CSV file with a header, the model's columns in its order; other columns are not allowed
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Model to ask; the default model without it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let features = match (&args.features, &args.data) {
        (Some(json), _) => {
            serde_json::from_str::<Value>(json).map_err(|error| Usage(format!("--features: {error}")))?
        }
        (None, Some(path)) => rows(path)?,
        (None, None) => return Err(Usage("say --features or --data".to_owned()).into()),
    };
    let answer = ask(reach, args.model.as_deref(), &features).await?;
    output.result(&answer, || {
        let version = answer.get("model_version").and_then(Value::as_str).unwrap_or_default();
        let column = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let rows = column("predictions")
            .into_iter()
            .zip(column("probabilities"))
            .map(|(label, probabilities)| vec![label.to_string(), probabilities.to_string()]);
        format!("{}\nmodel version {version}", table(&["prediction", "probabilities"], rows))
    })
}

/// The answer of `POST /predict`.
pub(crate) async fn ask(reach: &Reach, model: Option<&str>, features: &Value) -> anyhow::Result<Value> {
    let path = model.map_or_else(|| "/predict".to_owned(), |name| format!("/models/{name}/predict"));
    reach.call("predict", Method::POST, &path, Some(&json!({"features": features}))).await
}

fn rows(path: &std::path::Path) -> anyhow::Result<Value> {
    let place = path.display();
    let mut reader = csv::Reader::from_path(path).map_err(|error| Usage(format!("--data {place}: {error}")))?;
    let names = reader.headers()?.clone();
    let mut rows = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|error| Usage(format!("--data {place}: {error}")))?;
        let mut row = Vec::new();
        for (cell, name) in record.iter().zip(names.iter()) {
            row.push(match cell.trim() {
                "" => Value::Null,
                text => text.parse::<f64>().map(Value::from).map_err(|_| {
                    Usage(format!("--data {place}: row {}, column `{name}`: `{text}` is not a number", at + 1))
                })?,
            });
        }
        rows.push(Value::from(row));
    }
    Ok(rows.into())
}
