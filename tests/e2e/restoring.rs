//! What is derived from the log is made again from it, and a record is copied into another MLflow.

use std::collections::BTreeMap;
use std::path::Path;

use regrove_events::JobState;
use regrove_mlflow::record::{JOB_TAG, SHA256_TAG};
use regrove_mlflow::{ModelVersion, Record, RunStatus, Selector};
use regrove_test_support::MlflowServer;
use serde_json::{Value, json};

use crate::jobs::small;
use crate::polling::until;
use crate::record;
use crate::up::{Up, UpOptions};

const DATA: &str = "synthetic:make_classification?n_samples=300&n_features=8&random_state=3";
const MODEL: &str = "Restored";

/// Three versions, the last of which is a sweep's best, from a file and from made-up data; a failed job and a stopped one.
async fn fill(up: &Up) {
    let csv = up.folder().join("rides.csv");
    let rows: Vec<String> =
        (0..60).map(|row| format!("{row},{},{}", ["n", "s"][row % 2], ["hi", "lo"][row / 30])).collect();
    std::fs::write(&csv, format!("len,zone,tip\n{}\n", rows.join("\n"))).unwrap();
    let common = ["--set", "random_state=5", "--experiment", "end-to-end", "--model", MODEL, "--wait"];
    let train = async |flags: &[&str]| up.regrove(&[&["train"], flags, &common].concat()).await;
    let file = ["--data", "rides.csv", "--target", "tip", "--set", "n_estimators=7"];
    train(&[&file[..], &["--id", "first", "--alias", "champion"]].concat()).await.ok();
    let by_rows = ["--set", "n_estimators=6", "--shards", "2", "--shard-by", "rows"];
    train(&[&["--data", DATA, "--id", "second"], &by_rows[..]].concat()).await.ok();
    let sweep = ["--set", "n_estimators=6", "--sweep", "max_depth=1,5", "--alias", "champion"];
    train(&[&["--data", DATA, "--id", "third"], &sweep[..]].concat()).await.ok();
    train(&["--data", DATA, "--id", "fails", "--set", "n_estimators=0"]).await.fails(1, &["n_estimators"]);
    up.served(MODEL, "3").await;
}

/// What MLflow has, as far as it does not depend on who gave the ids.
async fn told(uri: &str) -> Value {
    let versions = record::versions(uri, MODEL).await;
    let mut versions: Vec<Value> = versions
        .iter()
        .map(|version: &ModelVersion| {
            let tags: BTreeMap<_, _> = version.tags.iter().map(|tag| (&tag.key, &tag.value)).collect();
            json!({"version": version.version, "tags": tags})
        })
        .collect();
    versions.sort_by_key(|version| version["version"].as_u64());
    let champion =
        Record::new(record::client(uri)).resolve(MODEL, &Selector::Alias("champion".to_owned())).await.unwrap();
    let mut runs = Vec::new();
    for job in ["first", "second", "third", "third.1", "third.2", "fails"] {
        // Of a job that failed MLflow hears a moment later than the log.
        let of_job = until(&format!("the end of {job}'s run"), async || {
            let runs = record::runs(uri, job).await;
            runs.iter().any(|run| run.info.status != RunStatus::Running).then_some(runs)
        })
        .await;
        assert_eq!(of_job.len(), 1, "{job}: one run");
        runs.extend(of_job.into_iter().map(|run| {
            let mut params: Vec<_> = run.data.params.iter().map(|param| (&param.key, &param.value)).collect();
            params.sort();
            let mut metrics: Vec<_> =
                run.data.metrics.iter().map(|point| (&point.key, point.value, point.step)).collect();
            metrics.sort_by(|one, other| one.0.cmp(other.0));
            let info = &run.info;
            json!({"job": job, "status": info.status, "start": info.start_time, "end": info.end_time, "params": params,
                "metrics": metrics, "data": run.inputs.dataset_inputs.len(), "models": run.outputs.model_outputs.len()})
        }));
    }
    json!({"versions": versions, "champion": champion.version, "runs": runs})
}

fn artifact(home: &Path, sha256: &str) -> Option<Vec<u8>> {
    std::fs::read(home.join("artifacts/sha256").join(&sha256[..2]).join(sha256)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_made_again_from_the_log() {
    let mut up = Up::start(UpOptions::default());
    fill(&up).await;
    let rows = json!([[1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1]]);
    let (before, answer) = (told(&up.tracking_uri()).await, up.predict(Some(MODEL), &rows).await.json);
    assert_eq!((before["versions"].as_array().unwrap().len(), &before["champion"]), (3, &json!(3)), "{before}");
    let mut forests = Vec::new();
    for job in ["first", "second"].map(str::to_owned).into_iter().chain(best(&up).await) {
        let model = up.job(&job).await.unwrap().model.unwrap();
        forests.extend([model.model.sha256, model.onnx.sha256]);
    }
    assert_eq!(forests.len(), 6);
    let bytes: Vec<_> = forests.iter().map(|sha256| artifact(&up.home(), sha256).unwrap()).collect();

    // Only the log is left.
    up.kill();
    for derived in ["artifacts", "record"] {
        std::fs::remove_dir_all(up.home().join(derived)).unwrap();
    }
    up.run();
    let uri = up.tracking_uri();
    let rebuild = ["rebuild", "--mlflow-tracking-uri", &uri];
    let lines = up.regrove(&[&rebuild[..], &["--json"]].concat()).await.ok().json();
    let grown = lines.as_array().unwrap().iter().filter(|line| line["grown"] == true).count();
    assert_eq!(grown, 3, "{lines}");
    let again: Vec<_> = forests.iter().map(|sha256| artifact(&up.home(), sha256).unwrap()).collect();
    assert_eq!(again, bytes, "the same bytes");
    assert_eq!(told(&uri).await, before);
    up.served(MODEL, "3").await;
    let now = up.predict(Some(MODEL), &rows).await.json;
    for field in ["predictions", "probabilities", "model_version"] {
        assert_eq!(now[field], answer[field], "the same answers");
    }
    let shown = up.regrove(&["model", "verify", MODEL, "--version", "1", "--mlflow-tracking-uri", &uri]).await.ok();
    assert!(shown.out.contains("the same forest"), "{shown:?}");

    // Nothing is lost now, and nothing is made.
    let lines = up.regrove(&[&rebuild[..], &["--json"]].concat()).await.ok().json();
    assert!(lines.as_array().unwrap().iter().all(|line| line["grown"] == false), "{lines}");
    assert_eq!(told(&uri).await, before);
    up.regrove(&[&rebuild[..], &["nobody"]].concat()).await.fails(2, &["nobody", "regrove job list"]);
    other_data_is_told(&up, &rebuild, &forests[0]).await;
}

/// The trial that a sweep has registered.
async fn best(up: &Up) -> Option<String> {
    for trial in ["third.1", "third.2"] {
        if up.job(trial).await?.registered.is_some() {
            return Some(trial.to_owned());
        }
    }
    None
}

/// A file that is another one now makes no forest, and keeps no other job from being made again.
async fn other_data_is_told(up: &Up, rebuild: &[&str], forest: &str) {
    std::fs::remove_dir_all(up.home().join("artifacts")).unwrap();
    std::fs::write(up.folder().join("rides.csv"), "len,zone,tip\n1,n,hi\n2,s,lo\n").unwrap();
    let said = up.regrove(&[rebuild, &["--json"]].concat()).await;
    said.fails(1, &["1 of 5 jobs"]);
    let lines = said.json();
    let line = |job: &str| lines.as_array().unwrap().iter().find(|line| line["job"] == job).unwrap().clone();
    let wrong = line("first")["wrong"].as_str().unwrap().to_owned();
    assert!(wrong.contains("rides.csv") && wrong.contains("another one now"), "{wrong}");
    assert_eq!((&line("second")["grown"], &line("second")["wrong"]), (&json!(true), &Value::Null));
    assert_eq!(artifact(&up.home(), forest), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_record_is_pushed_into_a_real_mlflow() {
    let mlflow = MlflowServer::start().unwrap();
    let up = Up::start(UpOptions::default());
    up.request("pushed", &small(MODEL, 1)).await;
    assert_eq!(up.job_end("pushed").await.state, JobState::Succeeded);
    let (from, to) = (up.tracking_uri(), mlflow.uri());
    let push = ["record", "push", "--from", &from, "--to", &to];
    let first = up.regrove(&[&push[..], &["--json"]].concat()).await.ok().json();
    assert_eq!(
        (&first["runs_new"], &first["models_new"], &first["versions"][0]["new"]),
        (&json!(1), &json!(1), &json!(true))
    );
    let run = record::runs(&to, "pushed").await.remove(0);
    assert_eq!((run.info.status, run.tag(JOB_TAG)), (RunStatus::Finished, Some("pushed")));
    let (theirs, ours) = (record::versions(&from, MODEL).await, record::versions(&to, MODEL).await);
    assert_eq!((ours.len(), ours[0].tag(SHA256_TAG)), (1, theirs[0].tag(SHA256_TAG)));
    let said = up.regrove(&push).await.ok();
    assert!(said.out.contains("1 runs, 0 of them new") && said.out.contains("known"), "{said:?}");
    // What was copied is what the functions serve: another runtime of this log asks the real MLflow for it.
    up.regrove(&["model", "export", MODEL, "--mlflow-tracking-uri", &to, "-o", "m.rgf"]).await.ok();
    up.regrove(&["record", "push", "--from", &from, "--to", &from]).await.fails(2, &["--to", "name another MLflow"]);
    up.regrove(&["record", "push", "--from", &from, "--to", "nowhere"]).await.fails(2, &["--to"]);
}
