//! Predictions of a whole data set: read batch by batch, answered by the one path, said inline or written next to it.
//!
//! Memory holds a batch of rows and what the model says of it, however large the file is. The file of results is made in
//! the spool and put in its place when it is whole, under a name that belongs to the request: whoever asks again gets the
//! same file again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use regrove_data::{
    Columns, Error, Features, Format, Limits, Local, Location, Policy, ResultColumn, ResultWriter, Scheme, Table,
    features, fetch, publish,
};
use regrove_events::event::{CsvFormat, PredictCompleted, RowsAt, RowsFrom};
use regrove_forest::Label;
use regrove_host::{Caller, Problem};
use tempfile::NamedTempFile;

use crate::Service;
use crate::answer::Answer;
use crate::models::Choice;
use crate::protocol::events::complete;
use crate::rows::Rows;

/// Bytes of answers that are said inline: an event of at most 64 KiB passes everywhere (CloudEvents 1.0.2, "Size limits"),
/// and its attributes need room too.
const INLINE_BYTES_MAX: usize = 60 << 10;
/// Hex digits of the request's hash in the name of a file of results.
const TAG_DIGITS: usize = 16;

/// Which data sets are read, and with what.
#[derive(Debug, Clone)]
pub struct DataAccess {
    /// Where they may lie.
    pub policy: Policy,
    /// How large they may be.
    pub limits: Limits,
    /// Folder for what is fetched and for results that are not whole yet.
    pub spool: PathBuf,
}

/// Tells the thread that works when nobody waits for it any more: the asker has gone, or the deadline has passed.
#[derive(Debug, Default)]
struct Asker(Arc<AtomicBool>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Answers all rows of a data set. `request` tells this request from every other one.
///
/// # Errors
/// 422 for what cannot be read or written, with the row and column if there is one; 503 for a place that does not answer.
pub(crate) async fn answer(
    service: &Arc<Service>,
    choice: Choice,
    caller: Caller,
    from: &RowsFrom,
    request: &str,
) -> Result<PredictCompleted, Problem> {
    let refused = |error: Error| problem(&from.uri, &error);
    let access = &service.data;
    let location = Location::parse(&from.uri).map_err(refused)?;
    let columns = Columns::Only(choice.served.signature.names());
    let local =
        fetch(&location, &access.policy, &access.limits, &access.spool, &columns, &()).await.map_err(refused)?;
    let sha256 = regrove_store::artifact::sha256(request.as_bytes());
    let tag = format!("predictions-{}", sha256.get(..TAG_DIGITS).unwrap_or(&sha256));
    let asker = Asker::default();
    let csv = from.csv.clone().unwrap_or_default();
    let work =
        Work { service: Arc::clone(service), choice, caller, location, csv, local, tag, gone: Arc::clone(&asker.0) };
    let done = tokio::task::spawn_blocking(move || work.run()).await.map_err(|error| Problem::internal(&error))?;
    match done? {
        Done::Inline(completed) => Ok(completed),
        Done::File(completed, file, output) => {
            publish(file.path(), &output, &access.policy).await.map_err(refused)?;
            Ok(PredictCompleted { output: Some(RowsAt { uri: output.url().to_string() }), ..completed })
        }
    }
}

fn problem(uri: &str, error: &Error) -> Problem {
    if error.is_retryable() {
        return Problem::unavailable("the data set", error);
    }
    let text = error.to_string();
    let detail = if text.contains(uri) { text } else { format!("data set `{uri}`: {text}") };
    Problem::new(error.kind(), StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// What came of a data set.
enum Done {
    /// Answers that fit into an event.
    Inline(PredictCompleted),
    /// A whole file of answers, and where it is to be.
    File(PredictCompleted, NamedTempFile, Location),
}

/// What is done on a thread of its own.
struct Work {
    service: Arc<Service>,
    choice: Choice,
    caller: Caller,
    location: Location,
    csv: CsvFormat,
    local: Local,
    tag: String,
    gone: Arc<AtomicBool>,
}

impl Work {
    fn run(self) -> Result<Done, Problem> {
        let refused = |error: Error| problem(self.location.url().as_str(), &error);
        let Choice { served, shadow } = &self.choice;
        let access = &self.service.data;
        let table = Table::open(self.local.path(), &self.csv, &access.limits).map_err(refused)?;
        let output = self.location.beside(&self.tag, table.format()).map_err(refused)?;
        let mut results = Results { access, format: table.format(), output, first: None, writer: None, n_rows: 0 };
        let wanted = Features { names: served.signature.names(), categories: served.model.categories() };
        let runtime = tokio::runtime::Handle::current();
        let mut internal = None;
        let read = features(&table, wanted, &mut |values, _| {
            if self.gone.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let rows = Rows { values: values.to_vec(), n_rows: values.len() / served.signature.len() };
            // A turn per batch: large requests of others come between.
            let turn = runtime.block_on(self.service.answering.gate.turn());
            let answer = Answer::of(Arc::clone(served), &rows).map_err(|problem| {
                internal = Some(problem);
                Error::Stopped
            })?;
            drop(turn);
            self.service.answering.tell(&answer, rows, shadow.clone(), &self.caller);
            results.take(answer)
        });
        if let Some(problem) = internal {
            return Err(problem);
        }
        let done = read.and_then(|()| results.finish(&served.version.version)).map_err(refused)?;
        self.service.answering.models.metrics().request(&served.name, &served.version.version);
        Ok(done)
    }
}

/// What the model has said so far.
struct Results<'a> {
    access: &'a DataAccess,
    format: Format,
    output: Location,
    /// The first batch, as long as there is no other: it may be said inline.
    first: Option<Answer>,
    writer: Option<(NamedTempFile, ResultWriter)>,
    n_rows: u64,
}

impl Results<'_> {
    fn take(&mut self, answer: Answer) -> Result<(), Error> {
        self.n_rows += answer.n_rows as u64;
        if self.writer.is_none() && self.first.is_none() {
            self.first = Some(answer);
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            self.write(&first)?;
        }
        self.write(&answer)
    }

    fn write(&mut self, answer: &Answer) -> Result<(), Error> {
        let (_, writer) = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(begin(self.access, &self.output, self.format, &answer.names())?),
        };
        if !answer.is_classifier() {
            return writer.write(&[ResultColumn::Numbers(&answer.outputs)]);
        }
        let labels = labels(answer);
        let n_classes = answer.served.model.n_classes();
        let of_class = |class: usize| answer.outputs.iter().skip(class).step_by(n_classes).copied().collect();
        let probabilities: Vec<Vec<f64>> = (0..n_classes).map(of_class).collect();
        let numbers = probabilities.iter().map(|column| ResultColumn::Numbers(column));
        writer.write(&std::iter::once(ResultColumn::Labels(&labels)).chain(numbers).collect::<Vec<_>>())
    }

    fn finish(mut self, version: &str) -> Result<Done, Error> {
        if let Some(only) = self.first.take() {
            let completed = complete(&only);
            if serde_json::to_vec(&completed).is_ok_and(|json| json.len() <= INLINE_BYTES_MAX) {
                return Ok(Done::Inline(completed));
            }
            self.write(&only)?;
        }
        let (file, writer) = self.writer.ok_or(Error::NoRows)?;
        writer.finish()?;
        let (version, n_rows) = (version.to_owned(), self.n_rows);
        let completed = PredictCompleted { version, n_rows, predictions: None, probabilities: None, output: None };
        Ok(Done::File(completed, file, self.output))
    }
}

/// Begins a file of results. What can be known now to go wrong in the end goes wrong now.
fn begin(
    access: &DataAccess,
    output: &Location,
    format: Format,
    names: &[String],
) -> Result<(NamedTempFile, ResultWriter), Error> {
    access.policy.check(output)?;
    if output.scheme() == Scheme::Http {
        let reason = format!(
            "web servers are only read from, and predictions of more than {INLINE_BYTES_MAX} bytes are not said inline; \
             put the data set into a bucket"
        );
        return Err(Error::NotWritable { uri: output.url().to_string(), reason });
    }
    let wrong = |source| Error::Io { place: access.spool.display().to_string(), source };
    std::fs::create_dir_all(&access.spool).map_err(wrong)?;
    let file = NamedTempFile::new_in(&access.spool).map_err(wrong)?;
    let writer = ResultWriter::create(file.path(), format, names)?;
    Ok((file, writer))
}

/// The labels of all rows as one type: a column of a file has no more. Beside texts, everything is a text.
fn labels(answer: &Answer) -> Vec<Label> {
    let classes = answer.served.model.classes();
    let alike = classes.windows(2).all(|pair| std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]));
    answer.labels().map(|label| if alike { label.clone() } else { Label::Str(label.to_string()) }).collect()
}
