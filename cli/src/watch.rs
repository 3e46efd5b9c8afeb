//! Follows one job and says what happens to it.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use regrove_events::event::{ModelRegistered, ShardRequested, ShardTrained};
use regrove_events::log::{Version, serving_stream};
use regrove_events::{CloudEvent, Event};
use regrove_jobs::JobView;
use regrove_store::Control;

use crate::output::Output;
use crate::source::{NEWS_WAIT, Source};

/// Follows a job from its `version`-th event until it has ended.
pub(crate) async fn follow(source: &Source, id: &str, version: Version, output: &Output) -> anyhow::Result<JobView> {
    let mut lines = Lines::new(id, output);
    let mut version = version;
    loop {
        let ended = source.find(id).await?.filter(|job| job.summary.state.is_terminal());
        // What made it end may have come after the lines so far.
        let wait = if ended.is_some() { Duration::ZERO } else { NEWS_WAIT };
        let news = source.news(id, version, wait).await?;
        version += news.len() as Version;
        for event in &news {
            lines.say(event);
        }
        if let Some(job) = ended {
            lines.end();
            return Ok(job);
        }
    }
}

/// Waits until the version that a job made is served. Returns the event that says so.
pub(crate) async fn until_served(control: &Control, registered: &ModelRegistered) -> anyhow::Result<CloudEvent> {
    loop {
        // Before the look: what comes after it ends the wait below.
        let head = control.log.head().await?;
        let serving = control.log.read(&serving_stream(&registered.name), 0).await?;
        let switch = serving.into_iter().rev().find(|event| {
            matches!(Event::read(event), Ok(Event::ModelLoaded(loaded)) if loaded.version == registered.version)
        });
        if let Some(switch) = switch {
            return Ok(switch);
        }
        control.log.wait(head, NEWS_WAIT).await?;
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

    fn say(&mut self, event: &CloudEvent) {
        match Event::read(event) {
            Ok(Event::ShardRequested(request)) => self.requested(&request),
            Ok(Event::ShardTrained(trained)) => self.trained(&trained),
            Ok(Event::TrainRequested(_)) => self.line(format!("{}: train-requested", self.job)),
            Ok(Event::RoundEvaluated(round)) => {
                self.line(format!("{}: {} trees, {} {:.4}", self.job, round.trees, round.metric, round.score));
            }
            Ok(Event::DeliveryFailed(failed)) => {
                self.line(format!("{}: {} did not take `{}`: {}", self.job, failed.step, failed.event, failed.reason));
            }
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
