//! The reference stack's protocol, and everything that a body may have wrong.

use axum::body::Body;
use http::{Request, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Stage, outputs, pause};

const JSON: &str = "application/json";

#[tokio::test]
async fn predictions_are_the_models_own_to_the_last_bit() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let rows = [[1.5, -2.0, 3.25], [0.1, f32::NAN, 9.0]];
    let body = r#"{"user": "x", "features": [[1.5, -2, 3.25], [1e-1, null, 9.0]], "more": {"a": [1, {}]}}"#;
    let reply = stage.post("/predict", JSON, body).await;
    assert_eq!((reply.status, &reply.headers["content-type"]), (StatusCode::OK, &"application/json".parse().unwrap()));
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(text.starts_with("{\"predictions\":["), "the order of the reference stack: {text}");
    let said: Vec<Vec<f64>> = serde_json::from_value(reply.json()["probabilities"].clone()).unwrap();
    let expected = outputs(&model, &rows);
    assert_eq!(
        said.concat().iter().map(|p| p.to_bits()).collect::<Vec<_>>(),
        expected.iter().map(|p| p.to_bits()).collect::<Vec<_>>()
    );
    let labels: Vec<Value> = expected.chunks(3).map(|row| serde_json::to_value(model.label(row)).unwrap()).collect();
    assert_eq!(reply.json()["predictions"], json!(labels));
    assert_eq!(reply.json()["model_version"], "1");
    assert!(reply.json()["timestamp"].as_str().unwrap().ends_with('Z'));
    let named = stage.post(&format!("/models/{NAME}/predict"), "application/json; charset=utf-8", body).await;
    assert_eq!(named.json()["probabilities"], reply.json()["probabilities"]);
}

/// Large bodies of every protocol are read on threads of their own, as many at once as there are turns; small ones do not
/// wait for them.
#[tokio::test]
async fn a_large_body_waits_for_its_turn_and_a_small_one_does_not() {
    let (stage, model) = Stage::of(Kind::Numbers).await;
    let rows: Vec<[f32; 3]> = (0..5000_u16).map(|row| [f32::from(row % 7), 1.0, 2.0]).collect();
    let lines: Vec<String> = rows.iter().map(|[a, b, c]| format!("{a},{b},{c}")).collect();
    let tensor = json!({"name": "input-0", "shape": [5000, 3], "datatype": "FP32", "data": rows});
    let infer = format!("/v2/models/{NAME}/infer");
    let large = [
        ("/predict", JSON, json!({"features": rows}).to_string()),
        ("/invocations", JSON, json!({"instances": rows}).to_string()),
        ("/invocations", "text/csv", format!("a,b,c\n{}", lines.join("\n"))),
        (infer.as_str(), JSON, json!({"inputs": [tensor]}).to_string()),
    ];
    for (path, content_type, body) in large {
        let turn = stage.gate.turn().await;
        let mut waiting = std::pin::pin!(stage.post(path, content_type, body));
        let looking = async {
            while stage.metric("regrove_queue_length").await != Some(1.0) {
                pause().await;
            }
            stage.json("/predict", &json!({"features": [rows[3]]})).await
        };
        let small = tokio::select! {
            reply = &mut waiting => panic!("{path} did not wait: {}", reply.status),
            reply = looking => reply,
        };
        assert_eq!(small.json()["probabilities"], json!([outputs(&model, &rows[3..4])]));
        drop(turn);
        let reply = waiting.await.json();
        let answers = reply.get("predictions").unwrap_or(&reply["outputs"][0]["data"]);
        assert_eq!(answers.as_array().unwrap().len(), 5000, "{path}");
    }
}

#[tokio::test]
async fn names_restore_the_order() {
    let (stage, _) = Stage::of(Kind::Texts).await;
    let plain = stage.json("/predict", &json!({"features": [[1.5, -2.0, 3.25]]})).await.json();
    for body in [
        json!({"columns": ["c", "a", "b"], "features": [[3.25, 1.5, -2.0]]}),
        json!({"columns": ["c", "z", "a", "b"], "features": [[3.25, "text", 1.5, -2.0]]}),
        json!({"features": [{"b": -2.0, "c": 3.25, "a": 1.5, "other": {"x": 1}}]}),
    ] {
        assert_eq!(stage.json("/predict", &body).await.json()["probabilities"], plain["probabilities"], "{body}");
    }
    let late = r#"{"features": [[3.25, 1.5, -2.0]], "columns": ["c", "a", "b"]}"#;
    assert_eq!(stage.post("/predict", JSON, late).await.json()["probabilities"], plain["probabilities"]);
    for (body, kind, says) in [
        (json!({"columns": ["a", "b"], "features": [[1, 2]]}), "wrong-columns", "columns `c` are missing"),
        (json!({"columns": ["a", "b", "c", "a"], "features": [[1, 2, 3, 4]]}), "wrong-columns", "`a` comes twice"),
        (json!({"columns": ["a", "b", "c"], "features": [[1, 2]]}), "wrong-feature-count", "`columns` names 3"),
        (json!({"features": [{"a": 1, "b": 2}]}), "wrong-columns", "row 0 lacks the columns `c`"),
    ] {
        stage.json("/predict", &body).await.is_problem(400, kind, says);
    }
    stage.json("/predict", &json!({"columns": [1], "features": [[1, 2, 3]]})).await.is_problem(
        422,
        "invalid-request",
        "`/columns/0` is a number",
    );
}

#[tokio::test]
async fn a_regressor_answers_values() {
    let (stage, model) = Stage::of(Kind::Regressor).await;
    let reply = stage.json("/predict", &json!({"features": [[1.5, -2.0, 3.25]]})).await.json();
    assert_eq!(reply["predictions"], json!(outputs(&model, &[[1.5, -2.0, 3.25]])));
    assert!(reply.get("probabilities").is_none(), "{reply}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let cases = [
        (json!([[1, 2]]), 400, "wrong-feature-count", "/features/0", "row 0 has 2 features, the model expects 3"),
        (json!([[1, 2, 3], [1, 2, 3, 4]]), 400, "wrong-feature-count", "/features/1", "row 1 has 4 features"),
        (json!([[]]), 400, "wrong-feature-count", "/features/0", "row 0 has 0 features"),
        (json!([]), 400, "no-rows", "/features", "no rows"),
        (json!([[1, 1e39, 3]]), 400, "number-too-large", "/features/0/1", "beyond float32"),
        (json!([1, 2, 3]), 422, "invalid-request", "/features/0", "is a number, expected a list of numbers"),
        (json!([[[1, 2, 3]]]), 422, "invalid-request", "/features/0/0", "is a list, expected a number or null"),
        (json!({"a": 1}), 422, "invalid-request", "/features", "is an object, expected a list of rows"),
        (json!("abc"), 422, "invalid-request", "/features", "is a string"),
        (json!(null), 422, "invalid-request", "/features", "is null"),
        (json!([["1", 2, 3]]), 422, "invalid-request", "/features/0/0", "is a string, expected a number or null"),
        (json!([[1, true, 3]]), 422, "invalid-request", "/features/0/1", "is a boolean"),
    ];
    for (features, status, kind, pointer, says) in cases {
        let problem = stage.json("/predict", &json!({"features": features})).await.is_problem(status, kind, says);
        assert_eq!(problem["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
        assert!(!problem["expected"].as_str().unwrap().is_empty());
    }
    // All of them at once; types go before values.
    let several = json!({"features": [[1, 2], ["x", 1, 2], [1, 2, false]]});
    let problem = stage.json("/predict", &several).await.is_problem(422, "invalid-request", "`/features/1/0`");
    let places: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(places, ["/features/1/0", "/features/2/2", "/features/0"]);
    assert_eq!((&problem["row"], &problem["column"]), (&json!(1), &json!("a")));
    let endless = json!({"features": vec![["x", "x", "x"]; 100]});
    let problem = stage.json("/predict", &endless).await.is_problem(422, "invalid-request", "string");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let deep = format!("{{\"x\": {}1{}, \"features\": [[1,2,3]]}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_row = format!("{{\"features\": [[{}", "[".repeat(10_000));
    let inf = "1".repeat(400);
    for (body, says) in [
        (String::new(), "not JSON at byte 0"),
        ("{".to_owned(), "not JSON at byte 1"),
        ("[1]".to_owned(), "is a list, expected"),
        ("{}".to_owned(), "`features` is missing"),
        ("{\"features\": [[1, 2, 3]]} x".to_owned(), "nothing after the value"),
        ("{\"features\": [[1, 2, 3],]}".to_owned(), "expected a value"),
        ("{\"features\": [[NaN, 1, 1]]}".to_owned(), "expected a value"),
        ("{\"features\": [[1, 2, Infinity]]}".to_owned(), "expected a value"),
        ("{\"features\": [[1,2,3]], \"features\": [[1,2,3]]}".to_owned(), "`features` comes twice"),
        ("{\"a\": 1, \"a\": 2, \"features\": [[1,2,3]]}".to_owned(), "`a` comes twice"),
        ("{\"features\": [{\"a\": 1, \"a\": 2, \"b\": 1, \"c\": 1}]}".to_owned(), "`a` comes twice"),
        (deep, "nested deeper than 128"),
        (deep_row, "nested deeper than 128"),
    ] {
        stage.post("/predict", JSON, body).await.is_problem(422, "invalid-request", says);
    }
    stage.post("/predict", JSON, format!("{{\"features\": [[1, 2, {inf}]]}}")).await.is_problem(
        400,
        "number-too-large",
        "float32",
    );
    let utf8 = stage.post("/predict", JSON, b"{\"features\": \"\xff\"}".to_vec()).await;
    utf8.is_problem(400, "not-utf-8", "at byte 14");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let good = r#"{"features": [[1, 2, 3]]}"#;
        let refused = stage.post("/predict", content_type, good).await;
        assert_eq!(refused.is_problem(422, "invalid-request", "Content-Type")["header"], "content-type");
    }
    let none = Request::post("/predict").body(Body::from(r#"{"features": [[1, 2, 3]]}"#)).unwrap();
    stage.ask(none).await.is_problem(422, "invalid-request", "Content-Type");
    let rows = format!("{{\"features\": [{}[1,2,3]]}}", "[1,2,3],".repeat(100_000));
    stage.post("/predict", JSON, rows).await.is_problem(413, "too-many-rows", "100000");
    stage.post("/predict", JSON, vec![b' '; (4 << 20) + 1]).await.is_problem(
        413,
        "body-too-large",
        "REGROVE_BODY_BYTES_MAX",
    );
    stage.get("/predict").await.is_problem(405, "method-not-allowed", "GET");
    stage.get("/nowhere").await.is_problem(404, "no-such-path", "/nowhere");
}

#[tokio::test]
async fn without_a_model_the_answer_is_to_come_again() {
    let stage = Stage::empty();
    let reply = stage.json("/predict", &json!({"features": [[1, 2, 3]]})).await;
    reply.is_problem(503, "model-not-loaded", "no model is loaded as `Staged`");
    assert_eq!(reply.headers["retry-after"], "1");
    stage.json("/models/a%2Fb/predict", &json!({"features": [[1]]})).await.is_problem(404, "model-not-found", "a/b");
    assert_eq!(stage.get("/ping").await.status, StatusCode::NOT_FOUND);
    assert_eq!(stage.get("/v2/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stage.get("/v2/health/live").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_document_has_every_route_and_describes_what_is_answered() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let document = stage.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let fill = |path: &str| path.replace("{name}", NAME).replace("{version}", "1");
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(fill(path));
            let reply = stage.ask(request.body(Body::from("{}")).unwrap()).await;
            assert!(![404, 405].contains(&reply.status.as_u16()), "{method} {path}: {reply:?}");
        }
    }
    assert_eq!(document["paths"].as_object().unwrap().len(), 19, "a new route is described too");
    for path in ["/predict", "/invocations", "/v2/models/{name}/infer"] {
        let example = &document["paths"][path]["post"]["requestBody"]["content"][JSON]["schema"]["$ref"];
        assert!(example.as_str().unwrap().starts_with("#/components/schemas/"), "{path}");
    }
    assert_eq!(stage.get("/docs").await.status, StatusCode::OK);

    // Refusals have nothing that is not described.
    let refused = document["paths"]["/predict"]["post"]["responses"].as_object().unwrap();
    let statuses = ["408", "413", "422", "503", "504"];
    assert!(statuses.iter().all(|status| refused.contains_key(*status)), "{refused:?}");
    for body in [r#"{"features": [[1, 2]]}"#, r#"{"features": [[1, 2, 1e39]]}"#, r#"{"features": [[1, 2, "x"]]}"#, "{"]
    {
        let problem = stage.post("/predict", JSON, body).await.json();
        described(&document, "ProblemBody", &problem);
        for place in problem["errors"].as_array().into_iter().flatten() {
            described(&document, "ProblemPlace", place);
        }
    }
}

/// Every member is in the schema, and all that the schema requires is there.
#[track_caller]
fn described(document: &Value, schema: &str, json: &Value) {
    let schema = &document["components"]["schemas"][schema];
    for name in json.as_object().unwrap().keys() {
        assert!(schema["properties"][name].is_object(), "`{name}` of {json} is not described");
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(json.get(name.as_str().unwrap()).is_some(), "{json} lacks {name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Bodies near the right one: never a panic (which would be 500), always a problem with a reason.
    #[test]
    fn whatever_is_sent_is_answered(cut in 0..60_usize, at in 0..60_usize, byte: u8, path in 0..3_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = ["/predict", "/invocations", &format!("/v2/models/{NAME}/infer")][path].to_owned();
        let mut body = match path.as_str() {
            "/predict" => br#"{"columns": ["a", "b", "c"], "features": [[1.5, null, -3e1], {"a": 1, "b": 2, "c": 3}]}"#.to_vec(),
            "/invocations" => br#"{"dataframe_split": {"columns": ["c", "b", "a"], "data": [[1, 2, 3]]}}"#.to_vec(),
            _ => br#"{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [[1, 2, 3]]}]}"#.to_vec(),
        };
        let last = body.len() - 1;
        body[at.min(last)] = byte;
        body.truncate(body.len() - cut.min(last));
        let reply = runtime.block_on(async {
            let (stage, _) = Stage::of(Kind::Numbers).await;
            stage.post(&path, JSON, body.clone()).await
        });
        prop_assert!(matches!(reply.status.as_u16(), 200 | 400 | 413 | 422), "{:?}: {:?}", String::from_utf8_lossy(&body), reply);
    }
}
