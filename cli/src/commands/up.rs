//! `regrove up`: Knative manifests on this machine.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use regrove_knative::manifest::Application;
use regrove_runtime::{Addresses, RevisionShare, Runtime, RuntimeConfig, RuntimeEvent, SHARED_JOURNAL};
use regrove_store::SharedJournal;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use crate::live_view::{LiveView, REDRAW_INTERVAL};
use crate::manifest_watch::ManifestWatch;
use crate::manifests::Texts;
use crate::mlflow_server::MlflowServer;
use crate::output::{Output, Usage};
use crate::reach::Reach;
use crate::{binaries, env_file, manifests, regrow};

/// Run Knative manifests on this machine, without containers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  regrove up\n  regrove up -f my-app/ --exec hello='python3 hello.py' --watch\n  \
    regrove up --mlflow\n\n\
    Services answer at http://SERVICE.NAMESPACE.localhost:8000, brokers at http://localhost:8081/NAMESPACE/BROKER.\n\
    Ctrl-C lets requests under way end; a second Ctrl-C does not wait.")]
pub(crate) struct Args {
    /// Manifests: a file, a directory, or `-`; ./k8s or the built-in ones without it
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Command for an image; may be repeated
    #[arg(long, value_name = "IMAGE=COMMAND", value_parser = exec)]
    exec: Vec<(String, Vec<String>)>,
    /// File of variables for every function, NAME=VALUE on each line; may be repeated
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Take changes of the manifests while it runs, without dropping requests or events: a changed template becomes a new
    /// revision
    #[arg(long)]
    watch: bool,
    /// Print a line for everything that happens, on a terminal too
    #[arg(long)]
    plain: bool,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Port of the gateway; 0 takes a free one
    #[arg(long, default_value_t = regrove_runtime::GATEWAY_PORT, value_name = "PORT")]
    gateway_port: u16,
    /// Port of the broker ingress; 0 takes a free one
    #[arg(long, default_value_t = regrove_runtime::INGRESS_PORT, value_name = "PORT")]
    ingress_port: u16,
    /// Port of the embedded record; 0 takes a free one
    #[arg(long, default_value_t = regrove_runtime::RECORD_PORT, value_name = "PORT")]
    record_port: u16,
    /// Port of the console; 0 takes a free one
    #[arg(long, default_value_t = regrove_runtime::CONSOLE_PORT, value_name = "PORT")]
    console_port: u16,
    /// MLflow to use instead of the embedded record
    #[arg(long, env = "MLFLOW_TRACKING_URI", value_name = "URL")]
    mlflow_tracking_uri: Option<String>,
    /// Run a real MLflow on the record's port instead of the embedded record: the one in the PATH, or one that is installed
    /// in the home first
    #[arg(long, conflicts_with = "mlflow_tracking_uri")]
    mlflow: bool,
    /// Divide every autoscaler window and delay by this, to watch scale-to-zero without waiting
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    fast_time: f64,
    /// How long the broker keeps delivered events, for `regrove event show` and `regrove event replay`: such as 90m or 7d
    #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = retention)]
    event_retention: Duration,
}

/// A duration as people write it.
fn retention(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().or_else(|_| days(text)).map_err(|error| error.to_string())?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

/// Days have no fixed length in a calendar; here they have 24 hours.
fn days(text: &str) -> Result<jiff::SignedDuration, jiff::Error> {
    text.parse::<jiff::Span>()?.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
}

/// `image=command words`, split at spaces outside quotes.
fn exec(text: &str) -> Result<(String, Vec<String>), String> {
    let (image, command) = text.split_once('=').ok_or("expected IMAGE=COMMAND")?;
    let words = shlex::split(command).filter(|words| !words.is_empty()).ok_or("the command's quotes do not match")?;
    Ok((image.to_owned(), words))
}

pub(crate) async fn run(mut args: Args, reach: &Reach, output: &Output) -> anyhow::Result<()> {
    let from = args.file.as_deref();
    if args.watch && !manifests::are_files(from) {
        return Err(Usage("--watch needs files: name them with --file".to_owned()).into());
    }
    let texts = Texts::read(from)?;
    let application = texts.parse()?;
    let mut end = End { interrupt: Interrupt::listen()?, mlflow: None };
    if args.mlflow {
        let address = SocketAddr::new(args.address, args.record_port);
        let server = tokio::select! {
            server = MlflowServer::start(&reach.store.home, address, output) => server?,
            ended = end.wait() => return ended,
        };
        args.mlflow_tracking_uri = Some(server.uri().to_owned());
        end.mlflow = Some(server);
    }
    let config = tokio::select! {
        config = config(&args, application, reach, output) => Some(config),
        ended = end.wait() => ended.map(|()| None)?,
    };
    let ended = match config {
        Some(Ok(config)) => serve(&args, config, texts, output, &mut end).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    if let Some(mlflow) = end.mlflow {
        mlflow.stop(output).await;
    }
    ended
}

/// What ends a run: a signal, or the end of an MLflow that was started for it.
struct End {
    interrupt: Interrupt,
    mlflow: Option<MlflowServer>,
}

impl End {
    /// Returns at the next signal.
    ///
    /// # Errors
    /// When MLflow has ended.
    async fn wait(&mut self) -> anyhow::Result<()> {
        match &mut self.mlflow {
            None => self.interrupt.wait().await,
            Some(mlflow) => tokio::select! {
                () = self.interrupt.wait() => {}
                error = mlflow.ended() => return Err(error),
            },
        }
        Ok(())
    }
}

/// Runs the manifests until the end comes.
async fn serve(args: &Args, config: RuntimeConfig, texts: Texts, output: &Output, end: &mut End) -> anyhow::Result<()> {
    if args.fast_time > 1.0 {
        output.progress(format_args!("time runs {} times faster for the autoscaler", args.fast_time));
    }
    let runtime = Runtime::start(config).await?;
    announce(&runtime, end.mlflow.as_ref().map(MlflowServer::uri), output)?;
    let mut watch = args.watch.then(|| ManifestWatch::new(args.file.as_deref(), texts));
    let live = !args.plain && !output.is_json() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let mut screen = Screen { output, live: live.then(LiveView::new) };
    let mut events = runtime.watch();
    let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            ended = end.wait() => break ended,
            event = events.recv() => match event {
                Ok(event) => screen.event(&event)?,
                Err(RecvError::Lagged(missed)) => screen.missed(missed),
                Err(RecvError::Closed) => break Ok(()),
            },
            texts = changed(&mut watch) => reload(&runtime, texts, &mut screen).await?,
            _ = redraw.tick(), if screen.live.is_some() => screen.draw(&runtime),
        }
    };
    screen.end();
    output.progress("stopping: requests under way may end; Ctrl-C again does not wait");
    stop(runtime, &mut end.interrupt).await;
    ended
}

async fn changed(watch: &mut Option<ManifestWatch>) -> Result<Texts, String> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Takes changed manifests. What is wrong with them is said, and everything stays as it was.
async fn reload(runtime: &Runtime, texts: Result<Texts, String>, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let application = texts.and_then(|texts| texts.parse().map_err(|problems| problems.to_string()));
    let reloaded = match application {
        Ok(application) => runtime.reload(application).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    let reloaded = match reloaded {
        Ok(reloaded) => reloaded,
        Err(reason) => {
            screen.error(format!("the changed manifests are not taken: {reason}"));
            return Ok(());
        }
    };
    for warning in &reloaded.warnings {
        screen.progress(&format!("warning: {warning}"));
    }
    let value = json!({ "event": "reloaded", "revisions": reloaded.revisions, "objects": reloaded.objects });
    screen.result(&value, || {
        let revisions = match reloaded.revisions.as_slice() {
            [] => "no new revision".to_owned(),
            revisions => format!("new revisions: {}", revisions.join(", ")),
        };
        let objects = match reloaded.objects.as_slice() {
            [] => String::new(),
            objects => format!("; changed: {}", objects.join(", ")),
        };
        format!("manifests taken, {revisions}{objects}")
    })
}

/// Lines one after the other, or a view that is redrawn.
struct Screen<'a> {
    output: &'a Output,
    live: Option<LiveView>,
}

impl Screen<'_> {
    fn event(&mut self, event: &RuntimeEvent) -> anyhow::Result<()> {
        match &mut self.live {
            Some(live) => {
                live.note(event);
                Ok(())
            }
            None => say(event, self.output),
        }
    }

    fn progress(&self, text: &str) {
        match &self.live {
            Some(live) => live.print(text),
            None => self.output.progress(text),
        }
    }

    fn result(&self, value: &serde_json::Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        match &self.live {
            Some(live) => {
                live.print(&text());
                Ok(())
            }
            None => self.output.result(value, text),
        }
    }

    fn error(&mut self, text: String) {
        self.progress(&text);
        if let Some(live) = &mut self.live {
            live.error(text);
        }
    }

    fn missed(&self, missed: u64) {
        // The view counts on; only lines would be missed.
        if self.live.is_none() {
            self.output.progress(format_args!("… {missed} lines not shown"));
        }
    }

    fn draw(&mut self, runtime: &Runtime) {
        if let Some(live) = &mut self.live {
            live.draw(&runtime.status());
        }
    }

    fn end(&self) {
        if let Some(live) = &self.live {
            live.end();
        }
    }
}

/// Lets requests under way end; another signal does not wait for them.
pub(crate) async fn stop(runtime: Runtime, interrupt: &mut Interrupt) {
    let killer = runtime.killer();
    let mut stopping = std::pin::pin!(runtime.shutdown());
    tokio::select! {
        () = &mut stopping => return,
        () = interrupt.wait() => killer.kill(),
    }
    stopping.await;
}

async fn config(
    args: &Args,
    application: Application,
    reach: &Reach,
    output: &Output,
) -> anyhow::Result<RuntimeConfig> {
    let ours = application.services.iter().any(|service| {
        let image = service.template.container.image.as_str();
        binaries::FUNCTIONS.contains(&image) && !args.exec.iter().any(|(known, _)| known == image)
    });
    let mut config = RuntimeConfig::new(application, &reach.store.home);
    config.gateway = SocketAddr::new(args.address, args.gateway_port);
    config.ingress = SocketAddr::new(args.address, args.ingress_port);
    config.record = args.mlflow_tracking_uri.is_none().then_some(SocketAddr::new(args.address, args.record_port));
    config.console = SocketAddr::new(args.address, args.console_port);
    config.exec = args.exec.iter().cloned().collect();
    config.time_scale = args.fast_time;
    config.event_retention = args.event_retention;
    config.shared_journal = SharedJournal::open(&reach.store, SHARED_JOURNAL)?.map(Arc::new);
    config.env = environment(reach, args.mlflow_tracking_uri.as_deref())?;
    for file in &args.env_file {
        config.env.extend(env_file::read(file)?);
    }
    // Somebody else's manifests do not need our programs.
    if ours {
        config.bin_dirs = binaries::directories(output).await?;
    }
    Ok(config)
}

/// Where data sets may come from, as `aggregate` reads it.
const DATA_ALLOW: &str = "REGROVE_DATA_ALLOW";

/// What every function is told: where state is kept, and where the record is.
pub(crate) fn environment(reach: &Reach, mlflow: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
    let store = &reach.store;
    std::fs::create_dir_all(&store.home).map_err(|error| Usage(format!("--home {}: {error}", store.home.display())))?;
    let home = store.home.canonicalize().with_context(|| store.home.display().to_string())?;
    let mut env = BTreeMap::from([("REGROVE_HOME".to_owned(), home.display().to_string())]);
    let optional = [
        ("REDIS_URL", store.redis_url.clone()),
        ("REDIS_USERNAME", store.redis_username.clone()),
        ("REDIS_PASSWORD", store.redis_password.clone()),
        ("REGROVE_REDIS_CA", store.redis_ca.as_ref().map(|path| path.display().to_string())),
        ("MLFLOW_TRACKING_URI", mlflow.map(str::to_owned)),
    ];
    env.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    // Events come from this machine: its files may be read, unless the user says otherwise.
    if std::env::var_os(DATA_ALLOW).is_none() {
        env.insert(DATA_ALLOW.to_owned(), regrow::DATA_ALLOWED.to_owned());
    }
    Ok(env)
}

fn announce(runtime: &Runtime, mlflow: Option<&str>, output: &Output) -> anyhow::Result<()> {
    let Addresses { gateway, ingress, record, console } = runtime.addresses();
    let value = json!({
        "event": "started",
        "gateway": format!("http://{gateway}"),
        "ingress": format!("http://{ingress}"),
        "record": record.map(|record| format!("http://{record}")),
        "mlflow": mlflow,
        "api": runtime.api_url(),
        "console": console.map(|console| format!("http://{console}")),
        "services": runtime.status().services,
    });
    for warning in runtime.warnings() {
        output.progress(format_args!("warning: {warning}"));
    }
    for (kind, name) in runtime.passed_over() {
        output.progress(format_args!("passed over: {kind} {name}"));
    }
    output.result(&value, || {
        let mut lines = vec![format!("gateway  http://{gateway}")];
        lines.extend(runtime.status().services.iter().map(|service| match &service.url {
            Some(url) => format!("         {url}"),
            None => format!("         {} (only from inside)", service.now.service),
        }));
        lines.push(format!("broker   http://{ingress}/NAMESPACE/BROKER"));
        lines.push(format!("metrics  {}/metrics", runtime.api_url()));
        lines.extend(record.map(|record| format!("record   http://{record}  (MLFLOW_TRACKING_URI)")));
        lines.extend(mlflow.map(|mlflow| format!("MLflow   {mlflow}  (MLFLOW_TRACKING_URI)")));
        lines.extend(console.map(|console| format!("console  http://{console}")));
        lines.join("\n")
    })
}

fn say(event: &RuntimeEvent, output: &Output) -> anyhow::Result<()> {
    output.result(event, || match event {
        RuntimeEvent::ReplicaStarting { service, replica } => format!("{service}: {replica} starts"),
        RuntimeEvent::ReplicaReady { service, replica } => format!("{service}: {replica} is ready"),
        RuntimeEvent::ColdStart { service, split, .. } => {
            format!("{service}: cold start {:.1} ms, first byte {:.1} ms later", split.start_ms(), split.first_byte_ms)
        }
        RuntimeEvent::ReplicaCrashed { service, replica, status, backoff_ms } => {
            format!("{service}: {replica} ended with {status}, starts again in {backoff_ms} ms")
        }
        RuntimeEvent::ReplicaStopped { service, replica, .. } => format!("{service}: {replica} stopped"),
        RuntimeEvent::TrafficAssigned { service, shares } => {
            let share = |share: &RevisionShare| format!("{} {}%", share.revision, share.percent);
            format!("{service}: {}", shares.iter().map(share).collect::<Vec<_>>().join(", "))
        }
        RuntimeEvent::EventAccepted { broker, ty, id, triggers } => {
            format!("{broker}: {ty} {id} for {triggers} triggers")
        }
        RuntimeEvent::EventDelivered { trigger, ty, id, latency_ms, .. } => {
            format!("{trigger}: {ty} {id} delivered in {latency_ms:.1} ms")
        }
        RuntimeEvent::EventRetried { trigger, ty, id, error, wait_ms, .. } => {
            format!("{trigger}: {ty} {id} failed ({error}), again in {wait_ms} ms")
        }
        RuntimeEvent::EventDead { trigger, ty, id, error, .. } => {
            format!("{trigger}: {ty} {id} is a dead letter ({error})")
        }
        RuntimeEvent::Log(line) => format!("{}: {}", line.replica, line.text),
        _ => serde_json::to_string(event).unwrap_or_default(),
    })
}

/// Ctrl-C and SIGTERM.
pub(crate) struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns at the next signal.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
