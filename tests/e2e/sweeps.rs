//! Sweeps by real processes, some of which are killed; and a command that nobody waits for any longer.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_mt::Mt;
use regrove_events::JobState;
use regrove_events::event::{SweepCompleted, TrainRequested};
use regrove_events::log::sweep_stream;
use regrove_events::sweep;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::jobs::lengthy;
use crate::polling::{seed, until};
use crate::record;
use crate::regrove;
use crate::up::{Up, UpOptions};

/// Kills in the disturbed sweep.
const KILLS: u32 = 12;
/// Longest pause before a kill.
const PAUSE_MS_MAX: u32 = 120;

async fn completed(up: &Up, id: &str) -> Option<SweepCompleted> {
    sweep::replay(&up.control().log.read(&sweep_stream(id), 0).await.ok()?).completed
}

async fn ask(up: &Up, id: &str, model: &str) {
    let data = "synthetic:make_classification?n_samples=1500&n_features=20&n_informative=10&random_state=5";
    let sweep = [
        "train",
        "--data",
        data,
        "--set",
        "random_state=3",
        "--set",
        "max_features=0.5",
        "--shards",
        "4",
        "--experiment",
        "end-to-end",
        "--sweep",
        "n_estimators=10,20",
        "--sweep",
        "max_depth=2,6,none",
        "--alias",
        "champion",
    ];
    up.regrove(&[&sweep[..], &["--id", id, "--model", model]].concat()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_whose_functions_are_killed_finds_what_an_undisturbed_one_finds() {
    let up = Up::start(UpOptions::default());
    let mut luck = Mt::new(seed(707));
    ask(&up, "calm", "Calm").await;
    let calm = until("the calm sweep ends", async || completed(&up, "calm").await).await;
    let other = Up::start(UpOptions::default());
    ask(&other, "rough", "Rough").await;
    let mut kills = 0;
    while kills < KILLS && completed(&other, "rough").await.is_none() {
        tokio::time::sleep(Duration::from_millis(u64::from(luck.next_u32() % PAUSE_MS_MAX))).await;
        let victims = ["train-shard", "aggregate", "register"];
        let victim = victims[luck.next_u32() as usize % victims.len()];
        kills += u32::from(other.functions().iter().any(|process| process.name == victim && process.kill()));
    }
    assert!(kills > 2, "only {kills} kills hit anything");
    let rough = until("the rough sweep ends", async || completed(&other, "rough").await).await;
    let scores = |sweep: &SweepCompleted| {
        sweep.trials.iter().map(|trial| (trial.params.clone(), trial.score)).collect::<Vec<_>>()
    };
    assert_eq!(scores(&rough), scores(&calm));
    assert_eq!(calm.trials.len(), 6);
    let number = |best: Option<String>| best.unwrap().rsplit('.').next().unwrap().to_owned();
    let best = rough.best.clone().unwrap();
    assert_eq!(number(rough.best), number(calm.best));
    let job = other.job_when(&best, "is registered", |job| job.registered.is_some()).await;
    let uri = other.tracking_uri();
    let versions = until("a version", async || {
        let versions = record::versions(&uri, "Rough").await;
        (!versions.is_empty()).then_some(versions)
    })
    .await;
    assert_eq!(versions.len(), 1, "one version, of the best trial: {versions:?}");
    assert_eq!(versions[0].tag("regrove.job"), Some(best.as_str()));
    // A sweep ends when its trials are measured; `register`, killed in between, may still be at work on their runs.
    for job in rough.trials.iter().map(|trial| trial.job.as_str()).chain(["rough"]) {
        let runs = until("a run", async || {
            let runs = record::runs(&uri, job).await;
            (!runs.is_empty()).then_some(runs)
        })
        .await;
        assert_eq!(runs.len(), 1, "{job}");
    }
    other.served("Rough", &job.registered.unwrap().version).await;
}

/// Runs a program on a terminal of its own, and ends as it does.
const TERMINAL: &str = "import fcntl,os,pty,struct,sys,termios
child, terminal = pty.fork()
if not child:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 200, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
try:
    while True: os.write(1, os.read(terminal, 65536))
except OSError: pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_sees_how_fast_trees_grow_and_a_stop_ends_the_waiting_with_3() {
    let up = Up::start(UpOptions::default());
    let mut wish = TrainRequested { shards: 64, ..lengthy("m") };
    wish.params.insert("n_estimators".to_owned(), json!(4000));
    std::fs::write(up.folder().join("long.json"), serde_json::to_string(&wish).unwrap()).unwrap();
    let wanted = regrove::command(up.folder());
    let mut command = tokio::process::Command::new("python3");
    command.args(["-c", TERMINAL]).arg(wanted.get_program()).args([
        "train",
        "--file",
        "long.json",
        "--id",
        "long",
        "--wait",
    ]);
    for (name, value) in wanted.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("REGROVE_HOME", up.home()).env("REGROVE_BROKER", up.broker()).env("TERM", "xterm");
    let mut child = command.current_dir(up.folder()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut terminal = child.stdout.take().unwrap();
    let drawn = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&drawn);
    let reading = tokio::spawn(async move {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length) = terminal.read(&mut piece).await
            && length > 0
        {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    let shows = |words: &[&str]| words.iter().all(|word| drawn.lock().unwrap().contains(word));
    until("the bar says how fast it goes", async || {
        shows(&["/4000 trees", "rows/s", "ETA", "long: shard 1/64"]).then_some(())
    })
    .await;
    up.regrove(&["job", "stop", "long"]).await.ok();
    let status = tokio::time::timeout(crate::polling::DEADLINE, child.wait()).await.unwrap().unwrap();
    reading.await.unwrap();
    assert_eq!(status.code(), Some(3), "{}", drawn.lock().unwrap());
    assert!(shows(&["job long was cancelled"]), "{}", drawn.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_waiting_and_not_the_job() {
    let up = Up::start(UpOptions::default());
    let mut endless = TrainRequested { shards: 2, ..lengthy("m") };
    endless.params.insert("n_estimators".to_owned(), json!(50_000));
    std::fs::write(up.folder().join("endless.json"), serde_json::to_string(&endless).unwrap()).unwrap();
    let mut command = regrove::command(up.folder());
    command.args(["train", "--file", "endless.json", "--id", "endless", "--wait"]);
    command.env("REGROVE_HOME", up.home()).env("REGROVE_BROKER", up.broker());
    let mut waiting = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    up.job_when("endless", "trains", |job| job.state == JobState::Training).await;
    let pid = Pid::from_raw(waiting.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = tokio::time::timeout(crate::polling::DEADLINE, waiting.wait()).await.unwrap().unwrap();
    assert_eq!(ended.signal(), Some(Signal::INT.as_raw()), "a shell sees that it was interrupted: {ended:?}");
    assert_eq!(up.job("endless").await.unwrap().state, JobState::Training, "the job goes on");
    up.regrove(&["job", "stop", "endless", "--wait"]).await.ok();
}
