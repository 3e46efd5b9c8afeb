//! What the document says and what is done are the same.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::stage::{Kind, NAME, Reply, Stage};

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
        ("/models/{name}/predict", "/models/%ff/predict", "", "{}", 400),
        ("/models/{name}/info", "/models/%ff/info", "", "", 400),
        ("/v2/models/{name}", "/v2/models/%ff", "", "", 400),
        ("/v2/models/{name}/ready", "/v2/models/%ff/ready", "", "", 400),
        ("/v2/models/{name}/infer", "/v2/models/%ff/infer", "", "{}", 400),
        ("/v2/models/{name}/versions/{version}/ready", "/v2/models/a/versions/%ff/ready", "", "", 400),
        ("/", "/", "", "{}", 400),
    ] {
        let request = if body.is_empty() { Request::get(asked) } else { Request::post(asked) };
        let request = request.header("content-type", JSON).header("content-encoding", encoding);
        let reply = stage.ask(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {reply:?}");
        let described = operation(&document, path)["responses"].as_object().unwrap();
        assert!(described.contains_key(&status.to_string()), "{path} {status}: {:?}", described.keys());
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["responses"]["500"].is_object(), "{path}");
            assert!(!path.contains('{') || operation["responses"]["400"].is_object(), "{path}");
        }
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

/// What is wrong with `json` where `content` of an operation describes it. Members that are not described are wrong too.
fn wrong(document: &Value, content: &Value, json: &Value) -> Vec<String> {
    let mut schema = document.clone();
    close(&mut schema["components"]);
    let described = content.pointer("/application~1json/schema").unwrap().clone();
    schema.as_object_mut().unwrap().extend(described.as_object().unwrap().clone());
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Objects have no members but those that are described.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("type") == Some(&json!("object")) && members.get("properties").is_some_and(Value::is_object)
            {
                members.entry("additionalProperties").or_insert(json!(false));
            }
        }
        _ => {}
    }
}

#[track_caller]
fn is_described(document: &Value, path: &str, reply: &Reply) {
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    let wrong = wrong(document, &operation(document, path)["responses"]["200"]["content"], &reply.json());
    assert!(wrong.is_empty(), "{path}: {wrong:?} of {}", reply.json());
}

/// What is taken and what is answered, of models of every kind.
#[tokio::test]
async fn bodies_are_what_is_described() {
    for kind in [Kind::Numbers, Kind::Texts, Kind::Regressor] {
        let (stage, _) = Stage::of(kind).await;
        let document = document(&stage).await;
        let fill = |path: &str| path.replace("{name}", NAME).replace("{version}", "1");
        let rows = json!([[1, 2, null], [4, 5, 6]]);
        let records = json!([{"a": 1, "b": null, "c": 3}]);
        let flat = json!({"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, null, 4, 5, 6]});
        let nested = json!({"name": "x", "shape": [2, 3], "datatype": "FP64", "data": rows, "parameters": null});
        let wanted = json!([{"name": "predict", "parameters": {"binary_data": false}}]);
        let (infer, versioned) = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer");
        for (path, body) in [
            ("/predict", json!({"features": rows})),
            ("/models/{name}/predict", json!({"features": records})),
            ("/invocations", json!({"dataframe_split": {"columns": ["c", "b", "a"], "data": rows}})),
            ("/invocations", json!({"dataframe_records": rows})),
            ("/invocations", json!({"dataframe_records": records})),
            ("/invocations", json!({"instances": rows})),
            ("/invocations", json!({"inputs": {"a": [1], "b": [null], "c": [3]}})),
            (infer, json!({"id": "17", "inputs": [flat]})),
            (versioned, json!({"inputs": [nested], "outputs": wanted, "parameters": {"binary_data_output": true}})),
        ] {
            let wrong = wrong(&document, &operation(&document, path)["requestBody"]["content"], &body);
            assert!(wrong.is_empty(), "{path}: {wrong:?} of {body}");
            is_described(&document, path, &stage.json(&fill(path), &body).await);
        }
        let paths = document["paths"].as_object().unwrap().iter();
        let told = paths.filter(|(_, item)| item["get"]["responses"]["200"]["content"][JSON].is_object());
        let mut seen = 0;
        for (path, _) in told {
            is_described(&document, path, &stage.get(&fill(path)).await);
            seen += 1;
        }
        assert_eq!(seen, 9);
        is_described(&document, "/v2/repository/index", &stage.json("/v2/repository/index", &json!({})).await);
    }
}

/// An output as bytes has its size where it is described.
#[tokio::test]
async fn the_json_before_bytes_is_what_is_described() {
    let (stage, _) = Stage::of(Kind::Texts).await;
    let document = document(&stage).await;
    let tensor = json!({"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]});
    let body = json!({"inputs": [tensor], "parameters": {"binary_data_output": true}});
    let reply = stage.json(&format!("/v2/models/{NAME}/infer"), &body).await;
    let length: usize = reply.headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let json: Value = serde_json::from_slice(&reply.body[..length]).unwrap();
    assert!(json["outputs"][0]["parameters"]["binary_data_size"].is_u64(), "{json}");
    let described = &operation(&document, "/v2/models/{name}/infer")["responses"]["200"]["content"];
    assert_eq!(wrong(&document, described, &json), [""; 0], "{json}");
}

#[tokio::test]
async fn datatypes_are_those_that_are_read() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let described = document(&stage).await["components"]["schemas"]["InputDatatype"]["enum"].clone();
    let names: Vec<&str> = described.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let tensor = json!({"name": "x", "shape": [1, 3], "datatype": "FP128", "data": [1, 2, 3]});
    let refused = stage.json(&format!("/v2/models/{NAME}/infer"), &json!({"inputs": [tensor]})).await.json();
    assert_eq!(refused["expected"], format!("one of {}", names.join(", ")), "{refused}");
}

/// Both modes of an event, and its answer.
#[tokio::test]
async fn events_are_what_is_described() {
    let (stage, _) = Stage::of(Kind::Numbers).await;
    let document = document(&stage).await;
    let receive = operation(&document, "/");
    let content = &receive["requestBody"]["content"];
    let data = json!({"features": [[1, 2, null]]});
    let attributes = json!({"specversion": "1.0", "id": "17", "source": "/me", "subject": NAME,
        "type": "io.regrove.predict-requested"});
    let mut structured = attributes.clone();
    structured["data"] = data.clone();
    let envelope = json!({JSON: content["application/cloudevents+json"]});
    for (content, json) in [(&envelope, &structured), (content, &data)] {
        let wrong = wrong(&document, content, json);
        assert!(wrong.is_empty(), "{wrong:?} of {json}");
    }
    let mut binary = Request::post("/")
        .header("content-type", JSON)
        .header("ce-traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("ce-tracestate", "a=1");
    let described = names(&receive["parameters"]);
    assert_eq!(described.len(), attributes.as_object().unwrap().len());
    for (name, value) in attributes.as_object().unwrap() {
        let name = format!("ce-{name}");
        assert!(described.contains(name.as_str()), "{name}: {described:?}");
        binary = binary.header(name, value.as_str().unwrap());
    }
    let binary = stage.ask(binary.body(Body::from(data.to_string())).unwrap()).await;
    for reply in [binary, stage.post("/", "application/cloudevents+json", structured.to_string()).await] {
        is_described(&document, "/", &reply);
        let headers = receive["responses"]["200"]["headers"].as_object().unwrap();
        for name in reply.headers.keys().filter(|name| name.as_str().starts_with("ce-")) {
            assert!(headers.contains_key(name.as_str()), "{name} is not described");
        }
    }
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
