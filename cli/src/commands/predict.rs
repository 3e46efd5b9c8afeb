//! `regrove predict`: asks the served model.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use http::Method;
use regrove_data::Features;
use regrove_events::model_name::segment;
use regrove_forest::Categories;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::output::{Output, Usage, table};
use crate::reach::Reach;
use crate::rows;

/// Ask the served model for predictions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  regrove predict --features '[[1, 2, 3, 4]]'\n  regrove predict --data rows.csv --model breast-cancer"
)]
pub(crate) struct Args {
    /// Rows as JSON: lists or objects of numbers, texts in columns of categories, null for a missing value
    #[arg(long, value_name = "JSON", required_unless_present = "data", conflicts_with = "data")]
    features: Option<String>,
    /// Rows as a CSV file with a header, or as Parquet; columns are found by name, others are ignored
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Model to ask; the default model without it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

/// Cells of a file that are sent in one request.
const CELLS_AT_ONCE: usize = 250_000;

/// What a model says of its columns.
#[derive(Debug, Deserialize)]
struct Columns {
    feature_names: Vec<String>,
    #[serde(default)]
    categories: Categories,
}

pub(crate) async fn run(args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let model = args.model.as_deref();
    let answer = match (&args.features, &args.data) {
        (Some(json), _) => {
            let rows = serde_json::from_str::<Value>(json).map_err(|error| Usage(format!("--features: {error}")))?;
            ask(reach, model, &rows).await?
        }
        (None, Some(path)) => of_file(reach, model, path).await?,
        (None, None) => return Err(Usage("say --features or --data".to_owned()).into()),
    };
    output.result(&answer, || {
        let version = answer.get("model_version").and_then(Value::as_str).unwrap_or_default();
        let column = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut probabilities = column("probabilities").into_iter();
        let rows = column("predictions").into_iter().map(|label| {
            let shares = probabilities.next().map_or_else(String::new, |shares| shares.to_string());
            vec![label.to_string(), shares]
        });
        format!("{}\nmodel version {version}", table(&["prediction", "probabilities"], rows))
    })
}

/// The answers for all rows of a file, as one: the columns that the model names, its categories as codes.
async fn of_file(reach: &Reach, model: Option<&str>, path: &Path) -> anyhow::Result<Value> {
    if !path.exists() {
        return Err(Usage(format!("--data {}: there is no such file", path.display())).into());
    }
    let info = model.map_or_else(|| "/model/info".to_owned(), |name| format!("/models/{}/info", segment(name)));
    let info = reach.call("predict", Method::GET, &info, None).await?;
    let columns: Columns = serde_json::from_value(info).context("predict describes the model in another way")?;
    let values = rows::read(path, Features { names: &columns.feature_names, categories: &columns.categories })?;
    let width = columns.feature_names.len().max(1);
    let mut whole: Option<Value> = None;
    for part in values.chunks((CELLS_AT_ONCE / width).max(1) * width) {
        let cell = |value: &f32| if value.is_nan() { Value::Null } else { f64::from(*value).into() };
        let features: Vec<Vec<Value>> = part.chunks(width).map(|row| row.iter().map(cell).collect()).collect();
        let answer = ask(reach, model, &features.into()).await?;
        match &mut whole {
            None => whole = Some(answer),
            Some(whole) => extend(whole, &answer)?,
        }
    }
    whole.ok_or_else(|| Usage(format!("--data {}: there are no rows", path.display())).into())
}

/// Puts the rows of an answer behind those of the one before.
fn extend(whole: &mut Value, answer: &Value) -> anyhow::Result<()> {
    if whole.get("model_version") != answer.get("model_version") {
        bail!("the model was switched while the file was predicted; try again");
    }
    for name in ["predictions", "probabilities"] {
        if let (Some(Value::Array(rows)), Some(Value::Array(more))) = (whole.get_mut(name), answer.get(name)) {
            rows.extend(more.iter().cloned());
        }
    }
    Ok(())
}

/// The answer of `POST /predict`.
pub(crate) async fn ask(reach: &Reach, model: Option<&str>, features: &Value) -> anyhow::Result<Value> {
    let path = model.map_or_else(|| "/predict".to_owned(), |name| format!("/models/{}/predict", segment(name)));
    reach.call("predict", Method::POST, &path, Some(&json!({"features": features}))).await
}
