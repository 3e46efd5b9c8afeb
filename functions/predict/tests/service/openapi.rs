//! What the document says and what is done are the same.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Stage};

const JSON: &str = "application/json";

async fn document(stage: &Stage) -> Value {
    stage.get("/openapi.json").await.json()
}

fn operation<'a>(document: &'a Value, path: &str) -> &'a Value {
    let item = &document["paths"][path];
    item.get("post").unwrap_or(&item["get"])
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().map(|parameter| parameter["name"].as_str().unwrap()).collect()
}

/// Whether a schema lets null be there.
fn nullable(schema: &Value) -> bool {
    let null = json!("null");
    let types = &schema["type"];
    types == &null
        || types.as_array().is_some_and(|types| types.contains(&null))
        || ["oneOf", "anyOf"].iter().any(|of| schema[of].as_array().is_some_and(|all| all.iter().any(nullable)))
}

#[tokio::test]
async fn every_status_that_comes_is_described() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let document = document(&stage).await;
    let infer = format!("/v2/models/{NAME}/infer");
    let nobody = "/models/a%2Fb/predict";
    for (path, asked, encoding, body, status) in [
        ("/predict", "/predict", "br", "{}", 415),
        ("/models/{name}/predict", nobody, "", r#"{"features": [[1, 2, 3]]}"#, 404),
        ("/models/{name}/predict", nobody, "br", "{}", 415),
        ("/models/{name}/info", "/models/a%2Fb/info", "", "", 404),
        ("/invocations", "/invocations", "br", "{}", 415),
        ("/v2/models/{name}/infer", &infer, "br", "{}", 415),
        ("/v2/models/{name}/infer", "/v2/models/a%2Fb/infer", "", "{}", 404),
        ("/v2/models/{name}", "/v2/models/a%2Fb", "", "", 404),
        ("/v2/models/{name}/ready", "/v2/models/a%2Fb/ready", "", "", 404),
        ("/v2/models/{name}/versions/{version}", "/v2/models/Absent/versions/1", "", "", 503),
    ] {
        let request = if body.is_empty() { Request::get(asked) } else { Request::post(asked) };
        let request = request.header("content-type", JSON).header("content-encoding", encoding);
        let reply = stage.ask(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {reply:?}");
        let described = operation(&document, path)["responses"].as_object().unwrap();
        assert!(described.contains_key(&status.to_string()), "{path} {status}: {:?}", described.keys());
    }
    let events = operation(&document, "/")["responses"].as_object().unwrap();
    assert!(!events.contains_key("404") && events.contains_key("422"), "{:?}", events.keys());
}

#[tokio::test]
async fn headers_and_bytes_are_described() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let document = document(&stage).await;
    for path in ["/predict", "/models/{name}/predict", "/invocations", "/v2/models/{name}/infer"] {
        assert!(names(&operation(&document, path)["parameters"]).contains("regrove-session"), "{path}");
    }
    for path in ["/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"] {
        let infer = operation(&document, path);
        assert!(names(&infer["parameters"]).contains("inference-header-content-length"), "{path}");
        let answer = &infer["responses"]["200"];
        assert!(answer["headers"]["inference-header-content-length"].is_object(), "{path}: {answer}");
        for content in [&infer["requestBody"]["content"], &answer["content"]] {
            assert!(content[JSON].is_object() && content["application/octet-stream"].is_object(), "{path}: {content}");
        }
    }
    let row = document["components"]["schemas"]["Row"].to_string();
    assert!(row.contains("\"array\"") && row.contains("\"object\""), "rows are lists or objects: {row}");
}

/// A member may be null exactly where the document says so.
#[tokio::test]
async fn what_may_be_null_may_be_null() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let document = document(&stage).await;
    let tensor = json!({"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3], "parameters": null});
    let good = [
        ("Features", "/predict".to_owned(), json!({"features": [[1, 2, 3]]})),
        ("InferenceRequest", format!("/v2/models/{NAME}/infer"), json!({"inputs": [tensor]})),
        ("Invocation", "/invocations".to_owned(), json!({"instances": [[1, 2, 3]]})),
    ];
    for (schema, path, good) in good {
        let members = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        assert!(members.len() > 1, "{members:?}");
        for (member, described) in members {
            let mut body = good.clone();
            body[member] = Value::Null;
            let reply = stage.json(&path, &body).await;
            assert_eq!(reply.status == 200, nullable(described), "{path} {body}: {described}, {reply:?}");
        }
    }
}
