//! `regrove data`: looks at data sets before they are learned from.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Subcommand;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use regrove_aggregate::dataset::SYNTHETIC;
use regrove_data::{
    ColumnSurvey, Error, Format, Limits, Location, Policy, Progress, Stage, Survey, Table, fetch, survey,
};
use serde_json::{Value, json};

use crate::commands::train::Columns;
use crate::output::{Output, Usage, table};
use crate::reach::Reach;

/// Time between two lines of progress where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Distinct values that are printed of a column.
const VALUES_SHOWN: usize = 6;

/// Look at data sets.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the columns of a data set: types, ranges, missing values, class balance
    #[command(after_help = "Examples:\n  regrove data inspect examples/breast_cancer.csv --target target\n  \
        regrove data inspect s3://bucket/rides.parquet --json\n\n\
        A data set of any size is read in bounded memory.")]
    Inspect(Inspect),
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// CSV or Parquet file, or a URI (file:, https:, s3:, gs:, az:)
    #[arg(value_name = "FILE|URI")]
    data: String,
    /// Column whose classes are counted, whatever it holds
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    #[command(flatten)]
    columns: Columns,
}

pub(crate) async fn run(command: Command, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let Command::Inspect(inspect) = command;
    let location = locate(&inspect.data)?;
    let meter = Meter::new(output);
    let limits = Limits { bytes_max: u64::MAX, rows_max: u64::MAX, ..Limits::default() };
    let spool = reach.store.home.join("spool");
    let wrong = |error: Error| -> anyhow::Error {
        if error.is_retryable() { error.into() } else { Usage(format!("{}: {error}", inspect.data)).into() }
    };
    let columns = inspect.columns.wanted();
    let local = fetch(&location, &Policy::anything(), &limits, &spool, &columns, &meter).await.map_err(wrong)?;
    let opened = Table::open(local.path(), &inspect.columns.csv().unwrap_or_default(), &limits).map_err(wrong)?;
    let places: Vec<usize> =
        (0..opened.names().len()).filter(|place| !inspect.columns.dropped(&opened.names()[*place])).collect();
    let counted = inspect.columns.counted(inspect.target.as_deref());
    for name in &counted {
        opened.place(name).map_err(wrong)?;
    }
    let seen = survey(&opened, &places, &counted, &meter).map_err(wrong)?;
    meter.end();
    let format = if opened.format() == Format::Csv { "csv" } else { "parquet" };
    let value = json!({
        "data": inspect.data,
        "format": format,
        "bytes": local.bytes(),
        "n_rows": seen.n_rows,
        "target": inspect.target,
        "columns": seen.columns,
    });
    output.result(&value, || describe(&value, &seen))
}

/// A path, or a URI.
fn locate(data: &str) -> Result<Location, Usage> {
    if data.starts_with(SYNTHETIC) {
        let reason = "is made by the job that learns from it, so that there is nothing to look at before";
        return Err(Usage(format!("data set `{data}` {reason}")));
    }
    let found = if data.contains(':') && !Path::new(data).exists() {
        Location::parse(data)
    } else {
        Location::file(Path::new(data))
    };
    found.map_err(|error| Usage(error.to_string()))
}

fn describe(value: &Value, seen: &Survey) -> String {
    let number = |value: Option<f64>| {
        value.map_or_else(String::new, |value| {
            format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_owned()
        })
    };
    let rows = seen.columns.iter().map(|column| {
        vec![
            column.name.clone(),
            column.kind.as_str().to_owned(),
            column.missing.to_string(),
            number(column.min),
            number(column.max),
            number(column.mean),
            values(column, seen.n_rows),
        ]
    });
    let columns = table(&["column", "type", "missing", "min", "max", "mean", "values"], rows);
    let mixed: Vec<String> = seen
        .columns
        .iter()
        .filter_map(|column| {
            let (row, cell) = column.stray.as_ref()?;
            Some(format!("column `{}` has numbers, but row {row} is {cell:?}: --missing or --categorical", column.name))
        })
        .collect();
    let head = format!(
        "{} rows, {} columns, {} bytes, {}",
        seen.n_rows,
        seen.columns.len(),
        value["bytes"],
        value["format"].as_str().unwrap_or_default()
    );
    [vec![head, columns], mixed].concat().join("\n")
}

/// The most frequent values with their shares.
#[expect(clippy::cast_precision_loss, reason = "shares for people")]
fn values(column: &ColumnSurvey, n_rows: u64) -> String {
    let Some(values) = &column.values else {
        // Those of numbers are counted when they are asked for.
        return if column.min.is_some() { String::new() } else { "too many to count".to_owned() };
    };
    let mut values: Vec<_> = values.iter().collect();
    values.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let shown = values.iter().take(VALUES_SHOWN);
    let mut texts: Vec<String> =
        shown.map(|(label, rows)| format!("{label} {:.1}%", *rows as f64 * 100.0 / n_rows.max(1) as f64)).collect();
    if values.len() > VALUES_SHOWN {
        texts.push(format!("… {} in all", values.len()));
    }
    texts.join(", ")
}

/// How far the reading has come: a bar on a terminal, a line now and then in a pipe.
struct Meter<'a> {
    bar: ProgressBar,
    output: &'a Output,
    shown: Mutex<Shown>,
}

/// What was shown last.
struct Shown {
    stage: Option<Stage>,
    line: Instant,
}

impl<'a> Meter<'a> {
    fn new(output: &'a Output) -> Self {
        let seen = std::io::stderr().is_terminal() && !output.is_json();
        let bar = if seen { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, output, shown: Mutex::new(Shown { stage: None, line: Instant::now() }) }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Meter<'_> {
    fn advance(&self, stage: Stage, done: u64, total: Option<u64>) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.bar.is_hidden() {
            if shown.line.elapsed() >= LINE_INTERVAL {
                shown.line = Instant::now();
                let total = total.map_or_else(String::new, |total| format!(" of {}", HumanBytes(total)));
                self.output.progress(format_args!("{}: {}{total}", stage.as_str(), HumanBytes(done)));
            }
            return;
        }
        if shown.stage != Some(stage) {
            shown.stage = Some(stage);
            self.bar.reset();
            self.bar.set_message(stage.as_str());
        }
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }
}
