//! What Python's client sees, with nothing of ours installed.

use std::path::{Path, PathBuf};

use regrove_mlflow::{Content, LoggedModelStatus, Metric, ModelFile, NewLoggedModel, NewModelVersion, RunStatus};
use serde_json::{Value, json};

use crate::fixture::{job, record, request, testdata};

/// Where the virtual environment with MLflow is.
const VENV: &str = "REGROVE_TEST_VENV";

/// A program of the virtual environment.
///
/// Fails, and does not skip, when it is missing: a contract that nobody checked is none.
pub(crate) fn venv_program(name: &str) -> PathBuf {
    let venv = std::env::var_os(VENV)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"), PathBuf::from);
    let program = venv.join("bin").join(name);
    assert!(
        program.exists(),
        "{} is missing: `cargo xtask test` creates the virtual environment with MLflow; {VENV} names another one",
        program.display()
    );
    program
}

async fn run_script(script: &str, arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let folder = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(venv_program("python"))
        .arg(path)
        .args(arguments)
        .current_dir(folder.path())
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("DO_NOT_TRACK", "true")
        .env("GIT_PYTHON_REFRESH", "quiet")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{script}: {text} {errors}"));
    serde_json::from_str(last).unwrap()
}

/// A model of ours and one that was put together by hand: Python loads both and finds all that was logged.
pub(crate) async fn loads_and_lists(uri: &str) {
    let record = record(uri);
    let run_id = record.ensure_run(&job("python")).await.unwrap();
    let points = [Metric::new("accuracy", 0.9, 1, 0), Metric::new("accuracy", 0.95, 2, 1)];
    record.log_metrics(&run_id, &points).await.unwrap();
    record.ensure_model_version(&request("python", &run_id)).await.unwrap();
    record.finish_run(&run_id, RunStatus::Finished, 5).await.unwrap();
    let note = ModelFile::new("note.txt", "hello");
    let root = record.client().run(&run_id).await.unwrap().info.artifact_uri;
    record.client().put_artifact(&root, &note.name, &note.content).await.unwrap();
    let ours = run_script("load_and_list.py", &[uri, "Model python", "experiment of python", "job-python"]).await;
    check_predictions(&ours);
    assert_eq!(ours["alias_version"], 1);
    assert_eq!(ours["versions"], json!([1]));
    assert_eq!((&ours["runs"], &ours["status"]), (&json!(1), &json!("FINISHED")));
    assert_eq!(ours["params"]["p149"], "149");
    assert_eq!(ours["metrics"]["accuracy"], 0.95);
    assert_eq!(ours["history"], json!([0.9, 0.95]));
    assert_eq!(ours["datasets"], json!(["iris"]));
    assert!(ours["run_artifacts"].as_array().unwrap().contains(&json!("note.txt")), "{ours}");
    assert!(ours["registered"].as_array().unwrap().contains(&json!("Model python")), "{ours}");
    assert_eq!(ours["experiment_known"], true);

    register_by_hand(uri, &run_id).await;
    let by_hand = run_script("load_and_list.py", &[uri, "ByHand", "experiment of python", "job-python"]).await;
    check_predictions(&by_hand);
}

/// The copies of [`push`](crate::push) are models like any other.
pub(crate) async fn loads_what_was_pushed(uri: &str) {
    let found = run_script("load_and_list.py", &[uri, "Model pushed", "experiment of pushed", "job-pushed 3"]).await;
    check_predictions(&found);
    assert_eq!((&found["alias_version"], &found["status"]), (&json!(2), &json!("FINISHED")));
    assert_eq!(found["history"], json!([0.5, 0.25]));
}

fn check_predictions(found: &Value) {
    for way in ["by_version", "by_alias", "by_latest"] {
        assert_eq!(found[way]["labels"], json!([0, 2, 1]), "{way}: {found}");
        assert_eq!(
            found[way]["columns"],
            json!(["label", "probability_setosa", "probability_versicolor", "probability_virginica"])
        );
        assert_eq!(found[way]["setosa"], json!([1.0, 0.0, 0.0]));
    }
}

async fn register_by_hand(uri: &str, run_id: &str) {
    let record = record(uri);
    let client = record.client();
    let experiment_id = client.run(run_id).await.unwrap().info.experiment_id;
    let logged = client
        .create_logged_model(&NewLoggedModel {
            experiment_id,
            name: "by-hand".to_owned(),
            source_run_id: run_id.to_owned(),
            ..NewLoggedModel::default()
        })
        .await
        .unwrap();
    for entry in std::fs::read_dir(testdata("")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        client.put_artifact(&logged.artifact_uri, &name, &Content::Path(entry.path())).await.unwrap();
    }
    client.set_logged_model_status(&logged.model_id, LoggedModelStatus::Ready).await.unwrap();
    client.create_registered_model("ByHand", &[], "").await.unwrap();
    let version = client
        .create_model_version(&NewModelVersion {
            name: "ByHand".to_owned(),
            source: format!("models:/{}", logged.model_id),
            model_id: Some(logged.model_id),
            run_id: run_id.to_owned(),
            ..NewModelVersion::default()
        })
        .await
        .unwrap();
    client.set_alias("ByHand", "champion", version.version).await.unwrap();
}

/// What a notebook logs and registers by itself.
pub(crate) async fn logs_by_its_own_client(uri: &str) {
    let onnx = testdata("model.onnx");
    let found = run_script("log_by_client.py", &[uri, onnx.to_str().unwrap()]).await;
    assert_eq!((&found["name"], &found["status"]), (&json!("from python"), &json!("FINISHED")));
    assert_eq!(found["params"], json!({"a": "1", "b": "2"}));
    assert_eq!(found["metrics"]["m"], 0.2);
    assert_eq!(found["history"], json!([0.1, 0.2]));
    assert_eq!(found["tag"], "v");
    assert_eq!(found["folder"], json!(["notes"]));
    assert_eq!(found["file"], json!([["notes/hello.txt", 5]]));
    assert_eq!(found["text"], "hello");
    assert_eq!((&found["description"], &found["version_tags"]), (&json!("described"), &json!({"k": "v"})));
    assert_eq!(found["version_run_is_run"], true);
    assert_eq!((&found["logged"], &found["logged_ready"]), (&json!(["model"]), &json!(["READY"])));
    assert_eq!(found["outputs"], 1);
}
