//! `regrove forest`: the library on files, without events. A model is a native file or ONNX; its first bytes say which.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use regrove_data::{Features, Limits, Table, TargetKind, prepare};
use regrove_forest::model_file::MAGIC;
use regrove_forest::{FitOptions, Frame, Label, Model, RandomForestParams, fit_range, onnx};
use serde_json::{Map, Value, json};

use crate::commands::train::{Columns, assignment};
use crate::output::{Output, Usage, table};
use crate::rows;

/// Fit and apply forests on files.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Grow a forest from a CSV or Parquet file and write it as a model file
    #[command(
        after_help = "Examples:\n  regrove forest fit --data iris.csv --target species --set n_estimators=75 -o iris.rgf\n  \
        regrove forest fit --data claims.parquet --target frequency --sample-weight exposure \\\n    \
        --set estimator=RandomForestRegressor -o claims.onnx"
    )]
    Fit(Fit),
    /// Predict the rows of a CSV or Parquet file; columns are found by name, others are ignored
    #[command(
        after_help = "Examples:\n  regrove forest predict iris.rgf --data new.csv --json\n  regrove forest predict xgboost.onnx --data new.csv"
    )]
    Predict {
        /// Model file: native or ONNX
        model: PathBuf,
        /// CSV file with a header
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
    },
    /// Say what is in a model file
    #[command(after_help = "Example:\n  regrove forest inspect iris.rgf")]
    Inspect {
        /// Model file: native or ONNX
        model: PathBuf,
    },
    /// Write a model in the other form: ONNX of scikit-learn, XGBoost or LightGBM becomes native, native becomes ONNX
    #[command(
        after_help = "Examples:\n  regrove forest convert xgboost.onnx -o xgboost.rgf\n  regrove forest convert iris.rgf -o iris.onnx"
    )]
    Convert {
        /// Model file: native or ONNX
        model: PathBuf,
        /// Where to write the model: `.rgf`, or `.onnx` for ONNX
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

/// What to learn, from what.
#[derive(Debug, clap::Args)]
pub(crate) struct Fit {
    /// CSV or Parquet file
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Column to predict
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// A parameter under scikit-learn's name; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    params: Vec<(String, Value)>,
    /// Where to write the model: `.rgf`, or `.onnx` for ONNX
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    columns: Columns,
}

pub(crate) fn run(command: Command, out: &Output) -> anyhow::Result<()> {
    match command {
        Command::Fit(wanted) => fit(wanted, out),
        Command::Predict { model, data } => predict(&model, &data, out),
        Command::Inspect { model } => inspect(&model, out),
        Command::Convert { model, output } => convert(&model, &output, out),
    }
}

fn usage(error: impl std::fmt::Display) -> Usage {
    Usage(error.to_string())
}

fn fit(wanted: Fit, out: &Output) -> anyhow::Result<()> {
    let Fit { data, target, params, output: to, columns } = wanted;
    let params: Map<String, Value> = params.into_iter().collect();
    let params: RandomForestParams =
        serde_json::from_value(params.into()).map_err(|error| usage(format_args!("--set: {error}")))?;
    params.check().map_err(usage)?;
    let form = Form::named(&to)?;
    let kind = if params.estimator.is_regressor() { TargetKind::Values } else { TargetKind::Classes };
    let frame = frame(&data, target, kind, columns)?;
    let forest = fit_range(&frame, &params, 0..params.n_estimators, &FitOptions::default()).map_err(usage)?;
    let oob_score = params.oob_score.then(|| forest.oob(&frame)).transpose()?.map(|out_of_bag| out_of_bag.score);
    let bytes = match form {
        Form::Native => forest.to_bytes()?,
        Form::Onnx => onnx::export(&forest)?,
    };
    std::fs::write(&to, &bytes).with_context(|| to.display().to_string())?;
    let value = json!({
        "model": &to,
        "bytes": bytes.len(),
        "n_estimators": forest.n_trees(),
        "n_samples": frame.n_samples(),
        "n_features": frame.n_features(),
        "classes": frame.classes(),
        "oob_score": oob_score,
    });
    out.result(&value, || {
        let score = oob_score.map(|score| format!(", out-of-bag score {score}")).unwrap_or_default();
        format!("{}: {} trees, {} bytes{score}", to.display(), forest.n_trees(), bytes.len())
    })
}

/// The rows of a file.
fn frame(data: &Path, target: String, kind: TargetKind, columns: Columns) -> anyhow::Result<Frame> {
    let wrong = |error: regrove_data::Error| usage(format_args!("{}: {error}", data.display()));
    let table = Table::open(data, &columns.csv().unwrap_or_default(), &Limits::default()).map_err(wrong)?;
    let wish = columns.wish(target, kind);
    let prepared = prepare(&table, &wish, &std::env::temp_dir(), &()).map_err(wrong)?;
    let bytes = std::fs::read(prepared.file.path()).with_context(|| prepared.file.path().display().to_string())?;
    Ok(Frame::from_bytes(&bytes)?)
}

/// The two forms of a model file.
enum Form {
    Native,
    Onnx,
}

impl Form {
    /// The form that a file's name asks for.
    fn named(path: &Path) -> Result<Self, Usage> {
        match path.extension().and_then(OsStr::to_str) {
            Some("rgf") => Ok(Self::Native),
            Some("onnx") => Ok(Self::Onnx),
            _ => Err(usage(format_args!("{}: the name must end in .rgf or .onnx", path.display()))),
        }
    }
}

fn load(path: &Path) -> anyhow::Result<Model> {
    let bytes = std::fs::read(path).map_err(|error| usage(format_args!("{}: {error}", path.display())))?;
    let model = if bytes.starts_with(&MAGIC) {
        Model::from_bytes(Arc::new(bytes))
    } else {
        onnx::import(&bytes, &onnx::Limits::default())
    };
    Ok(model.map_err(|error| usage(format_args!("{}: {error}", path.display())))?)
}

fn convert(from: &Path, to: &Path, out: &Output) -> anyhow::Result<()> {
    let form = Form::named(to)?;
    let model = load(from)?;
    let bytes = match form {
        Form::Native => model.as_bytes().to_vec(),
        Form::Onnx => onnx::export_model(&model).map_err(usage)?,
    };
    std::fs::write(to, &bytes).with_context(|| to.display().to_string())?;
    let value = json!({"model": to, "bytes": bytes.len(), "n_estimators": model.n_trees(), "classes": model.classes()});
    out.result(&value, || format!("{}: {} trees, {} bytes", to.display(), model.n_trees(), bytes.len()))
}

fn predict(model: &Path, data: &Path, out: &Output) -> anyhow::Result<()> {
    let model = load(model)?;
    let rows = rows::read(data, Features { names: model.feature_names(), categories: model.categories() })?;
    let n_rows = rows.len() / model.n_features();
    let mut numbers = vec![0.0; n_rows * model.n_outputs()];
    model.predict_proba_rows(&rows, n_rows, &mut numbers)?;
    if model.is_regressor() {
        return out.result(&json!({"predictions": numbers}), || {
            table(&["prediction"], numbers.iter().map(|number| vec![number.to_string()]))
        });
    }
    let probabilities: Vec<&[f64]> = numbers.chunks_exact(model.n_classes()).collect();
    let labels: Vec<&Label> = probabilities.iter().map(|row| model.label(row)).collect();
    out.result(&json!({"predictions": labels, "probabilities": probabilities, "classes": model.classes()}), || {
        let head: Vec<String> = model.classes().iter().map(|class| format!("p({class})")).collect();
        let head: Vec<&str> = std::iter::once("prediction").chain(head.iter().map(String::as_str)).collect();
        let rows = labels
            .iter()
            .zip(&probabilities)
            .map(|(label, row)| std::iter::once(label.to_string()).chain(row.iter().map(f64::to_string)).collect());
        table(&head, rows)
    })
}

fn inspect(path: &Path, out: &Output) -> anyhow::Result<()> {
    let model = load(path)?;
    let value = json!({
        "n_estimators": model.n_trees(),
        "trees": {"from": model.range().start, "to": model.range().end},
        "nodes": model.n_nodes(),
        "whole": model.is_whole(),
        "feature_names": model.feature_names(),
        "categories": model.categories(),
        "classes": model.classes(),
        "producer": model.producer(),
        "data_sha256": model.data_sha256(),
        "params": model.params(),
    });
    out.result(&value, || {
        let classes: Vec<String> = model.classes().iter().map(ToString::to_string).collect();
        let mut lines = vec![
            format!("trees       {}..{}", model.range().start, model.range().end),
            format!("nodes       {}", model.n_nodes()),
            format!("features    {}", model.feature_names().join(", ")),
            format!("predicts    {}", if classes.is_empty() { "a number".to_owned() } else { classes.join(", ") }),
        ];
        lines.extend(model.producer().map(|producer| format!("made by     {producer}")));
        lines.extend(model.data_sha256().map(|hash| format!("data        sha256 {hash}")));
        let params = model.params().and_then(|params| serde_json::to_string(params).ok());
        lines.extend(params.map(|params| format!("parameters  {params}")));
        lines.join("\n")
    })
}
