//! SIGKILL: what was answered is still there, what was not is whole or absent.

use std::path::Path;
use std::process::Stdio;

use regrove_mlflow::{Metric, RunsQuery};
use regrove_record::{Store, router};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::fixture::{client, job, record, request};

/// Tells this test program, started once more, which folder to serve.
const FOLDER: &str = "REGROVE_RECORD_TEST_FOLDER";
const LISTENING: &str = "listening on ";

/// Not a test of its own: the server process of the test below. Without the variable there is nothing to serve.
#[tokio::test]
async fn serve_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Store::open(Path::new(&folder)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\n{LISTENING}http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router(store)).await.unwrap();
}

async fn serve(folder: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::serve_until_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the server says where it listens");
        if let Some(uri) = line.strip_prefix(LISTENING) {
            return (child, uri.to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_by_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0_i64;
    for round in 0..4_i64 {
        let (mut child, uri) = serve(folder.path()).await;
        let record = record(&uri);
        let run_id = record.ensure_run(&job("killed")).await.unwrap();
        let version = record.ensure_model_version(&request("killed", &run_id)).await.unwrap();
        assert_eq!(version.version, 1, "round {round}");
        assert_eq!(record.download(&version, "model.rgf").await.unwrap(), "native bytes");
        let history = record.client().metric_history(&run_id, "beat").await.unwrap();
        let kept = i64::try_from(history.len()).unwrap();
        assert!(kept == acknowledged || kept == acknowledged + 1, "round {round}: {kept} of {acknowledged}");
        acknowledged = kept;
        // Killed between any two points: the writer only stops when the server is gone.
        let writer = tokio::spawn(async move {
            let mut step = kept;
            while record.log_metrics(&run_id, &[Metric::new("beat", 1.0, step, step)]).await.is_ok() {
                step += 1;
            }
            step
        });
        let watcher = client(&uri);
        let enough = acknowledged + 20;
        loop {
            let experiment = watcher.experiment_by_name("experiment of killed").await.unwrap();
            let query = RunsQuery {
                experiment_ids: vec![experiment.experiment_id],
                filter: String::new(),
                order_by: Vec::new(),
                max_results: 10,
                page_token: None,
            };
            let runs = watcher.search_runs(&query).await.unwrap().runs;
            assert_eq!(runs.len(), 1, "round {round}");
            let last = runs[0].data.metrics.iter().find(|metric| metric.key == "beat");
            if last.is_some_and(|metric| metric.step >= enough) {
                break;
            }
        }
        child.kill().await.unwrap();
        acknowledged = writer.await.unwrap();
    }
    assert!(acknowledged > 80);
}
