//! `regrove demo`: one command, one object, nothing left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand_mt::Mt;
use regrove_test_support::MlflowServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::jobs::{DEFAULT_MODEL, REFERENCE_PROBABILITIES};
use crate::polling::{DEADLINE, seed, until_blocking};
use crate::{processes, record, regrove};

/// How often the demo is interrupted, each time after other lines of its progress.
const INTERRUPTED: u32 = 10;
/// Lines of progress that an undisturbed demo is known to print, at least.
const LINES: u32 = 24;
/// Longest wait between a line and the interruption that follows it, in milliseconds.
const DELAY_MS_MAX: u32 = 60;

/// A folder as a newcomer has it, and the demo's home in it.
fn empty_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap().join(".regrove");
    (folder, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_one_object_and_contacts_nobody_else() {
    let (folder, home) = empty_folder();
    let mut command = regrove::command(folder.path());
    command.args(["demo", "--json"]);
    // Whoever followed these would reach nobody: the discard port of this machine.
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let watch = PeersWatch::start(&home);
    let said = regrove::run(command).await.ok();
    let (peers, looks) = watch.end();
    processes::assert_none_left(&home);
    assert!(looks > 10, "the demo's connections were looked at {looks} times only");
    assert_eq!(peers, BTreeSet::new(), "the demo speaks to others than this machine");

    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
    let report = said.json();
    check_report(&report);
    assert_eq!(report["jobs"][0]["model"]["version"], "1");

    // What the demo did can be looked at afterwards, and done again.
    let mut list = regrove::command(folder.path());
    list.args(["job", "list", "--json"]);
    let jobs = regrove::run(list).await.ok().json();
    let ids: BTreeSet<&str> = jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    let reported = report["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, reported);
}

fn check_report(report: &Value) {
    let jobs = report["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2, "{report}");
    for job in jobs {
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["shards"], 4, "{job}");
        assert_eq!(job["model"]["sha256"].as_str().unwrap().len(), 64, "{job}");
        let (name, version) = (job["model"]["name"].as_str().unwrap(), job["model"]["version"].as_str().unwrap());
        assert_eq!(job["model"]["uri"], format!("models:/{name}/{version}"), "{job}");
        assert_eq!(job["prediction"]["model_version"], version, "{job}");
        for step in ["queued_to_registered", "train", "register", "load", "predict"] {
            assert!(job["seconds"][step].as_f64().is_some_and(|seconds| seconds >= 0.0), "{step}: {job}");
        }
        for metric in ["accuracy", "holdout_accuracy", "oob_accuracy"] {
            let value = job["metrics"][metric].as_f64().unwrap_or_else(|| panic!("{metric}: {job}"));
            assert!((0.85..=1.0).contains(&value), "{metric}: {job}");
        }
    }
    assert!(jobs[0]["id"].as_str().unwrap().starts_with("reference"), "{report}");
    assert_eq!(jobs[0]["dataset"], "make_classification");
    assert_eq!(jobs[0]["model"]["name"], DEFAULT_MODEL);
    assert_eq!(jobs[0]["prediction"]["predictions"], json!([1]));
    assert_eq!(jobs[0]["prediction"]["probabilities"], json!([REFERENCE_PROBABILITIES]));
    assert_eq!(jobs[1]["dataset"], "breast_cancer");
    let starts = report["cold_starts_ms"].as_object().unwrap();
    for function in ["aggregate", "train-shard", "register", "load-model", "predict"] {
        let times = starts[function].as_array().unwrap_or_else(|| panic!("{function}: {starts:?}"));
        assert!(!times.is_empty() && times.iter().all(|ms| ms.as_f64().is_some_and(|ms| ms > 0.0)), "{starts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_a_person_what_it_does() {
    let (folder, home) = empty_folder();
    let mut command = regrove::command(folder.path());
    command.args(["demo", "--shards", "3"]);
    let said = regrove::run(command).await.ok();
    processes::assert_none_left(&home);
    for job in ["reference", "breast-cancer"] {
        for step in ["train-requested", "model-aggregated", "model-registered", "predicted"] {
            let line = said.err.lines().find(|line| line.starts_with(job) && line.contains(step));
            assert!(line.is_some(), "{job} {step}: {}", said.err);
        }
        for shard in 1..=3 {
            let line = said.err.lines().find(|line| {
                line.starts_with(job) && line.contains(&format!("shard {shard}/3")) && line.contains(" nodes in ")
            });
            assert!(line.is_some(), "{job} shard {shard}: {}", said.err);
        }
    }
    for text in [
        "held-out rows",
        "out of bag",
        "class 1 with probabilities [0.37333333333333335,0.6266666666666667] from version 1",
        "models:/RandomForestClassifierModel/1",
        "models:/BreastCancerModel/1",
        "cold starts aggregate ",
        "Try next:",
    ] {
        assert!(said.out.contains(text), "`{text}` is not said: {}", said.out);
    }
    // The first of the commands that it proposes.
    let proposed: Vec<&str> = said.out.lines().filter_map(|line| line.strip_prefix("  regrove ")).collect();
    assert_eq!(proposed.len(), 3, "{}", said.out);
    let mut show = regrove::command(folder.path());
    show.args(proposed[0].split_whitespace());
    assert!(regrove::run(show).await.ok().out.contains("succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_uses_a_real_mlflow_and_runs_twice() {
    let mlflow = MlflowServer::start().unwrap();
    let (folder, home) = empty_folder();
    for version in ["1", "2"] {
        let mut command = regrove::command(folder.path());
        command.args(["demo", "--json"]).env("MLFLOW_TRACKING_URI", mlflow.uri());
        let report = regrove::run(command).await.ok().json();
        check_report(&report);
        assert_eq!(report["jobs"][0]["model"]["version"], version);
        assert_eq!(report["jobs"][1]["model"]["version"], version);
        processes::assert_none_left(&home);
    }
    assert_eq!(record::versions(&mlflow.uri(), DEFAULT_MODEL).await.len(), 2);
}

/// Where Ctrl-C comes: `lines` lines into the demo, and some milliseconds later.
#[derive(Debug, Clone, Copy)]
struct Moment {
    lines: u32,
    delay: Duration,
}

#[test]
fn ctrl_c_ends_the_demo_at_any_point() {
    let mut luck = Mt::new(seed(20_261_123));
    for run in 0..INTERRUPTED {
        // The first one comes as soon as the demo can hear it.
        let lines = if run == 0 { 0 } else { (run * LINES + luck.next_u32() % LINES) / INTERRUPTED };
        let delay = if run == 0 { 0 } else { luck.next_u32() % DELAY_MS_MAX };
        interrupt(Moment { lines, delay: Duration::from_millis(u64::from(delay)) });
    }
}

fn interrupt(moment: Moment) {
    let (folder, home) = empty_folder();
    let mut child = regrove::command(folder.path())
        .args(["demo", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    until_blocking(DEADLINE, || processes::catches(child.id(), Signal::INT).then_some(())).unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..moment.lines {
        let line = progress.next().unwrap_or_else(|| panic!("{moment:?}: the demo ended before")).unwrap();
        assert!(!line.contains("error"), "{line}");
    }
    // Not to wait for anything: to be at another place of the program each time.
    std::thread::sleep(moment.delay);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest = std::thread::spawn(move || progress.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let status = wait(&mut child, &moment);
    let rest = rest.join().unwrap();
    assert_eq!(status.code(), Some(0), "{moment:?}: {status} {rest}");
    let left = processes::of_home(&home);
    assert!(left.is_empty(), "{moment:?}: processes are left: {left:?}");
}

fn wait(child: &mut Child, moment: &Moment) -> std::process::ExitStatus {
    match until_blocking(DEADLINE, || child.try_wait().transpose()) {
        Ok(status) => status.unwrap(),
        Err(waited) => {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{moment:?}: the demo does not end: {waited}");
        }
    }
}

/// Looks at the connections of a home's processes, again and again, for peers that are not this machine.
struct PeersWatch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(BTreeSet<String>, u32)>,
}

impl PeersWatch {
    fn start(home: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, home) = (Arc::clone(&stop), home.to_owned());
        let thread = std::thread::spawn(move || {
            let (mut peers, mut looks) = (BTreeSet::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let sockets: BTreeSet<u64> =
                    processes::of_home(&home).iter().flat_map(processes::Process::sockets).collect();
                if !sockets.is_empty() {
                    looks += 1;
                }
                for table in ["tcp", "tcp6", "udp", "udp6"] {
                    peers.extend(strangers(table, &sockets));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (peers, looks)
        });
        Self { stop, thread }
    }

    /// Who was seen, and how often was looked while there was something to see.
    fn end(self) -> (BTreeSet<String>, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Peers outside of this machine in one of the kernel's tables.
fn strangers(table: &str, sockets: &BTreeSet<u64>) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(9).and_then(|inode| inode.parse().ok()).is_some_and(|inode| sockets.contains(&inode)))
        .filter_map(|row| row.get(2).map(|peer| (*peer).to_owned()))
        .filter(|peer| !is_here(peer))
        .collect()
}

/// Whether `0100007F:1F90` and the like are this machine, or nobody.
fn is_here(peer: &str) -> bool {
    let address = peer.split(':').next().unwrap_or_default();
    if let Ok(v4) = u32::from_str_radix(address, 16)
        && address.len() == 8
    {
        let v4 = Ipv4Addr::from(v4.to_le_bytes());
        return v4.is_loopback() || v4.is_unspecified();
    }
    let words: Vec<u8> = (0..address.len() / 8)
        .filter_map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok())
        .flat_map(u32::to_le_bytes)
        .collect();
    let Ok(bytes) = <[u8; 16]>::try_from(words) else { return false };
    let v6 = Ipv6Addr::from(bytes);
    let mapped = v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback() || v4.is_unspecified());
    v6.is_loopback() || v6.is_unspecified() || mapped
}

#[test]
fn the_kernels_tables_are_read_right() {
    for here in ["0100007F:1F90", "00000000:0000", "00000000000000000000000001000000:0050"] {
        assert!(is_here(here), "{here}");
    }
    assert!(is_here("0000000000000000FFFF00000100007F:0050"));
    for elsewhere in ["08080808:0035", "0101A8C0:0050", "B80D0120000000000000000001000000:0050"] {
        assert!(!is_here(elsewhere), "{elsewhere}");
    }
}

#[test]
fn commands_of_tests_are_told_apart_by_their_home() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sleep").arg("600").env("REGROVE_HOME", folder.path()).spawn().unwrap();
    let seen =
        until_blocking(DEADLINE, || processes::of_home(folder.path()).pop().filter(|found| found.name == "sleep"));
    let killed = seen.as_ref().is_ok_and(processes::Process::kill);
    child.kill().unwrap_or_default();
    child.wait().unwrap();
    assert_eq!(seen.map(|found| found.pid), Ok(child.id().cast_signed()));
    assert!(killed);
    processes::assert_none_left(folder.path());
}
