//! Follows one job in the event log and says what happens to it.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use regrove_events::event::{ModelLoaded, ShardRequested, ShardTrained};
use regrove_events::log::{Position, job_stream, serving_stream};
use regrove_events::{CloudEvent, Event, Job, JobState, job};
use regrove_store::Control;

use crate::output::Output;

/// How long one look at the log waits for news; news end it at once.
const NEWS_WAIT: Duration = Duration::from_secs(5);
/// Entries of the log read at once.
const BATCH: usize = 1000;

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Watched {
    /// The job at its end.
    pub(crate) job: Job,
    /// The switch of the serving pointer to its version, and when it was recorded.
    pub(crate) loaded: Option<(ModelLoaded, CloudEvent)>,
}

/// Follows a job from `after` until it has ended, and until its version is served when `until_loaded`.
pub(crate) async fn follow(
    control: &Control,
    job_id: &str,
    after: Position,
    until_loaded: bool,
    output: &Output,
) -> anyhow::Result<Watched> {
    let mut lines = Lines::new(job_id, output);
    let stream = job_stream(job_id);
    let mut loaded: Option<(ModelLoaded, CloudEvent)> = None;
    let mut position = after;
    loop {
        position = lines.catch_up(control, &stream, position).await?;
        // After the position was taken: what comes later than this look ends the wait below.
        let state = job::replay(&control.log.read(&stream, 0).await?);
        if let Some(registered) = &state.registered {
            let serving = control.log.read(&serving_stream(&registered.name), 0).await?;
            loaded = serving.into_iter().rev().find_map(|event| match Event::read(&event) {
                Ok(Event::ModelLoaded(switch)) if switch.version == registered.version => Some((switch, event)),
                _ => None,
            });
        }
        let succeeded = state.state == JobState::Succeeded;
        if state.state.is_terminal() && (!succeeded || !until_loaded || loaded.is_some()) {
            // What made it end may have come after the lines above.
            lines.catch_up(control, &stream, position).await?;
            lines.end();
            return Ok(Watched { job: state, loaded });
        }
        control.log.wait(position, NEWS_WAIT).await?;
    }
}

/// A line per shard: bars that turn on a terminal, plain lines elsewhere.
struct Lines<'a> {
    job: &'a str,
    output: &'a Output,
    bars: Option<MultiProgress>,
    /// All trees of the job.
    whole: Option<ProgressBar>,
    /// Rows of the data set.
    n_samples: u64,
    shards: std::collections::BTreeMap<u32, ProgressBar>,
}

impl<'a> Lines<'a> {
    fn new(job: &'a str, output: &'a Output) -> Self {
        let bars = (std::io::stderr().is_terminal() && !output.is_json()).then(MultiProgress::new);
        Self { job, output, bars, whole: None, n_samples: 0, shards: std::collections::BTreeMap::new() }
    }

    /// Says what the log has of the job after a position; returns the position that has been read to.
    async fn catch_up(&mut self, control: &Control, stream: &str, mut after: Position) -> anyhow::Result<Position> {
        loop {
            let entries = control.log.tail(after, BATCH).await?;
            let last = entries.len() < BATCH;
            for entry in entries {
                after = entry.position;
                if entry.stream == stream {
                    self.say(&entry.event);
                }
            }
            if last {
                return Ok(after);
            }
        }
    }

    fn say(&mut self, event: &CloudEvent) {
        match Event::read(event) {
            Ok(Event::ShardRequested(request)) => self.requested(&request),
            Ok(Event::ShardTrained(trained)) => self.trained(&trained),
            Ok(Event::TrainRequested(_)) => self.line(format!("{}: train-requested", self.job)),
            Ok(Event::ModelAggregated(model)) => {
                self.line(format!("{}: model-aggregated, {} trees", self.job, model.n_estimators));
            }
            Ok(Event::ModelRegistered(model)) => self.line(format!("{}: model-registered, {}", self.job, model.uri)),
            Ok(Event::JobFailed(failure)) => self.line(format!("{}: failed in {}", self.job, failure.step)),
            Ok(Event::JobCancelled(_)) => self.line(format!("{}: cancelled", self.job)),
            _ => {}
        }
    }

    fn requested(&mut self, request: &ShardRequested) {
        let text = format!(
            "{}: shard {}/{}, trees {}..{}",
            self.job,
            request.shard + 1,
            request.of,
            request.trees.from,
            request.trees.to
        );
        match &self.bars {
            Some(bars) if self.shards.contains_key(&request.shard) => {
                bars.println(format!("{text}, attempt {}", request.attempt)).unwrap_or_default();
            }
            Some(bars) => {
                self.n_samples = request.dataset.n_samples;
                let whole = self.whole.get_or_insert_with(|| whole_bar(bars));
                whole.inc_length(u64::from(request.trees.to - request.trees.from));
                let bar = bars.insert_before(whole, ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                    bar.set_style(style);
                }
                bar.set_message(text);
                bar.enable_steady_tick(Duration::from_millis(80));
                self.shards.insert(request.shard, bar);
            }
            None => self.output.progress(format_args!("{text} requested")),
        }
    }

    fn trained(&mut self, trained: &ShardTrained) {
        let text = format!(
            "{}: shard {}/{}, trees {}..{}: {} nodes in {:.3} s",
            self.job,
            trained.shard + 1,
            trained.of,
            trained.trees.from,
            trained.trees.to,
            trained.n_nodes,
            trained.seconds
        );
        if let Some(whole) = &self.whole {
            whole.inc(u64::from(trained.trees.to - trained.trees.from));
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rows = whole.position() as f64 * self.n_samples as f64 / whole.elapsed().as_secs_f64().max(1e-3);
            whole.set_message(format!("{rows:.0} rows/s"));
        }
        match self.shards.remove(&trained.shard) {
            Some(bar) => {
                if let Ok(style) = ProgressStyle::with_template("✓ {msg}") {
                    bar.set_style(style);
                }
                bar.finish_with_message(text);
            }
            None => self.line(text),
        }
    }

    fn line(&self, text: String) {
        match &self.bars {
            // Above the bars, which stay where they are.
            Some(bars) => bars.println(text).unwrap_or_default(),
            None => self.output.progress(text),
        }
    }

    fn end(&mut self) {
        if let Some(whole) = self.whole.take() {
            whole.abandon();
        }
        for (_, bar) in std::mem::take(&mut self.shards) {
            bar.abandon();
        }
    }
}

/// The bar below those of the shards: trees of the whole job, how fast rows pass through them, and how long it will take.
fn whole_bar(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(0));
    let template = "{bar:40} {pos}/{len} trees  {msg}  {elapsed}  ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
