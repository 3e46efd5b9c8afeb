//! How long after a `model-loaded` event the replicas of `predict` answer from the version that it names: real processes, the
//! reference job's model, a new version with every switch, clients that never stop asking.

#![expect(clippy::print_stdout, reason = "a table is what this command makes")]

mod replica;

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use jiff::Timestamp;
use regrove_events::event::ModelLoaded;
use regrove_events::log::serving_stream;
use regrove_events::{Artifact, Event, SwitchedBy};
use regrove_forest::datasets::Synthetic;
use regrove_forest::params::MaxFeatures;
use regrove_forest::{RandomForestParams, fit};
use regrove_store::{Control, StoreArgs};

use replica::{Replica, Seen};

/// The reference job's rows.
const ROWS: &str =
    "make_classification?n_samples=2500&n_features=20&n_informative=10&n_redundant=10&n_classes=2&random_state=42";
/// How long anything may take before the measurement is given up.
const GIVE_UP: Duration = Duration::from_mins(1);

/// Times from an event to the answers of every replica.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  bench-switch --replicas 4 --switches 200")]
struct Args {
    /// Processes of `predict`
    #[arg(long, default_value_t = 4)]
    replicas: usize,
    /// Events, each with a version that no replica has in memory
    #[arg(long, default_value_t = 200)]
    switches: u64,
    /// The program; the one beside this one unless set
    #[arg(long, value_name = "FILE")]
    predict: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    ensure!(args.replicas > 0 && args.switches > 0, "there must be a replica and a switch");
    let home = tempfile::tempdir()?;
    home.path().clone_into(&mut args.store.home);
    let program = match args.predict.take() {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("predict"),
    };
    let switcher = Switcher::new(Control::open(&args.store)?).await?;
    switcher.switch(0).await?;

    let (told, news) = mpsc::channel();
    let mut replicas = Vec::new();
    for number in 0..args.replicas {
        replicas.push(Replica::start(&program, &args.store, &switcher.name, number, told.clone())?);
    }
    drop(told);
    all_seen(&news, args.replicas, 1)?;

    let (mut every, mut last) = (Vec::new(), Vec::new());
    for number in 1..=args.switches {
        let appended = switcher.switch(number).await?;
        let mut times = all_seen(&news, args.replicas, number + 1)?;
        // A replica may answer before the append has returned to the one who made it.
        let after = |seen: &Seen| seen.at.saturating_duration_since(appended).as_secs_f64() * 1e3;
        times.sort_by_key(|seen| seen.at);
        every.extend(times.iter().map(after));
        last.extend(times.last().map(after));
    }
    let answers: u64 = replicas.into_iter().map(Replica::stop).sum::<anyhow::Result<u64>>()?;
    println!(
        "{} switches, {} replicas, {}: {answers} answers meanwhile, none failed",
        args.switches,
        args.replicas,
        switcher.control.kind()
    );
    print("every replica", &mut every);
    print("the last one", &mut last);
    Ok(())
}

/// Waits until each replica has answered from the version.
fn all_seen(news: &mpsc::Receiver<anyhow::Result<Seen>>, replicas: usize, version: u64) -> anyhow::Result<Vec<Seen>> {
    let deadline = Instant::now() + GIVE_UP;
    let mut seen = Vec::new();
    while seen.len() < replicas {
        let left = deadline.saturating_duration_since(Instant::now());
        let news =
            news.recv_timeout(left).with_context(|| format!("not every replica follows to version {version}"))??;
        // Nobody skips a version: the next event comes after all have answered.
        if news.version != version {
            bail!("version {} is answered, expected {version}", news.version);
        }
        seen.push(news);
    }
    Ok(seen)
}

fn print(what: &str, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "  {what:14} ms after the event: p50 {:.2}, p90 {:.2}, p99 {:.2}, max {:.2}",
        at(50),
        at(90),
        at(99),
        at(100)
    );
}

/// Says which version is served.
struct Switcher {
    control: Control,
    name: String,
    /// Whole, and as they are served.
    models: [[Artifact; 2]; 2],
}

impl Switcher {
    async fn new(control: Control) -> anyhow::Result<Self> {
        let frame = Synthetic::parse(ROWS)?.frame()?;
        let mut models = Vec::new();
        for seed in [42, 43] {
            let params = RandomForestParams {
                n_estimators: 75,
                max_depth: Some(30),
                max_features: MaxFeatures::Fraction(0.7),
                random_state: seed,
                ..RandomForestParams::default()
            };
            let forest = fit(&frame, &params)?;
            let whole = control.artifacts.put(forest.to_bytes()?).await?;
            models.push([whole, control.artifacts.put(forest.to_serving_bytes()?).await?]);
        }
        let Ok(models) = models.try_into() else { bail!("two models were fitted") };
        // A Redis may know names of earlier measurements.
        Ok(Self { control, name: format!("Switched-{}", std::process::id()), models })
    }

    /// Appends the event after `number` others. Returns when it was in the log.
    async fn switch(&self, number: u64) -> anyhow::Result<Instant> {
        let version = (number + 1).to_string();
        let [model, serving] = self.models[usize::from(number % 2 == 1)].clone();
        let loaded = ModelLoaded {
            serving: Some(serving),
            previous: (number > 0).then(|| number.to_string()),
            ..ModelLoaded::plain(&*self.name, &*version, model, SwitchedBy::Request)
        };
        let event = Event::ModelLoaded(loaded).first(&version, "/bench", &self.name, Timestamp::UNIX_EPOCH)?;
        self.control.log.append(&serving_stream(&self.name), number, &[event]).await?;
        Ok(Instant::now())
    }
}
