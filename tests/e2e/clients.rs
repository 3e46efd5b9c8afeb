//! Clients of other people's model servers, as they are, at a real `regrove up`.

use regrove_events::JobState;
use serde_json::{Value, json};

use crate::jobs::{DEFAULT_MODEL, small};
use crate::python;
use crate::up::{Up, UpOptions};

/// The host name of predict at the gateway.
const HOST: &str = "predict.regrove.localhost";

/// Rows of both classes of the [`small`] job's data.
fn rows() -> Value {
    let row = |number: i32| -> Vec<f64> { (0..20).map(|at| f64::from((number * 7 + at * 3) % 9 - 4) / 2.0).collect() };
    json!((0..16).map(row).collect::<Vec<_>>())
}

/// A runtime that serves a model, what it says of the rows, and the names of its columns.
async fn serving() -> (Up, Value, Value) {
    let up = Up::start(UpOptions::default());
    up.request("clients", &small(DEFAULT_MODEL, 1)).await;
    let job = up.job_end("clients").await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    up.served(DEFAULT_MODEL, "1").await;
    let said = up.predict(None, &rows()).await.json;
    let labels: Vec<_> = said["predictions"].as_array().unwrap().iter().map(|label| label.as_i64().unwrap()).collect();
    assert!(labels.contains(&0) && labels.contains(&1), "rows of one class show little: {labels:?}");
    let info = up.call("predict", http::Method::GET, "/model/info", None).await.json;
    (up, said, info["feature_names"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_triton_and_kserve_work_as_they_are() {
    let (up, said, columns) = serving().await;
    let gateway = up.gateway().trim_start_matches("http://").to_owned();
    let arguments = [&*gateway, HOST, DEFAULT_MODEL, &columns.to_string(), &rows().to_string()];
    let seen = python::run_client("open_inference_clients.py", &arguments).await;
    let expected = json!({"predict": said["predictions"], "predict_proba": said["probabilities"], "id": "a"});
    let (triton, kserve) = (&seen["triton"], &seen["kserve"]);
    for way in ["binary", "json", "compressed", "by_column"] {
        assert_eq!(triton[way], expected, "Triton's client, {way}");
    }
    for way in ["binary", "json", "by_column"] {
        // It reads tensors as they come: flat lists are shaped by whoever wants them so.
        assert_eq!(flat(&kserve[way]["predict_proba"]), flat(&said["probabilities"]), "KServe's client, {way}");
        assert_eq!((&kserve[way]["predict"], &kserve[way]["id"]), (&said["predictions"], &json!("a")), "{way}");
    }
    for (client, question, answer) in [
        (triton, "live", true),
        (triton, "ready", true),
        (triton, "model_ready", true),
        (triton, "version_ready", true),
        (triton, "version_not_ready", false),
        (kserve, "live", true),
        (kserve, "ready", true),
        (kserve, "model_ready", true),
        (kserve, "unknown_not_ready", false),
    ] {
        assert_eq!(client[question], answer, "{question}");
    }
    assert_eq!(triton["server"]["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(
        (&triton["metadata"]["name"], &triton["metadata"]["inputs"][0]["shape"]),
        (&json!(DEFAULT_MODEL), &json!([-1, 20]))
    );
    assert_eq!(triton["index"][0]["name"], DEFAULT_MODEL);
    for (question, status, says) in [
        ("wrong_width", "400", "expects"),
        ("infinite", "400", "beyond float32"),
        ("unknown_model", "503", "no model is loaded as `Nobody`"),
        ("unknown_version", "404", "never loaded"),
        ("too_large", "413", "REGROVE_BODY_BYTES_MAX"),
        ("unknown_path", "404", "there is nothing at"),
    ] {
        let refused = &triton[question];
        assert_eq!(refused["status"], status, "{question}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(says), "{question}: {refused}");
    }
    assert_eq!(kserve["wrong_width"], 400);
}

#[track_caller]
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mlflows_scoring_client_works_as_it_is() {
    let (up, said, columns) = serving().await;
    let port = up.gateway().rsplit(':').next().unwrap().to_owned();
    let arguments = [HOST, &*port, &columns.to_string(), &rows().to_string()];
    let seen = python::run("mlflow_scoring_client.py", &arguments).await;
    for way in ["frame", "shuffled", "array"] {
        assert_eq!(seen[way]["label"], said["predictions"], "{way}");
        for (row, probabilities) in said["probabilities"].as_array().unwrap().iter().enumerate() {
            let ours = [&seen[way]["probability_0"][row], &seen[way]["probability_1"][row]];
            assert_eq!(json!(ours), *probabilities, "{way}, row {row}");
        }
    }
    let refused = seen["refused"].as_str().unwrap();
    assert!(refused.contains("error code 400") && refused.contains("are missing"), "{refused}");
}
